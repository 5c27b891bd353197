//! Graphic annotations without their text (PS3.15 §E.3.3): shapes stay, written words go.
//!
//! A shape is not looked at: a name that somebody drew as a line stays a line.

use dicom_dictionary_std::tags as t;
use dicom_object::InMemDicomObject;

/// The items of a Graphic Annotation Sequence (0070,0001) that still show something.
pub(super) fn without_text(items: &[InMemDicomObject]) -> Vec<InMemDicomObject> {
    let shapes = items.iter().filter_map(|item| {
        let shapes = item.get(t::GRAPHIC_OBJECT_SEQUENCE)?.items()?;
        if shapes.is_empty() {
            return None;
        }
        let mut item = item.clone();
        item.remove_element(t::TEXT_OBJECT_SEQUENCE);
        Some(item)
    });
    shapes.collect()
}
