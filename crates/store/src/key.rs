//! Names of objects: our own words, never a peer's.

use std::fmt;

use crate::StoreError;

/// The key of an object. It holds lower-case letters, digits, `.`, `_`, `-` and `/`, no empty part and none that starts with a dot.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ObjectKey(String);

impl ObjectKey {
    /// A key from its text.
    ///
    /// # Errors
    /// [`StoreError::Key`].
    pub fn parse(text: &str) -> Result<Self, StoreError> {
        let plain = |b: u8| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'_' | b'-');
        let part = |p: &str| !p.is_empty() && !p.starts_with('.') && p.bytes().all(plain);
        if text.len() <= 200 && text.split('/').all(part) {
            Ok(Self(text.to_owned()))
        } else {
            Err(StoreError::Key)
        }
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_key_leaves_its_folder() {
        for good in ["a", "in/2026/00-1.dcm", "x/y_z/0"] {
            assert_eq!(ObjectKey::parse(good).unwrap().as_str(), good);
        }
        for bad in
            ["", "/a", "a/", "a//b", "..", "a/../b", ".hidden", "A", "a b", "a\0", "ä", &"a".repeat(201)]
        {
            assert!(ObjectKey::parse(bad).is_err(), "{bad:?}");
        }
    }
}
