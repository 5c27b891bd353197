//! What reads studies, as the rest of the service sees it.

use std::path::PathBuf;

use futures::future::BoxFuture;
use overread_domain::{Finding, NotAssessed, Uid};
use overread_read::pictures::CapturePicture;
use overread_read::{Overrides, Program};
use overread_wire::AlgorithmReference;
use serde::{Deserialize, Serialize};

/// A study whose files lie ready.
#[derive(Clone)]
pub struct StudyToRead {
    /// Pseudonymous Study Instance UID.
    pub uid: Uid,
    /// Its files, in the manifest's order.
    pub files: Vec<PathBuf>,
    /// What the manifest tells beside them.
    pub overrides: Overrides,
    /// The programs to read it under.
    pub programs: Vec<Program>,
    /// Whether the programs were named for this study: then each answers, if only why it does not read it. Else only those answer that take an image.
    pub named: bool,
}

/// What came of reading a study.
#[derive(Clone, Debug)]
pub struct Answers {
    /// One for each program that read.
    pub answers: Vec<Answer>,
    /// Why images could not be opened, by position.
    pub lost: Vec<String>,
}

/// What one program says.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The program.
    pub program: String,
    /// Its reading; else how its pack failed, which is no word about the study.
    pub outcome: Result<Reading, String>,
}

/// One program's reading of a study.
#[derive(Clone, Debug)]
pub struct Reading {
    /// Who read.
    pub algorithm: AlgorithmReference,
    /// One a label.
    pub findings: Vec<Finding>,
    /// Why there is no answer.
    pub not_assessed: Option<NotAssessed>,
    /// The files that were looked at, by position from 0.
    pub images: Vec<usize>,
    /// Pictures of why.
    pub captures: Vec<CapturePicture>,
    /// What could not be read, by position.
    pub warnings: Vec<String>,
    /// Where the time went.
    pub timings: Timings,
}

/// Milliseconds spent on a reading.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Timings {
    /// Opening files and decoding pixels.
    pub decode_ms: f64,
    /// From pixels to tensors.
    pub preprocess_ms: f64,
    /// The graph.
    pub inference_ms: f64,
    /// Explanations that need passes of their own.
    pub explain_ms: f64,
    /// Drawing and encoding the pictures.
    pub picture_ms: f64,
}

/// Why a study was not read: nothing is known of it then.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadFailure {
    /// The thread that read it panicked.
    #[error("the thread that read the study panicked")]
    Panicked,
    /// There is no thread any more: the service ends.
    #[error("the service is shutting down")]
    Closed,
}

/// Reads studies: threads with models in the service, anything in a test.
pub trait ReadStudy: Send + Sync + 'static {
    /// Reads a study.
    fn read(&self, study: StudyToRead) -> BoxFuture<'_, Result<Answers, ReadFailure>>;
}
