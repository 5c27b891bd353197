//! The note that withdraws an earlier version of a result: an IOCM rejection note.
//!
//! IHE Imaging Object Change Management (RAD TF-1 §34) lets a system withdraw instances that it filed: it stores a Key
//! Object Selection Document (PS3.3 §A.35.4) that lists them, and the archive then hides them. The title says why. Of
//! the four titles that IOCM knows, (113001, DCM, "Rejected for Quality Reasons") is the one that holds for a result
//! that an amended one replaces: the other three speak of harm to the patient if the objects are seen (113037), of a
//! wrong worklist entry (113038) and of data that expired (113039), none of which happened. The title asks for a modifier
//! of PS3.16 CID 7011; none of its terms means "replaced", so it is (111220, DCM, "Other failure"), and the Key Object
//! Description says the rest in words. An archive may be set to keep showing what was rejected for quality; the
//! amended report also names its predecessor.

use dicom_dictionary_std::{tags, uids};
use dicom_object::InMemDicomObject;

use super::WriteError;
use super::elements::{DicomFile, put_items};
use super::identity::{Algorithm, Kind, ResultIdentity};
use super::modules::{self, Series};
use super::report::{constant_uid, evidence, request};
use super::source::{InstanceReference, SourceContext};
use super::stamp::Stamp;
use super::templates::tid_2010;

/// Where the rejection note of a result is or will be: its UIDs are known before it is written.
pub fn rejection_reference(
    source: &SourceContext,
    algorithm: &Algorithm,
    identity: &ResultIdentity,
) -> InstanceReference {
    let uid = |kind| identity.uid(source.study(), &algorithm.edition, kind);
    InstanceReference {
        series: uid(Kind::RejectionSeries),
        class: constant_uid(uids::KEY_OBJECT_SELECTION_DOCUMENT_STORAGE),
        instance: uid(Kind::Rejection),
    }
}

/// Makes the note that withdraws the objects of an earlier version: Key Object Selection, TID 2010.
///
/// `identity` is that of the version that replaces it, and so are the note's UIDs; `withdrawn` are the report and the
/// captures of the version that goes, all of the source's study; `reason` is for people. The same inputs make the
/// same object.
///
/// # Errors
/// [`WriteError::NothingWithdrawn`] for a note that lists nothing.
pub fn rejection_note(
    source: &SourceContext,
    algorithm: &Algorithm,
    identity: &ResultIdentity,
    stamp: Stamp,
    withdrawn: &[InstanceReference],
    reason: &str,
) -> Result<DicomFile, WriteError> {
    if withdrawn.is_empty() {
        return Err(WriteError::NothingWithdrawn);
    }
    let reference = rejection_reference(source, algorithm, identity);
    let mut object = InMemDicomObject::new_empty();
    modules::sop_common(&mut object, reference.class.as_str(), &reference.instance);
    let stamp = modules::patient_and_study(&mut object, source, stamp);
    let series = Series {
        uid: reference.series,
        modality: "KO",
        number: 10_000 + identity.case_version % 500,
        description: format!("Overread {} withdrawal", identity.program),
    };
    modules::series_and_instance(&mut object, &series, 1, stamp);
    put_items(&mut object, tags::REFERENCED_PERFORMED_PROCEDURE_STEP_SEQUENCE, vec![]);
    modules::equipment(&mut object, algorithm);
    modules::contributing_equipment(&mut object, algorithm, stamp);
    if let Some(accession) = source.accession() {
        put_items(&mut object, tags::REFERENCED_REQUEST_SEQUENCE, vec![request(source.study(), accession)]);
    }
    let items = evidence(source.study(), withdrawn.iter());
    put_items(&mut object, tags::CURRENT_REQUESTED_PROCEDURE_EVIDENCE_SEQUENCE, items);
    for element in tid_2010(algorithm, withdrawn, reason).into_dataset() {
        object.put(element);
    }
    modules::finish(object)
}
