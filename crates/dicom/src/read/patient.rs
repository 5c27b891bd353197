//! Whether two files are of one patient, without telling who that is.

use std::hash::{BuildHasher, RandomState};
use std::sync::OnceLock;

use dicom_dictionary_std::tags;
use dicom_object::InMemDicomObject;

use super::values;

/// What tells whether two files state the same patient, and nothing else: Patient ID (0010,0020) and Patient's Name (0010,0010) under a key that
/// is made for this process and never leaves it. It cannot be printed, written down or sent.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct PatientMark {
    id: Option<u64>,
    name: Option<u64>,
}

impl PatientMark {
    pub(crate) fn of_object(object: &InMemDicomObject) -> Self {
        let words = |name: String| {
            // `DOE^JANE` and `Doe^Jane^` are one name.
            let parts = name.split(['^', ' ']).filter(|part| !part.is_empty()).map(str::to_uppercase);
            parts.collect::<Vec<_>>().join(" ")
        };
        let id = values::text(object, tags::PATIENT_ID).map(|id| id.trim().to_owned());
        let name = values::text(object, tags::PATIENT_NAME).map(words);
        Self { id: mark(id), name: mark(name) }
    }

    /// Whether they state two patients: by Patient ID where both have one, else by name.
    pub fn is_of_another(&self, other: &Self) -> bool {
        let differ = |a: Option<u64>, b: Option<u64>| Some(a? != b?);
        differ(self.id, other.id).or_else(|| differ(self.name, other.name)).unwrap_or(false)
    }
}

fn mark(text: Option<String>) -> Option<u64> {
    static KEY: OnceLock<RandomState> = OnceLock::new();
    text.filter(|text| !text.is_empty()).map(|text| KEY.get_or_init(RandomState::new).hash_one(text))
}

#[cfg(test)]
mod tests {
    use dicom_core::{DataElement, VR};

    use super::*;

    fn patient(id: &str, name: &str) -> PatientMark {
        PatientMark::of_object(&InMemDicomObject::from_element_iter([
            DataElement::new(tags::PATIENT_ID, VR::LO, id),
            DataElement::new(tags::PATIENT_NAME, VR::PN, name),
        ]))
    }

    #[test]
    fn patients_are_told_apart_by_number_and_else_by_name() {
        let jane = patient("7", "DOE^JANE");
        for same in
            [patient("7", "Doe^Jane^^"), patient(" 7", "Roe^Jane"), patient("", "Doe Jane"), patient("", "")]
        {
            assert!(!jane.is_of_another(&same) && !same.is_of_another(&jane));
        }
        for another in [patient("8", "DOE^JANE"), patient("", "ROE^JANE")] {
            assert!(jane.is_of_another(&another) && another.is_of_another(&jane));
        }
    }
}
