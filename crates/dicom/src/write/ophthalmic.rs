//! A photograph of an eye as an Ophthalmic Photography 8 Bit Image (PS3.3 §A.41).

use dicom_core::{DataElement, PrimitiveValue, Tag, VR};
use dicom_dictionary_std::{tags, uids};
use dicom_object::InMemDicomObject;
use overread_domain::{GridSize, PixelSpacing};

use super::WriteError;
use super::codes::{self, Code, code_item};
use super::elements::{DicomFile, put, put_items, put_many, put_pixels_u8};
use super::identity::derive;
use super::modules::{self, PixelModule};
use super::text::decimal_string;
use super::wrap::{RgbPixels, WrapHeader, general, side};

/// What took the picture (CID 4202), as far as the standard asks different things of it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum EyeDevice {
    /// A camera that sees the eye from outside, such as a phone.
    ExternalCamera,
    /// A slit lamp with a camera.
    SlitLamp,
    /// A fundus camera. Its images must say how far apart pixels are at the retina, in millimetres.
    FundusCamera(PixelSpacing),
}

impl EyeDevice {
    const fn code(self) -> Code {
        match self {
            Self::ExternalCamera => codes::EXTERNAL_CAMERA,
            Self::SlitLamp => codes::SLIT_LAMP,
            Self::FundusCamera(_) => codes::FUNDUS_CAMERA,
        }
    }

    /// What it shows (CID 4209).
    const fn region(self) -> Code {
        match self {
            Self::FundusCamera(_) => codes::RETINA,
            Self::ExternalCamera | Self::SlitLamp => codes::EYE,
        }
    }
}

/// Makes an Ophthalmic Photography 8 Bit Image of a colour photograph. `laterality` of the header must be `L`, `R` or `B`; its body part and
/// region are not looked at.
///
/// # Errors
/// The buffer does not fit the size, or laterality, spacing or a patient's attribute is missing or not valid.
pub fn wrap_eye(
    header: &WrapHeader,
    size: GridSize,
    pixels: RgbPixels<'_>,
    device: EyeDevice,
) -> Result<DicomFile, WriteError> {
    let GridSize { columns, rows } = size;
    let module = PixelModule { columns, rows, rgb: true, bits_allocated: 8, bits_stored: 8 };
    module.check(pixels.0.len())?;
    let mut object = InMemDicomObject::new_empty();
    general(&mut object, header, uids::OPHTHALMIC_PHOTOGRAPHY8_BIT_IMAGE_STORAGE, "OP")?;
    synchronization(&mut object, header);
    module.put(&mut object);
    one_frame(&mut object);
    image(&mut object, header, device)?;
    region(&mut object, header, device)?;
    acquisition(&mut object, device);
    put_pixels_u8(&mut object, pixels.0);
    modules::finish(object)
}

/// Synchronization (§C.7.4.2): there is no clock but that of whoever took the picture.
fn synchronization(object: &mut InMemDicomObject, header: &WrapHeader) {
    let frame = derive("synchronization", &[header.uids.series.as_str().as_bytes()]);
    put(object, tags::SYNCHRONIZATION_FRAME_OF_REFERENCE_UID, VR::UI, frame.as_str());
    put(object, tags::SYNCHRONIZATION_TRIGGER, VR::CS, "NO TRIGGER");
    put(object, tags::ACQUISITION_TIME_SYNCHRONIZED, VR::CS, "N");
}

/// Multi-frame (§C.7.6.6) and Cine: one frame, and no time between frames.
fn one_frame(object: &mut InMemDicomObject) {
    put(object, tags::NUMBER_OF_FRAMES, VR::IS, "1");
    let pointer = PrimitiveValue::Tags([tags::FRAME_TIME].into_iter().collect());
    object.put(DataElement::new(tags::FRAME_INCREMENT_POINTER, VR::AT, pointer));
    put(object, tags::FRAME_TIME, VR::DS, "0");
}

/// Ophthalmic Photography Image (§C.8.17.2).
fn image(object: &mut InMemDicomObject, header: &WrapHeader, device: EyeDevice) -> Result<(), WriteError> {
    put(object, tags::ACQUISITION_DATE_TIME, VR::DT, &header.stamp.date_time());
    // Type 1 here: where nobody looked, the picture may identify the patient.
    let burned_in = if header.burned_in == Some(false) { "NO" } else { "YES" };
    put(object, tags::BURNED_IN_ANNOTATION, VR::CS, burned_in);
    if !header.lossy {
        put(object, tags::LOSSY_IMAGE_COMPRESSION, VR::CS, "00");
    }
    let EyeDevice::FundusCamera(spacing) = device else { return Ok(()) };
    let spacing = [spacing.row_mm, spacing.column_mm];
    if !spacing.iter().all(|mm| mm.is_finite() && *mm > 0.0) {
        return Err(wrong("Pixel Spacing", tags::PIXEL_SPACING, "not two distances in millimetres"));
    }
    let [row, column] = spacing.map(decimal_string);
    put_many(object, tags::PIXEL_SPACING, VR::DS, &[&row, &column]);
    Ok(())
}

/// Ocular Region Imaged (§C.8.17.5).
fn region(object: &mut InMemDicomObject, header: &WrapHeader, device: EyeDevice) -> Result<(), WriteError> {
    let side = side(header).filter(|side| *side != "U");
    let side =
        side.ok_or_else(|| wrong("Image Laterality", tags::IMAGE_LATERALITY, "an eye is L, R or B"))?;
    put(object, tags::IMAGE_LATERALITY, VR::CS, side);
    put(object, tags::BODY_PART_EXAMINED, VR::CS, "EYE");
    put_items(object, tags::ANATOMIC_REGION_SEQUENCE, vec![code_item(&device.region().into())]);
    Ok(())
}

/// Ophthalmic Photography Acquisition Parameters and Ophthalmic Photographic Parameters (§C.8.17.3, §C.8.17.4): a file tells none of them.
fn acquisition(object: &mut InMemDicomObject, device: EyeDevice) {
    put(object, tags::PATIENT_EYE_MOVEMENT_COMMANDED, VR::CS, "");
    put(object, tags::EMMETROPIC_MAGNIFICATION, VR::FL, "");
    put(object, tags::INTRA_OCULAR_PRESSURE, VR::FL, "");
    put(object, tags::HORIZONTAL_FIELD_OF_VIEW, VR::FL, "");
    put(object, tags::PUPIL_DILATED, VR::CS, "");
    put(object, tags::DETECTOR_TYPE, VR::CS, "");
    put_items(object, tags::ACQUISITION_DEVICE_TYPE_CODE_SEQUENCE, vec![code_item(&device.code().into())]);
    for unknown in [
        tags::REFRACTIVE_STATE_SEQUENCE,
        tags::ILLUMINATION_TYPE_CODE_SEQUENCE,
        tags::LIGHT_PATH_FILTER_TYPE_STACK_CODE_SEQUENCE,
        tags::IMAGE_PATH_FILTER_TYPE_STACK_CODE_SEQUENCE,
        tags::LENSES_CODE_SEQUENCE,
        tags::ACQUISITION_CONTEXT_SEQUENCE,
    ] {
        put_items(object, unknown, vec![]);
    }
}

fn wrong(name: &'static str, tag: Tag, problem: &str) -> WriteError {
    WriteError::Value { name, tag, problem: problem.to_owned() }
}
