//! The picture of why, as a secondary capture: many viewers show no SR, every one shows this.

use dicom_core::VR;
use dicom_dictionary_std::tags;
use dicom_object::InMemDicomObject;
use overread_domain::GridSize;

use super::WriteError;
use super::content::source_item;
use super::elements::{DicomFile, put, put_items, put_many, put_pixels_u8, put_some};
use super::identity::{Algorithm, ResultIdentity};
use super::modules::{self, PixelModule};
use super::object::{self, Kind};
use super::source::{InstanceReference, SourceContext, SourceImage};
use super::stamp::Stamp;
use super::text::sanitised;

/// A rendered picture. It must not show who the patient is: nothing here is cleaned.
#[derive(Clone, Copy, Debug)]
pub struct Capture<'a> {
    /// Label of the finding it explains, or another word that tells it from the result's other captures.
    pub label: &'a str,
    /// Position among the result's captures, from 1.
    pub number: u32,
    /// How it was made, such as `Class-activation map of pneumonia over the image; probability 0.93`.
    pub description: &'a str,
    /// Columns and rows.
    pub size: GridSize,
    /// Red, green, blue, one byte each, row by row from the top left (`y, x, c`).
    pub rgb: &'a [u8],
}

/// Where a capture is or will be: its UIDs are known before it is written.
pub fn capture_reference(
    source: &SourceContext,
    algorithm: &Algorithm,
    identity: &ResultIdentity,
    label: &str,
) -> InstanceReference {
    object::reference(source, algorithm, identity, Kind::Capture(label))
}

/// Makes a Secondary Capture Image (PS3.3 §A.8.1), in the study of the source and a series of its own.
///
/// It has no pixel spacing: not for measurement.
///
/// # Errors
/// The buffer does not fit the size, or the size is none that DICOM holds.
pub fn secondary_capture(
    source: &SourceContext,
    algorithm: &Algorithm,
    identity: &ResultIdentity,
    stamp: Stamp,
    capture: &Capture<'_>,
) -> Result<DicomFile, WriteError> {
    let GridSize { columns, rows } = capture.size;
    let pixels = PixelModule { columns, rows, rgb: true, bits_allocated: 8, bits_stored: 8 };
    pixels.check(capture.rgb.len())?;
    let mut object =
        object::begin(source, algorithm, identity, stamp, Kind::Capture(capture.label), capture.number);
    put(&mut object, tags::CONVERSION_TYPE, VR::CS, "WSD");
    derivation(&mut object, source, capture);
    pixels.put(&mut object);
    put_pixels_u8(&mut object, capture.rgb);
    modules::finish(object)
}

/// General Image (§C.7.6.1): derived from what, and how.
fn derivation(object: &mut InMemDicomObject, source: &SourceContext, capture: &Capture<'_>) {
    put_many(object, tags::IMAGE_TYPE, VR::CS, &["DERIVED", "SECONDARY"]);
    let description = sanitised(VR::ST, capture.description).unwrap_or_else(|| "Rendered by software".into());
    put(object, tags::DERIVATION_DESCRIPTION, VR::ST, &description);
    put(object, tags::PATIENT_ORIENTATION, VR::CS, "");
    body_part(object, source.images());
    put(
        object,
        tags::IMAGE_COMMENTS,
        VR::LT,
        "Not for measurement. Not for clinical use without local validation.",
    );
    let images = source.images();
    if !images.is_empty() {
        put_items(object, tags::SOURCE_IMAGE_SEQUENCE, images.iter().map(source_item).collect());
    }
    if images.iter().any(|i| i.lossy) {
        put(object, tags::LOSSY_IMAGE_COMPRESSION, VR::CS, "01");
    }
    // The attribute speaks of annotation that identifies the patient. We burn none in, so the
    // answer is the source's, and no answer where the source gives none.
    if images.iter().any(|i| i.burned_in == Some(true)) {
        put(object, tags::BURNED_IN_ANNOTATION, VR::CS, "YES");
    } else if !images.is_empty() && images.iter().all(|i| i.burned_in == Some(false)) {
        put(object, tags::BURNED_IN_ANNOTATION, VR::CS, "NO");
    }
}

/// Body part and laterality where all images agree: a capture of a left hand must not pass for a right one.
fn body_part(object: &mut InMemDicomObject, images: &[SourceImage]) {
    fn common<T: PartialEq>(mut values: impl Iterator<Item = Option<T>>) -> Option<T> {
        let first = values.next()??;
        values.all(|v| v.as_ref() == Some(&first)).then_some(first)
    }
    let part = common(images.iter().map(|i| i.body_part.as_deref()));
    put_some(object, tags::BODY_PART_EXAMINED, VR::CS, part);
    let side = common(images.iter().map(|i| i.laterality.as_deref()));
    modules::laterality(object, part, side);
}
