//! Plain pictures as DICOM images: a grey picture of a radiograph, a colour photograph.

use dicom_core::VR;
use dicom_dictionary_std::{tags, uids};
use dicom_object::InMemDicomObject;
use overread_domain::{CodedConcept, GridSize, Identified, PixelSpacing, Uid};

use super::WriteError;
use super::codes::{self, code_item};
use super::elements::{DicomFile, put, put_items, put_many, put_pixels_u8, put_pixels_u16, put_some};
use super::identity::derive;
use super::modules::{self, PixelModule, Series};
use super::source::SourceContext;
use super::stamp::Stamp;
use super::text::{decimal_string, identifier, sanitised};

/// UIDs of a picture that has none: functions of its content, so that the same picture sent twice
/// is the same study.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContentUids {
    /// Study Instance UID.
    pub study: Uid,
    /// Series Instance UID.
    pub series: Uid,
    /// SOP Instance UID.
    pub instance: Uid,
}

impl ContentUids {
    /// The UIDs of one picture, from a hash of its bytes.
    pub fn of_picture(hash: &[u8]) -> Self {
        Self::of_set(hash, hash)
    }

    /// The UIDs of one picture of a set: the set's hash names study and series.
    pub fn of_set(set: &[u8], picture: &[u8]) -> Self {
        Self {
            study: derive("content-study", &[set]),
            series: derive("content-series", &[set]),
            instance: derive("content-instance", &[set, picture]),
        }
    }
}

/// Header values of a wrapped picture. The patient's may be given, and stay empty otherwise.
#[derive(Clone)]
pub struct WrapHeader {
    /// Study, series and instance.
    pub uids: ContentUids,
    /// Patient ID (0010,0020).
    pub patient_id: Option<Identified<String>>,
    /// Patient's Name (0010,0010).
    pub patient_name: Option<Identified<String>>,
    /// Patient's Birth Date (0010,0030), `YYYYMMDD`.
    pub birth_date: Option<Identified<String>>,
    /// Patient's Sex (0010,0040): `M`, `F` or `O`.
    pub sex: Option<String>,
    /// Accession Number (0008,0050).
    pub accession: Option<Identified<String>>,
    /// When the picture was taken or received.
    pub stamp: Stamp,
    /// Number of the picture in its series, from 1.
    pub number: u32,
    /// Study Description (0008,1030).
    pub description: Option<String>,
    /// Body Part Examined (0018,0015), such as `CHEST`.
    pub body_part: Option<String>,
    /// The body part as a concept (Anatomic Region Sequence); must be given for a DX image of a known region.
    pub region: Option<CodedConcept>,
    /// View Position (0018,5101), such as `PA`.
    pub view: Option<String>,
    /// `L`, `R`, `U` (unpaired) or `B`; unpaired where none is given.
    pub laterality: Option<String>,
    /// Burned In Annotation: whether the picture shows who the patient is. None where nobody looked.
    pub burned_in: Option<bool>,
    /// The picture was compressed with loss before it was given.
    pub lossy: bool,
}

impl WrapHeader {
    /// A header without patient.
    pub fn new(uids: ContentUids, stamp: Stamp) -> Self {
        Self {
            uids,
            patient_id: None,
            patient_name: None,
            birth_date: None,
            sex: None,
            accession: None,
            stamp,
            number: 1,
            description: None,
            body_part: None,
            region: None,
            view: None,
            laterality: None,
            burned_in: None,
            lossy: false,
        }
    }
}

/// What a picture must come with to be a DX image: both are type 1 there, and made-up ones would be
/// measured with and read from.
#[derive(Clone, Debug, PartialEq)]
pub struct DxGeometry {
    /// Spacing at the detector (Imager Pixel Spacing (0018,1164)).
    pub spacing: PixelSpacing,
    /// Direction of the row and of the column (Patient Orientation (0020,0020)), such as `["L", "F"]`.
    pub orientation: [String; 2],
}

/// A grey picture, row by row from the top left, zero shown black.
#[derive(Clone, Copy, Debug)]
pub enum GreyPixels<'a> {
    /// 8 bits.
    U8(&'a [u8]),
    /// 9 to 16 bits.
    U16 {
        /// Bits Stored: 9 to 16; every value fits them.
        bits_stored: u16,
        /// The values.
        values: &'a [u16],
    },
}

/// A colour picture: red, green, blue, one byte each, row by row from the top left (`y, x, c`).
#[derive(Clone, Copy, Debug)]
pub struct RgbPixels<'a>(pub &'a [u8]);

/// Makes an image of a grey picture of a radiograph.
///
/// With `geometry` it is a Digital X-Ray Image - For Presentation (PS3.3 §A.26); without, a Computed
/// Radiography Image (§A.2), which asks for neither spacing nor orientation.
///
/// # Errors
/// The buffer does not fit the size, a value does not fit the bits, or the geometry or the
/// patient's attributes are not valid.
pub fn wrap_radiograph(
    header: &WrapHeader,
    size: GridSize,
    pixels: GreyPixels<'_>,
    geometry: Option<&DxGeometry>,
) -> Result<DicomFile, WriteError> {
    let (bits_allocated, bits_stored, samples) = match pixels {
        GreyPixels::U8(values) => (8, 8, values.len()),
        GreyPixels::U16 { bits_stored, values } => (16, bits_stored, values.len()),
    };
    let GridSize { columns, rows } = size;
    let module = PixelModule { columns, rows, rgb: false, bits_allocated, bits_stored };
    module.check(samples)?;
    check_bits(pixels)?;
    let mut object = InMemDicomObject::new_empty();
    let (class, modality) = match geometry {
        Some(_) => (uids::DIGITAL_X_RAY_IMAGE_STORAGE_FOR_PRESENTATION, "DX"),
        None => (uids::COMPUTED_RADIOGRAPHY_IMAGE_STORAGE, "CR"),
    };
    general(&mut object, header, class, modality)?;
    module.put(&mut object);
    put_cs(&mut object, tags::BODY_PART_EXAMINED, header.body_part.as_deref());
    match geometry {
        Some(geometry) => dx(&mut object, header, geometry, bits_stored)?,
        None => cr(&mut object, header),
    }
    match pixels {
        GreyPixels::U8(values) => put_pixels_u8(&mut object, values),
        GreyPixels::U16 { values, .. } => put_pixels_u16(&mut object, values),
    }
    modules::finish(object)
}

/// Makes a VL Photographic Image (PS3.3 §A.32.4) of a colour photograph.
///
/// # Errors
/// The buffer does not fit the size.
pub fn wrap_photograph(
    header: &WrapHeader,
    size: GridSize,
    pixels: RgbPixels<'_>,
) -> Result<DicomFile, WriteError> {
    let GridSize { columns, rows } = size;
    let module = PixelModule { columns, rows, rgb: true, bits_allocated: 8, bits_stored: 8 };
    module.check(pixels.0.len())?;
    let mut object = InMemDicomObject::new_empty();
    general(&mut object, header, uids::VL_PHOTOGRAPHIC_IMAGE_STORAGE, "XC")?;
    module.put(&mut object);
    if !header.lossy {
        put(&mut object, tags::LOSSY_IMAGE_COMPRESSION, VR::CS, "00");
    }
    put_cs(&mut object, tags::BODY_PART_EXAMINED, header.body_part.as_deref());
    modules::laterality(&mut object, header.body_part.as_deref(), one_side(header));
    if let Some(region) = &header.region {
        put_items(&mut object, tags::ANATOMIC_REGION_SEQUENCE, vec![code_item(region)]);
    }
    put_items(&mut object, tags::ACQUISITION_CONTEXT_SEQUENCE, vec![]);
    put_pixels_u8(&mut object, pixels.0);
    modules::finish(object)
}

fn check_bits(pixels: GreyPixels<'_>) -> Result<(), WriteError> {
    let GreyPixels::U16 { bits_stored, values } = pixels else { return Ok(()) };
    let problem = if !(9..=16).contains(&bits_stored) {
        format!("{bits_stored} bits are not 9 to 16")
    } else if let Some(v) = values.iter().find(|v| u32::from(**v) >> bits_stored != 0) {
        format!("{v} does not fit {bits_stored} bits")
    } else {
        return Ok(());
    };
    Err(WriteError::Value { name: "Bits Stored", tag: tags::BITS_STORED, problem })
}

/// What all wrapped pictures share: patient, study, series, equipment, general image.
pub(super) fn general(
    object: &mut InMemDicomObject,
    header: &WrapHeader,
    class: &'static str,
    modality: &str,
) -> Result<(), WriteError> {
    let uids = &header.uids;
    modules::sop_common(object, class, &uids.instance);
    let context = SourceContext::for_study(uids.study.clone());
    let stamp = modules::patient_and_study(object, &context, header.stamp);
    put(object, tags::STUDY_DATE, VR::DA, &stamp.date());
    put(object, tags::STUDY_TIME, VR::TM, &stamp.time());
    put(object, tags::ACQUISITION_DATE, VR::DA, &stamp.date());
    put(object, tags::ACQUISITION_TIME, VR::TM, &stamp.time());
    patient(object, header)?;
    let series =
        Series { uid: uids.series.clone(), modality, number: 1, description: "Wrapped by Overread".into() };
    modules::series_and_instance(object, &series, header.number, stamp);
    put(object, tags::MANUFACTURER, VR::LO, "");
    put_many(object, tags::IMAGE_TYPE, VR::CS, &["ORIGINAL", "PRIMARY"]);
    put(object, tags::PATIENT_ORIENTATION, VR::CS, "");
    put(object, tags::STUDY_ID, VR::SH, "1");
    if header.lossy {
        put(object, tags::LOSSY_IMAGE_COMPRESSION, VR::CS, "01");
        put(object, tags::LOSSY_IMAGE_COMPRESSION_METHOD, VR::CS, "ISO_10918_1");
    }
    if let Some(burned_in) = header.burned_in {
        put(object, tags::BURNED_IN_ANNOTATION, VR::CS, if burned_in { "YES" } else { "NO" });
    }
    Ok(())
}

/// The patient's attributes. What the caller gives is not cut to fit: it is refused.
fn patient(object: &mut InMemDicomObject, header: &WrapHeader) -> Result<(), WriteError> {
    let whole = |vr, value: &str| identifier(vr, value);
    let given = |value: &Option<Identified<String>>| value.as_ref().map(|v| v.reveal().clone());
    let fields = [
        ("Patient ID", tags::PATIENT_ID, VR::LO, given(&header.patient_id)),
        ("Patient's Name", tags::PATIENT_NAME, VR::PN, given(&header.patient_name)),
        ("Patient's Birth Date", tags::PATIENT_BIRTH_DATE, VR::DA, given(&header.birth_date)),
        ("Patient's Sex", tags::PATIENT_SEX, VR::CS, header.sex.clone()),
        ("Accession Number", tags::ACCESSION_NUMBER, VR::SH, given(&header.accession)),
        ("Study Description", tags::STUDY_DESCRIPTION, VR::LO, header.description.clone()),
    ];
    for (name, tag, vr, value) in fields {
        let Some(value) = value.filter(|v| !v.is_empty()) else { continue };
        let valid = if matches!(vr, VR::LO | VR::SH) { whole(vr, &value) } else { sanitised(vr, &value) };
        let sex_fits = tag != tags::PATIENT_SEX || ["M", "F", "O"].contains(&value.as_str());
        let valid = valid.filter(|_| sex_fits);
        let problem = || WriteError::Value {
            name,
            tag,
            problem: format!("not a valid value of VR {}", vr.to_string()),
        };
        put(object, tag, vr, &valid.ok_or_else(problem)?);
    }
    Ok(())
}

pub(super) fn put_cs(object: &mut InMemDicomObject, tag: dicom_core::Tag, value: Option<&str>) {
    put_some(object, tag, VR::CS, value.and_then(|v| sanitised(VR::CS, v)).as_deref());
}

pub(super) fn side(header: &WrapHeader) -> Option<&str> {
    header.laterality.as_deref().filter(|s| ["L", "R", "U", "B"].contains(s))
}

/// Laterality (0020,0060) knows left and right alone.
fn one_side(header: &WrapHeader) -> Option<&str> {
    side(header).filter(|s| *s == "L" || *s == "R")
}

/// CR Series (§C.8.1.1).
fn cr(object: &mut InMemDicomObject, header: &WrapHeader) {
    if header.body_part.is_none() {
        put(object, tags::BODY_PART_EXAMINED, VR::CS, "");
    }
    put(
        object,
        tags::VIEW_POSITION,
        VR::CS,
        &header.view.as_deref().and_then(|v| sanitised(VR::CS, v)).unwrap_or_default(),
    );
    modules::laterality(object, header.body_part.as_deref(), one_side(header));
}

/// DX Series, Anatomy Imaged, Image, Detector and Positioning (§C.8.11), VOI LUT.
fn dx(
    object: &mut InMemDicomObject,
    header: &WrapHeader,
    geometry: &DxGeometry,
    bits_stored: u16,
) -> Result<(), WriteError> {
    detector_and_orientation(object, geometry)?;
    put(object, tags::PRESENTATION_INTENT_TYPE, VR::CS, "FOR PRESENTATION");
    put_many(object, tags::IMAGE_TYPE, VR::CS, &["ORIGINAL", "PRIMARY", ""]);
    put(object, tags::IMAGE_LATERALITY, VR::CS, side(header).unwrap_or("U"));
    let region = header.region.iter().map(code_item).collect();
    put_items(object, tags::ANATOMIC_REGION_SEQUENCE, region);
    view(object, header.view.as_deref());
    put(object, tags::DETECTOR_TYPE, VR::CS, "");
    put(object, tags::POSITIONER_TYPE, VR::CS, "");
    // Of the two values there are, the one that a picture made to be looked at is closer to.
    put(object, tags::PIXEL_INTENSITY_RELATIONSHIP, VR::CS, "LOG");
    intensity_sign(object);
    put(object, tags::RESCALE_INTERCEPT, VR::DS, "0");
    put(object, tags::RESCALE_SLOPE, VR::DS, "1");
    put(object, tags::RESCALE_TYPE, VR::LO, "US");
    put(object, tags::PRESENTATION_LUT_SHAPE, VR::CS, "IDENTITY");
    let range = f64::from(1u32 << bits_stored.min(16));
    put(object, tags::WINDOW_CENTER, VR::DS, &decimal_string(range / 2.0));
    put(object, tags::WINDOW_WIDTH, VR::DS, &decimal_string(range));
    if !header.lossy {
        put(object, tags::LOSSY_IMAGE_COMPRESSION, VR::CS, "00");
    }
    // Type 1 here: where nobody looked, the picture may identify the patient.
    let burned_in = if header.burned_in == Some(false) { "NO" } else { "YES" };
    put(object, tags::BURNED_IN_ANNOTATION, VR::CS, burned_in);
    put_items(object, tags::ACQUISITION_CONTEXT_SEQUENCE, vec![]);
    Ok(())
}

/// View Position as text and as a concept (View Code Sequence).
fn view(object: &mut InMemDicomObject, position: Option<&str>) {
    put_cs(object, tags::VIEW_POSITION, position);
    let Some(view) = position.and_then(codes::view) else { return };
    let mut item = code_item(&view.into());
    put_items(&mut item, tags::VIEW_MODIFIER_CODE_SEQUENCE, vec![]);
    put_items(object, tags::VIEW_CODE_SEQUENCE, vec![item]);
}

fn detector_and_orientation(object: &mut InMemDicomObject, geometry: &DxGeometry) -> Result<(), WriteError> {
    let spacing = [geometry.spacing.row_mm, geometry.spacing.column_mm];
    if !spacing.iter().all(|mm| mm.is_finite() && *mm > 0.0) {
        let problem = "not two distances in millimetres".into();
        return Err(WriteError::Value {
            name: "Imager Pixel Spacing",
            tag: tags::IMAGER_PIXEL_SPACING,
            problem,
        });
    }
    let directions = geometry.orientation.each_ref().map(String::as_str);
    if !directions.iter().all(|d| !d.is_empty() && d.len() <= 3 && d.chars().all(|c| "ALPRHF".contains(c))) {
        let problem = "not two directions of A, P, L, R, H, F".into();
        return Err(WriteError::Value {
            name: "Patient Orientation",
            tag: tags::PATIENT_ORIENTATION,
            problem,
        });
    }
    let [row, column] = spacing.map(decimal_string);
    put_many(object, tags::IMAGER_PIXEL_SPACING, VR::DS, &[&row, &column]);
    put_many(object, tags::PATIENT_ORIENTATION, VR::CS, &directions);
    Ok(())
}

/// Pixel Intensity Relationship Sign: higher values are less X-ray intensity in MONOCHROME2.
fn intensity_sign(object: &mut InMemDicomObject) {
    let value = dicom_core::PrimitiveValue::from(-1_i16);
    object.put(dicom_core::DataElement::new(tags::PIXEL_INTENSITY_RELATIONSHIP_SIGN, VR::SS, value));
}
