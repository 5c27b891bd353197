//! Both roles' APIs do what their OpenAPI documents say: `schemathesis` asks everything, with and without tokens.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::path::Path;
use std::process::Command;

use overread_testkit::tools::{tools, workspace};
use overread_testkit::{Overread, free_port};

/// Both roles, and their addresses.
fn start(auth: &str) -> (Overread, [(&'static str, String); 2]) {
    let (edge, service, dimse) = (free_port(), free_port(), free_port());
    let config = |folder: &Path| {
        format!(
            "[edge]\nallow_burned_in = true\ndeid.recognizable_features = \"keep\"\ndata = \"{data}/edge\"\n[edge.http]\nbind = \"127.0.0.1:{edge}\"\n{auth}\n[edge.dimse]\nbind = \"127.0.0.1:{dimse}\"\n\
             [service]\ndata = \"{data}/service\"\n[service.http]\nbind = \"127.0.0.1:{service}\"\n{auth}\n",
            data = folder.display()
        )
    };
    let roles =
        [("edge", edge), ("service", service)].map(|(role, port)| (role, format!("http://127.0.0.1:{port}")));
    let ready: Vec<String> = roles.iter().map(|(_, address)| address.clone()).collect();
    (Overread::all(Path::new(env!("CARGO_BIN_EXE_overread")), &ready, config), roles)
}

/// Runs `schemathesis` against a role; it finds nothing.
fn ask(address: &str, token: Option<&str>) {
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new(tools().join("venv/bin/st"));
    command
        .arg("--config-file")
        .arg(workspace().join("tests/peers/schemathesis.toml"))
        .arg("--no-color")
        .arg("run");
    command.arg(format!("{address}/api/v1/openapi.json")).current_dir(folder.path());
    if let Some(token) = token {
        command.args(["--header", &format!("Authorization: Bearer {token}")]);
    }
    let mut run = || command.output().unwrap_or_else(|e| panic!("schemathesis: {e}; run ./x setup"));
    // CPython 3.11 now and then fails inside `ast.parse` with a SystemError, which says nothing of us: the question is put again.
    let its_own =
        |said: &[u8]| String::from_utf8_lossy(said).contains("AST constructor recursion depth mismatch");
    let mut output = run();
    for _ in 0..2 {
        if its_own(&output.stdout) {
            output = run();
        }
    }
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{address}: {said}{}", String::from_utf8_lossy(&output.stderr));
    assert!(said.contains("No issues found"), "{said}");
}

#[test]
fn what_nobody_is_asked_for_a_token_for_is_as_documented() {
    let (overread, roles) = start("");
    for (_, address) in &roles {
        ask(address, None);
    }
    assert!(!overread.log().contains("panicked"), "{}", overread.log());
}

#[test]
fn what_a_token_opens_is_as_documented_and_closed_without() {
    let (overread, roles) = start("auth = \"token\"");
    for (role, address) in &roles {
        let token = ["token", "new", "schemathesis", "--scope", "read,operate,store", "--role", role];
        let token = overread.command(&token).unwrap();
        ask(address, token.split_whitespace().find(|word| word.starts_with("ovr_")));
    }
    assert!(!overread.log().contains("panicked"), "{}", overread.log());
}
