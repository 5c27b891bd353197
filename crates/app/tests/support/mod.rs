//! What the tests of the binary share.
#![allow(
    dead_code,
    unused_imports,
    clippy::print_stderr,
    reason = "each test file uses a part of it; a failure shows the state"
)]

pub mod edge;
pub mod form;
pub mod imports;
pub mod site;

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

pub use overread_testkit::tools::{
    children, dciodvfy_errors, onnxruntime, samples, synthetic, tools, workspace,
};

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
    overread_testkit::tools::python(script, args)
}

/// Copies a folder and what is in it.
pub fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// A copy of a synthetic pack whose `overread` keys are changed, in a folder.
pub fn changed(name: &str, folder: &Path, change: impl FnOnce(&mut Value)) -> std::path::PathBuf {
    let pack = folder.join(name);
    copy(&synthetic(name), &pack);
    let path = pack.join("configs/metadata.json");
    let mut metadata: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    change(&mut metadata["overread"]);
    std::fs::write(&path, serde_json::to_vec_pretty(&metadata).unwrap()).unwrap();
    pack
}

/// Runs Python lines in the peers' Python with arguments and returns what they printed.
pub fn python(code: &str, args: &[&std::ffi::OsStr]) -> String {
    let output = Command::new(tools().join("venv/bin/python")).arg("-c").arg(code).args(args).output();
    let output = output.expect("python; run ./x setup");
    assert!(output.status.success(), "{}", text(&output.stderr));
    text(&output.stdout)
}

/// The results of a run with one pack, whoever signed it.
pub fn classified(pack: &Path, input: &Path, flags: &[&str]) -> Vec<Value> {
    let mut command = overread();
    command.arg("classify").arg(input).arg("--pack").arg(pack).args([
        "--allow-untrusted",
        "--format",
        "jsonl",
    ]);
    let output = run(command.args(flags));
    assert!(output.status.success(), "{}", text(&output.stderr));
    results(&output)
}
