//! Explanations of packs whose inside is unknown: what the answer loses when a part of the picture is covered.

use overread_domain::Explanation;

use crate::engine::Engine;
use crate::error::InferError;
use crate::preprocess::Tensor;

/// Cells across and down of an occlusion map.
const GRID: usize = 8;

/// Occlusion maps (Zeiler and Fergus 2014), one a label: the logit lost when a cell is replaced by the picture's mean.
/// Costs `GRID × GRID + 1` passes, batched.
///
/// # Errors
/// The graph fails.
pub fn occlusion(engine: &mut Engine, tensor: &Tensor) -> Result<Vec<Explanation>, InferError> {
    let grid = (GRID, GRID);
    let whole = engine.run(std::slice::from_ref(tensor), false)?;
    let cover = mean_cover(tensor);
    let covered: Vec<Tensor> =
        (0..GRID * GRID).map(|cell| with_cells_replaced(tensor, &cover, grid, &[cell])).collect();
    let parts = engine.run(&covered, false)?;
    let labels = engine.pack().manifest.findings.iter().enumerate();
    Ok(labels
        .map(|(i, spec)| Explanation {
            label: spec.label.clone(),
            method: "occlusion".into(),
            grid,
            values: parts.iter().map(|part| (whole[0].logits[i] - part.logits[i]) as f32).collect(),
        })
        .collect())
}

/// A picture of the same shape that holds each channel's mean.
pub(crate) fn mean_cover(tensor: &Tensor) -> Tensor {
    let plane = tensor.shape[1] * tensor.shape[2];
    let values = tensor
        .values
        .chunks_exact(plane)
        .flat_map(|channel| {
            let mean = channel.iter().sum::<f32>() / plane as f32;
            std::iter::repeat_n(mean, plane)
        })
        .collect();
    Tensor { shape: tensor.shape, values }
}

/// The picture with some cells of a grid taken from another picture.
pub(crate) fn with_cells_replaced(
    tensor: &Tensor,
    cover: &Tensor,
    (across, down): (usize, usize),
    cells: &[usize],
) -> Tensor {
    let [_, height, width] = tensor.shape;
    let mut out = tensor.clone();
    for cell in cells {
        let (column, row) = (cell % across, cell / across);
        let (left, right) = (column * width / across, (column + 1) * width / across);
        let (top, bottom) = (row * height / down, (row + 1) * height / down);
        for (to, from) in
            out.values.chunks_exact_mut(height * width).zip(cover.values.chunks_exact(height * width))
        {
            for y in top..bottom {
                to[y * width + left..y * width + right]
                    .copy_from_slice(&from[y * width + left..y * width + right]);
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replaced_cells_and_only_they_change() {
        let tensor = Tensor { shape: [1, 4, 4], values: (0..16).map(|v| v as f32).collect() };
        let cover = Tensor { shape: [1, 4, 4], values: vec![-1.0; 16] };
        let out = with_cells_replaced(&tensor, &cover, (2, 2), &[1]);
        let changed: Vec<usize> = (0..16).filter(|i| out.values[*i] < 0.0).collect();
        assert_eq!(changed, [2, 3, 6, 7]);
    }
}
