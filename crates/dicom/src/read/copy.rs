//! The pixel data of an object, copied as they are: for an object with another header around the same pixels.

use std::io::Write;

use super::file::DicomFile;
use super::syntax::EXPLICIT_UID;
use super::{ReadError, scan::PixelElement, source::Source};

/// Bytes that are in memory at once.
const CHUNK: usize = 1 << 20;

impl DicomFile {
    /// The transfer syntax that [`Self::copy_pixels`] writes: the object's own where pixels are encapsulated, else Explicit VR Little Endian.
    pub fn copied_syntax(&self) -> &str {
        match self.pixel_element() {
            Some(PixelElement { length: None, .. }) => self.syntax_uid(),
            _ => EXPLICIT_UID,
        }
    }

    /// Writes the pixel data element as the last one of a data set in explicit little endian; nothing if the object has none. What follows the pixel
    /// data in the object is left out. Memory stays flat, whatever the size.
    ///
    /// # Errors
    /// The pixel data end early, are malformed, or are of a kind that cannot be copied.
    pub fn copy_pixels(&self, out: &mut impl Write) -> Result<(), ReadError> {
        let Some(pixels) = self.pixel_element() else { return Ok(()) };
        let wide = pixels.vr == *b"OW" || (pixels.vr != *b"OB" && self.header().bits_allocated > 8);
        let vr: &[u8; 2] = match pixels.length {
            None => b"OB",
            Some(_) if wide => b"OW",
            Some(_) => b"OB",
        };
        let mut head = Vec::with_capacity(12);
        head.extend(pixels.tag.group().to_le_bytes());
        head.extend(pixels.tag.element().to_le_bytes());
        head.extend(vr);
        head.extend([0, 0]);
        match pixels.length {
            None => {
                head.extend(u32::MAX.to_le_bytes());
                put(out, &head)?;
                self.copy_fragments(pixels, out)
            }
            Some(length) => {
                let even = length + length % 2;
                let too_large = ReadError::Malformed { tag: pixels.tag, offset: pixels.offset, why: "the pixel data are too long" };
                head.extend(u32::try_from(even).ok().filter(|n| *n < u32::MAX).ok_or(too_large)?.to_le_bytes());
                put(out, &head)?;
                let swap = self.is_big_endian() && wide;
                copy(self.source(), pixels, pixels.offset, length, swap, out)?;
                if even > length { put(out, &[0]) } else { Ok(()) }
            }
        }
    }

    fn copy_fragments(&self, pixels: &PixelElement, out: &mut impl Write) -> Result<(), ReadError> {
        let mut at = pixels.offset;
        let mut head = [0u8; 8];
        loop {
            let n = self.source().read_at(at, &mut head).map_err(|source| ReadError::Io { doing: "read the pixel data", source })?;
            let length = u64::from(u32::from_le_bytes([head[4], head[5], head[6], head[7]]));
            let item = n == 8 && head[..4] == [0xFE, 0xFF, 0x00, 0xE0];
            if !item {
                let end = n < 8 || head[..4] == [0xFE, 0xFF, 0xDD, 0xE0];
                if !end {
                    let why = "something else than a fragment between fragments";
                    return Err(ReadError::Malformed { tag: pixels.tag, offset: at, why });
                }
                return put(out, &[0xFE, 0xFF, 0xDD, 0xE0, 0, 0, 0, 0]);
            }
            put(out, &head)?;
            copy(self.source(), pixels, at + 8, length, false, out)?;
            at += 8 + length;
        }
    }
}

fn put(out: &mut impl Write, bytes: &[u8]) -> Result<(), ReadError> {
    out.write_all(bytes).map_err(|source| ReadError::Io { doing: "write the pixel data", source })
}

fn copy(source: &Source, pixels: &PixelElement, from: u64, length: u64, swap: bool, out: &mut impl Write) -> Result<(), ReadError> {
    let mut chunk = vec![0; CHUNK];
    let mut done = 0;
    while done < length {
        let want = usize::try_from(length - done).unwrap_or(CHUNK).min(CHUNK);
        let n = source.read_at(from + done, &mut chunk[..want]).map_err(|source| ReadError::Io { doing: "read the pixel data", source })?;
        if n < want {
            return Err(ReadError::Truncated { tag: pixels.tag, offset: from, needed: length, available: done + n as u64 });
        }
        if swap {
            chunk[..n].chunks_exact_mut(2).for_each(|pair| pair.swap(0, 1));
        }
        put(out, &chunk[..n])?;
        done += n as u64;
    }
    Ok(())
}
