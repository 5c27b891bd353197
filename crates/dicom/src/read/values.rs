//! Values of a data set as plain numbers and text, read leniently and by tag.

use dicom_core::dictionary::{DataDictionary, VirtualVr};
use dicom_core::value::{PrimitiveValue, Value};
use dicom_core::{Tag, VR};
use dicom_dictionary_std::StandardDataDictionary;
use dicom_object::InMemDicomObject;
use dicom_object::mem::InMemElement;

/// The text of an element, without padding; none if it is absent or empty.
pub(crate) fn text(object: &InMemDicomObject, tag: Tag) -> Option<String> {
    let element = object.get(tag)?;
    let text = match element.value() {
        Value::Primitive(PrimitiveValue::U8(bytes)) => String::from_utf8_lossy(bytes).into_owned(),
        _ => element.to_str().ok()?.into_owned(),
    };
    let text = text.trim_matches(['\0', ' ']).to_owned();
    (!text.is_empty()).then_some(text)
}

/// The values of a text element that are parted by backslashes.
pub(crate) fn texts(object: &InMemDicomObject, tag: Tag) -> Vec<String> {
    let Some(element) = object.get(tag) else { return Vec::new() };
    match element.to_multi_str() {
        Ok(values) => values.iter().map(|v| v.trim_matches(['\0', ' ']).to_owned()).collect(),
        Err(_) => Vec::new(),
    }
}

/// The numbers of an element; none if it is absent, empty, or holds something else.
pub(crate) fn numbers(object: &InMemDicomObject, tag: Tag) -> Option<Vec<f64>> {
    let element = object.get(tag)?;
    let values = match raw_words(element) {
        Some(words) => words.into_iter().map(f64::from).collect(),
        None => raw_text_numbers(element).or_else(|| element.to_multi_float64().ok())?,
    };
    (!values.is_empty()).then_some(values)
}

/// The first number of an element.
pub(crate) fn number(object: &InMemDicomObject, tag: Tag) -> Option<f64> {
    numbers(object, tag)?.first().copied().filter(|v| v.is_finite())
}

/// The first number of an element as a whole one that is not negative.
pub(crate) fn whole(object: &InMemDicomObject, tag: Tag) -> Option<u32> {
    let value = number(object, tag)?;
    (value.fract() == 0.0 && (0.0..=f64::from(u32::MAX)).contains(&value)).then_some(value as u32)
}

/// 16-bit words of an element: lookup tables come as US, SS, OW or UN.
pub(crate) fn words(object: &InMemDicomObject, tag: Tag) -> Option<Vec<u16>> {
    let element = object.get(tag)?;
    match element.value() {
        Value::Primitive(PrimitiveValue::U16(v)) => Some(v.to_vec()),
        Value::Primitive(PrimitiveValue::I16(v)) => Some(v.iter().map(|x| *x as u16).collect()),
        Value::Primitive(PrimitiveValue::U8(v)) => {
            Some(v.chunks_exact(2).map(|p| u16::from_le_bytes([p[0], p[1]])).collect())
        }
        Value::Primitive(_) => {
            Some(element.to_multi_int::<i32>().ok()?.into_iter().map(|x| x as u16).collect())
        }
        _ => None,
    }
}

/// The words of an element that a sender wrote as UN, as bytes (always little endian, PS3.5 §6.2.2).
fn raw_words(element: &InMemElement) -> Option<Vec<u16>> {
    if element.vr() != VR::UN {
        return None;
    }
    let vr = StandardDataDictionary.by_tag(element.header().tag)?.vr;
    let words = matches!(vr, VirtualVr::Exact(VR::US | VR::SS) | VirtualVr::Xs | VirtualVr::Ox);
    match element.value() {
        Value::Primitive(PrimitiveValue::U8(v)) if words => {
            Some(v.chunks_exact(2).map(|p| u16::from_le_bytes([p[0], p[1]])).collect())
        }
        _ => None,
    }
}

/// The numbers of a text element that a sender wrote as UN.
fn raw_text_numbers(element: &InMemElement) -> Option<Vec<f64>> {
    match element.value() {
        Value::Primitive(PrimitiveValue::U8(v)) if element.vr() == VR::UN => {
            let text = std::str::from_utf8(v).ok()?.trim_matches(['\0', ' ']);
            text.split('\\').map(|t| t.trim().parse().ok()).collect()
        }
        _ => None,
    }
}

/// The items of a sequence; none if it is absent or something else.
pub(crate) fn items(object: &InMemDicomObject, tag: Tag) -> &[InMemDicomObject] {
    object.get(tag).and_then(|e| e.value().items()).unwrap_or(&[])
}

/// The first item of a sequence.
pub(crate) fn item(object: &InMemDicomObject, tag: Tag) -> Option<&InMemDicomObject> {
    items(object, tag).first()
}
