//! What the edge keeps of an object beside its bytes: names, facts for the rules, attributes for QIDO-RS.

use std::path::Path;

use dicom_core::Tag;
use dicom_dictionary_std::tags;
use dicom_object::InMemDicomObject;
use overread_dicom::read::{self, Limits, Opened};
use overread_domain::Uid;
use serde::{Deserialize, Serialize};

use crate::error::sentence;
use crate::rules::ImageFacts;
use crate::vault::Who;

/// An object as the catalog knows it.
pub struct Description {
    /// Study Instance UID.
    pub study: Uid,
    /// Series Instance UID.
    pub series: Uid,
    /// SOP Class UID.
    pub sop_class: Uid,
    /// SOP Instance UID.
    pub sop_instance: Uid,
    /// Transfer syntax of the data set.
    pub transfer_syntax: String,
    /// Frames of pixel data; zero for an object that is no image.
    pub frames: u32,
    /// (0020,1208), where the object tells how many images its study has.
    pub expected: Option<i64>,
    /// Facts and attributes, as one document.
    pub attributes: Attributes,
    /// Whose it is.
    pub who: Who,
}

/// The document beside an object.
#[derive(Clone, Deserialize, Serialize)]
pub struct Attributes {
    /// For the rules.
    pub facts: ImageFacts,
    /// DICOM JSON Model (PS3.18 §F) of the attributes that queries match and return.
    pub dicom: serde_json::Value,
}

/// Attributes that a query can ask for (PS3.18 §10.6, and what viewers include).
const KEPT: [Tag; 37] = [
    tags::SPECIFIC_CHARACTER_SET,
    tags::SOP_CLASS_UID,
    tags::SOP_INSTANCE_UID,
    tags::STUDY_DATE,
    tags::SERIES_DATE,
    tags::STUDY_TIME,
    tags::SERIES_TIME,
    tags::ACCESSION_NUMBER,
    tags::MODALITY,
    tags::REFERRING_PHYSICIAN_NAME,
    tags::TIMEZONE_OFFSET_FROM_UTC,
    tags::STUDY_DESCRIPTION,
    tags::SERIES_DESCRIPTION,
    tags::MANUFACTURER,
    tags::PATIENT_NAME,
    tags::PATIENT_ID,
    tags::ISSUER_OF_PATIENT_ID,
    tags::PATIENT_BIRTH_DATE,
    tags::PATIENT_SEX,
    tags::PATIENT_AGE,
    tags::BODY_PART_EXAMINED,
    tags::PROTOCOL_NAME,
    tags::VIEW_POSITION,
    tags::STUDY_INSTANCE_UID,
    tags::SERIES_INSTANCE_UID,
    tags::STUDY_ID,
    tags::SERIES_NUMBER,
    tags::INSTANCE_NUMBER,
    tags::IMAGE_LATERALITY,
    tags::LATERALITY,
    tags::NUMBER_OF_FRAMES,
    tags::ROWS,
    tags::COLUMNS,
    tags::BITS_ALLOCATED,
    tags::PERFORMED_PROCEDURE_STEP_START_DATE,
    tags::PERFORMED_PROCEDURE_STEP_START_TIME,
    tags::REQUEST_ATTRIBUTES_SEQUENCE,
];

/// Reads an object's header.
///
/// # Errors
/// A sentence without identity: what is missing or wrong, by tag.
pub fn describe(file: &Path, source: &str, limits: &Limits) -> Result<Description, String> {
    let opened = match read::open(file, limits).map_err(|e| sentence(&e))? {
        Opened::Dicom(opened) => opened,
        Opened::Photograph(_) | Opened::Slide(_) => {
            return Err("this is a picture, not a DICOM object".into());
        }
    };
    // What a sender cut short is refused while it still can send it again.
    opened.check_whole().map_err(|e| sentence(&e))?;
    let header = opened.header();
    let uid = |value: &Option<Uid>, name: &str| {
        value.clone().ok_or_else(|| format!("{name} is missing or is no UID"))
    };
    let object = opened.dataset().reveal();
    let study = uid(&header.study_instance_uid, "Study Instance UID (0020,000D)")?;
    Ok(Description {
        who: Who::new(
            &text(object, tags::ISSUER_OF_PATIENT_ID),
            &text(object, tags::PATIENT_ID),
            study.as_str(),
        ),
        study,
        series: uid(&header.series_instance_uid, "Series Instance UID (0020,000E)")?,
        sop_class: uid(&header.sop_class_uid, "SOP Class UID (0008,0016)")?,
        sop_instance: uid(&header.sop_instance_uid, "SOP Instance UID (0008,0018)")?,
        transfer_syntax: header.transfer_syntax.clone(),
        frames: header.frames,
        expected: text(object, tags::NUMBER_OF_STUDY_RELATED_INSTANCES).parse().ok().filter(|n| *n > 0),
        attributes: Attributes { facts: facts(object, header, source), dicom: kept(object) },
    })
}

fn text(object: &InMemDicomObject, tag: Tag) -> String {
    object
        .get(tag)
        .and_then(|e| e.value().to_str().ok())
        .map(|t| t.trim_matches([' ', '\0']).to_owned())
        .unwrap_or_default()
}

fn facts(object: &InMemDicomObject, header: &read::Header, source: &str) -> ImageFacts {
    let lines = |tags: &[Tag]| {
        let lines: Vec<String> =
            tags.iter().map(|tag| text(object, *tag)).filter(|t| !t.is_empty()).collect();
        lines.join("\n")
    };
    let mut order = lines(&[tags::REQUESTED_PROCEDURE_DESCRIPTION]);
    for item in object.get(tags::PROCEDURE_CODE_SEQUENCE).and_then(|e| e.items()).unwrap_or_default() {
        order = format!("{order}\n{}\n{}", text(item, tags::CODE_VALUE), text(item, tags::CODE_MEANING));
    }
    ImageFacts {
        modality: header.modality.clone().unwrap_or_default(),
        sop_class: header.sop_class_uid.as_ref().map(|u| u.as_str().to_owned()).unwrap_or_default(),
        body_part: header.body_part_examined.clone().unwrap_or_default(),
        view: header.view_position.clone().unwrap_or_default(),
        laterality: header.laterality.clone().unwrap_or_default(),
        source: source.to_owned(),
        descriptions: lines(&[tags::STUDY_DESCRIPTION, tags::SERIES_DESCRIPTION, tags::PROTOCOL_NAME]),
        order,
        age_years: header.patient_age_years,
        sex: header.patient_sex,
        burned_in: text(object, tags::BURNED_IN_ANNOTATION).eq_ignore_ascii_case("YES"),
        slide_label: read::is_slide_label(header),
    }
}

fn kept(object: &InMemDicomObject) -> serde_json::Value {
    let mut small = InMemDicomObject::new_empty();
    for element in KEPT.iter().filter_map(|tag| object.get(*tag)) {
        small.put(element.clone());
    }
    // What cannot be said in JSON (a number that is none) is left out of queries, not of the study.
    dicom_json::to_value(small).unwrap_or_else(|_| serde_json::json!({}))
}
