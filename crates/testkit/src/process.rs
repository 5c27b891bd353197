//! Programs that end with the test, conditions that are waited for.

use std::fs::{File, OpenOptions};
use std::io::{Seek, SeekFrom};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, kill_process_group};

/// How long a peer may take for what it usually does at once: a test's machine may be busy.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Asks every 20 ms until there is an answer, and returns it.
///
/// # Panics
/// There is none within the time.
pub fn wait_for<T>(what: &str, within: Duration, mut probe: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + within;
    loop {
        if let Some(answer) = probe() {
            return answer;
        }
        assert!(Instant::now() < deadline, "waited {within:?} for {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Asks every 20 ms until the condition holds.
///
/// # Panics
/// It does not within the time.
pub fn wait_until(what: &str, within: Duration, mut holds: impl FnMut() -> bool) {
    wait_for(what, within, || holds().then_some(()));
}

/// A running program, in a process group of its own, that is killed when this is dropped. What it prints goes to a file: a pipe that
/// nobody reads would stop it.
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts a program; both its outputs are appended to the file `log`.
    ///
    /// # Panics
    /// It cannot be started.
    pub fn start(command: &mut Command, log: &Path) -> Self {
        let name = command.get_program().to_string_lossy().into_owned();
        let open = || {
            let file: File = OpenOptions::new().create(true).append(true).open(log).expect("a log file");
            file
        };
        let child = command
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(open())
            .stderr(open())
            .spawn()
            .unwrap_or_else(|e| panic!("{name}: {e}; run ./x setup"));
        Self { name, child, log: log.to_owned() }
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Whether it has not ended yet.
    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("a child").is_none()
    }

    /// What it printed so far.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// Waits for a condition while the program runs.
    ///
    /// # Panics
    /// It ends before, or the condition does not hold within [`PATIENCE`]; the panic shows the last of what it printed.
    pub fn ready(&mut self, what: &str, mut holds: impl FnMut() -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !holds() {
            let ended = self.child.try_wait().expect("a child");
            if ended.is_some() || Instant::now() > deadline {
                panic!("{} is not ready ({what}), {ended:?}:\n{}", self.name, tail(&self.log));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Kills it and every process of its group, as `kill -9` does, and waits for its end.
    pub fn kill(&mut self) {
        if let (None, Some(group)) = (self.child.try_wait().expect("a child"), pid(self.child.id())) {
            let _ = kill_process_group(group, Signal::KILL);
        }
        let _ = self.child.wait();
    }

    /// Asks it to end (SIGTERM) and waits.
    ///
    /// # Panics
    /// It still runs after [`PATIENCE`].
    pub fn stop(&mut self) -> ExitStatus {
        if let Some(pid) = pid(self.child.id()) {
            let _ = kill_process(pid, Signal::TERM);
        }
        let what = format!("{} to end", self.name);
        wait_for(&what, PATIENCE, || self.child.try_wait().expect("a child"))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Kills one process that a program of the test's started; whether it was still there.
pub fn kill_one(id: u32) -> bool {
    pid(id).is_some_and(|pid| kill_process(pid, Signal::KILL).is_ok())
}

fn pid(id: u32) -> Option<Pid> {
    i32::try_from(id).ok().and_then(Pid::from_raw)
}

/// The last 8 KiB of a file.
fn tail(path: &Path) -> String {
    let read = || -> std::io::Result<String> {
        let mut file = File::open(path)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(8192)))?;
        let mut bytes = vec![];
        std::io::Read::read_to_end(&mut file, &mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    };
    read().unwrap_or_default()
}

/// The processes below one, children before their own children, each with its command line.
pub fn descendants(of: u32) -> Vec<(u32, Vec<String>)> {
    let mut all = vec![];
    for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(id) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        let stat = std::fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
        // The program's name, in brackets, may itself hold spaces and brackets.
        let after = stat.rsplit_once(')').map_or("", |(_, after)| after);
        let Some(parent) = after.split_whitespace().nth(1).and_then(|word| word.parse::<u32>().ok()) else {
            continue;
        };
        let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let words = line.split(|b| *b == 0).filter(|w| !w.is_empty());
        all.push((id, parent, words.map(|w| String::from_utf8_lossy(w).into_owned()).collect::<Vec<_>>()));
    }
    let (mut found, mut wanted) = (vec![], vec![of]);
    while let Some(parent) = wanted.pop() {
        for (id, _, line) in all.iter().filter(|(_, p, _)| *p == parent) {
            found.push((*id, line.clone()));
            wanted.push(*id);
        }
    }
    found
}

/// Peak and present resident memory of a process in bytes, by `/proc`; none once it has ended.
pub fn memory(id: u32) -> Option<(u64, u64)> {
    let status = std::fs::read_to_string(format!("/proc/{id}/status")).ok()?;
    let kib = |key: &str| {
        let line = status.lines().find(|line| line.starts_with(key))?;
        line.split_whitespace().nth(1)?.parse::<u64>().ok()
    };
    Some((kib("VmHWM:")? * 1024, kib("VmRSS:")? * 1024))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dropped_program_is_gone_and_so_are_its_children() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("log");
        let mut command = Command::new("sh");
        command.args(["-c", "echo begun; sleep 1000 & wait"]);
        let mut shell = Process::start(&mut command, &log);
        shell.ready("a word", || std::fs::read_to_string(&log).is_ok_and(|text| text == "begun\n"));
        let id = shell.id();
        let below = wait_for("a child", PATIENCE, || {
            descendants(id).into_iter().find(|(_, line)| line == &["sleep", "1000"])
        });
        assert!(memory(id).is_some_and(|(peak, now)| peak >= now && now > 0));
        drop(shell);
        wait_until("the child's end", PATIENCE, || {
            // Killed, and either gone or waiting for whoever inherits it.
            std::fs::read(format!("/proc/{}/cmdline", below.0)).is_ok_and(|l| l.is_empty())
                || !Path::new(&format!("/proc/{}", below.0)).exists()
        });
        assert_eq!(memory(id), None);
    }

    #[test]
    #[should_panic(expected = "is not ready (a miracle)")]
    fn a_program_that_ends_early_is_told() {
        let folder = tempfile::tempdir().unwrap();
        Process::start(&mut Command::new("true"), &folder.path().join("log")).ready("a miracle", || false);
    }
}
