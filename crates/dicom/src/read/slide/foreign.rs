//! The parent's side of the process that holds OpenSlide: asks it, and doubts its answers.

use std::io::{self, Read, Write};
use std::path::Path;

use overread_domain::GridSize;

use super::{Described, SlideLevel};
use crate::read::codec::host::refusal;
use crate::read::codec::process::{ChildProcess, Pipes};
use crate::read::codec::wire::Answer;
use crate::read::{CodecFailure, ReadError};

/// A description is a few lines; a slide has some ten levels.
const DESCRIPTION_BYTES: u64 = 64 << 10;
/// A scanner's colour profile is some hundred kilobytes.
pub(super) const PROFILE_BYTES: usize = 16 << 20;

/// Asks OpenSlide in a child process.
pub(crate) struct SlideHost {
    process: ChildProcess,
}

/// What the child is asked. It keeps the last slide open, so that a question holds all there is to know.
#[derive(Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub(super) struct Question {
    /// The slide.
    pub(super) path: std::path::PathBuf,
    pub(super) wanted: Wanted,
}

/// What of the slide.
#[derive(Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub(super) enum Wanted {
    /// Its levels and the size of its pixels.
    Description,
    /// A part of it.
    Region(Region),
    /// Its colour profile.
    IccProfile,
}

/// A part of a level, as `openslide_read_region` takes it.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub(super) struct Region {
    pub(super) level: u32,
    /// In pixels of the full resolution.
    pub(super) left: i64,
    pub(super) top: i64,
    /// In pixels of the level.
    pub(super) columns: u32,
    pub(super) rows: u32,
}

/// The child's answer to [`Wanted::Description`].
#[derive(Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub(super) struct Description {
    /// Columns, rows and downsample of each level.
    pub(super) levels: Vec<(u32, u32, f64)>,
    /// Side of a pixel across and down, in micrometres.
    pub(super) microns_per_pixel: Option<(f64, f64)>,
}

impl SlideHost {
    pub(crate) const fn new(process: ChildProcess) -> Self {
        Self { process }
    }

    pub(crate) fn another(&self) -> Self {
        Self { process: self.process.another() }
    }

    pub(super) fn describe(&mut self, path: &Path) -> Result<Described, ReadError> {
        let question = Question { path: path.to_owned(), wanted: Wanted::Description };
        let bytes = self.ask(&question, |answer| answer.bytes <= DESCRIPTION_BYTES)?;
        let wrong = |why: String| ReadError::Slide { why };
        let told: Description = serde_json::from_slice(&bytes).map_err(|e| wrong(e.to_string()))?;
        let levels: Vec<SlideLevel> = told
            .levels
            .into_iter()
            .map(|(columns, rows, downsample)| SlideLevel { size: GridSize::new(columns, rows), downsample })
            .collect();
        let plain = |l: &SlideLevel| l.size.pixels() > 0 && l.downsample.is_finite() && l.downsample >= 1.0;
        if levels.is_empty() || !levels.iter().all(plain) {
            return Err(wrong("its levels have sizes that cannot be meant".to_owned()));
        }
        let microns_per_pixel = told.microns_per_pixel.filter(|(across, down)| *across > 0.0 && *down > 0.0);
        Ok(Described { levels, microns_per_pixel })
    }

    /// The colour profile; empty where there is none.
    pub(super) fn icc_profile(&mut self, path: &Path) -> Result<Vec<u8>, ReadError> {
        let question = Question { path: path.to_owned(), wanted: Wanted::IccProfile };
        self.ask(&question, |answer| answer.bytes <= PROFILE_BYTES as u64)
    }

    /// RGB of a part; `left` and `top` in pixels of the full resolution, `size` in those of the level.
    pub(super) fn region(
        &mut self,
        path: &Path,
        level: usize,
        left: i64,
        top: i64,
        size: GridSize,
    ) -> Result<Vec<u8>, ReadError> {
        let region = Region { level: level as u32, left, top, columns: size.columns, rows: size.rows };
        let question = Question { path: path.to_owned(), wanted: Wanted::Region(region) };
        let wanted = size.pixels() * 3;
        self.ask(&question, |a| (a.columns, a.rows, a.bytes) == (size.columns, size.rows, wanted))
    }

    /// The bytes of an answer that fits.
    fn ask(&mut self, question: &Question, fits: impl Fn(&Answer) -> bool) -> Result<Vec<u8>, ReadError> {
        let talk = |pipes: &mut Pipes| -> io::Result<Result<Vec<u8>, CodecFailure>> {
            let text = serde_json::to_vec(question)?;
            pipes.input.write_all(&(text.len() as u32).to_le_bytes())?;
            pipes.input.write_all(&text)?;
            pipes.input.flush()?;
            let answer = Answer::read(&mut pipes.output)?;
            if !answer.ok {
                return Ok(Err(refusal(pipes, &answer)?));
            }
            if !fits(&answer) {
                return Ok(Err(CodecFailure::Answer(format!("{} bytes", answer.bytes))));
            }
            let mut bytes = vec![0; answer.bytes as usize];
            pipes.output.read_exact(&mut bytes)?;
            Ok(Ok(bytes))
        };
        self.process.ask(talk).map_err(|failure| match failure {
            CodecFailure::Refused(why) => ReadError::Slide { why },
            failure => ReadError::SlideProcess { source: failure },
        })
    }
}
