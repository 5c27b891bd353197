//! A picture as it came, with everything needed to show it: size, samples, transforms, geometry.

use serde::{Deserialize, Serialize};

use crate::lut::{ModalityTransform, VoiTransform};

/// Columns and rows of a picture, in pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct GridSize {
    /// Pixels in a row (DICOM Columns).
    pub columns: u32,
    /// Pixels in a column (DICOM Rows).
    pub rows: u32,
}

impl GridSize {
    /// A size from columns and rows.
    pub const fn new(columns: u32, rows: u32) -> Self {
        Self { columns, rows }
    }

    /// Columns times rows.
    pub const fn pixels(self) -> u64 {
        self.columns as u64 * self.rows as u64
    }
}

/// Samples of each pixel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Channels {
    /// One sample a pixel.
    Grey,
    /// Three samples a pixel: red, green, blue.
    Rgb,
}

impl Channels {
    /// Samples a pixel.
    pub const fn count(self) -> usize {
        match self {
            Self::Grey => 1,
            Self::Rgb => 3,
        }
    }
}

/// What a grey value means, or that the picture has colour. All colour spaces are RGB by now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Photometric {
    /// The smallest value, after VOI, is shown white.
    Monochrome1,
    /// The smallest value, after VOI, is shown black.
    Monochrome2,
    /// Red, green and blue.
    Rgb,
}

/// Stored values, row by row from the top left, channels interleaved (`y, x, c`).
#[derive(Clone, Debug, PartialEq)]
pub enum Samples {
    /// Unsigned, up to 8 bits.
    U8(Vec<u8>),
    /// Signed, up to 8 bits.
    I8(Vec<i8>),
    /// Unsigned, 9 to 16 bits.
    U16(Vec<u16>),
    /// Signed, 9 to 16 bits.
    I16(Vec<i16>),
    /// Unsigned, 17 to 32 bits.
    U32(Vec<u32>),
    /// Signed, 17 to 32 bits.
    I32(Vec<i32>),
    /// Float Pixel Data.
    F32(Vec<f32>),
    /// Double Float Pixel Data.
    F64(Vec<f64>),
}

/// Runs an expression over the vector of whichever sample type it is.
#[macro_export]
macro_rules! for_samples {
    ($samples:expr, $v:ident => $body:expr) => {
        match $samples {
            $crate::Samples::U8($v) => $body,
            $crate::Samples::I8($v) => $body,
            $crate::Samples::U16($v) => $body,
            $crate::Samples::I16($v) => $body,
            $crate::Samples::U32($v) => $body,
            $crate::Samples::I32($v) => $body,
            $crate::Samples::F32($v) => $body,
            $crate::Samples::F64($v) => $body,
        }
    };
}

impl Samples {
    /// How many samples there are.
    pub fn len(&self) -> usize {
        for_samples!(self, v => v.len())
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The samples of some ranges, one after the other. Ranges that reach beyond the samples are left out.
    fn of_ranges(&self, ranges: &[std::ops::Range<usize>]) -> Self {
        fn take<T: Copy>(all: &[T], ranges: &[std::ops::Range<usize>]) -> Vec<T> {
            ranges.iter().filter_map(|r| all.get(r.clone())).flatten().copied().collect()
        }
        match self {
            Self::U8(v) => Self::U8(take(v, ranges)),
            Self::I8(v) => Self::I8(take(v, ranges)),
            Self::U16(v) => Self::U16(take(v, ranges)),
            Self::I16(v) => Self::I16(take(v, ranges)),
            Self::U32(v) => Self::U32(take(v, ranges)),
            Self::I32(v) => Self::I32(take(v, ranges)),
            Self::F32(v) => Self::F32(take(v, ranges)),
            Self::F64(v) => Self::F64(take(v, ranges)),
        }
    }
}

/// A part of a picture, in pixels of the frame as the file has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Region {
    /// Pixels left of it.
    pub left: u32,
    /// Pixels above it.
    pub top: u32,
    /// Its size.
    pub size: GridSize,
}

impl Region {
    /// Its place in a picture that contains it: left, top, right and bottom in widths and heights of the picture.
    pub fn share_of(&self, picture: GridSize) -> [f64; 4] {
        let across = |x: u32| f64::from(x) / f64::from(picture.columns.max(1));
        let down = |y: u32| f64::from(y) / f64::from(picture.rows.max(1));
        [
            across(self.left),
            down(self.top),
            across(self.left + self.size.columns),
            down(self.top + self.size.rows),
        ]
    }

    /// Whether it lies in a picture of a size, and has pixels.
    pub fn lies_in(&self, picture: GridSize) -> bool {
        let ends = |from: u32, long: u32, within: u32| {
            long > 0 && from.checked_add(long).is_some_and(|end| end <= within)
        };
        ends(self.left, self.size.columns, picture.columns) && ends(self.top, self.size.rows, picture.rows)
    }
}

/// Distance between pixel centres, in millimetres.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct PixelSpacing {
    /// Between rows (the first value of DICOM Pixel Spacing).
    pub row_mm: f64,
    /// Between columns (the second value).
    pub column_mm: f64,
}

/// Where a slice lies in the patient (PS3.3 §C.7.6.2.1.1), in millimetres of the patient coordinate system (LPS).
#[derive(Clone, Debug, PartialEq)]
pub struct PlaneGeometry {
    /// Centre of the first pixel: x, y, z.
    pub position: [f64; 3],
    /// Direction cosines of the row, then of the column.
    pub orientation: [f64; 6],
    /// Frame of Reference UID.
    pub frame_of_reference: Option<crate::Uid>,
}

/// The plane of the body that a slice lies nearest to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Plane {
    /// Across the body.
    Axial,
    /// Ear to ear.
    Coronal,
    /// Nose to back.
    Sagittal,
}

impl std::fmt::Display for Plane {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Axial => "axial",
            Self::Coronal => "coronal",
            Self::Sagittal => "sagittal",
        })
    }
}

impl PlaneGeometry {
    /// The unit vector that stands on the slice: row × column. None where the direction cosines are no plane.
    pub fn normal(&self) -> Option<[f64; 3]> {
        let [a, b, c, x, y, z] = self.orientation;
        let cross = [b * z - c * y, c * x - a * z, a * y - b * x];
        let length = cross.iter().map(|v| v * v).sum::<f64>().sqrt();
        (length.is_finite() && length > 0.5).then(|| cross.map(|v| v / length))
    }

    /// The plane of the body that it lies nearest to: the axis that its normal leans to most (DICOM's axes are left, posterior, head).
    pub fn plane(&self) -> Option<Plane> {
        let [x, y, z] = self.normal()?.map(f64::abs);
        Some(if z >= x && z >= y {
            Plane::Axial
        } else if y >= x {
            Plane::Coronal
        } else {
            Plane::Sagittal
        })
    }

    /// How far along a direction its first pixel lies, in millimetres.
    pub fn along(&self, direction: [f64; 3]) -> f64 {
        self.position.iter().zip(direction).map(|(p, d)| p * d).sum()
    }
}

/// One frame, decoded: stored values and all that turns them into what a person would see.
#[derive(Clone, Debug, PartialEq)]
pub struct ImageGrid {
    /// Size of `samples`; smaller than `full_size` where the codec decoded at a reduced resolution.
    pub size: GridSize,
    /// Size of the frame in the file.
    pub full_size: GridSize,
    /// How far right and down, in samples, the first sample of a reduced decode lies from the mean place of the pixels that it stands
    /// for. JPEG 2000's low-pass band keeps the first pixel's place (½ − ½ · 2^−r after r reductions); scaled JPEG has no shift.
    pub phase: f64,
    /// Samples a pixel.
    pub channels: Channels,
    /// Stored values; `size.pixels() * channels.count()` of them.
    pub samples: Samples,
    /// Polarity or colour.
    pub photometric: Photometric,
    /// Bits Stored: the range of a stored value (8 for a photograph; 32 or 64 for floats).
    pub bits_stored: u16,
    /// Stored value → modality value.
    pub modality: ModalityTransform,
    /// Modality value → display value; alternatives in the file's order, empty if it names none.
    pub voi: Vec<VoiTransform>,
    /// Stored value (and, with the second, range of them) that pads and is no measurement.
    pub padding: Option<(f64, f64)>,
    /// Spacing of the pixels of the full-size frame.
    pub spacing: Option<PixelSpacing>,
    /// Place in the patient, where the file tells it.
    pub geometry: Option<PlaneGeometry>,
}

impl ImageGrid {
    /// A colour picture of 8-bit samples, three a pixel, that has no place in the patient.
    pub const fn of_rgb(size: GridSize, rgb: Vec<u8>) -> Self {
        Self {
            size,
            full_size: size,
            phase: 0.0,
            channels: Channels::Rgb,
            samples: Samples::U8(rgb),
            photometric: Photometric::Rgb,
            bits_stored: 8,
            modality: ModalityTransform::Identity,
            voi: Vec::new(),
            padding: None,
            spacing: None,
            geometry: None,
        }
    }

    /// A part of the picture as a picture of its own, without a place in the patient. The grid was decoded in full and the region lies
    /// in it; otherwise the whole picture comes back.
    pub fn cropped(self, region: Region) -> Self {
        if self.size != self.full_size || !region.lies_in(self.size) {
            return self;
        }
        let channels = self.channels.count();
        let (stride, width) =
            (self.size.columns as usize * channels, region.size.columns as usize * channels);
        let start = |row: u32| row as usize * stride + region.left as usize * channels;
        let rows: Vec<_> =
            (region.top..region.top + region.size.rows).map(|row| start(row)..start(row) + width).collect();
        Self {
            samples: self.samples.of_ranges(&rows),
            size: region.size,
            full_size: region.size,
            geometry: None,
            ..self
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn geometry(orientation: [f64; 6]) -> PlaneGeometry {
        PlaneGeometry { position: [1.0, 2.0, 3.0], orientation, frame_of_reference: None }
    }

    #[test]
    fn planes_of_the_body() {
        assert_eq!(geometry([1.0, 0.0, 0.0, 0.0, 1.0, 0.0]).plane(), Some(Plane::Axial));
        assert_eq!(geometry([1.0, 0.0, 0.0, 0.0, 0.0, -1.0]).plane(), Some(Plane::Coronal));
        assert_eq!(geometry([0.0, 1.0, 0.0, 0.0, 0.0, -1.0]).plane(), Some(Plane::Sagittal));
        assert_eq!(
            geometry([1.0, 0.0, 0.0, 1.0, 0.0, 0.0]).plane(),
            None,
            "row and column are one direction"
        );
        assert_eq!(geometry([1.0, 0.0, 0.0, 0.0, 1.0, 0.0]).along([0.0, 0.0, 1.0]), 3.0);
    }

    #[test]
    fn a_crop_holds_the_pixels_of_its_region() {
        let grid = ImageGrid {
            size: GridSize::new(4, 3),
            full_size: GridSize::new(4, 3),
            phase: 0.0,
            channels: Channels::Rgb,
            samples: Samples::U8((0..36).collect()),
            photometric: Photometric::Rgb,
            bits_stored: 8,
            modality: ModalityTransform::Identity,
            voi: vec![],
            padding: None,
            spacing: None,
            geometry: None,
        };
        let region = Region { left: 1, top: 1, size: GridSize::new(2, 2) };
        let cropped = grid.clone().cropped(region);
        assert_eq!(cropped.samples, Samples::U8(vec![15, 16, 17, 18, 19, 20, 27, 28, 29, 30, 31, 32]));
        assert_eq!(region.share_of(grid.size), [0.25, 1.0 / 3.0, 0.75, 1.0]);
        let beyond = Region { left: 3, ..region };
        assert_eq!(grid.clone().cropped(beyond), grid);
    }
}
