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

use dicom_dictionary_std::tags;

use super::WriteError;
use super::elements::{DicomFile, put_items};
use super::identity::{Algorithm, ResultIdentity};
use super::modules;
use super::object::{self, Kind};
use super::report::{evidence, order};
use super::source::{InstanceReference, SourceContext};
use super::stamp::Stamp;
use super::templates::tid_2010;

/// Where the rejection note of a result is or will be: its UIDs are known before it is written.
pub fn rejection_reference(
    source: &SourceContext,
    algorithm: &Algorithm,
    identity: &ResultIdentity,
) -> InstanceReference {
    object::reference(source, algorithm, identity, Kind::Rejection)
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
    let mut object = object::begin(source, algorithm, identity, stamp, Kind::Rejection, 1);
    order(&mut object, source);
    let items = evidence(source.study(), withdrawn.iter());
    put_items(&mut object, tags::CURRENT_REQUESTED_PROCEDURE_EVIDENCE_SEQUENCE, items);
    for element in tid_2010(algorithm, withdrawn, reason).into_dataset() {
        object.put(element);
    }
    modules::finish(object)
}
