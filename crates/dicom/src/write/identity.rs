//! Who read and what the result is called: equal inputs give equal UIDs, so a repeat is the same object.

use overread_domain::{EditionId, Uid};
use sha2::{Digest, Sha256};

/// The reader of a result: one edition of a pack.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Algorithm {
    /// Algorithm Name (TID 4019), such as `overread-chest-xray`.
    pub name: String,
    /// Algorithm Version (TID 4019), as the pack gives it.
    pub version: String,
    /// The edition that read.
    pub edition: EditionId,
    /// Who made the pack.
    pub manufacturer: String,
}

impl Algorithm {
    /// The edition's own Device UID (0018,1002): a function of the edition alone.
    pub fn device_uid(&self) -> Uid {
        derive("device", &[self.edition.0.as_bytes()])
    }
}

/// Which result of a study this is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResultIdentity {
    /// The program that the case was read under.
    pub program: String,
    /// Version of the case: 1 for the first release, one more with each amendment.
    pub case_version: u32,
}

impl ResultIdentity {
    /// The UID of a series or an instance of this result: each name of a kind, and each label, has its own.
    pub(crate) fn uid(&self, study: &Uid, edition: &EditionId, name: &str, label: &str) -> Uid {
        let version = self.case_version.to_be_bytes();
        let study = study.as_str().as_bytes();
        let parts = [study, self.program.as_bytes(), edition.0.as_bytes(), &version, label.as_bytes()];
        derive(name, &parts)
    }

    /// Tracking Unique Identifier (112040) of a finding: the same through all versions of the case,
    /// so that an amendment is seen to speak of the same finding.
    pub(crate) fn tracking_uid(&self, study: &Uid, label: &str) -> Uid {
        derive("tracking", &[study.as_str().as_bytes(), self.program.as_bytes(), label.as_bytes()])
    }
}

/// A UID from the SHA-256 of a kind and its parts. Each part is preceded by its length, so that
/// no two lists of parts hash the same bytes.
pub(crate) fn derive(kind: &str, parts: &[&[u8]]) -> Uid {
    let mut hash = Sha256::new();
    hash.update(b"overread-uid-1");
    for part in std::iter::once(&kind.as_bytes()).chain(parts) {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    let digest = hash.finalize();
    let mut bits = [0; 16];
    bits.copy_from_slice(&digest[..16]);
    Uid::from_hash(bits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_input_changes_the_uid_and_nothing_else_does() {
        let study = Uid::parse("1.2.3").unwrap();
        let edition = EditionId("aa".into());
        let one = ResultIdentity { program: "chest".into(), case_version: 1 };
        let base = one.uid(&study, &edition, "report", "");
        assert_eq!(base, one.clone().uid(&study, &edition, "report", ""));
        let others = [
            one.uid(&Uid::parse("1.2.4").unwrap(), &edition, "report", ""),
            one.uid(&study, &EditionId("ab".into()), "report", ""),
            ResultIdentity { case_version: 2, ..one.clone() }.uid(&study, &edition, "report", ""),
            ResultIdentity { program: "ches".into(), ..one.clone() }.uid(&study, &edition, "report", ""),
            one.uid(&study, &edition, "report-series", ""),
            one.uid(&study, &edition, "report", "pneumonia"),
        ];
        let all: std::collections::HashSet<_> = others.iter().chain([&base]).collect();
        assert_eq!(all.len(), others.len() + 1);
    }

    #[test]
    fn the_derivation_never_changes() {
        // A released result must find its predecessor: this value is a promise.
        assert_eq!(derive("device", &[b"abc"]).as_str(), DEVICE_OF_ABC);
    }

    // Computed with another implementation of SHA-256.
    const DEVICE_OF_ABC: &str = "2.25.144833783365270002795049559450370155170";
}
