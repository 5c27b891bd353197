//! DICOM whole slides: which object is which level, and which frame is which tile (PS3.3 §C.7.6.17, §C.8.12.14).

use std::collections::HashMap;

use dicom_dictionary_std::{tags, uids};
use overread_domain::{Channels, GridSize, Samples};

use super::SlideLevel;
use crate::read::{CodecHost, DicomFile, Header, ReadError, Resolution, values};

/// A tile of a level, counted in tiles.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Part {
    pub(super) column: u32,
    pub(super) row: u32,
}

/// The levels of a slide, the finest first.
pub(super) struct Pyramid {
    levels: Vec<Level>,
}

struct Level {
    matrix: GridSize,
    tile: GridSize,
    spacing_mm: Option<f64>,
    objects: Vec<Object>,
}

/// An object of a level: all its tiles, or those that a concatenation puts into it.
struct Object {
    file: DicomFile,
    places: Places,
}

/// Where the frames lie. Of several focal planes and optical paths the first of each is read.
enum Places {
    /// `TILED_FULL`: row by row; the object's first frame is this one of all.
    Full { offset: u32, frames: u32, across: u32 },
    /// `TILED_SPARSE`: each frame says where it lies.
    Sparse(HashMap<Part, u32>),
}

/// Whether an object is an image of a whole slide; its label and its overview are as well.
pub fn is_whole_slide(header: &Header) -> bool {
    header
        .sop_class_uid
        .as_ref()
        .is_some_and(|uid| uid.as_str() == uids::VL_WHOLE_SLIDE_MICROSCOPY_IMAGE_STORAGE)
}

/// Whether an object shows the label of a slide, or all of its glass, where a name may stand (Image Type, PS3.3 §C.8.12.4.1.1).
pub fn is_slide_label(header: &Header) -> bool {
    let label = |value: &String| ["LABEL", "OVERVIEW"].iter().any(|f| value.eq_ignore_ascii_case(f));
    is_whole_slide(header) && header.image_type.iter().any(label)
}

impl Pyramid {
    pub(super) fn of(files: Vec<DicomFile>) -> Result<Self, ReadError> {
        let mut levels: Vec<Level> = Vec::new();
        let is_level = |header: &Header| {
            // A thumbnail was shrunk and compressed by whatever made the file, to be looked at.
            let thumbnail = header.image_type.iter().any(|value| value.eq_ignore_ascii_case("THUMBNAIL"));
            is_whole_slide(header) && !is_slide_label(header) && !thumbnail
        };
        for file in files.into_iter().filter(|f| is_level(f.header())) {
            let level = Level::of(file)?;
            match levels.iter_mut().find(|l| l.matrix == level.matrix && l.tile == level.tile) {
                Some(same) => same.objects.extend(level.objects),
                None => levels.push(level),
            }
        }
        levels.sort_by_key(|level| std::cmp::Reverse(level.matrix.pixels()));
        let Some(finest) = levels.first().map(|l| l.matrix) else {
            return Err(ReadError::Slide { why: "none of its images is a level of it".to_owned() });
        };
        // What shows another part of the glass is no level of the same picture.
        let shape = |m: GridSize| f64::from(m.columns) / f64::from(m.rows);
        levels.retain(|l| (shape(l.matrix) / shape(finest) - 1.0).abs() < 0.05);
        Ok(Self { levels })
    }

    pub(super) fn levels(&self) -> Vec<SlideLevel> {
        let finest = f64::from(self.levels[0].matrix.columns);
        let level =
            |l: &Level| SlideLevel { size: l.matrix, downsample: finest / f64::from(l.matrix.columns) };
        self.levels.iter().map(level).collect()
    }

    pub(super) fn microns_per_pixel(&self) -> Option<f64> {
        self.levels[0].spacing_mm.map(|mm| mm * 1e3)
    }

    pub(super) fn tile(&self, level: usize) -> GridSize {
        self.levels[level].tile
    }

    /// The tiles that a part of a level touches.
    pub(super) fn parts(
        &self,
        level: usize,
        left: u32,
        top: u32,
        size: GridSize,
    ) -> impl Iterator<Item = Part> + use<> {
        let Level { matrix, tile, .. } = &self.levels[level];
        let range = |from: u32, long: u32, whole: u32, side: u32| {
            from / side..from.saturating_add(long).min(whole).div_ceil(side)
        };
        let columns = range(left, size.columns, matrix.columns, tile.columns);
        let rows = range(top, size.rows, matrix.rows, tile.rows);
        rows.flat_map(move |row| columns.clone().map(move |column| Part { column, row }))
    }

    /// A tile as RGB; none where no object has it.
    pub(super) fn decode(
        &self,
        level: usize,
        part: Part,
        host: &mut CodecHost,
    ) -> Result<Option<Vec<u8>>, ReadError> {
        let level = &self.levels[level];
        let found = level.objects.iter().find_map(|o| Some((o, o.places.frame(part)?)));
        let Some((object, frame)) = found else { return Ok(None) };
        let grid = object.file.decode(frame, Resolution::Full, host)?;
        match (grid.channels, grid.samples) {
            (Channels::Rgb, Samples::U8(rgb)) => Ok(Some(rgb)),
            _ => Err(ReadError::Unsupported { what: "a slide that is not 8-bit colour".to_owned() }),
        }
    }
}

impl Level {
    fn of(file: DicomFile) -> Result<Self, ReadError> {
        let (matrix, spacing_mm, places) = {
            let object = file.dataset().reveal();
            let side = |tag, name| match values::whole(object, tag) {
                Some(n) if n > 0 => Ok(n),
                _ => Err(ReadError::Missing { tag, name }),
            };
            let matrix = GridSize::new(
                side(tags::TOTAL_PIXEL_MATRIX_COLUMNS, "Total Pixel Matrix Columns")?,
                side(tags::TOTAL_PIXEL_MATRIX_ROWS, "Total Pixel Matrix Rows")?,
            );
            (matrix, spacing_mm(&file), Places::of(&file, matrix)?)
        };
        let header = file.header();
        let tile = GridSize::new(header.columns, header.rows);
        if tile.pixels() == 0 {
            return Err(ReadError::NoPixels);
        }
        Ok(Self { matrix, tile, spacing_mm, objects: vec![Object { file, places }] })
    }
}

/// Side of a pixel: the mean of Pixel Spacing's two numbers.
fn spacing_mm(file: &DicomFile) -> Option<f64> {
    let object = file.dataset().reveal();
    let shared = values::item(object, tags::SHARED_FUNCTIONAL_GROUPS_SEQUENCE)?;
    let measures = values::item(shared, tags::PIXEL_MEASURES_SEQUENCE)?;
    match values::numbers(measures, tags::PIXEL_SPACING)?[..] {
        [down, across] if down > 0.0 && across > 0.0 => Some(f64::midpoint(down, across)),
        _ => None,
    }
}

impl Places {
    fn of(file: &DicomFile, matrix: GridSize) -> Result<Self, ReadError> {
        let (object, header) = (file.dataset().reveal(), file.header());
        let tile = GridSize::new(header.columns.max(1), header.rows.max(1));
        let organisation = values::text(object, tags::DIMENSION_ORGANIZATION_TYPE);
        if organisation.as_deref() == Some("TILED_FULL") {
            let offset = values::whole(object, tags::CONCATENATION_FRAME_OFFSET_NUMBER).unwrap_or(0);
            let across = matrix.columns.div_ceil(tile.columns);
            return Ok(Self::Full { offset, frames: header.frames, across });
        }
        let groups = values::items(object, tags::PER_FRAME_FUNCTIONAL_GROUPS_SEQUENCE);
        let mut places = HashMap::new();
        for (frame, group) in groups.iter().enumerate().take(header.frames as usize) {
            let place = values::item(group, tags::PLANE_POSITION_SLIDE_SEQUENCE);
            let from_one = |tag| place.and_then(|p| values::whole(p, tag)).and_then(|n| n.checked_sub(1));
            let column = from_one(tags::COLUMN_POSITION_IN_TOTAL_IMAGE_PIXEL_MATRIX);
            let row = from_one(tags::ROW_POSITION_IN_TOTAL_IMAGE_PIXEL_MATRIX);
            let (Some(column), Some(row)) = (column, row) else {
                let why = format!("frame {} does not tell where it lies", frame + 1);
                return Err(ReadError::Slide { why });
            };
            if column % tile.columns != 0 || row % tile.rows != 0 {
                let why = format!("frame {} lies across the grid of tiles", frame + 1);
                return Err(ReadError::Slide { why });
            }
            let part = Part { column: column / tile.columns, row: row / tile.rows };
            places.entry(part).or_insert(frame as u32);
        }
        Ok(Self::Sparse(places))
    }

    fn frame(&self, part: Part) -> Option<u32> {
        match self {
            Self::Full { offset, frames, across } => {
                let of_all = part.row.checked_mul(*across)?.checked_add(part.column)?;
                of_all.checked_sub(*offset).filter(|frame| frame < frames)
            }
            Self::Sparse(places) => places.get(&part).copied(),
        }
    }
}
