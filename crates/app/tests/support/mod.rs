//! What the tests of the binary share.
#![allow(dead_code, reason = "each test file uses a part of it")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

pub fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

/// What `./x setup` fetched; a test without it fails and says so.
pub fn tools() -> PathBuf {
    let tools = std::env::var_os("OVERREAD_TOOLS").map_or_else(|| workspace().join(".tools"), PathBuf::from);
    assert!(tools.join("onnxruntime").is_dir(), "{} is not complete; run ./x setup", tools.display());
    tools
}

pub fn samples() -> PathBuf {
    tools().join("samples")
}

/// The sixteen full-size radiographs of children.
pub fn children() -> Vec<PathBuf> {
    let folder = samples().join("pneumonia_model_package/datasets/pneumonia-data/val");
    let mut files: Vec<PathBuf> = std::fs::read_dir(&folder)
        .unwrap_or_else(|e| panic!("{}: {e}; run ./x setup", folder.display()))
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == "jpeg"))
        .collect();
    files.sort();
    assert_eq!(files.len(), 16);
    files
}

/// The pinned ONNX Runtime.
pub fn onnxruntime() -> PathBuf {
    std::fs::read_dir(tools().join("onnxruntime/onnxruntime/capi"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| path.to_string_lossy().contains("libonnxruntime.so."))
        .expect("no ONNX Runtime; run ./x setup")
}

/// The binary, with the starter packs, the pinned ONNX Runtime and an empty home.
pub fn overread() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_overread"));
    command
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("HOME", "/nonexistent")
        .env("OVERREAD_PACKS", workspace().join("models"))
        .env("OVERREAD_ONNXRUNTIME", onnxruntime());
    command
}

/// The path of a synthetic pack.
pub fn synthetic(name: &str) -> PathBuf {
    workspace().join("tests/packs").join(name)
}

pub fn run(command: &mut Command) -> Output {
    command.output().unwrap()
}

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// The results of a run with `--format jsonl`.
pub fn results(output: &Output) -> Vec<Value> {
    text(&output.stdout).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Runs a script of `tests/peers` in the peers' Python and returns what it printed.
pub fn peer(script: &str, args: &[&Path]) -> String {
    let python = tools().join("venv/bin/python");
    let script = workspace().join("tests/peers").join(script);
    let output = Command::new(&python)
        .arg(&script)
        .args(args)
        .output()
        .unwrap_or_else(|e| panic!("{}: {e}; run ./x setup", python.display()));
    assert!(output.status.success(), "{}: {}", script.display(), text(&output.stderr));
    text(&output.stdout)
}

/// What dciodvfy complains of as errors.
pub fn dciodvfy_errors(file: &Path) -> Vec<String> {
    let output = Command::new("dciodvfy")
        .arg(file)
        .output()
        .unwrap_or_else(|e| panic!("dciodvfy: {e}; run ./x setup"));
    let said =
        String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
    said.lines().filter(|line| line.starts_with("Error")).map(str::to_owned).collect()
}
