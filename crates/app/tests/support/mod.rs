//! What the tests of the binary share.
#![allow(
    dead_code,
    unused_imports,
    clippy::print_stderr,
    reason = "each test file uses a part of it; a failure shows the state"
)]

pub mod edge;
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
