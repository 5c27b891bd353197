//! Every report and capture of the samples satisfies dciodvfy, and highdicom reads back what the JSON says.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod support;

use std::path::{Path, PathBuf};

use serde_json::Value;
use support::{children, dciodvfy_errors, overread, peer, results, run, samples, text};

/// Sixteen children wrapped as DX, one of them as a picture, an adult, a bone, an MR.
fn studies(folder: &Path) -> Vec<PathBuf> {
    let mut files = vec![];
    for picture in children() {
        let wrapped = folder.join(picture.file_stem().unwrap()).with_extension("dcm");
        let mut command = overread();
        command
            .arg("wrap")
            .arg(&picture)
            .arg("--out")
            .arg(&wrapped)
            .args(["--imager-pixel-spacing", "0.143"]);
        let output = run(&mut command);
        assert!(output.status.success(), "{}", text(&output.stderr));
        assert_eq!(dciodvfy_errors(&wrapped), Vec::<String>::new(), "{}", wrapped.display());
        files.push(wrapped);
    }
    files.push(children()[3].clone());
    files.extend(
        ["RG1_UNCI.dcm", "RG3_J2KR.dcm", "693_J2KR.dcm"].map(|n| samples().join("data_store/data").join(n)),
    );
    files
}

#[test]
fn result_objects_pass_the_validators_and_say_what_the_json_says() {
    let folder = tempfile::tempdir().unwrap();
    let files = studies(folder.path());
    let mut command = overread();
    command.arg("classify").args(&files).args(["--program", "cxr-pneumonia", "--format", "jsonl", "--out"]);
    let output = run(command.arg(folder.path().join("out")));
    assert!(output.status.success(), "{}", text(&output.stderr));
    let answers = results(&output);
    assert_eq!(answers.len(), files.len());
    let mut classified = 0;
    for answer in &answers {
        let objects: Vec<PathBuf> = answer["artifacts"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|a| a["kind"] != "overlay-png")
            .map(|a| PathBuf::from(a["path"].as_str().unwrap()))
            .collect();
        assert_eq!(objects.len(), 2, "{answer}");
        for object in &objects {
            assert_eq!(dciodvfy_errors(object), Vec::<String>::new(), "{}", object.display());
        }
        let mut args: Vec<&Path> = objects.iter().map(PathBuf::as_path).collect();
        args.push(Path::new("--json"));
        let read: Value = serde_json::from_str(&peer("check_results.py", &args)).unwrap();
        compare(answer, &read);
        classified += usize::from(answer["status"] == "classified");
    }
    assert!(classified >= 15, "{classified} of the children's radiographs were classified");
    for foreign in &answers[17..] {
        assert_eq!(foreign["status"], "not-assessed", "{}", foreign["source"]);
        assert!(foreign["reason"]["message"].as_str().unwrap().len() > 20);
    }
}

fn compare(answer: &Value, read: &Value) {
    let (report, image) = (&read["reports"][0], &read["images"][0]);
    let ours = &answer["results"][0];
    assert_eq!(report["study"], answer["study"]["study_instance_uid"]);
    assert_eq!(image["study"], report["study"]);
    assert_eq!(report["edition"], ours["edition"]);
    assert_eq!(image["edition"], ours["edition"]);
    assert_eq!(report["verification"], "UNVERIFIED");
    assert_ne!(report["device_uid"], Value::Null);
    let finding = &ours["findings"][0];
    let theirs = &report["findings"][0];
    assert_eq!(theirs["label"]["value"], finding["code"]["value"]);
    assert_eq!(theirs["decision"], finding["decision"], "{report}");
    match finding["probability"].as_f64() {
        Some(p) => assert!((theirs["probability"].as_f64().unwrap() - p).abs() < 1e-9),
        None => {
            assert_eq!(theirs["probability"], Value::Null);
            let why = ours["reason"]["message"].as_str().unwrap();
            assert!(report.to_string().contains(why), "the reason {why} stands in {report}");
        }
    }
}
