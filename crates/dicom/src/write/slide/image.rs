//! A level of a slide as a VL Whole Slide Microscopy Image (PS3.3 §A.32.8), all but the pixels.

use dicom_core::{DataElement, PrimitiveValue, Tag, VR};
use dicom_dictionary_std::{tags, uids};
use dicom_object::InMemDicomObject;
use overread_domain::GridSize;

use super::{TILE, tiles_of};
use crate::write::codes::{self, code_item};
use crate::write::elements::{into_file_of, put, put_items, put_many, to_part10};
use crate::write::identity::derive;
use crate::write::modules;
use crate::write::plane::SlidePlane;
use crate::write::specimen::LossyCompression;
use crate::write::text::decimal_string;
use crate::write::wrap::{WrapHeader, general, put_cs};
use crate::write::{WriteError, elements};

/// Depth of what is in focus, in micrometres, which the image must state and a file does not tell: about that of an objective of 20×.
const DEPTH_MICRONS: f32 = 1.0;
/// Lossy Image Compression Method (0028,2114) of JPEG.
pub(super) const JPEG: &str = "ISO_10918_1";
/// Longest ratio that is written: whatever it comes to in the end takes as much room.
const RATIO_WIDTH: usize = 10;

/// What a level is written with.
pub(super) struct LevelImage<'a> {
    /// Patient, study and series; the instance is the level's.
    pub(super) header: &'a WrapHeader,
    /// Columns and rows of the level.
    pub(super) size: GridSize,
    /// Height and width of what the slide shows, in millimetres; the same for all levels.
    pub(super) extent_mm: [f64; 2],
    /// Columns and rows of the finest level.
    pub(super) finest: GridSize,
    /// The ICC profile of the pixels; they are sRGB where there is none.
    pub(super) icc: Option<&'a [u8]>,
    /// Lossy compressions that the pixels have gone through before this one.
    pub(super) before: &'a [LossyCompression],
}

impl LevelImage<'_> {
    /// The bytes before the pixel data, which are as many for every ratio below 10 million.
    pub(super) fn head(&self, ratio: f64) -> Result<Vec<u8>, WriteError> {
        to_part10(&self.file(ratio)?)
    }

    /// How many tiles it has.
    pub(super) fn frames(&self) -> u64 {
        tiles_of(self.size)
    }

    fn file(&self, ratio: f64) -> Result<elements::DicomFile, WriteError> {
        let mut object = InMemDicomObject::new_empty();
        general(&mut object, self.header, uids::VL_WHOLE_SLIDE_MICROSCOPY_IMAGE_STORAGE, "SM")?;
        object.remove_element(tags::PATIENT_ORIENTATION);
        put_cs(&mut object, tags::BODY_PART_EXAMINED, self.header.body_part.as_deref());
        equipment(&mut object);
        self.frame_of_reference(&mut object);
        specimen(&mut object, self.header);
        self.image(&mut object);
        self.pixels(&mut object, ratio);
        self.matrix(&mut object);
        self.optical_path(&mut object)?;
        put_items(&mut object, tags::SHARED_FUNCTIONAL_GROUPS_SEQUENCE, vec![self.shared()]);
        into_file_of(object, uids::JPEG_BASELINE8_BIT)
    }

    /// Where the level's pixels lie: a nominal place, since a scanner's file does not tell where on the glass it begins.
    fn plane(&self) -> SlidePlane {
        let [height, width] = self.extent_mm;
        let spacing = |size: GridSize| [height / f64::from(size.rows), width / f64::from(size.columns)];
        let (finest, own) = (spacing(self.finest), spacing(self.size));
        SlidePlane::nominal(finest).cells([own[0] / finest[0], own[1] / finest[1]], [0.0; 2])
    }

    /// PS3.3 §C.8.12.4.1.1: a compressed version of another image is DERIVED (§C.7.6.1.1.5).
    const fn kind(&self) -> [&'static str; 4] {
        let whole = self.size.columns == self.finest.columns && self.size.rows == self.finest.rows;
        ["DERIVED", "PRIMARY", "VOLUME", if whole { "NONE" } else { "RESAMPLED" }]
    }

    /// A UID that all levels of the slide share.
    fn shared_uid(&self, kind: &str) -> String {
        derive(kind, &[self.header.uids.series.as_str().as_bytes()]).as_str().to_owned()
    }

    /// Frame of Reference (§C.7.4.1), Multi-Resolution Pyramid (§C.8.12.16), Multi-frame Dimension (§C.7.6.17): one for all levels.
    fn frame_of_reference(&self, object: &mut InMemDicomObject) {
        put(object, tags::FRAME_OF_REFERENCE_UID, VR::UI, &self.shared_uid("slide-frame-of-reference"));
        put(object, tags::POSITION_REFERENCE_INDICATOR, VR::LO, "SLIDE_CORNER");
        put(object, tags::PYRAMID_UID, VR::UI, &self.shared_uid("slide-pyramid"));
        let mut item = InMemDicomObject::new_empty();
        put(&mut item, tags::DIMENSION_ORGANIZATION_UID, VR::UI, &self.shared_uid("slide-dimensions"));
        put_items(object, tags::DIMENSION_ORGANIZATION_SEQUENCE, vec![item]);
        put(object, tags::DIMENSION_ORGANIZATION_TYPE, VR::CS, "TILED_FULL");
    }

    /// Whole Slide Microscopy Image (§C.8.12.4).
    fn image(&self, object: &mut InMemDicomObject) {
        put_many(object, tags::IMAGE_TYPE, VR::CS, &self.kind());
        put(object, tags::ACQUISITION_DATE_TIME, VR::DT, &self.header.stamp.date_time());
        put(object, tags::DERIVATION_DESCRIPTION, VR::ST, "Tiles of a scanner's file, compressed anew");
        let [height, width] = self.extent_mm;
        put_fl(object, tags::IMAGED_VOLUME_WIDTH, width as f32);
        put_fl(object, tags::IMAGED_VOLUME_HEIGHT, height as f32);
        put_fl(object, tags::IMAGED_VOLUME_DEPTH, DEPTH_MICRONS);
        put(object, tags::VOLUMETRIC_PROPERTIES, VR::CS, "VOLUME");
        // Neither the label nor the glass around the scanned area is in it, and scanners write nothing into the pixels.
        put(object, tags::SPECIMEN_LABEL_IN_IMAGE, VR::CS, "NO");
        put(object, tags::BURNED_IN_ANNOTATION, VR::CS, "NO");
        put(object, tags::FOCUS_METHOD, VR::CS, "AUTO");
        put(object, tags::EXTENDED_DEPTH_OF_FIELD, VR::CS, "NO");
        put_items(object, tags::ACQUISITION_CONTEXT_SEQUENCE, vec![]);
    }

    /// Image Pixel (§C.7.6.3) and what compression has done (§C.7.6.1.1.5).
    fn pixels(&self, object: &mut InMemDicomObject, ratio: f64) {
        let side = TILE;
        modules::PixelModule { columns: side, rows: side, rgb: true, bits_allocated: 8, bits_stored: 8 }
            .put(object);
        // Of JPEG's transfer syntaxes no other is allowed (§C.8.12.4.1.5), whatever the resolution of its colours.
        put(object, tags::PHOTOMETRIC_INTERPRETATION, VR::CS, "YBR_FULL_422");
        put(object, tags::NUMBER_OF_FRAMES, VR::IS, &self.frames().to_string());
        put(object, tags::LOSSY_IMAGE_COMPRESSION, VR::CS, "01");
        let last = format!("{ratio:<RATIO_WIDTH$.2}");
        let before = self.before.iter();
        let ratios: Vec<&str> = before.clone().map(|l| l.ratio.as_str()).chain([last.as_str()]).collect();
        let methods: Vec<&str> = before.map(|l| l.method.as_str()).chain([JPEG]).collect();
        put_many(object, tags::LOSSY_IMAGE_COMPRESSION_RATIO, VR::DS, &ratios);
        put_many(object, tags::LOSSY_IMAGE_COMPRESSION_METHOD, VR::CS, &methods);
    }

    /// Microscope Slide Layer Tile Organization (§C.8.12.14).
    fn matrix(&self, object: &mut InMemDicomObject) {
        put_ul(object, tags::TOTAL_PIXEL_MATRIX_COLUMNS, self.size.columns);
        put_ul(object, tags::TOTAL_PIXEL_MATRIX_ROWS, self.size.rows);
        put_ul(object, tags::TOTAL_PIXEL_MATRIX_FOCAL_PLANES, 1);
        let plane = self.plane();
        let mut origin = InMemDicomObject::new_empty();
        let places = [
            tags::X_OFFSET_IN_SLIDE_COORDINATE_SYSTEM,
            tags::Y_OFFSET_IN_SLIDE_COORDINATE_SYSTEM,
            tags::Z_OFFSET_IN_SLIDE_COORDINATE_SYSTEM,
        ];
        for (tag, mm) in places.into_iter().zip(plane.origin) {
            put(&mut origin, tag, VR::DS, &decimal_string(mm));
        }
        put_items(object, tags::TOTAL_PIXEL_MATRIX_ORIGIN_SEQUENCE, vec![origin]);
        let orientation = plane.orientation.map(decimal_string);
        put_many(object, tags::IMAGE_ORIENTATION_SLIDE, VR::DS, &orientation.each_ref().map(String::as_str));
    }

    /// Optical Path (§C.8.12.5): one, of white light.
    fn optical_path(&self, object: &mut InMemDicomObject) -> Result<(), WriteError> {
        put_ul(object, tags::NUMBER_OF_OPTICAL_PATHS, 1);
        let mut path = InMemDicomObject::new_empty();
        put(&mut path, tags::OPTICAL_PATH_IDENTIFIER, VR::SH, "1");
        let light = vec![code_item(&codes::BRIGHTFIELD.into())];
        put_items(&mut path, tags::ILLUMINATION_TYPE_CODE_SEQUENCE, light);
        let colour = vec![code_item(&codes::FULL_SPECTRUM.into())];
        put_items(&mut path, tags::ILLUMINATION_COLOR_CODE_SEQUENCE, colour);
        let mut profile = match self.icc {
            Some(profile) => profile.to_vec(),
            None => srgb()?,
        };
        profile.resize(profile.len().next_multiple_of(2), 0);
        path.put(DataElement::new(tags::ICC_PROFILE, VR::OB, PrimitiveValue::U8(profile.into())));
        if self.icc.is_none() {
            put(&mut path, tags::COLOR_SPACE, VR::CS, "SRGB");
        }
        put_items(object, tags::OPTICAL_PATH_SEQUENCE, vec![path]);
        Ok(())
    }

    /// The functional groups that hold for all frames (§C.7.6.16.2); those of each frame follow from `TILED_FULL`.
    fn shared(&self) -> InMemDicomObject {
        let mut measures = InMemDicomObject::new_empty();
        let [down, across] = self.plane().spacing.map(decimal_string);
        put_many(&mut measures, tags::PIXEL_SPACING, VR::DS, &[&down, &across]);
        let thickness = decimal_string(f64::from(DEPTH_MICRONS) / 1e3);
        put(&mut measures, tags::SLICE_THICKNESS, VR::DS, &thickness);
        let mut kind = InMemDicomObject::new_empty();
        put_many(&mut kind, tags::FRAME_TYPE, VR::CS, &self.kind());
        let mut path = InMemDicomObject::new_empty();
        put(&mut path, tags::OPTICAL_PATH_IDENTIFIER, VR::SH, "1");
        let mut group = InMemDicomObject::new_empty();
        put_items(&mut group, tags::PIXEL_MEASURES_SEQUENCE, vec![measures]);
        put_items(&mut group, tags::WHOLE_SLIDE_MICROSCOPY_IMAGE_FRAME_TYPE_SEQUENCE, vec![kind]);
        put_items(&mut group, tags::OPTICAL_PATH_IDENTIFICATION_SEQUENCE, vec![path]);
        group
    }
}

/// Enhanced General Equipment (§C.7.5.2): what made the objects. Which scanner made the pixels is in texts that may hold more than that.
fn equipment(object: &mut InMemDicomObject) {
    put(object, tags::MANUFACTURER, VR::LO, "Overread");
    put(object, tags::MANUFACTURER_MODEL_NAME, VR::LO, "overread wrap");
    put(object, tags::DEVICE_SERIAL_NUMBER, VR::LO, "unknown");
    put(object, tags::SOFTWARE_VERSIONS, VR::LO, env!("CARGO_PKG_VERSION"));
}

/// Specimen (§C.7.6.22). What stands on the label is not known: container and specimen are named by what they show.
fn specimen(object: &mut InMemDicomObject, header: &WrapHeader) {
    let uid = derive("slide-specimen", &[header.uids.series.as_str().as_bytes()]);
    // The last digits of a UID that is a hash; an identifier has 64 characters at most.
    let name = format!("slide-{}", &uid.as_str()[uid.as_str().len() - 12..]);
    put(object, tags::CONTAINER_IDENTIFIER, VR::LO, &name);
    put_items(object, tags::ISSUER_OF_THE_CONTAINER_IDENTIFIER_SEQUENCE, vec![]);
    let kind = vec![code_item(&codes::MICROSCOPE_SLIDE.into())];
    put_items(object, tags::CONTAINER_TYPE_CODE_SEQUENCE, kind);
    let mut item = InMemDicomObject::new_empty();
    put(&mut item, tags::SPECIMEN_IDENTIFIER, VR::LO, &name);
    put(&mut item, tags::SPECIMEN_UID, VR::UI, uid.as_str());
    put_items(&mut item, tags::ISSUER_OF_THE_SPECIMEN_IDENTIFIER_SEQUENCE, vec![]);
    put_items(&mut item, tags::SPECIMEN_PREPARATION_SEQUENCE, vec![]);
    if let Some(region) = &header.region {
        put_items(&mut item, tags::PRIMARY_ANATOMIC_STRUCTURE_SEQUENCE, vec![code_item(region)]);
    }
    put_items(object, tags::SPECIMEN_DESCRIPTION_SEQUENCE, vec![item]);
}

/// An ICC profile of sRGB as of an input device (PS3.3 §C.11.15), the same bytes every time.
fn srgb() -> Result<Vec<u8>, WriteError> {
    let mut profile = moxcms::ColorProfile::new_srgb();
    profile.profile_class = moxcms::ProfileClass::InputDevice;
    // A tag of later versions, which says nothing that the others do not.
    profile.cicp = None;
    let wrong = |e: moxcms::CmsError| WriteError::Value {
        name: "ICC Profile",
        tag: tags::ICC_PROFILE,
        problem: format!("sRGB cannot be encoded: {e}"),
    };
    let mut bytes = profile.encode().map_err(wrong)?;
    // The date of its making: year, month and day, then the time, each in two bytes.
    if let Some(date) = bytes.get_mut(24..36) {
        date.copy_from_slice(&[0x07, 0xD0, 0, 1, 0, 1, 0, 0, 0, 0, 0, 0]);
    }
    Ok(bytes)
}

fn put_fl(object: &mut InMemDicomObject, tag: Tag, value: f32) {
    object.put(DataElement::new(tag, VR::FL, PrimitiveValue::from(value)));
}

fn put_ul(object: &mut InMemDicomObject, tag: Tag, value: u32) {
    object.put(DataElement::new(tag, VR::UL, PrimitiveValue::from(value)));
}
