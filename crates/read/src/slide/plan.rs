//! Where the tiles of a slide lie, and at which of its resolutions they are read.

use overread_dicom::read::Slide;
use overread_domain::{GridSize, NotAssessed, Region};

/// A level whose pixels are larger than those of the pack's tensor by no more than this share is as fine as it: scanners round.
const ROUNDING: f64 = 0.02;
/// A slide whose finest pixels are larger than those of the tensor by more than this share cannot be read.
const COARSEST: f64 = 0.25;

/// How a slide is read.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Plan {
    /// The level.
    pub level: usize,
    /// Pixels of the full resolution that one pixel of the level stands for, along a side.
    pub downsample: f64,
    /// Size of the slide at its full resolution.
    pub size: GridSize,
    /// Side of a tile in pixels of the full resolution; not a whole number.
    pub side: f64,
    /// Tiles across; the last one may reach beyond the slide, which is white there.
    pub columns: u32,
    /// Tiles down.
    pub rows: u32,
}

impl Plan {
    /// The coarsest level whose pixels are no larger than the tensor's. `tile_microns` is the side of a tile in micrometres, `tensor` the
    /// longer side of the pack's tensor in pixels.
    ///
    /// # Errors
    /// The slide does not tell the size of its pixels, or they are too large for the pack.
    pub fn of(slide: &Slide, tile_microns: f64, tensor: u32) -> Result<Self, NotAssessed> {
        let refuse = |code: &str, message: String| Err(NotAssessed { code: code.into(), message });
        let Some(finest) = slide.microns_per_pixel() else {
            let message =
                "the slide does not tell how large its pixels are, so the size of a tile is not known";
            return refuse("magnification", message.to_owned());
        };
        let wanted = tile_microns / f64::from(tensor);
        if finest > wanted * (1.0 + COARSEST) {
            let message = format!(
                "the finest level of the slide has {finest:.3} µm a pixel and the pack needs {wanted:.3}; scan it at a higher magnification"
            );
            return refuse("magnification", message);
        }
        let fits = |downsample: f64| finest * downsample <= wanted * (1.0 + ROUNDING);
        let levels = slide.levels().iter().enumerate();
        let coarsest = levels
            .filter(|(_, l)| fits(l.downsample))
            .max_by(|a, b| a.1.downsample.total_cmp(&b.1.downsample));
        let (level, downsample) = coarsest.map_or((0, 1.0), |(index, level)| (index, level.downsample));
        let (size, side) = (slide.levels()[0].size, tile_microns / finest);
        let tiles = |long: u32| (f64::from(long) / side).ceil().max(1.0) as u32;
        Ok(Self { level, downsample, size, side, columns: tiles(size.columns), rows: tiles(size.rows) })
    }

    /// A tile, in pixels of the full resolution; its right and lower end may lie beyond the slide.
    pub fn tile(&self, column: u32, row: u32) -> Region {
        self.scaled(column, row, 1.0)
    }

    /// A tile in pixels of the level that is read.
    pub fn tile_at_level(&self, column: u32, row: u32) -> Region {
        self.scaled(column, row, self.downsample)
    }

    fn scaled(&self, column: u32, row: u32, downsample: f64) -> Region {
        let edge = |n: u32| (f64::from(n) * self.side / downsample).round() as u32;
        let (left, top) = (edge(column), edge(row));
        let size = GridSize::new(edge(column + 1) - left, edge(row + 1) - top);
        Region { left, top, size }
    }
}
