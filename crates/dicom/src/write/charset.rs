//! Text of a source header as Unicode, ISO 2022 escapes included (PS3.5 §6.1.2.5).
//!
//! `dicom-object` decodes a data set with the first value of Specific Character Set (0008,0005)
//! and leaves escape sequences as they are. That decoding is undone here where an escape is found,
//! and done again run by run.

use dicom_core::Tag;
use dicom_dictionary_std::tags;
use dicom_encoding::text::{SpecificCharacterSet, TextCodec};
use dicom_object::InMemDicomObject;

const ESCAPE: u8 = 0x1b;

/// The value of a text attribute, values of a multiple one separated by `\`; none where it is absent or empty.
pub(crate) fn text_of(object: &InMemDicomObject, tag: Tag) -> Option<String> {
    let value = object.get(tag)?.value();
    let text = value.to_multi_str().ok()?.join("\\");
    let text = text.trim_matches([' ', '\0']);
    if text.is_empty() {
        return None;
    }
    Some(if text.contains('\u{1b}') { unescape(text, &first_charset(object)) } else { text.to_owned() })
}

fn first_charset(object: &InMemDicomObject) -> SpecificCharacterSet {
    object
        .get(tags::SPECIFIC_CHARACTER_SET)
        .and_then(|e| e.value().to_multi_str().ok())
        .and_then(|values| SpecificCharacterSet::from_code(values.first()?.trim()))
        .unwrap_or_default()
}

/// Decodes text that still has its escape sequences; `initial` is what it was decoded with.
fn unescape(text: &str, initial: &SpecificCharacterSet) -> String {
    let Ok(bytes) = initial.encode(text) else { return text.to_owned() };
    let mut out = String::new();
    let mut upper = initial.clone();
    let mut kanji: Option<&[u8]> = None;
    let mut rest = bytes.as_slice();
    while !rest.is_empty() {
        if let Some((escape, after)) = escape_at(rest) {
            match escape {
                Escape::Ascii => kanji = None,
                Escape::Kanji => kanji = Some(&rest[..rest.len() - after.len()]),
                Escape::Upper(code) => upper = SpecificCharacterSet::from_code(code).unwrap_or(upper),
            }
            rest = after;
            continue;
        }
        // A lone escape byte is no text and is dropped with the control characters.
        let end = rest.iter().skip(1).position(|&b| b == ESCAPE).map_or(rest.len(), |at| at + 1);
        out.push_str(&decode_run(&rest[..end], kanji, &upper));
        rest = &rest[end..];
    }
    out
}

fn decode_run(run: &[u8], kanji: Option<&[u8]>, upper: &SpecificCharacterSet) -> String {
    let decoded = match kanji {
        // The codec of ISO 2022 JP reads the escape itself.
        Some(escape) => {
            SpecificCharacterSet::from_code("ISO_IR 87").unwrap_or_default().decode(&[escape, run].concat())
        }
        None => upper.decode(run),
    };
    decoded.unwrap_or_default()
}

#[derive(Clone, Copy)]
enum Escape {
    /// ISO 646 or JIS X 0201 romaji in G0.
    Ascii,
    /// JIS X 0208 or JIS X 0212 in G0: two bytes a character.
    Kanji,
    /// A set in G1, for bytes above 0x7f.
    Upper(&'static str),
}

/// The escape sequence (PS3.3 §C.12.1.1.2) that the bytes begin with, and what follows it.
fn escape_at(bytes: &[u8]) -> Option<(Escape, &[u8])> {
    const TABLE: [(&[u8], Escape); 17] = [
        (b"\x1b(B", Escape::Ascii),
        (b"\x1b(J", Escape::Ascii),
        (b"\x1b$B", Escape::Kanji),
        (b"\x1b$@", Escape::Kanji),
        (b"\x1b$(D", Escape::Kanji),
        (b"\x1b)I", Escape::Upper("ISO_IR 13")),
        (b"\x1b$)C", Escape::Upper("ISO_IR 149")),
        (b"\x1b$)A", Escape::Upper("GBK")),
        (b"\x1b-A", Escape::Upper("ISO_IR 100")),
        (b"\x1b-B", Escape::Upper("ISO_IR 101")),
        (b"\x1b-C", Escape::Upper("ISO_IR 109")),
        (b"\x1b-D", Escape::Upper("ISO_IR 110")),
        (b"\x1b-F", Escape::Upper("ISO_IR 126")),
        (b"\x1b-G", Escape::Upper("ISO_IR 127")),
        (b"\x1b-H", Escape::Upper("ISO_IR 138")),
        (b"\x1b-L", Escape::Upper("ISO_IR 144")),
        (b"\x1b-T", Escape::Upper("ISO_IR 166")),
    ];
    TABLE.iter().find_map(|(prefix, escape)| Some((*escape, bytes.strip_prefix(*prefix)?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn latin(bytes: &[u8]) -> String {
        bytes.iter().map(|&b| char::from(b)).collect()
    }

    #[test]
    fn the_standards_examples_decode() {
        // PS3.5 §H.3.1, example 1.
        let japanese =
            b"Yamada^Tarou=\x1b$B;3ED\x1b(B^\x1b$BB@O:\x1b(B=\x1b$B$d$^$@\x1b(B^\x1b$B$?$m$&\x1b(B";
        let plain = SpecificCharacterSet::default();
        assert_eq!(unescape(&latin(japanese), &plain), "Yamada^Tarou=山田^太郎=やまだ^たろう");
        // PS3.5 §I.2, example 1.
        let korean =
            b"Hong^Gildong=\x1b$)C\xfb\xf3^\x1b$)C\xd1\xce\xd4\xd7=\x1b$)C\xc8\xab^\x1b$)C\xb1\xe6\xb5\xbf";
        assert_eq!(unescape(&latin(korean), &plain), "Hong^Gildong=洪^吉洞=홍^길동");
    }

    #[test]
    fn broken_escapes_end() {
        for bytes in [b"\x1b".as_slice(), b"\x1b\x1b\x1b", b"a\x1b$", b"\x1b$B;", b"\x1b-Z\xe9"] {
            unescape(&latin(bytes), &SpecificCharacterSet::default());
        }
    }
}
