//! 8-bit and lossless JPEG, decoded in process by safe Rust.
//!
//! Full resolution goes to `zune-jpeg`, the fastest; a reduced one to `jpeg-decoder`, which scales
//! within the inverse DCT; lossless (process 14) to `jpeg-decoder` as well.

use std::panic::{AssertUnwindSafe, catch_unwind};

use jpeg_decoder::{ColorTransform, Decoder, PixelFormat};
use overread_domain::Samples;
use zune_core::bytestream::ZCursor;
use zune_core::colorspace::ColorSpace;
use zune_core::options::DecoderOptions;
use zune_jpeg::JpegDecoder;

use super::stream::StreamInfo;
use super::{Decoded, reduced};

/// Decodes lossy 8-bit JPEG at `full / 2^k`, k up to 3; YCbCr becomes RGB where `to_rgb` says so.
pub(crate) fn lossy(bytes: &[u8], info: &StreamInfo, to_rgb: bool, k: u32) -> Result<Decoded, String> {
    let size = reduced(info.size, k);
    let samples = guard(|| if k == 0 { full(bytes, to_rgb) } else { scaled(bytes, info, to_rgb, k) })?;
    check(samples.len(), size.pixels() * u64::from(info.components))?;
    Ok(Decoded { size, components: info.components, samples: Samples::U8(samples) })
}

/// Decodes lossless JPEG of 2 to 16 bits.
pub(crate) fn lossless(bytes: &[u8], info: &StreamInfo) -> Result<Decoded, String> {
    let samples = guard(|| {
        let mut decoder = Decoder::new(bytes);
        decoder.set_color_transform(ColorTransform::None);
        let out = decoder.decode().map_err(|e| e.to_string())?;
        let format = decoder.info().map(|i| i.pixel_format);
        Ok(match format {
            Some(PixelFormat::L16) => {
                Samples::U16(out.chunks_exact(2).map(|p| u16::from_ne_bytes([p[0], p[1]])).collect())
            }
            _ => Samples::U8(out),
        })
    })?;
    check(samples.len(), info.size.pixels() * u64::from(info.components))?;
    Ok(Decoded { size: info.size, components: info.components, samples })
}

fn check(got: usize, expected: u64) -> Result<(), String> {
    if got as u64 == expected {
        Ok(())
    } else {
        Err(format!("{got} samples were decoded instead of {expected}"))
    }
}

/// A panic of a decoder is an error of this frame, not of the process.
pub(crate) fn guard<T>(decode: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(decode)).unwrap_or_else(|_| Err("the decoder panicked".to_owned()))
}

fn full(bytes: &[u8], to_rgb: bool) -> Result<Vec<u8>, String> {
    let options = DecoderOptions::new_fast().set_max_width(65535).set_max_height(65535).set_strict_mode(true);
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(bytes), options);
    decoder.decode_headers().map_err(|e| e.to_string())?;
    let input = decoder.input_colorspace().unwrap_or(ColorSpace::Luma);
    let output = if to_rgb { ColorSpace::RGB } else { input };
    decoder.set_options(options.jpeg_set_out_colorspace(output));
    decoder.decode().map_err(|e| e.to_string())
}

fn scaled(bytes: &[u8], info: &StreamInfo, to_rgb: bool, k: u32) -> Result<Vec<u8>, String> {
    let size = reduced(info.size, k);
    let mut decoder = Decoder::new(bytes);
    decoder.set_color_transform(match (info.components, to_rgb) {
        (1, _) => ColorTransform::Grayscale,
        (_, true) => ColorTransform::YCbCr,
        (_, false) => ColorTransform::None,
    });
    decoder.scale(size.columns as u16, size.rows as u16).map_err(|e| e.to_string())?;
    decoder.decode().map_err(|e| e.to_string())
}
