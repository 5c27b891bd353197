//! `overread deid` as a user meets it.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;

use overread_testkit::tools::sample;
use serde_json::Value;
use support::{overread, peer, run, text};

/// A marked radiograph, one that is cut short, and an ultrasound image that does not say what its pixels show.
fn originals(folder: &Path) {
    fs::create_dir(folder).unwrap();
    let plant: Vec<PathBuf> =
        vec!["plant".into(), folder.to_owned(), sample("RG1_UNCI.dcm"), sample("US1_UNCI.dcm")];
    peer("deid_canary.py", &plant.iter().map(PathBuf::as_path).collect::<Vec<_>>());
    let whole = fs::read(sample("693_UNCI.dcm")).unwrap();
    fs::write(folder.join("ZZCANARY-cut.dcm"), &whole[..whole.len() / 2]).unwrap();
}

fn deid(input: &Path, more: &[&str], out: &Path) -> Output {
    run(overread().env("OVERREAD_LOG", "trace").arg("deid").arg(input).args(more).arg("--out").arg(out))
}

fn files_below(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        if entry.path().is_dir() { files_below(&entry.path(), found) } else { found.push(entry.path()) }
    }
    found.sort();
}

fn written(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    files_below(folder, &mut files);
    files
}

#[test]
fn a_bad_file_fails_alone_and_nothing_tells_who_the_patient_is() {
    let folder = tempfile::tempdir().unwrap();
    let (input, out, report) =
        (folder.path().join("in"), folder.path().join("out"), folder.path().join("report.json"));
    originals(&input);
    let profile = folder.path().join("ours.toml");
    fs::write(
        &profile,
        "[profile]\nname = 'ours'\noptions = ['retain-dates-modified']\nburned_in = 'quarantine'\n",
    )
    .unwrap();
    let more =
        ["--profile", &profile.to_string_lossy(), "--report", &report.to_string_lossy(), "--no-second-look"];
    let output = deid(&input, &more, &out);
    assert_eq!(output.status.code(), Some(3), "{}", text(&output.stderr));
    let said = text(&output.stdout) + &text(&output.stderr);
    assert!(said.contains("1 of 3 files written, 1 quarantined, 1 failed"), "{said}");
    assert!(said.contains("(7FE0,0010)") && said.contains("pixels may show"), "{said}");
    let files = written(&out);
    assert_eq!(files.len(), 1, "{files:?}");
    let name = files[0].strip_prefix(&out).unwrap().to_string_lossy().into_owned();
    assert_eq!(name.matches("2.25.").count(), 3, "{name}");
    for mark in ["ZZCANARY", "7743219", "19410203"] {
        assert!(!said.contains(mark) && !name.contains(mark), "{mark}");
    }
    let args = [PathBuf::from("find"), files[0].clone()];
    let found: Vec<Vec<Value>> =
        serde_json::from_str(&peer("deid_canary.py", &args.iter().map(PathBuf::as_path).collect::<Vec<_>>()))
            .unwrap();
    assert!(found[0].is_empty(), "{found:?}");
    let report: Value = serde_json::from_slice(&fs::read(report).unwrap()).unwrap();
    assert_eq!(report["schema"], "overread.deid/1");
    let outcomes: Vec<_> =
        report["files"].as_array().unwrap().iter().map(|f| f["outcome"].as_str().unwrap()).collect();
    assert_eq!(outcomes.len(), 3);
    let kept = report["files"].as_array().unwrap().iter().find(|f| f["outcome"] == "written").unwrap();
    assert_eq!(kept["output"].as_str().unwrap(), name);
    assert!(
        kept["changes"]
            .as_array()
            .unwrap()
            .iter()
            .any(|c| c["tag"] == "(0010,0030)" && c["done"] == "emptied")
    );
    assert!(!report["files"].to_string().contains("7743219"), "the report names attributes, not values");
}

#[test]
fn a_key_makes_runs_alike_and_no_key_makes_them_strangers() {
    let folder = tempfile::tempdir().unwrap();
    let input = sample("RG1_UNCI.dcm");
    let key = folder.path().join("pseudonym.key").to_string_lossy().into_owned();
    let names = |more: &[&str], out: &str| {
        let out = folder.path().join(out);
        let output = deid(&input, &[more, &["--pixels-cleaned"]].concat(), &out);
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
        let files = written(&out);
        assert_eq!(files.len(), 1);
        (files[0].strip_prefix(&out).unwrap().to_owned(), fs::read(&files[0]).unwrap())
    };
    let first = names(&["--key", &key], "a");
    assert!(first == names(&["--key", &key], "b"));
    assert!(first == names(&["--key", &key], "a"), "a second run over the same folder");
    assert_ne!(first.0, names(&[], "c").0);
    assert_ne!(names(&[], "d").0, names(&[], "e").0);
}

#[test]
fn profiles_are_built_in_or_files_and_mistakes_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let (out, profile) = (folder.path().join("out"), folder.path().join("ours.toml"));
    let with = |text: &str| {
        fs::write(&profile, text).unwrap();
        deid(&sample("US1_UNCI.dcm"), &["--profile", &profile.to_string_lossy(), "--no-second-look"], &out)
    };
    let output =
        with("[profile]\nname = 'ours'\nburned_in = 'keep'\n[tags]\nreplace = { PatientID = 'TRIAL-7' }\n");
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let file = fs::read(&written(&out)[0]).unwrap();
    assert!(file.windows(7).any(|w| w == b"TRIAL-7"));
    let output = with("[profile]\nname = 'ours'\nburnt_in = 'keep'\n");
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("burnt_in"), "{}", text(&output.stderr));
    let output = deid(&sample("US1_UNCI.dcm"), &["--profile", "radiolgy"], &out);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("ct-mr-head"), "{}", text(&output.stderr));
    let empty = folder.path().join("empty");
    fs::create_dir(&empty).unwrap();
    assert_eq!(deid(&empty, &[], &out).status.code(), Some(1));
    assert_eq!(run(overread().arg("deid")).status.code(), Some(2));
    // The pixels of this one were cleaned elsewhere.
    let output = deid(&sample("US1_UNCI.dcm"), &["--pixels-cleaned"], &folder.path().join("cleaned"));
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
}

#[test]
fn text_in_pixels_is_removed_and_told() {
    let folder = tempfile::tempdir().unwrap();
    let (input, out, report) =
        (folder.path().join("in"), folder.path().join("out"), folder.path().join("report.json"));
    fs::create_dir(&input).unwrap();
    let drawn = folder.path().join("drawn");
    fs::create_dir(&drawn).unwrap();
    let made: Value =
        serde_json::from_str(&peer("burned_in.py", &[Path::new("make"), drawn.as_path()])).unwrap();
    let grey = made.as_array().unwrap().iter().find(|m| m["kind"] == "grey8-frames").unwrap();
    fs::copy(grey["path"].as_str().unwrap(), input.join("QUIXOTE.dcm")).unwrap();
    let output = deid(&input, &["--report", &report.to_string_lossy()], &out);
    let said = text(&output.stdout) + &text(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert_eq!(written(&out).len(), 1);
    let report: Value = serde_json::from_slice(&fs::read(report).unwrap()).unwrap();
    let pixels = &report["files"][0]["pixels"];
    assert!(
        !pixels["regions"].as_array().unwrap().is_empty() && pixels["share"].as_f64().unwrap() > 0.0,
        "{pixels}"
    );
    assert_eq!(
        (&pixels["frames"], pixels["read_again"].as_array().unwrap().len()),
        (&3.into(), 3),
        "{pixels}"
    );
    // Without ONNX Runtime nothing is sent on unseen.
    let output = deid(&input, &["--onnxruntime", "/nonexistent"], &folder.path().join("blind"));
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("--onnxruntime"), "{}", text(&output.stderr));
    assert!(!folder.path().join("blind").exists());
}
