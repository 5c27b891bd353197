//! The note that withdraws an earlier version: its tree, its validity, and what a peer reads in it.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod write_support;

use overread_dicom::write::capture::capture_reference;
use overread_dicom::write::report::report_reference;
use overread_dicom::write::{
    InstanceReference, ResultIdentity, SourceContext, WriteError, rejection_note, rejection_reference,
    to_part10,
};
use write_support::*;

const REASON: &str = "Replaced by an amended result: images arrived after the study had been read.";

fn amended() -> ResultIdentity {
    ResultIdentity { case_version: 2, ..identity() }
}

/// The report and two captures of version 1.
fn withdrawn(source: &SourceContext) -> Vec<InstanceReference> {
    vec![
        report_reference(source, &algorithm(), &identity()),
        capture_reference(source, &algorithm(), &identity(), "pneumonia"),
        capture_reference(source, &algorithm(), &identity(), "effusion"),
    ]
}

#[test]
fn the_tree_of_a_note() {
    let source = source("CT_small.dcm");
    let note =
        rejection_note(&source, &algorithm(), &amended(), stamp(), &withdrawn(&source), REASON).unwrap();
    insta::assert_snapshot!(dump(&note));
}

#[test]
fn a_repeat_is_the_same_object_and_another_version_another() {
    let source = source("CT_small.dcm");
    let make = |identity: &ResultIdentity| {
        let note =
            rejection_note(&source, &algorithm(), identity, stamp(), &withdrawn(&source), REASON).unwrap();
        assert_eq!(
            InstanceReference::to(&note).unwrap(),
            rejection_reference(&source, &algorithm(), identity)
        );
        to_part10(&note).unwrap()
    };
    assert_eq!(make(&amended()), make(&amended()));
    let third = ResultIdentity { case_version: 3, ..identity() };
    assert_ne!(make(&amended()), make(&third));
    let uid = |i: &ResultIdentity| rejection_reference(&source, &algorithm(), i).instance;
    assert_ne!(uid(&amended()), uid(&third));
}

#[test]
fn a_note_that_withdraws_nothing_is_refused() {
    let source = source("CT_small.dcm");
    let error =
        rejection_note(&source, &algorithm(), &amended(), stamp(), &[], REASON).map(|_| ()).unwrap_err();
    assert!(matches!(error, WriteError::NothingWithdrawn), "{error}");
}

#[test]
fn peers_read_the_note() {
    let folder = tempfile::tempdir().unwrap();
    let names =
        ["CT_small.dcm", "MR_small.dcm", "examples_overlay.dcm", "chrH31.dcm", "examples_ybr_color.dcm"];
    let paths: Vec<_> = names
        .iter()
        .map(|name| {
            let source = source(name);
            let note =
                rejection_note(&source, &algorithm(), &amended(), stamp(), &withdrawn(&source), REASON);
            let path = save(folder.path(), name, &note.unwrap());
            assert_valid(&path, KNOWN_WARNINGS);
            path
        })
        .collect();
    let read = peers(&paths.iter().map(std::path::PathBuf::as_path).collect::<Vec<_>>());
    let notes = read["notes"].as_array().unwrap();
    assert_eq!(notes.len(), names.len());
    for (name, note) in names.iter().zip(notes) {
        let source = source(name);
        let uids: Vec<_> = withdrawn(&source).into_iter().map(|w| w.instance.as_str().to_owned()).collect();
        assert_eq!(note["withdrawn"], serde_json::json!(uids), "{name}");
        assert_eq!(note["value_types"], serde_json::json!(["COMPOSITE", "IMAGE", "IMAGE"]));
        // Each reference resolves to the study, and to the series that the evidence names.
        for (resolved, reference) in note["resolved"].as_array().unwrap().iter().zip(withdrawn(&source)) {
            assert_eq!(resolved[0], source.study().as_str());
            assert_eq!(resolved[1], reference.series.as_str());
        }
        assert_eq!(note["title"], serde_json::json!(["DCM", "113001"]));
        assert_eq!(note["modifiers"], serde_json::json!([["DCM", "111220"]]));
        assert_eq!((&note["template"], &note["modality"]), (&"2010".into(), &"KO".into()));
        assert_eq!(note["description"], REASON);
        assert_eq!(note["study"], source.study().as_str());
        assert_eq!(note["observer_uid"], algorithm().device_uid().as_str());
    }
    assert_eq!(notes[2]["patient_id"], "021234567");
    assert_eq!(notes[2]["requests"][0], "8000000000330109");
}
