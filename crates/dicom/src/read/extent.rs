//! The pixel data of an object as bytes, for writers that copy them without decoding.
//!
//! What is copied is what a reader needs and nothing beside it: native pixel data end with the last frame, bits
//! outside Bits Stored (where an overlay can hide, PS3.5 §8.1.2 of 2004 and before) are cleared, and the offset
//! table of encapsulated ones is written anew.

use dicom_core::{Tag, VR};
use dicom_dictionary_std::uids;

use super::fragments::Fragments;
use super::native::frame_bits;
use super::scan::PixelElement;
use super::shape::{Kind, Shape};
use super::syntax::Codec;
use super::{DicomFile, ReadError};

const CHUNK: usize = 64 * 1024;
const ITEM: [u8; 4] = [0xFE, 0xFF, 0x00, 0xE0];
const DELIMITER: [u8; 8] = [0xFE, 0xFF, 0xDD, 0xE0, 0, 0, 0, 0];

/// How the pixel data of an object are written by [`DicomFile::copy_pixel_data`], always little endian.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PixelExtent {
    /// Pixel Data (7FE0,0010), Float Pixel Data (7FE0,0008) or Double Float Pixel Data (7FE0,0009).
    pub tag: Tag,
    /// The value's representation in an explicit VR data set.
    pub vr: VR,
    /// The transfer syntax of a data set that holds the copy. Native pixel data are Explicit VR Little Endian
    /// whatever the original was, compressed ones stay as they are.
    pub transfer_syntax: String,
    /// Bytes of the value, an even number; none for encapsulated pixel data, whose length is undefined.
    pub length: Option<u64>,
    /// How many frames it holds.
    pub frames: u32,
}

/// How native samples become little endian ones that hold Bits Stored alone.
struct Samples {
    /// Bytes in the original: whole words where it is big endian.
    bytes: u64,
    /// Bytes of a big-endian word to turn round; 1 for none.
    word: usize,
    /// The bits to keep of each sample, little endian; none for all.
    mask: Option<Vec<u8>>,
}

impl DicomFile {
    /// How the pixel data are copied. Every length is checked, nothing of the value is read into memory.
    ///
    /// # Errors
    /// [`ReadError::NoPixels`], or why the frames could not be read: cut short, malformed, or of a kind that is not read.
    pub fn pixel_data_extent(&self) -> Result<PixelExtent, ReadError> {
        let (pixels, shape) = self.pixels_and_shape()?;
        let (vr, transfer_syntax, length) = match (self.syntax.codec, pixels.length) {
            (Codec::Unsupported, _) => return Err(self.unsupported()),
            (Codec::Native, Some(_)) => {
                let samples = self.samples(&pixels, &shape)?;
                let vr = match (shape.kind, shape.allocated) {
                    (Kind::Float, _) => VR::OF,
                    (Kind::Double, _) => VR::OD,
                    (Kind::Integer, 0..=8) => VR::OB,
                    (Kind::Integer, _) => VR::OW,
                };
                (vr, uids::EXPLICIT_VR_LITTLE_ENDIAN.to_owned(), Some(samples.bytes.next_multiple_of(2)))
            }
            (codec, _) => {
                self.fragments(&pixels, &shape)?;
                let plain = codec == Codec::Native;
                let encapsulated = uids::ENCAPSULATED_UNCOMPRESSED_EXPLICIT_VR_LITTLE_ENDIAN;
                (VR::OB, if plain { encapsulated.to_owned() } else { self.syntax.uid.clone() }, None)
            }
        };
        Ok(PixelExtent { tag: pixels.tag, vr, transfer_syntax, length, frames: shape.frames })
    }

    /// As [`Self::pixel_data_extent`], and also of encapsulated pixel data that are not decoded here, such as video: their
    /// items are copied as they are.
    ///
    /// # Errors
    /// As [`Self::pixel_data_extent`].
    pub fn opaque_pixel_data_extent(&self) -> Result<PixelExtent, ReadError> {
        let (pixels, shape) = self.pixels_and_shape()?;
        if self.syntax.codec != Codec::Unsupported || !self.is_opaque(&pixels) {
            return self.pixel_data_extent();
        }
        self.fragments(&pixels, &whole(&shape))?;
        let transfer_syntax = self.syntax.uid.clone();
        Ok(PixelExtent { tag: pixels.tag, vr: VR::OB, transfer_syntax, length: None, frames: shape.frames })
    }

    /// Encapsulated in one of the standard's transfer syntaxes: the items are known, what they hold is not.
    fn is_opaque(&self, pixels: &PixelElement) -> bool {
        pixels.length.is_none() && self.syntax.uid.starts_with("1.2.840.10008.1.2.4.")
    }

    /// Hands the value to `take` piece by piece, at most 64 KiB at once: the samples, or the items and the delimiter
    /// of encapsulated pixel data. The element's header is the caller's.
    ///
    /// # Errors
    /// As [`Self::pixel_data_extent`], and whatever `take` answers.
    pub fn copy_pixel_data<E: From<ReadError>>(
        &self,
        mut take: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let (pixels, shape) = self.pixels_and_shape()?;
        let opaque = self.syntax.codec == Codec::Unsupported;
        if opaque && !self.is_opaque(&pixels) {
            return Err(self.unsupported().into());
        }
        if self.syntax.codec == Codec::Native && pixels.length.is_some() {
            let samples = self.samples(&pixels, &shape)?;
            return self.copy_native(&pixels, &samples, take);
        }
        let fragments = self.fragments(&pixels, &if opaque { whole(&shape) } else { shape })?;
        item(&offset_table(fragments), &mut take)?;
        for (offset, length) in fragments.pieces() {
            take(&ITEM)?;
            take(&length.to_le_bytes())?;
            self.pieces(&pixels, offset, u64::from(length), |bytes, _| take(bytes))?;
        }
        take(&DELIMITER)
    }

    fn samples(&self, pixels: &PixelElement, shape: &Shape) -> Result<Samples, ReadError> {
        let needed = frame_bits(shape).saturating_mul(u64::from(shape.frames)).div_ceil(8);
        let there = self.source.available(pixels.offset, needed).map_err(io)?;
        let available = there.min(pixels.length.unwrap_or(0));
        if available < needed {
            return Err(ReadError::Truncated { tag: pixels.tag, offset: pixels.offset, needed, available });
        }
        let word = match shape.allocated {
            _ if !self.syntax.encoding.big => 1,
            8 if &pixels.vr == b"OW" => 2,
            allocated => usize::from(allocated / 8).max(1),
        };
        let low_bit = (shape.high_bit + 1).saturating_sub(shape.stored);
        let whole = shape.kind != Kind::Integer || shape.allocated < 8 || shape.stored >= shape.allocated;
        let mask = (!whole).then(|| {
            let bits = ((1u64 << shape.stored) - 1) << low_bit;
            bits.to_le_bytes()[..usize::from(shape.allocated / 8)].to_vec()
        });
        Ok(Samples { bytes: needed.next_multiple_of(word as u64), word, mask })
    }

    fn copy_native<E: From<ReadError>>(
        &self,
        pixels: &PixelElement,
        samples: &Samples,
        mut take: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut turned = Vec::with_capacity(CHUNK);
        self.pieces(pixels, pixels.offset, samples.bytes, |bytes, last| {
            if samples.word == 1 && samples.mask.is_none() {
                take(bytes)?;
            } else {
                turned.clear();
                turned.extend_from_slice(bytes);
                turned.chunks_exact_mut(samples.word).for_each(<[u8]>::reverse);
                if let Some(mask) = &samples.mask {
                    turned.iter_mut().zip(mask.iter().cycle()).for_each(|(byte, mask)| *byte &= mask);
                }
                take(&turned)?;
            }
            if last && samples.bytes % 2 == 1 { take(&[0]) } else { Ok(()) }
        })
    }

    /// Hands out `length` bytes from `offset` on; bytes of a last big-endian word that are not there are zero.
    fn pieces<E: From<ReadError>>(
        &self,
        pixels: &PixelElement,
        offset: u64,
        length: u64,
        mut take: impl FnMut(&[u8], bool) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut buffer = vec![0; CHUNK.min(usize::try_from(length).unwrap_or(CHUNK))];
        let mut done = 0;
        while done < length {
            let want = (length - done).min(CHUNK as u64) as usize;
            let read = self.source.read_at(offset + done, &mut buffer[..want]).map_err(io)?;
            let last = done + want as u64 == length;
            if read < want && !(last && want - read < 8 && self.syntax.encoding.big) {
                let available = done + read as u64;
                let tag = pixels.tag;
                return Err(ReadError::Truncated { tag, offset, needed: length, available }.into());
            }
            buffer[read..want].fill(0);
            take(&buffer[..want], last)?;
            done += want as u64;
        }
        Ok(())
    }
}

/// One frame instead of many: the fragments of a video are not its frames.
fn whole(shape: &Shape) -> Shape {
    Shape { frames: 1, ..shape.clone() }
}

fn io(source: std::io::Error) -> ReadError {
    ReadError::Io { doing: "read the pixel data", source }
}

fn item<E>(value: &[u8], take: &mut impl FnMut(&[u8]) -> Result<(), E>) -> Result<(), E> {
    take(&ITEM)?;
    take(&(value.len() as u32).to_le_bytes())?;
    take(value)
}

/// The Basic Offset Table (PS3.5 §A.4) of the fragments; empty where an offset does not fit 32 bits.
fn offset_table(fragments: &Fragments) -> Vec<u8> {
    let mut offsets = Vec::new();
    let mut at = 0u64;
    for (_, length) in fragments.pieces() {
        offsets.push(at);
        at += 8 + u64::from(length);
    }
    let table: Option<Vec<_>> =
        fragments.starts().map(|i| u32::try_from(*offsets.get(i)?).ok().map(u32::to_le_bytes)).collect();
    table.unwrap_or_default().concat()
}
