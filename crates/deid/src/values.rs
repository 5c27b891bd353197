//! Values of an original made anew: only what has the form of a code, a number or words of a table passes.

use std::borrow::Cow;

use dicom_core::dictionary::DataDictionary;
use dicom_core::value::{PrimitiveValue, Value};
use dicom_core::{DataElement, Tag, VR};
use dicom_dictionary_std::StandardDataDictionary;
use dicom_object::InMemDicomObject;
use dicom_object::mem::InMemElement;

/// The text values of an element, without padding; none if it is absent, empty or no text.
pub(crate) fn texts(object: &InMemDicomObject, tag: Tag) -> Option<Vec<String>> {
    element_texts(object.get(tag)?)
}

/// As [`texts`], of an element.
pub(crate) fn element_texts(element: &InMemElement) -> Option<Vec<String>> {
    let trimmed = |t: &str| t.trim_matches(['\0', ' ']).to_owned();
    // Long text has one value, whatever signs it holds (PS3.5 §6.2).
    if matches!(element.vr(), VR::LT | VR::ST | VR::UT | VR::UR) {
        let text = element.to_str().ok()?;
        return (!text.is_empty()).then(|| vec![trimmed(&text)]);
    }
    let values: Vec<String> = match element.value() {
        // A sender that did not know the attribute wrote it as UN.
        Value::Primitive(PrimitiveValue::U8(bytes)) => {
            String::from_utf8_lossy(bytes).split('\\').map(trimmed).collect()
        }
        Value::Primitive(_) => element.to_multi_str().ok()?.iter().map(|t| trimmed(t)).collect(),
        _ => return None,
    };
    values.iter().any(|v| !v.is_empty()).then_some(values)
}

/// An element of the standard that its sender wrote as UN, with the representation that PS3.6 gives it. What cannot be
/// read so stays UN.
pub(crate) fn as_known(element: &InMemElement) -> Cow<'_, InMemElement> {
    let known = |tag| StandardDataDictionary.by_tag(tag).map(|e| e.vr.relaxed());
    let tag = element.header().tag;
    let bytes = match element.value() {
        Value::Primitive(PrimitiveValue::U8(bytes)) if element.vr() == VR::UN => bytes,
        _ => return Cow::Borrowed(element),
    };
    let Some(vr) = known(tag) else { return Cow::Borrowed(element) };
    let words = |numbers: Option<PrimitiveValue>| numbers.map(|value| DataElement::new(tag, vr, value));
    let made = match vr {
        VR::UN | VR::SQ | VR::SV | VR::UV | VR::OV | VR::OL => None,
        VR::OB => words(Some(PrimitiveValue::U8(bytes.clone()))),
        VR::AT => words(u16::from_bytes(bytes).filter(|n| n.len() % 2 == 0).map(|n| {
            PrimitiveValue::Tags(
                n.as_chunks::<2>().0.iter().map(|[group, element]| Tag(*group, *element)).collect(),
            )
        })),
        VR::US | VR::OW => words(u16::from_bytes(bytes).map(|n| PrimitiveValue::U16(n.into()))),
        VR::SS => words(
            u16::from_bytes(bytes)
                .map(|n| PrimitiveValue::I16(n.into_iter().map(|n| n.cast_signed()).collect())),
        ),
        VR::UL => words(u32::from_bytes(bytes).map(|n| PrimitiveValue::U32(n.into()))),
        VR::SL => words(i32::from_bytes(bytes).map(|n| PrimitiveValue::I32(n.into()))),
        VR::FL | VR::OF => words(f32::from_bytes(bytes).map(|n| PrimitiveValue::F32(n.into()))),
        VR::FD | VR::OD => words(f64::from_bytes(bytes).map(|n| PrimitiveValue::F64(n.into()))),
        _ => element_texts(element).map(|t| DataElement::new(tag, vr, PrimitiveValue::Strs(t.into()))),
    };
    made.map_or(Cow::Borrowed(element), Cow::Owned)
}

/// Whether a UID is one of the standard's own: it tells nothing about anybody.
pub(crate) fn is_standard_uid(text: &str) -> bool {
    text.starts_with(STANDARD_ROOT)
}

/// UIDs of the standard lie under this root (PS3.6 Annex A).
const STANDARD_ROOT: &str = "1.2.840.10008.";

/// A code string (PS3.5 §6.2, VR CS): at most 16 capitals, digits, spaces and underscores.
pub(crate) fn code(text: &str) -> Option<String> {
    let upper = text.trim_matches(['\0', ' ']).to_ascii_uppercase();
    let allowed = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == ' ' || c == '_';
    (!upper.is_empty() && upper.len() <= 16 && upper.chars().all(allowed)).then_some(upper)
}

/// A decimal string (VR DS): a number of at most 16 characters, as it was written where it fits.
pub(crate) fn decimal(text: &str) -> Option<String> {
    let number: f64 = text.parse().ok().filter(|n: &f64| n.is_finite())?;
    let plain = text.bytes().all(|b| b.is_ascii_digit() || b"+-.eE".contains(&b));
    if plain && text.len() <= 16 {
        return Some(text.to_owned());
    }
    let shortest = format!("{number}");
    let shorter = if shortest.len() <= 16 { shortest } else { format!("{number:.8e}") };
    (shorter.len() <= 16).then_some(shorter)
}

/// An integer string (VR IS).
pub(crate) fn integer(text: &str) -> Option<String> {
    text.parse::<i32>().ok().map(|n| n.to_string())
}

/// The numbers of a binary element, or of the bytes of one that a sender wrote as UN (little endian, PS3.5 §6.2.2).
pub(crate) trait Number: Sized + Copy {
    /// The value as it is in memory.
    fn exact(value: &PrimitiveValue) -> Option<Vec<Self>>;
    /// The value of little-endian bytes.
    fn from_bytes(bytes: &[u8]) -> Option<Vec<Self>>;
}

macro_rules! number {
    ($type:ty, $($variant:ident)|+) => {
        impl Number for $type {
            fn exact(value: &PrimitiveValue) -> Option<Vec<Self>> {
                match value {
                    $(PrimitiveValue::$variant(v) => Some(v.iter().map(|n| *n as $type).collect()),)+
                    _ => None,
                }
            }
            fn from_bytes(bytes: &[u8]) -> Option<Vec<Self>> {
                let (whole, rest) = bytes.as_chunks();
                rest.is_empty().then(|| whole.iter().map(|b| <$type>::from_le_bytes(*b)).collect())
            }
        }
    };
}

// Words of a table keep their bits; whether they have a sign, Pixel Representation tells.
number!(u16, U16 | I16);
number!(u32, U32);
number!(i32, I32);
number!(f32, F32);
number!(f64, F64);

/// The numbers of an element; none if it is absent, empty or of another kind.
pub(crate) fn numbers<T: Number>(element: &InMemElement) -> Option<Vec<T>> {
    let numbers = match element.value() {
        Value::Primitive(PrimitiveValue::U8(bytes)) => T::from_bytes(bytes),
        Value::Primitive(value) => T::exact(value),
        _ => None,
    };
    numbers.filter(|n| !n.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_codes_and_numbers_pass() {
        assert_eq!(code("Chest "), Some("CHEST".into()));
        for no in ["", "DOE^JOHN", "Müller", "1970-01-31", "A VERY LONG VALUE"] {
            assert_eq!(code(no), None, "{no}");
        }
        assert_eq!(decimal("1.50"), Some("1.50".into()));
        assert_eq!(decimal("0.12345678901234567890"), Some("1.23456789e-1".into()));
        for no in ["", "inf", "NaN", "1.5 JOHN", "0x12"] {
            assert_eq!(decimal(no), None, "{no}");
        }
        assert_eq!(integer("007"), Some("7".into()));
        assert_eq!(integer("7.5"), None);
    }
}
