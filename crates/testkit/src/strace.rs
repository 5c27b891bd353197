//! Reads a log of `strace` and tells what would survive a power cut at a moment in it.
//!
//! The kernel may lose whatever was written and not synced, and any name that was made in a folder that was not synced. SIGKILL does not
//! show that, because the kernel lives on; the order of the system calls does.
//!
//! strace stops a thread at each entry and exit and writes its lines in that order; a call that others interrupt is written as `<unfinished
//! ...>` and `<... resumed>`. So the line numbers are an order of events for all threads together, and no clock is needed.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::process::{PATIENCE, Process};

/// The calls that matter: those that write to files and sockets, those that sync, those that make, move or remove names.
const CALLS: &str = "openat,open,creat,write,pwrite64,writev,pwritev,pwritev2,ftruncate,fallocate,copy_file_range,sendfile,\
                     fsync,fdatasync,sync_file_range,rename,renameat,renameat2,link,linkat,unlink,unlinkat,mkdir,mkdirat,\
                     sendto,sendmsg,read,recvfrom,recvmsg,dup,dup2,dup3,io_uring_enter";

/// One system call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// Line of its entry, from 0.
    pub entered: usize,
    /// Line of its exit; the same where nothing came between.
    pub left: usize,
    /// Thread.
    pub thread: u32,
    /// Its name, such as `fdatasync`.
    pub name: String,
    /// Its arguments as strace prints them.
    pub arguments: String,
    /// Its result as strace prints it, such as `0` or `-1 EINTR (…)`.
    pub result: String,
}

/// A log, read.
#[derive(Clone, Debug, Default)]
pub struct Trace {
    /// Its calls in the order of their exits.
    pub calls: Vec<Call>,
}

/// What a power cut would take.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AtRisk {
    /// Files whose content was written and not synced since.
    pub files: BTreeSet<PathBuf>,
    /// Folders in which a name was made, moved or removed and that were not synced since.
    pub folders: BTreeSet<PathBuf>,
}

/// A running `strace` of a process and all its threads. It lets go of them when this is dropped.
pub struct Strace {
    folder: tempfile::TempDir,
    process: Process,
}

impl Strace {
    /// Traces a running process, its threads and the children that it starts from now on.
    ///
    /// # Panics
    /// `strace` is not installed or may not trace.
    pub fn attach(process: u32) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let (log, trace) = (folder.path().join("log"), folder.path().join("trace"));
        let mut command = Command::new("strace");
        command.args(["-f", "-yy", "-s", "64", "-e", &format!("trace={CALLS}"), "-o"]).arg(&trace);
        let mut process = Process::start(command.args(["-p", &process.to_string()]), &log);
        process.ready("it is attached", || std::fs::read_to_string(&log).is_ok_and(|text| text.contains(" attached")));
        Self { folder, process }
    }

    /// Ends the tracing and reads what was seen.
    ///
    /// # Panics
    /// The log cannot be read.
    pub fn finish(mut self) -> Trace {
        self.process.stop();
        Trace::read(&self.folder.path().join("trace"))
    }

    /// What was seen so far: lines of the log.
    pub fn lines(&self) -> usize {
        std::fs::read_to_string(self.folder.path().join("trace")).map_or(0, |text| text.lines().count())
    }

    /// Waits until the log shows what is looked for.
    ///
    /// # Panics
    /// It does not.
    pub fn wait_for(&self, what: &str, mut shown: impl FnMut(&Trace) -> bool) {
        let trace = self.folder.path().join("trace");
        crate::wait_until(what, PATIENCE, || shown(&Trace::read(&trace)));
    }
}

impl Trace {
    /// Reads a log of `strace -f -yy -o FILE`.
    ///
    /// # Panics
    /// The file cannot be read.
    pub fn read(file: &Path) -> Self {
        let bytes = std::fs::read(file).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
        Self::parse(&String::from_utf8_lossy(&bytes))
    }

    /// The calls of a log. Lines that are no calls (signals, exits) are passed over.
    pub fn parse(log: &str) -> Self {
        let (mut calls, mut open) = (vec![], BTreeMap::new());
        for (number, line) in log.lines().enumerate() {
            let Some((thread, text)) = line.trim_start().split_once(' ') else { continue };
            let (Ok(thread), text) = (thread.parse::<u32>(), text.trim_start()) else { continue };
            if let Some(rest) = text.strip_prefix("<... ") {
                // `<... fsync resumed>) = 0`: the rest of its arguments follows.
                let (Some((_, rest)), Some((entered, begun))) = (rest.split_once(" resumed>"), open.remove(&thread)) else { continue };
                calls.extend(call(&(begun + rest), thread, entered, number));
            } else if let Some(begun) = text.strip_suffix(" <unfinished ...>") {
                open.insert(thread, (number, begun.to_owned()));
            } else {
                calls.extend(call(text, thread, number, number));
            }
        }
        Self { calls }
    }

    /// What would be lost if the power went out as line `moment` begins: everything below `root` that was changed by a call that had ended,
    /// or had begun, before, and was not synced by a call that began after the change had ended and itself ended before `moment`.
    pub fn at_risk(&self, moment: usize, root: &Path) -> AtRisk {
        let mut risk = AtRisk::default();
        // A change counts from its exit on, a sync for what was there at its entry; so changes since then keep their line.
        let (mut files, mut folders) = (BTreeMap::<PathBuf, usize>::new(), BTreeMap::<PathBuf, usize>::new());
        for call in self.calls.iter().filter(|c| c.entered < moment) {
            if call.left < moment && call.is_sync() {
                for map in [&mut files, &mut folders] {
                    map.retain(|path, changed| Some(path.as_path()) != call.file().as_deref() || *changed > call.entered);
                }
                continue;
            }
            if call.failed() {
                continue;
            }
            call.moves(&mut files);
            files.extend(call.written().map(|path| (path, call.left)));
            folders.extend(call.names_changed().into_iter().map(|path| (path, call.left)));
        }
        risk.files.extend(files.into_keys().filter(|path| path.starts_with(root)));
        risk.folders.extend(folders.into_keys().filter(|path| path.starts_with(root)));
        risk
    }

    /// The calls that send bytes on the connection between a local port and its peer's.
    pub fn sent(&self, local: u16, peer: u16) -> Vec<&Call> {
        let connection = format!(":{local}->127.0.0.1:{peer}]>");
        let sends = |c: &&Call| matches!(c.name.as_str(), "write" | "writev" | "sendto" | "sendmsg");
        self.calls.iter().filter(sends).filter(|c| c.first().contains(&connection)).collect()
    }

    /// The calls that send bytes on any TCP connection of a local port.
    pub fn sent_from(&self, local: u16) -> Vec<&Call> {
        let from = format!(":{local}->");
        let sends = |c: &&Call| matches!(c.name.as_str(), "write" | "writev" | "sendto" | "sendmsg");
        self.calls.iter().filter(sends).filter(|c| c.first().contains("<TCP") && c.first().contains(&from)).collect()
    }

    /// The syncs of files for which a condition holds, that ended before a line.
    pub fn synced(&self, before: usize, mut which: impl FnMut(&Path) -> bool) -> usize {
        let ended = self.calls.iter().filter(|c| c.left < before && c.is_sync());
        ended.filter(|c| c.file().is_some_and(|path| which(&path))).count()
    }
}

impl Call {
    fn is_sync(&self) -> bool {
        matches!(self.name.as_str(), "fsync" | "fdatasync") && self.result == "0"
    }

    fn failed(&self) -> bool {
        self.result.starts_with('-') || self.result.starts_with('?')
    }

    /// The first argument: a file number with what it stands for.
    fn first(&self) -> &str {
        split(&self.arguments).first().copied().unwrap_or_default()
    }

    /// The file that the first argument stands for.
    fn file(&self) -> Option<PathBuf> {
        path_of(self.first())
    }

    /// The file whose content it changes.
    fn written(&self) -> Option<PathBuf> {
        let arguments = split(&self.arguments);
        match self.name.as_str() {
            "write" | "pwrite64" | "writev" | "pwritev" | "pwritev2" | "ftruncate" | "fallocate" | "sendfile" => self.file(),
            "copy_file_range" => arguments.get(2).and_then(|a| path_of(a)),
            _ => None,
        }
    }

    /// The folders in which it makes, moves or removes a name.
    fn names_changed(&self) -> Vec<PathBuf> {
        let parent = |path: PathBuf| path.parent().map(Path::to_owned);
        let made = match self.name.as_str() {
            "openat" | "open" if !self.arguments.contains("O_CREAT") => vec![],
            // With -yy the result is the file's full path. A file that was there already makes no new name, but the log does not tell.
            "openat" | "open" | "creat" => path_of(&self.result).into_iter().collect(),
            "mkdir" | "unlink" => names(&self.arguments, &[0]),
            "mkdirat" | "unlinkat" => names(&self.arguments, &[1]),
            "rename" | "link" => names(&self.arguments, &[0, 1]),
            "renameat" | "renameat2" | "linkat" => names(&self.arguments, &[1, 3]),
            _ => vec![],
        };
        made.into_iter().filter_map(parent).collect()
    }

    /// What was not synced under a name is not synced under the next.
    fn moves(&self, files: &mut BTreeMap<PathBuf, usize>) {
        let ends = match self.name.as_str() {
            "rename" => names(&self.arguments, &[0, 1]),
            "renameat" | "renameat2" => names(&self.arguments, &[1, 3]),
            "unlink" => names(&self.arguments, &[0]),
            "unlinkat" => names(&self.arguments, &[1]),
            _ => return,
        };
        match (ends.as_slice(), ends.first().and_then(|from| files.remove(from))) {
            ([_, to], Some(changed)) => drop(files.insert(to.clone(), changed)),
            ([_, to], None) => drop(files.remove(to)),
            _ => {}
        }
    }
}

/// `name(arguments) = result`.
fn call(text: &str, thread: u32, entered: usize, left: usize) -> Option<Call> {
    let (name, rest) = text.split_once('(')?;
    let plain = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    let (arguments, result) = rest.rsplit_once(" = ")?;
    let arguments = arguments.trim_end().strip_suffix(')')?.to_owned();
    plain.then(|| Call { entered, left, thread, name: name.to_owned(), arguments, result: result.trim().to_owned() })
}

/// Arguments at commas that stand outside quotes and brackets.
fn split(arguments: &str) -> Vec<&str> {
    let (mut parts, mut from, mut depth, mut quoted, mut escaped) = (vec![], 0, 0_u32, false, false);
    for (at, c) in arguments.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            '[' | '{' | '(' | '<' if !quoted => depth += 1,
            // The arrow of a connection, `<TCP:[a->b]>`, closes nothing.
            '>' if !quoted && arguments[..at].ends_with('-') => {}
            ']' | '}' | ')' | '>' if !quoted => depth = depth.saturating_sub(1),
            ',' if !quoted && depth == 0 => {
                parts.push(arguments[from..at].trim());
                from = at + 1;
            }
            _ => {}
        }
    }
    parts.push(arguments[from..].trim());
    parts
}

/// The path in `7</a/b>`; none for sockets and pipes.
fn path_of(descriptor: &str) -> Option<PathBuf> {
    let inside = descriptor.split_once('<')?.1.strip_suffix('>')?;
    // A file that has no name any more is of no concern.
    let inside = inside.strip_suffix(">(deleted)").unwrap_or(inside);
    (inside.starts_with('/') && !descriptor.ends_with("(deleted)")).then(|| PathBuf::from(inside))
}

/// The paths among some arguments: quoted, and for the `…at` calls relative to the folder before them.
fn names(arguments: &str, which: &[usize]) -> Vec<PathBuf> {
    let parts = split(arguments);
    let name = |&at: &usize| -> Option<PathBuf> {
        let path = parts.get(at)?.strip_prefix('"')?.strip_suffix('"')?;
        let folder = at.checked_sub(1).and_then(|before| path_of(parts[before]));
        Some(folder.map_or_else(|| PathBuf::from(path), |folder| folder.join(path)))
    };
    which.iter().filter_map(name).collect()
}
