//! Whose an object is.

/// Patient and study as an object's header names them. Like all identity it has no `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct Who {
    issuer: String,
    id: String,
    study: String,
}

impl Who {
    /// Issuer of Patient ID (0010,0021), Patient ID (0010,0020), Study Instance UID.
    pub fn new(issuer: &str, id: &str, study: &str) -> Self {
        let plain = |text: &str| text.trim_matches([' ', '\0']).to_owned();
        Self { issuer: plain(issuer), id: plain(id), study: study.to_owned() }
    }

    /// As DICOM JSON (PS3.18 §F) says.
    pub(crate) fn of_json(dicom: &serde_json::Value, study: &str) -> Self {
        let text = |tag: &str| {
            let values = dicom[tag]["Value"].as_array().map(Vec::as_slice).unwrap_or_default();
            values.iter().filter_map(|v| v.as_str()).collect::<Vec<_>>().join("\\")
        };
        Self::new(&text("00100021"), &text("00100020"), study)
    }

    /// Whether it names a patient.
    pub(crate) const fn is_named(&self) -> bool {
        !self.id.is_empty()
    }

    /// Whether both name a patient, and not the same. One that names none may be anybody's.
    pub(crate) fn is_another_than(&self, other: &Self) -> bool {
        !self.id.is_empty() && !other.id.is_empty() && self.parts() != other.parts()
    }

    /// What makes two objects the same patient's. A study that names no Patient ID has a patient of its own.
    pub(super) fn parts(&self) -> [&str; 3] {
        if self.id.is_empty() { ["study", "", &self.study] } else { ["patient", &self.issuer, &self.id] }
    }

    /// The Patient ID alone; none if it is empty.
    pub(super) fn number(&self) -> Option<[&str; 2]> {
        (!self.id.is_empty()).then_some(["number", &self.id])
    }

    /// Whether a text repeats the Patient ID.
    pub(super) fn is_named_in(&self, text: &str) -> bool {
        self.id.len() > 2 && text.to_lowercase().contains(&self.id.to_lowercase())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn header_and_json_name_the_same_patient() {
        let json = serde_json::json!({
            "00100020": { "vr": "LO", "Value": ["123 "] }, "00100021": { "vr": "LO", "Value": ["HOSP"] }
        });
        assert!(Who::of_json(&json, "1.2") == Who::new("HOSP ", " 123\0", "1.2"));
        assert_eq!(Who::of_json(&serde_json::json!({}), "1.2").parts(), ["study", "", "1.2"]);
        let named = |id| Who::new("", id, "1.2");
        assert!(named("7").is_another_than(&named("8")));
        assert!(!named("7").is_another_than(&named(" 7")) && !named("7").is_another_than(&named("")));
        // Nobody is taken for another by what stands in which field.
        assert_ne!(Who::new("study", "x", "1").parts(), Who::new("", "", "x").parts());
    }
}
