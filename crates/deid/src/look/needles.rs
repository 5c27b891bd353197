//! What is searched: each identifying value in every form that it may have in a file.

use std::collections::{BTreeMap, HashSet};

use aho_corasick::{AhoCorasick, AhoCorasickKind, MatchKind};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use dicom_core::Tag;
use dicom_dictionary_std::tags as t;
use dicom_encoding::text::{SpecificCharacterSet, TextCodec};
use dicom_object::InMemDicomObject;

use super::grams::Grams;
use crate::engine::words::is_term;
use crate::identity::{Fact, Sort};
use crate::values::texts;

/// The character set of an original, by its code; empty for none.
pub(crate) type Charset = Option<SpecificCharacterSet>;

/// The character set that an original names first.
pub(crate) fn charset(original: &InMemDicomObject) -> Charset {
    let codes = texts(original, t::SPECIFIC_CHARACTER_SET)?;
    codes.iter().find(|c| !c.is_empty()).and_then(|code| SpecificCharacterSet::from_code(code))
}

/// What must stand around a match.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Edge {
    /// Anything: the end of an escape sequence is a letter.
    Free,
    /// No letter.
    Word,
    /// No digit.
    Number,
    /// No digit before; a time may follow.
    Date,
    /// It is the start of a UID, which is compared whole.
    Uid,
}

/// How a value is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// One byte a character, or UTF-8.
    Bytes,
    /// UTF-16, least significant byte first.
    Utf16Le,
    /// UTF-16, most significant byte first.
    Utf16Be,
    /// Base64, which knows capitals.
    Base64,
}

/// One thing to search for, before it has a form.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Searched {
    pub(crate) text: String,
    pub(crate) edge: Edge,
    pub(crate) tag: Tag,
}

pub(crate) struct Needle {
    pub(crate) form: Form,
    pub(crate) edge: Edge,
    pub(crate) tag: Tag,
    pub(crate) bytes: Vec<u8>,
}

/// A searching machine for a list of things.
pub(crate) struct Needles {
    searched: Vec<Searched>,
    charset: Charset,
    pub(crate) list: Vec<Needle>,
    /// None if there is nothing to search for.
    pub(crate) machine: Option<AhoCorasick>,
    pub(super) grams: Grams,
    pub(crate) longest: usize,
}

/// Bytes of a UID that are searched; the whole is compared at a match.
const UID_START: usize = 16;

/// The list of what is searched for facts, sorted; see the module above for what is left out.
pub(crate) fn searched(facts: &[Fact], own: &[String], meant: &HashSet<String>) -> Vec<Searched> {
    let own: HashSet<String> = own.iter().flat_map(|t| words(&t.to_uppercase())).collect();
    let mut all = BTreeMap::new();
    let mut add = |text: &str, edge, tag| {
        if !own.contains(&text.to_uppercase()) {
            all.entry((text.to_owned(), edge)).or_insert(tag);
        }
    };
    for Fact { sort, text, tag } in facts {
        let tag = *tag;
        match sort {
            Sort::Name => {
                let plain = without_escapes(text);
                // Between escape sequences a caret may be half a character.
                for piece in plain.split('\u{1b}').filter(|p| text.contains('\u{1b}') && p.len() >= 5) {
                    add(piece, Edge::Free, tag);
                }
                for name in plain.replace('\u{1b}', "^").split('=') {
                    let parts: Vec<&str> =
                        name.split(['^', ' ', ',', '-', '.']).filter(|p| !p.is_empty()).collect();
                    if parts.len() > 1 {
                        add(name.trim_end_matches('^'), Edge::Word, tag);
                        add(&parts.join(" "), Edge::Word, tag);
                    }
                    for part in parts.into_iter().filter(|p| is_long(p) && !is_term(&p.to_uppercase())) {
                        add(part, Edge::Word, tag);
                    }
                }
            }
            Sort::Number => number(text, |text, edge| add(text, edge, tag)),
            Sort::Place => {
                let terms = words(&text.to_uppercase()).all(|w| is_term(&w));
                if text.chars().count() >= 6 && !terms {
                    add(text, Edge::Word, tag);
                }
            }
            Sort::Birth => notations(text).iter().for_each(|text| add(text, Edge::Date, tag)),
            Sort::Date if text.len() == 8 && !meant.contains(text) && text != "19000101" => {
                add(text, Edge::Date, tag);
            }
            Sort::Date => {}
            Sort::Uid if text.len() >= 8 && text.is_ascii() => {
                add(&text[..text.len().min(UID_START)], Edge::Uid, tag);
            }
            Sort::Uid => {}
        }
    }
    all.into_iter().map(|((text, edge), tag)| Searched { text, edge, tag }).collect()
}

/// A name of ISO 2022 with its escape sequences (PS3.5 §6.1.2.5) shortened to the escape itself.
fn without_escapes(text: &str) -> String {
    let (mut plain, mut inside) = (String::with_capacity(text.len()), false);
    for c in text.chars() {
        match c {
            '\u{1b}' => {
                inside = true;
                plain.push(c);
            }
            // Intermediate characters, then a final one.
            ' '..='/' if inside => {}
            _ if inside => inside = false,
            _ => plain.push(c),
        }
    }
    plain
}

fn words(text: &str) -> impl Iterator<Item = String> + use<> {
    let words: Vec<String> =
        text.split(|c: char| !c.is_alphanumeric()).filter(|w| !w.is_empty()).map(str::to_owned).collect();
    words.into_iter()
}

/// Four letters, or two of a script where a name is as short as that.
fn is_long(word: &str) -> bool {
    word.chars().count() >= if word.is_ascii() { 4 } else { 2 } && word.len() >= 4
}

/// A number or code, as it is and without the signs in it.
fn number(text: &str, mut add: impl FnMut(&str, Edge)) {
    let plain: String = text.chars().filter(|c| c.is_alphanumeric()).collect();
    for text in [text, plain.as_str()] {
        let digits = text.bytes().all(|b| b.is_ascii_digit());
        match text.chars().count() {
            n if digits && n >= 7 => add(text, Edge::Number),
            // Letters alone may be somebody's word for everything.
            n if !digits && n >= 5 && text.bytes().any(|b| b.is_ascii_digit()) => add(text, Edge::Word),
            n if !digits && n >= 8 => add(text, Edge::Word),
            _ => {}
        }
    }
}

/// The ways a day is written.
fn notations(date: &str) -> Vec<String> {
    if date.len() != 8 || !date.bytes().all(|b| b.is_ascii_digit()) {
        return Vec::new();
    }
    let (y, m, d) = (&date[..4], &date[4..6], &date[6..]);
    vec![
        date.to_owned(),
        format!("{y}-{m}-{d}"),
        format!("{y}/{m}/{d}"),
        format!("{y}.{m}.{d}"),
        format!("{d}.{m}.{y}"),
        format!("{d}/{m}/{y}"),
        format!("{d}-{m}-{y}"),
        format!("{m}/{d}/{y}"),
    ]
}

impl Needles {
    pub(crate) fn new(searched: Vec<Searched>, charset: Charset) -> Self {
        let list: Vec<Needle> = searched.iter().flat_map(|s| forms(s, charset.as_ref())).collect();
        let machine = AhoCorasick::builder()
            .ascii_case_insensitive(true)
            .match_kind(MatchKind::Standard)
            .kind(Some(AhoCorasickKind::DFA))
            .build(list.iter().map(|n| &n.bytes))
            .ok()
            .filter(|_| !list.is_empty());
        let longest = list.iter().map(|n| n.bytes.len()).max().unwrap_or(0);
        let grams = Grams::of(list.iter().map(|n| n.bytes.as_slice()));
        Self { searched, charset, list, machine, grams, longest }
    }

    /// Whether these are the needles of a list.
    pub(crate) fn are(&self, searched: &[Searched], charset: &Charset) -> bool {
        self.charset == *charset && self.searched == searched
    }
}

fn forms(searched: &Searched, charset: Option<&SpecificCharacterSet>) -> Vec<Needle> {
    let mut all: Vec<Needle> = Vec::new();
    let mut add = |form, bytes: Vec<u8>| {
        if !all.iter().any(|n| n.bytes == bytes) {
            all.push(Needle { form, edge: searched.edge, tag: searched.tag, bytes });
        }
    };
    let text = &searched.text;
    let (upper, lower) = (text.to_uppercase(), text.to_lowercase());
    // The machine does not mind capitals among ASCII; others are searched in both.
    let cases: Vec<&String> = if text.is_ascii() { vec![text] } else { vec![text, &upper, &lower] };
    for text in cases {
        add(Form::Bytes, text.clone().into_bytes());
        if let Some(bytes) = charset.and_then(|c| c.encode(text).ok()) {
            add(Form::Bytes, bytes);
        }
        // Also as it is where the reader took one character set for another.
        if text.chars().all(|c| u32::from(c) < 256) {
            add(Form::Bytes, text.chars().map(|c| u32::from(c) as u8).collect());
        }
        add(Form::Utf16Le, text.encode_utf16().flat_map(u16::to_le_bytes).collect());
        add(Form::Utf16Be, text.encode_utf16().flat_map(u16::to_be_bytes).collect());
    }
    for text in [text, &upper, &lower, &title(text)] {
        for bytes in base64(text.as_bytes()) {
            add(Form::Base64, bytes);
        }
    }
    all
}

/// The part of a text's base64 that does not hang on what stands around it, at each of the three alignments.
fn base64(text: &[u8]) -> Vec<Vec<u8>> {
    let at = |skip: usize| {
        let mut padded = vec![0; skip];
        padded.extend_from_slice(text);
        let encoded = STANDARD_NO_PAD.encode(&padded);
        // Characters whose six bits are all of the text's.
        let (from, to) = ((skip * 8).div_ceil(6), padded.len() * 8 / 6);
        encoded.as_bytes().get(from..to).map(<[u8]>::to_vec)
    };
    (0..3).filter_map(at).filter(|b| b.len() >= 6).collect()
}

/// First letters as capitals.
fn title(text: &str) -> String {
    let mut start = true;
    let one = |c: char| {
        let cased: String = if start { c.to_uppercase().collect() } else { c.to_lowercase().collect() };
        start = !c.is_alphabetic();
        cased
    };
    text.chars().map(one).collect()
}
