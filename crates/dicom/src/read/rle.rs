//! RLE Lossless (PS3.5 Annex G), for any number of samples and any whole number of bytes.

use overread_domain::Samples;

use super::shape::Shape;

/// Decodes one frame; samples interleaved, unsigned, in the width of Bits Allocated.
///
/// # Errors
/// Says what is wrong with the stream.
pub(crate) fn decode(bytes: &[u8], shape: &Shape) -> Result<Samples, String> {
    let pixels = usize::try_from(shape.size.pixels()).map_err(|_| "the frame is too large")?;
    let width = match shape.allocated {
        8 => 1,
        16 => 2,
        32 => 4,
        other => return Err(format!("Bits Allocated of {other} cannot be run-length encoded")),
    };
    let samples = usize::from(shape.samples);
    let segments = segments(bytes, samples * width)?;
    let n = pixels * samples;
    Ok(match width {
        1 => {
            let mut out = vec![0u8; n];
            for (s, segment) in segments.iter().enumerate() {
                unpack(segment, pixels, |i, byte| out[i * samples + s] = byte)?;
            }
            Samples::U8(out)
        }
        2 => {
            let mut out = vec![0u16; n];
            for (k, segment) in segments.iter().enumerate() {
                let (s, shift) = (k / 2, 8 * (1 - k % 2));
                unpack(segment, pixels, |i, byte| out[i * samples + s] |= u16::from(byte) << shift)?;
            }
            Samples::U16(out)
        }
        _ => {
            let mut out = vec![0u32; n];
            for (k, segment) in segments.iter().enumerate() {
                let (s, shift) = (k / 4, 8 * (3 - k % 4));
                unpack(segment, pixels, |i, byte| out[i * samples + s] |= u32::from(byte) << shift)?;
            }
            Samples::U32(out)
        }
    })
}

/// The segments that the 64-byte header names.
fn segments(bytes: &[u8], expected: usize) -> Result<Vec<&[u8]>, String> {
    let word = |i: usize| -> Option<usize> {
        let four = bytes.get(i * 4..i * 4 + 4)?;
        Some(u32::from_le_bytes(four.try_into().ok()?) as usize)
    };
    let count = word(0).filter(|_| bytes.len() >= 64).ok_or("the run-length header is cut short")?;
    if count != expected || count > 15 {
        return Err(format!("there are {count} run-length segments and the header needs {expected}"));
    }
    let starts: Vec<usize> = (1..=count).filter_map(word).collect();
    let mut out = Vec::with_capacity(count);
    for (i, start) in starts.iter().enumerate() {
        let end = starts.get(i + 1).copied().unwrap_or(bytes.len());
        let segment = bytes.get(*start..end).filter(|_| *start >= 64);
        out.push(segment.ok_or_else(|| format!("run-length segment {} lies outside the frame", i + 1))?);
    }
    Ok(out)
}

/// PackBits: calls `put` with each of `n` bytes in order.
fn unpack(segment: &[u8], n: usize, mut put: impl FnMut(usize, u8)) -> Result<(), String> {
    let mut at = 0;
    let mut done = 0;
    while done < n {
        let Some(&control) = segment.get(at) else {
            return Err(format!("a run-length segment ends after {done} of {n} bytes"));
        };
        at += 1;
        match control {
            0..=127 => {
                let count = usize::from(control) + 1;
                let literal = segment.get(at..at + count).ok_or("a literal run is cut short")?;
                for byte in literal.iter().take(n - done) {
                    put(done, *byte);
                    done += 1;
                }
                at += count;
            }
            128 => {}
            129..=255 => {
                let byte = *segment.get(at).ok_or("a replicated run is cut short")?;
                at += 1;
                for _ in 0..(257 - usize::from(control)).min(n - done) {
                    put(done, byte);
                    done += 1;
                }
            }
        }
    }
    Ok(())
}
