//! The query of a search: attributes to match, attributes to return, paging (PS3.18 §8.3.4, edition 2025c).

use dicom_core::dictionary::{DataDictionary, DataDictionaryEntry};
use dicom_core::{Tag, VR};
use dicom_dictionary_std::{StandardDataDictionary, tags};
use dicom_object::InMemDicomObject;
use overread_domain::Uid;

use crate::matching::{Match, MatchError};

/// More attributes than this in one query are an attack.
const MOST_ATTRIBUTES: usize = 128;

/// A search.
///
/// There is no `Debug`: what is asked for may be a patient's name.
#[derive(Clone, Default)]
pub struct Query {
    /// All of these must hold; the UIDs of the URL come first.
    pub matches: Vec<AttributeMatch>,
    /// Attributes to return beyond those that each level returns anyway.
    pub include: Include,
    /// At most so many rows; never more than [`crate::Limits::rows`].
    pub limit: u32,
    /// So many rows are left out first.
    pub offset: u32,
    /// Names may be matched by sound or likeness, if the archive can.
    pub fuzzy: bool,
}

/// One attribute and what it must be.
#[derive(Clone)]
pub struct AttributeMatch {
    /// The attribute; for one inside sequences, the sequences' tags before its own.
    pub path: Vec<Tag>,
    /// Its VR by the dictionary.
    pub vr: VR,
    /// What it must be.
    pub criterion: Match,
}

/// Which attributes `includefield` asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Include {
    /// None beyond the default ones.
    #[default]
    Defaults,
    /// These too (of a dotted path the first).
    Also(Vec<Tag>),
    /// All that the archive knows.
    All,
}

/// Why a query is not one. Names of parameters are printed, values never.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum QueryError {
    /// Neither a parameter nor an attribute.
    #[error(
        "`{0}` is neither a query parameter nor an attribute; use a keyword of PS3.6 or eight hexadecimal digits"
    )]
    Unknown(String),
    /// A value of an attribute that cannot be meant.
    #[error("the value of `{name}` cannot be matched")]
    Value {
        /// The attribute as the query names it.
        name: String,
        /// What is wrong.
        source: MatchError,
    },
    /// A paging parameter or flag that cannot be meant.
    #[error("`{0}` needs {1}")]
    Parameter(&'static str, &'static str),
    /// Too many attributes.
    #[error("a query names at most {MOST_ATTRIBUTES} attributes")]
    TooMany,
}

impl Query {
    /// Parses the parameters of a URL, percent-decoded already.
    ///
    /// # Errors
    /// [`QueryError`] names the parameter. An attribute that is not understood is an error and is not left out: the answer would hold
    /// studies that were not asked for (PS3.18 table 10.6.3-1: 400, the server cannot understand the query).
    pub fn parse<'a>(
        parameters: impl IntoIterator<Item = (&'a str, &'a str)>,
        most_rows: u32,
    ) -> Result<Self, QueryError> {
        let mut query = Self { limit: most_rows, ..Self::default() };
        for (name, value) in parameters {
            match name {
                "limit" => {
                    query.limit =
                        number(value).ok_or(QueryError::Parameter("limit", "a whole number"))?.min(most_rows);
                }
                "offset" => {
                    query.offset = number(value).ok_or(QueryError::Parameter("offset", "a whole number"))?;
                }
                "fuzzymatching" => {
                    query.fuzzy = match value {
                        "true" => true,
                        "false" => false,
                        _ => return Err(QueryError::Parameter("fuzzymatching", "`true` or `false`")),
                    }
                }
                "includefield" => query.include.add(value)?,
                // What the answer looks like (§8.3.3.1, §8.3.3.2); read elsewhere.
                "accept" | "charset" => {}
                _ => query.matches.push(AttributeMatch::parse(name, value)?),
            }
            let included = if let Include::Also(tags) = &query.include { tags.len() } else { 0 };
            if query.matches.len() + included > MOST_ATTRIBUTES {
                return Err(QueryError::TooMany);
            }
        }
        Ok(query)
    }

    /// Adds a UID of the URL, in front.
    pub(crate) fn within(&mut self, tag: Tag, uid: &Uid) {
        let criterion = Match::exactly(uid.as_str());
        self.matches.insert(0, AttributeMatch { path: vec![tag], vr: VR::UI, criterion });
    }

    /// The criterion of a plain attribute, if the query has one.
    pub fn criterion(&self, tag: Tag) -> Option<&Match> {
        self.matches.iter().find(|m| m.path == [tag]).map(|m| &m.criterion)
    }

    /// Whether a data set meets all criteria, for an archive that matches in memory.
    pub fn admits(&self, object: &InMemDicomObject) -> bool {
        self.matches.iter().all(|m| m.admits(object))
    }
}

fn number(text: &str) -> Option<u32> {
    text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok())?
}

impl AttributeMatch {
    fn parse(name: &str, value: &str) -> Result<Self, QueryError> {
        let path = path(name)?;
        let last = *path.last().ok_or_else(|| unknown(name))?;
        let vr = StandardDataDictionary.by_tag(last).map_or(VR::LO, |e| e.vr().relaxed());
        if vr == VR::SQ {
            return Err(unknown(name));
        }
        let criterion =
            Match::parse(vr, value).map_err(|source| QueryError::Value { name: printable(name), source })?;
        Ok(Self { path, vr, criterion })
    }

    /// Whether a data set has a value that matches, in any item where the attribute lies in sequences.
    pub fn admits(&self, object: &InMemDicomObject) -> bool {
        admits(&self.path, &self.criterion, object)
    }
}

fn admits(path: &[Tag], criterion: &Match, object: &InMemDicomObject) -> bool {
    let Some((tag, inner)) = path.split_first() else { return true };
    // PS3.18 §8.3.4.1: Study, Series and Instance attributes alike; a modality of the study is one of many values.
    let element = object.get(*tag);
    if inner.is_empty() {
        let values = element.and_then(|e| e.to_multi_str().ok());
        return criterion.matches_any(values.iter().flat_map(|v| v.iter()).map(String::as_str));
    }
    let items = element.and_then(|e| e.value().items()).unwrap_or(&[]);
    if items.is_empty() {
        return criterion.matches("");
    }
    items.iter().any(|item| admits(inner, criterion, item))
}

impl Include {
    fn add(&mut self, value: &str) -> Result<(), QueryError> {
        for name in value.split(',').map(str::trim).filter(|n| !n.is_empty()) {
            if name == "all" {
                *self = Self::All;
                continue;
            }
            let path = path(name)?;
            match self {
                Self::All => {}
                Self::Also(tags) => tags.extend(path.first()),
                Self::Defaults => *self = Self::Also(path.into_iter().take(1).collect()),
            }
        }
        Ok(())
    }

    /// Whether the attribute is asked for by name or by `all`.
    pub fn has(&self, tag: Tag) -> bool {
        match self {
            Self::Defaults => false,
            Self::Also(tags) => tags.contains(&tag),
            Self::All => true,
        }
    }
}

fn unknown(name: &str) -> QueryError {
    QueryError::Unknown(printable(name))
}

/// A parameter's name as an error may hold it: nobody knows what a stranger puts there.
fn printable(name: &str) -> String {
    name.chars().filter(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_')).take(64).collect()
}

/// An attribute by keyword or tag, or a dotted path through sequences (PS3.18 §8.3.4.1).
fn path(name: &str) -> Result<Vec<Tag>, QueryError> {
    let tags: Option<Vec<Tag>> = name.split('.').map(tag).collect();
    let tags = tags.filter(|t| t.len() <= 8).ok_or_else(|| unknown(name))?;
    let sequences = tags.iter().rev().skip(1);
    let all_sequences = sequences
        .copied()
        .all(|t| StandardDataDictionary.by_tag(t).is_none_or(|e| e.vr().relaxed() == VR::SQ));
    if all_sequences { Ok(tags) } else { Err(unknown(name)) }
}

fn tag(name: &str) -> Option<Tag> {
    if name.len() == 8 && name.bytes().all(|b| b.is_ascii_hexdigit()) {
        let number = u32::from_str_radix(name, 16).ok()?;
        return Some(Tag((number >> 16) as u16, number as u16));
    }
    let entry = StandardDataDictionary.by_name(name)?;
    let tag = entry.tag();
    // Group 2 describes the file, not the object.
    (tag.group() != 0x0002 && tag != tags::PIXEL_DATA).then_some(tag)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Query, QueryError> {
        Query::parse(text.split('&').filter_map(|p| p.split_once('=')), 100)
    }

    #[test]
    fn attributes_by_keyword_tag_and_path() {
        let query =
            parse("PatientID=x&00080060=CT&RequestAttributesSequence.ScheduledProcedureStepID=7").unwrap();
        let paths: Vec<&[Tag]> = query.matches.iter().map(|m| &m.path[..]).collect();
        let nested = [tags::REQUEST_ATTRIBUTES_SEQUENCE, tags::SCHEDULED_PROCEDURE_STEP_ID];
        assert_eq!(paths, [&[tags::PATIENT_ID][..], &[tags::MODALITY], &nested]);
    }

    #[test]
    fn paging_and_fields() {
        let query =
            parse("limit=500&offset=3&includefield=StudyDescription,00081070&includefield=PatientAge")
                .unwrap();
        assert_eq!((query.limit, query.offset), (100, 3));
        assert!(query.include.has(tags::PATIENT_AGE) && query.include.has(tags::OPERATORS_NAME));
        assert!(!query.include.has(tags::PATIENT_NAME));
        assert_eq!(parse("includefield=all").unwrap().include, Include::All);
    }

    #[test]
    fn what_is_not_understood_is_named() {
        assert_eq!(parse("Colour=red").err(), Some(QueryError::Unknown("Colour".into())));
        assert_eq!(
            parse("PatientName.PatientID=1").err(),
            Some(QueryError::Unknown("PatientName.PatientID".into()))
        );
        for wrong in ["limit=-1", "offset=x", "fuzzymatching=maybe", "StudyDate=soon", "StudyInstanceUID=1.x"]
        {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
