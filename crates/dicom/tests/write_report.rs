//! The structured report: its content tree, its UIDs, and what it refuses.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod write_support;

use dicom_core::{DataElement, VR};
use dicom_dictionary_std::tags;
use dicom_object::InMemDicomObject;
use overread_dicom::write::capture::capture_reference;
use overread_dicom::write::report::{report_reference, structured_report};
use overread_dicom::write::{
    InstanceReference, Release, Report, ResultIdentity, SourceContext, VisualExplanation,
};
use overread_dicom::write::{WriteError, to_part10};
use overread_domain::{BodySide, CodedConcept, Decision, Finding, Identified, NotAssessed, Uid};
use write_support::*;

fn image(study: &str, series: &str, instance: &str) -> Identified<InMemDicomObject> {
    let element = |tag, vr, value: &str| DataElement::new(tag, vr, value);
    Identified::new(InMemDicomObject::from_element_iter([
        element(tags::SOP_CLASS_UID, VR::UI, "1.2.840.10008.5.1.4.1.1.1.1"),
        element(tags::SOP_INSTANCE_UID, VR::UI, instance),
        element(tags::STUDY_INSTANCE_UID, VR::UI, study),
        element(tags::SERIES_INSTANCE_UID, VR::UI, series),
        element(tags::MODALITY, VR::CS, "DX"),
        element(tags::PATIENT_ID, VR::LO, "P1"),
        element(tags::ACCESSION_NUMBER, VR::SH, "A1"),
    ]))
}

fn two_images() -> SourceContext {
    let mut source = SourceContext::from_image(&image("1.2.3", "1.2.3.1", "1.2.3.1.1")).unwrap();
    source.add_image(&image("1.2.3", "1.2.3.2", "1.2.3.2.1")).unwrap();
    source.add_image(&image("1.2.3", "1.2.3.2", "1.2.3.2.1")).unwrap();
    source
}

const NOTHING: Report<'_> = Report {
    findings: &[],
    not_assessed: None,
    explanations: &[],
    predecessors: &[],
    release: Release::Preliminary,
    caveats: &[],
};

#[test]
fn the_tree_of_a_read_study() {
    let source = two_images();
    let explanation = VisualExplanation {
        finding: "pneumonia".into(),
        image: capture_reference(&source, &algorithm(), &identity(), "pneumonia"),
    };
    let findings = findings();
    let report =
        Report { findings: &findings, explanations: &[explanation], release: Release::Final, ..NOTHING };
    let sr = structured_report(&source, &algorithm(), &identity(), stamp(), &report).unwrap();
    insta::assert_snapshot!(dump(&sr));
}

#[test]
fn each_side_has_its_site_its_tracking_and_its_pictures() {
    let source = two_images();
    let picture = |name: &str| VisualExplanation {
        finding: name.into(),
        image: capture_reference(&source, &algorithm(), &identity(), name),
    };
    let explanations = [picture("pneumonia (right)"), picture("pneumonia (left)")];
    let right = Finding { laterality: Some(BodySide::Right), ..findings().swap_remove(0) };
    let reason = Some(NotAssessed { code: "out-of-distribution".into(), message: "a stranger".into() });
    let left = Finding {
        laterality: Some(BodySide::Left),
        decision: Decision::NotAssessed,
        probability: None,
        site: None,
        reason,
        ..right.clone()
    };
    let report = Report { findings: &[right, left], explanations: &explanations, ..NOTHING };
    let tree = dump(&structured_report(&source, &algorithm(), &identity(), stamp(), &report).unwrap());
    let groups: Vec<&str> = tree.split("125007").collect();
    assert_eq!(groups.len(), 3, "{tree}");
    let (right, left) = (groups[1], groups[2]);
    assert!(right.contains("24028007") && !right.contains("7771000"), "{tree}");
    assert!(left.contains("7771000") && !left.contains("24028007"), "{tree}");
    assert!(right.contains("pneumonia (right)") && left.contains("pneumonia (left)"), "{tree}");
    assert!(left.contains("Not assessed (out-of-distribution): a stranger"), "{tree}");
    assert_eq!((right.matches("130401").count(), left.matches("130401").count()), (1, 1), "{tree}");
}

#[test]
fn the_tree_of_a_study_that_was_not_assessed() {
    let (findings, reason) = unassessed();
    let report = Report { findings: &findings, not_assessed: Some(&reason), ..NOTHING };
    let sr = structured_report(&two_images(), &algorithm(), &identity(), stamp(), &report).unwrap();
    insta::assert_snapshot!(dump(&sr));
}

#[test]
fn a_finding_that_is_not_assessed_shows_no_probability() {
    let mut findings = unassessed().0;
    findings[0].probability = Some(p(0.97));
    let sr = structured_report(
        &two_images(),
        &algorithm(),
        &identity(),
        stamp(),
        &Report { findings: &findings, ..NOTHING },
    );
    let tree = dump(&sr.unwrap());
    assert!(
        tree.contains("Not evaluated") && !tree.contains("Probability") && !tree.contains("0.97"),
        "{tree}"
    );
}

#[test]
fn a_repeat_is_the_same_object_and_an_amendment_another() {
    let findings = findings();
    let write = |version, predecessors: &[InstanceReference]| {
        let identity = ResultIdentity { case_version: version, ..identity() };
        let report = Report { findings: &findings, predecessors, ..NOTHING };
        structured_report(&two_images(), &algorithm(), &identity, stamp(), &report).unwrap()
    };
    let one = write(1, &[]);
    assert_eq!(to_part10(&one).unwrap(), to_part10(&write(1, &[])).unwrap());
    let first = InstanceReference::to(&one).unwrap();
    assert_eq!(first, report_reference(&two_images(), &algorithm(), &identity()));
    let two = write(2, std::slice::from_ref(&first));
    let second = InstanceReference::to(&two).unwrap();
    assert!(first.instance != second.instance && first.series != second.series);
    let predecessor = two.element(tags::PREDECESSOR_DOCUMENTS_SEQUENCE).unwrap().items().unwrap();
    let series = predecessor[0].element(tags::REFERENCED_SERIES_SEQUENCE).unwrap().items().unwrap();
    let sop = series[0].element(tags::REFERENCED_SOP_SEQUENCE).unwrap().items().unwrap();
    assert_eq!(
        sop[0].element(tags::REFERENCED_SOP_INSTANCE_UID).unwrap().to_str().unwrap(),
        first.instance.as_str()
    );
    // The finding is still the same finding.
    let tracked = |o: &InMemDicomObject| {
        dump(o).lines().filter(|l| l.contains("112040")).map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(tracked(&one), tracked(&two));
    assert_eq!(tracked(&one).len(), 3);
}

#[test]
fn each_edition_is_a_device() {
    let mut other = algorithm();
    assert_eq!(other.device_uid(), algorithm().device_uid());
    other.edition.0.replace_range(..1, "0");
    assert_ne!(other.device_uid(), algorithm().device_uid());
}

#[test]
fn what_cannot_be_said_is_refused() {
    let empty = structured_report(&two_images(), &algorithm(), &identity(), stamp(), &NOTHING);
    assert!(matches!(empty, Err(WriteError::EmptyReport)));
    let (_, reason) = unassessed();
    let both = Report { findings: &findings(), not_assessed: Some(&reason), ..NOTHING };
    let both = structured_report(&two_images(), &algorithm(), &identity(), stamp(), &both);
    assert!(matches!(both, Err(WriteError::Contradiction { label }) if label == "pneumonia"));
    let stranger = two_images().add_image(&image("1.2.4", "1.2.4.1", "1.2.4.1.1"));
    assert!(matches!(stranger, Err(WriteError::OtherStudy { instance }) if instance.as_str() == "1.2.4.1.1"));
    let nameless = SourceContext::from_image(&Identified::new(InMemDicomObject::new_empty()));
    assert_eq!(nameless.err().unwrap().to_string(), "the source has no Study Instance UID (0020,000D)");
    let broken = SourceContext::from_image(&image("1.02", "1.2", "1.2"));
    assert!(matches!(broken, Err(WriteError::NotAUid { tag: tags::STUDY_INSTANCE_UID, .. })));
}

#[test]
fn a_bad_header_does_not_make_a_bad_object() {
    let mut object = image("1.2.3", "1.2.3.1", "1.2.3.1.1").reveal().clone();
    let mut set = |tag, vr, value: &str| object.put(DataElement::new(tag, vr, value));
    set(tags::PATIENT_ID, VR::LO, &"7".repeat(65));
    set(tags::ACCESSION_NUMBER, VR::SH, "12345678901234567");
    set(tags::PATIENT_NAME, VR::PN, &format!("{}^X=a=b=c\u{8}", "A".repeat(50)));
    set(tags::PATIENT_BIRTH_DATE, VR::DA, "20251399");
    set(tags::PATIENT_SEX, VR::CS, "male");
    set(tags::STUDY_TIME, VR::TM, "99");
    set(tags::STUDY_DESCRIPTION, VR::LO, &"Thorax p.a. ".repeat(9));
    set(tags::REFERRING_PHYSICIAN_NAME, VR::PN, "A^B^C^D^E^F^G");
    set(tags::PATIENT_WEIGHT, VR::DS, "heavy");
    set(tags::TIMEZONE_OFFSET_FROM_UTC, VR::SH, "+9999");
    let source = SourceContext::from_image(&Identified::new(object)).unwrap();
    let findings = findings();
    let report = Report { findings: &findings, ..NOTHING };
    let sr = structured_report(&source, &algorithm(), &identity(), stamp(), &report).unwrap();
    // Half an identifier may be another patient's.
    for tag in [tags::PATIENT_ID, tags::ACCESSION_NUMBER, tags::PATIENT_BIRTH_DATE, tags::PATIENT_SEX] {
        assert_eq!(sr.element(tag).unwrap().to_str().unwrap(), "", "{tag}");
    }
    assert!(sr.get(tags::REFERENCED_REQUEST_SEQUENCE).is_none());
    let folder = tempfile::tempdir().unwrap();
    let path = save(folder.path(), "sr.dcm", &sr);
    assert_valid(&path, KNOWN_WARNINGS);
}

#[test]
fn long_and_odd_texts_of_a_pack_stay_valid() {
    let mut algorithm = algorithm();
    algorithm.name = "a very long name \\ of an algorithm ".repeat(4);
    algorithm.manufacturer = String::new();
    let mut findings = findings();
    findings[0].code = CodedConcept::new("SCT", "12345678901234567890", &"meaning ".repeat(12));
    let report = Report { findings: &findings, ..NOTHING };
    let sr = structured_report(&two_images(), &algorithm, &identity(), stamp(), &report).unwrap();
    let folder = tempfile::tempdir().unwrap();
    assert_valid(&save(folder.path(), "sr.dcm", &sr), KNOWN_WARNINGS);
}

#[test]
fn a_code_is_whole_or_refused() {
    for (scheme, value, meaning) in
        [("99SEVENTEEN-LONG-", "1", "m"), ("SCT", "", "m"), ("SCT", "1\\2", "m"), ("SCT", "1", " ")]
    {
        let mut findings = findings();
        findings[1].site = Some(CodedConcept::new(scheme, value, meaning));
        let report = Report { findings: &findings, ..NOTHING };
        let refused = structured_report(&two_images(), &algorithm(), &identity(), stamp(), &report);
        assert!(matches!(refused, Err(WriteError::Value { .. })), "({value}, {scheme}, {meaning})");
    }
}

#[test]
fn a_series_of_many_images_is_listed_once() {
    let mut source = SourceContext::from_image(&image("1.2.3", "1.2.3.1", "1.2.3.1.1")).unwrap();
    for n in 2..=40 {
        source.add_image(&image("1.2.3", "1.2.3.1", &format!("1.2.3.1.{n}"))).unwrap();
    }
    let findings = findings();
    let sr = structured_report(
        &source,
        &algorithm(),
        &identity(),
        stamp(),
        &Report { findings: &findings, ..NOTHING },
    );
    let images = dump(&sr.unwrap()).lines().filter(|l| l.contains(" IMAGE")).count();
    assert_eq!(images, 40);
}

#[test]
fn without_images_there_is_still_a_report() {
    let source = SourceContext::for_study(Uid::parse("1.2.3").unwrap());
    let (_, reason) = unassessed();
    let report = Report { not_assessed: Some(&reason), ..NOTHING };
    let sr = structured_report(&source, &algorithm(), &identity(), stamp(), &report).unwrap();
    let folder = tempfile::tempdir().unwrap();
    assert_valid(&save(folder.path(), "sr.dcm", &sr), KNOWN_WARNINGS);
}
