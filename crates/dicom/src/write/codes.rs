//! Coded concepts that the writers use, with the context group or template of PS3.16 (2024e) they come from.

use dicom_core::VR;
use dicom_dictionary_std::tags;
use dicom_object::InMemDicomObject;
use overread_domain::{CodedConcept, Decision};

use super::WriteError;
use super::elements::put;
use super::text::sanitised;

/// A concept known when this was compiled: code value, scheme, meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Code(pub &'static str, pub &'static str, pub &'static str);

impl From<Code> for CodedConcept {
    fn from(Code(value, scheme, meaning): Code) -> Self {
        Self::new(scheme, value, meaning)
    }
}

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $value:literal, $scheme:literal, $meaning:literal;)*) => {
        $($(#[$doc])* pub const $name: Code = Code($value, $scheme, $meaning);)*
    };
}

codes! {
    /// CID 7021, document title of TID 1500.
    IMAGING_MEASUREMENT_REPORT = "126000", "DCM", "Imaging Measurement Report";
    /// TID 1204.
    LANGUAGE = "121049", "DCM", "Language of Content Item and Descendants";
    /// RFC 5646.
    ENGLISH = "en", "RFC5646", "English";
    /// TID 1002.
    OBSERVER_TYPE = "121005", "DCM", "Observer Type";
    /// CID 270.
    DEVICE = "121007", "DCM", "Device";
    /// TID 1004.
    DEVICE_OBSERVER_UID = "121012", "DCM", "Device Observer UID";
    /// TID 1004.
    DEVICE_OBSERVER_NAME = "121013", "DCM", "Device Observer Name";
    /// TID 1004.
    DEVICE_OBSERVER_MANUFACTURER = "121014", "DCM", "Device Observer Manufacturer";
    /// TID 1004.
    DEVICE_OBSERVER_MODEL = "121015", "DCM", "Device Observer Model Name";
    /// TID 1004; the whole edition.
    DEVICE_OBSERVER_SERIAL = "121016", "DCM", "Device Observer Serial Number";
    /// TID 1500.
    PROCEDURE_REPORTED = "121058", "DCM", "Procedure reported";
    /// TID 1600.
    IMAGE_LIBRARY = "111028", "DCM", "Image Library";
    /// TID 1600.
    IMAGE_LIBRARY_GROUP = "126200", "DCM", "Image Library Group";
    /// TID 1602.
    MODALITY = "121139", "DCM", "Modality";
    /// TID 1602.
    PIXEL_DATA_ROWS = "110910", "DCM", "Pixel Data Rows";
    /// TID 1602.
    PIXEL_DATA_COLUMNS = "110911", "DCM", "Pixel Data Columns";
    /// TID 1500.
    IMAGING_MEASUREMENTS = "126010", "DCM", "Imaging Measurements";
    /// TID 1500.
    QUALITATIVE_EVALUATIONS = "C0034375", "UMLS", "Qualitative Evaluations";
    /// TID 1501.
    MEASUREMENT_GROUP = "125007", "DCM", "Measurement Group";
    /// TID 4108.
    TRACKING_IDENTIFIER = "112039", "DCM", "Tracking Identifier";
    /// TID 4108.
    TRACKING_UID = "112040", "DCM", "Tracking Unique Identifier";
    /// TID 1501.
    FINDING = "121071", "DCM", "Finding";
    /// TID 1501.
    FINDING_SITE = "363698007", "SCT", "Finding Site";
    /// TID 4019.
    ALGORITHM_NAME = "111001", "DCM", "Algorithm Name";
    /// TID 4019: here, how the edition was set for this finding (thresholds, prevalence).
    ALGORITHM_PARAMETERS = "111002", "DCM", "Algorithm Parameters";
    /// TID 4019.
    ALGORITHM_VERSION = "111003", "DCM", "Algorithm Version";
    /// CID 7551, the purpose of an image in TID 1501 when TID 1500 invokes it.
    SOURCE_OF_MEASUREMENT = "121112", "DCM", "Source of Measurement";
    /// PS3.16 Annex D. `Certainty of Finding` (111012) would be read as certainty of the decision,
    /// which for an absent finding is the opposite.
    PROBABILITY = "122157", "DCM", "Probability";
    /// CID 82: a number without unit.
    NO_UNITS = "1", "UCUM", "no units";
    /// CID 83.
    PIXELS = "{pixels}", "UCUM", "pixels";
    /// The map that tells what spoke for a finding.
    VISUAL_EXPLANATION = "130401", "DCM", "Visual explanation";
    /// Free text.
    COMMENT = "121106", "DCM", "Comment";
    /// CID 240.
    PRESENT = "52101004", "SCT", "Present";
    /// CID 240.
    ABSENT = "272519000", "SCT", "Absent";
    /// CID 240.
    UNDETERMINED = "373068000", "SCT", "Undetermined";
    /// CID 3703 prints SNOMED CT's `Test not done` so.
    NOT_EVALUATED = "373121007", "SCT", "Not evaluated";
    /// CID 7005.
    PROCESSING_EQUIPMENT = "109102", "DCM", "Processing Equipment";
    /// CID 7203 has no term for what a model computes; this one is of PS3.16 Annex D.
    UNSPECIFIED_CALCULATION = "112187", "DCM", "Unspecified method of calculation";
    /// PS3.3 §C.7.6.16.2.11.1: what a mapped value is a quantity of.
    QUANTITY = "246205007", "SCT", "Quantity";
    /// CID 8123.
    BRIGHTFIELD = "111744", "DCM", "Brightfield illumination";
    /// CID 8122.
    FULL_SPECTRUM = "414298005", "SCT", "Full Spectrum";
    /// CID 8101.
    MICROSCOPE_SLIDE = "433466003", "SCT", "Microscope slide";
    /// CID 7202.
    SOURCE_IMAGE = "121322", "DCM", "Source image for image processing operation";
    /// CID 100, where nothing closer is known.
    IMAGING_PROCEDURE = "363679005", "SCT", "Imaging procedure";
    /// CID 100.
    XR_PROCEDURE = "43468-8", "LN", "XR unspecified body region";
    /// CID 100.
    CT_PROCEDURE = "25045-6", "LN", "CT unspecified body region";
    /// CID 100.
    MR_PROCEDURE = "25056-3", "LN", "MRI unspecified body region";
    /// CID 100.
    NM_PROCEDURE = "49118-3", "LN", "NM unspecified body region";
    /// CID 100.
    PET_PROCEDURE = "44136-0", "LN", "PET unspecified body region";
    /// TID 1501.
    LATERALITY = "272741003", "SCT", "Laterality";
    /// CID 244.
    RIGHT = "24028007", "SCT", "Right";
    /// CID 244.
    LEFT = "7771000", "SCT", "Left";
    /// CID 4010.
    POSTERO_ANTERIOR = "272479007", "SCT", "postero-anterior";
    /// CID 4010.
    ANTERO_POSTERIOR = "399348003", "SCT", "antero-posterior";
    /// CID 4010.
    LATERAL = "399067008", "SCT", "lateral";
    /// CID 4010.
    LEFT_LATERAL = "399173006", "SCT", "left lateral";
    /// CID 4010.
    RIGHT_LATERAL = "399198007", "SCT", "right lateral";
    /// CID 7010: the title of a note that withdraws a result.
    REJECTED_FOR_QUALITY = "113001", "DCM", "Rejected for Quality Reasons";
    /// TID 2010.
    DOCUMENT_TITLE_MODIFIER = "113011", "DCM", "Document Title Modifier";
    /// CID 7011, which has no term for what was replaced.
    OTHER_FAILURE = "111220", "DCM", "Other failure";
    /// TID 2010.
    KEY_OBJECT_DESCRIPTION = "113012", "DCM", "Key Object Description";
    /// CID 4202.
    EXTERNAL_CAMERA = "409903006", "SCT", "External Camera";
    /// CID 4202.
    SLIT_LAMP = "397247004", "SCT", "Slit Lamp Biomicroscope";
    /// CID 4202.
    FUNDUS_CAMERA = "409898007", "SCT", "Fundus Camera";
    /// CID 4209.
    EYE = "81745001", "SCT", "Eye";
    /// CID 4209.
    RETINA = "5665001", "SCT", "Retina";
    /// CID 4009.
    CHEST = "51185008", "SCT", "Chest";
}

/// The value of a qualitative evaluation for a decision (CID 240, and `Not evaluated`).
pub const fn decision(decision: Decision) -> Code {
    match decision {
        Decision::Present => PRESENT,
        Decision::Absent => ABSENT,
        Decision::Indeterminate => UNDETERMINED,
        Decision::NotAssessed => NOT_EVALUATED,
    }
}

/// What was done to make images of a modality (CID 100).
pub fn procedure(modality: &str) -> Code {
    match modality {
        "CR" | "DX" | "RG" | "RF" | "XA" | "MG" | "PX" | "IO" => XR_PROCEDURE,
        "CT" => CT_PROCEDURE,
        "MR" => MR_PROCEDURE,
        "NM" => NM_PROCEDURE,
        "PT" => PET_PROCEDURE,
        _ => IMAGING_PROCEDURE,
    }
}

/// A value of View Position (0018,5101) as a concept of CID 4010.
pub fn view(position: &str) -> Option<Code> {
    Some(match position {
        "PA" => POSTERO_ANTERIOR,
        "AP" => ANTERO_POSTERIOR,
        "LATERAL" => LATERAL,
        "LL" => LEFT_LATERAL,
        "RL" => RIGHT_LATERAL,
        _ => return None,
    })
}

/// A modality as a concept of CID 29, for the modalities that have images.
pub fn modality(modality: &str) -> Option<Code> {
    const KNOWN: [Code; 20] = [
        Code("CR", "DCM", "Computed Radiography"),
        Code("DX", "DCM", "Digital Radiography"),
        Code("RG", "DCM", "Radiographic imaging"),
        Code("RF", "DCM", "Radiofluoroscopy"),
        Code("XA", "DCM", "X-Ray Angiography"),
        Code("MG", "DCM", "Mammography"),
        Code("PX", "DCM", "Panoramic X-Ray"),
        Code("IO", "DCM", "Intra-oral Radiography"),
        Code("CT", "DCM", "Computed Tomography"),
        Code("MR", "DCM", "Magnetic Resonance"),
        Code("NM", "DCM", "Nuclear Medicine"),
        Code("PT", "DCM", "Positron emission tomography"),
        Code("US", "DCM", "Ultrasound"),
        Code("ES", "DCM", "Endoscopy"),
        Code("GM", "DCM", "General Microscopy"),
        Code("SM", "DCM", "Slide Microscopy"),
        Code("XC", "DCM", "External-camera Photography"),
        Code("DMS", "DCM", "Dermoscopy"),
        Code("OP", "DCM", "Ophthalmic Photography"),
        Code("OPT", "DCM", "Ophthalmic Tomography"),
    ];
    KNOWN.into_iter().find(|c| c.0 == modality)
}

/// Whether a code can be written whole. A cut scheme or value would be another code.
pub(crate) fn check(code: &CodedConcept) -> Result<(), WriteError> {
    let line = |s: &str| !s.trim().is_empty() && !s.contains(|c: char| c.is_control() || c == '\\');
    let (tag, name, problem) = if !line(&code.scheme) || code.scheme.chars().count() > 16 {
        (tags::CODING_SCHEME_DESIGNATOR, "Coding Scheme Designator", "not 1 to 16 characters")
    } else if !line(&code.value) {
        (tags::CODE_VALUE, "Code Value", "empty, or not one line")
    } else if code.meaning.trim().is_empty() {
        (tags::CODE_MEANING, "Code Meaning", "empty")
    } else {
        return Ok(());
    };
    let problem = format!("{problem} in ({}, {}, {:?})", code.value, code.scheme, code.meaning);
    Err(WriteError::Value { name, tag, problem })
}

/// An item of a code sequence (PS3.3 §8.8); a long meaning is cut.
pub(crate) fn code_item(code: &CodedConcept) -> InMemDicomObject {
    let mut item = InMemDicomObject::new_empty();
    let short = code.value.chars().count() <= 16;
    let (tag, vr) = if short { (tags::CODE_VALUE, VR::SH) } else { (tags::LONG_CODE_VALUE, VR::UC) };
    put(&mut item, tag, vr, &sanitised(vr, &code.value).unwrap_or_default());
    put(
        &mut item,
        tags::CODING_SCHEME_DESIGNATOR,
        VR::SH,
        &sanitised(VR::SH, &code.scheme).unwrap_or_default(),
    );
    put(&mut item, tags::CODE_MEANING, VR::LO, &sanitised(VR::LO, &code.meaning).unwrap_or_default());
    item
}
