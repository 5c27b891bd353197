//! The study that a result belongs to: the patient, the study and the images that were read.

use dicom_core::{Tag, VR};
use dicom_dictionary_std::tags;
use dicom_object::InMemDicomObject;
use overread_domain::{CodedConcept, Identified, Uid};

use super::WriteError;
use super::charset::text_of;
use super::elements::put;
use super::specimen::{LossyCompression, Slide, code_of};
use super::text::{identifier, sanitised};
use crate::read::region_side;

/// A reference to an instance, with the hierarchy that SR evidence asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InstanceReference {
    /// Series Instance UID.
    pub series: Uid,
    /// SOP Class UID.
    pub class: Uid,
    /// SOP Instance UID.
    pub instance: Uid,
}

impl InstanceReference {
    /// The reference to an object in memory, such as one that was just written.
    ///
    /// # Errors
    /// A UID is missing or is not a UID.
    pub fn to(object: &InMemDicomObject) -> Result<Self, WriteError> {
        Ok(Self {
            series: uid(object, tags::SERIES_INSTANCE_UID, "Series Instance UID")?,
            class: uid(object, tags::SOP_CLASS_UID, "SOP Class UID")?,
            instance: uid(object, tags::SOP_INSTANCE_UID, "SOP Instance UID")?,
        })
    }
}

/// What a result says of an image that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceImage {
    /// Where it is.
    pub reference: InstanceReference,
    /// Modality (0008,0060); empty where the source has none that is valid.
    pub modality: String,
    /// Rows.
    pub rows: Option<u32>,
    /// Columns.
    pub columns: Option<u32>,
    /// Body Part Examined (0018,0015), where there is a valid one.
    pub body_part: Option<String>,
    /// `L` or `R`, from Image Laterality (0020,0062), Laterality (0020,0060) or the modifier of the anatomic region.
    pub laterality: Option<String>,
    /// Burned In Annotation (0028,0301), where the source says it.
    pub burned_in: Option<bool>,
    /// Lossy Image Compression (0028,2110): once lossy, always lossy.
    pub lossy: bool,
}

/// The patient, the study and the images of a result. It has no `Debug`: it knows the patient.
#[derive(Clone)]
pub struct SourceContext {
    study: Uid,
    header: Identified<InMemDicomObject>,
    accession: Option<Identified<String>>,
    procedure: Option<CodedConcept>,
    utc_offset_minutes: Option<i16>,
    images: Vec<SourceImage>,
    slide: Slide,
}

/// How the value of a header attribute is made valid.
#[derive(Clone, Copy, PartialEq)]
enum Rule {
    /// Written even without value.
    Type2,
    /// Written where there is a value.
    Type3,
    /// Type 2, whole or empty.
    Identifier,
    /// Type 3, whole or absent.
    Identifier3,
}

/// Patient, General Study and Patient Study modules (PS3.3 §C.7.1.1, §C.7.2.1, §C.7.2.2).
const HEADER: [(Tag, VR, Rule); 14] = [
    (tags::STUDY_DATE, VR::DA, Rule::Type2),
    (tags::STUDY_TIME, VR::TM, Rule::Type2),
    (tags::ACCESSION_NUMBER, VR::SH, Rule::Identifier),
    (tags::REFERRING_PHYSICIAN_NAME, VR::PN, Rule::Type2),
    (tags::STUDY_DESCRIPTION, VR::LO, Rule::Type3),
    (tags::PATIENT_NAME, VR::PN, Rule::Type2),
    (tags::PATIENT_ID, VR::LO, Rule::Identifier),
    (tags::ISSUER_OF_PATIENT_ID, VR::LO, Rule::Identifier3),
    (tags::PATIENT_BIRTH_DATE, VR::DA, Rule::Type2),
    (tags::PATIENT_SEX, VR::CS, Rule::Type2),
    (tags::PATIENT_AGE, VR::AS, Rule::Type3),
    (tags::PATIENT_SIZE, VR::DS, Rule::Type3),
    (tags::PATIENT_WEIGHT, VR::DS, Rule::Type3),
    (tags::STUDY_ID, VR::SH, Rule::Identifier),
];

impl SourceContext {
    /// The context of a result on one image; [`Self::add_image`] adds the others of its study.
    ///
    /// # Errors
    /// The image lacks a Study, Series, SOP Class or SOP Instance UID, or has one that is not a UID.
    pub fn from_image(image: &Identified<InMemDicomObject>) -> Result<Self, WriteError> {
        let object = image.reveal();
        let mut context = Self::for_study(uid(object, tags::STUDY_INSTANCE_UID, "Study Instance UID")?);
        context.header = Identified::new(header_of(object));
        context.accession =
            text_of(object, tags::ACCESSION_NUMBER).and_then(|a| identifier(VR::SH, &a)).map(Identified::new);
        context.procedure = code_of(object, tags::PROCEDURE_CODE_SEQUENCE);
        context.utc_offset_minutes = utc_offset_of(object);
        context.images.push(image_of(object)?);
        context.slide = Slide::of(object);
        Ok(context)
    }

    /// The context of a result on nothing but a study's UID: an unnamed patient, no images.
    pub fn for_study(study: Uid) -> Self {
        Self {
            study,
            header: Identified::new(header_of(&InMemDicomObject::new_empty())),
            accession: None,
            procedure: None,
            utc_offset_minutes: None,
            images: Vec::new(),
            slide: Slide::NONE,
        }
    }

    /// Adds an image that was read for the same result; the header of the first one stays.
    ///
    /// # Errors
    /// As [`Self::from_image`], and [`WriteError::OtherStudy`]. An image added twice is kept once.
    pub fn add_image(&mut self, image: &Identified<InMemDicomObject>) -> Result<(), WriteError> {
        let object = image.reveal();
        let added = image_of(object)?;
        if uid(object, tags::STUDY_INSTANCE_UID, "Study Instance UID")? != self.study {
            return Err(WriteError::OtherStudy { instance: added.reference.instance });
        }
        if self.images.iter().all(|i| i.reference.instance != added.reference.instance) {
            self.images.push(added);
        }
        Ok(())
    }

    /// Study Instance UID.
    pub fn study(&self) -> &Uid {
        &self.study
    }

    /// The images that were read.
    pub fn images(&self) -> &[SourceImage] {
        &self.images
    }

    /// Patient and study attributes, made valid.
    pub(crate) fn header(&self) -> &InMemDicomObject {
        self.header.reveal()
    }

    /// Accession Number, where there is a valid one.
    pub(crate) fn accession(&self) -> Option<&str> {
        self.accession.as_ref().map(|a| a.reveal().as_str())
    }

    /// The first valid Procedure Code.
    pub(crate) fn procedure(&self) -> Option<&CodedConcept> {
        self.procedure.as_ref()
    }

    /// Frame of Reference UID (0020,0052) of the first image, where there is a valid one.
    pub fn frame_of_reference(&self) -> Option<&Uid> {
        self.slide.frame_of_reference.as_ref()
    }

    /// Specimen Module of the first image, where it has one, made valid.
    pub(crate) fn specimen(&self) -> Option<&InMemDicomObject> {
        self.slide.specimen.as_ref().map(Identified::reveal)
    }

    /// The lossy compressions that the first image tells of itself.
    pub(crate) fn lossy(&self) -> &[LossyCompression] {
        &self.slide.lossy
    }

    /// Timezone Offset From UTC (0008,0201), where the source tells it.
    pub(crate) fn utc_offset_minutes(&self) -> Option<i16> {
        self.utc_offset_minutes
    }
}

fn uid(object: &InMemDicomObject, tag: Tag, name: &'static str) -> Result<Uid, WriteError> {
    let text = text_of(object, tag).ok_or(WriteError::Missing { name, tag })?;
    Uid::parse(&text).map_err(|source| WriteError::NotAUid { name, tag, source })
}

fn header_of(object: &InMemDicomObject) -> InMemDicomObject {
    let mut header = InMemDicomObject::new_empty();
    for (tag, vr, rule) in HEADER {
        let found = text_of(object, tag);
        let mut value = found.as_deref().and_then(|v| match rule {
            Rule::Type2 | Rule::Type3 => sanitised(vr, v),
            Rule::Identifier | Rule::Identifier3 => identifier(vr, v),
        });
        if tag == tags::PATIENT_SEX {
            value = value.filter(|s| matches!(s.as_str(), "M" | "F" | "O"));
        }
        if matches!(tag, tags::PATIENT_SIZE | tags::PATIENT_WEIGHT) {
            // A body that weighs nothing is a field that nobody filled.
            value = value.filter(|v| v.parse().is_ok_and(|n: f64| n > 0.0));
        }
        if found.is_some() && value.is_none() {
            tracing::warn!(%tag, "an invalid value of the source header is left out of the result");
        }
        match (value, rule) {
            (Some(value), _) => put(&mut header, tag, vr, &value),
            (None, Rule::Type2 | Rule::Identifier) => put(&mut header, tag, vr, ""),
            (None, Rule::Type3 | Rule::Identifier3) => {}
        }
    }
    header
}

fn image_of(object: &InMemDicomObject) -> Result<SourceImage, WriteError> {
    let number = |tag| object.get(tag).and_then(|e| e.value().to_int::<u32>().ok());
    let value = |tag| text_of(object, tag);
    Ok(SourceImage {
        reference: InstanceReference::to(object)?,
        modality: value(tags::MODALITY).and_then(|m| sanitised(VR::CS, &m)).unwrap_or_default(),
        rows: number(tags::ROWS),
        columns: number(tags::COLUMNS),
        body_part: value(tags::BODY_PART_EXAMINED).and_then(|b| sanitised(VR::CS, &b)),
        laterality: [tags::IMAGE_LATERALITY, tags::LATERALITY]
            .into_iter()
            .find_map(value)
            .or_else(|| region_side(object))
            .filter(|l| matches!(l.as_str(), "L" | "R")),
        burned_in: match value(tags::BURNED_IN_ANNOTATION).as_deref() {
            Some("YES") => Some(true),
            Some("NO") => Some(false),
            _ => None,
        },
        lossy: value(tags::LOSSY_IMAGE_COMPRESSION).as_deref() == Some("01"),
    })
}

fn utc_offset_of(object: &InMemDicomObject) -> Option<i16> {
    let text = text_of(object, tags::TIMEZONE_OFFSET_FROM_UTC)?;
    let sign = match text.as_bytes() {
        [b'+', d @ ..] if d.len() == 4 && d.iter().all(u8::is_ascii_digit) => 1,
        [b'-', d @ ..] if d.len() == 4 && d.iter().all(u8::is_ascii_digit) => -1,
        _ => return None,
    };
    let (hours, minutes): (i16, i16) = (text[1..3].parse().ok()?, text[3..5].parse().ok()?);
    let total = hours * 60 + minutes;
    (minutes < 60 && total <= 840).then_some(sign * total)
}
