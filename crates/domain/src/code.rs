//! Coded concepts as DICOM and FHIR print them.

use serde::{Deserialize, Serialize};

/// A coded concept: DICOM PS3.3 §8, FHIR `Coding`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CodedConcept {
    /// Coding scheme designator, such as `SCT` or `DCM`.
    pub scheme: String,
    /// Code value, such as `233604007`.
    pub value: String,
    /// Code meaning, such as `Pneumonia`.
    pub meaning: String,
}

impl CodedConcept {
    /// A concept from its three parts.
    pub fn new(scheme: &str, value: &str, meaning: &str) -> Self {
        Self { scheme: scheme.into(), value: value.into(), meaning: meaning.into() }
    }
}
