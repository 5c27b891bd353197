//! Running a pack over tensors.

use std::borrow::Cow;
use std::sync::Arc;

use ort::session::{Session, SessionOutputs};
use ort::value::{Outlet, TensorRef, ValueType};
use overread_domain::Explanation;

use crate::error::InferError;
use crate::head::Head;
use crate::manifest::{Activation, Layout, Model};
use crate::pack::Pack;
use crate::preprocess::Tensor;
use crate::runtime::Runtime;

/// What a pack says of one picture.
#[derive(Clone, Debug, PartialEq)]
pub struct ImageOutput {
    /// One logit a label, in the manifest's order.
    pub logits: Vec<f64>,
    /// How strange the picture is; none where the pack has no such check.
    pub out_of_distribution: Option<f64>,
    /// One map a label, where they were asked for and cost no further pass.
    pub explanations: Vec<Explanation>,
}

/// A pack with a session of its own: one a thread.
pub struct Engine {
    pack: Arc<Pack>,
    session: Session,
    /// Pictures that go through the graph at once.
    batch: usize,
}

impl Engine {
    /// Most pictures that go through a graph at once; one where the graph takes no more. More at once are no faster on a processor and
    /// take memory: ONNX Runtime sets out a plan for each size of batch.
    pub const BATCH: usize = 4;

    /// An engine whose session computes on so many threads.
    ///
    /// # Errors
    /// ONNX Runtime refuses the graph, or the graph lacks an input or output that the manifest names.
    pub fn new(runtime: &Runtime, pack: Arc<Pack>, threads: usize) -> Result<Self, InferError> {
        let session = runtime.session(&pack, pack.graph(), threads)?;
        let graph = pack.graph().to_owned();
        let missing = |name: &str, kind: &str| {
            InferError::tensor(
                name,
                &graph,
                format!("the graph has no such {kind}, though the manifest names it"),
            )
        };
        let (input, outputs) = names(&pack.manifest.model);
        if !session.inputs().iter().any(|i| i.name() == input) {
            return Err(missing(input, "input"));
        }
        if let Some(name) = outputs.iter().find(|n| !session.outputs().iter().any(|o| o.name() == **n)) {
            return Err(missing(name, "output"));
        }
        let batch = batch_of(&session, input).map_err(|why| InferError::tensor(input, &graph, why))?;
        Ok(Self { pack, session, batch })
    }

    /// The pack that it runs.
    pub const fn pack(&self) -> &Arc<Pack> {
        &self.pack
    }

    /// Runs pictures through the graph, [`Engine::BATCH`] at a time; with `explain`, a decomposable pack adds its
    /// class-activation maps from the same pass.
    ///
    /// # Errors
    /// The graph fails, or returns tensors of another shape than the manifest promises.
    pub fn run(&mut self, tensors: &[Tensor], explain: bool) -> Result<Vec<ImageOutput>, InferError> {
        let mut outputs = Vec::with_capacity(tensors.len());
        for batch in tensors.chunks(self.batch) {
            outputs.extend(self.run_batch(batch, explain)?);
        }
        Ok(outputs)
    }

    fn run_batch(&mut self, tensors: &[Tensor], explain: bool) -> Result<Vec<ImageOutput>, InferError> {
        let pack = Arc::clone(&self.pack);
        let doing = || format!("running {} of pack {}", pack.graph(), pack.manifest.id);
        let (shape, values) = joined(tensors, layout_of(&pack.manifest.model));
        let input = TensorRef::from_array_view((shape, &*values)).map_err(InferError::ort(doing()))?;
        let (name, _) = names(&pack.manifest.model);
        let outputs = self.session.run(ort::inputs![name => input]).map_err(InferError::ort(doing()))?;
        let reader = OutputReader { outputs: &outputs, graph: pack.graph(), count: tensors.len() };
        match (&pack.manifest.model, pack.head()) {
            (Model::Decomposable { features, pooled, embedding, .. }, Some(head)) => {
                decompose(&pack, head, &reader, [features, pooled, embedding], explain)
            }
            (Model::Opaque { output, activation, .. }, _) => opaque(&pack, &reader, output, *activation),
            (Model::Decomposable { head, .. }, None) => {
                Err(InferError::tensor("weight", head, "the head was not read"))
            }
        }
    }
}

/// How many pictures the graph takes at once.
fn batch_of(session: &Session, input: &str) -> Result<usize, String> {
    let dtype = session.inputs().iter().find(|i| i.name() == input).map(Outlet::dtype);
    match dtype.and_then(ValueType::tensor_shape).and_then(|shape| shape.first().copied()) {
        Some(1) => Ok(1),
        Some(fixed) if fixed > 1 => Err(format!(
            "takes exactly {fixed} pictures at once; export the graph with a batch of 1, or of any size"
        )),
        _ => Ok(Engine::BATCH),
    }
}

const fn layout_of(model: &Model) -> Layout {
    match model {
        Model::Opaque { layout, .. } => *layout,
        Model::Decomposable { .. } => Layout::Nchw,
    }
}

/// Pictures one after another, as a graph of a layout takes them.
fn joined(tensors: &[Tensor], layout: Layout) -> ([usize; 4], Cow<'_, [f32]>) {
    let [channels, height, width] = tensors[0].shape;
    match layout {
        Layout::Nchw => {
            let shape = [tensors.len(), channels, height, width];
            match tensors {
                [one] => (shape, Cow::Borrowed(&one.values)),
                many => {
                    let parts: Vec<&[f32]> = many.iter().map(|t| t.values.as_slice()).collect();
                    (shape, Cow::Owned(parts.concat()))
                }
            }
        }
        Layout::Nhwc => {
            let plane = height * width;
            let mut values = Vec::with_capacity(tensors.len() * channels * plane);
            for tensor in tensors {
                values.extend(
                    (0..plane * channels).map(|i| tensor.values[i % channels * plane + i / channels]),
                );
            }
            ([tensors.len(), height, width, channels], Cow::Owned(values))
        }
    }
}

fn names(model: &Model) -> (&str, Vec<&str>) {
    match model {
        Model::Decomposable { input, features, pooled, embedding, .. } => {
            (input, vec![features, pooled, embedding])
        }
        Model::Opaque { input, output, .. } => (input, vec![output]),
    }
}

/// Reads outputs by name and cuts them by picture.
struct OutputReader<'a, 'r> {
    outputs: &'a SessionOutputs<'r>,
    graph: &'a str,
    count: usize,
}

impl OutputReader<'_, '_> {
    /// The values of one output and its shape after the first dimension.
    fn get(&self, name: &str) -> Result<(Vec<usize>, &[f32]), InferError> {
        let wrong = |why: String| InferError::tensor(name, self.graph, why);
        let value = self.outputs.get(name).ok_or_else(|| wrong("was not returned".into()))?;
        let (shape, values) = value.try_extract_tensor::<f32>().map_err(|e| wrong(e.to_string()))?;
        let sizes: Vec<usize> = shape.iter().map(|n| usize::try_from(*n).unwrap_or(0)).collect();
        match sizes.split_first() {
            Some((first, rest)) if *first == self.count && !rest.is_empty() => Ok((rest.to_vec(), values)),
            _ => Err(wrong(format!("has shape {sizes:?} for {} pictures", self.count))),
        }
    }

    /// The rows of an output that must have this many columns; finite, or the picture is refused loudly.
    fn rows(&self, name: &str, columns: usize) -> Result<std::slice::ChunksExact<'_, f32>, InferError> {
        let (shape, values) = self.get(name)?;
        if shape != [columns] {
            return Err(InferError::tensor(
                name,
                self.graph,
                format!("has {shape:?} numbers a picture, {columns} are expected"),
            ));
        }
        if values.iter().any(|v| !v.is_finite()) {
            return Err(InferError::tensor(name, self.graph, "holds a number that is not finite"));
        }
        Ok(values.chunks_exact(columns))
    }
}

fn decompose(
    pack: &Pack,
    head: &Head,
    reader: &OutputReader<'_, '_>,
    [features, pooled, embedding]: [&String; 3],
    explain: bool,
) -> Result<Vec<ImageOutput>, InferError> {
    let mut outputs: Vec<ImageOutput> = reader
        .rows(pooled, head.features())?
        .map(|row| ImageOutput { logits: head.logits(row), out_of_distribution: None, explanations: vec![] })
        .collect();
    if let Some(model) = head.out_of_distribution() {
        for (output, row) in outputs.iter_mut().zip(reader.rows(embedding, model.dimension())?) {
            output.out_of_distribution = Some(model.score(row));
        }
    }
    if !explain {
        return Ok(outputs);
    }
    let (shape, maps) = reader.get(features)?;
    let [channels, rows, columns] = shape[..] else {
        return Err(InferError::tensor(
            features,
            reader.graph,
            format!("has shape {shape:?}, channels, rows and columns are expected"),
        ));
    };
    if channels != head.features() || rows * columns == 0 {
        return Err(InferError::tensor(
            features,
            reader.graph,
            format!("has {channels} channels, the head takes {}", head.features()),
        ));
    }
    for (output, map) in outputs.iter_mut().zip(maps.chunks_exact(channels * rows * columns)) {
        let labels = pack.manifest.findings.iter().enumerate();
        output.explanations = labels
            .filter_map(|(i, spec)| head.activation_map(i, &spec.label, map, (columns, rows)))
            .collect();
    }
    Ok(outputs)
}

fn opaque(
    pack: &Pack,
    reader: &OutputReader<'_, '_>,
    output: &str,
    activation: Activation,
) -> Result<Vec<ImageOutput>, InferError> {
    let rows = reader.rows(output, pack.manifest.findings.len())?;
    Ok(rows
        .map(|row| ImageOutput {
            logits: log_odds(row, activation),
            out_of_distribution: None,
            explanations: vec![],
        })
        .collect())
}

/// The log odds of each label, whatever the graph returns.
fn log_odds(row: &[f32], activation: Activation) -> Vec<f64> {
    let row: Vec<f64> = row.iter().map(|v| f64::from(*v)).collect();
    match activation {
        Activation::Logits => row,
        Activation::Probabilities => {
            row.iter().map(|p| p.clamp(1e-7, 1.0 - 1e-7)).map(|p| (p / (1.0 - p)).ln()).collect()
        }
        Activation::SoftmaxLogits => (0..row.len())
            .map(|i| {
                let others = || row.iter().enumerate().filter(|(j, _)| *j != i).map(|(_, v)| *v);
                let top = others().fold(f64::NEG_INFINITY, f64::max);
                row[i] - top - others().map(|v| (v - top).exp()).sum::<f64>().ln()
            })
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channels_come_last_where_the_graph_wants_it() {
        let tensor =
            |from: u8| Tensor { shape: [2, 1, 2], values: (from..from + 4).map(f32::from).collect() };
        let two = [tensor(0), tensor(4)];
        let (shape, values) = joined(&two, Layout::Nhwc);
        assert_eq!((shape, &*values), ([2, 1, 2, 2], &[0.0, 2.0, 1.0, 3.0, 4.0, 6.0, 5.0, 7.0][..]));
        assert_eq!(joined(&[tensor(0)], Layout::Nchw), ([1, 2, 1, 2], Cow::Owned(vec![0.0, 1.0, 2.0, 3.0])));
    }

    #[test]
    fn log_odds_agree_over_activations() {
        let logits = [1.0f32, -0.5, 2.0];
        let sum: f64 = logits.iter().map(|l| f64::from(*l).exp()).sum();
        let probabilities: Vec<f32> = logits.iter().map(|l| (f64::from(*l).exp() / sum) as f32).collect();
        let a = log_odds(&logits, Activation::SoftmaxLogits);
        let b = log_odds(&probabilities, Activation::Probabilities);
        assert!(a.iter().zip(&b).all(|(x, y)| (x - y).abs() < 1e-5), "{a:?} {b:?}");
    }
}
