//! The DICOM JSON model (PS3.18 annex F, edition 2025c), with large values by reference.

use dicom_core::value::{PrimitiveValue, Value};
use dicom_core::{Tag, VR};
use dicom_dictionary_std::tags;
use dicom_object::InMemDicomObject;
use dicom_object::mem::InMemElement;
use serde_json::{Map, Number, Value as Json, json};

/// Binary values longer than this are given by reference, in bytes.
const INLINE: u32 = 1024;
/// Sequences within sequences; the reader refuses deeper ones already.
const DEEPEST: usize = 40;

/// A data set as JSON. `bulk` is the address before a value's path; without it no value is left out.
pub(crate) fn data_set(object: &InMemDicomObject, bulk: Option<&str>) -> Map<String, Json> {
    items(object, bulk, "", 0)
}

fn items(object: &InMemDicomObject, bulk: Option<&str>, path: &str, depth: usize) -> Map<String, Json> {
    let mut out = Map::new();
    for element in object {
        let tag = element.header().tag;
        // Group lengths say nothing in JSON (§F.2.2), group 2 is the file's.
        if tag.element() == 0 || tag.group() == 0x0002 {
            continue;
        }
        out.insert(key(tag), attribute(element, bulk, path, depth));
    }
    // Text is UTF-8 by now (§F.2.2).
    if depth == 0 {
        out.insert(key(tags::SPECIFIC_CHARACTER_SET), json!({ "vr": "CS", "Value": ["ISO_IR 192"] }));
    } else {
        out.remove(&key(tags::SPECIFIC_CHARACTER_SET));
    }
    out
}

/// A tag as the model names it.
pub(crate) fn key(tag: Tag) -> String {
    format!("{:04X}{:04X}", tag.group(), tag.element())
}

fn attribute(element: &InMemElement, bulk: Option<&str>, path: &str, depth: usize) -> Json {
    let vr = element.vr();
    let name = || format!("{path}{}", key(element.header().tag));
    match element.value() {
        Value::Sequence(sequence) if depth < DEEPEST => {
            let item = |(i, item): (usize, &InMemDicomObject)| {
                Json::Object(items(item, bulk, &format!("{}.{i}.", name()), depth + 1))
            };
            let values: Vec<Json> = sequence.items().iter().enumerate().map(item).collect();
            if values.is_empty() { json!({ "vr": "SQ" }) } else { json!({ "vr": "SQ", "Value": values }) }
        }
        Value::Primitive(value) if is_binary(vr) && element.header().len.get().unwrap_or(0) > INLINE => {
            match bulk {
                Some(bulk) => json!({ "vr": vr.to_string(), "BulkDataURI": format!("{bulk}{}", name()) }),
                None => plain(element, value, vr),
            }
        }
        Value::Primitive(value) => plain(element, value, vr),
        Value::Sequence(_) | Value::PixelSequence(_) => json!({ "vr": vr.to_string() }),
    }
}

/// VRs whose values are bytes.
pub(crate) const fn is_binary(vr: VR) -> bool {
    matches!(vr, VR::OB | VR::OD | VR::OF | VR::OL | VR::OV | VR::OW | VR::UN)
}

fn plain(element: &InMemElement, value: &PrimitiveValue, vr: VR) -> Json {
    match (vr, value) {
        (_, PrimitiveValue::Empty) => json!({ "vr": vr.to_string() }),
        (VR::DS | VR::IS, PrimitiveValue::Str(_) | PrimitiveValue::Strs(_)) => {
            valued(vr, value.to_multi_str().iter().map(|t| number(vr, t)).collect())
        }
        (_, PrimitiveValue::Str(_) | PrimitiveValue::Strs(_)) if vr != VR::PN && !is_binary(vr) => {
            let texts = value.to_multi_str();
            let long = matches!(vr, VR::LT | VR::ST | VR::UT | VR::UR);
            let text = |t: &String| {
                let t = if long { t.trim_end_matches(['\0', ' ']) } else { t.trim_matches(['\0', ' ']) };
                if t.is_empty() { Json::Null } else { json!(t) }
            };
            valued(vr, texts.iter().map(text).collect())
        }
        // A value that its VR cannot hold is left out.
        (VR::SQ, _) => json!({ "vr": "SQ" }),
        (
            VR::FD | VR::FL | VR::SL | VR::SS | VR::SV | VR::UL | VR::US | VR::UV,
            PrimitiveValue::Date(_)
            | PrimitiveValue::DateTime(_)
            | PrimitiveValue::Time(_)
            | PrimitiveValue::Tags(_),
        ) => json!({ "vr": vr.to_string() }),
        _ => dicom_json::to_value(element).unwrap_or_else(|_| json!({ "vr": vr.to_string() })),
    }
}

fn valued(vr: VR, values: Vec<Json>) -> Json {
    if values.iter().all(Json::is_null) {
        return json!({ "vr": vr.to_string() });
    }
    json!({ "vr": vr.to_string(), "Value": values })
}

/// A decimal or integer string as a number; as text where it is none, so that nothing is made up.
fn number(vr: VR, text: &str) -> Json {
    let text = text.trim_matches(['\0', ' ']);
    if text.is_empty() {
        return Json::Null;
    }
    if let Ok(whole) = text.parse::<i64>() {
        return json!(whole);
    }
    let decimal = (vr == VR::DS).then(|| text.parse::<f64>().ok()).flatten();
    decimal.and_then(Number::from_f64).map_or_else(|| json!(text), Json::Number)
}

/// The element at a path such as `00540016.0.00181072`, as [`data_set`] writes it into references.
pub(crate) fn at_path<'a>(object: &'a InMemDicomObject, path: &str) -> Option<&'a InMemElement> {
    let mut parts = path.split('.');
    let mut object = object;
    loop {
        let element = object.get(tag(parts.next()?)?)?;
        let Some(index) = parts.next() else { return Some(element) };
        object = element.value().items()?.get(index.parse::<usize>().ok()?)?;
    }
}

/// A tag as eight hexadecimal digits.
pub(crate) fn tag(text: &str) -> Option<Tag> {
    if text.len() != 8 || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    let number = u32::from_str_radix(text, 16).ok()?;
    Some(Tag((number >> 16) as u16, number as u16))
}

#[cfg(test)]
mod tests {
    use dicom_core::value::DataSetSequence;

    use super::*;

    #[test]
    fn values_as_the_model_writes_them() {
        let mut object = InMemDicomObject::new_empty();
        object.put(InMemElement::new(
            tags::PATIENT_NAME,
            VR::PN,
            PrimitiveValue::from("Yamada^Tarou=山田^太郎"),
        ));
        object.put(InMemElement::new(
            tags::IMAGE_TYPE,
            VR::CS,
            PrimitiveValue::Strs(["A ".into(), "".into()].into()),
        ));
        object.put(InMemElement::new(
            tags::PIXEL_SPACING,
            VR::DS,
            PrimitiveValue::Strs(["0.5".into(), "x".into()].into()),
        ));
        object.put(InMemElement::new(tags::SERIES_NUMBER, VR::IS, PrimitiveValue::from("3 ")));
        object.put(InMemElement::new(tags::ROWS, VR::US, PrimitiveValue::from(7u16)));
        let json = data_set(&object, None);
        assert_eq!(json["00100010"]["Value"][0]["Ideographic"], "山田^太郎");
        assert_eq!(json["00080008"]["Value"], json!(["A", null]));
        assert_eq!(json["00280030"]["Value"], json!([0.5, "x"]));
        assert_eq!(json["00200011"]["Value"], json!([3]));
        assert_eq!(json["00280010"], json!({ "vr": "US", "Value": [7] }));
        assert_eq!(json["00080005"]["Value"], json!(["ISO_IR 192"]));
    }

    #[test]
    fn large_values_are_given_by_a_path_that_leads_back() {
        let mut item = InMemDicomObject::new_empty();
        let lut = PrimitiveValue::U8(vec![7u8; 4000].into());
        item.put(InMemElement::new(tags::LUT_DATA, VR::OW, lut));
        let mut object = InMemDicomObject::new_empty();
        object.put(InMemElement::new(tags::VOILUT_SEQUENCE, VR::SQ, DataSetSequence::from(vec![item])));
        let json = data_set(&object, Some("http://x/"));
        let uri = json["00283010"]["Value"][0]["00283006"]["BulkDataURI"].as_str().unwrap();
        assert_eq!(uri, "http://x/00283010.0.00283006");
        assert!(at_path(&object, &uri[9..]).is_some());
        assert!(
            at_path(&object, "00283010.1.00283006").is_none() && at_path(&object, "00283010.0").is_none()
        );
        assert!(data_set(&object, None)["00283010"]["Value"][0]["00283006"]["InlineBinary"].is_string());
    }
}
