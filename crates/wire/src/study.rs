//! What goes out: which objects make up a version of a study, and what matching needs beside them.

use std::collections::BTreeSet;

use overread_domain::{AgeBand, ContentHash, Laterality, Millis, Priority, Sex, Uid};
use serde::{Deserialize, Serialize};

use crate::{MessageError, VERSION, digest};

/// One version of a study: complete as the edge saw it at that time. A late image makes another version.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StudyManifest {
    /// [`VERSION`].
    pub wire: u32,
    /// Pseudonymous Study Instance UID.
    pub study: Uid,
    /// 1 for the first time the study was complete, one more each time it was reopened.
    pub version: u32,
    /// The program that the edge's rules chose; none leaves the choice to the service.
    pub program_hint: Option<String>,
    /// How soon the answer is wanted.
    pub priority: Priority,
    /// The patient's age at the study.
    pub age_band: Option<AgeBand>,
    /// The patient's sex.
    pub sex: Option<Sex>,
    /// The side, where all images agree.
    pub laterality: Option<Laterality>,
    /// View Position (0018,5101), where all images agree.
    pub view: Option<String>,
    /// When the last of the images was acknowledged, for turnaround.
    pub complete_at: Millis,
    /// The images, in the order of their arrival. Each one's bytes are an object that was put before.
    pub instances: Vec<InstanceEntry>,
}

/// One image of a study.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstanceEntry {
    /// Pseudonymous SOP Instance UID.
    pub instance: Uid,
    /// Pseudonymous Series Instance UID.
    pub series: Uid,
    /// SHA-256 of the bytes that were sent (a DICOM Part 10 file without identity).
    pub sha256: ContentHash,
    /// How many bytes.
    pub bytes: u64,
}

impl StudyManifest {
    /// Most images of one study.
    pub const INSTANCES: usize = 200_000;

    /// What names this manifest in the audit chains of both sides, and in the results of its reading.
    pub fn digest(&self) -> ContentHash {
        digest(self)
    }

    /// Checks what the types cannot: version, counts, each image once, a hint that could be a name of a program.
    ///
    /// # Errors
    /// [`MessageError`] names the field.
    pub fn check(&self) -> Result<(), MessageError> {
        let wrong = |field, problem: String| Err(MessageError::Field { field, problem });
        if self.wire != VERSION {
            return Err(MessageError::Version { found: self.wire });
        }
        if self.version == 0 {
            return wrong("version", "versions count from 1".into());
        }
        if self.instances.is_empty() || self.instances.len() > Self::INSTANCES {
            let count = self.instances.len();
            return wrong("instances", format!("a study has 1 to {} images, not {count}", Self::INSTANCES));
        }
        let different: BTreeSet<&Uid> = self.instances.iter().map(|i| &i.instance).collect();
        if different.len() != self.instances.len() {
            return wrong("instances", "an image is listed twice".into());
        }
        if let Some(hint) = &self.program_hint
            && (hint.is_empty() || hint.len() > 64)
        {
            return wrong("program_hint", "1 to 64 characters".into());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest() -> StudyManifest {
        StudyManifest {
            wire: VERSION,
            study: Uid::parse("2.25.1").unwrap(),
            version: 2,
            program_hint: Some("cxr-pneumonia".into()),
            priority: Priority::Urgent,
            age_band: AgeBand::of_years(4.2),
            sex: Some(Sex::Female),
            laterality: None,
            view: Some("PA".into()),
            complete_at: Millis(1_700_000_000_000),
            instances: vec![InstanceEntry {
                instance: Uid::parse("2.25.3").unwrap(),
                series: Uid::parse("2.25.2").unwrap(),
                sha256: ContentHash::from_bytes([7; 32]),
                bytes: 12,
            }],
        }
    }

    #[test]
    fn version_1_stays_readable() {
        let golden = include_str!("../tests/golden/study-1.json");
        let read: StudyManifest = serde_json::from_str(golden).unwrap();
        assert_eq!(read, manifest());
        assert_eq!(serde_json::to_string_pretty(&read).unwrap(), golden.trim_end());
    }

    #[test]
    fn contradictions_are_named() {
        let twice =
            StudyManifest { instances: [manifest().instances, manifest().instances].concat(), ..manifest() };
        assert!(matches!(twice.check(), Err(MessageError::Field { field: "instances", .. })));
        let none = StudyManifest { instances: vec![], ..manifest() };
        assert!(matches!(none.check(), Err(MessageError::Field { field: "instances", .. })));
        let newer = StudyManifest { wire: 9, ..manifest() };
        assert_eq!(newer.check(), Err(MessageError::Version { found: 9 }));
        assert_eq!(manifest().check(), Ok(()));
    }
}
