//! What in an original tells who the patient is: gathered once, for the engine that must not repeat it and for the second
//! look that must not find it.
//!
//! The list here is written by hand and apart from the profile's table, so that a gap of one is not a gap of the other.

use std::collections::{BTreeSet, HashSet};

use dicom_core::{Tag, VR};
use dicom_dictionary_std::tags as t;
use dicom_object::InMemDicomObject;
use dicom_object::mem::InMemElement;

use crate::engine::words::is_term;
use crate::values::{as_known, element_texts, is_standard_uid};

/// What kind of thing a value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Sort {
    /// A person's name.
    Name,
    /// A number or code that somebody gave the patient, the study or the order.
    Number,
    /// A place, an address, a device at a place.
    Place,
    /// When the patient was born.
    Birth,
    /// When something was done.
    Date,
    /// A UID.
    Uid,
}

/// A value of an original that tells who, where or when.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Fact {
    pub(crate) sort: Sort,
    pub(crate) text: String,
    /// Where it stands first.
    pub(crate) tag: Tag,
}

const NUMBERS: [Tag; 33] = [
    t::PATIENT_ID,
    // Other Patient IDs, retired and still sent.
    Tag(0x0010, 0x1000),
    t::PATIENT_TELEPHONE_NUMBERS,
    t::PATIENT_TELECOM_INFORMATION,
    // Medical Record Locator, retired.
    Tag(0x0010, 0x1090),
    // Insurance Plan Identification, retired.
    Tag(0x0010, 0x1050),
    t::ACCESSION_NUMBER,
    t::STUDY_ID,
    t::ADMISSION_ID,
    t::SERVICE_EPISODE_ID,
    t::REFERRING_PHYSICIAN_TELEPHONE_NUMBERS,
    t::PERSON_TELEPHONE_NUMBERS,
    t::PERSON_TELECOM_INFORMATION,
    t::ORDER_CALLBACK_PHONE_NUMBER,
    t::ORDER_CALLBACK_TELECOM_INFORMATION,
    t::REQUESTED_PROCEDURE_ID,
    t::SCHEDULED_PROCEDURE_STEP_ID,
    t::PERFORMED_PROCEDURE_STEP_ID,
    t::PLACER_ORDER_NUMBER_IMAGING_SERVICE_REQUEST,
    t::FILLER_ORDER_NUMBER_IMAGING_SERVICE_REQUEST,
    t::SPECIMEN_IDENTIFIER,
    // Specimen Accession Number, retired.
    Tag(0x0040, 0x050A),
    t::CONTAINER_IDENTIFIER,
    t::BARCODE_VALUE,
    t::LABEL_TEXT,
    t::CLINICAL_TRIAL_SUBJECT_ID,
    t::CLINICAL_TRIAL_SUBJECT_READING_ID,
    t::DEVICE_SERIAL_NUMBER,
    t::DETECTOR_ID,
    t::PLATE_ID,
    t::CASSETTE_ID,
    t::GANTRY_ID,
    // Results ID, retired.
    Tag(0x4008, 0x0040),
];

const PLACES: [Tag; 17] = [
    t::PATIENT_ADDRESS,
    t::REGION_OF_RESIDENCE,
    t::REFERRING_PHYSICIAN_ADDRESS,
    t::PERSON_ADDRESS,
    t::INSTITUTION_NAME,
    t::INSTITUTION_ADDRESS,
    t::INSTITUTIONAL_DEPARTMENT_NAME,
    t::STATION_NAME,
    t::STATION_AE_TITLE,
    t::PERFORMED_STATION_NAME,
    t::PERFORMED_STATION_AE_TITLE,
    t::SCHEDULED_STATION_NAME,
    t::SCHEDULED_STATION_AE_TITLE,
    t::PERFORMED_LOCATION,
    t::CURRENT_PATIENT_LOCATION,
    t::PATIENT_INSTITUTION_RESIDENCE,
    t::VERIFYING_ORGANIZATION,
];

/// Whether a UID names a vocabulary that everybody uses, and stands where one is named.
pub(crate) fn is_vocabulary(tag: Tag, uid: &str) -> bool {
    // HL7's registry of code systems, and the NCI Thesaurus.
    const ROOTS: [&str; 2] = ["2.16.840.1.113883.6.", "2.16.840.1.113883.3.26.1.1"];
    matches!(tag, t::CODING_SCHEME_UID | t::MAPPING_RESOURCE_UID)
        && ROOTS.iter().any(|root| uid.starts_with(root))
}

/// The facts of an original at all depths, but for the attributes that are `retained`.
pub(crate) fn facts(original: &InMemDicomObject, retained: &impl Fn(Tag) -> bool) -> Vec<Fact> {
    let (mut facts, mut seen) = (Vec::new(), HashSet::new());
    gather(original, retained, &mut |fact| {
        if seen.insert((fact.sort, fact.text.clone())) {
            facts.push(fact);
        }
    });
    facts
}

fn gather(object: &InMemDicomObject, retained: &impl Fn(Tag) -> bool, take: &mut impl FnMut(Fact)) {
    for element in object {
        for item in element.items().unwrap_or_default() {
            gather(item, retained, take);
        }
        let tag = element.header().tag;
        let element = &*as_known(element);
        let Some(sort) = sort(element).filter(|_| !retained(tag)) else { continue };
        for text in element_texts(element).unwrap_or_default() {
            let text = match sort {
                // The day; the time of it tells less than it repeats.
                Sort::Date | Sort::Birth => text.chars().filter(|c| *c != '.').take(8).collect(),
                Sort::Uid if is_standard_uid(&text) || is_vocabulary(tag, &text) => continue,
                _ => text,
            };
            if !text.is_empty() {
                take(Fact { sort, text, tag });
            }
        }
    }
}

fn sort(element: &InMemElement) -> Option<Sort> {
    let tag = element.header().tag;
    Some(match element.vr() {
        _ if matches!(tag, t::PATIENT_BIRTH_DATE) => Sort::Birth,
        VR::PN => Sort::Name,
        _ if matches!(tag, t::PATIENT_NAME | t::OTHER_PATIENT_NAMES | t::REFERRING_PHYSICIAN_NAME) => {
            Sort::Name
        }
        _ if NUMBERS.contains(&tag) => Sort::Number,
        _ if PLACES.contains(&tag) => Sort::Place,
        VR::DA | VR::DT => Sort::Date,
        VR::UI => Sort::Uid,
        _ => return None,
    })
}

/// What must not be readable in pixels: an attribute and a token of capitals and digits without a sign between them.
///
/// Words of fewer than four letters, numbers of fewer than five characters, terms of the field and UIDs are left out: chance and anatomy spell them.
pub(crate) fn readable(facts: &[Fact]) -> Vec<(Tag, String)> {
    let mut tokens = BTreeSet::new();
    for fact in facts {
        let upper = fact.text.to_uppercase();
        let words: Vec<&str> =
            upper.split(|c: char| !c.is_alphanumeric()).filter(|w| !w.is_empty()).collect();
        let mut add = |text: String, least: usize| {
            if text.chars().count() >= least && !is_term(&text) {
                tokens.insert((fact.tag, text));
            }
        };
        match fact.sort {
            Sort::Name => {
                words.iter().for_each(|word| add((*word).to_owned(), 4));
                if let [family, given, ..] = words[..] {
                    add(format!("{family}{given}"), 7);
                    add(format!("{given}{family}"), 7);
                }
            }
            Sort::Number if upper.bytes().any(|b| b.is_ascii_digit()) => add(words.concat(), 5),
            Sort::Place => words.iter().for_each(|word| add((*word).to_owned(), 5)),
            Sort::Birth | Sort::Date => written(&fact.text).into_iter().for_each(|date| add(date, 7)),
            Sort::Number | Sort::Uid => {}
        }
    }
    tokens.into_iter().collect()
}

/// A date YYYYMMDD as people and machines write it, without signs.
fn written(date: &str) -> Vec<String> {
    const MONTHS: [&str; 12] =
        ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"];
    let (Some(year), Some(month), Some(day)) = (date.get(..4), date.get(4..6), date.get(6..8)) else {
        return Vec::new();
    };
    let name = month.parse::<usize>().ok().and_then(|m| MONTHS.get(m.wrapping_sub(1)));
    let mut forms = vec![date[..8].to_owned(), format!("{day}{month}{year}"), format!("{month}{day}{year}")];
    forms.extend(
        name.into_iter().flat_map(|name| [format!("{day}{name}{year}"), format!("{name}{day}{year}")]),
    );
    forms
}

/// The words of an original that must not be repeated.
pub(crate) struct Words(BTreeSet<String>);

impl Words {
    /// The words of its names, numbers, places and birth date: three letters and more, or five digits and more.
    pub(crate) fn of(facts: &[Fact]) -> Self {
        let mut words = BTreeSet::new();
        for fact in facts {
            if matches!(fact.sort, Sort::Date | Sort::Uid) {
                continue;
            }
            // A department is called Radiology; that is no reason to lose the word.
            let telling = |w: &&str| fact.sort != Sort::Place || !is_term(w);
            words.extend(split(&fact.text.to_uppercase()).filter(telling).map(str::to_owned));
        }
        Self(words)
    }

    /// Whether a text holds one of them.
    pub(crate) fn repeated_by(&self, text: &str) -> bool {
        !self.0.is_empty() && split(&text.to_uppercase()).any(|word| self.0.contains(word))
    }

    /// As [`Self::repeated_by`], but terms of the field do not count: a patient may be called Head.
    pub(crate) fn repeated_by_term(&self, text: &str) -> bool {
        !self.0.is_empty() && split(&text.to_uppercase()).any(|word| self.0.contains(word) && !is_term(word))
    }
}

fn split(text: &str) -> impl Iterator<Item = &str> {
    let telling = |word: &&str| {
        let digits = word.bytes().all(|b| b.is_ascii_digit());
        word.chars().count() >= if digits { 5 } else { 3 }
    };
    text.split(|c: char| !c.is_alphanumeric()).filter(telling)
}

#[cfg(test)]
mod tests {
    use dicom_core::DataElement;
    use dicom_core::value::DataSetSequence;

    use super::*;

    fn put(object: &mut InMemDicomObject, tag: Tag, vr: VR, text: &str) {
        object.put(DataElement::new(tag, vr, text));
    }

    #[test]
    fn facts_come_from_every_depth_and_not_from_what_is_retained() {
        let (mut object, mut item) = (InMemDicomObject::new_empty(), InMemDicomObject::new_empty());
        put(&mut object, t::PATIENT_NAME, VR::PN, "Doe^Jane");
        put(&mut object, t::STATION_NAME, VR::SH, "SCANNER7");
        put(&mut object, t::STUDY_DATE, VR::DA, "20200131");
        put(&mut object, t::SOP_CLASS_UID, VR::UI, "1.2.840.10008.5.1.4.1.1.2");
        put(&mut item, Tag(0x0009, 0x1001), VR::PN, "Hidden^Name");
        put(&mut item, t::REFERENCED_SOP_INSTANCE_UID, VR::UI, "1.2.3.4");
        object.put(DataElement::new(Tag(0x0009, 0x1002), VR::SQ, DataSetSequence::from(vec![item])));
        let found = facts(&object, &|tag| tag == t::STATION_NAME);
        let mut texts: Vec<_> = found.iter().map(|f| f.text.as_str()).collect();
        texts.sort_unstable();
        assert_eq!(texts, ["1.2.3.4", "20200131", "Doe^Jane", "Hidden^Name"]);
    }

    #[test]
    fn what_must_not_be_read_has_no_signs_and_no_terms() {
        let fact = |sort, text: &str| Fact { sort, text: text.into(), tag: t::PATIENT_NAME };
        let tokens = readable(&[
            fact(Sort::Name, "Lee^Jane"),
            fact(Sort::Number, "12-345/6"),
            fact(Sort::Number, "7"),
            fact(Sort::Place, "Dept of Radiology Springfield"),
            fact(Sort::Birth, "19410203"),
            fact(Sort::Uid, "1.2.3.4.5.6.7"),
        ]);
        let tokens: Vec<_> = tokens.iter().map(|(_, text)| text.as_str()).collect();
        let dates = ["02031941", "03021941", "03FEB1941"];
        assert_eq!(tokens[..3], dates, "{tokens:?}");
        assert_eq!(
            tokens[3..],
            ["123456", "19410203", "FEB031941", "JANE", "JANELEE", "LEEJANE", "SPRINGFIELD"]
        );
    }

    #[test]
    fn words_are_whole_and_terms_are_forgiven_where_they_may_be() {
        let fact = |sort, text: &str| Fact { sort, text: text.into(), tag: t::PATIENT_NAME };
        let words = Words::of(&[
            fact(Sort::Name, "Head^Jane"),
            fact(Sort::Number, "7 12345"),
            fact(Sort::Place, "Dept of Radiology Springfield"),
        ]);
        assert!(
            words.repeated_by("seen by JANE") && words.repeated_by("12345/7") && words.repeated_by("head")
        );
        assert!(!words.repeated_by("janet 123456 7") && !words.repeated_by("radiology"));
        assert!(words.repeated_by("Springfield") && !words.repeated_by_term("head"));
    }
}
