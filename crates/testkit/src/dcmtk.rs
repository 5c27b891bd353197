//! DCMTK's programs: `storescu`, `storescp`, `echoscu`, `dcmdump`.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::process::Process;

/// A DICOM peer to call at 127.0.0.1.
#[derive(Clone, Debug)]
pub struct Peer {
    /// Its port.
    pub port: u16,
    /// Its AE title.
    pub called: String,
    /// The AE title that DCMTK calls itself.
    pub calling: String,
}

impl Peer {
    /// A peer that is called as `called` by `DCMTK`.
    pub fn new(port: u16, called: &str) -> Self {
        Self { port, called: called.to_owned(), calling: "DCMTK".to_owned() }
    }

    /// The same, called by another AE title.
    pub fn calling(mut self, calling: &str) -> Self {
        calling.clone_into(&mut self.calling);
        self
    }
}

/// What `storescu` was answered.
#[derive(Clone, Debug, Default)]
pub struct Sent {
    /// Files whose C-STORE response was Success.
    pub acknowledged: Vec<PathBuf>,
    /// Files that were answered otherwise, with DCMTK's name of the status, such as `Refused: OutOfResources`.
    pub refused: Vec<(PathBuf, String)>,
    /// Whether every file was acknowledged and the association was released.
    pub complete: bool,
    /// What it printed.
    pub log: String,
}

/// Sends files on one association. `options` are storescu's own, such as `--propose-rle`; DCMTK does not stop at a refused file.
///
/// # Panics
/// `storescu` is not installed.
pub fn storescu<P: AsRef<OsStr>>(peer: &Peer, options: &[&str], files: &[P]) -> Sent {
    let mut command = tool("storescu", peer);
    command.args(["-v", "-nh", "--required"]).args(options).args(address(peer)).args(files);
    let mut sent = sent(&output(&mut command));
    // A file whose transfer syntax was not proposed is passed over, and storescu is content.
    sent.complete &= sent.acknowledged.len() == files.len();
    sent
}

/// Whether the peer answers C-ECHO with success; DCMTK's words where not.
///
/// # Errors
/// It does not.
///
/// # Panics
/// `echoscu` is not installed.
pub fn echoscu(peer: &Peer, options: &[&str]) -> Result<(), String> {
    let output = output(tool("echoscu", peer).args(options).args(address(peer)));
    if output.status.success() { Ok(()) } else { Err(words(&output)) }
}

/// The text of a DICOM file as `dcmdump` prints it, with long values in full.
///
/// # Panics
/// It is no DICOM file.
pub fn dcmdump(file: &Path) -> String {
    let output = output(Command::new("dcmdump").args(["-q", "+L"]).arg(file));
    assert!(output.status.success(), "dcmdump {}: {}", file.display(), words(&output));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// A running `storescp` that keeps what it receives, byte for byte, in a temporary folder.
pub struct Storescp {
    folder: tempfile::TempDir,
    port: u16,
    title: String,
    options: Vec<String>,
    process: Option<Process>,
}

impl Storescp {
    /// Starts one that takes every transfer syntax and many associations at once. `options` are storescp's own.
    ///
    /// # Panics
    /// It does not start.
    pub fn start(title: &str, options: &[&str]) -> Self {
        let mut scp = Self {
            folder: tempfile::tempdir().expect("a temporary folder"),
            port: crate::free_port(),
            title: title.to_owned(),
            options: options.iter().map(|&o| o.to_owned()).collect(),
            process: None,
        };
        scp.again();
        scp
    }

    /// Starts it again on the same port after [`Self::stop`].
    pub fn again(&mut self) {
        let kept = self.folder.path().join("kept");
        std::fs::create_dir_all(&kept).expect("a folder");
        let mut command = Command::new("storescp");
        command.args(["-v", "--fork", "+xa", "+B", "+uf", "-aet", &self.title, "-od"]).arg(&kept);
        command.args(&self.options).arg(self.port.to_string());
        let mut process = Process::start(&mut command, &self.folder.path().join("log"));
        // An association would be refused where the options say so: that something listens is enough.
        process.ready("it listens", || std::net::TcpStream::connect(("127.0.0.1", self.port)).is_ok());
        self.process = Some(process);
    }

    /// Ends it; what it received stays.
    pub fn stop(&mut self) {
        self.process = None;
    }

    /// Its port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// How to call it.
    pub fn peer(&self) -> Peer {
        Peer::new(self.port, &self.title)
    }

    /// What it received so far.
    pub fn files(&self) -> Vec<PathBuf> {
        crate::tools::files_in(&self.folder.path().join("kept"))
    }

    /// What it printed.
    pub fn log(&self) -> String {
        self.process.as_ref().map(Process::log).unwrap_or_default()
    }
}

fn tool(name: &str, peer: &Peer) -> Command {
    let mut command = Command::new(name);
    // A silent peer ends the test by an error, not by a wait for ever.
    command.args(["-to", "10", "-ta", "30", "-td", "120", "-aet", &peer.calling, "-aec", &peer.called]);
    command
}

fn address(peer: &Peer) -> [String; 2] {
    ["127.0.0.1".to_owned(), peer.port.to_string()]
}

fn output(command: &mut Command) -> Output {
    command.output().unwrap_or_else(|e| panic!("{:?}: {e}; run ./x setup", command.get_program()))
}

/// DCMTK logs to standard error.
fn words(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout)
}

fn sent(output: &Output) -> Sent {
    let log = words(output);
    let mut sent = Sent { complete: output.status.success(), ..Sent::default() };
    let mut file = None;
    for line in log.lines() {
        if let Some(path) = line.strip_prefix("I: Sending file: ") {
            file = Some(PathBuf::from(path));
        }
        let status =
            line.strip_prefix("I: Received Store Response (").and_then(|rest| rest.strip_suffix(')'));
        if let (Some(status), Some(path)) = (status, if status.is_some() { file.take() } else { None }) {
            if status == "Success" {
                sent.acknowledged.push(path);
            } else {
                sent.refused.push((path, status.to_owned()));
            }
        }
    }
    sent.complete &= sent.refused.is_empty();
    sent.log = log;
    sent
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::Ledger;
    use crate::samples;
    use crate::tools::sample;

    #[test]
    fn what_storescu_sends_storescp_keeps() {
        let scp = Storescp::start("KEEPER", &[]);
        let peer = scp.peer().calling("SENDER");
        echoscu(&peer, &[]).unwrap();
        let file = sample("693_UNCI.dcm");
        let sent = storescu(&peer, &[], &[&file]);
        assert!(sent.complete, "{}", sent.log);
        assert_eq!(sent.acknowledged, [file]);
        let kept = scp.files();
        assert_eq!(kept.len(), 1);
        assert!(dcmdump(&kept[0]).contains("(0008,0060) CS [CT]"));
    }

    #[test]
    fn made_samples_arrive_bit_for_bit() {
        let (folder, scp, ledger) =
            (tempfile::tempdir().unwrap(), Storescp::start("KEEPER", &[]), Ledger::new());
        let mut samples = samples::ct(folder.path(), "bits", 1, 2);
        samples.extend(samples::children(folder.path(), "bits", 1));
        let paths: Vec<&PathBuf> = samples.iter().map(|s| &s.path).collect();
        let sent = storescu(&scp.peer(), &[], &paths);
        ledger.acknowledged_among(&samples, |s| sent.acknowledged.contains(&s.path));
        assert_eq!(ledger.entries().len(), 3, "{}", sent.log);
        let kept = scp.files();
        let fetch = |entry: &crate::ledger::Entry| {
            let file = kept.iter().find(|f| dcmdump(f).contains(&entry.sop)).ok_or("gone")?;
            Ok(std::fs::read(file).unwrap())
        };
        assert_eq!(ledger.losses(fetch), []);
    }

    #[test]
    fn a_refusal_is_no_acknowledgement() {
        let mut scp = Storescp::start("KEEPER", &["--refuse"]);
        let sent = storescu(&scp.peer(), &[], &[sample("693_UNCI.dcm")]);
        assert!(!sent.complete && sent.acknowledged.is_empty(), "{}", sent.log);
        assert!(echoscu(&scp.peer(), &[]).unwrap_err().contains("Association Rejected"));
        scp.stop();
        assert!(echoscu(&scp.peer(), &[]).is_err());
    }

    #[test]
    fn an_aborted_association_acknowledges_nothing() {
        let scp = Storescp::start("KEEPER", &["--abort-during"]);
        let sent = storescu(&scp.peer(), &[], &[sample("693_UNCI.dcm")]);
        assert!(!sent.complete && sent.acknowledged.is_empty(), "{}", sent.log);
    }
}
