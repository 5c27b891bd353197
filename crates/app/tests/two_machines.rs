//! A service and an edge as two installations: a code is carried from one to the other, and from then on certificates speak.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod support;

use std::path::Path;

use overread_testkit::{Overread, free_port};
use serde_json::Value;
use support::{overread, run, text};

/// A service with a door for enrolled edges.
fn service(link: u16) -> Overread {
    let http = free_port();
    let config = |folder: &Path| {
        format!(
            "[service]\ndata = \"{}\"\n[service.http]\nbind = \"127.0.0.1:{http}\"\n[service.link]\nbind = \"127.0.0.1:{link}\"\n",
            folder.join("service").display()
        )
    };
    let binary = Path::new(env!("CARGO_BIN_EXE_overread"));
    Overread::role("service", binary, &[format!("http://127.0.0.1:{http}")], config)
}

/// An edge's configuration and folder.
struct Edge {
    folder: tempfile::TempDir,
}

impl Edge {
    fn new(link: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let config = format!(
            "[edge]\ndata = \"{}/edge\"\n[edge.http]\nbind = \"127.0.0.1:{}\"\n[edge.dimse]\nbind = \"127.0.0.1:{}\"\n[link]\nurl = \"{link}\"\n",
            folder.path().display(),
            free_port(),
            free_port()
        );
        std::fs::write(folder.path().join("overread.toml"), config).unwrap();
        Self { folder }
    }

    /// Runs a command on its configuration; its status and all it printed.
    fn command(&self, args: &[&str]) -> (Option<i32>, String) {
        let config = self.folder.path().join("overread.toml");
        let output = run(overread().args(args).arg("--config").arg(config));
        (output.status.code(), text(&output.stdout) + &text(&output.stderr))
    }

    /// What the doctor says of the link.
    fn link(&self) -> (String, String) {
        let (_, said) = self.command(&["doctor", "--role", "edge", "--format", "json"]);
        let checks: Vec<Value> = serde_json::from_str(&said).unwrap();
        let check = checks.iter().rfind(|c| c["name"].as_str().unwrap().starts_with("link")).unwrap();
        (check["verdict"].as_str().unwrap().to_owned(), check["found"].as_str().unwrap().to_owned())
    }
}

#[test]
fn an_edge_enrols_and_is_revoked_from_the_command_line() {
    let link = free_port();
    let service = service(link);
    let edge = Edge::new(&format!("https://localhost:{link}"));
    let (verdict, found) = edge.link();
    assert!(verdict == "failed" && found.contains("not enrolled"), "{found}");
    assert!(service.command(&["client", "code", "north"]).unwrap_err().contains("overread client add"));
    service.command(&["client", "add", "north"]).unwrap();
    assert!(service.command(&["client", "add", "North!"]).unwrap_err().contains("lower-case"));
    let code = service.command(&["client", "code", "north", "--hours", "1"]).unwrap();
    let code = code.trim();
    let (status, said) = edge.command(&["enrol", "--name", "ward 7", code]);
    assert_eq!(status, Some(0), "{said}");
    assert!(said.contains("north") && !said.contains(code), "{said}");
    let (verdict, found) = edge.link();
    assert!(verdict == "ok" && found.contains("knows our certificate"), "{found}");
    // Once is enough, unless it is asked for.
    let (status, said) = edge.command(&["enrol", code]);
    assert!(status == Some(1) && said.contains("--again"), "{said}");
    let (status, said) = edge.command(&["enrol", "--again", code]);
    assert!(status == Some(1) && said.contains("the code is not valid"), "{said}");
    let (_, found) = edge.link();
    assert!(found.contains("knows our certificate"), "a refused attempt replaced it: {found}");
    let clients: Value =
        serde_json::from_str(&service.command(&["client", "ls", "--format", "json"]).unwrap()).unwrap();
    let north = clients.as_array().unwrap().iter().find(|c| c["client"] == "north").unwrap();
    assert_eq!(north["edges"][0]["name"], "ward 7");
    assert!(service.command(&["client", "ls"]).unwrap().contains("ward 7"));
    service.command(&["client", "revoke", north["edges"][0]["id"].as_str().unwrap()]).unwrap();
    let (verdict, found) = edge.link();
    assert!(verdict == "failed" && found.contains("revoked"), "{found}");
    assert!(service.command(&["audit", "ls", "--role", "service"]).unwrap().contains("edge.revoked"));
    assert!(!service.log().contains(code), "the code is in the log");
}

#[test]
fn nothing_crosses_a_network_in_the_clear() {
    let edge = Edge::new("http://reader.example:8081");
    let (status, said) = edge.command(&["edge"]);
    assert_eq!(status, Some(78), "{said}");
    assert!(said.contains("link.url") && said.contains("overread enrol"), "{said}");
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("overread.toml");
    let lines = format!(
        "[service]\ndata = \"{}\"\nlink_token = \"{}\"\n[service.http]\nbind = \"0.0.0.0:{}\"\nauth = \"token\"\n",
        folder.path().display(),
        "0123456789abcdef".repeat(4),
        free_port()
    );
    std::fs::write(&config, lines).unwrap();
    let output = run(overread().args(["service", "--config"]).arg(&config));
    assert_eq!(output.status.code(), Some(78));
    assert!(text(&output.stderr).contains("service.link.bind"), "{}", text(&output.stderr));
}
