//! DICOM unique identifiers (PS3.5 §9).

use std::fmt;

use serde::{Deserialize, Serialize};

/// A valid DICOM UID: at most 64 characters, components of digits without leading zeros.
///
/// Nothing that came over a wire becomes a path; a `Uid` holds digits and dots alone.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Uid(String);

/// Why a text is not a UID.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum UidError {
    /// Empty, or longer than 64 characters.
    #[error("a UID has 1 to 64 characters, this one has {0}")]
    Length(usize),
    /// A component that is empty, starts with a zero, or holds something else than digits.
    #[error("UID component {0} is not a number without leading zeros")]
    Component(usize),
}

impl Uid {
    /// Parses a UID; trailing NUL and space padding is removed first, as PS3.5 §9.1 pads.
    ///
    /// # Errors
    /// [`UidError`] names the component that is wrong.
    pub fn parse(text: &str) -> Result<Self, UidError> {
        let text = text.trim_end_matches(['\0', ' ']).trim_start();
        if text.is_empty() || text.len() > 64 {
            return Err(UidError::Length(text.len()));
        }
        for (index, part) in text.split('.').enumerate() {
            let digits = !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
            if !digits || (part.len() > 1 && part.starts_with('0')) {
                return Err(UidError::Component(index + 1));
            }
        }
        Ok(Self(text.to_owned()))
    }

    /// A UID under the `2.25` root (PS3.5 §B.2) whose number is the given 128 bits, so that equal
    /// inputs give equal UIDs.
    pub fn from_hash(bits: [u8; 16]) -> Self {
        let mut bits = bits;
        // An RFC 9562 version 8 UUID: 122 bits of ours, the version and variant as the RFC wants them.
        bits[6] = (bits[6] & 0x0f) | 0x80;
        bits[8] = (bits[8] & 0x3f) | 0x80;
        Self(format!("2.25.{}", u128::from_be_bytes(bits)))
    }

    /// The UID as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Uid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for Uid {
    type Error = UidError;
    fn try_from(text: String) -> Result<Self, UidError> {
        Self::parse(&text)
    }
}

impl From<Uid> for String {
    fn from(uid: Uid) -> Self {
        uid.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn padding_is_removed_and_nonsense_refused() {
        assert_eq!(Uid::parse("1.2.840.10008.1.1\0").unwrap().as_str(), "1.2.840.10008.1.1");
        assert_eq!(Uid::parse("1.2.0").unwrap().as_str(), "1.2.0");
        assert_eq!(Uid::parse("../../etc/passwd"), Err(UidError::Component(1)));
        assert_eq!(Uid::parse("1.02"), Err(UidError::Component(2)));
        assert_eq!(Uid::parse("1..2"), Err(UidError::Component(2)));
        assert_eq!(Uid::parse(&"1".repeat(65)), Err(UidError::Length(65)));
        assert_eq!(Uid::parse(""), Err(UidError::Length(0)));
    }

    #[test]
    fn hashed_uids_are_valid_and_stable() {
        for bits in [[0u8; 16], [0xff; 16], [7; 16]] {
            let uid = Uid::from_hash(bits);
            assert_eq!(Uid::parse(uid.as_str()).unwrap(), uid);
            assert_eq!(uid, Uid::from_hash(bits));
        }
    }
}
