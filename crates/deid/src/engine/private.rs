//! Private attributes: removed, but for those of the standard's list where the profile retains them (PS3.15 §E.3.10).

use dicom_core::header::HasLength;
use dicom_core::value::{PrimitiveValue, Value};
use dicom_core::{Tag, VR};
use dicom_object::InMemDicomObject;
use dicom_object::mem::InMemElement;

use super::{Engine, dummy, unlisted};
use crate::profile::{Place, ProfileOption, is_safe};
use crate::values::{element_texts, texts};

impl Engine<'_> {
    pub(super) fn private(
        &mut self,
        from: &InMemDicomObject,
        element: &InMemElement,
        to: &mut InMemDicomObject,
    ) -> Option<InMemElement> {
        let tag = element.header().tag;
        // The creator of a block comes back with the first element that stays.
        if tag.element() < 0x1000 {
            return None;
        }
        if !self.profile.options.has(ProfileOption::RetainSafePrivate) {
            return self.removed(tag);
        }
        let creator = Tag(tag.group(), tag.element() >> 8);
        let name = texts(from, creator).and_then(|t| t.into_iter().next());
        let Some(name) = name.filter(|n| is_safe(n, tag.group(), tag.element() as u8)) else {
            return self.removed(tag);
        };
        let made = self.safe(element);
        match &made {
            Some(_) => drop(to.put(dummy::text(creator, VR::LO, &name))),
            None => drop(self.removed(tag)),
        }
        made
    }

    /// The standard says that such an element is safe where its maker fills it; who knows who filled this one.
    fn safe(&mut self, element: &InMemElement) -> Option<InMemElement> {
        let place = Place::Item(element.header().tag);
        match element.vr() {
            VR::SQ => self.items(element),
            _ if element.is_empty() => Some(element.clone()),
            VR::UI => self.mapped(element, place),
            VR::DS | VR::IS => unlisted::is_number(element).then(|| element.clone()),
            VR::DA | VR::DT | VR::TM | VR::AS | VR::PN => None,
            VR::ST | VR::LT | VR::UT => self.described(element),
            vr if unlisted::is_text(vr) => {
                let texts = element_texts(element)?;
                texts.iter().all(|t| self.is_plain(t)).then(|| element.clone())
            }
            VR::UN => match element.value() {
                Value::Primitive(PrimitiveValue::U8(bytes)) if std::str::from_utf8(bytes).is_ok() => {
                    let texts = element_texts(element)?;
                    texts.iter().all(|t| self.is_plain(t)).then(|| element.clone())
                }
                _ => Some(element.clone()),
            },
            _ => Some(element.clone()),
        }
    }

    fn is_plain(&self, text: &str) -> bool {
        !self.words.repeated_by(text) && !unlisted::looks_like_an_address(text)
    }
}
