//! DICOM files for tests, each with a made-up patient of its own: made by `tests/peers/make_samples.py`.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::tools::python;

/// One file that was made.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Deserialize)]
pub struct Sample {
    /// Where it lies.
    pub path: PathBuf,
    /// Study Instance UID.
    pub study: String,
    /// Series Instance UID.
    pub series: String,
    /// SOP Instance UID.
    pub sop: String,
    /// SOP Class UID.
    pub sop_class: String,
    /// Transfer Syntax UID.
    pub transfer_syntax: String,
    /// Patient ID. It begins with [`CANARY`].
    pub patient_id: String,
    /// Patient's Name. It begins with [`CANARY`].
    pub patient_name: String,
    /// Accession Number.
    pub accession: String,
}

/// The word that marks every made-up name, institution and patient id: it must not be found where no identity may be.
pub const CANARY: &str = "CANARY";

/// CT slices, 512×512, 16 bits allocated, uncompressed, about 0.5 MB each: `studies` studies of one series of `slices`. UIDs are a function of
/// `seed`.
pub fn ct(folder: &Path, seed: &str, studies: usize, slices: usize) -> Vec<Sample> {
    make("ct", folder, seed, studies, slices)
}

/// Chest radiographs of children as DX, each a study of its own, 1 to 2 MB: what the pack `cxr-pneumonia` reads. There are 16 pictures; more
/// studies repeat them under other names.
pub fn children(folder: &Path, seed: &str, count: usize) -> Vec<Sample> {
    films(folder, seed, count, 1)
}

/// The same as studies of one series of several films.
pub fn films(folder: &Path, seed: &str, studies: usize, films: usize) -> Vec<Sample> {
    make("children", folder, seed, studies, films)
}

/// As [`children`], in JPEG 2000 (lossless): the codec's child decodes them.
pub fn children_j2k(folder: &Path, seed: &str, count: usize) -> Vec<Sample> {
    make("children-j2k", folder, seed, count, 1)
}

/// Ultrasound cines of 120 frames in JPEG, each a study of its own, 6 MB.
pub fn cine(folder: &Path, seed: &str, count: usize) -> Vec<Sample> {
    make("cine", folder, seed, 1, count)
}

fn make(kind: &str, folder: &Path, seed: &str, studies: usize, count: usize) -> Vec<Sample> {
    let folder = folder.display().to_string();
    let (studies, count) = (studies.to_string(), count.to_string());
    let args = [kind, &folder, "--seed", seed, "--studies", &studies, "--count", &count];
    serde_json::from_str(&python("make_samples.py", &args)).expect("a list of samples")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dcmtk::dcmdump;

    #[test]
    fn every_sample_is_a_valid_file_with_a_patient_of_its_own() {
        let folder = tempfile::tempdir().unwrap();
        let (slices, films) = (ct(folder.path(), "a", 2, 2), children(folder.path(), "a", 2));
        let cines = cine(folder.path(), "a", 1);
        assert_eq!((slices.len(), films.len(), cines.len()), (4, 2, 1));
        let all: Vec<&Sample> = slices.iter().chain(&films).chain(&cines).collect();
        let distinct: std::collections::HashSet<&str> = all.iter().map(|s| s.sop.as_str()).collect();
        assert_eq!(distinct.len(), all.len());
        assert_eq!(slices[0].study, slices[1].study);
        assert_ne!(slices[1].study, slices[2].study);
        assert_ne!(films[0].patient_id, films[1].patient_id);
        for sample in all {
            assert!(sample.patient_id.starts_with(CANARY) && sample.patient_name.starts_with(CANARY));
            let dump = dcmdump(&sample.path);
            assert!(dump.contains(&sample.sop) && dump.contains(&sample.patient_name), "{dump}");
        }
        // Another seed is another set, the same seed the same.
        assert_ne!(ct(folder.path(), "b", 1, 1)[0].sop, slices[0].sop);
        assert_eq!(ct(folder.path(), "a", 1, 1)[0], slices[0]);
    }
}
