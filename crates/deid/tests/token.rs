//! A master key in a PKCS#11 token: SoftHSM2, which the system's packages bring. Its configuration comes from the environment, so each test is a process
//! of its own.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use overread_deid::vault::{DataKey, Masters, Place, SoftMaster, Token, VaultError};

const PIN: &str = "98765";

fn module() -> PathBuf {
    let places = ["/usr/lib/softhsm/libsofthsm2.so", "/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so"];
    places.iter().map(PathBuf::from).find(|p| p.exists()).expect("softhsm2 is missing; run ./x setup")
}

fn utility(folder: &Path, args: &[&str]) {
    let mut command = Command::new("softhsm2-util");
    let done = command.args(args).env("SOFTHSM2_CONF", folder.join("softhsm2.conf")).output().unwrap();
    assert!(
        done.status.success(),
        "{}{}",
        String::from_utf8_lossy(&done.stdout),
        String::from_utf8_lossy(&done.stderr)
    );
}

/// A token with two AES keys.
fn token(folder: &Path) {
    std::fs::create_dir(folder.join("tokens")).unwrap();
    let conf = format!("directories.tokendir = {}\nlog.level = ERROR\n", folder.join("tokens").display());
    std::fs::write(folder.join("softhsm2.conf"), conf).unwrap();
    utility(folder, &["--init-token", "--free", "--label", "overread", "--so-pin", "12345678", "--pin", PIN]);
    for (label, id, byte) in [("first", "01", 1), ("second", "02", 2)] {
        let file = folder.join(label);
        std::fs::write(&file, [byte; 32]).unwrap();
        let file = file.to_str().unwrap();
        utility(
            folder,
            &["--import", file, "--aes", "--token", "overread", "--label", label, "--id", id, "--pin", PIN],
        );
    }
}

fn place(key: &str) -> Place {
    Place { module: module(), token: "overread".into(), pin: PIN.to_owned().into(), key: key.into() }
}

#[test]
fn a_key_in_a_token_wraps_and_is_replaced_by_another() {
    let folder = tempfile::tempdir().unwrap();
    token(folder.path());
    let done = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "in_the_child", "--ignored", "--nocapture"])
        .env("SOFTHSM2_CONF", folder.path().join("softhsm2.conf"))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&done.stdout);
    assert!(
        done.status.success() && said.contains("1 passed"),
        "{said}{}",
        String::from_utf8_lossy(&done.stderr)
    );
}

#[test]
#[ignore = "the other test runs it, with a token"]
fn in_the_child() {
    let key = DataKey::random().unwrap();
    let fingerprint = key.fingerprint(&["same"]);
    let soft: Arc<SoftMaster> = Arc::new(SoftMaster::random().unwrap());
    let first = Arc::new(Token::open(&place("first")).unwrap());
    // From a file into the token.
    let moving = Masters::new(vec![first.clone(), soft.clone()]).unwrap();
    let wrapped = Masters::new(vec![soft]).unwrap().wrap("p", &key).unwrap();
    let wrapped = moving.rewrap("p", &wrapped).unwrap();
    let alone = Masters::new(vec![first.clone()]).unwrap();
    assert_eq!(alone.unwrap("p", &wrapped).unwrap().fingerprint(&["same"]), fingerprint);
    assert!(matches!(alone.unwrap("q", &wrapped), Err(VaultError::Seal { .. })), "under another name");
    // To another key of the token, which opens alone what the first wrapped no more.
    let second = Arc::new(Token::open(&place("second")).unwrap());
    let wrapped = Masters::new(vec![second.clone(), first]).unwrap().rewrap("p", &wrapped).unwrap();
    let second = Masters::new(vec![second]).unwrap();
    assert_eq!(second.unwrap("p", &wrapped).unwrap().fingerprint(&["same"]), fingerprint);
    assert!(matches!(alone.unwrap("p", &wrapped), Err(VaultError::UnknownMaster { .. })));
    let error = Token::open(&place("third")).err().unwrap();
    assert_eq!(std::error::Error::source(&error).unwrap().to_string(), "no AES key has this label");
}
