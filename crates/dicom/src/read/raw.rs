//! Frames as bytes for those who pass them on: as the file has them, or decoded and little endian.

use std::borrow::Cow;

use dicom_core::Tag;
use overread_domain::{Samples, for_samples};

use super::codec::host::CodecHost;
use super::file::{DicomFile, Raw, Ybr};
use super::shape::{Colour, Shape};
use super::syntax::{Codec, Syntax};
use super::{ReadError, Resolution, colour, fragments, native};

/// The element that holds an object's pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PixelElementInfo {
    /// Pixel Data, Float Pixel Data or Double Float Pixel Data.
    pub tag: Tag,
    /// Its VR in Explicit VR Little Endian: `OB` or `OW`, `OF`, `OD`.
    pub vr: &'static str,
    /// Its value is a sequence of fragments.
    pub encapsulated: bool,
}

/// One frame as bytes.
#[derive(Clone, PartialEq, Eq)]
pub enum FrameBytes {
    /// Uncompressed, little endian, in the width of Bits Allocated; a frame of single bits begins with its first bit in the first byte.
    Native(Vec<u8>),
    /// As the codec of the transfer syntax wrote it.
    Encapsulated(Vec<u8>),
}

/// How frames of [`DicomFile::native_frame`] are to be described where that is not what the header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NativeForm {
    /// Photometric Interpretation; with it, Planar Configuration is 0.
    pub photometric: Option<&'static str>,
    /// High Bit.
    pub high_bit: Option<u16>,
    /// Bits Allocated.
    pub bits_allocated: u16,
    /// Bytes of each frame.
    pub frame_bytes: u64,
    /// Frames of single bits that do not fill whole bytes: one after the other they are not what Pixel Data holds.
    pub ragged: bool,
}

impl DicomFile {
    /// The element that holds the pixels; none if there is none.
    pub fn pixel_element(&self) -> Option<PixelElementInfo> {
        let pixels = self.pixels.as_ref()?;
        let allocated = self.header().bits_allocated;
        let vr = match pixels.tag {
            dicom_dictionary_std::tags::FLOAT_PIXEL_DATA => "OF",
            dicom_dictionary_std::tags::DOUBLE_FLOAT_PIXEL_DATA => "OD",
            _ if pixels.length.is_some() && allocated > 8 => "OW",
            _ => "OB",
        };
        Some(PixelElementInfo { tag: pixels.tag, vr, encapsulated: pixels.length.is_none() })
    }

    /// Whether the pixel data are all there: as many bytes as announced, of fragments too, and the delimiter after the last fragment. Nothing
    /// of them is read but the headers of fragments; a deflated data set is inflated once. An object without pixel data is whole.
    ///
    /// # Errors
    /// [`ReadError::Truncated`] where the object was cut, [`ReadError::Malformed`] where fragments are none.
    pub fn check_whole(&self) -> Result<(), ReadError> {
        let Some(pixels) = &self.pixels else { return Ok(()) };
        let Some(needed) = pixels.length else { return fragments::check_whole(&self.source, pixels) };
        let available = self.source.available(pixels.offset, needed);
        let available = available.map_err(|source| ReadError::Io { doing: "read the pixel data", source })?;
        if available < needed {
            return Err(ReadError::Truncated { tag: pixels.tag, offset: pixels.offset, needed, available });
        }
        Ok(())
    }

    /// One frame, counted from 0, without decoding it; only its bytes are read. Words of big endian are turned.
    ///
    /// # Errors
    /// [`ReadError`]: the frame is not there, is too large or is cut.
    pub fn frame_bytes(&self, frame: u32) -> Result<FrameBytes, ReadError> {
        let (pixels, shape) = self.checked_shape(frame)?;
        if pixels.length.is_none() {
            return self.fragment(pixels, &shape, frame).map(FrameBytes::Encapsulated);
        }
        let big = self.syntax.encoding.big;
        let samples = native::read(&self.source, pixels, &shape, big, frame)?;
        Ok(FrameBytes::Native(if shape.allocated == 1 { packed(&samples) } else { little_endian(samples) }))
    }

    /// What frames of [`Self::native_frame`] look like.
    ///
    /// # Errors
    /// [`ReadError`]: there are no pixels, or their description cannot be used.
    pub fn native_form(&self) -> Result<NativeForm, ReadError> {
        let (pixels, shape) = self.checked_shape(0)?;
        let bits_allocated = shape.allocated;
        if pixels.length.is_some() {
            let bits = native::frame_bits(&shape);
            let ragged = !bits.is_multiple_of(8);
            let frame_bytes = bits.div_ceil(8);
            return Ok(NativeForm { photometric: None, high_bit: None, bits_allocated, frame_bytes, ragged });
        }
        let colour = shape.samples == 3;
        let frame_bytes = shape.count() * u64::from(shape.allocated.div_ceil(8));
        Ok(NativeForm {
            photometric: colour.then_some("RGB"),
            high_bit: Some(shape.stored - 1),
            bits_allocated: shape.allocated.next_multiple_of(8),
            frame_bytes,
            ragged: false,
        })
    }

    /// One frame, counted from 0, decoded: little endian, in the width of Bits Allocated, colour as interleaved RGB. What is not
    /// compressed stays as it is but for the order of bytes; a palette is not applied. [`Self::native_form`] describes it.
    ///
    /// # Errors
    /// As [`Self::decode`].
    pub fn native_frame(&self, frame: u32, host: &mut CodecHost) -> Result<Vec<u8>, ReadError> {
        let (pixels, shape) = self.checked_shape(frame)?;
        if pixels.length.is_some()
            && let FrameBytes::Native(bytes) = self.frame_bytes(frame)?
        {
            return Ok(bytes);
        }
        if self.syntax.codec == Codec::Native && shape.allocated == 1 {
            return Err(ReadError::Unsupported { what: "encapsulated frames of single bits".to_owned() });
        }
        let raw = self.raw(pixels, &shape, frame, Resolution::Full, host)?;
        let bytes = little_endian(widened(settled(raw, &shape)?, &shape));
        let expected = self.native_form()?.frame_bytes;
        if bytes.len() as u64 != expected {
            let why = format!("it decodes to {} bytes and the header says {expected}", bytes.len());
            return Err(self.wrong(frame, why));
        }
        Ok(bytes)
    }
}

/// Whether frames of a transfer syntax can be decoded.
pub fn is_decodable(transfer_syntax: &str) -> bool {
    Syntax::of(transfer_syntax).codec != Codec::Unsupported
}

/// Samples with their sign, chroma turned into RGB.
fn settled(raw: Raw, shape: &Shape) -> Result<Samples, ReadError> {
    let colour = shape.samples == 3;
    let mut samples = native::settle(raw.samples, raw.stored, raw.low_bit, shape.signed && !colour);
    match (raw.ybr, &mut samples) {
        (None, _) => {}
        (Some(Ybr::Full), Samples::U8(v)) => colour::ybr_full(v),
        (Some(Ybr::Partial), Samples::U8(v)) => colour::ybr_partial(v),
        (Some(_), _) => return Err(ReadError::Unsupported { what: "YBR of more than 8 bits".to_owned() }),
    }
    Ok(samples)
}

/// Samples in the width that Bits Allocated says; decoding gives the narrowest that hold them.
fn widened(samples: Samples, shape: &Shape) -> Samples {
    let to_16 = shape.allocated == 16;
    let to_32 = shape.allocated == 32 && shape.colour != Colour::Palette;
    match samples {
        Samples::U8(v) if to_16 => Samples::U16(v.into_iter().map(u16::from).collect()),
        Samples::I8(v) if to_16 => Samples::I16(v.into_iter().map(i16::from).collect()),
        Samples::U8(v) if to_32 => Samples::U32(v.into_iter().map(u32::from).collect()),
        Samples::I8(v) if to_32 => Samples::I32(v.into_iter().map(i32::from).collect()),
        Samples::U16(v) if to_32 => Samples::U32(v.into_iter().map(u32::from).collect()),
        Samples::I16(v) if to_32 => Samples::I32(v.into_iter().map(i32::from).collect()),
        other => other,
    }
}

fn little_endian(samples: Samples) -> Vec<u8> {
    match samples {
        Samples::U8(v) => v,
        other if cfg!(target_endian = "little") => {
            for_samples!(&other, v => bytemuck::cast_slice::<_, u8>(v).to_vec())
        }
        other => for_samples!(other, v => v.into_iter().flat_map(|x| x.to_le_bytes()).collect()),
    }
}

/// Eight samples of one bit in a byte, the first lowest (PS3.5 §8.1.1).
fn packed(samples: &Samples) -> Vec<u8> {
    let bits: Cow<'_, [u8]> = match samples {
        Samples::U8(v) => Cow::Borrowed(v),
        _ => Cow::Borrowed(&[]),
    };
    bits.chunks(8).map(|eight| eight.iter().enumerate().fold(0, |byte, (i, bit)| byte | (bit << i))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_are_packed_from_the_lowest() {
        assert_eq!(packed(&Samples::U8(vec![1, 0, 0, 0, 0, 0, 0, 1, 1])), [0x81, 0x01]);
    }

    #[test]
    fn words_are_little_endian() {
        assert_eq!(little_endian(Samples::I16(vec![-2, 258])), [0xFE, 0xFF, 2, 1]);
    }
}
