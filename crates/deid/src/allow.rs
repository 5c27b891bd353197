//! The attributes that may leave, each with the form that its value must have (PS3.6 2025c).
//!
//! Reading them aloud is the review: what is not here does not leave. UIDs are not here; they are mapped one by one.

use dicom_core::Tag;
use dicom_dictionary_std::tags as t;

/// The form of a value. A value of another form is left out, whole.
pub(crate) enum Rule {
    /// Code strings of any word, at most so many.
    Code(usize),
    /// One of these words.
    Word(&'static [&'static str]),
    /// Decimal strings, at most so many.
    Decimal(usize),
    /// Integer strings, at most so many.
    Integer(usize),
    /// 16-bit numbers, signed or not, at most so many.
    Short(usize),
    /// A table of 16-bit words.
    Table,
    /// Unsigned 32-bit numbers, at most so many.
    Long(usize),
    /// Signed 32-bit numbers, at most so many.
    Signed(usize),
    /// 32-bit floats, at most so many.
    Float(usize),
    /// 64-bit floats, at most so many.
    Double(usize),
    /// Tags out of these.
    Pointer(&'static [Tag]),
    /// Items that hold these attributes alone, at most so many.
    Items(usize, &'static [Entry]),
}

/// An attribute that may leave.
pub(crate) type Entry = (Tag, Rule);

use Rule::{Code, Decimal, Double, Float, Integer, Items, Long, Pointer, Short, Signed, Table, Word};

/// More frames or table entries than this are not read anyway.
const MANY: usize = 1 << 24;

/// The top level, in the order of the modules.
pub(crate) const OBJECT: &[Entry] = &[
    // General Series, General Image, DX Series: what is shown, of which part, from where.
    (t::MODALITY, Code(1)),
    (t::PRESENTATION_INTENT_TYPE, Word(&["FOR PRESENTATION", "FOR PROCESSING"])),
    (t::IMAGE_TYPE, Code(8)),
    (t::BODY_PART_EXAMINED, Code(1)),
    (t::VIEW_POSITION, Code(1)),
    (t::LATERALITY, Word(&["L", "R"])),
    (t::IMAGE_LATERALITY, Word(&["L", "R", "U", "B"])),
    (t::PATIENT_POSITION, Code(1)),
    (t::PATIENT_ORIENTATION, Code(2)),
    // Orders the images of a series that have no position.
    (t::INSTANCE_NUMBER, Integer(1)),
    (t::LOSSY_IMAGE_COMPRESSION, Word(&["00", "01"])),
    (t::LOSSY_IMAGE_COMPRESSION_RATIO, Decimal(16)),
    (t::LOSSY_IMAGE_COMPRESSION_METHOD, Code(16)),
    (t::BURNED_IN_ANNOTATION, Word(&["YES", "NO"])),
    (t::RECOGNIZABLE_VISUAL_FEATURES, Word(&["YES", "NO"])),
    // Image Pixel, Multi-frame, Palette Color Lookup Table. Number of Frames is written from what is there.
    (t::SAMPLES_PER_PIXEL, Short(1)),
    (t::PHOTOMETRIC_INTERPRETATION, Code(1)),
    (t::PLANAR_CONFIGURATION, Short(1)),
    (t::ROWS, Short(1)),
    (t::COLUMNS, Short(1)),
    (t::PIXEL_ASPECT_RATIO, Integer(2)),
    (t::BITS_ALLOCATED, Short(1)),
    (t::BITS_STORED, Short(1)),
    (t::HIGH_BIT, Short(1)),
    (t::PIXEL_REPRESENTATION, Short(1)),
    (t::SMALLEST_IMAGE_PIXEL_VALUE, Short(1)),
    (t::LARGEST_IMAGE_PIXEL_VALUE, Short(1)),
    (t::PIXEL_PADDING_VALUE, Short(1)),
    (t::PIXEL_PADDING_RANGE_LIMIT, Short(1)),
    (t::FLOAT_PIXEL_PADDING_VALUE, Float(1)),
    (t::FLOAT_PIXEL_PADDING_RANGE_LIMIT, Float(1)),
    (t::DOUBLE_FLOAT_PIXEL_PADDING_VALUE, Double(1)),
    (t::DOUBLE_FLOAT_PIXEL_PADDING_RANGE_LIMIT, Double(1)),
    (t::RED_PALETTE_COLOR_LOOKUP_TABLE_DESCRIPTOR, Short(3)),
    (t::GREEN_PALETTE_COLOR_LOOKUP_TABLE_DESCRIPTOR, Short(3)),
    (t::BLUE_PALETTE_COLOR_LOOKUP_TABLE_DESCRIPTOR, Short(3)),
    (t::RED_PALETTE_COLOR_LOOKUP_TABLE_DATA, Table),
    (t::GREEN_PALETTE_COLOR_LOOKUP_TABLE_DATA, Table),
    (t::BLUE_PALETTE_COLOR_LOOKUP_TABLE_DATA, Table),
    (t::SEGMENTED_RED_PALETTE_COLOR_LOOKUP_TABLE_DATA, Table),
    (t::SEGMENTED_GREEN_PALETTE_COLOR_LOOKUP_TABLE_DATA, Table),
    (t::SEGMENTED_BLUE_PALETTE_COLOR_LOOKUP_TABLE_DATA, Table),
    // Modality LUT, VOI LUT, presentation.
    (t::RESCALE_INTERCEPT, Decimal(1)),
    (t::RESCALE_SLOPE, Decimal(1)),
    (t::RESCALE_TYPE, Code(1)),
    (t::MODALITY_LUT_SEQUENCE, Items(1, MODALITY_LUT)),
    (t::WINDOW_CENTER, Decimal(64)),
    (t::WINDOW_WIDTH, Decimal(64)),
    (t::VOILUT_FUNCTION, Word(VOI_FUNCTIONS)),
    (t::VOILUT_SEQUENCE, Items(64, VOI_LUT)),
    (t::PRESENTATION_LUT_SHAPE, Word(&["IDENTITY", "INVERSE"])),
    (t::PIXEL_INTENSITY_RELATIONSHIP, Word(&["LIN", "LOG", "DISP"])),
    (t::PIXEL_INTENSITY_RELATIONSHIP_SIGN, Short(1)),
    // Image Plane, spacing.
    (t::PIXEL_SPACING, Decimal(2)),
    (t::IMAGER_PIXEL_SPACING, Decimal(2)),
    (t::NOMINAL_SCANNED_PIXEL_SPACING, Decimal(2)),
    (t::PIXEL_SPACING_CALIBRATION_TYPE, Word(&["GEOMETRY", "FIDUCIAL"])),
    (t::ESTIMATED_RADIOGRAPHIC_MAGNIFICATION_FACTOR, Decimal(1)),
    (t::IMAGE_POSITION_PATIENT, Decimal(3)),
    (t::IMAGE_ORIENTATION_PATIENT, Decimal(6)),
    (t::SLICE_THICKNESS, Decimal(1)),
    (t::SLICE_LOCATION, Decimal(1)),
    (t::SPACING_BETWEEN_SLICES, Decimal(1)),
    // Cine.
    (t::FRAME_TIME, Decimal(1)),
    (t::FRAME_TIME_VECTOR, Decimal(MANY)),
    (t::FRAME_INCREMENT_POINTER, Pointer(&[t::FRAME_TIME, t::FRAME_TIME_VECTOR])),
    (t::R_WAVE_TIME_VECTOR, Float(MANY)),
    (t::R_WAVE_POINTER, Short(MANY)),
    (t::HEART_RATE, Integer(1)),
    (t::CINE_RATE, Integer(1)),
    (t::RECOMMENDED_DISPLAY_FRAME_RATE, Integer(1)),
    (t::SEQUENCE_OF_ULTRASOUND_REGIONS, Items(64, ULTRASOUND_REGION)),
    // Whole Slide Microscopy: which frame is which tile, of which resolution.
    (t::TOTAL_PIXEL_MATRIX_COLUMNS, Long(1)),
    (t::TOTAL_PIXEL_MATRIX_ROWS, Long(1)),
    (t::TOTAL_PIXEL_MATRIX_FOCAL_PLANES, Long(1)),
    (t::NUMBER_OF_OPTICAL_PATHS, Long(1)),
    (t::DIMENSION_ORGANIZATION_TYPE, Word(&["TILED_FULL", "TILED_SPARSE", "3D", "3D_TEMPORAL"])),
    (t::CONCATENATION_FRAME_OFFSET_NUMBER, Long(1)),
    // Multi-frame Functional Groups.
    (t::SHARED_FUNCTIONAL_GROUPS_SEQUENCE, Items(1, FUNCTIONAL_GROUPS)),
    (t::PER_FRAME_FUNCTIONAL_GROUPS_SEQUENCE, Items(MANY, FUNCTIONAL_GROUPS)),
];

const VOI_FUNCTIONS: &[&str] = &["LINEAR", "LINEAR_EXACT", "SIGMOID"];

/// §C.11.1, without its explanation.
const MODALITY_LUT: &[Entry] =
    &[(t::LUT_DESCRIPTOR, Short(3)), (t::MODALITY_LUT_TYPE, Code(1)), (t::LUT_DATA, Table)];

/// §C.11.2, without its explanation.
const VOI_LUT: &[Entry] = &[(t::LUT_DESCRIPTOR, Short(3)), (t::LUT_DATA, Table)];

/// §C.8.5.5: where the regions lie and what a pixel measures there.
const ULTRASOUND_REGION: &[Entry] = &[
    (t::REGION_SPATIAL_FORMAT, Short(1)),
    (t::REGION_DATA_TYPE, Short(1)),
    (t::REGION_FLAGS, Long(1)),
    (t::REGION_LOCATION_MIN_X0, Long(1)),
    (t::REGION_LOCATION_MIN_Y0, Long(1)),
    (t::REGION_LOCATION_MAX_X1, Long(1)),
    (t::REGION_LOCATION_MAX_Y1, Long(1)),
    (t::REFERENCE_PIXEL_X0, Signed(1)),
    (t::REFERENCE_PIXEL_Y0, Signed(1)),
    (t::PHYSICAL_UNITS_X_DIRECTION, Short(1)),
    (t::PHYSICAL_UNITS_Y_DIRECTION, Short(1)),
    (t::REFERENCE_PIXEL_PHYSICAL_VALUE_X, Double(1)),
    (t::REFERENCE_PIXEL_PHYSICAL_VALUE_Y, Double(1)),
    (t::PHYSICAL_DELTA_X, Double(1)),
    (t::PHYSICAL_DELTA_Y, Double(1)),
];

/// §C.7.6.16.2, of the groups that pixels and geometry need.
const FUNCTIONAL_GROUPS: &[Entry] = &[
    (t::PIXEL_VALUE_TRANSFORMATION_SEQUENCE, Items(1, PIXEL_VALUE_TRANSFORMATION)),
    (t::FRAME_VOILUT_SEQUENCE, Items(1, FRAME_VOI_LUT)),
    (t::PIXEL_MEASURES_SEQUENCE, Items(1, PIXEL_MEASURES)),
    (t::PLANE_POSITION_SEQUENCE, Items(1, &[(t::IMAGE_POSITION_PATIENT, Decimal(3))])),
    (t::PLANE_ORIENTATION_SEQUENCE, Items(1, &[(t::IMAGE_ORIENTATION_PATIENT, Decimal(6))])),
    (t::PLANE_POSITION_SLIDE_SEQUENCE, Items(1, TILE_POSITION)),
    (t::FRAME_CONTENT_SEQUENCE, Items(1, FRAME_CONTENT)),
];

/// §C.8.12.6.1: which tile a frame is.
const TILE_POSITION: &[Entry] = &[
    (t::COLUMN_POSITION_IN_TOTAL_IMAGE_PIXEL_MATRIX, Signed(1)),
    (t::ROW_POSITION_IN_TOTAL_IMAGE_PIXEL_MATRIX, Signed(1)),
];

const PIXEL_VALUE_TRANSFORMATION: &[Entry] =
    &[(t::RESCALE_INTERCEPT, Decimal(1)), (t::RESCALE_SLOPE, Decimal(1)), (t::RESCALE_TYPE, Code(1))];

const FRAME_VOI_LUT: &[Entry] = &[
    (t::WINDOW_CENTER, Decimal(64)),
    (t::WINDOW_WIDTH, Decimal(64)),
    (t::VOILUT_FUNCTION, Word(VOI_FUNCTIONS)),
    (t::VOILUT_SEQUENCE, Items(64, VOI_LUT)),
];

const PIXEL_MEASURES: &[Entry] = &[
    (t::PIXEL_SPACING, Decimal(2)),
    (t::SLICE_THICKNESS, Decimal(1)),
    (t::SPACING_BETWEEN_SLICES, Decimal(1)),
];

/// Positions in stacks and dimensions; no times, no labels.
const FRAME_CONTENT: &[Entry] = &[
    (t::FRAME_ACQUISITION_NUMBER, Short(1)),
    (t::IN_STACK_POSITION_NUMBER, Long(1)),
    (t::TEMPORAL_POSITION_INDEX, Long(1)),
    (t::DIMENSION_INDEX_VALUES, Long(16)),
];
