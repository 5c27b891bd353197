//! ONNX Runtime, loaded once a process from a named file.

use std::path::{Path, PathBuf};

use ort::environment::Environment;
use ort::session::Session;
use ort::session::builder::{GraphOptimizationLevel, SessionBuilder};

use crate::error::InferError;
use crate::pack::Pack;

/// The loaded library; there is one a process.
#[derive(Clone)]
pub struct Runtime {
    environment: Environment,
}

impl Runtime {
    /// Loads ONNX Runtime from a file. Telemetry is off; its log goes nowhere but to errors.
    ///
    /// # Errors
    /// The file is missing, is not ONNX Runtime, or is too old.
    pub fn load(library: &Path) -> Result<Self, InferError> {
        let runtime = |why: String| InferError::Runtime { path: library.to_owned(), why };
        if !library.is_file() {
            return Err(runtime("no such file".into()));
        }
        let environment = ort::init_from(library)
            .map_err(|e| runtime(e.to_string()))?
            .with_name("overread")
            .with_telemetry(false)
            .build()
            .map_err(|e| runtime(e.to_string()))?;
        environment.set_log_level(ort::logging::LogLevel::Error);
        Ok(Self { environment })
    }

    /// The places where the library is looked for, best first: beside the binary, then in its `lib` folder.
    pub fn candidates(binary_folder: &Path) -> [PathBuf; 2] {
        let name = format!("{}onnxruntime{}", std::env::consts::DLL_PREFIX, std::env::consts::DLL_SUFFIX);
        [binary_folder.join(&name), binary_folder.join("../lib").join(&name)]
    }

    /// A session of one of the pack's graphs, from the bytes that were hashed.
    pub(crate) fn session(&self, pack: &Pack, graph: &str, threads: usize) -> Result<Session, InferError> {
        let doing = || format!("loading {graph} of pack {}", pack.manifest.id);
        let mut builder = self.builder(threads).map_err(InferError::ort(doing()))?;
        for (location, name) in pack.external_data(graph)? {
            builder = builder
                .with_external_initializer_file_in_memory(&location, pack.file(&name)?)
                .map_err(|e| InferError::Ort { doing: doing(), source: e.into() })?;
        }
        builder.commit_from_memory(&pack.file(graph)?).map_err(InferError::ort(doing()))
    }

    /// A session of a graph in memory that needs no other file.
    pub(crate) fn plain_session(
        &self,
        name: &str,
        graph: &[u8],
        threads: usize,
    ) -> Result<Session, InferError> {
        let doing = || format!("loading {name}");
        let mut builder = self.builder(threads).map_err(InferError::ort(doing()))?;
        builder.commit_from_memory(graph).map_err(InferError::ort(doing()))
    }

    fn builder(&self, threads: usize) -> ort::Result<SessionBuilder> {
        // No spinning: the other threads of this process decode pictures meanwhile.
        Ok(Session::builder(&self.environment)?
            .with_optimization_level(GraphOptimizationLevel::All)?
            .with_intra_threads(threads)?
            .with_intra_op_spinning(false)?)
    }
}
