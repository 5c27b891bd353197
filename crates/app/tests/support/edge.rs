//! An edge alone, for tests of its doors: its service is away, which those who send and search must not feel.

use std::ffi::OsString;
use std::path::Path;

use overread_testkit::dcmtk::Peer;
use overread_testkit::http::{self, Answer};
use overread_testkit::tools::python;
use overread_testkit::{Overread, free_port, samples};

/// A running edge.
pub struct Edge {
    pub overread: Overread,
    /// Its HTTP address.
    pub address: String,
    /// How its DICOM door is called.
    pub dimse: Peer,
}

impl Edge {
    pub fn start() -> Self {
        Self::with("")
    }

    /// With more lines below `[edge.http]`.
    pub fn with(lines: &str) -> Self {
        let (http, dimse, nobody) = (free_port(), free_port(), free_port());
        let address = format!("http://127.0.0.1:{http}");
        // `dicomweb-client` leaves the port out of `Host`, so the address in answers must be told.
        let config = |folder: &Path| {
            format!(
                "[edge]\nallow_burned_in = true\ndeid.recognizable_features = \"keep\"\ndata = \"{}/edge\"\npublic_url = \"{address}\"\n[edge.http]\nbind = \"127.0.0.1:{http}\"\n{lines}\n\
                 [edge.dimse]\nbind = \"127.0.0.1:{dimse}\"\n[link]\nurl = \"http://127.0.0.1:{nobody}\"\ntoken = \"{nobody:032}\"\n",
                folder.display()
            )
        };
        let binary = Path::new(env!("CARGO_BIN_EXE_overread"));
        let overread = Overread::role("edge", binary, std::slice::from_ref(&address), config);
        Self { overread, address, dimse: Peer::new(dimse, "OVERREAD") }
    }

    /// Where DICOMweb is.
    pub fn web(&self) -> String {
        format!("{}/dicom-web", self.address)
    }

    /// Runs a script of `tests/peers`, whose first argument is the address of DICOMweb.
    pub fn run(&self, script: &str, args: impl IntoIterator<Item = impl Into<OsString>>) -> String {
        let mut all: Vec<OsString> = vec![self.web().into()];
        all.extend(args.into_iter().map(Into::into));
        let said = python(script, &all);
        self.keeps_to_itself();
        said
    }

    pub fn get(&self, path: &str) -> Answer {
        http::get(&format!("{}{path}", self.address)).unwrap()
    }

    /// No name is in the log.
    pub fn keeps_to_itself(&self) {
        assert!(!self.overread.log().contains(samples::CANARY), "identity is in the log");
    }
}
