//! Application entity titles (PS3.5 §6.2, value representation AE).

use std::fmt;

/// An AE title: 1 to 16 characters of the default repertoire, without backslash or control
/// characters, outer spaces removed.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AeTitle(String);

/// Why a text is no AE title.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum AeTitleError {
    /// Nothing but spaces, or more than 16 characters.
    #[error("an AE title has 1 to 16 characters, this one has {0}")]
    Length(usize),
    /// A character that an AE title cannot hold; counted from 1.
    #[error("character {0} of the AE title is a backslash, a control character or not ASCII")]
    Character(usize),
}

impl AeTitle {
    /// Parses a title; spaces around it are not significant.
    ///
    /// # Errors
    /// [`AeTitleError`] says which character is wrong, or the length.
    pub fn parse(text: &str) -> Result<Self, AeTitleError> {
        let text = text.trim_matches(' ');
        if let Some(at) = text.chars().position(|c| c == '\\' || !(' '..='~').contains(&c)) {
            return Err(AeTitleError::Character(at + 1));
        }
        if text.is_empty() || text.len() > 16 {
            return Err(AeTitleError::Length(text.len()));
        }
        Ok(Self(text.to_owned()))
    }

    /// The title without padding.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for AeTitle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::str::FromStr for AeTitle {
    type Err = AeTitleError;
    fn from_str(text: &str) -> Result<Self, AeTitleError> {
        Self::parse(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn titles_are_parsed_without_padding_and_nonsense_is_refused() {
        assert_eq!(AeTitle::parse("  OVER READ ").unwrap().as_str(), "OVER READ");
        assert_eq!(AeTitle::parse("    "), Err(AeTitleError::Length(0)));
        assert_eq!(AeTitle::parse("SEVENTEEN_LETTERS"), Err(AeTitleError::Length(17)));
        assert_eq!(AeTitle::parse("A\\B"), Err(AeTitleError::Character(2)));
        assert_eq!(AeTitle::parse("A\nB"), Err(AeTitleError::Character(2)));
        assert_eq!(AeTitle::parse("MÜNCHEN"), Err(AeTitleError::Character(2)));
    }
}
