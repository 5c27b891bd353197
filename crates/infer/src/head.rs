//! The linear head of a decomposable pack and its out-of-distribution model, kept outside the graph.

use overread_domain::Explanation;
use safetensors::{Dtype, SafeTensors};

use crate::abstention::PpcaMahalanobis;
use crate::error::InferError;
use crate::manifest::{Manifest, OutOfDistribution};

/// `logit[l] = weight[l] · pooled + bias[l]`.
pub struct Head {
    weight: Matrix,
    bias: Vec<f32>,
    out_of_distribution: Option<PpcaMahalanobis>,
}

/// Rows of equal length.
pub(crate) struct Matrix {
    values: Vec<f32>,
    columns: usize,
}

impl Matrix {
    pub(crate) fn rows(&self) -> impl ExactSizeIterator<Item = &[f32]> {
        self.values.chunks_exact(self.columns)
    }

    pub(crate) const fn columns(&self) -> usize {
        self.columns
    }
}

impl Head {
    /// Reads the head's safetensors file.
    ///
    /// # Errors
    /// A tensor that is missing, is not float32 or does not fit the manifest, by name.
    pub fn parse(file: &str, bytes: &[u8], manifest: &Manifest) -> Result<Self, InferError> {
        let tensors =
            SafeTensors::deserialize(bytes).map_err(|e| InferError::tensor("*", file, e.to_string()))?;
        let weight = matrix(&tensors, file, "weight")?;
        let bias = vector(&tensors, file, "bias")?;
        let labels = manifest.findings.len();
        if weight.rows().len() != labels || bias.len() != labels {
            return Err(InferError::tensor(
                "weight",
                file,
                format!(
                    "has {} rows and {} biases for {labels} findings of the manifest",
                    weight.rows().len(),
                    bias.len()
                ),
            ));
        }
        let out_of_distribution = match &manifest.out_of_distribution {
            Some(spec) => Some(ppca(&tensors, file, spec)?),
            None => None,
        };
        Ok(Self { weight, bias, out_of_distribution })
    }

    /// Length of the pooled vector that it takes.
    pub const fn features(&self) -> usize {
        self.weight.columns()
    }

    /// One logit a label.
    pub fn logits(&self, pooled: &[f32]) -> Vec<f64> {
        self.weight.rows().zip(&self.bias).map(|(row, bias)| dot(row, pooled) + f64::from(*bias)).collect()
    }

    /// The class-activation map of a label (Zhou 2016) over a feature map `[features, rows × columns]`: what each cell
    /// adds to the logit. The cells and the bias add up to the logit exactly, because pooling is a mean and the head is linear.
    pub fn activation_map(
        &self,
        label: usize,
        name: &str,
        map: &[f32],
        grid: (usize, usize),
    ) -> Option<Explanation> {
        let row = self.weight.rows().nth(label)?;
        let cells = grid.0 * grid.1;
        let mut values = vec![0f32; cells];
        for (w, channel) in row.iter().zip(map.chunks_exact(cells)) {
            for (value, activation) in values.iter_mut().zip(channel) {
                *value += w * activation;
            }
        }
        values.iter_mut().for_each(|v| *v /= cells as f32);
        Some(Explanation { label: name.into(), method: "class-activation-map".into(), grid, values })
    }

    /// The out-of-distribution model, where the pack has one.
    pub const fn out_of_distribution(&self) -> Option<&PpcaMahalanobis> {
        self.out_of_distribution.as_ref()
    }
}

pub(crate) fn dot(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(x, y)| f64::from(*x) * f64::from(*y)).sum()
}

fn ppca(tensors: &SafeTensors, file: &str, spec: &OutOfDistribution) -> Result<PpcaMahalanobis, InferError> {
    let mean = vector(tensors, file, "ood.mean")?;
    let components = matrix(tensors, file, "ood.components")?;
    let variance = vector(tensors, file, "ood.variance")?;
    if components.columns() != mean.len() || components.rows().len() != variance.len() {
        return Err(InferError::tensor(
            "ood.components",
            file,
            "its rows fit ood.variance and its columns fit ood.mean in a good pack; export it again",
        ));
    }
    if variance.iter().any(|v| *v <= 0.0) || spec.residual_variance <= 0.0 {
        return Err(InferError::tensor("ood.variance", file, "variances are above 0; export it again"));
    }
    Ok(PpcaMahalanobis { mean, components, variance, residual_variance: spec.residual_variance })
}

fn floats(tensors: &SafeTensors, file: &str, name: &str) -> Result<(Vec<f32>, Vec<usize>), InferError> {
    let view = tensors
        .tensor(name)
        .map_err(|_| InferError::tensor(name, file, "missing; export the pack again, or fetch it again"))?;
    if view.dtype() != Dtype::F32 {
        return Err(InferError::tensor(name, file, format!("is {:?}, must be F32", view.dtype())));
    }
    let values: Vec<f32> =
        view.data().chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect();
    if values.iter().any(|v| !v.is_finite()) {
        return Err(InferError::tensor(name, file, "holds a number that is not finite; export it again"));
    }
    Ok((values, view.shape().to_vec()))
}

fn vector(tensors: &SafeTensors, file: &str, name: &str) -> Result<Vec<f32>, InferError> {
    let (values, shape) = floats(tensors, file, name)?;
    if shape.len() != 1 {
        return Err(InferError::tensor(name, file, format!("has shape {shape:?}, must have one dimension")));
    }
    Ok(values)
}

fn matrix(tensors: &SafeTensors, file: &str, name: &str) -> Result<Matrix, InferError> {
    let (values, shape) = floats(tensors, file, name)?;
    match shape[..] {
        [_, columns] if columns > 0 => Ok(Matrix { values, columns }),
        _ => Err(InferError::tensor(name, file, format!("has shape {shape:?}, must have two dimensions"))),
    }
}
