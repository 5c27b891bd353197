//! Whether the pixels of an object may show text about the patient, as its header tells. Nobody looks at pixels here.

use dicom_dictionary_std::{tags as t, uids};
use dicom_object::InMemDicomObject;

use crate::profile::{BurnedIn, Recognizable};
use crate::values::texts;

/// Classes whose makers write into the image.
const WRITTEN_INTO: [&str; 8] = [
    uids::SECONDARY_CAPTURE_IMAGE_STORAGE,
    uids::MULTI_FRAME_SINGLE_BIT_SECONDARY_CAPTURE_IMAGE_STORAGE,
    uids::MULTI_FRAME_GRAYSCALE_BYTE_SECONDARY_CAPTURE_IMAGE_STORAGE,
    uids::MULTI_FRAME_GRAYSCALE_WORD_SECONDARY_CAPTURE_IMAGE_STORAGE,
    uids::MULTI_FRAME_TRUE_COLOR_SECONDARY_CAPTURE_IMAGE_STORAGE,
    uids::ULTRASOUND_IMAGE_STORAGE,
    uids::ULTRASOUND_MULTI_FRAME_IMAGE_STORAGE,
    uids::VL_PHOTOGRAPHIC_IMAGE_STORAGE,
];

/// Values of Image Type (0008,0008) of pictures of labels and screens.
const LABELS: [&str; 5] = ["LABEL", "OVERVIEW", "SCREEN SAVE", "SCREENSAVE", "DOSE_INFO"];

/// Classes whose primary images come from the detector alone: their makers write into screen captures, and those are others.
const SLICES: [&str; 14] = [
    uids::CT_IMAGE_STORAGE,
    uids::ENHANCED_CT_IMAGE_STORAGE,
    uids::LEGACY_CONVERTED_ENHANCED_CT_IMAGE_STORAGE,
    uids::MR_IMAGE_STORAGE,
    uids::ENHANCED_MR_IMAGE_STORAGE,
    uids::ENHANCED_MR_COLOR_IMAGE_STORAGE,
    uids::LEGACY_CONVERTED_ENHANCED_MR_IMAGE_STORAGE,
    uids::POSITRON_EMISSION_TOMOGRAPHY_IMAGE_STORAGE,
    uids::ENHANCED_PET_IMAGE_STORAGE,
    uids::LEGACY_CONVERTED_ENHANCED_PET_IMAGE_STORAGE,
    uids::NUCLEAR_MEDICINE_IMAGE_STORAGE,
    uids::VL_WHOLE_SLIDE_MICROSCOPY_IMAGE_STORAGE,
    uids::OPHTHALMIC_TOMOGRAPHY_IMAGE_STORAGE,
    uids::SEGMENTATION_STORAGE,
];

/// Whether text in the pixels is so rare that a sample of the series tells: grey slices that no person made.
pub(crate) fn is_plain_slice(original: &InMemDicomObject, class: &str) -> bool {
    let values = |tag| texts(original, tag).unwrap_or_default();
    let kind = values(t::IMAGE_TYPE);
    let slide = class == uids::VL_WHOLE_SLIDE_MICROSCOPY_IMAGE_STORAGE;
    let colour = values(t::SAMPLES_PER_PIXEL).iter().any(|n| n != "1") && !slide;
    SLICES.contains(&class)
        && kind.get(1).is_some_and(|second| second == "PRIMARY")
        && !kind.iter().any(|v| LABELS.contains(&v.as_str()))
        && !values(t::BURNED_IN_ANNOTATION).iter().any(|v| v == "YES")
        && values(t::CONVERSION_TYPE).is_empty()
        && !colour
}

/// Classes of volumes from which a face can be rendered.
const VOLUMES: [&str; 7] = [
    uids::CT_IMAGE_STORAGE,
    uids::ENHANCED_CT_IMAGE_STORAGE,
    uids::LEGACY_CONVERTED_ENHANCED_CT_IMAGE_STORAGE,
    uids::MR_IMAGE_STORAGE,
    uids::ENHANCED_MR_IMAGE_STORAGE,
    uids::ENHANCED_MR_COLOR_IMAGE_STORAGE,
    uids::LEGACY_CONVERTED_ENHANCED_MR_IMAGE_STORAGE,
];

/// Words of the head: Body Part Examined (PS3.16 Annex L), and what descriptions say.
const HEAD: [&str; 27] = [
    "HEAD",
    "BRAIN",
    "SKULL",
    "FACE",
    "FACIAL",
    "CRANIUM",
    "CRANIAL",
    "NEURO",
    "HEADNECK",
    "ORBIT",
    "ORBITS",
    "SINUS",
    "SINUSES",
    "PARANASAL",
    "MAXILLA",
    "MANDIBLE",
    "JAW",
    "DENTAL",
    "NOSE",
    "EYE",
    "EAR",
    "IAC",
    "TMJ",
    "PITUITARY",
    "SELLA",
    "SCHADEL",
    "KOPF",
];

/// Whether a face can be rendered from an object's volume, as its header tells: a slice or volume of CT or MR that names
/// the head, or any object that says so itself. A header that names no body part tells nothing.
pub(crate) fn shows_face(original: &InMemDicomObject, class: &str) -> bool {
    let values = |tag| texts(original, tag).unwrap_or_default();
    let says = |word: &str| values(t::RECOGNIZABLE_VISUAL_FEATURES).iter().any(|v| v == word);
    if says("YES") || says("NO") {
        return says("YES");
    }
    let localizer = values(t::IMAGE_TYPE).iter().any(|v| v == "LOCALIZER");
    if !VOLUMES.contains(&class) || localizer {
        return false;
    }
    let told = [t::BODY_PART_EXAMINED, t::STUDY_DESCRIPTION, t::SERIES_DESCRIPTION, t::PROTOCOL_NAME]
        .into_iter()
        .flat_map(values)
        .chain(regions(original));
    told.into_iter().any(|text| {
        text.to_uppercase().split(|c: char| !c.is_alphanumeric()).any(|word| HEAD.contains(&word))
    })
}

/// What Anatomic Region Sequence (0008,2218) calls the region.
fn regions(original: &InMemDicomObject) -> Vec<String> {
    let items = original.get(t::ANATOMIC_REGION_SEQUENCE).and_then(|e| e.items()).unwrap_or_default();
    items.iter().filter_map(|item| texts(item, t::CODE_MEANING)).flatten().collect()
}

/// Why an object must not leave with its face; none if it may.
pub(crate) fn of_face(original: &InMemDicomObject, class: &str, setting: Recognizable) -> Option<String> {
    let held = setting == Recognizable::Quarantine && shows_face(original, class);
    held.then(|| {
        "a face can be rendered from volumes of the head, or the object says that its pixels are recognizable (0028,0302), and nothing here \
         removes that. recognizable_features = \"keep\" lets such objects out as they are"
            .to_owned()
    })
}

/// Why a picture of a slide's label must not leave, cleaned or not; none if it is another.
pub(crate) fn of_label(original: &InMemDicomObject, class: &str) -> Option<String> {
    let slide = class == uids::VL_WHOLE_SLIDE_MICROSCOPY_IMAGE_STORAGE;
    let label =
        texts(original, t::IMAGE_TYPE).unwrap_or_default().iter().any(|v| v == "LABEL" || v == "OVERVIEW");
    (slide && label).then(|| {
        "Image Type (0008,0008) names a slide's label, whose barcode and handwriting nothing here removes. Take a profile with burned_in = \"keep\" if they \
         may leave"
            .to_owned()
    })
}

/// Why an object must not leave with its pixels as they are; none if it may.
pub(crate) fn of_pixels(original: &InMemDicomObject, class: &str, burned_in: BurnedIn) -> Vec<String> {
    let values = |tag| texts(original, tag).unwrap_or_default();
    let says = |tag, word: &str| values(tag).iter().any(|v| v == word);
    let mut reasons = Vec::new();
    match burned_in {
        BurnedIn::Keep => return reasons,
        BurnedIn::Clean => {
            reasons.push(
                "the profile asks for cleaned pixels (burned_in = \"clean\"), and nobody cleaned these"
                    .into(),
            );
            return reasons;
        }
        BurnedIn::Quarantine => {}
    }
    let mut may = |why: &str| {
        reasons.push(format!(
            "its pixels may show who the patient is: {why}. Clean them first, or take a profile with burned_in = \"keep\""
        ));
    };
    if says(t::BURNED_IN_ANNOTATION, "YES") {
        may("Burned In Annotation (0028,0301) is YES");
    }
    if says(t::RECOGNIZABLE_VISUAL_FEATURES, "YES") {
        may("Recognizable Visual Features (0028,0302) is YES");
    }
    if values(t::IMAGE_TYPE).iter().any(|v| LABELS.contains(&v.as_str())) {
        may("Image Type (0008,0008) names a label or a screen");
    }
    if !says(t::BURNED_IN_ANNOTATION, "NO") && !says(t::BURNED_IN_ANNOTATION, "YES") {
        if WRITTEN_INTO.contains(&class) {
            may("objects of its SOP class often do, and Burned In Annotation (0028,0301) does not say NO");
        } else if !values(t::CONVERSION_TYPE).is_empty() {
            may("it is a converted picture, and Burned In Annotation (0028,0301) does not say NO");
        }
    }
    reasons
}
