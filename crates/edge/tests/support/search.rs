//! A search of a folder for texts, however they are written down.

use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD as BASE64;
use overread_testkit::samples::Sample;

/// Files below a folder.
pub fn below(folder: &Path) -> Vec<PathBuf> {
    let mut found = vec![];
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.path().is_dir() { found.extend(below(&entry.path())) } else { found.push(entry.path()) }
    }
    found
}

/// What tells who the patient of a sample is, or names the study.
pub fn marks(sample: &Sample) -> Vec<String> {
    let birth = overread_testkit::dcmtk::dcmdump(&sample.path);
    let birth = birth
        .lines()
        .find(|l| l.starts_with("(0010,0030)"))
        .unwrap()
        .split(['[', ']'])
        .nth(1)
        .unwrap()
        .to_owned();
    let Sample { patient_id, patient_name, accession, study, sop, .. } = sample;
    [patient_id, patient_name, accession, study, sop, &birth].map(ToOwned::to_owned).to_vec()
}

/// A text as UTF-8, as UTF-16 of both orders, and within base64 at each offset.
fn ways(text: &str) -> Vec<Vec<u8>> {
    let units: Vec<u16> = text.encode_utf16().collect();
    let mut all = vec![
        text.as_bytes().to_vec(),
        units.iter().flat_map(|u| u.to_le_bytes()).collect(),
        units.iter().flat_map(|u| u.to_be_bytes()).collect(),
    ];
    for offset in 0..3_usize {
        let padded = [&[0_u8; 3][..offset], text.as_bytes()].concat();
        let encoded = BASE64.encode(padded);
        // The first and last digits hang on what stands beside the text.
        let (from, to) = ((offset * 8).div_ceil(6), (offset + text.len()) * 8 / 6);
        all.push(encoded.as_bytes()[from..to].to_vec());
    }
    all
}

/// Where a folder holds one of these texts: file and text.
pub fn search(folder: &Path, texts: &[String]) -> Vec<(PathBuf, String)> {
    let needles: Vec<(&String, Vec<u8>)> =
        texts.iter().flat_map(|text| ways(text).into_iter().map(move |way| (text, way))).collect();
    let mut found = vec![];
    for file in below(folder) {
        let Ok(bytes) = std::fs::read(&file) else { continue };
        for (text, needle) in &needles {
            if memchr::memmem::find(&bytes, needle).is_some() {
                found.push((file.clone(), (*text).clone()));
            }
        }
    }
    found
}
