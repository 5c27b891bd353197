//! What can go wrong with a pack or its run.

use std::path::PathBuf;

/// An error of this room. It names the pack's file, key or tensor; it never holds anything of a patient.
#[derive(Debug, thiserror::Error)]
pub enum InferError {
    /// A file of the pack cannot be read.
    #[error("pack file {path}: cannot be read; check that the pack is complete and readable")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A pack that is too large, too deep or holds what a pack must not hold.
    #[error("pack file {path}: {why}")]
    Refused {
        /// The file.
        path: PathBuf,
        /// What is wrong and what to do.
        why: String,
    },
    /// A manifest that does not say what it must.
    #[error("pack manifest {path}: {why}")]
    Manifest {
        /// The file.
        path: PathBuf,
        /// The key and what is wrong with it.
        why: String,
    },
    /// A tensor that is missing or has the wrong shape or type.
    #[error("tensor {name} in {file}: {why}")]
    Tensor {
        /// The tensor.
        name: String,
        /// The file it should be in.
        file: String,
        /// What is wrong.
        why: String,
    },
    /// A signature that does not fit.
    #[error("pack signature: {0}")]
    Signature(String),
    /// A trust list that cannot be read.
    #[error("trust list: {0}")]
    Trust(String),
    /// ONNX Runtime could not be loaded.
    #[error(
        "ONNX Runtime: {why} (looked at {path}); run the set-up, or name the library with OVERREAD_ONNXRUNTIME"
    )]
    Runtime {
        /// The library file.
        path: PathBuf,
        /// What went wrong.
        why: String,
    },
    /// ONNX Runtime refused a graph or failed in a run.
    #[error("ONNX Runtime, {doing}")]
    Ort {
        /// What was being done, with the graph's name.
        doing: String,
        /// Its own words.
        source: ort::Error,
    },
    /// A picture that the preprocessing cannot take.
    #[error("preprocessing: {0}")]
    Preprocess(String),
}

impl InferError {
    pub(crate) fn tensor(name: &str, file: &str, why: impl Into<String>) -> Self {
        Self::Tensor { name: name.into(), file: file.into(), why: why.into() }
    }

    pub(crate) fn ort(doing: impl Into<String>) -> impl FnOnce(ort::Error) -> Self {
        let doing = doing.into();
        move |source| Self::Ort { doing, source }
    }
}
