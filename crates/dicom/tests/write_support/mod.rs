//! What the tests of the writers share: source files, peers, and results to write.

#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::path::{Path, PathBuf};
use std::process::Command;

use dicom_core::Tag;
use dicom_dictionary_std::tags;
use dicom_object::InMemDicomObject;
use overread_dicom::write::{Algorithm, DicomFile, ResultIdentity, SourceContext, Stamp, to_part10};
use overread_domain::{CodedConcept, Decision, EditionId, Finding, Identified, NotAssessed, Probability};

/// 2026-03-14 15:09:26 UTC.
pub const STAMP: i64 = 1_773_500_966;

pub fn tools() -> PathBuf {
    let default = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.tools");
    std::env::var_os("OVERREAD_TOOLS").map_or_else(default, PathBuf::from)
}

/// pydicom's data folder, with real files of many makers.
pub fn pydicom_data() -> PathBuf {
    let lib = tools().join("venv/lib");
    let pythons = std::fs::read_dir(&lib).unwrap_or_else(|e| panic!("{}: {e}; run ./x setup", lib.display()));
    pythons
        .map(|p| p.unwrap().path().join("site-packages/pydicom/data"))
        .find(|p| p.is_dir())
        .unwrap_or_else(|| panic!("no pydicom under {}; run ./x setup", lib.display()))
}

pub fn pydicom_file(name: &str) -> PathBuf {
    let data = pydicom_data();
    let path =
        ["test_files", "charset_files"].map(|f| data.join(f).join(name)).into_iter().find(|p| p.is_file());
    path.unwrap_or_else(|| panic!("pydicom has no {name}; run ./x setup"))
}

pub fn open(path: &Path) -> Identified<InMemDicomObject> {
    let file = dicom_object::open_file(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    Identified::new(file.into_inner())
}

pub fn source(name: &str) -> SourceContext {
    SourceContext::from_image(&open(&pydicom_file(name))).unwrap()
}

pub fn algorithm() -> Algorithm {
    Algorithm {
        name: "overread-chest-xray".into(),
        version: "1.2.0".into(),
        edition: EditionId("9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08".into()),
        manufacturer: "Overread project".into(),
    }
}

pub fn identity() -> ResultIdentity {
    ResultIdentity { program: "chest-triage".into(), case_version: 1 }
}

pub fn stamp() -> Stamp {
    Stamp::new(STAMP, 60)
}

pub fn p(value: f64) -> Probability {
    Probability::new(value).unwrap()
}

pub fn finding(label: &str, code: &str, meaning: &str, probability: f64) -> Finding {
    let (rule_out, rule_in) = (Some(p(0.05)), Some(p(0.62)));
    Finding {
        label: label.into(),
        code: CodedConcept::new("SCT", code, meaning),
        site: Some(CodedConcept::new("SCT", "39607008", "Lung structure")),
        probability: Some(p(probability)),
        decision: Finding::decide(p(probability), rule_out, rule_in),
        rule_out,
        rule_in,
        score: None,
        prevalence: Some(p(0.08)),
        experimental: false,
        laterality: None,
        reason: None,
    }
}

/// One finding for each decision but `not assessed`.
pub fn findings() -> Vec<Finding> {
    let mut effusion = finding("effusion", "60046008", "Pleural effusion", 0.312_345_678_901_234_5);
    effusion.experimental = true;
    effusion.site = None;
    effusion.rule_out = None;
    vec![
        finding("pneumonia", "233604007", "Pneumonia", 0.873_412_746_2),
        finding("pneumothorax", "36118008", "Pneumothorax", 0.001),
        effusion,
    ]
}

pub fn unassessed() -> (Vec<Finding>, NotAssessed) {
    let mut finding = finding("pneumonia", "233604007", "Pneumonia", 0.5);
    finding.decision = Decision::NotAssessed;
    finding.probability = None;
    let message = "the image looks like none that the pack was trained on".into();
    (vec![finding], NotAssessed { code: "out-of-distribution".into(), message })
}

pub fn save(folder: &Path, name: &str, file: &DicomFile) -> PathBuf {
    let path = folder.join(name);
    std::fs::write(&path, to_part10(file).unwrap()).unwrap();
    path
}

/// A content tree, one item a line: relationship, value type, concept, value.
pub fn dump(item: &InMemDicomObject) -> String {
    let mut lines = Vec::new();
    dump_item(item, 0, &mut lines);
    lines.join("\n")
}

fn dump_item(item: &InMemDicomObject, depth: usize, lines: &mut Vec<String>) {
    let text = |tag| item.get(tag).map(|e| e.value().to_str().unwrap().into_owned());
    let concept = |tag| first(item, tag).map(code);
    let value = match text(tags::VALUE_TYPE).as_deref() {
        Some("CONTAINER") => first(item, tags::CONTENT_TEMPLATE_SEQUENCE)
            .map(|t| format!("TID {}", t.element(tags::TEMPLATE_IDENTIFIER).unwrap().to_str().unwrap())),
        Some("TEXT") => text(tags::TEXT_VALUE).map(|t| format!("{t:?}")),
        Some("CODE") => concept(tags::CONCEPT_CODE_SEQUENCE),
        Some("UIDREF") => text(tags::UID),
        Some("NUM") => first(item, tags::MEASURED_VALUE_SEQUENCE).map(|m| {
            let number = m.element(tags::NUMERIC_VALUE).unwrap().to_str().unwrap().into_owned();
            format!("{number} {}", code(first(m, tags::MEASUREMENT_UNITS_CODE_SEQUENCE).unwrap()))
        }),
        Some("IMAGE" | "COMPOSITE") => first(item, tags::REFERENCED_SOP_SEQUENCE)
            .map(|s| s.element(tags::REFERENCED_SOP_INSTANCE_UID).unwrap().to_str().unwrap().into_owned()),
        other => panic!("value type {other:?}"),
    };
    let head =
        [text(tags::RELATIONSHIP_TYPE), text(tags::VALUE_TYPE), concept(tags::CONCEPT_NAME_CODE_SEQUENCE)];
    let head = head.into_iter().flatten().collect::<Vec<_>>().join(" ");
    let value = value.map_or_else(String::new, |v| format!(" = {v}"));
    lines.push(format!("{}{head}{value}", "  ".repeat(depth)));
    for child in item.get(tags::CONTENT_SEQUENCE).and_then(|e| e.items()).unwrap_or_default() {
        dump_item(child, depth + 1, lines);
    }
}

fn first(item: &InMemDicomObject, tag: Tag) -> Option<&InMemDicomObject> {
    item.get(tag)?.items()?.first()
}

fn code(item: &InMemDicomObject) -> String {
    let part = |tag| item.element(tag).unwrap().to_str().unwrap().into_owned();
    let value = part(tags::CODE_VALUE);
    format!("({value}, {}, {:?})", part(tags::CODING_SCHEME_DESIGNATOR), part(tags::CODE_MEANING))
}

/// What dciodvfy says of a file, line by line, without its naming of the IOD.
pub fn dciodvfy(path: &Path) -> Vec<String> {
    let run = Command::new("dciodvfy").arg("-new").arg(path).output();
    let run = run.unwrap_or_else(|e| panic!("dciodvfy: {e}; run ./x setup"));
    let text = [run.stdout, run.stderr].map(|b| String::from_utf8_lossy(&b).into_owned()).concat();
    assert!(!text.trim().is_empty(), "dciodvfy says nothing of {}, not even its IOD", path.display());
    text.lines().map(str::trim).filter(|l| !l.is_empty()).map(Into::into).collect()
}

/// Errors, and warnings that `known` does not name.
pub fn complaints(path: &Path, known: &[&str]) -> Vec<String> {
    let counts = |l: &String| {
        l.starts_with("Error") || (l.starts_with("Warning") && !known.iter().any(|k| l.contains(k)))
    };
    dciodvfy(path).into_iter().filter(counts).collect()
}

/// Fails where dciodvfy finds an error, or warns of anything that `known` does not name.
pub fn assert_valid(path: &Path, known: &[&str]) {
    let bad = complaints(path, known);
    assert!(bad.is_empty(), "{}:\n{bad:#?}", path.display());
}

/// What a script of `tests/peers` prints.
pub fn script<A: AsRef<std::ffi::OsStr>>(name: &str, args: &[A]) -> String {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/peers").join(name);
    let python = tools().join("venv/bin/python");
    let run = Command::new(&python).arg(script).args(args).output();
    let run = run.unwrap_or_else(|e| panic!("{}: {e}; run ./x setup", python.display()));
    assert!(run.status.success(), "{name}: {}", String::from_utf8_lossy(&run.stderr));
    String::from_utf8(run.stdout).unwrap()
}

/// What highdicom and pydicom read, by `tests/peers/check_results.py`.
pub fn peers(files: &[&Path]) -> serde_json::Value {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/peers/check_results.py");
    let python = tools().join("venv/bin/python");
    let run = Command::new(&python).arg(script).args(files).arg("--json").output();
    let run = run.unwrap_or_else(|e| panic!("{}: {e}; run ./x setup", python.display()));
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    serde_json::from_slice(&run.stdout).unwrap()
}

/// Warnings of dciodvfy that stay, and why.
pub const KNOWN_WARNINGS: &[&str] = &[
    // PS3.3 §C.12.1 has Device UID in the Contributing Equipment Sequence; Debian's dciodvfy is older than that.
    "ContributingEquipmentSequence(0018,a001)[1]/DeviceUID(0018,1002)> - Attribute is not present in standard DICOM IOD",
    // A name of one component, as the source has it.
    "Retired Person Name form",
    // The source's own word, which the standard's list of terms does not have (it may be extended).
    "BodyPartExamined(0018,0015)[1]> - Unrecognized defined term",
    // The source tells no body part, so the side is actually unknown.
    "Laterality(0020,0060)> - is only permitted to be empty when actually unknown",
    // The source has no value, and a writer does not make one up.
    "needed to build DICOMDIR",
];
