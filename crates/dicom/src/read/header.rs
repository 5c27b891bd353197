//! What a header tells without telling who the patient is.

use std::fmt;

use dicom_core::Tag;
use dicom_dictionary_std::tags;
use dicom_object::InMemDicomObject;
use overread_domain::{GridSize, Region, Sex, Uid};

use super::{CineTiming, PatientMark, Tolerance, values};

/// The attributes of an object or a photograph that reading needs. No name, no number and no date of the patient.
///
/// `Debug` prints no instance UID and nothing of the patient either.
#[derive(Clone, PartialEq)]
pub struct Header {
    /// SOP Class UID (0008,0016).
    pub sop_class_uid: Option<Uid>,
    /// SOP Instance UID (0008,0018).
    pub sop_instance_uid: Option<Uid>,
    /// Study Instance UID (0020,000D).
    pub study_instance_uid: Option<Uid>,
    /// Series Instance UID (0020,000E).
    pub series_instance_uid: Option<Uid>,
    /// The transfer syntax that the object was read in; for a photograph its format.
    pub transfer_syntax: String,
    /// Whether it is of the patient whom another file states.
    pub patient: PatientMark,
    /// Modality (0008,0060).
    pub modality: Option<String>,
    /// Body Part Examined (0018,0015).
    pub body_part_examined: Option<String>,
    /// View Position (0018,5101).
    pub view_position: Option<String>,
    /// Image Laterality (0020,0062), else Laterality (0020,0060), else the side of Anatomic Region Modifier Sequence (0008,2220).
    pub laterality: Option<String>,
    /// Presentation Intent Type (0008,0068).
    pub presentation_intent_type: Option<String>,
    /// Image Type (0008,0008).
    pub image_type: Vec<String>,
    /// Patient's Age (0010,1010) in years, else from birth date and study date.
    pub patient_age_years: Option<f64>,
    /// Patient's Sex (0010,0040).
    pub patient_sex: Option<Sex>,
    /// Rows; zero where the object holds no image.
    pub rows: u32,
    /// Columns; zero where the object holds no image.
    pub columns: u32,
    /// Frames; zero where the object holds no image.
    pub frames: u32,
    /// A photograph whose file holds further pictures: an animation, or pages. They are not read.
    pub holds_several: bool,
    /// Samples per Pixel.
    pub samples_per_pixel: u16,
    /// Photometric Interpretation as the file has it.
    pub photometric: String,
    /// Bits Allocated.
    pub bits_allocated: u16,
    /// Bits Stored.
    pub bits_stored: u16,
    /// Manufacturer (0008,0070).
    pub manufacturer: Option<String>,
    /// Manufacturer's Model Name (0008,1090).
    pub model: Option<String>,
    /// Where an ultrasound picture shows the body in two dimensions (Region Spatial Format 1, PS3.3 §C.8.5.5), as the file says.
    pub ultrasound_regions: Vec<Region>,
    /// When the frames of a cine were taken.
    pub cine: CineTiming,
    /// What was read although the standard does not allow it.
    pub tolerances: Vec<Tolerance>,
}

impl fmt::Debug for Header {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Header")
            .field("sop_class_uid", &self.sop_class_uid.as_ref().map(Uid::as_str))
            .field("transfer_syntax", &self.transfer_syntax)
            .field("modality", &self.modality)
            .field("rows", &self.rows)
            .field("columns", &self.columns)
            .field("frames", &self.frames)
            .field("samples_per_pixel", &self.samples_per_pixel)
            .field("photometric", &self.photometric)
            .field("bits_allocated", &self.bits_allocated)
            .field("bits_stored", &self.bits_stored)
            .field("tolerances", &self.tolerances)
            .finish_non_exhaustive()
    }
}

impl Header {
    /// The header of a picture that is no DICOM object.
    pub fn of_photograph(format: &str, columns: u32, rows: u32, samples: u16, bits: u16) -> Self {
        Self {
            sop_class_uid: None,
            sop_instance_uid: None,
            study_instance_uid: None,
            series_instance_uid: None,
            transfer_syntax: format.to_owned(),
            patient: PatientMark::default(),
            modality: None,
            body_part_examined: None,
            view_position: None,
            laterality: None,
            presentation_intent_type: None,
            image_type: Vec::new(),
            patient_age_years: None,
            patient_sex: None,
            rows,
            columns,
            frames: 1,
            holds_several: false,
            samples_per_pixel: samples,
            photometric: if samples == 1 { "MONOCHROME2" } else { "RGB" }.to_owned(),
            bits_allocated: bits,
            bits_stored: bits,
            manufacturer: None,
            model: None,
            ultrasound_regions: Vec::new(),
            cine: CineTiming::default(),
            tolerances: Vec::new(),
        }
    }

    /// The header of an object; sizes and bits are filled in by whoever knows the pixels.
    pub(crate) fn of_object(object: &InMemDicomObject, mut tolerances: Vec<Tolerance>) -> Self {
        let mut uid = |tag| uid(object, tag, &mut tolerances);
        let (sop_class_uid, sop_instance_uid) = (uid(tags::SOP_CLASS_UID), uid(tags::SOP_INSTANCE_UID));
        let (study, series) = (uid(tags::STUDY_INSTANCE_UID), uid(tags::SERIES_INSTANCE_UID));
        let text = |tag| values::text(object, tag);
        Self {
            sop_class_uid,
            sop_instance_uid,
            study_instance_uid: study,
            series_instance_uid: series,
            patient: PatientMark::of_object(object),
            modality: text(tags::MODALITY),
            body_part_examined: text(tags::BODY_PART_EXAMINED),
            view_position: text(tags::VIEW_POSITION),
            laterality: text(tags::IMAGE_LATERALITY)
                .or_else(|| text(tags::LATERALITY))
                .or_else(|| region_side(object)),
            presentation_intent_type: text(tags::PRESENTATION_INTENT_TYPE),
            image_type: values::texts(object, tags::IMAGE_TYPE),
            patient_age_years: age(object),
            patient_sex: sex(object),
            manufacturer: text(tags::MANUFACTURER),
            model: text(tags::MANUFACTURER_MODEL_NAME),
            ultrasound_regions: values::items(object, tags::SEQUENCE_OF_ULTRASOUND_REGIONS)
                .iter()
                .filter_map(ultrasound_region)
                .collect(),
            cine: CineTiming::of_object(object),
            tolerances,
            ..Self::of_photograph("", 0, 0, 0, 0)
        }
    }
}

/// The side by which the image's anatomic region is modified (CID 244, or the codes of SNOMED RT for it).
pub(crate) fn region_side(object: &InMemDicomObject) -> Option<String> {
    let region = values::item(object, tags::ANATOMIC_REGION_SEQUENCE)?;
    let modifiers = values::items(region, tags::ANATOMIC_REGION_MODIFIER_SEQUENCE);
    modifiers.iter().find_map(|modifier| match values::text(modifier, tags::CODE_VALUE)?.as_str() {
        "24028007" | "G-A100" => Some("R".to_owned()),
        "7771000" | "G-A101" => Some("L".to_owned()),
        "51440002" | "G-A102" => Some("B".to_owned()),
        _ => None,
    })
}

/// The region of an item that shows the body in two dimensions; its last pixels belong to it.
fn ultrasound_region(item: &InMemDicomObject) -> Option<Region> {
    let whole = |tag| values::whole(item, tag);
    let flat = whole(tags::REGION_SPATIAL_FORMAT) == Some(1);
    let (left, top) = (whole(tags::REGION_LOCATION_MIN_X0)?, whole(tags::REGION_LOCATION_MIN_Y0)?);
    let long = |last: u32, first: u32| last.checked_sub(first)?.checked_add(1);
    let columns = long(whole(tags::REGION_LOCATION_MAX_X1)?, left)?;
    let rows = long(whole(tags::REGION_LOCATION_MAX_Y1)?, top)?;
    flat.then_some(Region { left, top, size: GridSize::new(columns, rows) })
}

fn uid(object: &InMemDicomObject, tag: Tag, tolerances: &mut Vec<Tolerance>) -> Option<Uid> {
    let text = values::text(object, tag)?;
    let uid = Uid::parse(&text).ok();
    if uid.is_none() && !tolerances.contains(&Tolerance::InvalidUid) {
        tolerances.push(Tolerance::InvalidUid);
    }
    uid
}

fn sex(object: &InMemDicomObject) -> Option<Sex> {
    match values::text(object, tags::PATIENT_SEX)?.as_str() {
        "F" => Some(Sex::Female),
        "M" => Some(Sex::Male),
        "O" => Some(Sex::Other),
        _ => None,
    }
}

fn age(object: &InMemDicomObject) -> Option<f64> {
    let stated = values::text(object, tags::PATIENT_AGE).and_then(|t| age_of(&t));
    stated.or_else(|| {
        let born = days(&values::text(object, tags::PATIENT_BIRTH_DATE)?)?;
        let on = days(&values::text(object, tags::STUDY_DATE)?)?;
        let age = (on - born) / 365.25;
        (0.0..150.0).contains(&age).then_some(age)
    })
}

/// Years of an Age String (PS3.5 §6.2): three digits and `D`, `W`, `M` or `Y`.
fn age_of(text: &str) -> Option<f64> {
    let (number, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let number = f64::from(number.parse::<u16>().ok()?);
    match unit {
        "D" => Some(number / 365.25),
        "W" => Some(number * 7.0 / 365.25),
        "M" => Some(number / 12.0),
        "Y" => Some(number),
        _ => None,
    }
}

/// Days of a date `YYYYMMDD` (or `YYYY.MM.DD`, which ACR-NEMA wrote) on a common count.
fn days(text: &str) -> Option<f64> {
    let digits: String = text.chars().filter(|c| *c != '.').collect();
    let part = |range| digits.get(range).and_then(|t: &str| t.parse::<f64>().ok());
    let (year, month, day) = (part(0..4)?, part(4..6)?, part(6..8)?);
    let within = digits.len() == 8 && (1.0..=12.0).contains(&month) && (1.0..=31.0).contains(&day);
    // Years from March on, so that the leap day is the last of a year.
    let (y, m) = if month > 2.0 { (year, month - 3.0) } else { (year - 1.0, month + 9.0) };
    let leap = (y / 4.0).floor() - (y / 100.0).floor() + (y / 400.0).floor();
    within.then_some(y * 365.0 + leap + ((m * 153.0 + 2.0) / 5.0).floor() + day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_and_dates() {
        assert_eq!(age_of("006M"), Some(0.5));
        assert_eq!(age_of("042Y"), Some(42.0));
        assert_eq!(age_of("Y"), None);
        assert_eq!(age_of("4é"), None);
        assert_eq!(days("20240301").unwrap() - days("20240228").unwrap(), 2.0);
        assert_eq!(days("20250101").unwrap() - days("20240101").unwrap(), 366.0);
        assert_eq!(days("2024ab01"), None);
    }
}
