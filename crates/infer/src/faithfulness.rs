//! Does an explanation point at what the answer rests on? The deletion test (Petsiuk 2018, RISE) against two maps that
//! know nothing of the picture: random ones, and one that simply prefers the centre.

use overread_domain::{Explanation, Probability};
use serde::Serialize;

use crate::engine::{Engine, ImageOutput};
use crate::error::InferError;
use crate::explain::{mean_cover, with_cells_replaced};
use crate::preprocess::Tensor;

/// Steps of the deletion curve.
const STEPS: usize = 12;
/// Random maps that are averaged.
const RANDOM_MAPS: u64 = 4;

/// Areas under deletion curves: the mean probability while the picture is replaced by its mean, cell by cell, from what the map
/// holds most important. The lower the area, the more the map pointed at what mattered.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Faithfulness {
    /// The label of the map.
    pub label: String,
    /// Area under the map's curve.
    pub deletion_auc: f64,
    /// Area for random maps, the mean of several.
    pub random_auc: f64,
    /// Area for a map that prefers the centre.
    pub centre_auc: f64,
    /// How much the map beats the better of the two; above zero it is faithful.
    pub score: f64,
}

/// The deletion test of one map.
///
/// # Errors
/// The graph fails.
pub fn deletion(
    engine: &mut Engine,
    tensor: &Tensor,
    map: &Explanation,
    label: usize,
) -> Result<Faithfulness, InferError> {
    let cover = mean_cover(tensor);
    let order = descending(&map.values);
    let deletion_auc = area(engine, tensor, &cover, map.grid, &order, label)?;
    let centre_auc = area(engine, tensor, &cover, map.grid, &descending(&centre(map.grid)), label)?;
    let mut random_auc = 0.0;
    for seed in 0..RANDOM_MAPS {
        let order = descending(&random(map.values.len(), seed));
        random_auc += area(engine, tensor, &cover, map.grid, &order, label)? / RANDOM_MAPS as f64;
    }
    let score = random_auc.min(centre_auc) - deletion_auc;
    Ok(Faithfulness { label: map.label.clone(), deletion_auc, random_auc, centre_auc, score })
}

fn area(
    engine: &mut Engine,
    tensor: &Tensor,
    cover: &Tensor,
    grid: (usize, usize),
    order: &[usize],
    label: usize,
) -> Result<f64, InferError> {
    let stages: Vec<Tensor> = (0..=STEPS)
        .map(|step| with_cells_replaced(tensor, cover, grid, &order[..order.len() * step / STEPS]))
        .collect();
    let outputs = engine.run(&stages, false)?;
    let calibration = engine.pack().manifest.findings[label].calibration;
    let (slope, intercept) = calibration.map_or((1.0, 0.0), |c| (c.slope, c.intercept));
    let probability = |o: &ImageOutput| Probability::from_logit(slope * o.logits[label] + intercept).get();
    let curve: Vec<f64> = outputs.iter().map(probability).collect();
    // Trapezoids over equal steps.
    Ok(curve.windows(2).map(|w| f64::midpoint(w[0], w[1])).sum::<f64>() / STEPS as f64)
}

fn descending(values: &[f32]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|a, b| values[*b].total_cmp(&values[*a]));
    order
}

fn centre((across, down): (usize, usize)) -> Vec<f32> {
    (0..across * down)
        .map(|cell| {
            let x = (cell % across) as f32 + 0.5 - across as f32 / 2.0;
            let y = (cell / across) as f32 + 0.5 - down as f32 / 2.0;
            -(x * x + y * y)
        })
        .collect()
}

/// Numbers that look random and are the same every time (SplitMix64, Steele 2014).
fn random(count: usize, seed: u64) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(1);
    (0..count)
        .map(|_| {
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut z = state;
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            (z >> 40) as f32
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_centre_comes_first() {
        let order = descending(&centre((3, 3)));
        assert_eq!(order[0], 4);
    }
}
