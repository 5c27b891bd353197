//! The texts of an outgoing object, compared with the words of the original's identity: what is too short to be searched
//! for in bytes.

use dicom_core::dictionary::DataDictionary;
use dicom_core::value::{PrimitiveValue, Value};
use dicom_core::{Tag, VR};
use dicom_dictionary_std::{StandardDataDictionary, tags as t};
use dicom_object::InMemDicomObject;
use dicom_object::mem::InMemElement;

use crate::identity::Words;

/// One sentence for each attribute of the outgoing object whose text repeats a word.
pub(crate) fn reasons(object: &InMemDicomObject, words: &Words) -> Vec<String> {
    let mut tags = Vec::new();
    walk(object, &mut |element| {
        let tag = element.header().tag;
        let own = matches!(
            tag,
            t::DEIDENTIFICATION_METHOD | t::SPECIFIC_CHARACTER_SET | t::CODE_MEANING | t::CODE_VALUE
        );
        if !own && !tags.contains(&tag) && texts(element).any(|text| words.repeated_by_term(text)) {
            tags.push(tag);
        }
    });
    tags.into_iter().map(sentence).collect()
}

fn sentence(tag: Tag) -> String {
    let keyword = StandardDataDictionary.by_tag(tag).map_or("a private attribute", |e| e.alias);
    format!("{keyword} {tag} of the outgoing object repeats a word of the patient's identity")
}

/// Whether a text holds a character that ASCII has not.
pub(crate) fn is_beyond_ascii(object: &InMemDicomObject) -> bool {
    let mut beyond = false;
    walk(object, &mut |element| beyond |= texts(element).any(|text| !text.is_ascii()));
    beyond
}

fn walk(object: &InMemDicomObject, visit: &mut impl FnMut(&InMemElement)) {
    for element in object {
        visit(element);
        element.items().unwrap_or_default().iter().for_each(|item| walk(item, visit));
    }
}

fn texts(element: &InMemElement) -> impl Iterator<Item = &str> {
    let text = matches!(
        element.vr(),
        VR::AE | VR::CS | VR::LO | VR::LT | VR::PN | VR::SH | VR::ST | VR::UC | VR::UR | VR::UT
    );
    let texts: &[String] = match element.value() {
        Value::Primitive(PrimitiveValue::Strs(texts)) if text => texts,
        Value::Primitive(PrimitiveValue::Str(one)) if text => std::slice::from_ref(one),
        _ => &[],
    };
    texts.iter().map(String::as_str)
}
