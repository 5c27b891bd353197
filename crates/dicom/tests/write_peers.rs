//! Peers read what we write: dciodvfy finds no error, highdicom and pydicom read it back.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod write_support;

use std::path::{Path, PathBuf};

use overread_dicom::write::capture::{capture_reference, secondary_capture};
use overread_dicom::write::report::structured_report;
use overread_dicom::write::{Capture, Release, Report, SourceContext, VisualExplanation, WriteError};
use overread_domain::GridSize;
use serde_json::Value;
use write_support::*;

/// pydicom's files that are no instances of a study: they lack UIDs, or are broken on purpose.
const NO_INSTANCE: usize = 22;

fn every_pydicom_file() -> Vec<PathBuf> {
    let folders = ["test_files", "charset_files"].map(|f| pydicom_data().join(f));
    let entries = folders.iter().flat_map(|f| std::fs::read_dir(f).unwrap());
    let mut files: Vec<_> = entries.map(|e| e.unwrap().path()).collect();
    files.retain(|f| f.extension().is_some_and(|e| e == "dcm"));
    files.sort();
    files
}

/// The report, the report of a study that was not assessed, and the capture of one source.
fn write_all(source: &SourceContext, folder: &Path, name: &str) -> [PathBuf; 3] {
    let explanation = VisualExplanation {
        finding: "pneumonia".into(),
        image: capture_reference(source, &algorithm(), &identity(), "pneumonia"),
    };
    let all = findings();
    let explanations = [explanation];
    let read = Report {
        findings: &all,
        not_assessed: None,
        explanations: &explanations,
        predecessors: &[],
        release: Release::Final,
        caveats: &[],
    };
    let (none, reason) = unassessed();
    let unread = Report { findings: &none, not_assessed: Some(&reason), explanations: &[], ..read };
    let write = |report| structured_report(source, &algorithm(), &identity(), stamp(), report).unwrap();
    let size = GridSize::new(7, 5);
    let rgb: Vec<u8> = (0..105).collect();
    let description = "Class-activation map of pneumonia over the image";
    let capture = Capture { label: "pneumonia", number: 1, description, size, rgb: &rgb };
    let capture = secondary_capture(source, &algorithm(), &identity(), stamp(), &capture).unwrap();
    [
        save(folder, &format!("{name}.sr.dcm"), &write(&read)),
        save(folder, &format!("{name}.none.dcm"), &write(&unread)),
        save(folder, &format!("{name}.sc.dcm"), &capture),
    ]
}

#[test]
fn dciodvfy_finds_no_error_whatever_the_source() {
    let folder = tempfile::tempdir().unwrap();
    let mut written = 0;
    let (mut skipped, mut bad) = (Vec::new(), Vec::new());
    for file in every_pydicom_file() {
        let name = file.file_name().unwrap().to_string_lossy().into_owned();
        let source = dicom_object::open_file(&file)
            .ok()
            .map(|f| SourceContext::from_image(&overread_domain::Identified::new(f.into_inner())));
        match source {
            Some(Ok(source)) => {
                for path in write_all(&source, folder.path(), &name) {
                    let found = complaints(&path, KNOWN_WARNINGS);
                    bad.extend(found.into_iter().map(|c| format!("{}: {c}", path.display())));
                }
                written += 1;
            }
            None | Some(Err(WriteError::Missing { .. } | WriteError::NotAUid { .. })) => skipped.push(name),
            Some(Err(other)) => panic!("{name}: {other}"),
        }
    }
    assert!(bad.is_empty(), "{bad:#?}");
    assert!(written > 70 && skipped.len() <= NO_INSTANCE, "{written} written, skipped {skipped:?}");
}

#[test]
fn highdicom_reads_the_report_and_pydicom_the_capture() {
    let folder = tempfile::tempdir().unwrap();
    let source = source("examples_overlay.dcm");
    let files = write_all(&source, folder.path(), "overlay");
    let read = peers(&files.each_ref().map(PathBuf::as_path));
    let (sr, none, sc) = (&read["reports"][0], &read["reports"][1], &read["images"][0]);
    for object in [sr, none, sc] {
        assert_eq!(object["study"], source.study().as_str());
        assert_eq!(object["accession"], "8000000000330109");
        assert_eq!(object["patient_id"], "021234567");
        assert_eq!(object["edition"], algorithm().edition.0);
        assert_eq!(object["device_uid"], algorithm().device_uid().as_str());
    }
    assert_eq!(sr["observer_uid"], algorithm().device_uid().as_str());
    assert_eq!((&sr["title"], &sr["template"]), (&"Imaging Measurement Report".into(), &"1500".into()));
    assert_eq!((&sr["completion"], &sr["verification"]), (&"COMPLETE".into(), &"UNVERIFIED".into()));
    assert_eq!(sr["requests"][0], "8000000000330109");
    assert_eq!(sr["evidence"][1], sc["sop_instance"]);
    findings_agree(sr, sc);
    assert_eq!(none["findings"][0]["decision"], "not-assessed");
    assert_eq!(none["findings"][0]["probability"], Value::Null);
    assert_eq!(none["not_assessed"]["code"], "out-of-distribution");
    assert_eq!(sc["conversion"], "WSD");
    assert_eq!((&sc["shape"], &sc["sum"]), (&serde_json::json!([5, 7, 3]), &5460.into()));
    assert_eq!(sc["sources"], sr["image_library"]);
}

fn findings_agree(sr: &Value, sc: &Value) {
    let expected = ["present", "absent", "indeterminate"];
    assert_eq!(sr["findings"].as_array().unwrap().len(), expected.len());
    for ((read, written), decision) in sr["findings"].as_array().unwrap().iter().zip(findings()).zip(expected)
    {
        assert_eq!(read["label"]["value"], written.code.value);
        assert_eq!(read["decision"], decision);
        // Floating Point Value holds all 64 bits.
        assert_eq!(read["probability"], written.probability.unwrap().get());
        assert_eq!(read["unit"], "1");
        assert_eq!(read["algorithm_name"], algorithm().name);
        assert_eq!(read["algorithm_version"], algorithm().version);
        assert_eq!(read["parameters"]["prevalence"], "0.08");
        assert_eq!(read["parameters"].get("rule-out threshold").is_some(), written.rule_out.is_some());
        assert_eq!(read["comments"].as_array().unwrap().len(), usize::from(written.experimental));
    }
    assert_eq!(sr["findings"][0]["explanations"][0], sc["sop_instance"]);
    assert_eq!(sr["findings"][1]["explanations"], serde_json::json!([]));
}

#[test]
fn names_survive_in_every_script() {
    let names = [
        ("chrArab.dcm", "قباني^لنزار"),
        ("chrFren.dcm", "Buc^Jérôme"),
        ("chrGerm.dcm", "Äneas^Rüdiger"),
        ("chrGreek.dcm", "Διονυσιος"),
        ("chrH31.dcm", "Yamada^Tarou=山田^太郎=やまだ^たろう"),
        ("chrH32.dcm", "ﾔﾏﾀﾞ^ﾀﾛｳ=山田^太郎=やまだ^たろう"),
        ("chrHbrw.dcm", "שרון^דבורה"),
        ("chrI2.dcm", "Hong^Gildong=洪^吉洞=홍^길동"),
        ("chrJapMulti.dcm", "やまだ^たろう"),
        ("chrJapMultiExplicitIR6.dcm", "やまだ^たろう"),
        ("chrKoreanMulti.dcm", "김희중"),
        ("chrRuss.dcm", "Люкceмбypг"),
        ("chrX1.dcm", "Wang^XiaoDong=王^小東"),
        ("chrX2.dcm", "Wang^XiaoDong=王^小东"),
    ];
    let folder = tempfile::tempdir().unwrap();
    let files: Vec<_> = names.iter().map(|(f, _)| write_all(&source(f), folder.path(), f)).collect();
    let paths: Vec<_> = files.iter().map(|[sr, _, _]| sr.as_path()).collect();
    let read = peers(&paths);
    for ((file, name), report) in names.iter().zip(read["reports"].as_array().unwrap()) {
        assert_eq!(report["patient_name"], *name, "{file}");
        assert_eq!(report["charset"], "ISO_IR 192");
    }
}
