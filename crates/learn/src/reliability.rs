//! Whether 30% means three in ten: reliability diagram, Brier score (Brier 1950), expected calibration error (Naeini and others 2015).

use overread_domain::Probability;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::share::Share;

/// Bins of the diagram, of equal width.
const BINS: usize = 10;

/// How probabilities compare with what was found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Reliability {
    /// The share of positive cases, which the probabilities were moved to: a pack that is told the right prevalence.
    pub prevalence: f64,
    /// Mean squared distance of probability and truth, 0 is best.
    pub brier: f64,
    /// The Brier score of saying the prevalence each time: what is to be beaten.
    pub brier_of_prevalence: f64,
    /// Mean distance of probability and share over the bins, weighted by their cases, 0 is best.
    pub expected_calibration_error: f64,
    /// Bins that hold cases.
    pub bins: Vec<Bin>,
}

/// One bin of the diagram.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Bin {
    /// Above this probability (the first bin holds 0 too).
    pub from: f64,
    /// Up to this one.
    pub to: f64,
    /// Mean probability of its cases.
    pub mean: f64,
    /// Share of positive cases.
    pub observed: Share,
}

/// The reliability of (truth, probability) pairs; none for no pairs.
pub fn reliability(cases: impl Iterator<Item = (bool, Probability)>) -> Option<Reliability> {
    let mut sums = [(0u64, 0u64, 0.0); BINS];
    let (mut n, mut positives, mut squares) = (0u64, 0u64, 0.0);
    for (truth, p) in cases {
        let p = p.get();
        let bin = &mut sums[((p * BINS as f64).ceil() as usize).clamp(1, BINS) - 1];
        bin.0 += 1;
        bin.1 += u64::from(truth);
        bin.2 += p;
        n += 1;
        positives += u64::from(truth);
        squares += (p - f64::from(u8::from(truth))).powi(2);
    }
    if n == 0 {
        return None;
    }
    let bins: Vec<Bin> = (0..BINS).zip(sums).filter(|(_, sum)| sum.0 > 0).map(bin).collect();
    let gap =
        |b: &Bin| b.observed.of as f64 * (b.mean - b.observed.count as f64 / b.observed.of as f64).abs();
    let prevalence = positives as f64 / n as f64;
    Some(Reliability {
        prevalence,
        brier: squares / n as f64,
        brier_of_prevalence: prevalence * (1.0 - prevalence),
        expected_calibration_error: bins.iter().map(gap).sum::<f64>() / n as f64,
        bins,
    })
}

fn bin((index, (cases, positives, sum)): (usize, (u64, u64, f64))) -> Bin {
    let edge = |i: usize| i as f64 / BINS as f64;
    Bin {
        from: edge(index),
        to: edge(index + 1),
        mean: sum / cases as f64,
        observed: Share::new(positives, cases),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn p(v: f64) -> Probability {
        Probability::new(v).unwrap()
    }

    #[test]
    fn a_hand_computed_diagram() {
        let found = reliability([(true, p(0.9)), (false, p(0.85)), (false, p(0.0))].into_iter()).unwrap();
        assert_eq!(found.bins.len(), 2);
        assert_eq!((found.bins[0].from, found.bins[1].from), (0.0, 0.8));
        // The upper bin: mean 0.875, one of two positive; the lower is right.
        assert!((found.expected_calibration_error - 2.0 * 0.375 / 3.0).abs() < 1e-12);
        assert!((found.brier - (0.01 + 0.7225) / 3.0).abs() < 1e-12);
        assert!(reliability(std::iter::empty()).is_none());
    }
}
