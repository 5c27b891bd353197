//! What a result on a slide carries over from it: the specimen, its frame of reference, its history of lossy compression.

use dicom_core::{Tag, VR};
use dicom_dictionary_std::tags;
use dicom_object::InMemDicomObject;
use overread_domain::{CodedConcept, Identified, Uid};

use super::charset::text_of;
use super::codes::code_item;
use super::elements::{put, put_items, put_some};
use super::text::{identifier, sanitised};

/// Lossy compression that an image has gone through (PS3.3 §C.7.6.1.1.5).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LossyCompression {
    /// Lossy Image Compression Method (0028,2114), such as `ISO_10918_1` (JPEG).
    pub method: String,
    /// Lossy Image Compression Ratio (0028,2112), such as `12.5`.
    pub ratio: String,
}

/// What the first image of a source says of the glass. The labels of a container and a specimen may name the patient.
#[derive(Clone)]
pub(crate) struct Slide {
    pub(crate) frame_of_reference: Option<Uid>,
    pub(crate) specimen: Option<Identified<InMemDicomObject>>,
    pub(crate) lossy: Vec<LossyCompression>,
}

impl Slide {
    /// A source that says nothing of it.
    pub(crate) const NONE: Self = Self { frame_of_reference: None, specimen: None, lossy: Vec::new() };

    pub(crate) fn of(object: &InMemDicomObject) -> Self {
        Self {
            frame_of_reference: text_of(object, tags::FRAME_OF_REFERENCE_UID)
                .and_then(|u| Uid::parse(&u).ok()),
            specimen: specimen_of(object).map(Identified::new),
            lossy: lossy_of(object),
        }
    }
}

/// Methods and ratios where there is one of each for each step.
fn lossy_of(object: &InMemDicomObject) -> Vec<LossyCompression> {
    let values = |tag, vr| -> Option<Vec<String>> {
        text_of(object, tag)?.split('\\').map(|v| sanitised(vr, v)).collect()
    };
    let methods = values(tags::LOSSY_IMAGE_COMPRESSION_METHOD, VR::CS).unwrap_or_default();
    let ratios = values(tags::LOSSY_IMAGE_COMPRESSION_RATIO, VR::DS).unwrap_or_default();
    if methods.len() != ratios.len() {
        return Vec::new();
    }
    let steps = methods.into_iter().zip(ratios);
    steps.map(|(method, ratio)| LossyCompression { method, ratio }).collect()
}

/// The Specimen Module (PS3.3 §C.7.6.22): which container and which specimens. How they were prepared stays in the source.
///
/// None where the source lacks what the module cannot go without.
fn specimen_of(object: &InMemDicomObject) -> Option<InMemDicomObject> {
    let specimens = object.get(tags::SPECIMEN_DESCRIPTION_SEQUENCE)?.items()?;
    let specimens: Vec<_> = specimens.iter().map(description).collect::<Option<_>>()?;
    if specimens.is_empty() {
        return None;
    }
    let mut module = InMemDicomObject::new_empty();
    put(&mut module, tags::CONTAINER_IDENTIFIER, VR::LO, &whole(object, tags::CONTAINER_IDENTIFIER)?);
    issuer(&mut module, object, tags::ISSUER_OF_THE_CONTAINER_IDENTIFIER_SEQUENCE);
    let kind = code_of(object, tags::CONTAINER_TYPE_CODE_SEQUENCE);
    put_items(&mut module, tags::CONTAINER_TYPE_CODE_SEQUENCE, kind.iter().map(code_item).collect());
    put_items(&mut module, tags::SPECIMEN_DESCRIPTION_SEQUENCE, specimens);
    Some(module)
}

fn description(item: &InMemDicomObject) -> Option<InMemDicomObject> {
    let mut out = InMemDicomObject::new_empty();
    put(&mut out, tags::SPECIMEN_IDENTIFIER, VR::LO, &whole(item, tags::SPECIMEN_IDENTIFIER)?);
    let uid = Uid::parse(&text_of(item, tags::SPECIMEN_UID)?).ok()?;
    put(&mut out, tags::SPECIMEN_UID, VR::UI, uid.as_str());
    issuer(&mut out, item, tags::ISSUER_OF_THE_SPECIMEN_IDENTIFIER_SEQUENCE);
    let short = text_of(item, tags::SPECIMEN_SHORT_DESCRIPTION).and_then(|d| sanitised(VR::LO, &d));
    put_some(&mut out, tags::SPECIMEN_SHORT_DESCRIPTION, VR::LO, short.as_deref());
    put_items(&mut out, tags::SPECIMEN_PREPARATION_SEQUENCE, vec![]);
    if let Some(organ) = code_of(item, tags::PRIMARY_ANATOMIC_STRUCTURE_SEQUENCE) {
        put_items(&mut out, tags::PRIMARY_ANATOMIC_STRUCTURE_SEQUENCE, vec![code_item(&organ)]);
    }
    Some(out)
}

/// Hierarchic Designator macro (§10.14), type 2: who gave the identifier, where the source says it whole.
fn issuer(out: &mut InMemDicomObject, object: &InMemDicomObject, tag: Tag) {
    let read = |item: &InMemDicomObject| {
        let part = |tag| text_of(item, tag).filter(|v| !v.contains('\\') && !v.contains(char::is_control));
        let mut out = InMemDicomObject::new_empty();
        let local = part(tags::LOCAL_NAMESPACE_ENTITY_ID);
        put_some(&mut out, tags::LOCAL_NAMESPACE_ENTITY_ID, VR::UT, local.as_deref());
        let kind = part(tags::UNIVERSAL_ENTITY_ID_TYPE).and_then(|t| sanitised(VR::CS, &t));
        let universal = part(tags::UNIVERSAL_ENTITY_ID).zip(kind);
        if let Some((id, kind)) = &universal {
            put(&mut out, tags::UNIVERSAL_ENTITY_ID, VR::UT, id);
            put(&mut out, tags::UNIVERSAL_ENTITY_ID_TYPE, VR::CS, kind);
        }
        (local.is_some() || universal.is_some()).then_some(out)
    };
    let found = object.get(tag).and_then(|e| e.items()).and_then(|items| read(items.first()?));
    put_items(out, tag, found.into_iter().collect());
}

fn whole(object: &InMemDicomObject, tag: Tag) -> Option<String> {
    text_of(object, tag).and_then(|v| identifier(VR::LO, &v))
}

/// The first concept of a code sequence that is whole.
pub(crate) fn code_of(object: &InMemDicomObject, tag: Tag) -> Option<CodedConcept> {
    object.get(tag)?.items()?.iter().find_map(|item| {
        let part = |tag, vr| text_of(item, tag).and_then(|v| identifier(vr, &v));
        Some(CodedConcept {
            value: part(tags::CODE_VALUE, VR::SH)?,
            scheme: part(tags::CODING_SCHEME_DESIGNATOR, VR::SH)?,
            meaning: part(tags::CODE_MEANING, VR::LO)?,
        })
    })
}
