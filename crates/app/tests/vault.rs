//! The vault from the command line, and that nothing of it reaches whoever reads images without the patient.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod support;

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use overread_testkit::dcmtk::{Peer, storescu};
use overread_testkit::process::descendants;
use overread_testkit::{Overread, free_port, http, samples, wait_until};
use support::site::PATIENCE;

/// 32 bytes that stand nowhere else.
const KEY: &str = "b3ZlcnJlYWQtdmF1bHQtdGVzdC1rZXktMDEyMzQ1Njc=";
const OTHER: &str = "6f76657272656164207661756c742074657374206b6579206f74686572203031";

/// The two roles, the port of DICOM and the address of the service.
fn both(variable: &str) -> (Overread, u16, String) {
    let (edge, service, dimse) = (free_port(), free_port(), free_port());
    let config = |folder: &Path| {
        format!(
            "[edge]\ndata = \"{data}/edge\"\nallow_burned_in = true\n[edge.vault]\nkey_file = \"{data}/elsewhere.key\"\n[edge.http]\nbind = \"127.0.0.1:{edge}\"\n\
             [edge.dimse]\nbind = \"127.0.0.1:{dimse}\"\n[edge.completion]\nquiet_seconds = 1.0\n\
             [service]\ndata = \"{data}/service\"\n[service.http]\nbind = \"127.0.0.1:{service}\"\n",
            data = folder.display()
        )
    };
    let ready = [edge, service].map(|port| format!("http://127.0.0.1:{port}"));
    let binary = Path::new(env!("CARGO_BIN_EXE_overread"));
    let url = ready[1].clone();
    (Overread::with("all", binary, &ready, &[("OVERREAD_VAULT_KEY", variable)], config), dimse, url)
}

fn environment(id: u32) -> String {
    String::from_utf8_lossy(&std::fs::read(format!("/proc/{id}/environ")).unwrap()).into_owned()
}

#[test]
fn the_service_and_its_children_get_neither_key_nor_path() {
    let (overread, dimse, url) = both(KEY);
    let folder = tempfile::tempdir().unwrap();
    let film = &samples::children_j2k(folder.path(), "vault", 1)[0];
    assert!(storescu(&Peer::new(dimse, "OVERREAD"), &["-xv"], &[&film.path]).complete);
    let service = overread.role_id("service").unwrap();
    let edge = overread.role_id("edge").unwrap();
    assert!(environment(edge).contains(KEY), "the edge itself has it");
    let mut looked = 0;
    // The child that decodes the film comes and goes: all that are there until it is read are looked at.
    let mut nothing_is_seen = || {
        for id in std::iter::once(service).chain(descendants(service).into_iter().map(|(id, _)| id)) {
            let file = |name: &str| std::fs::read(format!("/proc/{id}/{name}")).unwrap_or_default();
            let found = String::from_utf8_lossy(&[file("environ"), file("cmdline")].concat()).into_owned();
            for word in [KEY, "VAULT", "elsewhere.key", "OVERREAD_EDGE"] {
                assert!(!found.contains(word), "{word} in a process of the service");
            }
            looked += 1;
        }
    };
    wait_until("the film is read", PATIENCE, || {
        nothing_is_seen();
        http::get(&format!("{url}/api/v1/cases")).is_ok_and(|a| a.text().contains("cxr-pneumonia"))
    });
    assert!(looked >= 1);
    // The variable is the key: no file was made beside it.
    assert!(!overread.folder().join("elsewhere.key").exists());
    assert!(!overread.folder().join("edge/vault.key").exists());
    assert!(!overread.log().contains(KEY));
}

#[test]
fn a_patient_is_erased_by_whoever_types_their_id_and_keys_move_from_a_variable_to_another() {
    let (mut overread, dimse, _) = both(KEY);
    let folder = tempfile::tempdir().unwrap();
    let films = samples::children(folder.path(), "typed", 2);
    let paths: Vec<_> = films.iter().map(|f| &f.path).collect();
    assert!(storescu(&Peer::new(dimse, "OVERREAD"), &[], &paths).complete);
    let erase = |id: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_overread"));
        command.args(["patient", "erase", "--reason", "asked for it", "--config"]).arg(overread.config());
        command
            .current_dir(overread.folder())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        writeln!(child.stdin.take().unwrap(), "{id}").unwrap();
        let output = child.wait_with_output().unwrap();
        (
            output.status.success(),
            String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned(),
        )
    };
    let (erased, said) = erase(&films[0].patient_id);
    assert!(erased && said.contains("\"studies\": 1"), "{said}");
    let (erased, said) = erase(&films[0].patient_id);
    assert!(!erased && said.contains("nobody is known under that Patient ID"), "{said}");
    assert!(!erase("").0);
    wait_until("nothing is left to do", PATIENCE, || {
        overread.command(&["jobs", "ls", "--kind", "erase"]).unwrap().contains("no jobs")
            && overread.command(&["jobs", "ls", "--kind", "forget"]).unwrap().contains("no jobs")
    });
    overread.stop();
    // The new key alone does not open it, and says so by the status of a configuration that does not work or of a command that cannot.
    let (rotated, said) = rotate(&overread, OTHER);
    assert!(!rotated && said.contains("the vault is sealed under the master key"), "{said}");
    let (rotated, said) = rotate(&overread, &format!("{OTHER},{KEY}"));
    assert!(
        rotated && said.contains("\"rewrapped\":3") && said.contains("leave the newest key alone"),
        "{said}"
    );
    let (rotated, said) = rotate(&overread, OTHER);
    assert!(rotated && said.contains("\"rewrapped\":0"), "{said}");
    let (rotated, said) = rotate(&overread, KEY);
    assert!(!rotated && said.contains("the vault is sealed under the master key"), "{said}");
    assert!(!overread.log().contains(samples::CANARY), "identity is in the log");
}

fn rotate(overread: &Overread, keys: &str) -> (bool, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_overread"));
    command.args(["vault", "rotate", "--config"]).arg(overread.config()).current_dir(overread.folder());
    let output = command.env("OVERREAD_VAULT_KEY", keys).output().unwrap();
    (output.status.success(), String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
}
