//! Words that tell who the patient is, so that no code string repeats them.
//!
//! A code string is copied where it looks like one, and `SMITH` looks like one. Nothing hinders a technician from typing
//! a name into Body Part Examined.

use std::collections::BTreeSet;

use dicom_core::Tag;
use dicom_dictionary_std::tags;
use dicom_object::InMemDicomObject;

use crate::values::texts;

/// Where names and numbers of people and places stand.
const IDENTIFYING: [Tag; 16] = [
    tags::PATIENT_NAME,
    tags::PATIENT_ID,
    // Other Patient IDs, retired and still sent.
    Tag(0x0010, 0x1000),
    tags::OTHER_PATIENT_NAMES,
    tags::PATIENT_BIRTH_NAME,
    tags::PATIENT_MOTHER_BIRTH_NAME,
    tags::PATIENT_ADDRESS,
    tags::PATIENT_BIRTH_DATE,
    tags::ACCESSION_NUMBER,
    tags::STUDY_ID,
    tags::REFERRING_PHYSICIAN_NAME,
    tags::PERFORMING_PHYSICIAN_NAME,
    tags::OPERATORS_NAME,
    tags::INSTITUTION_NAME,
    tags::STATION_NAME,
    tags::STUDY_DATE,
];

/// Words of the standard that stay, even for a patient who is called so.
const STANDARD: [&str; 40] = [
    "ABDOMEN",
    "ANKLE",
    "ARM",
    "BRAIN",
    "BREAST",
    "CHEST",
    "CSPINE",
    "ELBOW",
    "EXTREMITY",
    "EYE",
    "FOOT",
    "HAND",
    "HEAD",
    "HEART",
    "HIP",
    "KNEE",
    "LEG",
    "LIVER",
    "LSPINE",
    "NECK",
    "PELVIS",
    "RIB",
    "SHOULDER",
    "SKULL",
    "SPINE",
    "THORAX",
    "TSPINE",
    "WRIST",
    "ORIGINAL",
    "DERIVED",
    "PRIMARY",
    "SECONDARY",
    "AXIAL",
    "LOCALIZER",
    "LATERAL",
    "FOR PRESENTATION",
    "FOR PROCESSING",
    "LINEAR",
    "IDENTITY",
    "INVERSE",
];

/// The words of an original that must not be repeated.
pub(crate) struct Names(BTreeSet<String>);

impl Names {
    /// The words of three letters and more of the identifying attributes, at the top level.
    pub(crate) fn of(original: &InMemDicomObject) -> Self {
        let all = IDENTIFYING.into_iter().flat_map(|tag| texts(original, tag).unwrap_or_default());
        let mut words = BTreeSet::new();
        for text in all {
            words.extend(split(&text.to_ascii_uppercase()).map(str::to_owned));
        }
        Self(words)
    }

    /// Whether a code string holds one of them.
    pub(crate) fn repeated_by(&self, code: &str) -> bool {
        !STANDARD.contains(&code) && split(code).any(|word| self.0.contains(word))
    }
}

fn split(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_alphanumeric()).filter(|word| word.chars().count() >= 3)
}
