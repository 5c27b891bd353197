//! A canary: marked identity goes through every path of the command line and must not come out but where it belongs.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod support;

use std::fs;
use std::path::Path;
use std::process::Command;

use support::{overread, run, samples, synthetic, text, tools};

/// Marks no honest output contains.
const MARKS: [&str; 5] = ["ZZCANARY", "QX7431PID", "ACC99177", "19410203", "OTHERIDS55"];

const MARK: &str = r#"
import sys, pydicom
data = pydicom.dcmread(sys.argv[1])
data.PatientName, data.PatientID, data.AccessionNumber = "ZZCANARY^First", "QX7431PID", "ACC99177"
data.PatientBirthDate, data.OtherPatientIDs = "19410203", "OTHERIDS55"
data.ReferringPhysicianName = data.StudyDescription = data.InstitutionName = "ZZCANARY"
if sys.argv[3] == "broken":
    data.PixelData = data.PixelData[: len(data.PixelData) // 3]
data.save_as(sys.argv[2])
"#;

fn marked(folder: &Path, name: &str, how: &str) {
    let python = tools().join("venv/bin/python");
    let source = samples().join("data_store/data/RG1_UNCI.dcm");
    let status =
        Command::new(python).arg("-c").arg(MARK).arg(source).arg(folder.join(name)).arg(how).status();
    assert!(status.expect("python; run ./x setup").success());
}

fn files_below(folder: &Path, found: &mut Vec<std::path::PathBuf>) {
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        if entry.path().is_dir() { files_below(&entry.path(), found) } else { found.push(entry.path()) }
    }
}

#[test]
fn identity_goes_into_the_patients_objects_and_nowhere_else() {
    let folder = tempfile::tempdir().unwrap();
    let (input, out) = (folder.path().join("in"), folder.path().join("out"));
    fs::create_dir(&input).unwrap();
    marked(&input, "1.dcm", "whole");
    marked(&input, "2.dcm", "broken");
    let mut said = String::new();
    for format in ["text", "jsonl", "json"] {
        let mut command = overread();
        command
            .env("OVERREAD_LOG", "trace")
            .arg("classify")
            .arg(&input)
            .arg("--pack")
            .arg(synthetic("brightness"));
        command.args(["--allow-untrusted", "--format", format, "--faithfulness", "--out"]).arg(&out);
        // The synthetic pack reads DX and OT; the radiograph is CR: read it under another manifest too.
        let output = run(&mut command);
        said += &text(&output.stdout);
        said += &text(&output.stderr);
    }
    let mut command = overread();
    command
        .env("OVERREAD_LOG", "trace")
        .arg("classify")
        .arg(&input)
        .args(["--program", "cxr-pneumonia", "--out"])
        .arg(&out);
    let output = run(&mut command);
    said += &text(&output.stdout);
    said += &text(&output.stderr);
    assert!(said.len() > 500, "something was said");
    let mut files = vec![];
    files_below(&out, &mut files);
    assert!(files.iter().any(|f| f.extension().is_some_and(|e| e == "dcm")), "objects were written");
    let mut carried = 0;
    for file in &files {
        let name = file.strip_prefix(folder.path()).unwrap().to_string_lossy().into_owned();
        let content = String::from_utf8_lossy(&fs::read(file).unwrap()).into_owned();
        for mark in MARKS {
            assert!(!name.contains(mark), "{mark} in a file name");
            if file.extension().is_some_and(|e| e == "dcm") {
                carried += usize::from(content.contains(mark));
            } else {
                assert!(!content.contains(mark), "{mark} in {name}");
            }
        }
    }
    for mark in MARKS {
        assert!(!said.contains(mark), "{mark} was printed");
    }
    // The canary can sing: the patient's own objects do carry name, id and accession number.
    assert!(carried >= 3, "the marked identity reached the result objects");
}
