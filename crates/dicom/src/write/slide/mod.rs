//! A slide in the format of a scanner's maker as DICOM: a VL Whole Slide Microscopy Image (PS3.3 §A.32.8) for each of its levels.
//!
//! In reading order: `levels` says which levels there are, `image` makes the header of one, `tiles` reads and compresses its tiles in several
//! threads, `stream` writes them one after the other. Never more than a few tiles a thread are in memory. What the file says in words stays
//! behind, and so do its label and its overview, which [`crate::read::Slide`] does not reach.

mod image;
mod levels;
mod stream;
mod tiles;

use std::fs::{File, Permissions};
use std::io::{self, BufWriter};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use overread_domain::GridSize;
use tempfile::NamedTempFile;

use super::identity::derive;
use super::specimen::LossyCompression;
use super::text::decimal_string;
use super::{WrapHeader, WriteError};
use crate::parallel::Lost;
use crate::read::{self, CodecHost, Limits, Opened, ReadError, Slide};
use image::{JPEG, LevelImage};
use levels::Level;
use stream::Stream;
use tiles::Tiles;

/// Columns, and rows, of a tile.
const TILE: u32 = 512;
/// Tiles a thread that are compressed before they are written.
const BATCH: u64 = 16;
/// Tiles from which the size of a level is estimated.
const SAMPLE: u64 = 64;

/// Told how many tiles are done, of how many.
pub type OnTiles<'a> = dyn Fn(u64, u64) + 'a;

/// Why a slide did not become DICOM. No message holds a value of the header or a word of the slide.
#[derive(Debug, thiserror::Error)]
pub enum SlideError {
    /// Pixel Spacing is type 1, and whoever measures and reads depends on it.
    #[error(
        "the slide does not tell how large its pixels are; export it again with its resolution, or say it: --microns-per-pixel 0.25"
    )]
    NoPixelSize,
    /// The size of a pixel cannot be meant.
    #[error("a pixel of {across} × {down} µm cannot be meant; say it: --microns-per-pixel 0.25")]
    PixelSize {
        /// Micrometres across.
        across: f64,
        /// Micrometres down.
        down: f64,
    },
    /// It cannot be opened: the slide, or a level of which the next one is made.
    #[error("it cannot be opened")]
    Open(#[source] ReadError),
    /// A tile cannot be read.
    #[error("level {level} at column {column}, row {row} of its pixels")]
    Read {
        /// Which level, from 1, the finest.
        level: u32,
        /// Leftmost pixel of the tile, from 0.
        column: u32,
        /// Uppermost pixel of the tile, from 0.
        row: u32,
        /// Why.
        source: ReadError,
    },
    /// A tile cannot be compressed.
    #[error("a tile of level {level} cannot be compressed as JPEG")]
    Compress {
        /// Which level, from 1, the finest.
        level: u32,
        /// Why.
        source: ::image::ImageError,
    },
    /// A thread is gone.
    #[error(transparent)]
    Lost(#[from] Lost),
    /// A file that nobody would take.
    #[error(
        "level {level} of {columns} × {rows} pixels would take {bytes} bytes, and a file may have {limit}: export the slide at half its magnification"
    )]
    TooLarge {
        /// Which level, from 1, the finest.
        level: u32,
        /// Columns of the level.
        columns: u32,
        /// Rows of the level.
        rows: u32,
        /// Bytes that the file would have, or has already.
        bytes: u64,
        /// [`Limits::file_bytes`].
        limit: u64,
    },
    /// The object cannot be made.
    #[error("the DICOM image cannot be made")]
    Write(#[from] WriteError),
    /// The folder cannot be written to.
    #[error("{doing} failed; see that the folder may be written to and has room")]
    Io {
        /// What was being done.
        doing: &'static str,
        /// Why.
        source: io::Error,
    },
}

/// What a slide is wrapped with.
pub struct SlideWrap<'a> {
    /// The slide.
    pub slide: &'a Slide,
    /// Patient, study and series. Its instance is not looked at: each level has one of its own.
    pub header: &'a WrapHeader,
    /// Side of a pixel of the finest level across and down, in micrometres, where the caller knows better than the slide.
    pub microns: Option<(f64, f64)>,
    /// How large a file may become.
    pub limits: &'a Limits,
}

/// Writes a level a file, `1.dcm` the finest, into a folder that is there, and tells their names. There are all or none: they are complete and
/// synced under temporary names before the first has its own.
///
/// Each host is one thread; there must be one.
///
/// # Errors
/// [`SlideError`]: the slide does not tell the size of its pixels, a tile of it cannot be read, a level would be too large, or the folder cannot
/// be written to.
pub fn wrap_slide(
    wrap: &SlideWrap<'_>,
    folder: &Path,
    hosts: &mut [CodecHost],
    on_tiles: &OnTiles<'_>,
) -> Result<Vec<PathBuf>, SlideError> {
    let slide = wrap.slide;
    let finest = slide.levels()[0].size;
    let extent_mm = extent(wrap, finest)?;
    let icc = match hosts.first_mut() {
        Some(host) => slide.icc_profile(host).map_err(SlideError::Open)?,
        None => None,
    };
    let plan = levels::of(slide.levels());
    let own = plan.iter().filter(|level| level.from.is_some()).count();
    let all = plan.iter().map(|level| tiles_of(level.size)).sum();
    let (mut files, mut told) = (Files { folder, written: Vec::new() }, 0);
    let mut before: Vec<LossyCompression> =
        slide.lossy_compression().map(|(method, ratio)| lossy(method, ratio)).into_iter().collect();
    for (number, Level { size, from }) in (1..).zip(plan) {
        let mut header = wrap.header.clone();
        header.number = number;
        let series = header.uids.series.as_str().as_bytes();
        header.uids.instance = derive("slide-level", &[series, &number.to_be_bytes()]);
        let above = if from.is_none() { Some(files.last(wrap.limits)?) } else { None };
        let tiles = Tiles {
            slide: above.as_ref().unwrap_or(slide),
            level: from.unwrap_or(0),
            halved: from.is_none(),
            number,
            across: size.columns.div_ceil(TILE),
        };
        let (header, icc) = (&header, icc.as_deref());
        let image = LevelImage { header, size, extent_mm, finest, icc, before: &before };
        let file = files.create()?;
        let ratio = write(&image, &tiles, file, hosts, wrap.limits, &|done| on_tiles(told + done, all))?;
        told += image.frames();
        // What is made of the last of the slide's own levels has gone through its compression as well.
        if number as usize >= own {
            before.push(lossy(JPEG, ratio));
        }
    }
    files.keep()
}

/// Height and width of what the slide shows, in millimetres.
fn extent(wrap: &SlideWrap<'_>, finest: GridSize) -> Result<[f64; 2], SlideError> {
    let told = wrap.microns.or(wrap.slide.microns_across_and_down());
    let (across, down) = told.ok_or(SlideError::NoPixelSize)?;
    if ![across, down].iter().all(|side| (1e-3..=1e3).contains(side)) {
        return Err(SlideError::PixelSize { across, down });
    }
    Ok([f64::from(finest.rows) * down / 1e3, f64::from(finest.columns) * across / 1e3])
}

fn lossy(method: &str, ratio: f64) -> LossyCompression {
    LossyCompression { method: method.to_owned(), ratio: decimal_string((ratio * 100.0).round() / 100.0) }
}

/// Writes one level and tells how far its pixels were compressed.
fn write(
    image: &LevelImage<'_>,
    tiles: &Tiles<'_>,
    file: &NamedTempFile,
    hosts: &mut [CodecHost],
    limits: &Limits,
    on_tiles: &dyn Fn(u64),
) -> Result<f64, SlideError> {
    let failed = |source| SlideError::Io { doing: "writing a level", source };
    let GridSize { columns, rows } = image.size;
    let limit = limits.file_bytes;
    let too_large = |bytes| SlideError::TooLarge { level: tiles.number, columns, rows, bytes, limit };
    let frames = image.frames();
    let bytes = estimate(tiles, frames, hosts, limit)?;
    let count = u32::try_from(frames).ok().filter(|_| bytes <= limit).ok_or_else(|| too_large(bytes))?;
    let out = BufWriter::with_capacity(1 << 20, file.as_file());
    let mut stream = Stream::begin(out, &image.head(1.0)?, count).map_err(failed)?;
    let mut next = 0;
    while next < frames {
        let end = (next + BATCH * hosts.len() as u64).min(frames);
        for jpeg in tiles.compressed(&(next..end).collect::<Vec<_>>(), hosts)? {
            stream.frame(&jpeg).map_err(failed)?;
        }
        if stream.written() > limit {
            return Err(too_large(stream.written()));
        }
        on_tiles(end);
        next = end;
    }
    let ratio = (frames * u64::from(TILE) * u64::from(TILE) * 3) as f64 / stream.compressed().max(1) as f64;
    let out = stream.end(&image.head(ratio)?).map_err(failed)?;
    drop(out);
    file.as_file().sync_all().map_err(failed)?;
    Ok(ratio)
}

/// About how many bytes a level will take, so that hours are not spent on one that nobody takes: told from some of its tiles, where so many
/// could come to more than the limit at all.
fn estimate(tiles: &Tiles<'_>, frames: u64, hosts: &mut [CodecHost], limit: u64) -> Result<u64, SlideError> {
    if frames.saturating_mul(u64::from(TILE) * u64::from(TILE) * 3) <= limit {
        return Ok(0);
    }
    let sample: Vec<u64> = (0..SAMPLE.min(frames)).map(|n| n * (frames / SAMPLE.min(frames))).collect();
    let bytes: usize = tiles.compressed(&sample, hosts)?.iter().map(Vec::len).sum();
    Ok((bytes as u64 / sample.len() as u64).saturating_mul(frames))
}

/// Levels under temporary names, which go with it.
struct Files<'a> {
    folder: &'a Path,
    written: Vec<NamedTempFile>,
}

impl Files<'_> {
    fn create(&mut self) -> Result<&NamedTempFile, SlideError> {
        let io = |source| SlideError::Io { doing: "making a file", source };
        // As any file is made: the umask says who may read it.
        let mode = Permissions::from_mode(0o666);
        let file = tempfile::Builder::new().permissions(mode).tempfile_in(self.folder).map_err(io)?;
        Ok(self.written.push_mut(file))
    }

    /// The level that was written last, as a slide.
    fn last(&self, limits: &Limits) -> Result<Slide, SlideError> {
        let Some(file) = self.written.last() else { return Err(SlideError::Open(ReadError::NoPixels)) };
        match read::open(file.path(), limits).map_err(SlideError::Open)? {
            Opened::Dicom(file) => Slide::of_objects(vec![file]).map_err(SlideError::Open),
            _ => Err(SlideError::Open(ReadError::NoPixels)),
        }
    }

    /// Gives all their names: `1.dcm`, `2.dcm` and so on.
    fn keep(self) -> Result<Vec<PathBuf>, SlideError> {
        let io = |source| SlideError::Io { doing: "naming a level", source };
        let mut kept = Vec::new();
        for (number, file) in (1..).zip(self.written) {
            let path = self.folder.join(format!("{number}.dcm"));
            if let Err(e) = file.persist(&path) {
                kept.iter().for_each(|path| drop(std::fs::remove_file(path)));
                return Err(io(e.error));
            }
            kept.push(path);
        }
        File::open(self.folder).and_then(|folder| folder.sync_all()).map_err(io)?;
        Ok(kept)
    }
}

/// How many tiles a level of this size has; the last ones reach beyond it.
fn tiles_of(size: GridSize) -> u64 {
    u64::from(size.columns.div_ceil(TILE)) * u64::from(size.rows.div_ceil(TILE))
}
