//! The parent's side of the codec process: asks it, and doubts its answers.

use std::ffi::OsString;
use std::io::{self, Read, Write};
use std::path::PathBuf;
use std::time::Duration;

use overread_domain::{GridSize, Samples};

use super::Decoded;
use super::process::{ChildProcess, Pipes};
use super::wire::{Answer, Question};
use crate::read::CodecFailure;
use crate::read::slide::SlideHost;

/// What one codec process may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CodecLimits {
    /// Address space of the process.
    pub memory_bytes: u64,
    /// Processor time for one frame.
    pub cpu_seconds: u64,
    /// Time for one frame, after which the process is killed.
    pub wall: Duration,
}

impl Default for CodecLimits {
    fn default() -> Self {
        Self { memory_bytes: 4 << 30, cpu_seconds: 60, wall: Duration::from_secs(120) }
    }
}

/// Runs the codecs that are not memory-safe in a child process, and the library for slides in another.
///
/// A child is started for the first frame that needs it, serves many, and is started anew after it
/// died or was killed. It gets no environment. One host belongs to one thread at a time.
pub struct CodecHost {
    codec: ChildProcess,
    pub(crate) slides: Option<SlideHost>,
}

/// What the host knows of the answer before it has asked.
pub(crate) struct Expected {
    pub(crate) size: GridSize,
    pub(crate) components: u16,
    pub(crate) precision: u16,
}

impl CodecHost {
    /// A host that runs `program args…` and expects it to call [`super::worker::codec_worker_main`].
    pub fn new(program: PathBuf, args: Vec<OsString>, limits: CodecLimits) -> Self {
        Self { codec: ChildProcess::new(program, args, limits), slides: None }
    }

    /// The same, with a process for slides that are no DICOM objects: it runs `program args…` and expects it to call
    /// [`crate::read::slide_worker_main`] with `OpenSlide`'s library.
    #[must_use]
    pub fn with_slides(mut self, program: PathBuf, args: Vec<OsString>, limits: CodecLimits) -> Self {
        self.slides = Some(SlideHost::new(ChildProcess::new(program, args, limits)));
        self
    }

    /// A host of the same kind for another thread.
    #[must_use]
    pub fn another(&self) -> Self {
        Self { codec: self.codec.another(), slides: self.slides.as_ref().map(SlideHost::another) }
    }

    /// The process id of the codecs' child, while there is one.
    pub fn child_id(&self) -> Option<u32> {
        self.codec.id()
    }

    /// Decodes a frame in the child.
    pub(crate) fn decode(
        &mut self,
        question: Question,
        bytes: &[u8],
        expected: &Expected,
    ) -> Result<Decoded, CodecFailure> {
        self.codec.ask(|pipes| ask(pipes, question, bytes, expected))
    }
}

fn ask(
    pipes: &mut Pipes,
    question: Question,
    bytes: &[u8],
    expected: &Expected,
) -> io::Result<Result<Decoded, CodecFailure>> {
    question.write(&mut pipes.input)?;
    pipes.input.write_all(bytes)?;
    pipes.input.flush()?;
    let answer = Answer::read(&mut pipes.output)?;
    if !answer.ok {
        return Ok(Err(refusal(pipes, &answer)?));
    }
    if let Err(why) = expected.check(&answer) {
        return Ok(Err(CodecFailure::Answer(why)));
    }
    let n = answer.bytes as usize / usize::from(answer.width);
    let samples = match answer.width {
        1 => {
            let mut v = vec![0u8; n];
            pipes.output.read_exact(&mut v)?;
            Samples::U8(v)
        }
        2 => {
            let mut v = vec![0u16; n];
            pipes.output.read_exact(bytemuck::cast_slice_mut(&mut v))?;
            Samples::U16(v)
        }
        _ => {
            let mut v = vec![0u32; n];
            pipes.output.read_exact(bytemuck::cast_slice_mut(&mut v))?;
            Samples::U32(v)
        }
    };
    Ok(Ok(Decoded { size: expected.size, samples }))
}

/// The text of a refusal.
pub(crate) fn refusal(pipes: &mut Pipes, answer: &Answer) -> io::Result<CodecFailure> {
    if answer.bytes > 4096 {
        return Ok(CodecFailure::Answer("a refusal of more than 4096 bytes".to_owned()));
    }
    let mut text = vec![0; answer.bytes as usize];
    pipes.output.read_exact(&mut text)?;
    Ok(CodecFailure::Refused(String::from_utf8_lossy(&text).into_owned()))
}

impl Expected {
    fn check(&self, answer: &Answer) -> Result<(), String> {
        let width = match self.precision {
            0..=8 => 1,
            9..=16 => 2,
            _ => 4,
        };
        let wanted = (self.size.columns, self.size.rows, self.components, width);
        let got = (answer.columns, answer.rows, answer.components, answer.width);
        let bytes = self.size.pixels() * u64::from(self.components) * u64::from(width);
        if wanted != got || bytes != answer.bytes {
            return Err(format!(
                "{}×{} pixels of {}×{} bytes instead of {}×{} of {}×{}",
                got.0, got.1, got.2, got.3, wanted.0, wanted.1, wanted.2, wanted.3
            ));
        }
        Ok(())
    }
}
