//! An original's data set → the de-identified one, by a profile.
//!
//! In reading order: [`Engine::object`] walks a data set, `step` does what Table E.1-1 asks for, `unlisted` decides where
//! the table says nothing, `private` keeps what is known to be safe, [`statement`] says what was done. Beside them: `dummy`
//! makes values that say nothing, `dates` moves days, `uids` maps UIDs, `words` cleans descriptions, `content` knows
//! content items.
//!
//! Where the standard leaves a choice, the choice is: what a table lists is treated as it says; elements that PS3.6 does not
//! know, private ones and values that do not have their representation's form are removed; text that no table lists stays
//! if it looks like a term (no word of the patient's identity, no address, no long number), long text never.

mod content;
mod dates;
mod dummy;
mod graphics;
mod private;
pub(crate) mod statement;
mod step;
mod uids;
mod unlisted;
pub(crate) mod words;

use std::collections::HashSet;

use dicom_core::Tag;
use dicom_core::header::HasLength;
use dicom_core::value::PrimitiveValue;
use dicom_core::{DataElement, VR};
use dicom_dictionary_std::tags as t;
use dicom_object::InMemDicomObject;
use dicom_object::mem::InMemElement;

use crate::PseudonymKey;
use crate::identity::Words;
use crate::profile::{Override, Place, Profile, Step, Subject, row};
use crate::report::{Changes, Done};
use crate::values::{as_known, element_texts, texts};
use content::{Item, Mode};

pub(crate) use uids::{kind as uid_kind, mapped as mapped_uid};

/// Does what a profile asks for with one object.
pub(crate) struct Engine<'a> {
    pub(crate) profile: &'a Profile,
    pub(crate) key: &'a PseudonymKey,
    /// What must not be repeated.
    pub(crate) words: &'a Words,
    /// The patient's pseudonym, and by how many days dates are moved.
    pub(crate) subject: String,
    pub(crate) days: u16,
    /// Content items point at others by position.
    pub(crate) positions: bool,
    pub(crate) changes: Changes,
    /// The dates that were written on purpose, as eight digits.
    pub(crate) dates: HashSet<String>,
}

/// Where an element stands.
#[derive(Clone, Copy)]
pub(crate) struct Spot<'a> {
    pub(crate) place: Place<'a>,
    /// In a content item: what happens with its value.
    pub(crate) content: Option<Mode>,
    /// In a code of one of the standard's coding schemes.
    pub(crate) coded: bool,
}

impl<'a> Engine<'a> {
    pub(crate) fn new(
        profile: &'a Profile,
        key: &'a PseudonymKey,
        words: &'a Words,
        original: &InMemDicomObject,
    ) -> Self {
        let first = |tag| texts(original, tag).and_then(|t| t.into_iter().find(|v| !v.is_empty()));
        // Objects without a Patient ID are at least moved as a study is.
        let patient = first(t::PATIENT_ID).or_else(|| first(t::STUDY_INSTANCE_UID)).unwrap_or_default();
        Self {
            profile,
            key,
            words,
            subject: key.subject(&patient),
            days: key.days(&patient),
            positions: content::points_by_position(original),
            changes: Changes::default(),
            dates: HashSet::new(),
        }
    }

    /// The whole of an object of a SOP class, but for the statement of what was done.
    pub(crate) fn whole(&mut self, original: &InMemDicomObject, class: &str) -> InMemDicomObject {
        let mut object = self.object(original, Place::Object(class), None);
        if self.profile.subject == Subject::Pseudonym {
            for (tag, vr) in [(t::PATIENT_NAME, VR::PN), (t::PATIENT_ID, VR::LO)] {
                if original.get(tag).is_some() && !self.profile.overrides.contains_key(&tag) {
                    object.put(dummy::text(tag, vr, &self.subject));
                    self.changes.note(tag, Done::Replaced);
                }
            }
        }
        object
    }

    fn object(
        &mut self,
        from: &InMemDicomObject,
        place: Place<'_>,
        content: Option<Mode>,
    ) -> InMemDicomObject {
        let spot = Spot { place, content, coded: unlisted::is_standard_code(from) };
        let mut to = InMemDicomObject::new_empty();
        for element in from {
            let tag = element.header().tag;
            if is_written_anew(tag) {
                continue;
            }
            let element = &*as_known(element);
            let made = if tag.group() % 2 == 1 {
                self.private(from, element, &mut to)
            } else {
                self.element(from, element, spot)
            };
            if let Some(made) = made {
                to.put(made);
            }
        }
        to
    }

    fn element(
        &mut self,
        from: &InMemDicomObject,
        element: &InMemElement,
        spot: Spot<'_>,
    ) -> Option<InMemElement> {
        let tag = element.header().tag;
        if let Some(exception) = self.profile.overrides.get(&tag) {
            return self.exception(element, exception);
        }
        if let Some(mode) = spot.content.filter(|_| content::is_value(tag)) {
            return self.content_value(element, mode);
        }
        match row(tag) {
            Some(row) => self.listed(from, element, row, spot.place),
            None => self.unlisted(element, spot),
        }
    }

    fn exception(&mut self, element: &InMemElement, what: &Override) -> Option<InMemElement> {
        let (tag, vr) = (element.header().tag, element.vr());
        match what {
            Override::Step(Step::Keep) if vr == VR::SQ => self.items(element),
            Override::Step(Step::Keep) => Some(element.clone()),
            Override::Step(Step::Empty) => self.emptied(element),
            Override::Step(_) => self.removed(tag),
            Override::Replace(value) => {
                self.changes.note(tag, Done::Replaced);
                let values: Vec<String> = value.split('\\').map(str::to_owned).collect();
                Some(DataElement::new(tag, vr, PrimitiveValue::Strs(values.into())))
            }
        }
    }

    /// A sequence with each item walked through.
    fn items(&mut self, element: &InMemElement) -> Option<InMemElement> {
        let tag = element.header().tag;
        // A sequence that holds something else than items cannot be looked into.
        let Some(items) = element.items() else { return self.removed(tag) };
        let mut made = Vec::with_capacity(items.len());
        for item in items {
            let content = match content::item(item, self.profile.options) {
                Item::Remove if !self.positions => {
                    self.changes.note(tag, Done::Cleaned);
                    continue;
                }
                Item::Remove => Some(Mode::Dummy),
                Item::Content(mode) => Some(mode),
                Item::Plain => None,
            };
            made.push(self.object(item, Place::Item(tag), content));
        }
        if made.is_empty() && !items.is_empty() {
            return self.removed(tag);
        }
        Some(dummy::sequence(tag, made))
    }

    fn removed(&mut self, tag: Tag) -> Option<InMemElement> {
        self.changes.note(tag, Done::Removed);
        None
    }

    fn emptied(&mut self, element: &InMemElement) -> Option<InMemElement> {
        let (tag, vr) = (element.header().tag, element.vr());
        if !element.is_empty() {
            self.changes.note(tag, Done::Emptied);
        }
        Some(match vr {
            VR::SQ => dummy::sequence(tag, Vec::new()),
            _ => DataElement::new(tag, vr, PrimitiveValue::Empty),
        })
    }

    /// Other texts for those of an element; none if one of them has none.
    fn retold(
        &mut self,
        element: &InMemElement,
        done: Done,
        mut tell: impl FnMut(&mut Self, &str) -> Option<String>,
    ) -> Option<InMemElement> {
        let (tag, vr) = (element.header().tag, element.vr());
        let before = element_texts(element)?;
        let mut after = Vec::with_capacity(before.len());
        for text in &before {
            after.push(if text.is_empty() { String::new() } else { tell(self, text)? });
        }
        if after != before {
            self.changes.note(tag, done);
        }
        let value = match vr {
            VR::LT | VR::ST | VR::UT | VR::UR => PrimitiveValue::from(after.join("\\")),
            _ => PrimitiveValue::Strs(after.into()),
        };
        Some(DataElement::new(tag, vr, value))
    }
}

/// Elements that the writer makes itself, and lengths that are wrong once something is gone.
fn is_written_anew(tag: Tag) -> bool {
    tag.element() == 0
        || matches!(tag.group(), 0x0000..=0x0007)
        || matches!(
            tag,
            Tag(0x0008, 0x0001)
                | t::SPECIFIC_CHARACTER_SET
                | t::PATIENT_IDENTITY_REMOVED
                | t::DEIDENTIFICATION_METHOD
                | t::DEIDENTIFICATION_METHOD_CODE_SEQUENCE
                | t::LONGITUDINAL_TEMPORAL_INFORMATION_MODIFIED
                | t::EXTENDED_OFFSET_TABLE
                | t::EXTENDED_OFFSET_TABLE_LENGTHS
        )
}
