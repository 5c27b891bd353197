//! Tiles of a level as JPEG, by several threads.

use image::ExtendedColorType;
use image::codecs::jpeg::JpegEncoder;
use overread_domain::{GridSize, Samples};

use super::{SlideError, TILE};
use crate::parallel;
use crate::read::{CodecHost, ReadError, Slide, SlideView};

/// Quality as libjpeg counts it. Colours have the resolution of the picture (4:4:4): what a stain shows, it shows in colour.
const QUALITY: u8 = 90;

/// The tiles of a level, counted row by row from the top left.
pub(super) struct Tiles<'a> {
    /// The slide that is read.
    pub(super) slide: &'a Slide,
    /// Which of its levels.
    pub(super) level: usize,
    /// Four of its pixels become one.
    pub(super) halved: bool,
    /// Number of the level that is written, from 1.
    pub(super) number: u32,
    /// How many tiles a row has.
    pub(super) across: u32,
}

impl Tiles<'_> {
    /// Reads and compresses these tiles, each by the next thread that is free, and gives them in their order.
    pub(super) fn compressed(
        &self,
        wanted: &[u64],
        hosts: &mut [CodecHost],
    ) -> Result<Vec<Vec<u8>>, SlideError> {
        parallel::each(hosts, wanted, |host, tile| self.jpeg(host, *tile))
    }

    fn jpeg(&self, host: &mut CodecHost, tile: u64) -> Result<Vec<u8>, SlideError> {
        let across = u64::from(self.across);
        let (column, row) = ((tile % across) as u32 * TILE, (tile / across) as u32 * TILE);
        // A view of its own for each tile: no tile shares anything that a view would keep.
        let rgb = self.rgb(&mut self.slide.view(host), column, row);
        let rgb = rgb.map_err(|source| SlideError::Read { level: self.number, column, row, source })?;
        let mut jpeg = Vec::with_capacity(rgb.len() / 8);
        JpegEncoder::new_with_quality(&mut jpeg, QUALITY)
            .encode(&rgb, TILE, TILE, ExtendedColorType::Rgb8)
            .map_err(|source| SlideError::Compress { level: self.number, source })?;
        Ok(jpeg)
    }

    /// Red, green and blue of a tile; white beyond the slide.
    fn rgb(&self, view: &mut SlideView<'_>, column: u32, row: u32) -> Result<Vec<u8>, ReadError> {
        let step = if self.halved { 2 } else { 1 };
        let size = GridSize::new(TILE * step, TILE * step);
        let grid = view.region(self.level, column * step, row * step, size)?;
        let Samples::U8(rgb) = grid.samples else {
            return Err(ReadError::Unsupported { what: "a slide that is not 8-bit colour".to_owned() });
        };
        Ok(if self.halved { halved(&rgb, size.columns as usize) } else { rgb })
    }
}

/// The mean of each two by two pixels, rounded.
fn halved(rgb: &[u8], columns: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(rgb.len() / 4);
    for pair in rgb.chunks_exact(columns * 6) {
        let (upper, lower) = pair.split_at(columns * 3);
        for (a, b) in upper.chunks_exact(6).zip(lower.chunks_exact(6)) {
            out.extend((0..3).map(|c| {
                let sum: u16 = [a[c], a[c + 3], b[c], b[c + 3]].into_iter().map(u16::from).sum();
                ((sum + 2) / 4) as u8
            }));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn four_pixels_become_their_mean() {
        let rows = [
            [[0, 10, 255], [1, 10, 255], [9, 0, 0], [9, 0, 0]],
            [[2, 11, 255], [3, 11, 255], [9, 0, 1], [9, 0, 1]],
        ];
        let rgb: Vec<u8> = rows.into_iter().flatten().flatten().collect();
        assert_eq!(halved(&rgb, 4), [2, 11, 255, 9, 0, 1]);
    }
}
