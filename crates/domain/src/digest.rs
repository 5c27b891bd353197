//! SHA-256 of content, as the name of that content.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A SHA-256 digest in lower-case hexadecimal.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ContentHash(String);

/// A text that is no digest.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("a SHA-256 is written as 64 lower-case hexadecimal digits")]
pub struct NotAContentHash;

impl ContentHash {
    /// From the 32 bytes of a digest.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        use fmt::Write;
        let mut text = String::with_capacity(64);
        for byte in bytes {
            // Writing to a String cannot fail.
            let _ = write!(text, "{byte:02x}");
        }
        Self(text)
    }

    /// Parses the hexadecimal form.
    ///
    /// # Errors
    /// Not 64 lower-case hexadecimal digits.
    pub fn parse(text: &str) -> Result<Self, NotAContentHash> {
        let digits = text.len() == 64 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        if digits { Ok(Self(text.to_owned())) } else { Err(NotAContentHash) }
    }

    /// The hexadecimal form.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ContentHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for ContentHash {
    type Error = NotAContentHash;
    fn try_from(text: String) -> Result<Self, NotAContentHash> {
        Self::parse(&text)
    }
}

impl From<ContentHash> for String {
    fn from(hash: ContentHash) -> Self {
        hash.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_digests_are_digests() {
        let hash = ContentHash::from_bytes([0xab; 32]);
        assert_eq!(ContentHash::parse(hash.as_str()), Ok(hash));
        for wrong in ["", "ab", &"AB".repeat(32), &"../".repeat(21), &"ab".repeat(33)] {
            assert_eq!(ContentHash::parse(wrong), Err(NotAContentHash), "{wrong}");
        }
    }
}
