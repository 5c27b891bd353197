//! Values that say nothing and fit their representation.

use dicom_core::value::{DataSetSequence, PrimitiveValue};
use dicom_core::{DataElement, Tag, VR};
use dicom_dictionary_std::tags as t;
use dicom_object::InMemDicomObject;
use dicom_object::mem::InMemElement;

use crate::values::texts;

/// What stands where a text stood.
pub(crate) const REMOVED: &str = "REMOVED";

/// A dummy value; none for sequences and UIDs, which are made from what was there.
pub(crate) fn value(vr: VR) -> Option<PrimitiveValue> {
    Some(match vr {
        VR::SQ | VR::UI => return None,
        VR::AS => "000Y".into(),
        VR::DA => "19000101".into(),
        VR::TM => "000000".into(),
        VR::DT => "19000101000000".into(),
        VR::DS | VR::IS => "0".into(),
        VR::UR => "urn:removed".into(),
        VR::AT => PrimitiveValue::Tags(std::iter::once(Tag(0, 0)).collect()),
        VR::US => 0_u16.into(),
        VR::SS => 0_i16.into(),
        VR::UL => 0_u32.into(),
        VR::SL => 0_i32.into(),
        VR::UV => 0_u64.into(),
        VR::SV => 0_i64.into(),
        VR::FL | VR::OF => 0_f32.into(),
        VR::FD | VR::OD => 0_f64.into(),
        VR::OB | VR::UN => PrimitiveValue::U8([0, 0].into_iter().collect()),
        VR::OW => 0_u16.into(),
        VR::OL => 0_u32.into(),
        VR::OV => 0_u64.into(),
        _ => REMOVED.into(),
    })
}

/// A document without content, of the media type of the one that stood there.
pub(crate) fn document(original: &InMemDicomObject) -> PrimitiveValue {
    let media = texts(original, t::MIME_TYPE_OF_ENCAPSULATED_DOCUMENT).and_then(|t| t.into_iter().next());
    let mut bytes: Vec<u8> = match media.as_deref() {
        Some("application/pdf") => EMPTY_PDF.into(),
        Some("text/XML" | "text/xml" | "application/xml") => b"<removed/>".into(),
        _ => REMOVED.into(),
    };
    if bytes.len() % 2 == 1 {
        bytes.push(b'\n');
    }
    PrimitiveValue::U8(bytes.into())
}

const EMPTY_PDF: &[u8] = b"%PDF-1.4\n1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj\n2 0 obj<</Type/Pages/Kids[3 0 R]/Count 1>>endobj\n3 0 obj<</Type/Page/Parent 2 0 R/MediaBox[0 0 9 9]>>endobj\nxref\n0 4\n0000000000 65535 f \n0000000009 00000 n \n0000000052 00000 n \n0000000101 00000 n \ntrailer<</Root 1 0 R/Size 4>>\nstartxref\n163\n%%EOF\n";

/// An element of text.
pub(crate) fn text(tag: Tag, vr: VR, value: &str) -> InMemElement {
    DataElement::new(tag, vr, PrimitiveValue::from(value))
}

/// An element of items.
pub(crate) fn sequence(tag: Tag, items: Vec<InMemDicomObject>) -> InMemElement {
    DataElement::new(tag, VR::SQ, DataSetSequence::from(items))
}

/// A coded value (PS3.3 Table 8.8-1).
pub(crate) fn code(value: &str, scheme: &str, meaning: &str) -> InMemDicomObject {
    InMemDicomObject::from_element_iter([
        text(t::CODE_VALUE, VR::SH, value),
        text(t::CODING_SCHEME_DESIGNATOR, VR::SH, scheme),
        text(t::CODE_MEANING, VR::LO, meaning),
    ])
}

/// A code that names nothing.
pub(crate) fn removed_code() -> InMemDicomObject {
    code(REMOVED, "99OVERREAD", "Removed")
}

/// A report's content without content: one comment that says so (PS3.3 §C.17.3).
pub(crate) fn content() -> InMemElement {
    let item = InMemDicomObject::from_element_iter([
        text(t::RELATIONSHIP_TYPE, VR::CS, "CONTAINS"),
        text(t::VALUE_TYPE, VR::CS, "TEXT"),
        sequence(t::CONCEPT_NAME_CODE_SEQUENCE, vec![code("121106", "DCM", "Comment")]),
        text(t::TEXT_VALUE, VR::UT, REMOVED),
    ]);
    sequence(t::CONTENT_SEQUENCE, vec![item])
}

/// Graphics without meaning: a point in the layer of the ones that stood there (PS3.3 §C.10.5).
pub(crate) fn graphics(original: &[InMemDicomObject]) -> InMemElement {
    let layer =
        original.iter().find_map(|item| texts(item, t::GRAPHIC_LAYER)).and_then(|t| t.into_iter().next());
    let number = |tag, n: u16| DataElement::new(tag, VR::US, PrimitiveValue::from(n));
    let point = InMemDicomObject::from_element_iter([
        text(t::GRAPHIC_ANNOTATION_UNITS, VR::CS, "PIXEL"),
        number(t::GRAPHIC_DIMENSIONS, 2),
        number(t::NUMBER_OF_GRAPHIC_POINTS, 1),
        DataElement::new(t::GRAPHIC_DATA, VR::FL, PrimitiveValue::F32([1.0, 1.0].into_iter().collect())),
        text(t::GRAPHIC_TYPE, VR::CS, "POINT"),
    ]);
    let item = InMemDicomObject::from_element_iter([
        text(t::GRAPHIC_LAYER, VR::CS, layer.as_deref().unwrap_or(REMOVED)),
        sequence(t::GRAPHIC_OBJECT_SEQUENCE, vec![point]),
    ]);
    sequence(t::GRAPHIC_ANNOTATION_SEQUENCE, vec![item])
}
