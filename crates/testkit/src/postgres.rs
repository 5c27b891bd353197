//! A private PostgreSQL cluster in a temporary folder.

use std::path::PathBuf;
use std::process::{Command, Stdio};

/// A running server; it ends, and its data go, when this is dropped.
pub struct Postgres {
    folder: tempfile::TempDir,
    binaries: PathBuf,
    port: u16,
}

impl Postgres {
    /// Makes a cluster and starts it. PostgreSQL does not run as root: then it runs as Debian's user `postgres`.
    ///
    /// # Panics
    /// PostgreSQL is not installed (run `./x setup`), or does not start.
    pub fn start() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let server = Self { folder, binaries: binaries(), port: crate::free_port() };
        let open = Command::new("chown").args(["-R", "postgres"]).arg(server.folder.path()).status();
        assert!(!is_root() || open.is_ok_and(|s| s.success()), "there is no user postgres; run ./x setup");
        server.run(
            "initdb",
            &[
                "--auth=trust",
                "--no-sync",
                "--username=overread",
                "--encoding=UTF8",
                "--locale=C",
                "-D",
                &server.data(),
            ],
        );
        server.again();
        server
    }

    /// Starts it again after [`Self::stop`].
    pub fn again(&self) {
        let options =
            format!("-p {} -c listen_addresses=127.0.0.1 -k {}", self.port, self.folder.path().display());
        let log = self.folder.path().join("log").display().to_string();
        self.run("pg_ctl", &["-D", &self.data(), "-w", "-l", &log, "-o", &options, "start"]);
    }

    /// Ends it as a power cut would end its connections; the data stay.
    pub fn stop(&self) {
        self.run("pg_ctl", &["-D", &self.data(), "-w", "-m", "immediate", "stop"]);
    }

    /// A new, empty database.
    pub fn database(&self, name: &str) -> String {
        self.run("createdb", &["-h", "127.0.0.1", "-p", &self.port.to_string(), "-U", "overread", name]);
        format!("postgres://overread@127.0.0.1:{}/{name}", self.port)
    }

    fn data(&self) -> String {
        self.folder.path().join("data").display().to_string()
    }

    fn run(&self, program: &str, args: &[&str]) {
        let program = self.binaries.join(program);
        let mut command = if is_root() {
            let mut command = Command::new("runuser");
            command.args(["-u", "postgres", "--"]).arg(&program);
            command
        } else {
            Command::new(&program)
        };
        // The server inherits its starter's output: a pipe would never end.
        let status = command.args(args).current_dir("/").stdout(Stdio::null()).stderr(Stdio::null()).status();
        assert!(status.expect("PostgreSQL; run ./x setup").success(), "{} {args:?}", program.display());
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        let stop = ["-D", &self.data(), "-m", "immediate", "stop"];
        let program = self.binaries.join("pg_ctl");
        let mut command = Command::new(if is_root() { "runuser".into() } else { program.clone() });
        if is_root() {
            command.args(["-u", "postgres", "--"]).arg(program);
        }
        let _ = command.args(stop).current_dir("/").stdout(Stdio::null()).stderr(Stdio::null()).status();
    }
}

fn is_root() -> bool {
    Command::new("id").arg("-u").output().is_ok_and(|o| o.stdout.starts_with(b"0\n"))
}

/// Debian keeps each version's programs in a folder of its own.
fn binaries() -> PathBuf {
    let versions = std::fs::read_dir("/usr/lib/postgresql").expect("PostgreSQL; run ./x setup");
    let mut folders: Vec<PathBuf> =
        versions.flatten().map(|e| e.path().join("bin")).filter(|p| p.join("initdb").is_file()).collect();
    folders.sort();
    folders.pop().expect("PostgreSQL's initdb; run ./x setup")
}
