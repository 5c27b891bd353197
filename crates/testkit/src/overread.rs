//! The built binary's roles, started, killed and started again on the same data.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::http;
use crate::process::{Process, descendants, kill_one};

/// A running `overread all`, or one role. It ends when this is dropped; its folder goes too.
pub struct Overread {
    folder: tempfile::TempDir,
    binary: PathBuf,
    role: String,
    ready: Vec<String>,
    environment: Vec<(OsString, OsString)>,
    process: Option<Process>,
}

impl Overread {
    /// Both roles under their supervisor. `config` makes the configuration, given the folder that is removed at the end; `ready` are the base
    /// addresses of the HTTP doors that must answer `/readyz` with 200.
    ///
    /// # Panics
    /// It does not get ready.
    pub fn all(binary: &Path, ready: &[String], config: impl FnOnce(&Path) -> String) -> Self {
        Self::role("all", binary, ready, config)
    }

    /// One role: `edge` or `service`.
    ///
    /// # Panics
    /// It does not get ready.
    pub fn role(role: &str, binary: &Path, ready: &[String], config: impl FnOnce(&Path) -> String) -> Self {
        Self::with(role, binary, ready, &[], config)
    }

    /// `all` or one role with further environment variables.
    ///
    /// # Panics
    /// It does not get ready.
    pub fn with(
        role: &str,
        binary: &Path,
        ready: &[String],
        variables: &[(&str, &str)],
        config: impl FnOnce(&Path) -> String,
    ) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        std::fs::write(folder.path().join("overread.toml"), config(folder.path()))
            .expect("a configuration file");
        let environment = [
            ("PATH", std::env::var_os("PATH").unwrap_or_default()),
            ("HOME", folder.path().into()),
            ("OVERREAD_PACKS", crate::tools::workspace().join("models").into()),
            ("OVERREAD_ONNXRUNTIME", crate::tools::onnxruntime().into()),
        ];
        let fixed = environment.into_iter().map(|(k, v)| (k.into(), v));
        let more = variables.iter().map(|(k, v)| (k.into(), v.into()));
        let mut overread = Self {
            folder,
            binary: binary.to_owned(),
            role: role.to_owned(),
            ready: ready.to_vec(),
            environment: fixed.chain(more).collect(),
            process: None,
        };
        overread.again();
        overread
    }

    /// Starts it again on the same configuration and data, and waits until it is ready.
    ///
    /// # Panics
    /// It does not get ready.
    pub fn again(&mut self) {
        self.start();
        let ready = self.ready.clone();
        let process = self.process.as_mut().expect("a process");
        process.ready("GET /readyz", || {
            ready.iter().all(|url| http::get(&format!("{url}/readyz")).is_ok_and(|a| a.status == 200))
        });
    }

    /// Starts it again without waiting until it is ready.
    pub fn start(&mut self) {
        let mut command = Command::new(&self.binary);
        command.arg(&self.role).arg("--config").arg(self.config()).current_dir(self.folder.path());
        command.env_clear().envs(self.environment.iter().cloned());
        self.process = Some(Process::start(&mut command, &self.folder.path().join("log")));
    }

    /// Runs another command of the binary on the same configuration, such as `jobs list`, and returns its standard output.
    ///
    /// # Errors
    /// It ends with another status than 0: what it printed.
    ///
    /// # Panics
    /// It cannot be started.
    pub fn command(&self, args: &[&str]) -> Result<String, String> {
        let mut command = Command::new(&self.binary);
        command.args(args).arg("--config").arg(self.config()).current_dir(self.folder.path());
        let output = command.env_clear().envs(self.environment.iter().cloned()).output().expect("the binary");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        if output.status.success() {
            Ok(text(&output.stdout))
        } else {
            Err(text(&output.stderr) + &text(&output.stdout))
        }
    }

    /// Kills the supervisor and everything below it, as `kill -9` and a power cut do: nobody gets to say goodbye.
    pub fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            // The supervisor first: it must not start what is killed next. Its children may be in groups of their own.
            let below = descendants(process.id());
            process.kill();
            for (id, _) in below {
                kill_one(id);
            }
        }
    }

    /// Kills one role under the supervisor, which is left to deal with it. Whether there was one.
    pub fn kill_role(&self, role: &str) -> bool {
        self.role_id(role).is_some_and(kill_one)
    }

    /// The process id of a role: itself, or the supervisor's child.
    pub fn role_id(&self, role: &str) -> Option<u32> {
        let process = self.process.as_ref()?;
        if self.role == role {
            return Some(process.id());
        }
        let is_role = |line: &[String]| line.get(1).is_some_and(|word| word == role);
        descendants(process.id()).into_iter().find(|(_, line)| is_role(line)).map(|(id, _)| id)
    }

    /// Asks it to end (SIGTERM) and waits; whether its status was 0.
    ///
    /// # Panics
    /// It does not end.
    pub fn stop(&mut self) -> bool {
        self.process.take().is_none_or(|mut process| process.stop().success())
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> bool {
        self.process.as_mut().is_some_and(Process::is_running)
    }

    /// Everything it printed since it was first started.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(self.folder.path().join("log")).unwrap_or_default())
            .into_owned()
    }

    /// Its configuration file.
    pub fn config(&self) -> PathBuf {
        self.folder.path().join("overread.toml")
    }

    /// The folder of configuration, log and, where the configuration says so, data.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }
}

impl Drop for Overread {
    fn drop(&mut self) {
        self.kill();
    }
}
