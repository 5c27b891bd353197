//! Content items of structured reports (PS3.3 §C.17.3), one constructor for each value type in use.

use dicom_core::value::PrimitiveValue;
use dicom_core::{DataElement, VR};
use dicom_dictionary_std::tags;
use dicom_object::InMemDicomObject;
use overread_domain::{CodedConcept, Uid};

use super::codes::{self, Code, code_item};
use super::elements::{put, put_items};
use super::source::{InstanceReference, SourceImage};
use super::text::{decimal_string, sanitised};

/// How an item relates to the one above it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Relationship {
    Contains,
    HasObsContext,
    HasAcqContext,
    HasConceptMod,
}

impl Relationship {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Contains => "CONTAINS",
            Self::HasObsContext => "HAS OBS CONTEXT",
            Self::HasAcqContext => "HAS ACQ CONTEXT",
            Self::HasConceptMod => "HAS CONCEPT MOD",
        }
    }
}

/// An item of the content tree with the items below it.
pub(crate) struct Item {
    dataset: InMemDicomObject,
    children: Vec<Item>,
}

impl Item {
    fn new(value_type: &str, concept: Option<CodedConcept>) -> Self {
        let mut dataset = InMemDicomObject::new_empty();
        put(&mut dataset, tags::VALUE_TYPE, VR::CS, value_type);
        if let Some(concept) = concept {
            put_items(&mut dataset, tags::CONCEPT_NAME_CODE_SEQUENCE, vec![code_item(&concept)]);
        }
        Self { dataset, children: Vec::new() }
    }

    /// CONTAINER, its items separate from each other.
    pub(crate) fn container(concept: Code) -> Self {
        let mut item = Self::new("CONTAINER", Some(concept.into()));
        put(&mut item.dataset, tags::CONTINUITY_OF_CONTENT, VR::CS, "SEPARATE");
        item
    }

    /// TEXT.
    pub(crate) fn text(concept: Code, text: &str) -> Self {
        let mut item = Self::new("TEXT", Some(concept.into()));
        put(
            &mut item.dataset,
            tags::TEXT_VALUE,
            VR::UT,
            &sanitised(VR::UT, text).unwrap_or_else(|| "-".into()),
        );
        item
    }

    /// CODE.
    pub(crate) fn code(concept: impl Into<CodedConcept>, value: impl Into<CodedConcept>) -> Self {
        let mut item = Self::new("CODE", Some(concept.into()));
        put_items(&mut item.dataset, tags::CONCEPT_CODE_SEQUENCE, vec![code_item(&value.into())]);
        item
    }

    /// NUM, as a decimal string and as a 64-bit float, because 16 characters may not hold it.
    pub(crate) fn number(concept: Code, value: f64, unit: Code) -> Self {
        let mut item = Self::new("NUM", Some(concept.into()));
        let mut measured = InMemDicomObject::new_empty();
        put_items(&mut measured, tags::MEASUREMENT_UNITS_CODE_SEQUENCE, vec![code_item(&unit.into())]);
        put(&mut measured, tags::NUMERIC_VALUE, VR::DS, &decimal_string(value));
        measured.put(DataElement::new(tags::FLOATING_POINT_VALUE, VR::FD, PrimitiveValue::from(value)));
        put_items(&mut item.dataset, tags::MEASURED_VALUE_SEQUENCE, vec![measured]);
        item
    }

    /// UIDREF.
    pub(crate) fn uid(concept: Code, uid: &Uid) -> Self {
        let mut item = Self::new("UIDREF", Some(concept.into()));
        put(&mut item.dataset, tags::UID, VR::UI, uid.as_str());
        item
    }

    /// IMAGE; in an image library it has no concept name.
    pub(crate) fn image(concept: Option<Code>, image: &InstanceReference) -> Self {
        let mut item = Self::new("IMAGE", concept.map(CodedConcept::from));
        put_items(&mut item.dataset, tags::REFERENCED_SOP_SEQUENCE, vec![sop_item(image)]);
        item
    }

    /// COMPOSITE: an object that is no image, without concept name.
    pub(crate) fn composite(object: &InstanceReference) -> Self {
        let mut item = Self::new("COMPOSITE", None);
        put_items(&mut item.dataset, tags::REFERENCED_SOP_SEQUENCE, vec![sop_item(object)]);
        item
    }

    /// Puts an item below this one.
    pub(crate) fn with(mut self, relationship: Relationship, mut child: Item) -> Self {
        put(&mut child.dataset, tags::RELATIONSHIP_TYPE, VR::CS, relationship.as_str());
        self.children.push(child);
        self
    }

    /// Puts items below this one.
    pub(crate) fn with_all(self, items: impl IntoIterator<Item = (Relationship, Item)>) -> Self {
        items.into_iter().fold(self, |parent, (relationship, item)| parent.with(relationship, item))
    }

    /// Names the template that the item is the root of.
    pub(crate) fn template(mut self, identifier: &str) -> Self {
        let mut item = InMemDicomObject::new_empty();
        put(&mut item, tags::MAPPING_RESOURCE, VR::CS, "DCMR");
        put(&mut item, tags::TEMPLATE_IDENTIFIER, VR::CS, identifier);
        put_items(&mut self.dataset, tags::CONTENT_TEMPLATE_SEQUENCE, vec![item]);
        self
    }

    /// The attributes of the item and of all below it.
    pub(crate) fn into_dataset(self) -> InMemDicomObject {
        let mut dataset = self.dataset;
        if !self.children.is_empty() {
            let children = self.children.into_iter().map(Item::into_dataset).collect();
            put_items(&mut dataset, tags::CONTENT_SEQUENCE, children);
        }
        dataset
    }
}

/// An item with Referenced SOP Class UID and Referenced SOP Instance UID.
pub(crate) fn sop_item(image: &InstanceReference) -> InMemDicomObject {
    let mut item = InMemDicomObject::new_empty();
    put(&mut item, tags::REFERENCED_SOP_CLASS_UID, VR::UI, image.class.as_str());
    put(&mut item, tags::REFERENCED_SOP_INSTANCE_UID, VR::UI, image.instance.as_str());
    item
}

/// An item of Source Image Sequence (0008,2112).
pub(crate) fn source_item(image: &SourceImage) -> InMemDicomObject {
    let mut item = sop_item(&image.reference);
    let purpose = vec![code_item(&codes::SOURCE_IMAGE.into())];
    put_items(&mut item, tags::PURPOSE_OF_REFERENCE_CODE_SEQUENCE, purpose);
    item
}
