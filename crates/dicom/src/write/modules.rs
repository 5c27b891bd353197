//! Modules of PS3.3 that several of our objects share.

use dicom_core::VR;
use dicom_dictionary_std::tags;
use dicom_object::InMemDicomObject;
use overread_domain::Uid;

use super::codes::{self, code_item};
use super::elements::{put, put_items, put_us};
use super::identity::Algorithm;
use super::source::SourceContext;
use super::stamp::Stamp;
use super::text::sanitised;
use super::{WriteError, elements};

/// SOP Common (§C.12.1) without contributing equipment.
pub(crate) fn sop_common(object: &mut InMemDicomObject, class: &str, instance: &Uid) {
    put(object, tags::SPECIFIC_CHARACTER_SET, VR::CS, "ISO_IR 192");
    put(object, tags::SOP_CLASS_UID, VR::UI, class);
    put(object, tags::SOP_INSTANCE_UID, VR::UI, instance.as_str());
}

/// Patient, General Study and Patient Study of the source. Returns the stamp on the source's clock,
/// because one offset holds for all dates and times of an object.
pub(crate) fn patient_and_study(
    object: &mut InMemDicomObject,
    source: &SourceContext,
    stamp: Stamp,
) -> Stamp {
    for element in source.header() {
        object.put(element.clone());
    }
    put(object, tags::STUDY_INSTANCE_UID, VR::UI, source.study().as_str());
    let Some(offset) = source.utc_offset_minutes() else { return stamp };
    let stamp = stamp.at_offset(offset);
    put(object, tags::TIMEZONE_OFFSET_FROM_UTC, VR::SH, &stamp.offset());
    stamp
}

/// A series of ours.
pub(crate) struct Series<'a> {
    pub(crate) uid: Uid,
    pub(crate) modality: &'a str,
    pub(crate) number: u32,
    pub(crate) description: String,
}

/// General Series (§C.7.3.1), instance number and content date.
pub(crate) fn series_and_instance(
    object: &mut InMemDicomObject,
    series: &Series<'_>,
    instance: u32,
    stamp: Stamp,
) {
    put(object, tags::MODALITY, VR::CS, series.modality);
    put(object, tags::SERIES_INSTANCE_UID, VR::UI, series.uid.as_str());
    put(object, tags::SERIES_NUMBER, VR::IS, &series.number.to_string());
    let description = sanitised(VR::LO, &series.description).unwrap_or_default();
    put(object, tags::SERIES_DESCRIPTION, VR::LO, &description);
    put(object, tags::SERIES_DATE, VR::DA, &stamp.date());
    put(object, tags::SERIES_TIME, VR::TM, &stamp.time());
    put(object, tags::INSTANCE_NUMBER, VR::IS, &instance.to_string());
    put(object, tags::CONTENT_DATE, VR::DA, &stamp.date());
    put(object, tags::CONTENT_TIME, VR::TM, &stamp.time());
    put(object, tags::INSTANCE_CREATION_DATE, VR::DA, &stamp.date());
    put(object, tags::INSTANCE_CREATION_TIME, VR::TM, &stamp.time());
}

/// Enhanced General Equipment (§C.7.5.2): the edition is the device, and its content hash the serial number.
pub(crate) fn equipment(object: &mut InMemDicomObject, algorithm: &Algorithm) {
    put(object, tags::MANUFACTURER, VR::LO, &line(&algorithm.manufacturer));
    put(object, tags::MANUFACTURER_MODEL_NAME, VR::LO, &line(&algorithm.name));
    put(object, tags::DEVICE_SERIAL_NUMBER, VR::LO, &line(&algorithm.edition.0));
    put(object, tags::SOFTWARE_VERSIONS, VR::LO, &line(&algorithm.version));
}

/// Contributing Equipment Sequence (0018,A001) of SOP Common: the edition with its Device UID.
pub(crate) fn contributing_equipment(object: &mut InMemDicomObject, algorithm: &Algorithm, stamp: Stamp) {
    let mut item = InMemDicomObject::new_empty();
    equipment(&mut item, algorithm);
    put(&mut item, tags::DEVICE_UID, VR::UI, algorithm.device_uid().as_str());
    put(&mut item, tags::CONTRIBUTION_DATE_TIME, VR::DT, &stamp.date_time());
    put(&mut item, tags::CONTRIBUTION_DESCRIPTION, VR::ST, "Read the images");
    let purpose = vec![code_item(&codes::PROCESSING_EQUIPMENT.into())];
    put_items(&mut item, tags::PURPOSE_OF_REFERENCE_CODE_SEQUENCE, purpose);
    put_items(object, tags::CONTRIBUTING_EQUIPMENT_SEQUENCE, vec![item]);
}

/// Image Pixel (§C.7.6.3) but the pixel data.
pub(crate) struct PixelModule {
    pub(crate) columns: u32,
    pub(crate) rows: u32,
    pub(crate) rgb: bool,
    pub(crate) bits_allocated: u16,
    pub(crate) bits_stored: u16,
}

impl PixelModule {
    /// Checks the size, and that a buffer of so many samples fits it.
    pub(crate) fn check(&self, samples: usize) -> Result<(), WriteError> {
        let Self { columns, rows, .. } = *self;
        if !(1..=65535).contains(&columns) || !(1..=65535).contains(&rows) {
            return Err(WriteError::ImageSize { columns, rows });
        }
        let expected = u64::from(columns) * u64::from(rows) * if self.rgb { 3 } else { 1 };
        let found = samples as u64;
        if expected == found {
            Ok(())
        } else {
            Err(WriteError::PixelCount { columns, rows, expected, found })
        }
    }

    /// Puts the attributes.
    pub(crate) fn put(&self, object: &mut InMemDicomObject) {
        let short = |n: u32| u16::try_from(n).unwrap_or(u16::MAX);
        put_us(object, tags::ROWS, short(self.rows));
        put_us(object, tags::COLUMNS, short(self.columns));
        put_us(object, tags::SAMPLES_PER_PIXEL, if self.rgb { 3 } else { 1 });
        let photometric = if self.rgb { "RGB" } else { "MONOCHROME2" };
        put(object, tags::PHOTOMETRIC_INTERPRETATION, VR::CS, photometric);
        if self.rgb {
            put_us(object, tags::PLANAR_CONFIGURATION, 0);
        }
        put_us(object, tags::BITS_ALLOCATED, self.bits_allocated);
        put_us(object, tags::BITS_STORED, self.bits_stored);
        put_us(object, tags::HIGH_BIT, self.bits_stored.saturating_sub(1));
        put_us(object, tags::PIXEL_REPRESENTATION, 0);
    }
}

/// Laterality (0020,0060), type 2C: the side of a paired body part, no attribute for a body part
/// that is known to have no pair, empty where it is unknown.
pub(crate) fn laterality(object: &mut InMemDicomObject, body_part: Option<&str>, side: Option<&str>) {
    const UNPAIRED: [&str; 14] = [
        "CHEST",
        "ABDOMEN",
        "PELVIS",
        "HEAD",
        "SKULL",
        "BRAIN",
        "NECK",
        "HEART",
        "LIVER",
        "SPINE",
        "CSPINE",
        "TSPINE",
        "LSPINE",
        "WHOLEBODY",
    ];
    match side {
        Some(side) => put(object, tags::LATERALITY, VR::CS, side),
        None if body_part.is_some_and(|p| UNPAIRED.contains(&p)) => {}
        None => put(object, tags::LATERALITY, VR::CS, ""),
    }
}

/// A type 1 text of VR LO; a caller that gives nothing valid gets `unknown`.
pub(crate) fn line(text: &str) -> String {
    sanitised(VR::LO, text).unwrap_or_else(|| "unknown".into())
}

/// An object with its meta group.
pub(crate) fn finish(object: InMemDicomObject) -> Result<elements::DicomFile, WriteError> {
    elements::into_file(object)
}
