//! Which of the combined actions keeps an object valid: the attribute's Type in its IOD (PS3.3 2020).
//!
//! Only the fifty attributes with a combined action are listed. Where the SOP class is younger than the table, or the
//! sequence around is none of it, the Type is unknown and the action is the one that is valid under every Type.

use std::collections::HashMap;
use std::sync::LazyLock;

use dicom_core::Tag;

use super::Action;

const ROWS: &str = include_str!("types.tsv");

/// What an IOD asks of an attribute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// Type 1 or 1C: a value.
    Value,
    /// Type 2 or 2C: the attribute, perhaps empty.
    Presence,
    /// Type 3, or no attribute of the IOD.
    Nothing,
    /// The table does not know.
    Unknown,
}

/// What is done with a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Left out.
    Remove,
    /// Zero length.
    Empty,
    /// A dummy value.
    Dummy,
    /// Copied.
    Keep,
    /// Cleaned.
    Clean,
    /// Its UIDs are mapped.
    Uid,
}

impl Action {
    /// The step that an IOD's need leaves of an action.
    pub fn resolve(self, need: Need) -> Step {
        use Need::{Nothing, Presence};
        match (self, need) {
            (Self::Remove, _) => Step::Remove,
            (Self::Empty, _) => Step::Empty,
            (Self::Dummy, _) => Step::Dummy,
            (Self::Keep, _) => Step::Keep,
            (Self::Clean, _) => Step::Clean,
            (Self::Uid, _) => Step::Uid,
            (Self::EmptyOrDummy, Presence | Nothing) => Step::Empty,
            (Self::EmptyOrDummy, _) => Step::Dummy,
            (_, Nothing) => Step::Remove,
            (Self::RemoveOrEmpty, Need::Value) => Step::Dummy,
            (Self::RemoveOrEmpty | Self::RemoveEmptyOrDummy, Presence) => Step::Empty,
            // Empty would do for Type 2, but other attributes refer to what the sequence names.
            (Self::RemoveOrEmpty, _) => Step::Empty,
            (Self::RemoveEmptyOrUids, _) => Step::Uid,
            (Self::RemoveOrDummy | Self::RemoveEmptyOrDummy, _) => Step::Dummy,
        }
    }
}

type Needs = Vec<(Tag, Need)>;

struct Table {
    /// By SOP class.
    classes: HashMap<&'static str, Needs>,
    /// By the sequence around.
    nested: HashMap<Tag, Needs>,
}

static TABLE: LazyLock<Table> = LazyLock::new(|| {
    let mut table = Table { classes: HashMap::new(), nested: HashMap::new() };
    for line in ROWS.lines().filter(|l| !l.starts_with('#')) {
        let (place, list) = line.split_once('\t').unwrap_or((line, ""));
        let needs = list.split_whitespace().filter_map(|entry| {
            let (tag, kind) = entry.split_once(':')?;
            Some((hex(tag)?, if kind == "1" { Need::Value } else { Need::Presence }))
        });
        match hex(place) {
            Some(sequence) => drop(table.nested.insert(sequence, needs.collect())),
            None => drop(table.classes.insert(place, needs.collect())),
        }
    }
    table
});

fn hex(text: &str) -> Option<Tag> {
    let number = u32::from_str_radix(text, 16).ok().filter(|_| text.len() == 8)?;
    Some(Tag((number >> 16) as u16, number as u16))
}

/// Where an attribute stands.
#[derive(Clone, Copy, Debug)]
pub enum Place<'a> {
    /// At the top level of an object of this SOP class.
    Object(&'a str),
    /// In an item of this sequence.
    Item(Tag),
}

/// What the IOD asks of an attribute that has a combined action.
pub fn need(place: Place<'_>, tag: Tag) -> Need {
    let needs = match place {
        Place::Object(class) => TABLE.classes.get(class),
        Place::Item(sequence) => TABLE.nested.get(&sequence),
    };
    match (needs, place) {
        (Some(needs), _) => needs.iter().find(|(t, _)| *t == tag).map_or(Need::Nothing, |(_, need)| *need),
        (None, _) => Need::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use dicom_dictionary_std::{tags as t, uids};

    use super::*;

    #[test]
    fn types_are_those_of_the_iods() {
        assert_eq!(
            TABLE.classes.len() + TABLE.nested.len(),
            ROWS.lines().filter(|l| !l.starts_with('#')).count()
        );
        let at = |class, tag| need(Place::Object(class), tag);
        let ct = uids::CT_IMAGE_STORAGE;
        // PS3.3 Table A.3-1: General Image has Content Date of type 2C, General Series has Series Date of type 3.
        assert_eq!(at(ct, t::CONTENT_DATE), Need::Presence);
        assert_eq!(at(ct, t::SERIES_DATE), Need::Nothing);
        assert_eq!(at(uids::ENHANCED_CT_IMAGE_STORAGE, t::ACQUISITION_DATE_TIME), Need::Value);
        assert_eq!(at("1.2.3", t::SERIES_DATE), Need::Unknown);
        assert_eq!(need(Place::Item(t::PATIENT_SEX), t::SERIES_DATE), Need::Unknown);
    }

    #[test]
    fn an_unknown_type_keeps_every_object_valid() {
        for action in ["Z/D", "X/D", "X/Z/D"] {
            assert_eq!(Action::parse(action).unwrap().resolve(Need::Unknown), Step::Dummy, "{action}");
        }
        assert_eq!(Action::RemoveOrEmpty.resolve(Need::Unknown), Step::Empty);
        assert_eq!(Action::RemoveEmptyOrUids.resolve(Need::Unknown), Step::Uid);
        assert_eq!(Action::RemoveEmptyOrDummy.resolve(Need::Presence), Step::Empty);
        assert_eq!(Action::RemoveOrDummy.resolve(Need::Nothing), Step::Remove);
        assert_eq!(Action::EmptyOrDummy.resolve(Need::Nothing), Step::Empty);
    }
}
