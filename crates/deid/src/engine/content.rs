//! Content items of structured reports, acquisition contexts and specimen preparations (PS3.15 §E.3.4).
//!
//! What is coded and measured stays; what is written, named or dated is treated by the item's concept.

use dicom_core::Tag;
use dicom_dictionary_std::tags as t;
use dicom_object::InMemDicomObject;

use crate::profile::{Action, ProfileOptions, concept_action};
use crate::values::texts;

/// What happens with the value of a content item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// What its value type asks for: text is cleaned, names are replaced, dates and UIDs go by Table E.1-1.
    ByType,
    /// It stays.
    Keep,
    /// It is cleaned.
    Clean,
    /// It is replaced.
    Dummy,
}

/// What happens with an item of a sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Item {
    /// It is no content item.
    Plain,
    /// It is left out, with what it contains.
    Remove,
    /// It stays, its value treated so.
    Content(Mode),
}

/// Decides by the item's concept name and value type.
pub(crate) fn item(item: &InMemDicomObject, options: ProfileOptions) -> Item {
    let first = |object: &InMemDicomObject, tag: Tag| texts(object, tag).and_then(|t| t.into_iter().next());
    let Some(value_type) = first(item, t::VALUE_TYPE) else { return Item::Plain };
    let name = item.get(t::CONCEPT_NAME_CODE_SEQUENCE).and_then(|e| e.items()).and_then(<[_]>::first);
    let code = name.and_then(|c| {
        Some((
            first(c, t::CODING_SCHEME_DESIGNATOR)?,
            first(c, t::CODE_VALUE).or_else(|| first(c, t::LONG_CODE_VALUE))?,
        ))
    });
    let action = code.and_then(|(scheme, code)| concept_action(&scheme, &code, &value_type, options));
    match action {
        None => Item::Content(Mode::ByType),
        // The rest of X/D would ask for the template.
        Some(Action::Remove | Action::RemoveOrDummy) => Item::Remove,
        Some(Action::Keep) => Item::Content(Mode::Keep),
        Some(Action::Clean) => Item::Content(Mode::Clean),
        Some(_) => Item::Content(Mode::Dummy),
    }
}

/// Whether an attribute holds the value of a content item that is written, named, dated or a UID.
pub(crate) fn is_value(tag: Tag) -> bool {
    matches!(tag, t::TEXT_VALUE | t::PERSON_NAME | t::DATE | t::TIME | t::DATE_TIME | t::UID)
}

/// Whether items point at others by their position: then none may be left out.
pub(crate) fn points_by_position(object: &InMemDicomObject) -> bool {
    object.iter().any(|e| {
        e.header().tag == t::REFERENCED_CONTENT_ITEM_IDENTIFIER
            || e.items().unwrap_or_default().iter().any(points_by_position)
    })
}
