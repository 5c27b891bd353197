//! The commands that a person operates with: tokens, status, jobs, audit, configuration.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod support;

use std::path::Path;

use overread_testkit::{Overread, free_port};
use serde_json::Value;
use support::{overread, run, text};

/// An edge that asks for tokens, beside no service.
fn guarded() -> Overread {
    let (http, dimse) = (free_port(), free_port());
    let config = |folder: &Path| {
        format!(
            "[edge]\nallow_burned_in = true\ndeid.recognizable_features = \"keep\"\ndata = \"{}\"\n[edge.http]\nbind = \"127.0.0.1:{http}\"\nauth = \"token\"\n[edge.dimse]\nbind = \"127.0.0.1:{dimse}\"\n\
             [link]\nurl = \"http://127.0.0.1:1\"\ntoken = \"0123456789abcdef0123456789abcdef\"\n",
            folder.join("edge").display()
        )
    };
    Overread::role(
        "edge",
        Path::new(env!("CARGO_BIN_EXE_overread")),
        &[format!("http://127.0.0.1:{http}")],
        config,
    )
}

#[test]
fn a_token_from_the_command_line_opens_the_door_until_it_is_revoked() {
    let edge = guarded();
    let refused = edge.command(&["status", "--role", "edge"]).unwrap_err();
    assert!(refused.contains("overread token new NAME --role edge"), "{refused}");
    let token = edge.command(&["token", "new", "laptop", "--scope", "read"]).unwrap();
    let token = token.trim();
    assert!(token.starts_with("ovr_"), "not a token");
    let ask = |words: &[&str]| edge.command(&[words, &["--token", token]].concat());
    let status: Value =
        serde_json::from_str(&ask(&["status", "--role", "edge", "--format", "json"]).unwrap()).unwrap();
    assert_eq!(status["edge"]["role"], "edge");
    assert!(ask(&["status", "--role", "edge"]).unwrap().contains("conflicts"));
    assert_eq!(ask(&["jobs", "ls", "--role", "edge"]).unwrap().trim(), "no jobs");
    // A destination's jobs have its name in their kind.
    assert_eq!(ask(&["jobs", "ls", "--role", "edge", "--kind", "deliver:pacs"]).unwrap().trim(), "no jobs");
    assert!(ask(&["audit", "verify", "--role", "edge"]).unwrap().contains("the chain holds, 1 entries"));
    assert!(ask(&["audit", "ls"]).unwrap().contains("token.create"));
    // It may look, and no more.
    let refused = ask(&["jobs", "requeue", "--dead"]).unwrap_err();
    assert!(refused.contains("operate"), "{refused}");

    let listed: Value =
        serde_json::from_str(&edge.command(&["token", "ls", "--format", "json"]).unwrap()).unwrap();
    let id = listed[0]["id"].as_str().unwrap();
    assert!(!listed.to_string().contains(token.rsplit('_').next().unwrap()), "the secret is listed");
    edge.command(&["token", "revoke", id]).unwrap();
    assert!(ask(&["status", "--role", "edge"]).is_err());
}

#[test]
fn a_configuration_that_does_not_work_ends_with_78_and_names_the_line() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("overread.toml");
    for (lines, told) in [
        (
            "[edge.dimse]\nae_titel = \"A\"\n",
            "overread.toml:2: edge.dimse.ae_titel: there is no such key; did you mean ae_title?",
        ),
        ("[edge]\n[edge.http]\nbind = \"0.0.0.0:1\"\n", "auth = \"token\""),
        ("[edge.dimse]\nbind = \"0.0.0.0:11112\"\n", "overread.toml:2: edge.dimse.bind"),
        ("[service]\nworkers = 5000\n", "overread.toml:2: service.workers"),
        ("[edge\n", "overread.toml:1"),
    ] {
        std::fs::write(&file, lines).unwrap();
        let output = run(overread().args(["all", "--config"]).arg(&file).current_dir(folder.path()));
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(78), "{said}");
        assert!(said.contains(told), "{said}");
    }
    // The same by a variable, which then is what is named.
    std::fs::write(&file, "").unwrap();
    let mut command = overread();
    command.args(["edge", "--config"]).arg(&file).env("OVERREAD_EDGE__DIMSE__BIND", "nowhere");
    let output = run(&mut command);
    assert_eq!(output.status.code(), Some(78));
    assert!(text(&output.stderr).contains("OVERREAD_EDGE__DIMSE__BIND"), "{}", text(&output.stderr));
}

#[test]
fn the_configuration_is_shown_without_its_secrets() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("overread.toml");
    let lines = "[edge]\ndatabase = \"postgres://u:SECRET@h/d\"\n[service]\nlink_token = \"SECRET\"\n[link]\ntoken = \"SECRET\"\n";
    std::fs::write(&file, lines).unwrap();
    let output = run(overread().args(["config", "--config"]).arg(&file));
    let shown = text(&output.stdout);
    assert!(output.status.success() && shown.contains("postgres://u:***@h/d"), "{shown}");
    assert!(!shown.contains("SECRET"), "{shown}");
    // What is shown is a configuration: all keys of it are known.
    std::fs::write(&file, shown.replace("postgres://u:***@h/d", "")).unwrap();
    let again = run(overread().args(["config", "--config"]).arg(&file));
    assert!(again.status.success(), "{}", text(&again.stderr));
}
