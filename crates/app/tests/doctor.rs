//! `overread doctor` beside real peers: each misconfiguration is found, and the right side named.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod support;

use std::net::TcpListener;
use std::path::Path;

use overread_testkit::{Orthanc, certificates, free_port};
use serde_json::{Value, json};
use support::{overread, run};

/// A configuration whose data lies in a folder of the test, in a file of its own.
struct Clinic {
    folder: tempfile::TempDir,
}

impl Clinic {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    fn file(&self, name: &str, text: &str) -> String {
        let path = self.folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    }

    /// Examines the edge with these lines and free ports.
    fn examine(&self, lines: &str) -> Vec<Value> {
        let text = format!(
            "[edge]\ndata = \"{}/edge\"\n[edge.http]\nbind = \"127.0.0.1:{}\"\n{lines}",
            self.folder.path().display(),
            free_port()
        );
        // Lines that set the DICOM door bring its address with them.
        let text = if lines.contains("[edge.dimse]") {
            text
        } else {
            format!("{text}[edge.dimse]\nbind = \"127.0.0.1:{}\"\n", free_port())
        };
        self.doctor(&text, &["--role", "edge"])
    }

    fn doctor(&self, text: &str, more: &[&str]) -> Vec<Value> {
        let config = self.file("overread.toml", text);
        let output = run(overread().args(["doctor", "--format", "json", "--config", &config]).args(more));
        let checks: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap();
        let failed = checks.iter().any(|c| c["verdict"] == "failed");
        assert_eq!(output.status.code(), Some(i32::from(failed)), "{checks:#?}");
        checks
    }
}

fn pacs(port: u16, title: &str, more: &str) -> String {
    format!(
        "[edge.destination.pacs]\nkind = \"dimse\"\nhost = \"127.0.0.1\"\nport = {port}\nae_title = \"{title}\"\n{more}\n"
    )
}

/// The one check that failed: the side, and the key with its line in the file.
fn the_failure(checks: &[Value]) -> (&str, &str, &str) {
    let failed: Vec<&Value> = checks.iter().filter(|c| c["verdict"] == "failed").collect();
    assert_eq!(failed.len(), 1, "{checks:#?}");
    let text = |name: &str| failed[0][name].as_str().unwrap_or_default();
    (text("side"), text("key"), text("place"))
}

#[test]
fn nothing_listens_at_the_destinations_port() {
    let checks = Clinic::new().examine(&pacs(free_port(), "ORTHANC", ""));
    let (side, key, place) = the_failure(&checks);
    assert_eq!((side, key), ("either", "edge.destination.pacs.port"));
    // The line of the file that holds the port.
    assert!(place.ends_with("overread.toml:8"), "{place}");
}

#[test]
fn the_destination_has_another_ae_title() {
    let orthanc = Orthanc::setup().title("PACS").check_called_title().start();
    let checks = Clinic::new().examine(&pacs(orthanc.dicom_port(), "ORTHANC", ""));
    assert_eq!(the_failure(&checks).0, "ours", "{checks:#?}");
    assert_eq!(the_failure(&checks).1, "edge.destination.pacs.ae_title");
    let checks = Clinic::new().examine(&pacs(orthanc.dicom_port(), "PACS", ""));
    assert!(checks.iter().all(|c| c["verdict"] != "failed"), "{checks:#?}");
}

#[test]
fn the_destination_does_not_know_us() {
    let orthanc = Orthanc::setup().refuse_unknown().start();
    let lines = pacs(orthanc.dicom_port(), "ORTHANC", "");
    let checks = Clinic::new().examine(&lines);
    assert_eq!(the_failure(&checks).0, "peers", "{checks:#?}");
    let change = checks.iter().find(|c| c["verdict"] == "failed").unwrap()["change"].as_str().unwrap();
    assert!(change.contains("OVERREAD"), "{change}");
    // Registered, as it was told to.
    orthanc.modality("overread", "OVERREAD", 11112, &json!({}));
    let checks = Clinic::new().examine(&lines);
    assert!(checks.iter().all(|c| c["verdict"] != "failed"), "{checks:#?}");
}

#[test]
fn the_destination_speaks_tls_and_we_do_not_or_trust_another_authority() {
    let clinic = Clinic::new();
    let (theirs, others) = (certificates(), certificates());
    let certificate = clinic.file("pacs.pem", &theirs.certificate);
    let key = clinic.file("pacs.key", &theirs.key);
    let orthanc = Orthanc::setup().tls(Path::new(&certificate), Path::new(&key), None).start();
    let checks = clinic.examine(&pacs(orthanc.dicom_port(), "ORTHANC", ""));
    let (side, key, _) = the_failure(&checks);
    assert_eq!((side, key), ("ours", "edge.destination.pacs.tls"), "{checks:#?}");

    let trusting = |authority: &str| {
        let file = clinic.file("authority.pem", authority);
        clinic.examine(&pacs(orthanc.dicom_port(), "ORTHANC", &format!("tls = {{ authority = \"{file}\" }}")))
    };
    let checks = trusting(&others.authority);
    let (side, key, _) = the_failure(&checks);
    assert_eq!((side, key), ("either", "edge.destination.pacs.tls"), "{checks:#?}");
    let checks = trusting(&theirs.authority);
    assert!(checks.iter().all(|c| c["verdict"] != "failed"), "{checks:#?}");
}

#[test]
fn the_destination_takes_no_reports() {
    let port = free_port();
    let _scp = overread_testkit::tools::python_service("narrow_scp.py", &[&port.to_string()]);
    let checks = Clinic::new().examine(&pacs(port, "NARROW", ""));
    assert_eq!(the_failure(&checks).0, "peers", "{checks:#?}");
    let found = checks.iter().find(|c| c["verdict"] == "failed").unwrap()["found"].as_str().unwrap();
    assert!(found.contains("SR") && found.contains("Secondary Capture"), "{found}");
}

#[test]
fn the_disk_is_fuller_than_the_reserve() {
    let checks = Clinic::new().examine("[edge.limits]\nreserve_bytes = 9000000000000000000\n");
    assert_eq!((the_failure(&checks).0, the_failure(&checks).1), ("ours", "edge.limits.reserve_bytes"));
}

#[test]
fn another_program_has_our_port() {
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let bind = other.local_addr().unwrap();
    // It hangs up on whoever comes, until the tests end.
    std::thread::spawn(move || other.incoming().for_each(drop));
    let checks = Clinic::new().examine(&format!("[edge.dimse]\nbind = \"{bind}\"\n"));
    let (side, key, place) = the_failure(&checks);
    assert_eq!((side, key), ("ours", "edge.dimse.bind"), "{checks:#?}");
    assert!(place.ends_with("overread.toml:6"), "{place}");
}

#[test]
fn a_key_is_misspelt() {
    let checks = Clinic::new().doctor("[edge.dimse]\nae_titel = \"OVERREAD\"\n", &[]);
    let found = checks.iter().find(|c| c["verdict"] == "failed").unwrap()["found"].as_str().unwrap();
    assert!(
        found.contains("overread.toml:2: edge.dimse.ae_titel") && found.contains("did you mean ae_title?"),
        "{found}"
    );
}

#[test]
fn a_pacs_that_may_not_call_is_told() {
    let orthanc = Orthanc::start();
    let lines = format!(
        "[edge.dimse]\nbind = \"127.0.0.1:{}\"\ncalling = [\"CT1\"]\n{}",
        free_port(),
        pacs(orthanc.dicom_port(), "ORTHANC", "")
    );
    let checks = Clinic::new().examine(&lines);
    let told = checks.iter().find(|c| c["key"] == "edge.dimse.calling").unwrap();
    assert_eq!((&told["verdict"], &told["side"]), (&json!("warning"), &json!("ours")));
}

#[test]
fn a_dicomweb_address_is_wrong() {
    let orthanc = Orthanc::start();
    let web = |url: &str| format!("[edge.destination.pacs]\nkind = \"stow\"\nurl = \"{url}\"\n");
    let clinic = Clinic::new();
    let checks = clinic.examine(&web(&format!("{}/dicomweb", orthanc.url())));
    let (side, key, _) = the_failure(&checks);
    assert_eq!((side, key), ("ours", "edge.destination.pacs.url"), "{checks:#?}");
    let checks = clinic.examine(&web(&orthanc.dicomweb()));
    assert!(checks.iter().all(|c| c["verdict"] != "failed"), "{checks:#?}");
}

#[test]
fn a_running_installation_is_well_and_a_test_picture_arrives() {
    let site = support::site::Site::start(|_| String::new());
    let output = site.overread.command(&["doctor", "--format", "json", "--test-store"]).unwrap();
    let checks: Vec<Value> = serde_json::from_str(&output).unwrap();
    assert!(checks.iter().all(|c| c["verdict"] == "ok"), "{output}");
    let instances = site.orthanc.instances(None);
    assert_eq!(instances.len(), 1);
    assert_eq!(site.orthanc.tags(&instances[0])["PatientID"], "OVERREAD-TEST");
}

#[test]
fn the_token_of_the_link_is_another() {
    let (service, token) = (free_port(), "0123456789abcdef".repeat(4));
    let _running = overread_testkit::Overread::role(
        "service",
        Path::new(env!("CARGO_BIN_EXE_overread")),
        &[format!("http://127.0.0.1:{service}")],
        |folder| {
            format!(
                "[service]\ndata = \"{}\"\nlink_token = \"{token}\"\n[service.http]\nbind = \"127.0.0.1:{service}\"\n",
                folder.join("service").display()
            )
        },
    );
    let link = |token: &str| format!("[link]\nurl = \"http://127.0.0.1:{service}\"\ntoken = \"{token}\"\n");
    let checks = Clinic::new().examine(&link("another"));
    let (side, key, _) = the_failure(&checks);
    assert_eq!((side, key), ("ours", "link.token"), "{checks:#?}");
    let checks = Clinic::new().examine(&link(&token));
    assert!(checks.iter().all(|c| c["verdict"] != "failed"), "{checks:#?}");
}
