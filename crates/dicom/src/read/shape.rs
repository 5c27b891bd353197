//! The Image Pixel module (PS3.3 §C.7.6.3): size, depth and colour of the frames.

use dicom_dictionary_std::tags;
use dicom_object::InMemDicomObject;
use overread_domain::GridSize;

use super::{ReadError, Tolerance, scan::PixelElement, values};

/// Photometric Interpretation (0028,0004).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Colour {
    Monochrome1,
    Monochrome2,
    Palette,
    Rgb,
    YbrFull,
    YbrFull422,
    YbrPartial422,
    YbrPartial420,
    YbrIct,
    YbrRct,
}

/// How samples are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Integer,
    Float,
    Double,
}

/// What every frame of an object has in common.
#[derive(Clone, Debug)]
pub(crate) struct Shape {
    pub(crate) size: GridSize,
    pub(crate) frames: u32,
    pub(crate) samples: u16,
    pub(crate) planar: bool,
    pub(crate) colour: Colour,
    pub(crate) kind: Kind,
    pub(crate) allocated: u16,
    pub(crate) stored: u16,
    pub(crate) high_bit: u16,
    pub(crate) signed: bool,
}

impl Shape {
    /// Reads the module; departures from the standard that leave one reading go to `tolerances`.
    pub(crate) fn of(
        object: &InMemDicomObject,
        pixels: &PixelElement,
        tolerances: &mut Vec<Tolerance>,
    ) -> Result<Self, ReadError> {
        let side = |tag, name| match values::whole(object, tag) {
            Some(n @ 1..=65535) => Ok(n),
            Some(_) => Err(ReadError::Unusable { tag, name, why: "it is not from 1 to 65535".into() }),
            None => Err(ReadError::Missing { tag, name }),
        };
        let size = GridSize::new(side(tags::COLUMNS, "Columns")?, side(tags::ROWS, "Rows")?);
        let samples = values::whole(object, tags::SAMPLES_PER_PIXEL).unwrap_or(1);
        let kind = match pixels.tag {
            tags::FLOAT_PIXEL_DATA => Kind::Float,
            tags::DOUBLE_FLOAT_PIXEL_DATA => Kind::Double,
            _ => Kind::Integer,
        };
        let colour = colour(object, samples)?;
        let (allocated, stored, high_bit) = bits(object, kind, tolerances)?;
        Ok(Self {
            size,
            frames: frames(object, tolerances)?,
            samples: samples as u16,
            planar: values::whole(object, tags::PLANAR_CONFIGURATION) == Some(1),
            colour,
            kind,
            allocated,
            stored,
            high_bit,
            signed: values::whole(object, tags::PIXEL_REPRESENTATION) == Some(1),
        })
    }

    /// Samples of a frame.
    pub(crate) fn count(&self) -> u64 {
        self.size.pixels() * u64::from(self.samples)
    }

    /// Bytes of a decoded frame in memory.
    pub(crate) fn bytes(&self) -> u64 {
        let channels = if self.colour == Colour::Palette { 3 } else { u64::from(self.samples) };
        self.size.pixels() * channels * u64::from(self.allocated.div_ceil(8))
    }
}

fn frames(object: &InMemDicomObject, tolerances: &mut Vec<Tolerance>) -> Result<u32, ReadError> {
    let (tag, name) = (tags::NUMBER_OF_FRAMES, "Number of Frames");
    match values::number(object, tag) {
        None => Ok(1),
        Some(0.0) => {
            tolerances.push(Tolerance::ZeroFrames);
            Ok(1)
        }
        Some(n) if n.fract() == 0.0 && (1.0..=f64::from(i32::MAX)).contains(&n) => Ok(n as u32),
        Some(_) => Err(ReadError::Unusable { tag, name, why: "it is not a positive whole number".into() }),
    }
}

fn colour(object: &InMemDicomObject, samples: u32) -> Result<Colour, ReadError> {
    let tag = tags::PHOTOMETRIC_INTERPRETATION;
    let name = "Photometric Interpretation";
    let colour = match values::text(object, tag).as_deref() {
        Some("MONOCHROME1") => Colour::Monochrome1,
        Some("MONOCHROME2") => Colour::Monochrome2,
        Some("PALETTE COLOR") => Colour::Palette,
        Some("RGB") => Colour::Rgb,
        Some("YBR_FULL") => Colour::YbrFull,
        Some("YBR_FULL_422") => Colour::YbrFull422,
        Some("YBR_PARTIAL_422") => Colour::YbrPartial422,
        Some("YBR_PARTIAL_420") => Colour::YbrPartial420,
        Some("YBR_ICT") => Colour::YbrIct,
        Some("YBR_RCT") => Colour::YbrRct,
        Some(other) => {
            let known: String =
                other.chars().filter(|c| c.is_ascii_uppercase() || *c == '_').take(16).collect();
            return Err(ReadError::Unsupported { what: format!("{name} {tag} `{known}`") });
        }
        None => return Err(ReadError::Missing { tag, name }),
    };
    let expected = match colour {
        Colour::Monochrome1 | Colour::Monochrome2 | Colour::Palette => 1,
        _ => 3,
    };
    if samples != expected {
        let why = format!("it is {samples} and the photometric interpretation needs {expected}");
        return Err(ReadError::Unusable { tag: tags::SAMPLES_PER_PIXEL, name: "Samples per Pixel", why });
    }
    Ok(colour)
}

/// Bits Allocated, Bits Stored, High Bit.
fn bits(
    object: &InMemDicomObject,
    kind: Kind,
    tolerances: &mut Vec<Tolerance>,
) -> Result<(u16, u16, u16), ReadError> {
    match kind {
        Kind::Float => return Ok((32, 32, 31)),
        Kind::Double => return Ok((64, 64, 63)),
        Kind::Integer => {}
    }
    let (tag, name) = (tags::BITS_ALLOCATED, "Bits Allocated");
    let allocated = match values::whole(object, tag) {
        Some(n @ (1 | 8 | 16 | 32)) => n as u16,
        Some(n) => return Err(ReadError::Unsupported { what: format!("{name} {tag} of {n}") }),
        None => return Err(ReadError::Missing { tag, name }),
    };
    let stored = match values::whole(object, tags::BITS_STORED) {
        Some(n) if (1..=u32::from(allocated)).contains(&n) => n as u16,
        _ => {
            tolerances.push(Tolerance::InvalidBitsStored);
            allocated
        }
    };
    let high_bit = match values::whole(object, tags::HIGH_BIT) {
        Some(n) if n < u32::from(allocated) && n + 1 >= u32::from(stored) => n as u16,
        None => stored - 1,
        Some(_) => {
            tolerances.push(Tolerance::InvalidHighBit);
            stored - 1
        }
    };
    Ok((allocated, stored, high_bit))
}
