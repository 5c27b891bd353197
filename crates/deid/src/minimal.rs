//! The minimal object: every attribute of the list that the original has, made anew, and what a DICOM object cannot go
//! without.

use dicom_core::header::HasLength;
use dicom_core::value::{DataSetSequence, PrimitiveValue};
use dicom_core::{DataElement, Tag, VR};
use dicom_dictionary_std::tags;
use dicom_object::InMemDicomObject;
use overread_domain::{Laterality, Uid};

use crate::allow::{Entry, OBJECT, Rule};
use crate::engine::statement::{FACES, Pixels};
use crate::names::Names;
use crate::values::{code, decimal, integer, numbers, texts};

/// De-identification Method (0012,0063): what was done, and what was not.
///
/// There is no De-identification Method Code Sequence (0012,0064): its codes claim profiles and options of PS3.15
/// Annex E, and (113100, DCM, "Basic Application Confidentiality Profile") asks for UIDs that stay consistent in every
/// reference and for type 1 attributes with dummy values, where this object leaves both out. It claims none of them.
fn method(about: &About) -> Vec<String> {
    let mut method =
        vec!["Overread minimal object", "Only attributes on an allow list", about.pixels.method()];
    if about.face {
        method.push(FACES);
    }
    if about.compressed {
        method.push("Comments inside compressed streams not removed");
    }
    method.into_iter().map(str::to_owned).collect()
}

/// What is known about the original and the pixels that go with its minimal object.
#[derive(Clone, Copy)]
pub(crate) struct About {
    pub(crate) frames: u32,
    pub(crate) compressed: bool,
    pub(crate) pixels: Pixels,
    /// A face can be rendered from its volume.
    pub(crate) face: bool,
    /// The side of the body, wherever the original states it.
    pub(crate) side: Option<Laterality>,
}

/// Type 2 attributes of modules that every image has: empty, because they tell who, where or when.
const EMPTY: [(Tag, VR); 12] = [
    (tags::STUDY_DATE, VR::DA),
    (tags::STUDY_TIME, VR::TM),
    (tags::ACCESSION_NUMBER, VR::SH),
    (tags::MANUFACTURER, VR::LO),
    (tags::REFERRING_PHYSICIAN_NAME, VR::PN),
    (tags::PATIENT_NAME, VR::PN),
    (tags::PATIENT_ID, VR::LO),
    (tags::PATIENT_BIRTH_DATE, VR::DA),
    (tags::PATIENT_SEX, VR::CS),
    (tags::STUDY_ID, VR::SH),
    (tags::SERIES_NUMBER, VR::IS),
    (tags::INSTANCE_NUMBER, VR::IS),
];

/// The UIDs of a pseudonymous object.
pub(crate) struct Uids {
    pub(crate) class: Uid,
    pub(crate) instance: Uid,
    pub(crate) series: Uid,
    pub(crate) study: Uid,
    pub(crate) frame_of_reference: Option<Uid>,
}

/// Makes the data set before the pixel data.
pub(crate) fn minimal(original: &InMemDicomObject, uids: &Uids, about: &About) -> InMemDicomObject {
    let mut object = InMemDicomObject::new_empty();
    for (tag, vr) in EMPTY {
        object.put(DataElement::new(tag, vr, PrimitiveValue::Empty));
    }
    copy(original, OBJECT, &Names::of(original), &mut object);
    let mut uid =
        |tag, uid: &Uid| object.put(DataElement::new(tag, VR::UI, PrimitiveValue::from(uid.as_str())));
    uid(tags::SOP_CLASS_UID, &uids.class);
    uid(tags::SOP_INSTANCE_UID, &uids.instance);
    uid(tags::SERIES_INSTANCE_UID, &uids.series);
    uid(tags::STUDY_INSTANCE_UID, &uids.study);
    if let Some(frame_of_reference) = &uids.frame_of_reference {
        uid(tags::FRAME_OF_REFERENCE_UID, frame_of_reference);
        object.put(DataElement::new(tags::POSITION_REFERENCE_INDICATOR, VR::LO, PrimitiveValue::Empty));
    }
    state_side(&mut object, about.side);
    if original.get(tags::NUMBER_OF_FRAMES).is_some() {
        object.put(strings(tags::NUMBER_OF_FRAMES, VR::IS, vec![about.frames.to_string()]));
    }
    statement(&mut object, about);
    object
}

/// Image Laterality (0020,0062) where the original states its side by its anatomic region alone, which does not leave.
fn state_side(object: &mut InMemDicomObject, side: Option<Laterality>) {
    let stated = [tags::IMAGE_LATERALITY, tags::LATERALITY]
        .iter()
        .any(|tag| object.get(*tag).is_some_and(|e| !e.is_empty()));
    let word = match side {
        Some(Laterality::Left) => "L",
        Some(Laterality::Right) => "R",
        Some(Laterality::Both) => "B",
        Some(Laterality::Unpaired) | None => return,
    };
    if !stated {
        object.put(strings(tags::IMAGE_LATERALITY, VR::CS, vec![word.into()]));
    }
}

/// What the object says of itself (PS3.3 §C.7.1.1, §C.12.1).
fn statement(object: &mut InMemDicomObject, about: &About) {
    // The attribute speaks of pixels too: where the original says that they tell who the patient is, so does the copy.
    let shown = [tags::BURNED_IN_ANNOTATION, tags::RECOGNIZABLE_VISUAL_FEATURES];
    let shown =
        shown.iter().any(|tag| object.get(*tag).and_then(|e| e.to_str().ok()).as_deref() == Some("YES"));
    let removed = if shown { "NO" } else { "YES" };
    object.put(strings(tags::PATIENT_IDENTITY_REMOVED, VR::CS, vec![removed.into()]));
    object.put(strings(tags::DEIDENTIFICATION_METHOD, VR::LO, method(about)));
    object.put(strings(tags::LONGITUDINAL_TEMPORAL_INFORMATION_MODIFIED, VR::CS, vec!["REMOVED".into()]));
}

fn copy(from: &InMemDicomObject, list: &'static [Entry], names: &Names, to: &mut InMemDicomObject) {
    for (tag, rule) in list {
        let Some(element) = from.get(*tag) else { continue };
        match made_anew(from, *tag, rule, names) {
            Some(element) => drop(to.put(element)),
            None if element.is_empty() => {}
            // The tag alone: the value may be what must not be told.
            None => tracing::debug!(%tag, "a value of another form than its attribute's is left out"),
        }
    }
}

type Element = DataElement<InMemDicomObject>;

fn made_anew(from: &InMemDicomObject, tag: Tag, rule: &'static Rule, names: &Names) -> Option<Element> {
    let element = from.get(tag)?;
    match *rule {
        Rule::Code(most) => {
            let value = |t: &String| {
                if t.is_empty() { Some(String::new()) } else { code(t).filter(|c| !names.repeated_by(c)) }
            };
            text(from, tag, VR::CS, most, value)
        }
        Rule::Word(words) => text(from, tag, VR::CS, 1, |t| code(t).filter(|c| words.contains(&c.as_str()))),
        Rule::Decimal(most) => text(from, tag, VR::DS, most, |t| decimal(t)),
        Rule::Integer(most) => text(from, tag, VR::IS, most, |t| integer(t)),
        Rule::Short(most) => {
            let words = few::<u16>(numbers(element), most)?;
            Some(match element.vr() {
                VR::SS => {
                    let signed = words.into_iter().map(|w| w as i16).collect();
                    Element::new(tag, VR::SS, PrimitiveValue::I16(signed))
                }
                _ => Element::new(tag, VR::US, PrimitiveValue::U16(words.into())),
            })
        }
        // Explicit VR has no room for the length of a large table of VR US.
        Rule::Table => {
            let words: Vec<u16> = numbers(element)?;
            Some(Element::new(tag, VR::OW, PrimitiveValue::U16(words.into())))
        }
        Rule::Long(most) => {
            Some(Element::new(tag, VR::UL, PrimitiveValue::U32(few(numbers(element), most)?.into())))
        }
        Rule::Signed(most) => {
            Some(Element::new(tag, VR::SL, PrimitiveValue::I32(few(numbers(element), most)?.into())))
        }
        Rule::Float(most) => {
            Some(Element::new(tag, VR::FL, PrimitiveValue::F32(few(numbers(element), most)?.into())))
        }
        Rule::Double(most) => {
            Some(Element::new(tag, VR::FD, PrimitiveValue::F64(few(numbers(element), most)?.into())))
        }
        Rule::Pointer(targets) => {
            let PrimitiveValue::Tags(tags) = element.value().primitive()? else { return None };
            let known = !tags.is_empty() && tags.iter().all(|tag| targets.contains(tag));
            known.then(|| Element::new(tag, VR::AT, PrimitiveValue::Tags(tags.clone())))
        }
        Rule::Items(most, list) => {
            let items = element.items()?;
            let made = items.iter().take(most).map(|item| {
                let mut to = InMemDicomObject::new_empty();
                copy(item, list, names, &mut to);
                to
            });
            Some(Element::new(tag, VR::SQ, DataSetSequence::from(made.collect::<Vec<_>>())))
        }
    }
}

/// A text attribute, if each of its values is valid.
fn text(
    from: &InMemDicomObject,
    tag: Tag,
    vr: VR,
    most: usize,
    value: impl Fn(&String) -> Option<String>,
) -> Option<Element> {
    let values = few(texts(from, tag), most)?;
    let values: Vec<String> = values.iter().map(value).collect::<Option<_>>()?;
    Some(strings(tag, vr, values))
}

fn strings(tag: Tag, vr: VR, values: Vec<String>) -> Element {
    Element::new(tag, vr, PrimitiveValue::Strs(values.into()))
}

fn few<T>(values: Option<Vec<T>>, most: usize) -> Option<Vec<T>> {
    values.filter(|v| v.len() <= most)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn check(list: &'static [Entry], depth: usize) {
        let mut seen = BTreeSet::new();
        for (tag, rule) in list {
            assert!(seen.insert(*tag), "{tag} twice");
            assert!(
                tag.group() % 2 == 0 && !matches!(tag.group(), 0x0010 | 0x0012 | 0x0032 | 0x0038 | 0x0040),
                "{tag}"
            );
            if let Rule::Items(_, inside) = rule {
                assert!(depth < 3);
                check(inside, depth + 1);
            }
        }
    }

    #[test]
    fn the_list_names_nothing_twice_nothing_private_and_nothing_of_the_patient() {
        check(OBJECT, 0);
    }

    #[test]
    fn the_side_of_an_anatomic_region_is_stated_where_no_other_is() {
        let side = |stated: Option<&str>, side| {
            let mut object = InMemDicomObject::new_empty();
            if let Some(stated) = stated {
                object.put(DataElement::new(tags::LATERALITY, VR::CS, PrimitiveValue::from(stated)));
            }
            state_side(&mut object, side);
            object.get(tags::IMAGE_LATERALITY).map(|e| e.to_str().unwrap().into_owned())
        };
        assert_eq!(side(None, Some(Laterality::Left)).as_deref(), Some("L"));
        assert_eq!(side(Some(""), Some(Laterality::Right)).as_deref(), Some("R"));
        assert_eq!(side(Some("R"), Some(Laterality::Right)), None);
        assert_eq!(side(None, None), None);
    }

    #[test]
    fn a_name_in_a_code_string_is_left_out() {
        let put = |o: &mut InMemDicomObject, tag, vr, v: &str| {
            drop(o.put(DataElement::new(tag, vr, PrimitiveValue::from(v))))
        };
        let mut original = InMemDicomObject::new_empty();
        put(&mut original, tags::PATIENT_NAME, VR::PN, "Canary^Chest");
        put(&mut original, tags::BODY_PART_EXAMINED, VR::CS, "CHEST");
        put(&mut original, tags::VIEW_POSITION, VR::CS, "AP CANARY");
        let mut to = InMemDicomObject::new_empty();
        copy(&original, OBJECT, &Names::of(&original), &mut to);
        assert_eq!(to.iter().map(|e| e.header().tag).collect::<Vec<_>>(), [tags::BODY_PART_EXAMINED]);
    }
}
