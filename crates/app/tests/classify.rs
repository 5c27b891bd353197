//! `overread classify` on good and bad input, with packs whose answers are known.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use serde_json::Value;
use support::{children, overread, peer, results, run, samples, synthetic, text, workspace};

fn brightness(paths: &[&Path]) -> std::process::Output {
    let mut command = overread();
    command.arg("classify").args(paths).arg("--pack").arg(synthetic("brightness"));
    run(command.args(["--allow-untrusted", "--format", "jsonl"]))
}

fn reason(result: &Value) -> String {
    result["reason"]["message"].as_str().unwrap_or_default().to_owned()
}

#[test]
fn results_come_in_input_order_and_each_photograph_is_a_study() {
    let mut files = children();
    files.reverse();
    let paths: Vec<&Path> = files.iter().map(PathBuf::as_path).collect();
    let output = brightness(&paths);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let answers = results(&output);
    let sources: Vec<&str> = answers.iter().map(|r| r["source"].as_str().unwrap()).collect();
    assert_eq!(sources, files.iter().map(|f| f.to_str().unwrap()).collect::<Vec<_>>());
    let uids: std::collections::HashSet<_> =
        answers.iter().map(|r| r["study"]["study_instance_uid"].as_str().unwrap()).collect();
    assert_eq!(uids.len(), 16);
}

#[test]
fn results_satisfy_the_documented_schema() {
    let folder = tempfile::tempdir().unwrap();
    let schema = workspace().join("docs/schema/overread.result-1.json");
    let printed = text(&run(overread().arg("schema")).stdout);
    assert_eq!(
        printed,
        fs::read_to_string(&schema).unwrap(),
        "run: overread schema > docs/schema/overread.result-1.json"
    );
    let bad = folder.path().join("text.dcm");
    fs::write(&bad, "this is a text").unwrap();
    let output = brightness(&[&children()[0], &bad, &samples().join("data_store/data/RG1_UNCI.dcm")]);
    let lines = folder.path().join("results.jsonl");
    fs::write(&lines, &output.stdout).unwrap();
    assert_eq!(peer("check_schema.py", &[&schema, &lines]).trim(), "3");
}

#[test]
fn the_same_input_gives_the_same_answer_on_any_number_of_threads() {
    let files = children();
    let answer = |workers: &str| {
        let mut command = overread();
        command.arg("classify").args(&files).arg("--pack").arg(synthetic("brightness"));
        run(command.args(["--allow-untrusted", "--format", "jsonl", "--workers", workers])).stdout
    };
    assert_eq!(answer("1"), answer("3"));
}

#[test]
fn a_bad_file_fails_alone() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    let good = fs::read(&children()[0]).unwrap();
    let dicom = fs::read(samples().join("data_store/data/693_J2KR.dcm")).unwrap();
    fs::write(root.join("1-good.jpeg"), &good).unwrap();
    fs::write(root.join("2-text.dcm"), "not an image at all").unwrap();
    fs::write(root.join("3-empty.dcm"), "").unwrap();
    fs::write(root.join("4-cut.jpeg"), &good[..200]).unwrap();
    fs::write(root.join("5-cut.dcm"), &dicom[..dicom.len() / 2]).unwrap();
    fs::write(root.join("6-good.jpeg"), &good).unwrap();
    let output = brightness(&[root]);
    assert_eq!(output.status.code(), Some(3), "{}", text(&output.stderr));
    let answers = results(&output);
    let status: Vec<&str> = answers.iter().map(|r| r["status"].as_str().unwrap()).collect();
    assert_eq!(status[0], "classified");
    assert_eq!(status[5], "classified");
    for bad in &answers[1..4] {
        assert_eq!(bad["status"], "failed", "{bad}");
        assert!(reason(bad).len() > 20, "a reason that helps: {bad}");
    }
    // The half DICOM file is an MR: this pack does not read it, or its pixels end early. Either way it is no finding.
    assert_ne!(status[4], "classified");
    assert!(text(&output.stderr).contains("studies failed"));
}

/// Two dim images of one study; the second's pixels cannot be decoded where `cut` says so.
const TWO_IMAGES: &str = r#"
import sys, pydicom, pydicom.encaps
from pydicom.uid import generate_uid
source, folder, cut = sys.argv[1:]
study = generate_uid()
for number in (1, 2):
    data = pydicom.dcmread(source)
    data.StudyInstanceUID, data.SOPInstanceUID = study, generate_uid()
    data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID
    data.PixelData = bytes([50]) * (data.Rows * data.Columns // 2) + bytes([52]) * (data.Rows * data.Columns - data.Rows * data.Columns // 2)
    if cut == "cut" and number == 2:
        data.file_meta.TransferSyntaxUID = pydicom.uid.JPEG2000Lossless
        data.PixelData = pydicom.encaps.encapsulate([b"\xff\x4f\xff\x51 no codestream at all"])
        data["PixelData"].is_undefined_length = True
    data.save_as(f"{folder}/{number}.dcm")
"#;

#[test]
fn what_was_not_seen_is_not_ruled_out() {
    let decision = |cut: &str| {
        let folder = tempfile::tempdir().unwrap();
        let source = folder.path().join("source");
        let mut command = overread();
        command
            .arg("wrap")
            .arg(&children()[0])
            .arg("--out")
            .arg(&source)
            .args(["--imager-pixel-spacing", "0.143"]);
        assert!(run(&mut command).status.success());
        let images = folder.path().join("images");
        fs::create_dir(&images).unwrap();
        let python = support::tools().join("venv/bin/python");
        let mut made = std::process::Command::new(python);
        made.arg("-c").arg(TWO_IMAGES).arg(&source).arg(&images).arg(cut);
        assert!(made.status().expect("python; run ./x setup").success());
        let answers = results(&brightness(&[&images]));
        answers.iter().map(|a| a["results"][0]["findings"][0]["decision"].to_string()).collect::<Vec<_>>()
    };
    assert_eq!(decision("whole"), ["\"absent\""]);
    assert_eq!(decision("cut"), ["\"indeterminate\""]);
}

#[test]
fn files_that_may_not_be_read_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("missing.dcm");
    let closed = folder.path().join("closed");
    fs::create_dir(&closed).unwrap();
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o000)).unwrap();
    let root = fs::read_dir(&closed).is_ok();
    let output = brightness(&[&missing, &closed, &children()[0]]);
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o700)).unwrap();
    let answers = results(&output);
    assert_eq!(answers[0]["status"], "failed");
    assert_eq!(answers[0]["source"].as_str(), missing.to_str());
    assert_eq!(answers.last().unwrap()["status"], "classified");
    if !root {
        // Root may read everything; anybody else is told.
        assert!(reason(&answers[1]).contains("cannot be read"), "{}", answers[1]);
    }
}

#[test]
fn a_study_that_no_program_reads_is_not_assessed_and_says_so() {
    let ultrasound = samples().join("data_store/data/US1_UNCI.dcm");
    let mut command = overread();
    let output = run(command.arg("classify").arg(ultrasound).args(["--format", "jsonl"]));
    let answer = &results(&output)[0];
    assert_eq!(
        (&answer["status"], &answer["reason"]["code"]),
        (&"not-assessed".into(), &"no-program".into())
    );
    assert!(output.status.success());
}

#[test]
fn prevalence_moves_the_probability_and_not_the_decision() {
    let file = &children()[0];
    let answer = |prevalence: &str| {
        let mut command = overread();
        command.arg("classify").arg(file).arg("--pack").arg(synthetic("brightness"));
        let output =
            run(command.args(["--allow-untrusted", "--format", "jsonl", "--prevalence", prevalence]));
        results(&output)[0]["results"][0]["findings"][0].clone()
    };
    let (half, rare) = (answer("0.5"), answer("0.05"));
    let odds = |f: &Value| {
        let p = f["probability"].as_f64().unwrap();
        p / (1.0 - p)
    };
    assert!((odds(&half) / odds(&rare) - 19.0).abs() < 1e-6);
    assert_eq!(half["decision"], rare["decision"]);
    assert_eq!(rare["prevalence"], 0.05);
}

#[test]
fn unsigned_packs_are_refused_unless_allowed() {
    let mut command = overread();
    let output = run(command.arg("classify").arg(&children()[0]).arg("--pack").arg(synthetic("brightness")));
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("--allow-untrusted"), "{}", text(&output.stderr));
}

#[test]
fn unknown_programs_and_wrong_arguments_are_told_what_there_is() {
    let output = run(overread().arg("classify").arg(&children()[0]).args(["--program", "nonsense"]));
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("cxr-pneumonia"), "{}", text(&output.stderr));
    let output = run(overread().args(["classify", "x.dcm", "--prevalence", "1.5"]));
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn the_folder_holds_what_the_results_name_and_a_page() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = overread();
    command.arg("classify").arg(&children()[0]).arg("--pack").arg(synthetic("brightness"));
    let output = run(command.args(["--allow-untrusted", "--format", "jsonl", "--out"]).arg(folder.path()));
    let answer = &results(&output)[0];
    let artifacts = answer["artifacts"].as_array().unwrap();
    let kinds: Vec<&str> = artifacts.iter().map(|a| a["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["overlay-png", "secondary-capture", "structured-report"]);
    for artifact in artifacts {
        assert!(fs::metadata(artifact["path"].as_str().unwrap()).unwrap().len() > 500);
    }
    let page = fs::read_to_string(folder.path().join("index.html")).unwrap();
    assert!(page.contains("00001/brightness.1.overlay.png") && page.contains("lang=\"en\""));
    let kept = fs::read_to_string(folder.path().join("results.jsonl")).unwrap();
    assert_eq!(kept.trim(), text(&output.stdout).trim());
}

#[test]
fn explanations_can_be_left_out_and_tested() {
    let file = &children()[0];
    let answer = |flag: &str| {
        let mut command = overread();
        command.arg("classify").arg(file).arg("--pack").arg(synthetic("brightness"));
        let output = run(command.args(["--allow-untrusted", "--format", "jsonl", flag]));
        results(&output)[0]["results"][0]["explanations"].clone()
    };
    assert_eq!(answer("--no-explain").as_array().unwrap().len(), 0);
    let tested = answer("--faithfulness");
    assert!(tested[0]["faithfulness"]["deletion_auc"].as_f64().is_some(), "{tested}");
}
