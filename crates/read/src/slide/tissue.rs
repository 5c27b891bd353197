//! Which tiles of a slide show tissue: glass is bright and has no colour.
//!
//! The threshold on saturation is fixed, as the pipelines of the field have it (CLAM: 8 of 255, WSInfer: 7): one that is fitted to the
//! slide's histogram takes pale tissue for glass where a slide is full of tissue. Dark tissue without colour (silver stains) counts as well.

use overread_dicom::read::{ReadError, SlideLevel, SlideView};
use overread_domain::{GridSize, Samples};

use super::plan::Plan;

/// Cells of the mask along a tile's side, at least.
const CELLS: f64 = 8.0;
/// Cells along the longer side of a slide that a person looks at.
const SHOWN: f64 = 1280.0;
/// Most cells of a mask along a side.
const LONGEST: f64 = 2048.0;
/// Saturation, 0 to 255, above which a cell is tissue.
const SATURATION: f32 = 7.0;
/// Brightness, 0 to 255, between which a cell without colour is tissue: above it is glass, below it the black around a scan.
const DARK: (f32, f32) = (13.0, 200.0);
/// A tile with less than this share of tissue is left out.
const LEAST: f32 = 0.05;
/// Pixels of a level that are averaged at once, along a side.
const BLOCK: u32 = 2048;
/// A part that cannot be read is tried in smaller ones down to this side: tiles of scanners have 240 pixels or more.
const SMALLEST: u32 = 64;
/// Parts that may fail before a slide is taken for damaged all over.
const TRIES: u32 = 1000;

/// A slide made small by averaging: cells row by row, three numbers each, 0 to 255.
pub struct Shrunk {
    /// Cells across and down.
    pub size: GridSize,
    /// Pixels of the full resolution along a cell's side.
    pub cell: f64,
    /// Red, green, blue.
    pub rgb: Vec<f32>,
}

impl Shrunk {
    /// Averages a slide to cells of so many pixels of the full resolution, from the coarsest level that is as fine, block by block.
    ///
    /// # Errors
    /// Nothing of it could be read: why the last part could not.
    pub fn of(view: &mut SlideView<'_>, levels: &[SlideLevel], cell: f64) -> Result<Self, ReadError> {
        let full = levels[0].size;
        let cell = cell.max(f64::from(full.columns.max(full.rows)) / LONGEST);
        let fine = levels.iter().enumerate().filter(|(_, l)| l.downsample <= cell.max(1.0));
        let coarsest = fine.max_by(|a, b| a.1.downsample.total_cmp(&b.1.downsample));
        let (level, downsample) = coarsest.map_or((0, 1.0), |(index, l)| (index, l.downsample));
        let cells = |long: u32| (f64::from(long) / cell).ceil().max(1.0) as u32;
        let size = GridSize::new(cells(full.columns), cells(full.rows));
        let mut averaging =
            Averaging { view, level, sums: Sums::new(size, cell / downsample), failed: None, tries: TRIES };
        let of = levels[level].size;
        for top in (0..of.rows).step_by(BLOCK as usize) {
            for left in (0..of.columns).step_by(BLOCK as usize) {
                let part = GridSize::new(BLOCK.min(of.columns - left), BLOCK.min(of.rows - top));
                averaging.add(left, top, part);
            }
        }
        let Averaging { sums, failed, .. } = averaging;
        match failed {
            Some(e) if sums.counts.iter().all(|n| *n == 0.0) => Err(e),
            _ => Ok(Self { size, cell, rgb: sums.means() }),
        }
    }

    /// So many cells along a side joined to one, as their mean.
    fn joined(&self, side: u32) -> Self {
        let size = GridSize::new(self.size.columns.div_ceil(side), self.size.rows.div_ceil(side));
        let mut sums = Sums::new(size, f64::from(side));
        for (row, y) in self.rgb.chunks_exact(self.size.columns as usize * 3).zip(0..) {
            for (cell, x) in row.chunks_exact(3).zip(0..) {
                let place = (y / side * size.columns + x / side) as usize;
                sums.count(place, cell.iter().copied());
            }
        }
        Self { size, cell: self.cell * f64::from(side), rgb: sums.means() }
    }

    /// As bytes, three a cell.
    pub fn bytes(&self) -> Vec<u8> {
        self.rgb.iter().map(|v| v.round().clamp(0.0, 255.0) as u8).collect()
    }
}

/// A level that is being averaged.
struct Averaging<'a, 'slide> {
    view: &'a mut SlideView<'slide>,
    level: usize,
    sums: Sums,
    /// Why the last part that could not be read could not.
    failed: Option<ReadError>,
    /// How many parts may still fail before those that do are no longer tried in smaller ones.
    tries: u32,
}

impl Averaging<'_, '_> {
    /// Adds a part of the level; of one that cannot be read as much as can be.
    fn add(&mut self, left: u32, top: u32, part: GridSize) {
        match self.view.region(self.level, left, top, part) {
            Ok(grid) => {
                if let Samples::U8(rgb) = &grid.samples {
                    self.sums.add(rgb, part, left, top);
                }
            }
            Err(e) => {
                self.failed = Some(e);
                self.tries = self.tries.saturating_sub(1);
                if self.tries > 0 && part.columns.max(part.rows) > SMALLEST {
                    self.add_quarters(left, top, part);
                }
            }
        }
    }

    fn add_quarters(&mut self, left: u32, top: u32, part: GridSize) {
        let halves = |from: u32, long: u32| [(from, long / 2), (from + long / 2, long - long / 2)];
        for (top, rows) in halves(top, part.rows) {
            for (left, columns) in halves(left, part.columns) {
                if rows > 0 && columns > 0 {
                    self.add(left, top, GridSize::new(columns, rows));
                }
            }
        }
    }
}

/// Sums of pixels by cell.
struct Sums {
    size: GridSize,
    /// Pixels of the level along a cell's side.
    cell: f64,
    sums: Vec<[f32; 3]>,
    counts: Vec<f32>,
}

impl Sums {
    fn new(size: GridSize, cell: f64) -> Self {
        let cells = size.pixels() as usize;
        Self { size, cell, sums: vec![[0.0; 3]; cells], counts: vec![0.0; cells] }
    }

    fn add(&mut self, rgb: &[u8], part: GridSize, left: u32, top: u32) {
        let columns: Vec<usize> =
            (left..left + part.columns).map(|x| self.along(x, self.size.columns)).collect();
        for (row, y) in rgb.chunks_exact(part.columns as usize * 3).zip(top..) {
            let start = self.along(y, self.size.rows) * self.size.columns as usize;
            for (pixel, column) in row.chunks_exact(3).zip(&columns) {
                self.count(start + column, pixel.iter().map(|v| f32::from(*v)));
            }
        }
    }

    fn count(&mut self, cell: usize, rgb: impl Iterator<Item = f32>) {
        self.sums[cell].iter_mut().zip(rgb).for_each(|(sum, value)| *sum += value);
        self.counts[cell] += 1.0;
    }

    /// The cell along a side in which a pixel lies.
    fn along(&self, pixel: u32, cells: u32) -> usize {
        ((f64::from(pixel) / self.cell) as u32).min(cells - 1) as usize
    }

    /// The mean of each cell. What could not be read is grey, which counts as tissue: its tiles are tried, and missed if they are lost.
    fn means(self) -> Vec<f32> {
        let mean = |(sum, n): ([f32; 3], f32)| if n > 0.0 { sum.map(|s| s / n) } else { [128.0; 3] };
        self.sums.into_iter().zip(self.counts).flat_map(mean).collect()
    }
}

/// The tiles with tissue, row by row. Cells that are much smaller than an eighth of a tile are joined first: the noise of single pixels has
/// colour where glass has none.
pub fn tiles(shrunk: &Shrunk, plan: &Plan) -> Vec<(u32, u32)> {
    let shrunk = shrunk.joined((plan.side / CELLS / shrunk.cell).max(1.0) as u32);
    let tissue: Vec<bool> = shrunk.rgb.chunks_exact(3).map(is_tissue).collect();
    let across = shrunk.size.columns as usize;
    let share = |column: u32, row: u32| {
        let cells = |n: u32, most: u32| {
            let edge = |n: u32| (f64::from(n) * plan.side / shrunk.cell).round() as usize;
            let from = edge(n).min(most as usize - 1);
            from..edge(n + 1).min(most as usize).max(from + 1)
        };
        let (columns, rows) = (cells(column, shrunk.size.columns), cells(row, shrunk.size.rows));
        let all = columns.len() * rows.len();
        let count = |y: usize| columns.clone().filter(|x| tissue[y * across + x]).count();
        rows.map(count).sum::<usize>() as f32 / all as f32
    };
    let places = (0..plan.rows).flat_map(|row| (0..plan.columns).map(move |column| (column, row)));
    places.filter(|(column, row)| share(*column, *row) >= LEAST).collect()
}

/// Side of a mask's cell in pixels of the full resolution: an eighth of a tile, or less where a person looks at it too.
pub fn cell(plan: &Plan) -> f64 {
    let shown = f64::from(plan.size.columns.max(plan.size.rows)) / SHOWN;
    (plan.side / CELLS).min(shown).max(1.0)
}

fn is_tissue(rgb: &[f32]) -> bool {
    let most = rgb.iter().copied().fold(0.0, f32::max);
    let least = rgb.iter().copied().fold(255.0, f32::min);
    let saturation = if most > 0.0 { (most - least) / most * 255.0 } else { 0.0 };
    most > DARK.0 && (saturation > SATURATION || most < DARK.1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn glass_has_no_colour_and_tissue_has() {
        assert!(!is_tissue(&[243.0, 241.0, 242.0]), "glass");
        assert!(!is_tissue(&[2.0, 1.0, 3.0]), "the black around a scan");
        assert!(is_tissue(&[230.0, 190.0, 215.0]), "eosin");
        assert!(is_tissue(&[241.0, 226.0, 236.0]), "pale eosin");
        assert!(is_tissue(&[90.0, 88.0, 89.0]), "silver");
    }

    #[test]
    fn cells_are_means_of_their_pixels_across_blocks() {
        // Four by two pixels in cells of two, given as two blocks.
        let mut sums = Sums::new(GridSize::new(2, 1), 2.0);
        let block = |v: [u8; 4]| v.into_iter().flat_map(|v| [v, 0, 255]).collect::<Vec<u8>>();
        sums.add(&block([0, 10, 20, 30]), GridSize::new(2, 2), 0, 0);
        sums.add(&block([100, 100, 200, 200]), GridSize::new(2, 2), 2, 0);
        assert_eq!(sums.means(), [15.0, 0.0, 255.0, 150.0, 0.0, 255.0]);
    }

    #[test]
    fn noise_of_single_cells_is_glass() {
        let plan =
            Plan { level: 0, downsample: 1.0, size: GridSize::new(64, 64), side: 64.0, columns: 1, rows: 1 };
        // Every cell has a colour of its own, and all together have none.
        let colours = [[250.0, 235.0, 235.0], [235.0, 250.0, 235.0], [235.0, 235.0, 250.0]];
        let rgb = (0..64 * 64).flat_map(|n| colours[n % 3]).collect();
        let mut shrunk = Shrunk { size: GridSize::new(64, 64), cell: 1.0, rgb };
        assert_eq!(tiles(&shrunk, &plan), []);
        shrunk
            .rgb
            .chunks_exact_mut(3)
            .step_by(2)
            .for_each(|cell| cell.copy_from_slice(&[230.0, 190.0, 215.0]));
        assert_eq!(tiles(&shrunk, &plan), [(0, 0)]);
    }

    #[test]
    fn a_tile_with_a_little_tissue_is_read_and_glass_is_not() {
        let plan =
            Plan { level: 0, downsample: 1.0, size: GridSize::new(160, 80), side: 80.0, columns: 2, rows: 1 };
        let mut rgb = vec![245.0; 16 * 8 * 3];
        // Four of the second tile's 64 cells: 6%.
        for cell in [15, 31, 47, 63] {
            rgb[cell * 3 + 1] = 120.0;
        }
        let mut shrunk = Shrunk { size: GridSize::new(16, 8), cell: 10.0, rgb };
        assert_eq!(tiles(&shrunk, &plan), [(1, 0)]);
        shrunk.rgb[15 * 3 + 1] = 245.0;
        assert_eq!(tiles(&shrunk, &plan), [], "3 of 64 cells are less than 5%");
    }
}
