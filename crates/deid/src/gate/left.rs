//! What came of an original.

use std::fs::File;
use std::io::{self, BufWriter, Write};

use dicom_core::header::Header as _;
use dicom_core::{Tag, VR};
use dicom_object::InMemDicomObject;
use overread_domain::{ContentHash, Uid};
use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::DeidError;
use crate::pixels::Region;
use crate::report::{Change, Changes, Done};

/// What came of an original.
#[derive(Clone, Debug, PartialEq)]
pub enum Leaving {
    /// It may leave.
    Clean(Box<Left>),
    /// It must not: the reasons, each a sentence that tells a person what to do and holds no value of the original.
    Quarantined(Vec<String>),
}

impl Leaving {
    /// Whether others of its series must be looked at: its pixels showed text, or it must not leave.
    pub fn warns(&self) -> bool {
        match self {
            Self::Clean(left) => !left.pixels.regions.is_empty(),
            Self::Quarantined(_) => true,
        }
    }
}

/// An object that may leave.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Left {
    /// Its Study Instance UID.
    pub study: Uid,
    /// Its Series Instance UID.
    pub series: Uid,
    /// Its SOP Instance UID.
    pub instance: Uid,
    /// SHA-256 of its bytes.
    pub sha256: ContentHash,
    /// How many bytes it has.
    pub bytes: u64,
    /// Attributes that are not what they were, and what was done.
    pub changes: Vec<Change>,
    /// What was done with its pixels.
    pub pixels: PixelWork,
    /// What still tells something of the patient, each a sentence.
    pub residual_risks: Vec<&'static str>,
}

/// A face can be rendered from the object's volume.
pub(super) const FACE: &str = "a face can be rendered from volumes of the head; nothing removed it";
/// Nobody looked at the pixels.
pub(super) const UNSEEN: &str = "the pixels were not looked at";
/// Only some images or frames were looked at.
pub(super) const SAMPLED: &str =
    "text was looked for in a sample of the series or of the frames; what shows only elsewhere was not seen";

/// What was done with pixels.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct PixelWork {
    /// How many frames the object has.
    pub frames: u32,
    /// The frames in which text was looked for, counted from 0; empty if nobody looked.
    pub looked_at: Vec<u32>,
    /// What was blackened in every frame.
    pub regions: Vec<Region>,
    /// The part of a frame's area that was blackened, from 0 to 1.
    pub share: f64,
    /// The frames that Tesseract read, in what goes out.
    pub read_again: Vec<u32>,
}

impl PixelWork {
    /// No pixels, no work.
    pub(super) fn none() -> Self {
        Self::default()
    }
}

/// A file that is being written, counted and hashed.
pub(super) struct Counted {
    out: BufWriter<File>,
    hash: Sha256,
    bytes: u64,
}

impl Counted {
    pub(super) fn new(file: File) -> Self {
        Self { out: BufWriter::with_capacity(64 << 10, file), hash: Sha256::new(), bytes: 0 }
    }

    pub(super) fn finish(mut self) -> Result<(ContentHash, u64), DeidError> {
        self.out.flush().map_err(DeidError::Write)?;
        Ok((ContentHash::from_bytes(self.hash.finalize().into()), self.bytes))
    }
}

impl Write for Counted {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = self.out.write(bytes)?;
        self.hash.update(&bytes[..taken]);
        self.bytes += taken as u64;
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// What became of the attributes of an original: those of its data set itself, not those in sequences.
pub(super) fn changes(original: &InMemDicomObject, made: &InMemDicomObject) -> Vec<Change> {
    let mut changes = Changes::default();
    let pixels = |tag: Tag| tag.group() == 0x7FE0;
    for element in original.iter().filter(|e| !pixels(e.tag()) && e.tag().element() != 0) {
        let tag = element.tag();
        match made.get(tag) {
            None => changes.note(tag, Done::Removed),
            Some(after) if after.value() == element.value() => {}
            Some(after) if after.value().primitive().is_some_and(dicom_core::header::HasLength::is_empty) => {
                changes.note(tag, Done::Emptied);
            }
            Some(after) if after.vr() == VR::UI => changes.note(tag, Done::Mapped),
            Some(_) => changes.note(tag, Done::Cleaned),
        }
    }
    changes.list()
}
