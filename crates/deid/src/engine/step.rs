//! What Table E.1-1 asks for, done.

use dicom_core::header::HasLength;
use dicom_core::{DataElement, VR};
use dicom_dictionary_std::tags as t;
use dicom_object::InMemDicomObject;
use dicom_object::mem::InMemElement;

use super::content::Mode;
use super::{Engine, Spot, dates, dummy, graphics, unlisted, words};
use crate::UidKind;
use crate::profile::{Action, Place, ProfileOption, Row, Step, need, row};
use crate::report::Done;

impl Engine<'_> {
    /// An attribute that the table lists.
    pub(super) fn listed(
        &mut self,
        from: &InMemDicomObject,
        element: &InMemElement,
        row: &Row,
        place: Place<'_>,
    ) -> Option<InMemElement> {
        let tag = element.header().tag;
        // A group of overlays or curves cannot be looked into; cleaning it is removing it.
        if matches!(tag.group(), 0x5000..=0x50FF | 0x6000..=0x60FF) {
            return self.removed(tag);
        }
        let resolve = |action: Action| action.resolve(need(place, tag));
        match resolve(row.action(self.profile.options)) {
            Step::Keep => match self.kept(element) {
                Some(kept) => Some(kept),
                None => self.basic(from, element, resolve(row.basic), place),
            },
            Step::Clean => match self.cleaned(element) {
                Some(cleaned) => Some(cleaned),
                None => self.basic(from, element, resolve(row.basic), place),
            },
            step => self.basic(from, element, step, place),
        }
    }

    /// A step of the Basic Profile.
    fn basic(
        &mut self,
        from: &InMemDicomObject,
        element: &InMemElement,
        step: Step,
        place: Place<'_>,
    ) -> Option<InMemElement> {
        match step {
            Step::Remove | Step::Keep | Step::Clean => self.removed(element.header().tag),
            Step::Empty => self.emptied(element),
            Step::Uid => self.with_mapped_uids(element, place),
            Step::Dummy => self.dummy(from, element, place),
        }
    }

    /// A UID, or a sequence that refers to other objects.
    fn with_mapped_uids(&mut self, element: &InMemElement, place: Place<'_>) -> Option<InMemElement> {
        if element.vr() == VR::SQ { self.items(element) } else { self.mapped(element, place) }
    }

    pub(super) fn mapped(&mut self, element: &InMemElement, place: Place<'_>) -> Option<InMemElement> {
        let tag = element.header().tag;
        let kind = super::uid_kind(tag, around(place));
        self.mapped_as(element, kind)
    }

    fn mapped_as(&mut self, element: &InMemElement, kind: UidKind) -> Option<InMemElement> {
        if element.is_empty() {
            return Some(element.clone());
        }
        self.retold(element, Done::Mapped, |engine, text| Some(super::mapped_uid(engine.key, kind, text)))
    }

    /// A dummy value where there was a value.
    pub(super) fn dummy(
        &mut self,
        from: &InMemDicomObject,
        element: &InMemElement,
        place: Place<'_>,
    ) -> Option<InMemElement> {
        let (tag, vr) = (element.header().tag, element.vr());
        if element.is_empty() {
            return Some(element.clone());
        }
        if vr == VR::UI {
            return self.mapped(element, place);
        }
        self.changes.note(tag, Done::Dummy);
        if vr == VR::SQ {
            let items = element.items().unwrap_or_default();
            return Some(match tag {
                t::CONTENT_SEQUENCE => dummy::content(),
                t::GRAPHIC_ANNOTATION_SEQUENCE => dummy::graphics(items),
                _ => dummy::sequence(tag, items.iter().map(|item| self.scrubbed(item, tag)).collect()),
            });
        }
        let value =
            if tag == t::ENCAPSULATED_DOCUMENT { Some(dummy::document(from)) } else { dummy::value(vr) };
        value.map(|value| DataElement::new(tag, vr, value))
    }

    /// An item of a sequence that must have one: the same attributes, none of the values.
    fn scrubbed(&mut self, item: &InMemDicomObject, sequence: dicom_core::Tag) -> InMemDicomObject {
        if [t::CODE_VALUE, t::LONG_CODE_VALUE, t::URN_CODE_VALUE].iter().any(|tag| item.get(*tag).is_some()) {
            return dummy::removed_code();
        }
        let mut to = InMemDicomObject::new_empty();
        for element in item.iter().filter(|e| e.header().tag.group() % 2 == 0) {
            let place = Place::Item(sequence);
            let made = match element.vr() {
                VR::SQ | VR::UI => self.dummy(item, element, place),
                VR::UN => None,
                VR::CS if row(element.header().tag).is_none() => {
                    self.unlisted(element, Spot { place, content: None, coded: false })
                }
                _ if element.is_empty() || unlisted::is_measure(element) => Some(element.clone()),
                vr => dummy::value(vr).map(|value| DataElement::new(element.header().tag, vr, value)),
            };
            if let Some(made) = made {
                to.put(made);
            }
        }
        to
    }

    /// What an option keeps; none where the value has not the form that it should have, or repeats the patient's identity.
    fn kept(&mut self, element: &InMemElement) -> Option<InMemElement> {
        match element.vr() {
            VR::SQ => self.items(element),
            _ if element.is_empty() => Some(element.clone()),
            VR::AS => self.retold(element, Done::Cleaned, |_, text| dates::age(text)),
            VR::DA | VR::TM | VR::DT => self.time(element, |text| Some(text.to_owned())),
            VR::UI => {
                let text = element.to_str().ok()?;
                text.bytes()
                    .all(|b| b.is_ascii_digit() || matches!(b, b'.' | b'\\' | b' ' | 0))
                    .then(|| element.clone())
            }
            VR::UN => None,
            vr if unlisted::is_text(vr) => {
                let text = element.to_str().ok()?;
                let fits = vr != VR::CS || text.split('\\').all(|code| code.len() <= 16);
                (fits && !self.words.repeated_by(&text)).then(|| element.clone())
            }
            VR::DS | VR::IS => unlisted::is_number(element).then(|| element.clone()),
            _ => Some(element.clone()),
        }
    }

    /// What an option cleans; none where nothing can stay.
    fn cleaned(&mut self, element: &InMemElement) -> Option<InMemElement> {
        let tag = element.header().tag;
        match element.vr() {
            VR::SQ if tag == t::GRAPHIC_ANNOTATION_SEQUENCE => self.graphics(element),
            VR::SQ => self.items(element),
            _ if element.is_empty() => Some(element.clone()),
            VR::DA | VR::DT => {
                let days = self.days;
                self.time(element, |text| dates::moved(text, days))
            }
            VR::TM => self.time(element, |text| Some(text.to_owned())),
            _ if tag == t::TIMEZONE_OFFSET_FROM_UTC => self.time(element, |text| Some(text.to_owned())),
            VR::AE => self.retold(element, Done::Cleaned, |engine, text| {
                (!engine.words.repeated_by(text)).then(|| text.to_owned())
            }),
            vr if unlisted::is_text(vr) => self.described(element),
            _ => None,
        }
    }

    /// Dates and times of their form alone, told anew.
    fn time(
        &mut self,
        element: &InMemElement,
        tell: impl Fn(&str) -> Option<String>,
    ) -> Option<InMemElement> {
        let dated = element.vr() != VR::TM;
        self.retold(element, Done::Moved, |engine, text| {
            let told = tell(text).filter(|t| dates::is_time(t))?;
            if dated {
                engine.dates.insert(told.chars().take(8).collect());
            }
            Some(told)
        })
    }

    /// A description by the terms in it; none if there is no term.
    pub(super) fn described(&mut self, element: &InMemElement) -> Option<InMemElement> {
        let texts = crate::values::element_texts(element)?;
        let words = self.words;
        let after: Vec<String> = texts.iter().map(|text| words::clean(text, words)).collect();
        if after.iter().all(String::is_empty) {
            return None;
        }
        self.retold(element, Done::Cleaned, |_, text| Some(words::clean(text, words)))
    }

    /// The value of a content item.
    pub(super) fn content_value(&mut self, element: &InMemElement, mode: Mode) -> Option<InMemElement> {
        let (tag, vr) = (element.header().tag, element.vr());
        let dummy = |engine: &mut Self| match vr {
            VR::UI => engine.mapped_as(element, UidKind::Other),
            _ if element.is_empty() => Some(element.clone()),
            _ => {
                engine.changes.note(tag, Done::Dummy);
                dummy::value(vr).map(|value| DataElement::new(tag, vr, value))
            }
        };
        let full = self.profile.options.has(ProfileOption::RetainDatesFull);
        let made = match (mode, tag) {
            (Mode::Dummy, _) | (Mode::ByType, t::PERSON_NAME) => None,
            (Mode::ByType, t::TEXT_VALUE) | (Mode::Clean, _) => self.cleaned(element),
            (Mode::Keep, t::TEXT_VALUE | t::UID) => self.kept(element),
            (Mode::Keep, t::DATE | t::TIME | t::DATE_TIME) if full => self.kept(element),
            (Mode::Keep, _) => None,
            (Mode::ByType, _) => {
                let row = row(tag)?;
                match row.action(self.profile.options) {
                    Action::Keep => self.kept(element),
                    Action::Clean => self.cleaned(element),
                    _ => None,
                }
            }
        };
        made.or_else(|| dummy(self))
    }

    fn graphics(&mut self, element: &InMemElement) -> Option<InMemElement> {
        let items = graphics::without_text(element.items()?);
        self.changes.note(element.header().tag, Done::Cleaned);
        let element = dummy::sequence(t::GRAPHIC_ANNOTATION_SEQUENCE, items);
        self.items(&element)
    }
}

/// The sequence around a place.
fn around(place: Place<'_>) -> Option<dicom_core::Tag> {
    match place {
        Place::Object(_) => None,
        Place::Item(sequence) => Some(sequence),
    }
}
