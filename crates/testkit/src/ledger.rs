//! What a peer was told is safe, and whether it still is: the memory of a torture test.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;
use std::sync::{Arc, Mutex};

use sha2::{Digest, Sha256};

use crate::samples::Sample;

/// What a sender was told to be safe. Clones share one list, so that many senders can write to it.
#[derive(Clone, Debug, Default)]
pub struct Ledger(Arc<Mutex<BTreeMap<String, Entry>>>);

/// One acknowledged instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Study Instance UID.
    pub study: String,
    /// Series Instance UID.
    pub series: String,
    /// SOP Instance UID.
    pub sop: String,
    /// SHA-256 of the data set: the bytes after the file meta information.
    pub data_set: String,
    /// How often it was acknowledged.
    pub times: u64,
}

/// An acknowledged instance that is not as it was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loss {
    /// SOP Instance UID.
    pub sop: String,
    /// What is wrong.
    pub why: String,
}

impl Ledger {
    /// An empty one.
    pub fn new() -> Self {
        Self::default()
    }

    /// Writes down that a peer acknowledged a file.
    ///
    /// # Panics
    /// It was acknowledged before with another data set: then the test is wrong, for it cannot tell which of the two must be there.
    pub fn acknowledged(&self, sample: &Sample) {
        let digest = digest_of(&sample.path);
        let mut entries = self.0.lock().expect("the ledger");
        let entry = entries.entry(sample.sop.clone()).or_insert_with(|| Entry {
            study: sample.study.clone(),
            series: sample.series.clone(),
            sop: sample.sop.clone(),
            data_set: digest.clone(),
            times: 0,
        });
        assert_eq!(entry.data_set, digest, "{} was sent with two contents", sample.sop);
        entry.times += 1;
    }

    /// Writes down those of some samples whose files or SOP Instance UIDs a sender says were acknowledged.
    pub fn acknowledged_among<'a>(
        &self,
        samples: impl IntoIterator<Item = &'a Sample>,
        mut was: impl FnMut(&Sample) -> bool,
    ) {
        samples.into_iter().filter(|sample| was(sample)).for_each(|sample| self.acknowledged(sample));
    }

    /// All entries, in the order of their UIDs.
    pub fn entries(&self) -> Vec<Entry> {
        self.0.lock().expect("the ledger").values().cloned().collect()
    }

    /// The studies of which something was acknowledged, with the number of their acknowledged instances.
    pub fn studies(&self) -> BTreeMap<String, usize> {
        let mut studies = BTreeMap::new();
        for entry in self.0.lock().expect("the ledger").values() {
            *studies.entry(entry.study.clone()).or_default() += 1;
        }
        studies
    }

    /// Fetches every entry as a DICOM file and tells which are lost or changed. Nothing lost is an empty list.
    pub fn losses(&self, mut fetch: impl FnMut(&Entry) -> Result<Vec<u8>, String>) -> Vec<Loss> {
        let check = |entry: Entry| {
            let why = match fetch(&entry) {
                Err(why) => why,
                Ok(file) => match data_set(&file) {
                    None => format!("{} bytes that are no DICOM file", file.len()),
                    Some(bytes) if digest(bytes) == entry.data_set => return None,
                    Some(bytes) => format!("another data set, of {} bytes", bytes.len()),
                },
            };
            Some(Loss { sop: entry.sop, why })
        };
        self.entries().into_iter().filter_map(check).collect()
    }
}

/// The data set of a DICOM file: what follows the preamble, `DICM` and the file meta information (PS3.10 §7.1), whose length its first
/// element (0002,0000) tells. A receiver writes meta information of its own; the data set is what was sent.
pub fn data_set(file: &[u8]) -> Option<&[u8]> {
    let meta = file.get(128..)?.strip_prefix(b"DICM")?;
    // Always explicit VR little endian: (0002,0000) UL, four bytes.
    let value = meta.strip_prefix(&[0x02, 0x00, 0x00, 0x00, b'U', b'L', 0x04, 0x00])?;
    let length = u32::from_le_bytes(value.get(..4)?.try_into().ok()?);
    value.get(4..)?.get(usize::try_from(length).ok()?..)
}

fn digest_of(path: &Path) -> String {
    let file = std::fs::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    digest(data_set(&file).unwrap_or_else(|| panic!("{} is no DICOM file", path.display())))
}

fn digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a String takes all");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(meta: &[u8], data: &[u8]) -> Vec<u8> {
        let mut file = vec![0; 128];
        file.extend_from_slice(b"DICM\x02\0\0\0UL\x04\0");
        file.extend_from_slice(&u32::try_from(meta.len()).unwrap().to_le_bytes());
        file.extend_from_slice(meta);
        file.extend_from_slice(data);
        file
    }

    fn sample(folder: &Path, sop: &str, data: &[u8]) -> Sample {
        let path = folder.join(sop);
        std::fs::write(&path, file(b"sender's", data)).unwrap();
        serde_json::from_value(serde_json::json!({
            "path": path, "study": format!("{sop}.1"), "series": "2", "sop": sop, "sop_class": "3", "transfer_syntax": "4",
            "patient_id": "", "patient_name": "", "accession": "",
        }))
        .unwrap()
    }

    #[test]
    fn what_was_acknowledged_must_be_there_as_it_was_sent() {
        let folder = tempfile::tempdir().unwrap();
        let ledger = Ledger::new();
        let samples: Vec<Sample> =
            ["a", "b", "c", "d", "e"].iter().map(|s| sample(folder.path(), s, s.as_bytes())).collect();
        ledger.acknowledged_among(&samples, |s| s.sop != "e");
        ledger.clone().acknowledged(&samples[0]);
        assert_eq!(ledger.entries().iter().map(|e| e.times).collect::<Vec<_>>(), [2, 1, 1, 1]);
        assert_eq!(ledger.studies().len(), 4);
        let losses = ledger.losses(|entry| match entry.sop.as_str() {
            // The receiver's meta information is its own.
            "a" => Ok(file(b"receiver's own", b"a")),
            "b" => Ok(file(b"", b"B")),
            "c" => Ok(b"<html>".to_vec()),
            _ => Err("404".into()),
        });
        let told: Vec<(&str, &str)> = losses.iter().map(|l| (l.sop.as_str(), l.why.as_str())).collect();
        assert_eq!(
            told,
            [("b", "another data set, of 1 bytes"), ("c", "6 bytes that are no DICOM file"), ("d", "404")]
        );
    }

    #[test]
    #[should_panic(expected = "two contents")]
    fn one_uid_with_two_contents_is_a_mistake_of_the_test() {
        let folder = tempfile::tempdir().unwrap();
        let ledger = Ledger::new();
        ledger.acknowledged(&sample(folder.path(), "a", b"one"));
        ledger.acknowledged(&sample(folder.path(), "a", b"two"));
    }

    #[test]
    fn a_file_without_its_length_element_has_no_data_set() {
        assert_eq!(data_set(&file(b"xyz", b"data")), Some(&b"data"[..]));
        assert_eq!(data_set(b"DICM"), None);
        assert_eq!(data_set(&file(b"xyz", b"")[..142]), None);
    }
}
