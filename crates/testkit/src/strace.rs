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

/// The calls that matter: those that write to files and sockets, those that sync, those that make, move or remove names. A question mark lets
/// strace pass over a call that this processor does not have.
const CALLS: &str = "?open,openat,?creat,write,pwrite64,writev,pwritev,pwritev2,ftruncate,fallocate,copy_file_range,sendfile,\
                     fsync,fdatasync,?rename,renameat,renameat2,?link,linkat,?unlink,unlinkat,?mkdir,mkdirat,\
                     sendto,sendmsg,?io_uring_enter";

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
        process.ready("it is attached", || {
            std::fs::read_to_string(&log).is_ok_and(|text| text.contains(" attached"))
        });
        Self { folder, process }
    }

    /// Ends the tracing and reads what was seen; see also [`Self::wait_for`].
    ///
    /// # Panics
    /// The log cannot be read.
    pub fn finish(mut self) -> Trace {
        self.process.stop();
        Trace::read(&self.folder.path().join("trace"))
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
                let (Some((_, rest)), Some((entered, begun))) =
                    (rest.split_once(" resumed>"), open.remove(&thread))
                else {
                    continue;
                };
                calls.extend(call(&format!("{begun}{rest}"), thread, entered, number));
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
                    map.retain(|path, changed| {
                        Some(path.as_path()) != call.file().as_deref() || *changed > call.entered
                    });
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

    /// The calls that send bytes on any TCP connection of a local port.
    pub fn sent_from(&self, local: u16) -> Vec<&Call> {
        let from = format!(":{local}->");
        let sends = |c: &&Call| matches!(c.name.as_str(), "write" | "writev" | "sendto" | "sendmsg");
        self.calls
            .iter()
            .filter(sends)
            .filter(|c| c.first().contains("<TCP") && c.first().contains(&from))
            .collect()
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
            "write" | "pwrite64" | "writev" | "pwritev" | "pwritev2" | "ftruncate" | "fallocate"
            | "sendfile" => self.file(),
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
    plain.then(|| Call {
        entered,
        left,
        thread,
        name: name.to_owned(),
        arguments,
        result: result.trim().to_owned(),
    })
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

/// The path in `7</a/b>`; none for sockets and pipes, nor for a file that has no name any more.
fn path_of(descriptor: &str) -> Option<PathBuf> {
    let inside = descriptor.split_once('<')?.1.strip_suffix('>')?;
    (inside.starts_with('/') && !inside.ends_with(" (deleted)")).then(|| PathBuf::from(inside))
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

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    const STORED: &str = r#"
10 openat(AT_FDCWD</d>, "/d/staging/1.part", O_WRONLY|O_CREAT|O_EXCL, 0600) = 7</d/staging/1.part>
10 write(7</d/staging/1.part>, "DICM, \"a\" <b> = (c", 19) = 19
11 pwrite64(4</d/edge.db-wal>, "\0\1"..., 4096, 0 <unfinished ...>
10 fsync(7</d/staging/1.part> <unfinished ...>
11 <... pwrite64 resumed>)           = 4096
10 <... fsync resumed>)              = 0
10 renameat2(AT_FDCWD</>, "/d/staging/1.part", AT_FDCWD</>, "/d/objects/aa/1.dcm", RENAME_NOREPLACE) = 0
10 fsync(8</d/objects/aa>)           = 0
11 fdatasync(4</d/edge.db-wal>)      = 0
10 write(9<TCP:[127.0.0.1:11112->127.0.0.1:40000]>, "\4\0", 84) = 84
12 --- SIGCHLD {si_signo=SIGCHLD, si_status=0} ---
12 +++ exited with 0 +++
"#;

    fn risk(files: &[&str], folders: &[&str]) -> AtRisk {
        let set = |paths: &[&str]| paths.iter().map(PathBuf::from).collect();
        AtRisk { files: set(files), folders: set(folders) }
    }

    fn without(unwanted: &str) -> Trace {
        Trace::parse(&STORED.lines().filter(|line| !line.contains(unwanted)).collect::<Vec<_>>().join("\n"))
    }

    fn at_answer(trace: &Trace) -> AtRisk {
        let answers = trace.sent_from(11112);
        assert_eq!(answers.len(), 1);
        trace.at_risk(answers[0].entered, Path::new("/d"))
    }

    #[test]
    fn a_stored_object_is_safe_before_its_answer() {
        let trace = Trace::parse(STORED);
        assert_eq!(trace.calls.len(), 8);
        assert_eq!(trace.calls[2].name, "pwrite64");
        assert_eq!((trace.calls[2].entered, trace.calls[2].left), (3, 5));
        // The staging folder lost a name: nobody minds if it comes back.
        assert_eq!(at_answer(&trace), risk(&[], &["/d/staging"]));
        assert_eq!(trace.synced(10, |path| path.ends_with("edge.db-wal")), 1);
        assert_eq!(trace.synced(8, |path| path.ends_with("edge.db-wal")), 0);
        assert_eq!(trace.at_risk(usize::MAX, Path::new("/elsewhere")), AtRisk::default());
    }

    #[test]
    fn every_missing_sync_is_seen() {
        let missing = |line: &str| at_answer(&without(line));
        assert_eq!(missing("fsync(8</d/objects/aa>"), risk(&[], &["/d/objects/aa", "/d/staging"]));
        assert_eq!(missing("fdatasync(4"), risk(&["/d/edge.db-wal"], &["/d/staging"]));
        // The content that was not synced goes by its new name.
        assert_eq!(missing("fsync resumed"), risk(&["/d/objects/aa/1.dcm"], &["/d/staging"]));
        assert_eq!(missing("renameat2"), risk(&[], &["/d/staging"]));
    }

    #[test]
    fn a_sync_covers_only_what_was_written_before_it_began() {
        let during =
            "1 fsync(5</d/f> <unfinished ...>\n2 write(5</d/f>, \"x\", 1) = 1\n1 <... fsync resumed>) = 0";
        assert_eq!(Trace::parse(during).at_risk(9, Path::new("/d")), risk(&["/d/f"], &[]));
        let failed = "1 write(5</d/f>, \"x\", 1) = 1\n1 fsync(5</d/f>) = -1 EIO (Input/output error)";
        assert_eq!(Trace::parse(failed).at_risk(9, Path::new("/d")), risk(&["/d/f"], &[]));
        let before = "1 write(5</d/f>, \"x\", 1) = 1\n1 fdatasync(5</d/f>) = 0";
        assert_eq!(Trace::parse(before).at_risk(9, Path::new("/d")), AtRisk::default());
        assert_eq!(Trace::parse(before).at_risk(1, Path::new("/d")), risk(&["/d/f"], &[]));
        let refused = "1 write(5</d/f>, \"x\", 1) = -1 ENOSPC (No space left on device)";
        assert_eq!(Trace::parse(refused).at_risk(9, Path::new("/d")), AtRisk::default());
    }

    #[test]
    fn folders_made_and_files_removed_count_for_their_parent() {
        let made = "1 mkdir(\"/d/objects/bb\", 0777) = 0\n1 unlinkat(6</d/tmp>, \"x\", 0) = 0";
        assert_eq!(Trace::parse(made).at_risk(9, Path::new("/d")), risk(&[], &["/d/objects", "/d/tmp"]));
    }

    /// A server that writes what it is sent, synced as it is told, and answers.
    const SERVER: &str = r#"
import os, socket, sys
folder, sync = sys.argv[1], sys.argv[2]
listener = socket.create_server(("127.0.0.1", 0))
print(listener.getsockname()[1], flush=True)
while True:
    peer, _ = listener.accept()
    file = os.open(folder + "/part", os.O_WRONLY | os.O_CREAT)
    os.write(file, b"content")
    if "file" in sync: os.fsync(file)
    os.rename(folder + "/part", folder + "/kept")
    if "folder" in sync: os.fsync(os.open(folder, os.O_RDONLY))
    peer.sendall(b"kept")
    peer.close()
"#;

    /// What was at risk when the server answered, by a real strace.
    fn traced(sync: &str) -> (AtRisk, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().canonicalize().unwrap().join("data");
        std::fs::create_dir(&data).unwrap();
        let log = folder.path().join("log");
        let mut command = Command::new("python3");
        let mut server = Process::start(command.args(["-c", SERVER]).arg(&data).arg(sync), &log);
        server.ready("it listens", || std::fs::read_to_string(&log).is_ok_and(|text| text.ends_with('\n')));
        let port: u16 = server.log().trim().parse().unwrap();
        let strace = Strace::attach(server.id());
        let mut answer = String::new();
        std::net::TcpStream::connect(("127.0.0.1", port)).unwrap().read_to_string(&mut answer).unwrap();
        assert_eq!(answer, "kept");
        strace.wait_for("the answer", |trace| !trace.sent_from(port).is_empty());
        let trace = strace.finish();
        let answered = trace.sent_from(port)[0].entered;
        (trace.at_risk(answered, &data), data)
    }

    #[test]
    fn a_real_trace_tells_a_careful_server_from_careless_ones() {
        assert_eq!(traced("file,folder").0, AtRisk::default());
        let (risk, data) = traced("file");
        assert_eq!(risk, AtRisk { files: BTreeSet::new(), folders: BTreeSet::from([data]) });
        let (risk, data) = traced("folder");
        assert_eq!(risk, AtRisk { files: BTreeSet::from([data.join("kept")]), folders: BTreeSet::new() });
    }
}
