//! Annex E held against peers: dciodvfy finds no new error, pydicom finds no mark.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod support;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use overread_deid::{Deidentifier, Pixels, Profile, PseudonymKey, Verdict};
use overread_dicom::read::{Limits, Opened, open};
use overread_testkit::tools::{dciodvfy_errors, python};
use support::originals;

fn deidentifier(profile: &str) -> Deidentifier {
    Deidentifier::new(Profile::shipped(profile).unwrap(), PseudonymKey::from_bytes([1; 32]))
}

/// The object that leaves, if it may.
fn leave(deidentifier: &Deidentifier, path: &Path) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    match deidentifier.write(path, Pixels::Cleaned, &Limits::default(), &mut bytes) {
        Ok(Verdict::Written(written)) => {
            assert_eq!(written.bytes, bytes.len() as u64);
            Ok(bytes)
        }
        Ok(Verdict::Quarantined(reasons)) => Err(reasons.join("; ")),
        Err(error) => Err(error.to_string()),
    }
}

/// dciodvfy's errors without the UIDs in them, which change.
fn errors(file: &Path) -> BTreeSet<String> {
    let words = |line: String| {
        let uid = |w: &str| w.bytes().all(|b| b.is_ascii_digit() || b == b'.');
        line.split(' ').map(|w| if uid(w) { "UID" } else { w }).collect::<Vec<_>>().join(" ")
    };
    dciodvfy_errors(file).into_iter().map(words).collect()
}

#[test]
fn dciodvfy_finds_no_new_error_in_any_object() {
    let folder = tempfile::tempdir().unwrap();
    let profiles = ["strict", "radiology", "cardiology", "ophthalmology"].map(|p| (p, deidentifier(p)));
    let (mut seen, mut wrong) = (0, Vec::new());
    for path in originals() {
        let Ok(Opened::Dicom(file)) = open(&path, &Limits::default()) else { continue };
        // dciodvfy does not inflate, so it has nothing to compare with.
        if file.header().transfer_syntax == "1.2.840.10008.1.2.1.99" {
            continue;
        }
        let mut before = None;
        for (profile, deidentifier) in &profiles {
            let Ok(bytes) = leave(deidentifier, &path) else { continue };
            let copy = folder.path().join("copy.dcm");
            std::fs::write(&copy, bytes).unwrap();
            let before = before.get_or_insert_with(|| errors(&path));
            seen += 1;
            let name = path.file_name().unwrap().to_string_lossy();
            wrong.extend(errors(&copy).difference(before).map(|e| format!("{name}, {profile}: {e}")));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(seen > 500, "only {seen} objects left");
}

/// Objects of many kinds, with marks in every attribute that somebody fills in.
fn marked(folder: &Path) -> Vec<PathBuf> {
    let kinds = [
        "CT_small.dcm",
        "MR_small.dcm",
        "rtplan.dcm",
        "test-SR.dcm",
        "reportsi.dcm",
        "waveform_ecg.dcm",
        "liver_1frame.dcm",
        "eCT_Supplemental.dcm",
        "color-pl.dcm",
        "examples_palette.dcm",
        "RG1_UNCI.dcm",
        "US1_UNCI.dcm",
    ];
    let all = originals();
    let files: Vec<PathBuf> = kinds
        .iter()
        .filter_map(|kind| all.iter().find(|p| p.file_name().unwrap().to_string_lossy() == *kind))
        .cloned()
        .collect();
    assert!(files.len() >= 9, "{} kinds of objects are there", files.len());
    let mut args = vec![PathBuf::from("plant"), folder.to_owned()];
    args.extend(files);
    serde_json::from_str(&python("deid_canary.py", &args)).unwrap()
}

fn found_by_pydicom(files: &[PathBuf]) -> Vec<Vec<[String; 2]>> {
    let mut args = vec![PathBuf::from("find")];
    args.extend_from_slice(files);
    serde_json::from_str(&python("deid_canary.py", &args)).unwrap()
}

#[test]
fn pydicom_finds_no_mark_in_what_leaves_and_every_mark_in_what_came() {
    let folder = tempfile::tempdir().unwrap();
    let originals = marked(folder.path());
    for finds in found_by_pydicom(&originals) {
        let marks: BTreeSet<_> = finds.iter().map(|f| &f[1]).collect();
        assert!(
            marks.len() == 6 && finds.len() > 200,
            "the original is not marked: {marks:?} at {}",
            finds.len()
        );
    }
    for profile in ["strict", "radiology", "ct-mr-head", "pathology", "cardiology"] {
        let deidentifier = deidentifier(profile);
        let out = tempfile::tempdir().unwrap();
        let mut left = Vec::new();
        for path in &originals {
            let bytes =
                leave(&deidentifier, path).unwrap_or_else(|e| panic!("{profile}, {}: {e}", path.display()));
            left.push(out.path().join(path.file_name().unwrap()));
            std::fs::write(left.last().unwrap(), bytes).unwrap();
        }
        for (path, finds) in left.iter().zip(found_by_pydicom(&left)) {
            assert!(finds.is_empty(), "{profile}, {}: {finds:?}", path.display());
        }
    }
}
