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
