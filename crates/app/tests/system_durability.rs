//! An acknowledgement comes after the disk: seen in the order of the edge's system calls. Killing the process does not show that, because the
//! kernel lives on and writes what was not synced.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::path::{Path, PathBuf};

use overread_testkit::dcmtk::{Peer, storescu};
use overread_testkit::samples::{self, Sample};
use overread_testkit::strace::{Strace, Trace};
use overread_testkit::{Overread, free_port, http};

/// An edge alone, with SQLite and files; nobody answers at the other end of its link.
struct Edge {
    overread: Overread,
    url: String,
    http: u16,
    dimse: u16,
    data: PathBuf,
    files: tempfile::TempDir,
}

impl Edge {
    fn start() -> Self {
        let (http, dimse, nobody) = (free_port(), free_port(), free_port());
        let url = format!("http://127.0.0.1:{http}");
        let config = |folder: &Path| {
            format!(
                "[edge]\nallow_burned_in = true\ndeid.recognizable_features = \"keep\"\ndata = \"{}/data\"\n[edge.http]\nbind = \"127.0.0.1:{http}\"\n[edge.dimse]\nbind = \"127.0.0.1:{dimse}\"\n\
                 [edge.completion]\nquiet_seconds = 3600.0\n[link]\nurl = \"http://127.0.0.1:{nobody}\"\ntoken = \"test\"\n",
                folder.display()
            )
        };
        let binary = Path::new(env!("CARGO_BIN_EXE_overread"));
        let overread = Overread::role("edge", binary, std::slice::from_ref(&url), config);
        let data = overread.folder().canonicalize().unwrap().join("data");
        Self { overread, url, http, dimse, data, files: tempfile::tempdir().unwrap() }
    }

    /// Its system calls while something is stored, up to an answer that `is_answer` knows; and the line of that answer.
    fn traced(&self, port: u16, is_answer: fn(&str) -> bool, store: impl FnOnce(&Sample)) -> (Trace, usize) {
        let sample = &samples::ct(self.files.path(), "durable", 1, 1)[0];
        let strace = Strace::attach(self.overread.role_id("edge").unwrap());
        store(sample);
        let answers = |trace: &Trace| -> Vec<usize> {
            trace.sent_from(port).into_iter().filter(|c| is_answer(&c.arguments)).map(|c| c.entered).collect()
        };
        strace.wait_for("the answer", |trace| !answers(trace).is_empty());
        let trace = strace.finish();
        let answer = answers(&trace);
        assert_eq!(answer.len(), 1, "one instance has one answer");
        (trace, answer[0])
    }

    /// File, folder and database were synced before the answer, and nothing else that was written is still at risk.
    fn must_be_safe(&self, trace: &Trace, answer: usize) {
        assert!(
            !trace.calls.iter().any(|c| c.name.starts_with("io_uring")),
            "these tests do not see into io_uring"
        );
        let objects = self.data.join("objects");
        let synced = |which: &dyn Fn(&Path) -> bool| trace.synced(answer, which);
        assert!(
            synced(&|p| p.extension().is_some() && !p.to_string_lossy().contains("edge.db")) > 0,
            "no file was synced"
        );
        assert!(synced(&|p| p.starts_with(&objects) && p.is_dir()) > 0, "no folder of objects was synced");
        assert!(synced(&|p| p.to_string_lossy().ends_with("edge.db-wal")) > 0, "the database was not synced");
        let mut risk = trace.at_risk(answer, &self.data);
        // SQLite's index of the log is made anew after a crash; a name that comes back in the folder of arriving files is swept.
        risk.files.retain(|file| !file.to_string_lossy().ends_with("-shm"));
        risk.folders.retain(|folder| !folder.ends_with("staging"));
        assert!(risk.files.is_empty() && risk.folders.is_empty(), "acknowledged while at risk: {risk:#?}");
    }
}

#[test]
fn a_c_store_response_comes_after_the_disk() {
    let edge = Edge::start();
    // PDU type 4, P-DATA-TF: the response; 2 and 6 are the association's and its release's.
    let (trace, answer) = edge.traced(
        edge.dimse,
        |said| said.contains(r#""\4\0"#),
        |sample| {
            assert!(storescu(&Peer::new(edge.dimse, "OVERREAD"), &[], &[&sample.path]).complete);
        },
    );
    edge.must_be_safe(&trace, answer);
}

#[test]
fn a_stow_response_comes_after_the_disk() {
    let edge = Edge::start();
    let (trace, answer) = edge.traced(
        edge.http,
        |said| said.contains("HTTP/1.1 200"),
        |sample| {
            let stowed = http::stow(
                &format!("{}/dicom-web/studies", edge.url),
                &[],
                &[std::fs::read(&sample.path).unwrap()],
            );
            assert_eq!(stowed.unwrap().kept, [sample.sop.as_str()]);
        },
    );
    edge.must_be_safe(&trace, answer);
}
