//! Whether the file of a picture holds more than one: an animation, or pages. The decoders would show the first and say nothing of the rest.

use image::ImageFormat;

/// Chunks, or directories, that are looked at; a file with more of them is not one picture either.
const MOST: usize = 4096;

/// Whether there is more than one picture in a file of that format.
pub(crate) fn holds_several(bytes: &[u8], format: ImageFormat) -> bool {
    match format {
        ImageFormat::Png => is_animated_png(bytes),
        ImageFormat::WebP => is_animated_webp(bytes),
        ImageFormat::Tiff => tiff_pages(bytes).is_none_or(|pages| pages > 1),
        _ => false,
    }
}

/// Animated PNG: a chunk `acTL` before the image's own data (PNG 3rd edition, §11.3.6.1).
fn is_animated_png(bytes: &[u8]) -> bool {
    let mut at = 8;
    for _ in 0..MOST {
        let Some((length, kind)) = bytes.get(at..at + 8).map(|head| head.split_at(4)) else { return false };
        match kind {
            b"acTL" => return true,
            b"IDAT" | b"IEND" => return false,
            _ => {}
        }
        let length = length.iter().fold(0usize, |n, b| n << 8 | usize::from(*b));
        at = at.saturating_add(length).saturating_add(12);
    }
    true
}

/// Animated WebP: a flag of the extended header (RFC 9649 §2.7).
fn is_animated_webp(bytes: &[u8]) -> bool {
    const ANIMATION: u8 = 0x02;
    bytes.get(12..16) == Some(b"VP8X") && bytes.get(20).is_some_and(|flags| flags & ANIMATION != 0)
}

/// How many pages a TIFF file has: directories that are no reduced version of another (TIFF 6.0, NewSubfileType). None where there is no telling.
fn tiff_pages(bytes: &[u8]) -> Option<usize> {
    let big = bytes.starts_with(b"MM");
    let number = |at: usize, n: usize| -> Option<usize> {
        let digits = bytes.get(at..at.checked_add(n)?)?;
        let add = |sum: usize, b: &u8| sum << 8 | usize::from(*b);
        Some(if big { digits.iter().fold(0, add) } else { digits.iter().rev().fold(0, add) })
    };
    let (mut at, mut pages) = (number(4, 4)?, 0);
    for _ in 0..MOST {
        if at == 0 {
            return Some(pages);
        }
        let entries = number(at, 2)?;
        let mut reduced = false;
        for entry in (0..entries).map(|i| at + 2 + 12 * i) {
            const NEW_SUBFILE_TYPE: usize = 254;
            if number(entry, 2)? == NEW_SUBFILE_TYPE {
                reduced = number(entry + 8, 4)? & 1 != 0;
            }
        }
        pages += usize::from(!reduced);
        at = number(at + 2 + 12 * entries, 4)?;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A TIFF of empty directories, each with its NewSubfileType.
    fn tiff(types: &[u8], big: bool) -> Vec<u8> {
        let four = |n: u32| if big { n.to_be_bytes() } else { n.to_le_bytes() };
        let two = |n: u16| if big { n.to_be_bytes() } else { n.to_le_bytes() };
        let mut bytes = if big { b"MM\0*".to_vec() } else { b"II*\0".to_vec() };
        bytes.extend(four(8));
        for (i, kind) in types.iter().enumerate() {
            bytes.extend([two(1).as_slice(), &two(254), &two(4), &four(1), &four(u32::from(*kind))].concat());
            let next = if i + 1 == types.len() { 0 } else { bytes.len() as u32 + 4 };
            bytes.extend(four(next));
        }
        bytes
    }

    #[test]
    fn pages_count_and_previews_do_not() {
        for big in [false, true] {
            assert_eq!(tiff_pages(&tiff(&[0], big)), Some(1));
            assert_eq!(tiff_pages(&tiff(&[0, 1], big)), Some(1));
            assert_eq!(tiff_pages(&tiff(&[2, 2, 1], big)), Some(2));
        }
        let mut circle = tiff(&[0], false);
        let last = circle.len() - 4;
        circle[last..].copy_from_slice(&8u32.to_le_bytes());
        assert!(holds_several(&circle, ImageFormat::Tiff), "a circle never ends");
        assert_eq!(tiff_pages(&tiff(&[0], false)[..20]), None);
    }

    #[test]
    fn nonsense_neither_panics_nor_ends_never() {
        for format in [ImageFormat::Png, ImageFormat::WebP, ImageFormat::Tiff, ImageFormat::Jpeg] {
            for bytes in [vec![], vec![0xFF; 5000], vec![0; 5000], b"II*\0\xFF\xFF\xFF\xFF".to_vec()] {
                let _ = holds_several(&bytes, format);
            }
        }
    }
}
