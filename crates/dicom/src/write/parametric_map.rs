//! The map of one finding over a slide as numbers: Parametric Map Storage (PS3.3 §A.75), one cell a tile that was read.
//!
//! Cells are Float Pixel Data. A cell that was not read is NaN, which is the Float Pixel Padding Value (§C.7.6.24, which allows NaN): any
//! other number could be averaged into the map by a program that does not know of padding.
//!
//! There is one level. A map has one cell a tile of hundreds of pixels, so the largest of slides gives some hundred thousand cells, less
//! than one thumbnail. A lower level would have to average cells, and the mean of what a model said of four tiles is nothing it ever said
//! of anything. A map of more than 512 columns or rows is cut into frames of at most 512 × 512 cells, in the order of `TILED_FULL`
//! (§C.7.6.17.3). The places of the frames, which that order implies, are written nevertheless, for those who read them frame by frame.

use dicom_core::value::PrimitiveValue;
use dicom_core::{DataElement, Tag, VR};
use dicom_dictionary_std::tags;
use dicom_object::InMemDicomObject;
use overread_domain::{CodedConcept, GridSize, Uid, ValueKind};

use super::WriteError;
use super::codes::{self, code_item};
use super::content::{Item, sop_item, source_item};
use super::elements::{DicomFile, put, put_items, put_many, put_some, put_us};
use super::identity::{Algorithm, ResultIdentity, derive};
use super::modules;
use super::object::{self, Kind};
use super::plane::SlidePlane;
use super::source::{InstanceReference, SourceContext, SourceImage};
use super::specimen::LossyCompression;
use super::stamp::Stamp;
use super::text::{decimal_string, sanitised};

/// Most columns, and most rows, of a frame.
const FRAME: u32 = 512;

/// What a model said of each cell of a slide.
#[derive(Clone, Copy, Debug)]
pub struct ParametricMap<'a> {
    /// Label of the finding; it tells the map from the result's others.
    pub label: &'a str,
    /// The finding as a concept.
    pub finding: &'a CodedConcept,
    /// What the numbers are.
    pub kind: ValueKind,
    /// Position among the result's maps, from 1.
    pub number: u32,
    /// Columns and rows of cells.
    pub size: GridSize,
    /// A number a cell, row by row from the top left (`y, x`); NaN for a cell that was not read.
    pub cells: &'a [f32],
    /// Where the cells lie on the slide.
    pub plane: SlidePlane,
    /// Lossy compressions of a slide that is no DICOM object; of one that is, its header tells.
    pub lossy: &'a [LossyCompression],
}

/// Where a map is or will be: its UIDs are known before it is written.
pub fn map_reference(
    source: &SourceContext,
    algorithm: &Algorithm,
    identity: &ResultIdentity,
    label: &str,
) -> InstanceReference {
    object::reference(source, algorithm, identity, Kind::Map(label))
}

/// Makes a Parametric Map (PS3.3 §A.75), in the study and the frame of reference of the source and a series of its own.
///
/// A source without a frame of reference gets one that is a function of its study: maps of one slide lie over each other, and over nothing
/// else.
///
/// # Errors
/// The cells do not fit the size, a number is infinite or is no probability though it is said to be one, the plane is none, or the finding's code cannot be
/// written whole.
pub fn parametric_map(
    source: &SourceContext,
    algorithm: &Algorithm,
    identity: &ResultIdentity,
    stamp: Stamp,
    map: &ParametricMap<'_>,
) -> Result<DicomFile, WriteError> {
    check(map)?;
    let mut object = object::begin(source, algorithm, identity, stamp, Kind::Map(map.label), map.number);
    body(&mut object, source);
    frame_of_reference(&mut object, source);
    derivation(&mut object, source, map);
    image(&mut object, map);
    let frames = Frames::of(map.size);
    matrix(&mut object, map, &frames);
    dimensions(&mut object, &map_reference(source, algorithm, identity, map.label).instance);
    put_items(&mut object, tags::SHARED_FUNCTIONAL_GROUPS_SEQUENCE, vec![shared(source, map)]);
    let groups = frames.corners().enumerate().map(|(index, corner)| frames.group(&map.plane, index, corner));
    put_items(&mut object, tags::PER_FRAME_FUNCTIONAL_GROUPS_SEQUENCE, groups.collect());
    let cells = frames.cells(map.cells);
    object.put(DataElement::new(tags::FLOAT_PIXEL_DATA, VR::OF, PrimitiveValue::F32(cells.into())));
    modules::finish(object)
}

fn check(map: &ParametricMap<'_>) -> Result<(), WriteError> {
    let GridSize { columns, rows } = map.size;
    if columns == 0 || rows == 0 {
        return Err(WriteError::ImageSize { columns, rows });
    }
    let (expected, found) = (u64::from(columns) * u64::from(rows), map.cells.len() as u64);
    if expected != found {
        return Err(WriteError::PixelCount { columns, rows, expected, found });
    }
    codes::check(map.finding)?;
    map.plane.check()?;
    let fits = |v: f32| match map.kind {
        ValueKind::Probability => (0.0..=1.0).contains(&v),
        ValueKind::Score => v.is_finite(),
    };
    let Some(wrong) = map.cells.iter().position(|v| !v.is_nan() && !fits(*v)) else { return Ok(()) };
    let (row, column) = (wrong / columns as usize, wrong % columns as usize);
    let wanted = if map.kind == ValueKind::Probability { "a probability" } else { "a finite number" };
    let problem = format!("row {row}, column {column} of the map of {:?} is not {wanted}", map.label);
    Err(WriteError::Value { name: "Float Pixel Data", tag: tags::FLOAT_PIXEL_DATA, problem })
}

/// What the picture is of: the specimen (§C.7.6.22), or a part of the body whose side may be unknown (§C.7.3.1).
fn body(object: &mut InMemDicomObject, source: &SourceContext) {
    if let Some(specimen) = source.specimen() {
        specimen.iter().for_each(|element| drop(object.put(element.clone())));
        return;
    }
    let image = source.images().first();
    let part = image.and_then(|i| i.body_part.as_deref());
    put_some(object, tags::BODY_PART_EXAMINED, VR::CS, part);
    modules::laterality(object, part, image.and_then(|i| i.laterality.as_deref()));
}

/// Frame of Reference (§C.7.4.1); the corner of the slide is its origin (§C.8.12.2.1.1).
fn frame_of_reference(object: &mut InMemDicomObject, source: &SourceContext) {
    let own = || derive("slide-frame-of-reference", &[source.study().as_str().as_bytes()]);
    let uid = source.frame_of_reference().cloned().unwrap_or_else(own);
    put(object, tags::FRAME_OF_REFERENCE_UID, VR::UI, uid.as_str());
    put(object, tags::POSITION_REFERENCE_INDICATOR, VR::LO, "SLIDE_CORNER");
}

/// General Image (§C.7.6.1) and Common Instance Reference (§C.12.2): derived from what, and how.
fn derivation(object: &mut InMemDicomObject, source: &SourceContext, map: &ParametricMap<'_>) {
    put(object, tags::DERIVATION_DESCRIPTION, VR::ST, &explanation(map));
    put(
        object,
        tags::IMAGE_COMMENTS,
        VR::LT,
        "Not for measurement. Not for clinical use without local validation.",
    );
    let images = source.images();
    if !images.is_empty() {
        put_items(object, tags::SOURCE_IMAGE_SEQUENCE, images.iter().map(source_item).collect());
        put_items(object, tags::REFERENCED_SERIES_SEQUENCE, referenced_series(images));
    }
    let lossy = if source.lossy().is_empty() { map.lossy } else { source.lossy() };
    if lossy.is_empty() && !images.iter().any(|i| i.lossy) {
        put(object, tags::LOSSY_IMAGE_COMPRESSION, VR::CS, "00");
        return;
    }
    put(object, tags::LOSSY_IMAGE_COMPRESSION, VR::CS, "01");
    if lossy.is_empty() {
        tracing::warn!("the source was compressed with loss and does not say how; nor does its map");
        return;
    }
    let many = |object: &mut _, tag: Tag, vr, values: fn(&LossyCompression) -> &str| {
        put_many(object, tag, vr, &lossy.iter().map(values).collect::<Vec<_>>());
    };
    many(object, tags::LOSSY_IMAGE_COMPRESSION_RATIO, VR::DS, |l| &l.ratio);
    many(object, tags::LOSSY_IMAGE_COMPRESSION_METHOD, VR::CS, |l| &l.method);
}

fn referenced_series(images: &[SourceImage]) -> Vec<InMemDicomObject> {
    let mut series: Vec<&Uid> = Vec::new();
    for image in images {
        if !series.contains(&&image.reference.series) {
            series.push(&image.reference.series);
        }
    }
    let item = |uid: &&Uid| {
        let members = images.iter().map(|i| &i.reference).filter(|r| r.series == **uid);
        let mut item = InMemDicomObject::new_empty();
        put(&mut item, tags::SERIES_INSTANCE_UID, VR::UI, uid.as_str());
        put_items(&mut item, tags::REFERENCED_INSTANCE_SEQUENCE, members.map(sop_item).collect());
        item
    };
    series.iter().map(item).collect()
}

/// What the numbers are, in a sentence.
fn explanation(map: &ParametricMap<'_>) -> String {
    let meaning = &map.finding.meaning;
    let text = match map.kind {
        ValueKind::Probability => format!("Probability of {meaning}, cell by cell"),
        ValueKind::Score => format!("Score of {meaning}, cell by cell; no probability"),
    };
    sanitised(VR::LO, &text).unwrap_or_else(|| "Computed by software".into())
}

const IMAGE_TYPE: [&str; 4] = ["DERIVED", "PRIMARY", "VOLUME", "QUANTITY"];

/// Parametric Map Image (§C.8.32.2), Floating Point Image Pixel (§C.7.6.24), Acquisition Context.
fn image(object: &mut InMemDicomObject, map: &ParametricMap<'_>) {
    put_many(object, tags::IMAGE_TYPE, VR::CS, &IMAGE_TYPE);
    let label: String =
        map.label.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).take(16).collect();
    put(object, tags::CONTENT_LABEL, VR::CS, &sanitised(VR::CS, &label).unwrap_or_else(|| "MAP".into()));
    put(object, tags::CONTENT_DESCRIPTION, VR::LO, &explanation(map));
    // The term for what no authority has cleared as a product.
    put(object, tags::CONTENT_QUALIFICATION, VR::CS, "RESEARCH");
    put(object, tags::PIXEL_PRESENTATION, VR::CS, "MONOCHROME");
    put(object, tags::BURNED_IN_ANNOTATION, VR::CS, "NO");
    put(object, tags::RECOGNIZABLE_VISUAL_FEATURES, VR::CS, "NO");
    put(object, tags::PRESENTATION_LUT_SHAPE, VR::CS, "IDENTITY");
    put(object, tags::PHOTOMETRIC_INTERPRETATION, VR::CS, "MONOCHROME2");
    put_us(object, tags::SAMPLES_PER_PIXEL, 1);
    put_us(object, tags::BITS_ALLOCATED, 32);
    for tag in [tags::FLOAT_PIXEL_PADDING_VALUE, tags::FLOAT_PIXEL_PADDING_RANGE_LIMIT] {
        object.put(DataElement::new(tag, VR::FL, PrimitiveValue::from(f32::NAN)));
    }
    put_items(object, tags::ACQUISITION_CONTEXT_SEQUENCE, vec![]);
}

/// Microscope Slide Layer Tile Organization (§C.8.12.14), and the frames of the image.
fn matrix(object: &mut InMemDicomObject, map: &ParametricMap<'_>, frames: &Frames) {
    let ul = |object: &mut InMemDicomObject, tag, value: u32| {
        object.put(DataElement::new(tag, VR::UL, PrimitiveValue::from(value)));
    };
    ul(object, tags::TOTAL_PIXEL_MATRIX_COLUMNS, map.size.columns);
    ul(object, tags::TOTAL_PIXEL_MATRIX_ROWS, map.size.rows);
    ul(object, tags::TOTAL_PIXEL_MATRIX_FOCAL_PLANES, 1);
    let mut origin = InMemDicomObject::new_empty();
    place(&mut origin, map.plane.origin);
    put_items(object, tags::TOTAL_PIXEL_MATRIX_ORIGIN_SEQUENCE, vec![origin]);
    let orientation = map.plane.orientation.map(decimal_string);
    put_many(object, tags::IMAGE_ORIENTATION_SLIDE, VR::DS, &orientation.each_ref().map(String::as_str));
    put(object, tags::NUMBER_OF_FRAMES, VR::IS, &frames.corners().count().to_string());
    put_us(object, tags::COLUMNS, frames.columns as u16);
    put_us(object, tags::ROWS, frames.rows as u16);
}

fn place(item: &mut InMemDicomObject, [x, y, z]: [f64; 3]) {
    put(item, tags::X_OFFSET_IN_SLIDE_COORDINATE_SYSTEM, VR::DS, &decimal_string(x));
    put(item, tags::Y_OFFSET_IN_SLIDE_COORDINATE_SYSTEM, VR::DS, &decimal_string(y));
    put(item, tags::Z_OFFSET_IN_SLIDE_COORDINATE_SYSTEM, VR::DS, &decimal_string(z));
}

/// Multi-frame Dimension (§C.7.6.17): frames are told apart by row and column of their first cell.
fn dimensions(object: &mut InMemDicomObject, instance: &Uid) {
    let uid = derive("dimensions", &[instance.as_str().as_bytes()]);
    let organization = |item: &mut InMemDicomObject| {
        put(item, tags::DIMENSION_ORGANIZATION_UID, VR::UI, uid.as_str());
    };
    let mut item = InMemDicomObject::new_empty();
    organization(&mut item);
    put_items(object, tags::DIMENSION_ORGANIZATION_SEQUENCE, vec![item]);
    put(object, tags::DIMENSION_ORGANIZATION_TYPE, VR::CS, "TILED_FULL");
    let index = |pointer: Tag| {
        let mut item = InMemDicomObject::new_empty();
        organization(&mut item);
        let at = |item: &mut InMemDicomObject, tag, value: Tag| {
            item.put(DataElement::new(tag, VR::AT, PrimitiveValue::from(value)));
        };
        at(&mut item, tags::DIMENSION_INDEX_POINTER, pointer);
        at(&mut item, tags::FUNCTIONAL_GROUP_POINTER, tags::PLANE_POSITION_SLIDE_SEQUENCE);
        item
    };
    let pointers =
        [tags::ROW_POSITION_IN_TOTAL_IMAGE_PIXEL_MATRIX, tags::COLUMN_POSITION_IN_TOTAL_IMAGE_PIXEL_MATRIX];
    put_items(object, tags::DIMENSION_INDEX_SEQUENCE, pointers.map(index).to_vec());
}

/// The functional groups that hold for all frames (§C.7.6.16.2, §C.8.32.3).
fn shared(source: &SourceContext, map: &ParametricMap<'_>) -> InMemDicomObject {
    let mut group = InMemDicomObject::new_empty();
    let mut macro_of = |tag: Tag, fill: &dyn Fn(&mut InMemDicomObject)| {
        let mut item = InMemDicomObject::new_empty();
        fill(&mut item);
        put_items(&mut group, tag, vec![item]);
    };
    macro_of(tags::PIXEL_MEASURES_SEQUENCE, &|item| {
        let [down, across] = map.plane.spacing.map(decimal_string);
        put_many(item, tags::PIXEL_SPACING, VR::DS, &[&down, &across]);
    });
    macro_of(tags::PARAMETRIC_MAP_FRAME_TYPE_SEQUENCE, &|item| {
        put_many(item, tags::FRAME_TYPE, VR::CS, &IMAGE_TYPE);
    });
    macro_of(tags::PIXEL_VALUE_TRANSFORMATION_SEQUENCE, &|item| {
        put(item, tags::RESCALE_INTERCEPT, VR::DS, "0");
        put(item, tags::RESCALE_SLOPE, VR::DS, "1");
        put(item, tags::RESCALE_TYPE, VR::LO, "US");
    });
    let (first, last) = range(map);
    macro_of(tags::FRAME_VOILUT_SEQUENCE, &|item| {
        let width = if last > first { last - first } else { 1.0 };
        put(item, tags::WINDOW_CENTER, VR::DS, &decimal_string(f64::midpoint(first, last)));
        put(item, tags::WINDOW_WIDTH, VR::DS, &decimal_string(width));
        // The default function is made for integers: of a window of 1 it makes a threshold (§C.11.2.1.2).
        put(item, tags::VOILUT_FUNCTION, VR::CS, "LINEAR_EXACT");
    });
    macro_of(tags::REAL_WORLD_VALUE_MAPPING_SEQUENCE, &|item| mapping(item, map, first, last));
    if !source.images().is_empty() {
        macro_of(tags::DERIVATION_IMAGE_SEQUENCE, &|item| {
            let how = vec![code_item(&codes::UNSPECIFIED_CALCULATION.into())];
            put_items(item, tags::DERIVATION_CODE_SEQUENCE, how);
            put_items(item, tags::SOURCE_IMAGE_SEQUENCE, source.images().iter().map(source_item).collect());
        });
    }
    group
}

/// Real World Value Mapping (§C.7.6.16.2.11): what a stored number means is itself.
fn mapping(item: &mut InMemDicomObject, map: &ParametricMap<'_>, first: f64, last: f64) {
    let fd = |item: &mut InMemDicomObject, tag, value: f64| {
        item.put(DataElement::new(tag, VR::FD, PrimitiveValue::from(value)));
    };
    put(item, tags::LUT_LABEL, VR::SH, &sanitised(VR::SH, map.label).unwrap_or_else(|| "map".into()));
    put(item, tags::LUT_EXPLANATION, VR::LO, &explanation(map));
    let unit = vec![code_item(&codes::NO_UNITS.into())];
    put_items(item, tags::MEASUREMENT_UNITS_CODE_SEQUENCE, unit);
    fd(item, tags::DOUBLE_FLOAT_REAL_WORLD_VALUE_FIRST_VALUE_MAPPED, first);
    fd(item, tags::DOUBLE_FLOAT_REAL_WORLD_VALUE_LAST_VALUE_MAPPED, last);
    fd(item, tags::REAL_WORLD_VALUE_INTERCEPT, 0.0);
    fd(item, tags::REAL_WORLD_VALUE_SLOPE, 1.0);
    // A score is no quantity that a term of PS3.16 names, so only the finding is told of it.
    let quantity = match map.kind {
        ValueKind::Probability => Some(Item::code(codes::QUANTITY, codes::PROBABILITY)),
        ValueKind::Score => None,
    };
    let finding = Item::code(codes::FINDING, map.finding.clone());
    let definition = quantity.into_iter().chain([finding]).map(Item::into_dataset).collect();
    put_items(item, tags::QUANTITY_DEFINITION_SEQUENCE, definition);
}

/// Least and greatest number that is mapped: 0 and 1 for probabilities, those that occur for scores.
fn range(map: &ParametricMap<'_>) -> (f64, f64) {
    if map.kind == ValueKind::Probability {
        return (0.0, 1.0);
    }
    let read = || map.cells.iter().copied().filter(|v| !v.is_nan());
    let (least, greatest) = (read().fold(f32::INFINITY, f32::min), read().fold(f32::NEG_INFINITY, f32::max));
    if least <= greatest { (f64::from(least), f64::from(greatest)) } else { (0.0, 1.0) }
}

/// How a map is cut into frames of one size.
struct Frames {
    map: GridSize,
    columns: u32,
    rows: u32,
}

impl Frames {
    fn of(map: GridSize) -> Self {
        Self { map, columns: map.columns.min(FRAME), rows: map.rows.min(FRAME) }
    }

    /// Row and column of each frame's first cell, in the order of `TILED_FULL`: along a row of frames first.
    fn corners(&self) -> impl Iterator<Item = (u32, u32)> {
        let steps = |all: u32, one: u32| (0..all.div_ceil(one)).map(move |i| i * one);
        let (columns, across) = (self.map.columns, self.columns);
        steps(self.map.rows, self.rows)
            .flat_map(move |row| steps(columns, across).map(move |column| (row, column)))
    }

    /// The functional groups of one frame: Frame Content and Plane Position (Slide).
    fn group(&self, plane: &SlidePlane, index: usize, (row, column): (u32, u32)) -> InMemDicomObject {
        let across = self.map.columns.div_ceil(self.columns);
        let (index, one) = (index as u32, |n: u32| n + 1);
        let mut content = InMemDicomObject::new_empty();
        let values = PrimitiveValue::U32([index / across, index % across].map(one).into_iter().collect());
        content.put(DataElement::new(tags::DIMENSION_INDEX_VALUES, VR::UL, values));
        let mut position = InMemDicomObject::new_empty();
        place(&mut position, plane.position(f64::from(row), f64::from(column)));
        let sl = |item: &mut InMemDicomObject, tag, cell: u32| {
            let value = i32::try_from(one(cell)).unwrap_or(i32::MAX);
            item.put(DataElement::new(tag, VR::SL, PrimitiveValue::from(value)));
        };
        sl(&mut position, tags::COLUMN_POSITION_IN_TOTAL_IMAGE_PIXEL_MATRIX, column);
        sl(&mut position, tags::ROW_POSITION_IN_TOTAL_IMAGE_PIXEL_MATRIX, row);
        let mut group = InMemDicomObject::new_empty();
        put_items(&mut group, tags::FRAME_CONTENT_SEQUENCE, vec![content]);
        put_items(&mut group, tags::PLANE_POSITION_SLIDE_SEQUENCE, vec![position]);
        group
    }

    /// The cells frame by frame. Frames reach over the map's right and lower border with padding.
    fn cells(&self, cells: &[f32]) -> Vec<f32> {
        let size = self.columns as usize * self.rows as usize;
        let mut out = Vec::with_capacity(self.corners().count() * size);
        for (top, left) in self.corners() {
            for row in top..top + self.rows {
                for column in left..left + self.columns {
                    let inside = row < self.map.rows && column < self.map.columns;
                    let at = row as usize * self.map.columns as usize + column as usize;
                    let cell = if inside { cells[at] } else { f32::NAN };
                    // One NaN for all: equal maps are equal bytes.
                    out.push(if cell.is_nan() { f32::NAN } else { cell });
                }
            }
        }
        out
    }
}
