//! Where `./x setup` put the peers, the samples and ONNX Runtime, and where the repository's own files lie.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The repository's root.
pub fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().expect("the repository")
}

/// What `./x setup` fetched.
///
/// # Panics
/// It is not complete.
pub fn tools() -> PathBuf {
    let tools = std::env::var_os("OVERREAD_TOOLS").map_or_else(|| workspace().join(".tools"), PathBuf::from);
    assert!(tools.join("onnxruntime").is_dir(), "{} is not complete; run ./x setup", tools.display());
    tools
}

/// The folder of fetched samples.
pub fn samples() -> PathBuf {
    tools().join("samples")
}

/// A file of the package `pydicom-data`, such as `RG1_UNCI.dcm`.
///
/// # Panics
/// There is none of that name.
pub fn sample(name: &str) -> PathBuf {
    let path = samples().join("data_store/data").join(name);
    assert!(path.is_file(), "{} is missing; run ./x setup", path.display());
    path
}

/// The sixteen full-size radiographs of children, as JPEG files.
///
/// # Panics
/// They are not there.
pub fn children() -> Vec<PathBuf> {
    let folder = samples().join("pneumonia_model_package/datasets/pneumonia-data/val");
    let files: Vec<PathBuf> =
        files_in(&folder).into_iter().filter(|path| path.extension() == Some(OsStr::new("jpeg"))).collect();
    assert_eq!(files.len(), 16, "{} is not complete; run ./x setup", folder.display());
    files
}

/// The pinned ONNX Runtime library.
///
/// # Panics
/// It is not there.
pub fn onnxruntime() -> PathBuf {
    files_in(&tools().join("onnxruntime/onnxruntime/capi"))
        .into_iter()
        .find(|path| path.to_string_lossy().contains("libonnxruntime.so."))
        .expect("no ONNX Runtime; run ./x setup")
}

/// A synthetic pack, whose answers are known to the pixel: `brightness` or `centre`.
pub fn synthetic(name: &str) -> PathBuf {
    workspace().join("tests/packs").join(name)
}

/// Runs a script of `tests/peers` in the peers' Python and returns what it printed.
///
/// # Panics
/// It fails; the panic says what it printed to standard error.
pub fn python<A: AsRef<OsStr>>(script: &str, args: &[A]) -> String {
    let python = interpreter();
    let script = workspace().join("tests/peers").join(script);
    let output = Command::new(&python)
        .arg(&script)
        .args(args)
        .output()
        .unwrap_or_else(|e| panic!("{}: {e}; run ./x setup", python.display()));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {said}", script.display());
    String::from_utf8(output.stdout).expect("UTF-8 from a script")
}

/// A script of `tests/peers` that serves until its standard input is closed, which dropping this does.
pub struct PythonService {
    child: std::process::Child,
}

impl Drop for PythonService {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Starts a script of `tests/peers` that serves, and waits until it says `listening`.
///
/// # Panics
/// It ends or says something else.
pub fn python_service<A: AsRef<OsStr>>(script: &str, args: &[A]) -> PythonService {
    use std::io::{BufRead, BufReader};
    let mut child = Command::new(interpreter())
        .arg(workspace().join("tests/peers").join(script))
        .args(args)
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap_or_else(|e| panic!("{script}: {e}; run ./x setup"));
    let mut said = String::new();
    let stdout = child.stdout.as_mut().expect("a pipe");
    BufReader::new(stdout).read_line(&mut said).expect("a line from a script");
    assert_eq!(said.trim(), "listening", "{script}");
    PythonService { child }
}

/// What `dciodvfy` (dicom3tools) complains of as errors in a DICOM file.
///
/// # Panics
/// It is not installed.
pub fn dciodvfy_errors(file: &Path) -> Vec<String> {
    let output = Command::new("dciodvfy").arg(file).output();
    let output = output.unwrap_or_else(|e| panic!("dciodvfy: {e}; run ./x setup"));
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let said = text(&output.stderr) + &text(&output.stdout);
    said.lines().filter(|line| line.starts_with("Error")).map(str::to_owned).collect()
}

/// The peers' Python.
pub fn interpreter() -> PathBuf {
    tools().join("venv/bin/python")
}

/// The files of a folder in the order of their names.
///
/// # Panics
/// There is no such folder.
pub fn files_in(folder: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder)
        .unwrap_or_else(|e| panic!("{}: {e}; run ./x setup", folder.display()))
        .map(|entry| entry.expect("an entry").path())
        .collect();
    files.sort();
    files
}
