//! Regions of stored frames, overwritten with the sample of one dark pixel.
//!
//! The dark pixel is one of the picture itself, copied as it is stored: so nothing has to be known of polarity, sign,
//! palettes, colour spaces or padding, and no value appears that was not there before.

use overread_domain::{GridSize, ImageGrid, Photometric, for_samples};

use super::error::PixelError;
use super::region::Region;

/// How the samples of a frame lie in its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Layout {
    /// Every pixel's samples together, so many bytes a pixel.
    Interleaved { bytes: usize },
    /// Three planes, so many bytes a sample.
    Planar { bytes: usize },
    /// `Y Y Cb Cr`: two pixels of a row in four bytes.
    Pairs,
    /// Eight pixels in a byte, the first lowest.
    Bits,
}

/// What the Image Pixel module says of stored frames.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stored<'a> {
    pub(crate) photometric: &'a str,
    pub(crate) samples: u16,
    pub(crate) planar: bool,
    pub(crate) allocated: u16,
}

impl Layout {
    /// The layout of native frames.
    pub(crate) fn of(stored: Stored<'_>) -> Result<Self, PixelError> {
        let bytes = usize::from(stored.allocated / 8);
        match (stored.samples, stored.allocated, stored.photometric) {
            (1, 1, _) => Ok(Self::Bits),
            (1, _, _) => Ok(Self::Interleaved { bytes }),
            (3, 8, "YBR_FULL_422" | "YBR_PARTIAL_422") => Ok(Self::Pairs),
            (3, _, "YBR_PARTIAL_420") => Err(PixelError::Unsupported { what: "YBR_PARTIAL_420" }),
            (3, 8.., _) if stored.planar => Ok(Self::Planar { bytes }),
            (3, 8.., _) => Ok(Self::Interleaved { bytes: bytes * 3 }),
            _ => Err(PixelError::Unsupported { what: "pixels of this many samples or bits" }),
        }
    }

    /// Bytes of a frame.
    pub(crate) fn frame_bytes(self, size: GridSize) -> usize {
        let pixels = size.pixels() as usize;
        match self {
            Self::Interleaved { bytes } => pixels * bytes,
            Self::Planar { bytes } => pixels * bytes * 3,
            Self::Pairs => size.rows as usize * (size.columns as usize).div_ceil(2) * 4,
            Self::Bits => pixels.div_ceil(8),
        }
    }
}

/// The darkest pixel as a viewer shows it: its index, row by row.
#[allow(clippy::unnecessary_cast, clippy::cast_lossless, reason = "one macro body serves all sample types")]
pub(crate) fn darkest(grid: &ImageGrid) -> usize {
    let channels = grid.channels.count();
    let bright = |sum: f64| if grid.photometric == Photometric::Monochrome1 { -sum } else { sum };
    let sums = for_samples!(&grid.samples, v => {
        v.chunks_exact(channels).map(|p| bright(p.iter().map(|s| *s as f64).sum())).collect::<Vec<f64>>()
    });
    let finite = sums.iter().enumerate().filter(|(_, s)| s.is_finite());
    finite.min_by(|a, b| a.1.total_cmp(b.1)).map_or(0, |(i, _)| i)
}

/// One pixel's samples as they are stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ink(Vec<u8>);

impl Ink {
    /// Copies the samples of a pixel out of a frame.
    pub(crate) fn of(frame: &[u8], layout: Layout, size: GridSize, pixel: usize) -> Self {
        let pixels = size.pixels() as usize;
        Self(match layout {
            Layout::Interleaved { bytes } => frame[pixel * bytes..][..bytes].to_vec(),
            Layout::Planar { bytes } => {
                (0..3).flat_map(|c| frame[(c * pixels + pixel) * bytes..][..bytes].to_vec()).collect()
            }
            Layout::Pairs => {
                let (row, column) = (pixel / size.columns as usize, pixel % size.columns as usize);
                let at = (row * (size.columns as usize).div_ceil(2) + column / 2) * 4;
                vec![frame[at + column % 2], frame[at + 2], frame[at + 3]]
            }
            Layout::Bits => vec![(frame[pixel / 8] >> (pixel % 8)) & 1],
        })
    }

    /// Overwrites a region of a frame.
    pub(crate) fn paint(&self, frame: &mut [u8], layout: Layout, size: GridSize, region: &Region) {
        let (columns, pixels) = (size.columns as usize, size.pixels() as usize);
        let (left, right) = (region.left as usize, region.right as usize);
        for row in region.top as usize..region.bottom as usize {
            match layout {
                Layout::Interleaved { bytes } => {
                    let line = &mut frame[(row * columns + left) * bytes..(row * columns + right) * bytes];
                    line.chunks_exact_mut(bytes).for_each(|pixel| pixel.copy_from_slice(&self.0));
                }
                Layout::Planar { bytes } => {
                    for (c, sample) in self.0.chunks_exact(bytes).enumerate() {
                        let start = c * pixels + row * columns;
                        let line = &mut frame[(start + left) * bytes..(start + right) * bytes];
                        line.chunks_exact_mut(bytes).for_each(|pixel| pixel.copy_from_slice(sample));
                    }
                }
                Layout::Pairs => {
                    // Chroma belongs to both pixels of a pair, so both go.
                    let start = row * columns.div_ceil(2);
                    let line = &mut frame[(start + left / 2) * 4..(start + right.div_ceil(2)) * 4];
                    let pair = [self.0[0], self.0[0], self.0[1], self.0[2]];
                    line.chunks_exact_mut(4).for_each(|four| four.copy_from_slice(&pair));
                }
                Layout::Bits => {
                    for at in row * columns + left..row * columns + right {
                        frame[at / 8] = (frame[at / 8] & !(1 << (at % 8))) | (self.0[0] << (at % 8));
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::region::Why;
    use super::*;

    const SIZE: GridSize = GridSize::new(5, 3);

    fn region() -> Region {
        Region::within(SIZE, [1, 1, 3, 2], Why::Text).unwrap()
    }

    /// The bytes that changed when pixel 14, the last, was painted over the region.
    fn changed(layout: Layout, frame: &[u8]) -> Vec<usize> {
        let ink = Ink::of(frame, layout, SIZE, 14);
        let mut painted = frame.to_vec();
        ink.paint(&mut painted, layout, SIZE, &region());
        (0..frame.len()).filter(|i| painted[*i] != frame[*i]).collect()
    }

    #[test]
    fn only_the_region_changes() {
        let frame = |n: usize| (0..n).map(|i| i as u8).collect::<Vec<u8>>();
        assert_eq!(changed(Layout::Interleaved { bytes: 2 }, &frame(30)), [12, 13, 14, 15]);
        assert_eq!(changed(Layout::Interleaved { bytes: 3 }, &frame(45)), (18..24).collect::<Vec<_>>());
        assert_eq!(changed(Layout::Planar { bytes: 1 }, &frame(45)), [6, 7, 21, 22, 36, 37]);
        // Columns 1 and 2 lie in two pairs, which go whole.
        assert_eq!(changed(Layout::Pairs, &frame(36)), (12..20).collect::<Vec<_>>());
        assert_eq!(changed(Layout::Bits, &[0b1111_1111, 0b0011_1111]), [0]);
        assert_eq!([Layout::Pairs, Layout::Bits].map(|l| l.frame_bytes(SIZE)), [36, 2]);
    }

    #[test]
    fn samples_of_the_pixel_are_copied() {
        let frame: Vec<u8> = (0..45).collect();
        assert_eq!(Ink::of(&frame, Layout::Planar { bytes: 1 }, SIZE, 7), Ink(vec![7, 22, 37]));
        assert_eq!(Ink::of(&frame, Layout::Pairs, SIZE, 6), Ink(vec![13, 14, 15]));
        assert_eq!(Ink::of(&frame, Layout::Interleaved { bytes: 2 }, SIZE, 7), Ink(vec![14, 15]));
    }

    #[test]
    fn layouts_follow_the_header() {
        let of = |photometric, samples, planar, allocated| {
            Layout::of(Stored { photometric, samples, planar, allocated })
        };
        assert_eq!(of("MONOCHROME1", 1, false, 16).unwrap(), Layout::Interleaved { bytes: 2 });
        assert_eq!(of("RGB", 3, true, 8).unwrap(), Layout::Planar { bytes: 1 });
        assert_eq!(of("YBR_FULL_422", 3, false, 8).unwrap(), Layout::Pairs);
        assert_eq!(of("MONOCHROME2", 1, false, 1).unwrap(), Layout::Bits);
        assert!(of("YBR_PARTIAL_420", 3, false, 8).is_err());
        assert!(of("RGB", 3, false, 1).is_err());
    }
}
