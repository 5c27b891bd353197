//! Uncompressed frames: bytes by offset into samples, without a copy in between.

use bytemuck::allocation::cast_vec;
use overread_domain::Samples;

use super::shape::{Colour, Kind, Shape};
use super::{ReadError, scan::PixelElement, source::Source};

/// Bits of a frame in the file.
pub(crate) fn frame_bits(shape: &Shape) -> u64 {
    let allocated = u64::from(shape.allocated);
    match shape.colour {
        Colour::YbrFull422 | Colour::YbrPartial422 => {
            u64::from(shape.size.rows) * u64::from(shape.size.columns).div_ceil(2) * 4 * allocated
        }
        _ => shape.count() * allocated,
    }
}

/// Reads one uncompressed frame; samples as the file has them, unsigned and in the width of Bits Allocated.
pub(crate) fn read(
    source: &Source,
    pixels: &PixelElement,
    shape: &Shape,
    big: bool,
    frame: u32,
) -> Result<Samples, ReadError> {
    let bits = frame_bits(shape);
    let first_bit = bits.saturating_mul(u64::from(frame));
    let end = first_bit.saturating_add(bits).div_ceil(8);
    let length = pixels.length.unwrap_or(0);
    let cut =
        |available| ReadError::Truncated { tag: pixels.tag, offset: pixels.offset, needed: end, available };
    if length < end {
        return Err(cut(length));
    }
    let io = |source| ReadError::Io { doing: "read the pixel data", source };
    let there = source.available(pixels.offset, end).map_err(io)?;
    if there < end {
        return Err(cut(there));
    }
    let offset = pixels.offset + first_bit / 8;
    let fill = |out: &mut [u8]| match source.read_at(offset, out).map_err(io)? {
        n if n == out.len() => Ok(()),
        n => Err(cut(first_bit / 8 + n as u64)),
    };
    let n = (bits / u64::from(shape.allocated)) as usize;
    Ok(match (shape.kind, shape.allocated) {
        (Kind::Float, _) => {
            let mut words = vec![0u32; n];
            fill(bytemuck::cast_slice_mut(&mut words))?;
            order(&mut words, big, u32::swap_bytes);
            Samples::F32(cast_vec(words))
        }
        (Kind::Double, _) => {
            let mut words = vec![0u64; n];
            fill(bytemuck::cast_slice_mut(&mut words))?;
            order(&mut words, big, u64::swap_bytes);
            Samples::F64(cast_vec(words))
        }
        (_, 1) => {
            let shift = (first_bit % 8) as usize;
            let mut packed = vec![0u8; (shift + n).div_ceil(8)];
            fill(&mut packed)?;
            Samples::U8(unpack_bits(&packed, shift, n))
        }
        (_, 8) if big && &pixels.vr == b"OW" => Samples::U8(swapped_bytes(source, pixels, offset, n)?),
        (_, 8) => {
            let mut bytes = vec![0u8; n];
            fill(&mut bytes)?;
            Samples::U8(bytes)
        }
        (_, 16) => {
            let mut words = vec![0u16; n];
            fill(bytemuck::cast_slice_mut(&mut words))?;
            order(&mut words, big, u16::swap_bytes);
            Samples::U16(words)
        }
        _ => {
            let mut words = vec![0u32; n];
            fill(bytemuck::cast_slice_mut(&mut words))?;
            order(&mut words, big, u32::swap_bytes);
            Samples::U32(words)
        }
    })
}

fn order<T: Copy>(words: &mut [T], big: bool, swap: fn(T) -> T) {
    if big != cfg!(target_endian = "big") {
        words.iter_mut().for_each(|w| *w = swap(*w));
    }
}

/// 8-bit samples in big-endian 16-bit words: each pair is swapped (PS3.5 §8.1.1).
fn swapped_bytes(
    source: &Source,
    pixels: &PixelElement,
    offset: u64,
    n: usize,
) -> Result<Vec<u8>, ReadError> {
    let odd = ((offset - pixels.offset) % 2) as usize;
    let mut bytes = vec![0u8; (n + odd).next_multiple_of(2)];
    let io = |source| ReadError::Io { doing: "read the pixel data", source };
    let read = source.read_at(offset - odd as u64, &mut bytes).map_err(io)?;
    if read < odd + n {
        let (needed, available) = ((odd + n) as u64, read as u64);
        return Err(ReadError::Truncated { tag: pixels.tag, offset, needed, available });
    }
    bytes.chunks_exact_mut(2).for_each(|pair| pair.swap(0, 1));
    bytes.drain(..odd);
    bytes.truncate(n);
    Ok(bytes)
}

/// `n` bits from bit `shift` on, least significant first (PS3.5 §8.1.1), one byte each.
pub(crate) fn unpack_bits(packed: &[u8], shift: usize, n: usize) -> Vec<u8> {
    (shift..shift + n).map(|i| packed.get(i / 8).map_or(0, |b| (b >> (i % 8)) & 1)).collect()
}

/// Full-resolution pixels of a frame whose chroma is stored once for two pixels (`Y Y Cb Cr`).
pub(crate) fn expand_422(packed: &[u8], columns: usize) -> Vec<u8> {
    let row_bytes = columns.div_ceil(2) * 4;
    let mut out = Vec::with_capacity(packed.len() / 2 * 3);
    for row in packed.chunks_exact(row_bytes) {
        let start = out.len();
        for quad in row.chunks_exact(4) {
            out.extend_from_slice(&[quad[0], quad[2], quad[3], quad[1], quad[2], quad[3]]);
        }
        out.truncate(start + columns * 3);
    }
    out
}

/// Planes one after the other → samples interleaved.
pub(crate) fn interleave<T: Copy>(planes: &[T]) -> Vec<T> {
    let n = planes.len() / 3;
    let (a, rest) = planes.split_at(n);
    let (b, c) = rest.split_at(n);
    let mut out = Vec::with_capacity(n * 3);
    for ((x, y), z) in a.iter().zip(b).zip(c) {
        out.extend_from_slice(&[*x, *y, *z]);
    }
    out
}

/// Gives raw words their meaning: bits outside Bits Stored are dropped, the sign is extended, and
/// the type is the narrowest that [`Samples`] promises for the depth.
pub(crate) fn settle(raw: Samples, stored: u16, low_bit: u16, signed: bool) -> Samples {
    match raw {
        Samples::U8(v) => settle_u8(v, stored, low_bit, signed),
        Samples::U16(v) if stored <= 8 => {
            let mask = mask(stored);
            settle_u8(
                v.into_iter().map(|x| ((u32::from(x) >> low_bit) & mask) as u8).collect(),
                stored,
                0,
                signed,
            )
        }
        Samples::U16(mut v) => {
            let up = 16 - stored - low_bit.min(16 - stored);
            if signed {
                v.iter_mut().for_each(|x| *x = (((*x << up) as i16) >> (16 - stored)) as u16);
                return Samples::I16(cast_vec(v));
            }
            if stored < 16 {
                v.iter_mut().for_each(|x| *x = (*x << up) >> (16 - stored));
            }
            Samples::U16(v)
        }
        Samples::U32(v) if stored <= 16 => {
            let mask = mask(stored);
            let narrow = v.into_iter().map(|x| ((x >> low_bit) & mask) as u16).collect();
            settle(Samples::U16(narrow), stored, 0, signed)
        }
        Samples::U32(mut v) => {
            let up = 32 - stored - low_bit.min(32 - stored);
            if signed {
                v.iter_mut().for_each(|x| *x = (((*x << up) as i32) >> (32 - stored)) as u32);
                return Samples::I32(cast_vec(v));
            }
            if stored < 32 {
                v.iter_mut().for_each(|x| *x = (*x << up) >> (32 - stored));
            }
            Samples::U32(v)
        }
        other => other,
    }
}

const fn mask(bits: u16) -> u32 {
    if bits >= 32 { u32::MAX } else { (1 << bits) - 1 }
}

fn settle_u8(mut v: Vec<u8>, stored: u16, low_bit: u16, signed: bool) -> Samples {
    let stored = stored.min(8);
    let up = 8 - stored - low_bit.min(8 - stored);
    if signed {
        v.iter_mut().for_each(|x| *x = (((*x << up) as i8) >> (8 - stored)) as u8);
        return Samples::I8(cast_vec(v));
    }
    if stored < 8 {
        v.iter_mut().for_each(|x| *x = (*x << up) >> (8 - stored));
    }
    Samples::U8(v)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The meaning of a stored word by PS3.5 §8.1.1, the slow way.
    fn meaning(word: u32, stored: u16, low: u16, signed: bool) -> i64 {
        let value = (i64::from(word) >> low) & ((1 << stored) - 1);
        if signed && value >= 1 << (stored - 1) { value - (1 << stored) } else { value }
    }

    fn values(samples: &Samples) -> Vec<i64> {
        match samples {
            Samples::U8(v) => v.iter().map(|x| i64::from(*x)).collect(),
            Samples::I8(v) => v.iter().map(|x| i64::from(*x)).collect(),
            Samples::U16(v) => v.iter().map(|x| i64::from(*x)).collect(),
            Samples::I16(v) => v.iter().map(|x| i64::from(*x)).collect(),
            Samples::U32(v) => v.iter().map(|x| i64::from(*x)).collect(),
            Samples::I32(v) => v.iter().map(|x| i64::from(*x)).collect(),
            Samples::F32(_) | Samples::F64(_) => Vec::new(),
        }
    }

    proptest! {
        #[test]
        fn stored_bits_are_kept_and_others_dropped(
            words in prop::collection::vec(any::<u32>(), 1..20),
            (allocated, stored, low) in prop::sample::select(vec![8u16, 16, 32])
                .prop_flat_map(|a| (Just(a), 1..=a))
                .prop_flat_map(|(a, s)| (Just(a), Just(s), 0..=a - s)),
            signed: bool,
        ) {
            let (raw, words) = match allocated {
                8 => (Samples::U8(words.iter().map(|w| *w as u8).collect()), words.iter().map(|w| w & 0xFF).collect()),
                16 => (Samples::U16(words.iter().map(|w| *w as u16).collect()), words.iter().map(|w| w & 0xFFFF).collect()),
                _ => (Samples::U32(words.clone()), words),
            };
            let wanted: Vec<i64> = words.iter().map(|w| meaning(*w, stored, low, signed)).collect();
            let settled = settle(raw, stored, low, signed);
            prop_assert_eq!(values(&settled), wanted);
            let narrowest = match settled {
                Samples::U8(_) | Samples::I8(_) => stored <= 8,
                Samples::U16(_) | Samples::I16(_) => (9..=16).contains(&stored),
                _ => stored > 16,
            };
            prop_assert!(narrowest);
        }

        #[test]
        fn bits_unpack_least_significant_first(bits in prop::collection::vec(0u8..2, 1..100), shift in 0usize..8) {
            let mut packed = vec![0u8; (bits.len() + shift).div_ceil(8)];
            for (i, bit) in bits.iter().enumerate() {
                packed[(i + shift) / 8] |= bit << ((i + shift) % 8);
            }
            prop_assert_eq!(unpack_bits(&packed, shift, bits.len()), bits);
        }
    }
}
