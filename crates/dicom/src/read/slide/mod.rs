//! Whole slides: one picture at several resolutions, of which parts are read.
//!
//! A slide is too large to be decoded whole; it is opened as a [`Slide`] and read in regions by a [`SlideView`]. DICOM whole slides
//! (VL Whole Slide Microscopy Image, PS3.3 §A.32.8) are read here, by `tiled`; files of scanners' makers by OpenSlide in a child
//! process: `foreign` is the parent's side, `worker` the child's. Label and overview images, which may show a name, are never read.

mod foreign;
mod sniff;
mod tiled;
mod worker;

use std::collections::VecDeque;
use std::path::PathBuf;

use overread_domain::{GridSize, ImageGrid, PixelSpacing};

pub(crate) use foreign::SlideHost;
pub use sniff::slide_parts;
pub(crate) use sniff::{header, is_slide};
pub use tiled::{is_slide_label, is_whole_slide};
pub use worker::slide_worker_main;

use super::{CodecHost, DicomFile, ReadError};
use tiled::{Part, Pyramid};

/// Bytes of decoded tiles that a view keeps: neighbours share them.
const CACHE_BYTES: usize = 32 << 20;
/// Most pixels of a region that is read at once.
const REGION_PIXELS: u64 = 64 << 20;

/// A slide that was opened.
pub struct Slide {
    levels: Vec<SlideLevel>,
    microns_per_pixel: Option<(f64, f64)>,
    source: SlideSource,
}

/// One resolution of a slide.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SlideLevel {
    /// Columns and rows.
    pub size: GridSize,
    /// How many pixels of the full resolution one of its pixels stands for, along a side; 1 at the full resolution.
    pub downsample: f64,
}

enum SlideSource {
    Objects(Pyramid),
    File(PathBuf),
}

/// A slide that is being read by one thread.
pub struct SlideView<'slide> {
    slide: &'slide Slide,
    host: &'slide mut CodecHost,
    /// Tiles as RGB, the latest last.
    cache: VecDeque<((usize, Part), Vec<u8>)>,
}

/// What one level of a file is, as the library tells it.
struct Described {
    levels: Vec<SlideLevel>,
    /// Across and down.
    microns_per_pixel: Option<(f64, f64)>,
}

impl Slide {
    /// A slide of its DICOM objects: one or several a level. Label, overview and thumbnail images among them are left out.
    ///
    /// # Errors
    /// None of them is a level of a slide, or one states sizes that cannot be meant.
    pub fn of_objects(files: Vec<DicomFile>) -> Result<Self, ReadError> {
        let pyramid = Pyramid::of(files)?;
        let (levels, side) = (pyramid.levels(), pyramid.microns_per_pixel());
        let microns_per_pixel = side.map(|side| (side, side));
        Ok(Self { levels, microns_per_pixel, source: SlideSource::Objects(pyramid) })
    }

    /// A slide of a scanner maker's file.
    ///
    /// # Errors
    /// The host has no library for it, or the library refuses it.
    pub fn of_file(path: PathBuf, host: &mut CodecHost) -> Result<Self, ReadError> {
        let Described { levels, microns_per_pixel } = slides(host)?.describe(&path)?;
        Ok(Self { levels, microns_per_pixel, source: SlideSource::File(path) })
    }

    /// Its resolutions, the finest first; at least one.
    pub fn levels(&self) -> &[SlideLevel] {
        &self.levels
    }

    /// Side of a pixel of the full resolution in micrometres; none where the slide does not tell.
    pub fn microns_per_pixel(&self) -> Option<f64> {
        self.microns_per_pixel.map(|(across, down)| f64::midpoint(across, down))
    }

    /// The same across and down, which may differ a little; of a slide of DICOM objects it is one number.
    pub const fn microns_across_and_down(&self) -> Option<(f64, f64)> {
        self.microns_per_pixel
    }

    /// The ICC profile of a scanner maker's file; none where it has none, and of DICOM objects, of which it is not asked.
    ///
    /// # Errors
    /// The file is damaged there, or the profile is larger than 16 MiB.
    pub fn icc_profile(&self, host: &mut CodecHost) -> Result<Option<Vec<u8>>, ReadError> {
        let SlideSource::File(path) = &self.source else { return Ok(None) };
        let profile = slides(host)?.icc_profile(path)?;
        Ok((!profile.is_empty()).then_some(profile))
    }

    /// Lossy Image Compression Method (0028,2114) of a scanner maker's file, and how far its finest level was compressed; none where it lost
    /// nothing or does not tell, and of DICOM objects, whose headers do.
    pub fn lossy_compression(&self) -> Option<(&'static str, f64)> {
        let SlideSource::File(path) = &self.source else { return None };
        sniff::lossy_compression(path)
    }

    /// The slide for one thread.
    pub const fn view<'slide>(&'slide self, host: &'slide mut CodecHost) -> SlideView<'slide> {
        SlideView { slide: self, host, cache: VecDeque::new() }
    }
}

impl SlideView<'_> {
    /// A part of a level, whose place and size count pixels of that level; white where the slide has no pixels.
    ///
    /// # Errors
    /// The level is not there, the part is too large, or a tile of it is damaged.
    pub fn region(
        &mut self,
        level: usize,
        left: u32,
        top: u32,
        size: GridSize,
    ) -> Result<ImageGrid, ReadError> {
        let of = self.slide.levels.get(level).ok_or(ReadError::Slide { why: format!("no level {level}") })?;
        if size.pixels() > REGION_PIXELS {
            return Err(ReadError::Slide { why: format!("{} pixels were asked for at once", size.pixels()) });
        }
        let rgb = match &self.slide.source {
            SlideSource::Objects(pyramid) => self.woven(pyramid, level, left, top, size)?,
            SlideSource::File(path) => {
                let full = |n: u32| (f64::from(n) * of.downsample).round() as i64;
                slides(self.host)?.region(path, level, full(left), full(top), size)?
            }
        };
        let millimetres = self.slide.microns_per_pixel().map(|m| m * of.downsample / 1e3);
        let spacing = millimetres.map(|mm| PixelSpacing { row_mm: mm, column_mm: mm });
        Ok(ImageGrid { spacing, ..ImageGrid::of_rgb(size, rgb) })
    }

    /// A part of a level from the tiles that it touches.
    fn woven(
        &mut self,
        pyramid: &Pyramid,
        level: usize,
        left: u32,
        top: u32,
        size: GridSize,
    ) -> Result<Vec<u8>, ReadError> {
        let mut out = vec![255; size.pixels() as usize * 3];
        let (tile, matrix) = (pyramid.tile(level), self.slide.levels[level].size);
        for part in pyramid.parts(level, left, top, size) {
            let Some(rgb) = self.tile(pyramid, level, part)? else { continue };
            // The rectangle that tile and part share, in pixels of the level.
            let (x0, y0) = (part.column * tile.columns, part.row * tile.rows);
            let (from_x, from_y) = (x0.max(left), y0.max(top));
            let (to_x, to_y) = (
                (x0 + tile.columns).min(left.saturating_add(size.columns)).min(matrix.columns),
                (y0 + tile.rows).min(top.saturating_add(size.rows)).min(matrix.rows),
            );
            let bytes = (to_x - from_x) as usize * 3;
            for y in from_y..to_y {
                let source = ((y - y0) as usize * tile.columns as usize + (from_x - x0) as usize) * 3;
                let target = ((y - top) as usize * size.columns as usize + (from_x - left) as usize) * 3;
                out[target..target + bytes].copy_from_slice(&rgb[source..source + bytes]);
            }
        }
        Ok(out)
    }

    /// A tile as RGB; none where the slide has none, which is glass.
    fn tile(&mut self, pyramid: &Pyramid, level: usize, part: Part) -> Result<Option<&[u8]>, ReadError> {
        let known = self.cache.iter().position(|(key, _)| *key == (level, part));
        match known {
            Some(index) => {
                let entry = self.cache.remove(index);
                self.cache.extend(entry);
            }
            None => {
                let Some(rgb) = pyramid.decode(level, part, self.host)? else { return Ok(None) };
                let most = (CACHE_BYTES / rgb.len().max(1)).max(1);
                while self.cache.len() >= most {
                    self.cache.pop_front();
                }
                self.cache.push_back(((level, part), rgb));
            }
        }
        Ok(self.cache.back().map(|(_, rgb)| rgb.as_slice()))
    }
}

fn slides(host: &mut CodecHost) -> Result<&mut SlideHost, ReadError> {
    host.slides.as_mut().ok_or(ReadError::NoSlideLibrary)
}
