//! What an object says of its own de-identification (PS3.3 §C.7.1.1 and §C.12.1).

use dicom_core::value::PrimitiveValue;
use dicom_core::{DataElement, VR};
use dicom_dictionary_std::tags as t;
use dicom_object::InMemDicomObject;

use super::dummy;
use crate::profile::{BASIC, EDITION, Profile, ProfileOption};
use crate::values::texts;

/// What is known about the pixels of an object.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Pixels {
    /// Nobody looked at them.
    #[default]
    Unseen,
    /// Text about the patient was looked for in a sample of frames, or in other images of the series, and what was found is removed.
    Sampled,
    /// Text about the patient was looked for and removed, by whoever made the original that is given here.
    Cleaned,
}

impl Pixels {
    /// What De-identification Method (0012,0063) says of them, at most 64 characters.
    pub(crate) const fn method(self) -> &'static str {
        match self {
            Self::Unseen => "Pixel data not inspected for burned-in text",
            Self::Sampled => "Burned-in text looked for in a sample of images or frames",
            Self::Cleaned => "Pixel data cleaned of burned-in text",
        }
    }
}

/// What De-identification Method (0012,0063) says of a head's volume, from which a face can be rendered.
pub(crate) const FACES: &str = "Recognizable visual features not removed";

/// Whether the original admits that its pixels tell who the patient is.
pub(crate) fn shows_identity(object: &InMemDicomObject) -> bool {
    let yes = |tag| texts(object, tag).is_some_and(|t| t.iter().any(|v| v == "YES"));
    yes(t::BURNED_IN_ANNOTATION) || yes(t::RECOGNIZABLE_VISUAL_FEATURES)
}

/// Puts the statement: identity removed or not, the method in words, its codes, and what became of dates.
pub(crate) fn put(
    object: &mut InMemDicomObject,
    profile: &Profile,
    pixels: Option<Pixels>,
    compressed: bool,
    faces: bool,
) {
    let options = profile.options();
    let claims = !profile.keeps_too_much();
    let cleaned = pixels == Some(Pixels::Cleaned);
    let removed = claims && (cleaned || !shows_identity(object));
    let strings =
        |tag, vr, values: Vec<String>| DataElement::new(tag, vr, PrimitiveValue::Strs(values.into()));
    if cleaned && object.get(t::BURNED_IN_ANNOTATION).is_some() {
        object.put(dummy::text(t::BURNED_IN_ANNOTATION, VR::CS, "NO"));
    }
    object.put(dummy::text(t::PATIENT_IDENTITY_REMOVED, VR::CS, if removed { "YES" } else { "NO" }));
    object.put(strings(
        t::DEIDENTIFICATION_METHOD,
        VR::LO,
        method(profile, claims, pixels, compressed, faces),
    ));
    if claims {
        let taken = options.iter().filter(|o| *o != ProfileOption::CleanPixelData || cleaned);
        let taken = taken.chain(
            (cleaned && !options.has(ProfileOption::CleanPixelData)).then_some(ProfileOption::CleanPixelData),
        );
        let codes = std::iter::once(BASIC).chain(taken.map(ProfileOption::code));
        let codes = codes.map(|(value, meaning)| dummy::code(value, "DCM", meaning)).collect();
        object.put(dummy::sequence(t::DEIDENTIFICATION_METHOD_CODE_SEQUENCE, codes));
    }
    let dates = if options.has(ProfileOption::RetainDatesFull) {
        "UNMODIFIED"
    } else if options.has(ProfileOption::RetainDatesModified) {
        "MODIFIED"
    } else {
        "REMOVED"
    };
    object.put(dummy::text(t::LONGITUDINAL_TEMPORAL_INFORMATION_MODIFIED, VR::CS, dates));
}

/// De-identification Method (0012,0063), at most 64 characters a value.
fn method(
    profile: &Profile,
    claims: bool,
    pixels: Option<Pixels>,
    compressed: bool,
    faces: bool,
) -> Vec<String> {
    let name: String =
        profile.name().chars().filter(|c| c.is_ascii_graphic() && *c != '\\').take(48).collect();
    let mut method = vec![
        concat!("Overread ", env!("CARGO_PKG_VERSION")).to_owned(),
        format!("DICOM PS3.15 {EDITION} Annex E Basic Profile"),
        format!("Profile {name}"),
    ];
    if !claims {
        method.push("With a site's exceptions that keep protected attributes".into());
    }
    method.extend(pixels.map(|pixels| pixels.method().to_owned()));
    if faces {
        method.push(FACES.into());
    }
    if compressed {
        method.push("Comments inside compressed streams not removed".into());
    }
    method
}

/// What an object says of itself, for the second look: a patient may be called Profile.
pub(crate) fn own_texts(object: &InMemDicomObject) -> Vec<String> {
    let mut own = texts(object, t::DEIDENTIFICATION_METHOD).unwrap_or_default();
    let codes =
        object.get(t::DEIDENTIFICATION_METHOD_CODE_SEQUENCE).and_then(|e| e.items()).unwrap_or_default();
    own.extend(codes.iter().filter_map(|code| texts(code, t::CODE_MEANING)).flatten());
    own.extend([dummy::REMOVED, "OVERREAD", "TEXT", "CONTAINS", "Comment"].map(str::to_owned));
    own
}
