//! Opening files and decoding frames: bytes → image.
//!
//! In reading order: [`open`] sniffs what a file is; a [`DicomFile`] or a [`PhotoFile`] tells its
//! [`Header`] and decodes one frame at a time; a [`CodecHost`] runs the codecs that are not
//! memory-safe in a child process; [`Limits`] bound what a file may cost, a [`Tolerance`] names what
//! was accepted against the standard, a [`ReadError`] says what was not.
//!
//! Inside: `meta` finds the data set, `scan` walks it, `shape` is the Image Pixel module, `native`,
//! `rle`, `fragments` and `codec` get at samples, [`slide`] reads whole slides in parts, `colour` and `transform` give them their meaning; `raw` passes
//! frames on as bytes, `extent` copies pixel data without decoding them, `same` compares data sets.

mod cine;
mod codec;
mod colour;
mod error;
mod extent;
mod file;
mod fragments;
mod header;
mod limits;
mod meta;
mod native;
mod patient;
mod photo;
mod raw;
mod rle;
mod same;
mod scan;
mod several;
mod shape;
pub mod slide;
mod source;
mod syntax;
mod tolerance;
mod transform;
mod values;

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::Arc;

use overread_domain::{GridSize, ImageGrid, PlaneGeometry};

pub use cine::CineTiming;
pub use codec::host::{CodecHost, CodecLimits};
pub use codec::worker::codec_worker_main;
pub use error::{CodecFailure, ReadError};
pub use extent::PixelExtent;
pub use file::DicomFile;
pub use header::Header;
pub(crate) use header::region_side;
pub use limits::Limits;
pub use patient::PatientMark;
pub use photo::PhotoFile;
pub use raw::{FrameBytes, NativeForm, PixelElementInfo, is_decodable};
pub use same::same_data_set;
pub use slide::{
    Slide, SlideLevel, SlideView, is_slide_label, is_whole_slide, slide_parts, slide_worker_main,
};
pub use syntax::is_jpeg_2000;
pub use tolerance::Tolerance;

use source::Source;

/// How much of a frame's resolution is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resolution {
    /// All of it.
    Full,
    /// The smallest that the codec gives at less cost and whose sides are both at least this long.
    /// JPEG 2000 halves up to its decomposition levels, JPEG up to three times; all else is decoded
    /// in full, and so is a frame that is smaller than this. Nothing is ever scaled up.
    AtLeast(GridSize),
}

/// A file that was recognised.
pub enum Opened {
    /// A DICOM object.
    Dicom(DicomFile),
    /// A JPEG, PNG, TIFF or WebP picture.
    Photograph(PhotoFile),
    /// A whole slide in the format of a scanner's maker. It has no frames to decode: [`Slide::of_file`] opens it.
    Slide(Header),
}

impl Opened {
    /// What the file tells without telling who the patient is.
    pub fn header(&self) -> &Header {
        match self {
            Self::Dicom(file) => file.header(),
            Self::Photograph(file) => file.header(),
            Self::Slide(header) => header,
        }
    }

    /// How many frames can be decoded; zero where the object holds no image.
    pub fn frames(&self) -> u32 {
        self.header().frames
    }

    /// Where a frame lies in the patient; none where the file does not tell.
    pub fn geometry(&self, frame: u32) -> Option<PlaneGeometry> {
        match self {
            Self::Dicom(file) => file.geometry(frame),
            Self::Photograph(_) | Self::Slide(_) => None,
        }
    }

    /// Decodes one frame, counted from 0.
    ///
    /// # Errors
    /// [`ReadError`]: the frame is not there, is too large, is damaged, or is of a kind that is not read.
    pub fn decode(
        &self,
        frame: u32,
        resolution: Resolution,
        host: &mut CodecHost,
    ) -> Result<ImageGrid, ReadError> {
        match self {
            Self::Dicom(file) => file.decode(frame, resolution, host),
            Self::Photograph(file) => file.decode(frame, resolution, host),
            Self::Slide(_) => Err(ReadError::Slide { why: "a slide is read in parts".to_owned() }),
        }
    }
}

/// Opens a file by its content, whatever its name says. Pixel data are not read yet.
///
/// # Errors
/// [`ReadError`]: not a file, not an image, damaged before the pixel data, or beyond a limit.
pub fn open(path: &Path, limits: &Limits) -> Result<Opened, ReadError> {
    let io = |source| ReadError::Io { doing: "open the file", source };
    // A FIFO would block and a device never end, so the kind is asked before opening.
    if !std::fs::metadata(path).map_err(io)?.is_file() {
        return Err(ReadError::NotAFile);
    }
    let file = File::open(path).map_err(io)?;
    let len = file.metadata().map_err(io)?.len();
    let mut head = [0; 132];
    let n = file.read_at(&mut head, 0).map_err(io)?;
    if head[128..] != *b"DICM" && slide::is_slide(path, &head[..n]) {
        return Ok(Opened::Slide(slide::header(path)));
    }
    open_source(Source::File { file, len }, len, limits)
}

/// Opens an object that is in memory already, such as one that has just been received.
///
/// # Errors
/// As [`open`].
pub fn open_bytes(bytes: impl Into<Arc<[u8]>>, limits: &Limits) -> Result<Opened, ReadError> {
    let bytes = bytes.into();
    let len = bytes.len() as u64;
    open_source(Source::Memory(bytes), len, limits)
}

fn open_source(source: Source, len: u64, limits: &Limits) -> Result<Opened, ReadError> {
    if len > limits.file_bytes {
        let limit = limits.file_bytes;
        return Err(ReadError::TooLarge { what: "the file", bytes: len, limit, name: "file_bytes" });
    }
    let mut head = [0; 132];
    let io = |source| ReadError::Io { doing: "read the start of the file", source };
    let n = source.read_at(0, &mut head).map_err(io)?;
    // A whole slide may be TIFF and DICOM at once: its preamble is a TIFF header (PS3.10 §7.1).
    if head[128..] != *b"DICM"
        && let Some(format) = photo::sniff(&head[..n])
    {
        return PhotoFile::open(&source, len, format, limits).map(Opened::Photograph);
    }
    DicomFile::open(source, limits).map(Opened::Dicom)
}
