//! Whether the pixels of an object may show text about the patient, as its header tells. Nobody looks at pixels here.

use dicom_dictionary_std::{tags as t, uids};
use dicom_object::InMemDicomObject;

use crate::profile::BurnedIn;
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
