//! A plain graph: one tensor in, one tensor out, without a pack around it.
//!
//! For models that are part of the product and no reader's: their file is pinned by hash in the code that uses them.

use ort::session::Session;
use ort::value::TensorRef;

use crate::error::InferError;
use crate::onnx;
use crate::runtime::Runtime;

/// A graph with a session of its own: one a thread.
pub struct Graph {
    name: String,
    input: String,
    output: String,
    session: Session,
}

impl Graph {
    /// A session of a graph in memory; `name` is what errors call it. Its first input and first output are used.
    ///
    /// # Errors
    /// The bytes are no ONNX graph, want files or operators from elsewhere, or ONNX Runtime refuses them.
    pub fn new(runtime: &Runtime, name: &str, bytes: &[u8], threads: usize) -> Result<Self, InferError> {
        let refused = |why: String| InferError::Refused { path: name.into(), why };
        let external = onnx::inspect(bytes).map_err(refused)?;
        if !external.is_empty() {
            return Err(refused("keeps its weights in other files; take a graph that holds them".into()));
        }
        let session = runtime.plain_session(name, bytes, threads)?;
        let missing = |kind: &str| refused(format!("has no {kind}; export it again"));
        let input = session.inputs().first().ok_or_else(|| missing("input"))?.name().to_owned();
        let output = session.outputs().first().ok_or_else(|| missing("output"))?.name().to_owned();
        Ok(Self { name: name.to_owned(), input, output, session })
    }

    /// Runs one tensor of a shape through the graph: the shape and the values of what comes out.
    ///
    /// # Errors
    /// The graph fails, or returns something else than finite 32-bit floats.
    pub fn run(&mut self, shape: &[usize], values: &[f32]) -> Result<(Vec<usize>, Vec<f32>), InferError> {
        let doing = || format!("running {}", self.name);
        let input = TensorRef::from_array_view((shape, values)).map_err(InferError::ort(doing()))?;
        let outputs = self
            .session
            .run(ort::inputs![self.input.as_str() => input])
            .map_err(InferError::ort(format!("running {}", self.name)))?;
        let wrong = |why: String| InferError::tensor(&self.output, &self.name, why);
        let value = outputs.get(&self.output).ok_or_else(|| wrong("was not returned".into()))?;
        let (sizes, values) = value.try_extract_tensor::<f32>().map_err(|e| wrong(e.to_string()))?;
        if values.iter().any(|v| !v.is_finite()) {
            return Err(wrong("holds a number that is not finite".into()));
        }
        Ok((sizes.iter().map(|n| usize::try_from(*n).unwrap_or(0)).collect(), values.to_vec()))
    }
}
