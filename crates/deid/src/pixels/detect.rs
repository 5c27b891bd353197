//! Text in a frame, found by PaddleOCR's detection graph (differentiable binarisation) at several sizes.
//!
//! The graph gives each pixel how much it looks like the core of a text line. Small text is found where the picture is
//! enlarged, large text where it is reduced; so the picture is looked at in halving sizes, each in overlapping tiles,
//! and each size answers only for text that it shows small.

use std::path::Path;

use fast_image_resize::images::{TypedImage, TypedImageRef};
use fast_image_resize::pixels::F32;
use fast_image_resize::{FilterType, ResizeAlg, ResizeOptions, Resizer};
use overread_domain::{GridSize, ImageGrid};
use overread_infer::{Graph, InferError, Runtime};
use sha2::{Digest, Sha256};

use super::components::{Found, components};
use super::error::PixelError;
use super::lines;
use super::region::{Region, Why, without_inner};
use super::views::{View, views};

/// The graph's file in its folder.
const FILE: &str = "PP-OCRv6_det_small.onnx";
/// The file as this version was built with it: nothing beside the program can be lost or exchanged.
const BUILT_IN: &[u8] = include_bytes!("../../../../models/text-detection/PP-OCRv6_det_small.onnx");
/// SHA-256 of the file: the detector that the figures were measured with.
const SHA256: &str = "090f04abcd9d9a7498bc4ebf677e4cb9bdce1fe4197ddb7e529f1ef44e1ff94f";

/// Longest side of a tile; the graph's memory grows with its area.
const TILE: u32 = 1024;
/// How far neighbouring tiles overlap: more than a letter that the level answers for is high.
const OVERLAP: u32 = 128;
/// Sides of what the graph takes are multiples of this.
const STEP: usize = 32;
/// Longest side of the largest level: pictures are enlarged to `ENLARGED`, at most fourfold, and reduced to `LARGEST`.
const ENLARGED: u32 = 1280;
const LARGEST: u32 = 2048;
/// Longest side of the smallest level.
const SMALLEST: u32 = 500;
/// A pixel above this belongs to a text line's core.
const THRESHOLD: f32 = 0.3;
/// A core whose mean is below this is none.
const SCORE: f32 = 0.5;
/// The least and greatest thickness of a core, in pixels of its level; the smallest level answers for thicker ones.
const THICKNESS: std::ops::RangeInclusive<usize> = 3..=20;
const THICKEST: usize = 32;
/// How far the text reaches beyond its core, in thicknesses of the core: the training shrank lines by this much and less.
const MARGIN: f64 = 0.8;
/// How much further it reaches along the line: first and last letters are often half seen.
const SIDEWAYS: f64 = 0.5;

/// Mean and standard deviation of the training's pictures, blue, green, red.
const MEAN: [f32; 3] = [0.485, 0.456, 0.406];
const DEVIATION: [f32; 3] = [0.229, 0.224, 0.225];

/// The detection graph, with a session of its own: one a thread.
pub struct Detector {
    graph: Graph,
}

impl Detector {
    /// Opens the graph in its folder (`models/text-detection`); its session computes on so many threads.
    ///
    /// # Errors
    /// [`PixelError::Model`]: it is not there, or is another than the one that was measured.
    pub fn open(runtime: &Runtime, folder: &Path, threads: usize) -> Result<Self, PixelError> {
        let path = folder.join(FILE);
        let model = |why: String| PixelError::Model { path: path.clone(), why };
        let bytes = std::fs::read(&path)
            .map_err(|e| model(format!("cannot be read ({}); install it again", e.kind())))?;
        Self::of(runtime, &path, &bytes, threads)
    }

    /// The graph that is part of this program.
    ///
    /// # Errors
    /// [`PixelError::Model`]: ONNX Runtime does not take it.
    pub fn built_in(runtime: &Runtime, threads: usize) -> Result<Self, PixelError> {
        Self::of(runtime, Path::new(FILE), BUILT_IN, threads)
    }

    fn of(runtime: &Runtime, path: &Path, bytes: &[u8], threads: usize) -> Result<Self, PixelError> {
        let model = |why: String| PixelError::Model { path: path.to_owned(), why };
        let hash: String = Sha256::digest(bytes).iter().map(|b| format!("{b:02x}")).collect();
        if hash != SHA256 {
            return Err(model("is not the file that this version was made for; install it again".into()));
        }
        let graph = Graph::new(runtime, FILE, bytes, threads).map_err(|e| model(e.to_string()))?;
        Ok(Self { graph })
    }

    /// The boxes around what looks like text, in pixels of the full-size frame.
    ///
    /// # Errors
    /// The graph fails.
    pub fn find(&mut self, grid: &ImageGrid) -> Result<Vec<Region>, InferError> {
        let mut found = Vec::new();
        for view in views(grid) {
            let levels = levels(grid.size);
            for (i, level) in levels.iter().enumerate() {
                let thickest = if i + 1 == levels.len() { THICKEST } else { *THICKNESS.end() };
                let shown = resized(&view, grid.size, *level)?;
                let map = self.map(&shown, *level)?;
                let cores = components(&map, level.columns as usize, THRESHOLD);
                let texts = cores
                    .iter()
                    .filter(|f| f.score >= SCORE && (*THICKNESS.start()..=thickest).contains(&f.thickness()));
                found.extend(texts.filter_map(|core| around(core, *level, grid.full_size)));
            }
        }
        Ok(without_inner(lines::whole(found)))
    }

    /// The graph's map of a level, put together from tiles: the greater answer where they overlap.
    fn map(&mut self, planes: &[Vec<f32>], size: GridSize) -> Result<Vec<f32>, InferError> {
        let mut map = vec![0.0f32; size.pixels() as usize];
        for (top, rows) in tiles(size.rows) {
            for (left, columns) in tiles(size.columns) {
                let tile = GridSize::new(columns, rows);
                let (shape, values) = tensor(planes, size, (left, top), tile);
                let (sizes, answer) = self.graph.run(&shape, &values)?;
                let [_, _, height, width] = shape;
                if sizes != [1, 1, height, width] {
                    let why = format!("the map has shape {sizes:?} for a tile of {height}×{width}");
                    return Err(InferError::Preprocess(why));
                }
                for row in 0..rows as usize {
                    let from = &answer[row * width..][..columns as usize];
                    let start = (top as usize + row) * size.columns as usize + left as usize;
                    let to = &mut map[start..][..columns as usize];
                    to.iter_mut().zip(from).for_each(|(to, from)| *to = to.max(*from));
                }
            }
        }
        Ok(map)
    }
}

/// The sizes at which a picture is looked at, the largest first.
fn levels(size: GridSize) -> Vec<GridSize> {
    let longest = size.columns.max(size.rows).max(1);
    let mut side = longest.saturating_mul(4).min(ENLARGED.max(longest.min(LARGEST)));
    let mut levels = Vec::new();
    loop {
        let scaled = |n: u32| (u64::from(n) * u64::from(side)).div_ceil(u64::from(longest)).max(1) as u32;
        levels.push(GridSize::new(scaled(size.columns), scaled(size.rows)));
        side /= 2;
        if side < SMALLEST {
            return levels;
        }
    }
}

/// Starts and lengths of tiles along a side.
fn tiles(side: u32) -> Vec<(u32, u32)> {
    if side <= TILE {
        return vec![(0, side)];
    }
    let count = (side - OVERLAP).div_ceil(TILE - OVERLAP);
    let length = (side + (count - 1) * OVERLAP).div_ceil(count);
    let last = side - length;
    (0..count).map(|i| ((u64::from(last) * u64::from(i) / u64::from(count - 1)) as u32, length)).collect()
}

/// The planes of a view in another size.
fn resized(view: &View, from: GridSize, to: GridSize) -> Result<Vec<Vec<f32>>, InferError> {
    let problem = |e: String| InferError::Preprocess(format!("resize failed: {e}"));
    let options = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(FilterType::Bilinear));
    let mut resizer = Resizer::new();
    let resize = |plane: &Vec<f32>| {
        let pixels: Vec<F32> = plane.iter().map(|v| F32::new(*v)).collect();
        let source =
            TypedImageRef::new(from.columns, from.rows, &pixels).map_err(|e| problem(e.to_string()))?;
        let mut target = TypedImage::<F32>::new(to.columns, to.rows);
        resizer.resize_typed(&source, &mut target, &options).map_err(|e| problem(e.to_string()))?;
        Ok(target.pixels().iter().map(|p| p.0).collect())
    };
    view.planes.iter().map(resize).collect()
}

/// A tile as the graph takes it: `1 × 3 × height × width`, blue first; its last column and row are repeated up to whole steps.
fn tensor(
    planes: &[Vec<f32>],
    size: GridSize,
    (left, top): (u32, u32),
    tile: GridSize,
) -> ([usize; 4], Vec<f32>) {
    let height = (tile.rows as usize).next_multiple_of(STEP);
    let width = (tile.columns as usize).next_multiple_of(STEP);
    let mut values = Vec::with_capacity(3 * height * width);
    for channel in 0..3 {
        let plane = planes.get(2 - channel).unwrap_or(&planes[0]);
        for row in 0..height {
            let row = top as usize + row.min(tile.rows as usize - 1);
            let start = row * size.columns as usize + left as usize;
            let line = &plane[start..][..tile.columns as usize];
            let normal = |v: &f32| (v - MEAN[channel]) / DEVIATION[channel];
            values.extend(line.iter().map(normal));
            let last = line.last().map_or(0.0, normal);
            values.extend(std::iter::repeat_n(last, width - line.len()));
        }
    }
    ([1, 3, height, width], values)
}

/// The box around the text whose core was found, in pixels of the full-size frame.
fn around(core: &Found, level: GridSize, full: GridSize) -> Option<Region> {
    let thick = core.thickness() as f64;
    let upright = core.bottom - core.top > core.right - core.left;
    let (along, across) = ((MARGIN + SIDEWAYS) * thick + 1.0, MARGIN * thick + 1.0);
    let (beside, above) = if upright { (across, along) } else { (along, across) };
    let (x, y) =
        (f64::from(full.columns) / f64::from(level.columns), f64::from(full.rows) / f64::from(level.rows));
    let edges = [
        ((core.left as f64 - beside) * x).floor(),
        ((core.top as f64 - above) * y).floor(),
        ((core.right as f64 + beside) * x).ceil(),
        ((core.bottom as f64 + above) * y).ceil(),
    ];
    Region::within(full, edges.map(|e| e as i64), Why::Text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_pictures_are_enlarged_and_large_ones_reduced() {
        let longest = |columns, rows| {
            let levels = levels(GridSize::new(columns, rows));
            levels.iter().map(|l| l.columns.max(l.rows)).collect::<Vec<_>>()
        };
        assert_eq!(longest(256, 200), [1024, 512]);
        assert_eq!(longest(512, 512), [1280, 640]);
        assert_eq!(longest(3328, 4096), [2048, 1024, 512]);
        assert_eq!(longest(1, 1), [4]);
    }

    #[test]
    fn tiles_cover_a_side_and_overlap() {
        for side in [1, 31, 1024, 1025, 1280, 2048, 5000] {
            let tiles = tiles(side);
            assert_eq!(tiles[0].0, 0);
            assert_eq!(tiles.iter().map(|(start, length)| start + length).max(), Some(side));
            for pair in tiles.windows(2) {
                assert!(pair[0].0 + pair[0].1 >= pair[1].0 + OVERLAP, "{side}: {tiles:?}");
            }
            assert!(tiles.iter().all(|(_, length)| *length <= TILE), "{side}: {tiles:?}");
        }
    }

    #[test]
    fn a_box_reaches_beyond_the_core_and_stays_in_the_frame() {
        let core = Found { left: 10, top: 20, right: 60, bottom: 24, score: 0.9 };
        let region = around(&core, GridSize::new(200, 100), GridSize::new(100, 50)).unwrap();
        // The core itself reaches from (5, 10) to (30, 12) in the frame.
        assert!(region.left < 5 && region.right > 30 && region.top < 10 && region.bottom > 12, "{region:?}");
        let corner = Found { left: 0, top: 0, right: 199, bottom: 99, score: 0.9 };
        let region = around(&corner, GridSize::new(200, 100), GridSize::new(100, 50)).unwrap();
        assert!(region.right <= 100 && region.bottom <= 50, "{region:?}");
    }
}
