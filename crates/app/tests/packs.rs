//! `overread pack …`: listing, checking, signing, importing, refusing.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod support;

use std::fs;

use support::{copy, overread, run, synthetic, text};

#[test]
fn the_starter_packs_are_signed_and_run() {
    let listed = run(overread().args(["pack", "ls", "--format", "json"]));
    assert!(listed.status.success(), "{}", text(&listed.stderr));
    let packs: serde_json::Value = serde_json::from_slice(&listed.stdout).unwrap();
    let packs = packs.as_array().unwrap();
    assert!(packs.iter().any(|p| p["id"] == "cxr-pneumonia"));
    for pack in packs {
        assert!(pack["standing"].as_str().unwrap().starts_with("signed by "), "{pack}");
        let verified = run(overread().args(["pack", "verify", pack["id"].as_str().unwrap()]));
        assert!(verified.status.success(), "{}", text(&verified.stderr));
    }
}

#[test]
fn a_starter_packs_card_says_what_every_card_must() {
    let shown = text(&run(overread().args(["pack", "show", "cxr-pneumonia"])).stdout);
    assert!(shown.to_lowercase().contains("not for clinical use without local validation"), "{shown}");
    assert!(shown.contains("AUROC"));
}

#[test]
fn a_signed_pack_is_imported_and_a_changed_one_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let (pack, key, shelf) =
        (folder.path().join("pack"), folder.path().join("key"), folder.path().join("shelf"));
    copy(&synthetic("brightness"), &pack);
    let made = run(overread().args(["pack", "keygen"]).arg(&key));
    let trust = folder.path().join("trust.toml");
    fs::write(&trust, &made.stdout).unwrap();
    let again = run(overread().args(["pack", "keygen"]).arg(&key));
    assert_eq!(again.status.code(), Some(1), "a key is never overwritten");

    let import = || {
        let mut command = overread();
        command.arg("pack").arg("import").arg(&pack).arg("--to").arg(&shelf).arg("--trust").arg(&trust);
        run(&mut command)
    };
    let unsigned = import();
    assert!(text(&unsigned.stderr).contains("not signed"), "{}", text(&unsigned.stderr));

    assert!(run(overread().args(["pack", "sign"]).arg(&pack).arg("--key").arg(&key)).status.success());
    let good = import();
    assert!(good.status.success(), "{}", text(&good.stderr));
    assert!(shelf.join("brightness/head.safetensors").is_file());
    assert!(text(&import().stderr).contains("exists"));

    fs::write(pack.join("docs/README.md"), "a better story").unwrap();
    fs::remove_dir_all(shelf.join("brightness")).unwrap();
    let changed = import();
    assert_eq!(changed.status.code(), Some(1));
    assert!(text(&changed.stderr).contains("after signing"), "{}", text(&changed.stderr));
    assert!(!shelf.join("brightness").exists());
}

#[test]
fn a_missing_tensor_and_a_missing_library_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let pack = folder.path().join("pack");
    copy(&synthetic("brightness"), &pack);
    fs::remove_file(pack.join("head.safetensors")).unwrap();
    let output = run(overread().args(["pack", "verify"]).arg(&pack));
    assert!(text(&output.stderr).contains("head.safetensors"), "{}", text(&output.stderr));
    let output = run(overread()
        .args(["pack", "verify"])
        .arg(synthetic("brightness"))
        .args(["--onnxruntime", "/nonexistent.so"]));
    assert!(text(&output.stderr).contains("/nonexistent.so"), "{}", text(&output.stderr));
}
