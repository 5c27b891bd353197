//! Data elements, items of sequences and whole files, by short names.

use dicom_core::value::{DataSetSequence, PrimitiveValue};
use dicom_core::{DataElement, Tag, VR};
use dicom_dictionary_std::{tags, uids};
use dicom_object::meta::FileMetaTableBuilder;
use dicom_object::{FileDicomObject, InMemDicomObject};

use super::WriteError;
use super::identity::derive;

/// A DICOM object with its file meta group.
pub type DicomFile = FileDicomObject<InMemDicomObject>;

/// Puts a text value; an empty one is a type 2 attribute without value.
pub(crate) fn put(object: &mut InMemDicomObject, tag: Tag, vr: VR, value: &str) {
    let value = if value.is_empty() { PrimitiveValue::Empty } else { PrimitiveValue::from(value) };
    object.put(DataElement::new(tag, vr, value));
}

/// Puts a text value where there is one.
pub(crate) fn put_some(object: &mut InMemDicomObject, tag: Tag, vr: VR, value: Option<&str>) {
    if let Some(value) = value {
        put(object, tag, vr, value);
    }
}

/// Puts several values of a text attribute.
pub(crate) fn put_many(object: &mut InMemDicomObject, tag: Tag, vr: VR, values: &[&str]) {
    let values = values.iter().map(|v| (*v).to_owned()).collect();
    object.put(DataElement::new(tag, vr, PrimitiveValue::Strs(values)));
}

/// Puts a number of VR US.
pub(crate) fn put_us(object: &mut InMemDicomObject, tag: Tag, value: u16) {
    object.put(DataElement::new(tag, VR::US, PrimitiveValue::from(value)));
}

/// Puts a sequence.
pub(crate) fn put_items(object: &mut InMemDicomObject, tag: Tag, items: Vec<InMemDicomObject>) {
    object.put(DataElement::new(tag, VR::SQ, DataSetSequence::from(items)));
}

/// Puts the pixels of 8 bits a sample, padded to an even length.
pub(crate) fn put_pixels_u8(object: &mut InMemDicomObject, pixels: &[u8]) {
    let mut bytes = pixels.to_vec();
    if bytes.len() % 2 == 1 {
        bytes.push(0);
    }
    object.put(DataElement::new(tags::PIXEL_DATA, VR::OB, PrimitiveValue::U8(bytes.into())));
}

/// Puts the pixels of 16 bits a sample.
pub(crate) fn put_pixels_u16(object: &mut InMemDicomObject, pixels: &[u16]) {
    object.put(DataElement::new(tags::PIXEL_DATA, VR::OW, PrimitiveValue::U16(pixels.into())));
}

/// Gives an object its file meta group: explicit VR little endian, our implementation class.
pub(crate) fn into_file(object: InMemDicomObject) -> Result<DicomFile, WriteError> {
    into_file_of(object, uids::EXPLICIT_VR_LITTLE_ENDIAN)
}

/// The same with another transfer syntax.
pub(crate) fn into_file_of(object: InMemDicomObject, syntax: &str) -> Result<DicomFile, WriteError> {
    let instance = instance_of(&object);
    let meta = FileMetaTableBuilder::new()
        .transfer_syntax(syntax)
        .implementation_class_uid(derive("implementation", &[b"overread-dicom"]).as_str())
        .implementation_version_name(concat!("OVERREAD_", env!("CARGO_PKG_VERSION")));
    object.with_meta(meta).map_err(|e| WriteError::Meta { instance, source: Box::new(e) })
}

/// The bytes of a Part 10 file (PS3.10 §7): preamble, meta group, data set.
///
/// # Errors
/// [`WriteError::Encode`] if a value cannot be encoded.
pub fn to_part10(file: &DicomFile) -> Result<Vec<u8>, WriteError> {
    let mut bytes = Vec::new();
    file.write_all(&mut bytes)
        .map_err(|e| WriteError::Encode { instance: instance_of(file), source: Box::new(e) })?;
    Ok(bytes)
}

fn instance_of(object: &InMemDicomObject) -> String {
    let value = object.get(tags::SOP_INSTANCE_UID).and_then(|e| e.value().to_str().ok());
    value.map_or_else(|| "an object without SOP Instance UID".into(), |v| v.into_owned())
}
