//! Body parts that a person can name for a photograph: the term of Body Part Examined and its concept (PS3.16 annex L, 2024e).

use overread_domain::CodedConcept;

use super::codes::{self, Code};

/// Term and concept.
const PARTS: [(&str, Code); 32] = [
    ("ABDOMEN", Code("818981001", "SCT", "Abdomen")),
    ("ANKLE", Code("70258002", "SCT", "Ankle joint")),
    ("ARM", Code("40983000", "SCT", "Upper arm")),
    ("BACK", Code("77568009", "SCT", "Back")),
    ("BREAST", Code("76752008", "SCT", "Breast")),
    ("BUTTOCK", Code("46862004", "SCT", "Buttock")),
    ("CHEEK", Code("60819002", "SCT", "Cheek")),
    ("CHEST", codes::CHEST),
    ("EAR", Code("117590005", "SCT", "Ear")),
    ("ELBOW", Code("16953009", "SCT", "Elbow joint")),
    ("EYE", codes::EYE),
    ("EYELID", Code("80243003", "SCT", "Eyelid")),
    ("FACE", Code("89545001", "SCT", "Face")),
    ("FINGER", Code("7569003", "SCT", "Finger")),
    ("FOOT", Code("56459004", "SCT", "Foot")),
    ("FOREARM", Code("14975008", "SCT", "Forearm")),
    ("HAND", Code("85562004", "SCT", "Hand")),
    ("HEAD", Code("69536005", "SCT", "Head")),
    ("HIP", Code("29836001", "SCT", "Hip")),
    ("KNEE", Code("72696002", "SCT", "Knee")),
    ("LEG", Code("30021000", "SCT", "Lower leg")),
    ("NECK", Code("45048000", "SCT", "Neck")),
    ("NOSE", Code("45206002", "SCT", "Nose")),
    ("PELVIS", Code("816092008", "SCT", "Pelvis")),
    ("SCALP", Code("41695006", "SCT", "Scalp")),
    ("SHOULDER", Code("16982005", "SCT", "Shoulder")),
    ("SKULL", Code("89546000", "SCT", "Skull")),
    ("THIGH", Code("68367000", "SCT", "Thigh")),
    ("THUMB", Code("76505004", "SCT", "Thumb")),
    ("TOE", Code("29707007", "SCT", "Toe")),
    ("WHOLEBODY", Code("38266002", "SCT", "Entire body")),
    ("WRIST", Code("74670003", "SCT", "Wrist joint")),
];

/// The concept of a term of Body Part Examined; none for a term that is not in the table.
pub fn region(term: &str) -> Option<CodedConcept> {
    PARTS.iter().find(|(name, _)| *name == term).map(|(_, code)| (*code).into())
}

/// The terms, in the order of the alphabet.
pub fn terms() -> impl Iterator<Item = &'static str> {
    PARTS.iter().map(|(name, _)| *name)
}
