//! Detectors and decoders, kept between originals: one set a thread that asks.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use overread_dicom::read::CodecHost;
use overread_infer::Runtime;

use super::GateError;
use crate::pixels::{PixelError, TextRemover};

/// Makes hosts of the codecs' child.
pub type Codec = Arc<dyn Fn() -> CodecHost + Send + Sync>;

/// The text detector, ready to be opened by each thread.
#[derive(Clone)]
pub struct Detection {
    runtime: Runtime,
    threads: usize,
}

impl Detection {
    /// The detector that is part of this program, on the ONNX Runtime in a file; each session computes on so many threads.
    ///
    /// # Errors
    /// [`PixelError::Model`]: the library is missing or does not take the detector.
    pub fn load(onnxruntime: &Path, threads: usize) -> Result<Self, PixelError> {
        let runtime = Runtime::load(onnxruntime)
            .map_err(|e| PixelError::Model { path: onnxruntime.to_owned(), why: e.to_string() })?;
        let this = Self { runtime, threads };
        // A detector that cannot be opened is told now, not when the first patient waits.
        this.open()?;
        Ok(this)
    }

    /// On an ONNX Runtime that is loaded already.
    pub const fn on(runtime: Runtime, threads: usize) -> Self {
        Self { runtime, threads }
    }

    fn open(&self) -> Result<TextRemover, PixelError> {
        TextRemover::built_in(&self.runtime, self.threads)
    }
}

pub(super) struct Worker {
    pub(super) remover: Option<TextRemover>,
    pub(super) host: CodecHost,
}

pub(super) struct Workers {
    detection: Option<Detection>,
    codec: Codec,
    idle: Mutex<Vec<Worker>>,
}

impl Workers {
    pub(super) fn new(detection: Option<Detection>, codec: Codec) -> Self {
        Self { detection, codec, idle: Mutex::default() }
    }

    /// Does something with a worker that nobody else has. One that an error or a panic left behind is not used again.
    pub(super) fn with<T>(
        &self,
        work: impl FnOnce(&mut Worker) -> Result<T, GateError>,
    ) -> Result<T, GateError> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut worker = match idle {
            Some(worker) => worker,
            None => {
                let remover = self.detection.as_ref().map(Detection::open).transpose()?;
                Worker { remover, host: (self.codec)() }
            }
        };
        let done = work(&mut worker)?;
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(worker);
        Ok(done)
    }
}
