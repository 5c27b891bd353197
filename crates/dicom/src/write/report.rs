//! The structured report of a result: Comprehensive 3D SR after IHE AI Results.

use dicom_core::VR;
use dicom_dictionary_std::tags;
use dicom_object::InMemDicomObject;
use overread_domain::{Decision, Finding, NotAssessed, Uid};

use super::content::sop_item;
use super::elements::{DicomFile, put, put_items};
use super::identity::{Algorithm, ResultIdentity};
use super::modules;
use super::object::{self, Kind};
use super::source::{InstanceReference, SourceContext};
use super::stamp::Stamp;
use super::templates::{Fill, tid_1500};
use super::{WriteError, codes, text};

/// Whether a document will change (Preliminary Flag (0040,A496)).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Release {
    /// A person has yet to read the case.
    #[default]
    Preliminary,
    /// The case is released.
    Final,
}

/// A picture of why, filed as an image of the same study.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VisualExplanation {
    /// [`Finding::name`] of the finding it explains.
    pub finding: String,
    /// The secondary capture.
    pub image: InstanceReference,
}

/// What a report says.
#[derive(Clone, Copy, Debug)]
pub struct Report<'a> {
    /// The findings, in the pack's order.
    pub findings: &'a [Finding],
    /// Why the study was not assessed.
    pub not_assessed: Option<&'a NotAssessed>,
    /// Pictures of why.
    pub explanations: &'a [VisualExplanation],
    /// Reports of the same study that this one replaces.
    pub predecessors: &'a [InstanceReference],
    /// Preliminary or final.
    pub release: Release,
    /// Sentences about the reader that go into the report as comments, such as that it is for research only.
    pub caveats: &'a [&'a str],
}

/// Where the report of a result is or will be: its UIDs are known before it is written.
pub fn report_reference(
    source: &SourceContext,
    algorithm: &Algorithm,
    identity: &ResultIdentity,
) -> InstanceReference {
    object::reference(source, algorithm, identity, Kind::Report)
}

/// Makes the report of a result: Comprehensive 3D SR, TID 1500, complete and unverified.
///
/// The same inputs make the same object. Not for a person's own reading: the observer is a device.
///
/// # Errors
/// [`WriteError::EmptyReport`] for a report that says nothing, [`WriteError::Contradiction`] for one
/// that gives a decision on a study that was not assessed, [`WriteError::Value`] for a code that
/// DICOM cannot hold.
pub fn structured_report(
    source: &SourceContext,
    algorithm: &Algorithm,
    identity: &ResultIdentity,
    stamp: Stamp,
    report: &Report<'_>,
) -> Result<DicomFile, WriteError> {
    check(report)?;
    let mut object = object::begin(source, algorithm, identity, stamp, Kind::Report, 1);
    document_general(&mut object, source, algorithm, report);
    let fill = Fill { source, algorithm, identity, report };
    for element in tid_1500(&fill).into_dataset() {
        object.put(element);
    }
    modules::finish(object)
}

fn check(report: &Report<'_>) -> Result<(), WriteError> {
    if report.findings.is_empty() && report.not_assessed.is_none() {
        return Err(WriteError::EmptyReport);
    }
    for finding in report.findings {
        if report.not_assessed.is_some() && finding.decision != Decision::NotAssessed {
            return Err(WriteError::Contradiction { label: finding.label.clone() });
        }
        codes::check(&finding.code)?;
        finding.site.as_ref().map_or(Ok(()), codes::check)?;
    }
    Ok(())
}

/// SR Document General (§C.17.2).
fn document_general(
    object: &mut InMemDicomObject,
    source: &SourceContext,
    algorithm: &Algorithm,
    report: &Report<'_>,
) {
    let preliminary = match report.release {
        Release::Preliminary => "PRELIMINARY",
        Release::Final => "FINAL",
    };
    put(object, tags::PRELIMINARY_FLAG, VR::CS, preliminary);
    put(object, tags::COMPLETION_FLAG, VR::CS, "COMPLETE");
    put(object, tags::VERIFICATION_FLAG, VR::CS, "UNVERIFIED");
    put_items(object, tags::PERFORMED_PROCEDURE_CODE_SEQUENCE, vec![]);
    put_items(object, tags::AUTHOR_OBSERVER_SEQUENCE, vec![author(algorithm)]);
    order(object, source);
    if !report.predecessors.is_empty() {
        let items = evidence(source.study(), report.predecessors.iter());
        put_items(object, tags::PREDECESSOR_DOCUMENTS_SEQUENCE, items);
    }
    let images = source.images().iter().map(|i| &i.reference);
    let items = evidence(source.study(), images.chain(report.explanations.iter().map(|e| &e.image)));
    if !items.is_empty() {
        put_items(object, tags::CURRENT_REQUESTED_PROCEDURE_EVIDENCE_SEQUENCE, items);
    }
}

/// Identified Person or Device (§C.17-3b): the edition.
fn author(algorithm: &Algorithm) -> InMemDicomObject {
    let mut item = InMemDicomObject::new_empty();
    put(&mut item, tags::OBSERVER_TYPE, VR::CS, "DEV");
    put(&mut item, tags::MANUFACTURER, VR::LO, &modules::line(&algorithm.manufacturer));
    put(&mut item, tags::MANUFACTURER_MODEL_NAME, VR::LO, &modules::line(&algorithm.name));
    let station = text::sanitised(VR::SH, &algorithm.name).unwrap_or_default();
    put(&mut item, tags::STATION_NAME, VR::SH, &station);
    put(&mut item, tags::DEVICE_UID, VR::UI, algorithm.device_uid().as_str());
    put(&mut item, tags::INSTITUTION_NAME, VR::LO, "");
    put_items(&mut item, tags::INSTITUTION_CODE_SEQUENCE, vec![]);
    item
}

/// The procedure step and the order that the images were made for (§C.17.1, §C.17.2), as far as they are known.
pub(crate) fn order(object: &mut InMemDicomObject, source: &SourceContext) {
    put_items(object, tags::REFERENCED_PERFORMED_PROCEDURE_STEP_SEQUENCE, vec![]);
    if let Some(accession) = source.accession() {
        put_items(object, tags::REFERENCED_REQUEST_SEQUENCE, vec![request(source.study(), accession)]);
    }
}

fn request(study: &Uid, accession: &str) -> InMemDicomObject {
    let mut item = InMemDicomObject::new_empty();
    put(&mut item, tags::STUDY_INSTANCE_UID, VR::UI, study.as_str());
    put(&mut item, tags::ACCESSION_NUMBER, VR::SH, accession);
    put_items(&mut item, tags::REFERENCED_STUDY_SEQUENCE, vec![]);
    put(&mut item, tags::PLACER_ORDER_NUMBER_IMAGING_SERVICE_REQUEST, VR::LO, "");
    put(&mut item, tags::FILLER_ORDER_NUMBER_IMAGING_SERVICE_REQUEST, VR::LO, "");
    put(&mut item, tags::REQUESTED_PROCEDURE_ID, VR::SH, "");
    put(&mut item, tags::REQUESTED_PROCEDURE_DESCRIPTION, VR::LO, "");
    put_items(&mut item, tags::REQUESTED_PROCEDURE_CODE_SEQUENCE, vec![]);
    item
}

/// Hierarchical SOP Instance Reference (§C.17.2.1): study, series, instances; each instance once.
pub(crate) fn evidence<'a>(
    study: &Uid,
    images: impl Iterator<Item = &'a InstanceReference>,
) -> Vec<InMemDicomObject> {
    let mut series: Vec<(&Uid, Vec<&InstanceReference>)> = Vec::new();
    for image in images {
        match series.iter_mut().find(|(uid, _)| **uid == image.series) {
            Some((_, members)) if members.contains(&image) => {}
            Some((_, members)) => members.push(image),
            None => series.push((&image.series, vec![image])),
        }
    }
    if series.is_empty() {
        return Vec::new();
    }
    let series = series.into_iter().map(|(uid, members)| {
        let mut item = InMemDicomObject::new_empty();
        put_items(&mut item, tags::REFERENCED_SOP_SEQUENCE, members.into_iter().map(sop_item).collect());
        put(&mut item, tags::SERIES_INSTANCE_UID, VR::UI, uid.as_str());
        item
    });
    let mut item = InMemDicomObject::new_empty();
    put_items(&mut item, tags::REFERENCED_SERIES_SEQUENCE, series.collect());
    put(&mut item, tags::STUDY_INSTANCE_UID, VR::UI, study.as_str());
    vec![item]
}
