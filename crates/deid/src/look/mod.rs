//! A second look at the bytes that go out, which knows nothing of how they were made.
//!
//! It asks the original, by a list of its own, for what identifies (names, numbers, places, birth date, UIDs, and dates where
//! they are not retained) and searches the outgoing bytes for it, whole: data set, values of whatever representation,
//! documents, pixel data. Each value is searched in UTF-8, in the original's Specific Character Set, in UTF-16 of either
//! byte order and in base64 at its three alignments, in capitals or not. What it finds names the attribute of the
//! original, never the value.
//!
//! It is guarded against chance:
//! - words of fewer than four letters, numbers of fewer than seven digits and codes of fewer than five characters are not
//!   searched in bytes. The writer compares them with the words of every outgoing text instead;
//! - a term of the field (`Head`) and a word that the object says of itself (`Profile`) is no name that can be searched;
//! - letters must not be part of a longer word, digits not of a longer number;
//! - in pixel data a match must be as long as chance would not make it in so many bytes: 6 bytes in a slice, 8 in a
//!   whole slide;
//! - a moved date that falls on another date of the original is no find.
//!
//! It does not see what is compressed or encrypted, and no text that pixels show.

mod grams;
mod needles;
mod search;
#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use dicom_core::Tag;
use dicom_core::dictionary::DataDictionary;
use dicom_dictionary_std::StandardDataDictionary;

use crate::identity::{Fact, Sort};
pub(crate) use needles::charset;
use needles::{Charset, Needles};
pub(crate) use search::Search;

/// A value of the original that stands in the outgoing bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The attribute of the original.
    pub tag: Tag,
    /// Where in the outgoing bytes.
    pub offset: u64,
    /// Whether that is in the pixel data.
    pub in_pixels: bool,
}

impl std::fmt::Display for Found {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let keyword = StandardDataDictionary.by_tag(self.tag).map_or("a private attribute", |e| e.alias);
        let place = if self.in_pixels { "pixel data" } else { "data set" };
        write!(f, "a value of {keyword} {} stands in the outgoing {place}, at byte {}", self.tag, self.offset)
    }
}

/// Needles are the same for most images of a study; searching machines are kept.
const KEPT: usize = 8;

/// Makes looks, and keeps what takes time to make.
#[derive(Default)]
pub(crate) struct Lookout(Mutex<Vec<Arc<Needles>>>);

impl Lookout {
    /// A look for the facts of an original. `own` are texts that the object says of itself; dates that were written on
    /// purpose are `meant`.
    pub(crate) fn look(
        &self,
        facts: &[Fact],
        charset: Charset,
        own: &[String],
        meant: &HashSet<String>,
    ) -> Search {
        let searched = needles::searched(facts, own, meant);
        let uids = facts.iter().filter(|f| f.sort == Sort::Uid).map(|f| (f.text.clone(), f.tag)).collect();
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let needles = match kept.iter().position(|n| n.are(&searched, &charset)) {
            Some(at) => {
                // The last one used is the last one dropped.
                let needles = kept.remove(at);
                kept.push(Arc::clone(&needles));
                needles
            }
            None => {
                let needles = Arc::new(Needles::new(searched, charset));
                if kept.len() == KEPT {
                    kept.remove(0);
                }
                kept.push(Arc::clone(&needles));
                needles
            }
        };
        Search::new(needles, uids)
    }
}
