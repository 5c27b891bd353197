//! JPEG: lossless decoded here by safe Rust, lossy made ready for the child.
//!
//! Lossy JPEG goes to `libjpeg-turbo-rs`: it gives the very samples that libjpeg-turbo gives (what
//! models were trained on), scales within the inverse DCT as that does, reads 12 bits, and is the
//! fastest; but it is full of unsafe code, so it runs in the child.

use std::panic::{AssertUnwindSafe, catch_unwind};

use jpeg_decoder::{ColorTransform, Decoder, PixelFormat};
use overread_domain::Samples;

use super::Decoded;
use super::stream::StreamInfo;

/// Decodes lossless JPEG (process 14) of 2 to 16 bits.
pub(crate) fn lossless(bytes: &[u8], info: &StreamInfo) -> Result<Decoded, String> {
    let samples = guard(|| {
        let mut decoder = Decoder::new(bytes);
        decoder.set_color_transform(ColorTransform::None);
        let out = decoder.decode().map_err(|e| e.to_string())?;
        let format = decoder.info().map(|i| i.pixel_format);
        Ok(match format {
            Some(PixelFormat::L16) => {
                Samples::U16(out.as_chunks().0.iter().map(|p| u16::from_ne_bytes(*p)).collect())
            }
            _ => Samples::U8(out),
        })
    })?;
    let expected = info.size.pixels() * u64::from(info.components);
    if samples.len() as u64 != expected {
        return Err(format!("{} samples were decoded instead of {expected}", samples.len()));
    }
    Ok(Decoded { size: info.size, samples })
}

/// A panic of a decoder is an error of this frame, not of the process.
pub(crate) fn guard<T>(decode: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(decode)).unwrap_or_else(|_| Err("the decoder panicked".to_owned()))
}

/// A colour stream whose markers say what we know of its colour: its JFIF and Adobe segments are
/// replaced by one that is right. Senders leave them out, damage them, and contradict them.
pub(crate) fn with_colour(bytes: &[u8], ybr: bool) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len() + 16);
    out.extend_from_slice(&[0xFF, 0xD8, 0xFF, 0xEE, 0, 14]);
    out.extend_from_slice(b"Adobe\0\x64\0\0\0\0");
    out.push(u8::from(ybr));
    let (mut kept, mut at) = (2.min(bytes.len()), 2);
    while let Some([0xFF, marker @ 0xC0..=0xFE, high, low]) = bytes.get(at..at + 4)
        && *marker != 0xDA
    {
        let end = at + 2 + usize::from(u16::from_be_bytes([*high, *low]));
        if matches!(marker, 0xE0 | 0xEE) && end <= bytes.len() {
            out.extend_from_slice(&bytes[kept..at]);
            kept = end;
        }
        at = end;
    }
    out.extend_from_slice(&bytes[kept..]);
    out
}
