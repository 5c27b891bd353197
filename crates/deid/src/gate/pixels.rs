//! Text out of the pixels of an original, and Tesseract's look at those of the outgoing object.

use std::io::{BufWriter, Write};
use std::path::Path;

use dicom_core::Tag;
use dicom_core::dictionary::DataDictionary;
use dicom_dictionary_std::StandardDataDictionary;
use overread_dicom::read::{DicomFile, Limits, Opened, Resolution, open};
use overread_domain::sentence;

use super::workers::Worker;
use super::{GateError, PixelWork};
use crate::DeidError;
use crate::engine::statement::Pixels;
use crate::pixels::second_look::SecondLook;
use crate::pixels::{Cleaned, PixelError};

/// How an original went on.
pub(super) enum Step {
    Done(Box<Pass>),
    Quarantined(Vec<String>),
}

/// An original whose pixels may go on.
pub(super) struct Pass {
    /// The cleaned copy, where something was removed. The file itself has no name any more.
    pub(super) file: Option<DicomFile>,
    pub(super) state: Pixels,
    pub(super) work: PixelWork,
}

/// What Tesseract said.
pub(super) struct Read {
    pub(super) frames: Vec<u32>,
    pub(super) reasons: Vec<String>,
}

impl Worker {
    /// Removes text, if this gate cleans and the image is looked at. The copy lies beside `out` while it is read.
    pub(super) fn clean(&mut self, file: &DicomFile, looked: bool, out: &Path) -> Result<Step, GateError> {
        let frames = file.header().frames;
        let as_it_is = |state| {
            Step::Done(Box::new(Pass {
                file: None,
                state,
                work: PixelWork { frames, ..PixelWork::default() },
            }))
        };
        let Some(remover) = &mut self.remover else { return Ok(as_it_is(Pixels::Unseen)) };
        if !looked {
            return Ok(as_it_is(Pixels::Sampled));
        }
        let folder = out.parent().unwrap_or(Path::new("."));
        let copy = tempfile::NamedTempFile::new_in(folder).map_err(DeidError::Write)?;
        let mut to = BufWriter::with_capacity(1 << 20, copy.as_file());
        let cleaned = match remover.clean(file, &mut self.host, &mut to) {
            Ok(cleaned) => cleaned,
            Err(error) if is_of_the_original(&error) => {
                return Ok(Step::Quarantined(vec![format!(
                    "its pixels cannot be looked at: {}. Send it in another transfer syntax, or keep it in the hospital",
                    sentence(&error)
                )]));
            }
            Err(error) => return Err(error.into()),
        };
        to.flush().map_err(DeidError::Write)?;
        drop(to);
        if cleaned.is_doubtful() {
            return Ok(Step::Quarantined(vec![
                "Burned In Annotation (0028,0301) is YES and no text was found in its pixels; a person must look, and correct the attribute or remove the text"
                    .into(),
            ]));
        }
        let file = if cleaned.regions.is_empty() { None } else { Some(reopened(copy.path())?) };
        let whole = cleaned.looked_at.len() as u64 == u64::from(cleaned.frames);
        let state = if whole { Pixels::Cleaned } else { Pixels::Sampled };
        Ok(Step::Done(Box::new(Pass { file, state, work: work(cleaned) })))
    }

    /// Has Tesseract read an object that would go out: the first, the middle and the last frame.
    pub(super) fn read_again(
        &mut self,
        tesseract: &SecondLook,
        out: &Path,
        identifying: &[(Tag, String)],
    ) -> Result<Read, GateError> {
        let mut read = Read { frames: Vec::new(), reasons: Vec::new() };
        let Opened::Dicom(file) = open(out, &ours())? else { return Ok(read) };
        let tokens: Vec<String> = identifying.iter().map(|(_, text)| text.clone()).collect();
        let last = file.header().frames.saturating_sub(1);
        let mut frames = vec![0, last / 2, last];
        frames.dedup();
        for frame in frames {
            let grid = match file.decode(frame, Resolution::Full, &mut self.host) {
                Ok(grid) => grid,
                Err(source) => {
                    let why = sentence(&PixelError::Frame { frame, source });
                    read.reasons.push(format!(
                        "the outgoing pixels cannot be read again: {why}. Send it in another transfer syntax, or keep it in the hospital"
                    ));
                    return Ok(read);
                }
            };
            let found = tesseract.still_read(&grid, &tokens)?;
            let mut tags: Vec<Tag> =
                identifying.iter().filter(|(_, text)| found.contains(text)).map(|(tag, _)| *tag).collect();
            tags.dedup();
            read.reasons.extend(tags.into_iter().map(|tag| still(tag, frame)));
            read.frames.push(frame);
        }
        Ok(read)
    }
}

fn still(tag: Tag, frame: u32) -> String {
    let keyword = StandardDataDictionary.by_tag(tag).map_or("a private attribute", |e| e.alias);
    format!(
        "Tesseract reads a value of {keyword} {tag} in frame {frame} (from 0) of the outgoing pixels; remove that text from the original, or keep it in the hospital"
    )
}

fn work(cleaned: Cleaned) -> PixelWork {
    let Cleaned { regions, frames, looked_at, pixels, size, .. } = cleaned;
    let share = pixels as f64 / size.pixels().max(1) as f64;
    PixelWork { frames, looked_at, regions, share, read_again: Vec::new() }
}

/// Opens the copy that was just written. It is read through its descriptor, so it may be gone from the folder meanwhile.
fn reopened(path: &Path) -> Result<DicomFile, GateError> {
    match open(path, &ours())? {
        Opened::Dicom(file) => Ok(file),
        Opened::Photograph(_) | Opened::Slide(_) => Err(DeidError::Photograph.into()),
    }
}

/// Limits for files that we wrote: they are as large as they are.
pub(super) fn ours() -> Limits {
    Limits { file_bytes: u64::MAX, ..Limits::default() }
}

/// Whether another try would give the same.
const fn is_of_the_original(error: &PixelError) -> bool {
    matches!(
        error,
        PixelError::Frame { .. }
            | PixelError::Pixels(_)
            | PixelError::Unsupported { .. }
            | PixelError::TooLarge { .. }
            | PixelError::Encode(_)
            | PixelError::Meta(_)
    )
}
