//! Attributes that no table lists: kept where they cannot tell, else decided against.

use dicom_core::dictionary::{DataDictionary, VirtualVr};
use dicom_core::header::HasLength;
use dicom_core::value::{PrimitiveValue, Value};
use dicom_core::{DataElement, Tag, VR};
use dicom_dictionary_std::{StandardDataDictionary, tags as t};
use dicom_object::InMemDicomObject;
use dicom_object::mem::InMemElement;

use super::{Engine, Spot, dates, dummy, words};
use crate::identity::is_vocabulary;
use crate::profile::{ProfileOption, Unlisted};
use crate::report::Done;
use crate::values::{element_texts, texts};

/// Coding schemes of bodies that publish them (PS3.16 §8): their codes were chosen from a list, not typed.
const SCHEMES: [&str; 34] = [
    "DCM",
    "SCT",
    "SRT",
    "SNM3",
    "SNM",
    "99SDM",
    "LN",
    "UCUM",
    "RADLEX",
    "FMA",
    "UMLS",
    "NCIt",
    "I9",
    "I9C",
    "I10",
    "I10P",
    "ICD10",
    "I11",
    "ICDO3",
    "BI",
    "MDC",
    "NEU",
    "UNS",
    "C4",
    "CPT4",
    "C5",
    "MSH",
    "ACR",
    "POS",
    "PATHLEX",
    "RXNORM",
    "ISO3166_1",
    "RFC5646",
    "RFC3066",
];

/// Attributes of a code (PS3.3 Table 8.8-1).
const CODE: [Tag; 6] = [
    t::CODE_VALUE,
    t::LONG_CODE_VALUE,
    t::URN_CODE_VALUE,
    t::CODING_SCHEME_DESIGNATOR,
    t::CODING_SCHEME_VERSION,
    t::CODE_MEANING,
];

/// Whether an item is a code of a coding scheme that somebody publishes.
pub(super) fn is_standard_code(item: &InMemDicomObject) -> bool {
    let scheme = texts(item, t::CODING_SCHEME_DESIGNATOR).and_then(|t| t.into_iter().next());
    scheme.is_some_and(|s| SCHEMES.contains(&s.as_str()))
}

/// Whether values of a VR are text that somebody may have typed.
pub(super) fn is_text(vr: VR) -> bool {
    matches!(vr, VR::CS | VR::LO | VR::SH | VR::ST | VR::LT | VR::UT | VR::UC | VR::UR | VR::PN | VR::AE)
}

/// Whether every value of a DS or IS is a number.
pub(super) fn is_number(element: &InMemElement) -> bool {
    let plain =
        |b: u8| b.is_ascii_digit() || matches!(b, b'+' | b'-' | b'.' | b'e' | b'E' | b' ' | b'\\' | 0);
    match element.value() {
        Value::Primitive(PrimitiveValue::Str(text)) => text.bytes().all(plain),
        Value::Primitive(PrimitiveValue::Strs(texts)) => texts.iter().all(|t| t.bytes().all(plain)),
        Value::Primitive(PrimitiveValue::U8(bytes)) => bytes.iter().copied().all(plain),
        Value::Primitive(_) => true,
        _ => false,
    }
}

impl Engine<'_> {
    pub(super) fn unlisted(&mut self, element: &InMemElement, spot: Spot<'_>) -> Option<InMemElement> {
        let (tag, vr) = (element.header().tag, element.vr());
        let Some(entry) = StandardDataDictionary.by_tag(tag) else { return self.removed(tag) };
        match vr {
            VR::SQ => self.items(element),
            _ if element.is_empty() => Some(element.clone()),
            VR::UI if is_vocabulary(tag, &element.to_str().unwrap_or_default()) => self.plain_uid(element),
            VR::UI => self.mapped(element, spot.place),
            VR::DS | VR::IS => {
                if is_number(element) {
                    Some(element.clone())
                } else {
                    self.removed(tag)
                }
            }
            VR::DA | VR::DT | VR::TM => self.unlisted_time(element),
            VR::AS | VR::AE | VR::UN => self.removed(tag),
            VR::CS => self.term(element, true),
            VR::LO | VR::SH | VR::UC | VR::UR if spot.coded && CODE.contains(&tag) => self.coded(element),
            VR::LO | VR::SH | VR::UC | VR::UR if self.profile.unlisted == Unlisted::Check => {
                self.term(element, false)
            }
            VR::LO | VR::SH | VR::UC if self.is_all_terms(element) => Some(element.clone()),
            VR::LO | VR::SH | VR::UC | VR::UR | VR::PN => self.replaced(element),
            VR::ST | VR::LT | VR::UT => self.long_text(element),
            _ if is_binary(element) && !is_read_as_text(entry.vr) => Some(element.clone()),
            // A number that is kept as text or bytes, or a text that calls itself a number, holds something else.
            _ => self.removed(tag),
        }
    }

    fn plain_uid(&mut self, element: &InMemElement) -> Option<InMemElement> {
        let plain = |t: &String| t.bytes().all(|b| b.is_ascii_digit() || b == b'.');
        match element_texts(element) {
            Some(texts) if texts.iter().all(plain) => Some(element.clone()),
            _ => self.removed(element.header().tag),
        }
    }

    /// A code of a published scheme is kept as it is, unless it is not even text.
    fn coded(&mut self, element: &InMemElement) -> Option<InMemElement> {
        let plain = |t: &String| !t.chars().any(char::is_control);
        match element_texts(element) {
            Some(texts) if texts.iter().all(plain) => Some(element.clone()),
            _ => self.replaced(element),
        }
    }

    /// Dates that the standard added after the table: as the table's own.
    fn unlisted_time(&mut self, element: &InMemElement) -> Option<InMemElement> {
        let (options, days) = (self.profile.options, self.days);
        let shifted = options.has(ProfileOption::RetainDatesModified);
        let kept = shifted || options.has(ProfileOption::RetainDatesFull);
        let told = kept.then(|| {
            self.retold(element, Done::Moved, |engine, text| {
                let moves = shifted && element.vr() != VR::TM;
                let told = if moves { dates::moved(text, days)? } else { text.to_owned() };
                engine.dates.insert(told.chars().take(8).collect());
                dates::is_time(&told).then_some(told)
            })
        });
        told.flatten().or_else(|| self.replaced(element))
    }

    /// A short text that looks like a term of the field, or nobody's business.
    fn term(&mut self, element: &InMemElement, code: bool) -> Option<InMemElement> {
        let fine = |t: &String| {
            let form = if code { t.len() <= 16 && t.is_ascii() } else { !looks_like_an_address(t) };
            form && !t.chars().any(char::is_control) && !self.words.repeated_by_term(t)
        };
        match element_texts(element) {
            Some(texts) if texts.iter().all(fine) => Some(element.clone()),
            // The terms of a code string are defined; a dummy is none of them.
            _ if code => self.removed(element.header().tag),
            _ => self.replaced(element),
        }
    }

    /// Such as Rescale Type (0028,1054), whose values are defined although it is no code string.
    fn is_all_terms(&self, element: &InMemElement) -> bool {
        let texts = element_texts(element).unwrap_or_default();
        texts.iter().all(|text| words::clean(text, self.words) == *text)
    }

    fn long_text(&mut self, element: &InMemElement) -> Option<InMemElement> {
        let clean = self.profile.options.has(ProfileOption::CleanDescriptors);
        let described = if clean { self.described(element) } else { None };
        described.or_else(|| self.replaced(element))
    }

    fn replaced(&mut self, element: &InMemElement) -> Option<InMemElement> {
        let (tag, vr) = (element.header().tag, element.vr());
        self.changes.note(tag, Done::Dummy);
        dummy::value(vr).map(|value| DataElement::new(tag, vr, value))
    }
}

/// Whether PS3.6 gives an attribute a representation of characters or items.
fn is_read_as_text(vr: VirtualVr) -> bool {
    use VR::{AS, DA, DS, DT, IS, SQ, TM, UI};
    matches!(vr, VirtualVr::Exact(vr) if is_text(vr) || matches!(vr, AS | DA | DS | DT | IS | SQ | TM | UI))
}

fn is_binary(element: &InMemElement) -> bool {
    use PrimitiveValue as P;
    match (element.vr(), element.value()) {
        (_, Value::Primitive(P::Str(_) | P::Strs(_))) => false,
        (VR::OB | VR::OW | VR::OF | VR::OD | VR::OL | VR::OV, _) => true,
        (_, Value::Primitive(P::U8(_))) => false,
        (_, Value::Primitive(_)) => true,
        _ => false,
    }
}

/// Whether an element holds numbers that nobody reads as text.
pub(super) fn is_measure(element: &InMemElement) -> bool {
    match element.vr() {
        VR::DS | VR::IS => is_number(element),
        VR::US | VR::SS | VR::UL | VR::SL | VR::FL | VR::FD | VR::AT | VR::SV | VR::UV => is_binary(element),
        _ => false,
    }
}

/// Mail and web addresses, telephone and record numbers, dates.
pub(super) fn looks_like_an_address(text: &str) -> bool {
    if text.contains('@') || text.contains("://") {
        return true;
    }
    let (mut run, mut longest, mut parts) = (0, 0, 0);
    let mut before = ' ';
    for c in text.chars() {
        if c.is_ascii_digit() {
            run += 1;
            // Three numbers in a row, held by the signs of a date.
            parts += usize::from(run == 1 && matches!(before, '-' | '/' | '.'));
        } else {
            run = 0;
            if !matches!(c, '-' | '/' | '.') {
                parts = 0;
            }
        }
        longest = longest.max(run);
        if longest >= 7 || parts >= 2 {
            return true;
        }
        before = c;
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_numbers_and_dates_are_seen() {
        for text in ["a@b.org", "http://x", "MRN1234567", "1.2.1980", "31/12/99", "555-123-4567"] {
            assert!(looks_like_an_address(text), "{text}");
        }
        for text in ["B70f", "VB17A", "2.5", "Br40d/3", "syngo CT 2012B", "T1 3D 1.5", "123456"] {
            assert!(!looks_like_an_address(text), "{text}");
        }
    }
}
