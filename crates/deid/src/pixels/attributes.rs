//! What the header says of pixels that were cleaned (PS3.3 §C.7.6.1.1.5, §C.7.6.3 and §C.12.1.1.1).

use dicom_core::value::PrimitiveValue;
use dicom_core::{DataElement, Tag, VR};
use dicom_dictionary_std::tags as t;
use dicom_object::InMemDicomObject;
use overread_dicom::read::NativeForm;

use crate::values::texts;

/// Attributes that describe pixels as they were: extreme values, a small copy of the image, offsets of fragments.
const STALE: [Tag; 9] = [
    t::SMALLEST_IMAGE_PIXEL_VALUE,
    t::LARGEST_IMAGE_PIXEL_VALUE,
    t::SMALLEST_PIXEL_VALUE_IN_SERIES,
    t::LARGEST_PIXEL_VALUE_IN_SERIES,
    t::ICON_IMAGE_SEQUENCE,
    t::EXTENDED_OFFSET_TABLE,
    t::EXTENDED_OFFSET_TABLE_LENGTHS,
    t::ENCAPSULATED_PIXEL_DATA_VALUE_TOTAL_LENGTH,
    t::PIXEL_DATA_PROVIDER_URL,
];

/// Lossy compression that an original's transfer syntax tells, in the terms of Lossy Image Compression Method (0028,2114).
pub(crate) fn lossy_method(transfer_syntax: &str) -> Option<&'static str> {
    Some(match transfer_syntax.strip_prefix("1.2.840.10008.1.2.4.")? {
        "50" | "51" | "53" | "55" => "ISO_10918_1",
        "81" => "ISO_14495_1",
        "91" | "93" => "ISO_15444_1",
        "203" => "ISO_15444_15",
        _ => return None,
    })
}

/// Writes into a header that its pixel data are uncompressed and free of burned-in text.
pub(crate) fn put(object: &mut InMemDicomObject, form: &NativeForm, lossy: Option<(&str, f64)>) {
    let cs = |tag, value: &str| DataElement::new(tag, VR::CS, PrimitiveValue::from(value));
    let us = |tag, value: u16| DataElement::new(tag, VR::US, PrimitiveValue::from(value));
    for tag in STALE {
        object.remove_element(tag);
    }
    object.put(cs(t::BURNED_IN_ANNOTATION, "NO"));
    if let Some(photometric) = form.photometric {
        object.put(cs(t::PHOTOMETRIC_INTERPRETATION, photometric));
        object.put(us(t::PLANAR_CONFIGURATION, 0));
    }
    if let Some(high_bit) = form.high_bit {
        object.put(us(t::BITS_ALLOCATED, form.bits_allocated));
        object.put(us(t::HIGH_BIT, high_bit));
    }
    if let Some((method, ratio)) = lossy {
        // What was lost stays lost (PS3.3 §C.7.6.1.1.5): a flag is added where it was forgotten, never taken away.
        object.put(cs(t::LOSSY_IMAGE_COMPRESSION, "01"));
        if object.get(t::LOSSY_IMAGE_COMPRESSION_METHOD).is_none() {
            object.put(cs(t::LOSSY_IMAGE_COMPRESSION_METHOD, method));
            let ratio = PrimitiveValue::from(format!("{ratio:.2}"));
            object.put(DataElement::new(t::LOSSY_IMAGE_COMPRESSION_RATIO, VR::DS, ratio));
        }
    }
    derivation(object);
}

/// Says in Derivation Description (0008,2111) what was done, after what it says already.
fn derivation(object: &mut InMemDicomObject) {
    const DONE: &str = "Burned-in text blackened";
    let before = texts(object, t::DERIVATION_DESCRIPTION).unwrap_or_default().join("\\");
    let before = before.trim();
    // ST holds 1024 characters.
    let said = if before.is_empty() || before.chars().count() + DONE.len() + 2 > 1024 {
        DONE.to_owned()
    } else {
        format!("{before}; {DONE}")
    };
    object.put(DataElement::new(t::DERIVATION_DESCRIPTION, VR::ST, PrimitiveValue::from(said)));
}

#[cfg(test)]
mod tests {
    use super::*;

    const FORM: NativeForm = NativeForm {
        photometric: Some("RGB"),
        high_bit: Some(7),
        bits_allocated: 8,
        frame_bytes: 3,
        ragged: false,
    };

    #[test]
    fn decoded_colour_is_said_to_be_rgb_and_lossy() {
        let mut object = InMemDicomObject::new_empty();
        object.put(DataElement::new(t::PHOTOMETRIC_INTERPRETATION, VR::CS, "YBR_FULL_422"));
        object.put(DataElement::new(t::DERIVATION_DESCRIPTION, VR::ST, "Resampled"));
        object.put(DataElement::new(t::LARGEST_IMAGE_PIXEL_VALUE, VR::US, PrimitiveValue::from(9u16)));
        put(&mut object, &FORM, lossy_method("1.2.840.10008.1.2.4.50").map(|m| (m, 10.0)));
        let text = |tag| texts(&object, tag).unwrap_or_default().join("\\");
        assert_eq!(text(t::PHOTOMETRIC_INTERPRETATION), "RGB");
        assert_eq!(text(t::BURNED_IN_ANNOTATION), "NO");
        assert_eq!(text(t::LOSSY_IMAGE_COMPRESSION), "01");
        assert_eq!(text(t::LOSSY_IMAGE_COMPRESSION_METHOD), "ISO_10918_1");
        assert_eq!(text(t::DERIVATION_DESCRIPTION), "Resampled; Burned-in text blackened");
        assert!(object.get(t::LARGEST_IMAGE_PIXEL_VALUE).is_none());
    }

    #[test]
    fn a_lossy_method_that_is_named_stays() {
        let mut object = InMemDicomObject::new_empty();
        object.put(DataElement::new(t::LOSSY_IMAGE_COMPRESSION_METHOD, VR::CS, "ISO_15444_1"));
        put(&mut object, &FORM, Some(("ISO_10918_1", 2.0)));
        assert_eq!(texts(&object, t::LOSSY_IMAGE_COMPRESSION_METHOD), Some(vec!["ISO_15444_1".into()]));
        assert!(object.get(t::LOSSY_IMAGE_COMPRESSION_RATIO).is_none());
        assert_eq!(lossy_method("1.2.840.10008.1.2.4.90"), None, "lossless");
    }
}
