//! What was done with each file, for the site alone: attributes and actions, never values.

use std::collections::BTreeMap;
use std::path::PathBuf;

use dicom_core::Tag;
use dicom_core::dictionary::DataDictionary;
use dicom_dictionary_std::StandardDataDictionary;
use overread_domain::Uid;
use serde::{Serialize, Serializer};

use crate::Left;

/// What was done with an attribute.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Done {
    /// Left out.
    Removed,
    /// Made empty.
    Emptied,
    /// Replaced by a dummy value.
    Dummy,
    /// UIDs replaced by pseudonyms.
    Mapped,
    /// Dates moved.
    Moved,
    /// Cleaned: something of it stayed.
    Cleaned,
    /// Replaced by what the profile says, or by the patient's pseudonym.
    Replaced,
}

/// An attribute that was changed, and how often.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Change {
    /// The attribute.
    #[serde(serialize_with = "as_text")]
    pub tag: Tag,
    /// Its keyword; empty for private attributes.
    pub keyword: &'static str,
    /// What was done.
    pub done: Done,
    /// At how many places of the object.
    pub times: u32,
}

fn as_text<S: Serializer>(tag: &Tag, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(tag)
}

/// Counts changes.
#[derive(Default)]
pub(crate) struct Changes(BTreeMap<(Tag, Done), u32>);

impl Changes {
    pub(crate) fn note(&mut self, tag: Tag, done: Done) {
        *self.0.entry((tag, done)).or_default() += 1;
    }

    pub(crate) fn list(&self) -> Vec<Change> {
        let change = |((tag, done), times): (&(Tag, Done), &u32)| {
            let keyword = StandardDataDictionary.by_tag(*tag).map_or("", |e| e.alias);
            Change { tag: *tag, keyword, done: *done, times: *times }
        };
        self.0.iter().map(change).collect()
    }
}

/// What became of a file: a line of the site's own report. The path of the original may tell who the patient is.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FileReport {
    /// The original.
    pub input: PathBuf,
    /// What became of it.
    #[serde(flatten)]
    pub outcome: Outcome,
}

/// What became of a file.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum Outcome {
    /// A de-identified object was written.
    Written {
        /// Where, relative to the folder of the run.
        output: PathBuf,
        /// The object.
        #[serde(flatten)]
        object: Box<Left>,
    },
    /// It was not let out; the reasons.
    Quarantined {
        /// One sentence each, without a value of the original.
        reasons: Vec<String>,
    },
    /// It cannot be read, or the object cannot be written.
    Failed {
        /// What is wrong and what to do.
        reason: String,
    },
}

/// A de-identified object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// Study Instance UID of the object.
    pub study: Uid,
    /// Series Instance UID of the object.
    pub series: Uid,
    /// SOP Instance UID of the object.
    pub instance: Uid,
    /// How many bytes it has.
    pub bytes: u64,
    /// The attributes that are not what they were.
    pub changes: Vec<Change>,
}
