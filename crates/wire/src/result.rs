//! What comes home: one reading of one version of a study, as findings; the edge makes documents of it.

use overread_domain::{ContentHash, EditionId, Finding, Millis, NotAssessed, Uid};
use serde::{Deserialize, Serialize};

use crate::{MessageError, VERSION, digest};

/// A released reading.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ResultMessage {
    /// [`VERSION`].
    pub wire: u32,
    /// Pseudonymous Study Instance UID.
    pub study: Uid,
    /// The program that read: with the study it names the case.
    pub program: String,
    /// 1 for the first release of the case, one more with each amendment. Not the study's version: a program
    /// that was in shadow at first has released nothing then.
    pub case_version: u32,
    /// The version of the study that was read.
    pub study_version: u32,
    /// [`StudyManifest::digest`](crate::StudyManifest::digest) of the manifest that was read: an answer to something else is not taken for an answer to this.
    /// None from a service of an earlier release.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub manifest: Option<ContentHash>,
    /// Who read.
    pub algorithm: AlgorithmReference,
    /// One a label, in the pack's order; where images show both sides, those of the right, then those of the left, then what has no side.
    pub findings: Vec<Finding>,
    /// Why there is no answer; none if there is one.
    pub not_assessed: Option<NotAssessed>,
    /// Pseudonymous SOP Instance UIDs of the images that were looked at.
    pub images: Vec<Uid>,
    /// Pictures of why; each one's PNG is an object to fetch.
    pub captures: Vec<CaptureReference>,
    /// When the reading was finished.
    pub read_at: Millis,
}

/// The edition that read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AlgorithmReference {
    /// The pack's lineage.
    pub name: String,
    /// Its makers' version.
    pub version: String,
    /// The edition.
    pub edition: EditionId,
    /// Who made it.
    pub manufacturer: String,
    /// What whoever looks at its answers must know of it, in sentences: that it is for research only, that it cannot tell strangers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub caveats: Vec<String>,
}

/// A picture of why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CaptureReference {
    /// The name of the finding it explains, its side included, or `image` for the plain picture of a study that was not assessed.
    pub label: String,
    /// Whether it shows a map of what spoke for the finding.
    pub explains: bool,
    /// How it was made, in a sentence.
    pub description: String,
    /// SHA-256 of the PNG.
    pub sha256: ContentHash,
    /// How many bytes.
    pub bytes: u64,
}

impl ResultMessage {
    /// What names this result in the audit chains of both sides.
    pub fn digest(&self) -> ContentHash {
        digest(self)
    }

    /// Checks what the types cannot.
    ///
    /// # Errors
    /// [`MessageError`] names the field.
    pub fn check(&self) -> Result<(), MessageError> {
        let wrong = |field, problem: &str| Err(MessageError::Field { field, problem: problem.into() });
        if self.wire != VERSION {
            return Err(MessageError::Version { found: self.wire });
        }
        if self.case_version == 0 || self.study_version == 0 {
            return wrong("case_version", "versions count from 1");
        }
        if self.findings.is_empty() && self.not_assessed.is_none() {
            return wrong("findings", "neither a finding nor the reason why there is none");
        }
        if self.program.is_empty() || self.program.len() > 64 {
            return wrong("program", "1 to 64 characters");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use overread_domain::{BodySide, CodedConcept, Decision, Probability};

    use super::*;

    fn message() -> ResultMessage {
        ResultMessage {
            wire: VERSION,
            study: Uid::parse("2.25.1").unwrap(),
            program: "cxr-pneumonia".into(),
            case_version: 1,
            study_version: 2,
            manifest: None,
            algorithm: AlgorithmReference {
                name: "cxr-pneumonia".into(),
                version: "1.0.0".into(),
                edition: EditionId("ab".repeat(32)),
                manufacturer: "Overread".into(),
                caveats: vec![],
            },
            findings: vec![Finding {
                label: "pneumonia".into(),
                code: CodedConcept::new("SCT", "233604007", "Pneumonia"),
                site: None,
                laterality: None,
                probability: Probability::new(0.93).ok(),
                score: None,
                decision: Decision::Present,
                rule_out: Probability::new(0.1).ok(),
                rule_in: Probability::new(0.9).ok(),
                prevalence: Probability::new(0.5).ok(),
                experimental: false,
                reason: None,
            }],
            not_assessed: None,
            images: vec![Uid::parse("2.25.3").unwrap()],
            captures: vec![CaptureReference {
                label: "pneumonia".into(),
                explains: true,
                description: "class-activation-map over the image".into(),
                sha256: ContentHash::from_bytes([9; 32]),
                bytes: 34,
            }],
            read_at: Millis(1_700_000_001_000),
        }
    }

    #[test]
    fn version_1_stays_readable() {
        let golden = include_str!("../tests/golden/result-1.json");
        let read: ResultMessage = serde_json::from_str(golden).unwrap();
        assert_eq!(read, message());
        assert_eq!(serde_json::to_string_pretty(&read).unwrap(), golden.trim_end());
    }

    #[test]
    fn sides_cross_and_a_message_without_them_is_as_it_was() {
        let mut sided = message();
        let mut left = sided.findings[0].clone();
        left.laterality = Some(BodySide::Left);
        left.decision = Decision::NotAssessed;
        let message = "the image does not look like those of the pack".into();
        left.reason = Some(NotAssessed { code: "out-of-distribution".into(), message });
        sided.findings[0].laterality = Some(BodySide::Right);
        sided.findings.push(left);
        let golden = include_str!("../tests/golden/result-1-sides.json");
        let read: ResultMessage = serde_json::from_str(golden).unwrap();
        assert_eq!(read, sided);
        assert_eq!(serde_json::to_string_pretty(&sided).unwrap(), golden.trim_end());
        assert_ne!(sided.digest(), self::message().digest());
    }

    #[test]
    fn caveats_cross() {
        let mut said = message();
        said.algorithm.caveats = vec!["Research use only.".into()];
        let read: ResultMessage = serde_json::from_str(&serde_json::to_string(&said).unwrap()).unwrap();
        assert_eq!(read, said);
    }

    #[test]
    fn a_digest_names_what_is_said_and_not_how_it_is_written() {
        let said = ResultMessage { manifest: Some(ContentHash::from_bytes([5; 32])), ..message() };
        let spaced: ResultMessage =
            serde_json::from_str(&serde_json::to_string_pretty(&said).unwrap()).unwrap();
        assert_eq!(spaced.digest(), said.digest());
        assert_ne!(message().digest(), said.digest());
        // Both sides must reckon alike for ever: a digest of version 1.
        assert_eq!(
            message().digest().as_str(),
            "c7ea364e9b680c0d2fe0ad50de7ef9abf8e9e9f8fb08814d7e72febe51767004"
        );
    }

    #[test]
    fn a_message_that_says_nothing_is_refused() {
        let silent = ResultMessage { findings: vec![], ..message() };
        assert!(matches!(silent.check(), Err(MessageError::Field { field: "findings", .. })));
        assert_eq!(message().check(), Ok(()));
    }
}
