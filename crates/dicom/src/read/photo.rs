//! Photographs: JPEG, PNG, TIFF and WebP, turned as EXIF says.

use std::io::Cursor;

use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder, ImageFormat, ImageReader};
use overread_domain::{
    Channels, GridSize, ImageGrid, ModalityTransform, Photometric, Samples, VoiTransform, WindowFunction,
};

use super::codec::host::{CodecHost, Expected};
use super::codec::stream::{JpegColour, StreamInfo, StreamKind, inspect};
use super::codec::wire::{ChildCodec, Question};
use super::codec::{self, jpeg};
use super::{Header, Limits, ReadError, Resolution, several, source::Source};

/// A photograph in memory, not yet decoded.
///
/// 16-bit pictures stay 16-bit; transparency is laid over black; CMYK becomes RGB; the picture is
/// turned as its EXIF orientation says, so that the first sample is the top left of what was seen.
pub struct PhotoFile {
    bytes: Vec<u8>,
    format: ImageFormat,
    orientation: Orientation,
    /// Size before turning.
    stored: GridSize,
    header: Header,
    frame_bytes: u64,
}

/// The format that the first bytes tell.
pub(crate) fn sniff(head: &[u8]) -> Option<ImageFormat> {
    match head {
        [0xFF, 0xD8, 0xFF, ..] => Some(ImageFormat::Jpeg),
        [0x89, b'P', b'N', b'G', 0x0D, 0x0A, 0x1A, 0x0A, ..] => Some(ImageFormat::Png),
        [b'I', b'I', 42, 0, ..] | [b'M', b'M', 0, 42, ..] => Some(ImageFormat::Tiff),
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => Some(ImageFormat::WebP),
        _ => None,
    }
}

const fn name(format: ImageFormat) -> &'static str {
    match format {
        ImageFormat::Jpeg => "JPEG",
        ImageFormat::Png => "PNG",
        ImageFormat::Tiff => "TIFF",
        _ => "WebP",
    }
}

impl PhotoFile {
    pub(crate) fn open(
        source: &Source,
        len: u64,
        format: ImageFormat,
        limits: &Limits,
    ) -> Result<Self, ReadError> {
        let limit = limits.frame_bytes;
        let too_large = |what, bytes| ReadError::TooLarge { what, bytes, limit, name: "frame_bytes" };
        if len > limit {
            return Err(too_large("the photograph", len));
        }
        let mut bytes = vec![0; len as usize];
        let read = source.read_at(0, &mut bytes);
        let n = read.map_err(|source| ReadError::Io { doing: "read the photograph", source })?;
        bytes.truncate(n);
        let wrong = |why| ReadError::Photograph { format: name(format), why };
        let (stored, orientation, colour) = jpeg::guard(|| {
            let mut decoder = decoder(&bytes, format, limit)?;
            let (columns, rows) = decoder.dimensions();
            let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
            Ok((GridSize::new(columns, rows), orientation, decoder.color_type()))
        })
        .map_err(wrong)?;
        let decoded = stored.pixels() * u64::from(colour.bytes_per_pixel());
        if decoded > limit {
            return Err(too_large("the decoded photograph", decoded));
        }
        let size = turned(stored, orientation);
        let samples = if colour.has_color() { 3 } else { 1 };
        let bits = if colour.bytes_per_pixel() / colour.channel_count() > 1 { 16 } else { 8 };
        let header = Header {
            holds_several: several::holds_several(&bytes, format),
            ..Header::of_photograph(name(format), size.columns, size.rows, samples, bits)
        };
        Ok(Self { bytes, format, orientation, stored, header, frame_bytes: limit })
    }

    /// Size and depth; nothing of whoever is in the picture.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// Whether the file holds more than the picture that is decoded: an animation, or further pages.
    pub fn holds_several(&self) -> bool {
        self.header.holds_several
    }

    /// Decodes the picture; its one frame is 0.
    ///
    /// # Errors
    /// [`ReadError`]: another frame, or a damaged picture.
    pub fn decode(
        &self,
        frame: u32,
        resolution: Resolution,
        host: &mut CodecHost,
    ) -> Result<ImageGrid, ReadError> {
        if frame != 0 {
            return Err(ReadError::NoSuchFrame { frame, frames: 1 });
        }
        let wrong = |why| ReadError::Photograph { format: name(self.format), why };
        let mut picture = match self.jpeg(resolution, host)? {
            Some(picture) => picture,
            None => jpeg::guard(|| {
                let decoder = decoder(&self.bytes, self.format, self.frame_bytes)?;
                DynamicImage::from_decoder(decoder).map_err(|e| e.to_string())
            })
            .map_err(wrong)?,
        };
        picture.apply_orientation(self.orientation);
        let size = GridSize::new(picture.width(), picture.height());
        let (channels, samples) = samples(picture);
        let grey = channels == Channels::Grey;
        Ok(ImageGrid {
            size,
            full_size: turned(self.stored, self.orientation),
            phase: 0.0,
            channels,
            samples,
            photometric: if grey { Photometric::Monochrome2 } else { Photometric::Rgb },
            bits_stored: self.header.bits_stored,
            modality: ModalityTransform::Identity,
            voi: vec![whole_range(self.header.bits_stored)],
            padding: None,
            spacing: None,
            geometry: None,
        })
    }

    /// A grey or colour JPEG through the child, as JPEG in DICOM; none where it is something else.
    fn jpeg(&self, resolution: Resolution, host: &mut CodecHost) -> Result<Option<DynamicImage>, ReadError> {
        let info = inspect(&self.bytes).ok().filter(|i| matches!(i.components, 1 | 3) && i.precision == 8);
        let Some(info @ StreamInfo { kind: StreamKind::Jpeg { colour }, components, .. }) = info else {
            return Ok(None);
        };
        let reduce = match resolution {
            Resolution::Full => 0,
            Resolution::AtLeast(wanted) => codec::reduction(info.size, turned(wanted, self.orientation), 3),
        };
        let fixed = (components == 3).then(|| jpeg::with_colour(&self.bytes, colour != JpegColour::Rgb));
        let bytes = fixed.as_deref().unwrap_or(&self.bytes);
        let question = Question { codec: ChildCodec::Jpeg8, reduce: reduce as u8, bytes: bytes.len() as u64 };
        let expected = Expected { size: codec::reduced(info.size, reduce), components, precision: 8 };
        let decoded = host.decode(question, bytes, &expected);
        let decoded =
            decoded.map_err(|source| ReadError::Codec { syntax: "JPEG photograph", frame: 0, source })?;
        let Samples::U8(v) = decoded.samples else { return Ok(None) };
        let (w, h) = (decoded.size.columns, decoded.size.rows);
        Ok(if components == 1 {
            image::GrayImage::from_raw(w, h, v).map(DynamicImage::from)
        } else {
            image::RgbImage::from_raw(w, h, v).map(DynamicImage::from)
        })
    }
}

fn decoder(bytes: &[u8], format: ImageFormat, limit: u64) -> Result<impl ImageDecoder + '_, String> {
    let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
    let mut limits = image::Limits::default();
    limits.max_alloc = Some(limit.saturating_mul(2));
    reader.limits(limits);
    reader.into_decoder().map_err(|e| e.to_string())
}

fn turned(size: GridSize, orientation: Orientation) -> GridSize {
    use Orientation::{Rotate90, Rotate90FlipH, Rotate270, Rotate270FlipH};
    match orientation {
        Rotate90 | Rotate270 | Rotate90FlipH | Rotate270FlipH => GridSize::new(size.rows, size.columns),
        _ => size,
    }
}

/// The samples of a picture, transparency laid over black.
fn samples(picture: DynamicImage) -> (Channels, Samples) {
    match picture {
        DynamicImage::ImageLuma8(p) => (Channels::Grey, Samples::U8(p.into_raw())),
        DynamicImage::ImageRgb8(p) => (Channels::Rgb, Samples::U8(p.into_raw())),
        DynamicImage::ImageLuma16(p) => (Channels::Grey, Samples::U16(p.into_raw())),
        DynamicImage::ImageRgb16(p) => (Channels::Rgb, Samples::U16(p.into_raw())),
        DynamicImage::ImageLumaA8(p) => (Channels::Grey, Samples::U8(over_black_8(p.as_raw(), 2))),
        DynamicImage::ImageRgba8(p) => (Channels::Rgb, Samples::U8(over_black_8(p.as_raw(), 4))),
        DynamicImage::ImageLumaA16(p) => (Channels::Grey, Samples::U16(over_black_16(p.as_raw(), 2))),
        DynamicImage::ImageRgba16(p) => (Channels::Rgb, Samples::U16(over_black_16(p.as_raw(), 4))),
        other => (Channels::Rgb, Samples::U16(over_black_16(other.into_rgba16().as_raw(), 4))),
    }
}

fn over_black_8(raw: &[u8], channels: usize) -> Vec<u8> {
    let mix = |c: u8, alpha: u8| ((u32::from(c) * u32::from(alpha) + 127) / 255) as u8;
    raw.chunks_exact(channels)
        .flat_map(|p| p[..channels - 1].iter().map(|c| mix(*c, p[channels - 1])))
        .collect()
}

fn over_black_16(raw: &[u16], channels: usize) -> Vec<u16> {
    let mix = |c: u16, alpha: u16| ((u64::from(c) * u64::from(alpha) + 32_767) / 65_535) as u16;
    raw.chunks_exact(channels)
        .flat_map(|p| p[..channels - 1].iter().map(|c| mix(*c, p[channels - 1])))
        .collect()
}
/// A photograph is shown over the whole range of its samples: 0 is black, the largest value white.
fn whole_range(bits_stored: u16) -> VoiTransform {
    let most = f64::from(u16::MAX >> 16u16.saturating_sub(bits_stored));
    VoiTransform::Window { center: most / 2.0, width: most, function: WindowFunction::LinearExact }
}
