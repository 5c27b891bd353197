//! A PACS of pynetdicom that answers storage commitment requests as it is told: `tests/peers/commitment_scp.py`.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, Stdio};

use overread_testkit::tools::{interpreter, workspace};

/// A running one.
pub struct Keeper {
    pub port: u16,
    child: Child,
    stdin: ChildStdin,
    folder: tempfile::TempDir,
}

impl Keeper {
    /// Starts one in a mode of the script's; it reports to `report_port`, or on the association that asked.
    pub fn start(mode: &str, report_port: Option<u16>) -> Self {
        let port = overread_testkit::free_port();
        let folder = tempfile::tempdir().unwrap();
        let mut child = Command::new(interpreter())
            .arg(workspace().join("tests/peers/commitment_scp.py"))
            .args([port.to_string(), report_port.unwrap_or(0).to_string(), mode.to_owned()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(std::fs::File::create(folder.path().join("log")).unwrap())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "listening\n", "pynetdicom is missing; run ./x setup");
        let stdin = child.stdin.take().unwrap();
        Self { port, child, stdin, folder }
    }

    /// How often it wrote a line: `asked`, `stored`, or `reported, answer 0`.
    pub fn count(&self, line: &str) -> usize {
        let log = std::fs::read_to_string(self.folder.path().join("log")).unwrap();
        log.lines().filter(|l| *l == line).count()
    }

    /// Lets it report on all that it was asked, as it does in the mode `told`.
    pub fn tell(&mut self) {
        self.stdin.write_all(b"\n").unwrap();
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
