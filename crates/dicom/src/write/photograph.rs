//! The file of a photograph, as a phone or a browser sends it, as a DICOM image.

use std::sync::Arc;

use dicom_core::VR;
use dicom_dictionary_std::tags;
use overread_domain::{Channels, ImageGrid, Samples};

use super::elements::put;
use super::ophthalmic::{EyeDevice, wrap_eye};
use super::text::decimal_string;
use super::wrap::{GreyPixels, RgbPixels, WrapHeader, wrap_photograph, wrap_radiograph};
use super::{DicomFile, WriteError};
use crate::read::{CodecHost, Limits, Opened, ReadError, Resolution, open_bytes};

/// What a picture is a picture of.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum PhotographKind {
    /// A radiograph that was exported, scanned or photographed: grey, a Computed Radiography Image.
    Radiograph,
    /// Something seen, such as skin: colour, a VL Photographic Image.
    Photograph,
    /// An eye: colour, an Ophthalmic Photography 8 Bit Image.
    Eye(EyeDevice),
}

/// Why a file did not become a DICOM image. No message holds a value of the header.
#[derive(Debug, thiserror::Error)]
pub enum PhotographError {
    /// The picture cannot be read: damaged, too large, or no JPEG, PNG, TIFF or WebP.
    #[error("the picture cannot be read")]
    Read(#[from] ReadError),
    /// The file is DICOM already.
    #[error("the file is DICOM already; store it as it is")]
    Dicom,
    /// An animation, or pages: one image would show the first alone.
    #[error("the file holds several pictures; send each as a file of its own")]
    Several,
    /// The image cannot be made.
    #[error("the DICOM image cannot be made")]
    Write(#[from] WriteError),
}

/// Makes a DICOM image of the bytes of a JPEG, PNG, TIFF or WebP picture.
///
/// The picture is turned as its EXIF orientation says; everything else that the file holds beside its samples (place,
/// time, camera, comments, embedded previews) stays behind. A radiograph in colour becomes grey by ITU-R BT.601 luma, a
/// photograph of 16 bits one of 8; transparency is laid over black. `lossy` of the header is set for JPEG, and for WebP
/// unless it is lossless.
///
/// # Errors
/// [`PhotographError`]: beyond a limit, damaged, no picture, or a header that is not valid.
pub fn photograph(
    bytes: impl Into<Arc<[u8]>>,
    header: &WrapHeader,
    kind: PhotographKind,
    limits: &Limits,
    host: &mut CodecHost,
) -> Result<DicomFile, PhotographError> {
    let bytes = bytes.into();
    let compressed = bytes.len();
    let (jpeg, webp) = (bytes.starts_with(&[0xFF, 0xD8]), is_lossy_webp(&bytes));
    let Opened::Photograph(file) = open_bytes(bytes, limits)? else { return Err(PhotographError::Dicom) };
    if file.holds_several() {
        return Err(PhotographError::Several);
    }
    let grid = file.decode(0, Resolution::Full, host)?;
    let header = WrapHeader { lossy: header.lossy || jpeg || webp, ..header.clone() };
    let decoded = grid.size.pixels() * if grid.channels == Channels::Rgb { 3 } else { 1 };
    let mut object = match kind {
        PhotographKind::Radiograph => radiograph(&grid, &header)?,
        PhotographKind::Photograph => {
            let pixels = rgb(grid.samples, grid.channels)?;
            wrap_photograph(&header, grid.size, RgbPixels(&pixels))?
        }
        PhotographKind::Eye(device) => {
            let pixels = rgb(grid.samples, grid.channels)?;
            wrap_eye(&header, grid.size, RgbPixels(&pixels), device)?
        }
    };
    if header.lossy {
        let ratio = decimal_string((decoded as f64 / compressed as f64 * 100.0).round() / 100.0);
        put(&mut object, tags::LOSSY_IMAGE_COMPRESSION_RATIO, VR::DS, &ratio);
    }
    if webp {
        // The standard's terms, which may be extended, have none for what WebP does: VP8, which is RFC 6386.
        put(&mut object, tags::LOSSY_IMAGE_COMPRESSION_METHOD, VR::CS, "RFC_6386");
    }
    Ok(object)
}

/// Whether a WebP picture has an image that is not of its lossless kind.
fn is_lossy_webp(bytes: &[u8]) -> bool {
    // Metadata may come before the chunk of the image.
    let lossless = || bytes.windows(4).take(64 * 1024).any(|chunk| chunk == b"VP8L");
    bytes.get(8..12) == Some(b"WEBP") && !lossless()
}

fn radiograph(grid: &ImageGrid, header: &WrapHeader) -> Result<DicomFile, PhotographError> {
    let deep = |values: &[u16]| {
        let pixels = GreyPixels::U16 { bits_stored: grid.bits_stored, values };
        wrap_radiograph(header, grid.size, pixels, None)
    };
    Ok(match (&grid.samples, grid.channels) {
        (Samples::U8(v), Channels::Grey) => wrap_radiograph(header, grid.size, GreyPixels::U8(v), None)?,
        (Samples::U8(v), Channels::Rgb) => {
            wrap_radiograph(header, grid.size, GreyPixels::U8(&luma(v, |n| n as u8)), None)?
        }
        (Samples::U16(v), Channels::Grey) => deep(v)?,
        (Samples::U16(v), Channels::Rgb) => deep(&luma(v, |n| n as u16))?,
        _ => return Err(other_samples()),
    })
}

/// ITU-R BT.601 luma, rounded.
fn luma<T: Copy + Into<f32>>(rgb: &[T], whole: impl Fn(f32) -> T) -> Vec<T> {
    let pixels = rgb.chunks_exact(3);
    pixels.map(|p| whole((0.299 * p[0].into() + 0.587 * p[1].into() + 0.114 * p[2].into()).round())).collect()
}

/// Red, green, blue of 8 bits.
fn rgb(samples: Samples, channels: Channels) -> Result<Vec<u8>, PhotographError> {
    let eight = match samples {
        Samples::U8(v) => v,
        // 65535 is 255 and 0 is 0, with equal steps between.
        Samples::U16(v) => v.into_iter().map(|x| ((u32::from(x) + 128) / 257) as u8).collect(),
        _ => return Err(other_samples()),
    };
    Ok(match channels {
        Channels::Rgb => eight,
        Channels::Grey => eight.into_iter().flat_map(|grey| [grey; 3]).collect(),
    })
}

fn other_samples() -> PhotographError {
    let what = "a picture whose samples are neither of 8 nor of 16 bits".to_owned();
    PhotographError::Read(ReadError::Unsupported { what })
}
