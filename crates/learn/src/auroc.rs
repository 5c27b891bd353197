//! Area under the receiver operating characteristic curve, its interval, and the difference of two on the same cases.
//!
//! DeLong, DeLong and Clarke-Pearson (Biometrics 1988), computed by midranks in O(n log n) as Sun and Xu (IEEE Signal Processing Letters 2014)
//! do. Intervals are Wald intervals of the logit, which stay within 0 to 1 and keep their coverage near 1.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::normal;

/// Area under the receiver operating characteristic curve.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Auroc {
    /// The area, 0 to 1; null where there are no positive or no negative cases.
    pub value: Option<f64>,
    /// Lower end of the 95% interval; null where `note` says why.
    pub low: Option<f64>,
    /// Upper end.
    pub high: Option<f64>,
    /// Why there is no area or no interval.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// Two areas over the same cases.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct AurocDifference {
    /// The first one's area; null where a class is missing.
    pub first: Option<f64>,
    /// The second one's.
    pub second: Option<f64>,
    /// Second less first.
    pub difference: Option<f64>,
    /// Lower end of the 95% interval of the difference; null where the difference has no variance.
    pub low: Option<f64>,
    /// Upper end.
    pub high: Option<f64>,
    /// Two-sided p value of no difference; null where the difference has no variance.
    pub p: Option<f64>,
}

/// For each positive case the share of negative ones that it ranks above (a tie counts half), and for each negative one the share of positive ones above it.
struct Placements {
    area: f64,
    positive: Vec<f64>,
    negative: Vec<f64>,
}

/// The area of (truth, score) pairs: the higher the score, the more it speaks for the finding. Scores are finite.
pub fn auroc(cases: impl Iterator<Item = (bool, f64)>) -> Auroc {
    let none = |note: &str| Auroc { value: None, low: None, high: None, note: Some(note.into()) };
    let cases: Vec<(bool, f64)> = cases.collect();
    let Some(placed) = Placements::of(&cases) else {
        return none("all cases are of one class: there is nothing to tell apart");
    };
    let area = placed.area;
    let without = |note: &str| Auroc { value: Some(area), low: None, high: None, note: Some(note.into()) };
    if placed.positive.len() < 2 || placed.negative.len() < 2 {
        return without("a class with one case has no variance: there is no interval");
    }
    let variance = placed.variance();
    if !(area > 0.0 && area < 1.0 && variance > 0.0) {
        return without("the classes do not overlap among these cases: DeLong's interval has no width");
    }
    let logit = (area / (1.0 - area)).ln();
    let width = normal::Z95 * variance.sqrt() / (area * (1.0 - area));
    let end = |side: f64| Some(1.0 / (1.0 + (-(logit + side * width)).exp()));
    Auroc { value: Some(area), low: end(-1.0), high: end(1.0), note: None }
}

/// The difference of two scores' areas over the same cases, (truth, first score, second score).
pub fn difference(cases: &[(bool, f64, f64)]) -> AurocDifference {
    let side = |pick: fn(&(bool, f64, f64)) -> f64| {
        let pairs: Vec<(bool, f64)> = cases.iter().map(|c| (c.0, pick(c))).collect();
        Placements::of(&pairs)
    };
    let (Some(first), Some(second)) = (side(|c| c.1), side(|c| c.2)) else {
        return AurocDifference {
            first: None,
            second: None,
            difference: None,
            low: None,
            high: None,
            p: None,
        };
    };
    let difference = second.area - first.area;
    let variance = first.variance() + second.variance() - 2.0 * first.covariance(&second);
    // Rounding leaves some 1e-18 where two editions rank alike.
    let deviation = (variance > 1e-15).then(|| variance.sqrt());
    AurocDifference {
        first: Some(first.area),
        second: Some(second.area),
        difference: Some(difference),
        low: deviation.map(|d| difference - normal::Z95 * d),
        high: deviation.map(|d| difference + normal::Z95 * d),
        p: deviation.map(|d| normal::two_sided(difference / d)),
    }
}

/// The curve from (0, 0) to (1, 1) as (1 - specificity, sensitivity), at most so many points, evenly over its corners.
pub fn curve(cases: impl Iterator<Item = (bool, f64)>, points: usize) -> Vec<[f64; 2]> {
    let mut cases: Vec<(bool, f64)> = cases.collect();
    cases.sort_unstable_by(|a, b| b.1.total_cmp(&a.1));
    let positives = cases.iter().filter(|c| c.0).count();
    let negatives = cases.len() - positives;
    if positives == 0 || negatives == 0 {
        return vec![];
    }
    let mut corners = vec![[0.0, 0.0]];
    let (mut hits, mut alarms) = (0usize, 0usize);
    for (index, (truth, score)) in cases.iter().enumerate() {
        if *truth {
            hits += 1
        } else {
            alarms += 1
        }
        // Cases of one score are passed together: the curve between is not known.
        if cases.get(index + 1).is_none_or(|next| next.1 != *score) {
            corners.push([alarms as f64 / negatives as f64, hits as f64 / positives as f64]);
        }
    }
    // Corners on a straight line say nothing that their neighbours do not.
    let turns = |i: usize| {
        let ([ax, ay], [bx, by], [cx, cy]) = (corners[i - 1], corners[i], corners[i + 1]);
        ((bx - ax) * (cy - by) - (by - ay) * (cx - bx)).abs() > 1e-15
    };
    let last = corners.len() - 1;
    let kept: Vec<usize> = (0..=last).filter(|i| *i == 0 || *i == last || turns(*i)).collect();
    let step = (kept.len() - 1) as f64 / (points - 1).min(kept.len() - 1).max(1) as f64;
    let taken = (0..).map(|i| (f64::from(i) * step).round() as usize).take_while(|i| *i < kept.len());
    taken.map(|i| corners[kept[i]]).collect()
}

impl Placements {
    /// None where a class is missing.
    fn of(cases: &[(bool, f64)]) -> Option<Self> {
        let mut sorted = cases.to_vec();
        sorted.sort_unstable_by(|a, b| a.1.total_cmp(&b.1));
        let positives = sorted.iter().filter(|c| c.0).count();
        let negatives = sorted.len() - positives;
        if positives == 0 || negatives == 0 {
            return None;
        }
        let (m, n) = (positives as f64, negatives as f64);
        // By score: within a tie all positives get one value, and so do all negatives.
        let mut placed = Self {
            area: 0.0,
            positive: Vec::with_capacity(positives),
            negative: Vec::with_capacity(negatives),
        };
        let (mut below_positive, mut below_negative) = (0usize, 0usize);
        for tie in sorted.chunk_by(|a, b| a.1 == b.1) {
            let here = tie.iter().filter(|c| c.0).count();
            let others = tie.len() - here;
            let above_negatives = (below_negative as f64 + others as f64 / 2.0) / n;
            let under_positives = 1.0 - (below_positive as f64 + here as f64 / 2.0) / m;
            placed.positive.extend(std::iter::repeat_n(above_negatives, here));
            placed.negative.extend(std::iter::repeat_n(under_positives, others));
            below_positive += here;
            below_negative += others;
        }
        placed.area = placed.positive.iter().sum::<f64>() / m;
        Some(placed.in_order_of(cases))
    }

    /// Values in the order of the cases, which pairing needs; they were made in the order of the scores.
    fn in_order_of(mut self, cases: &[(bool, f64)]) -> Self {
        for (truth, values) in [(true, &mut self.positive), (false, &mut self.negative)] {
            let scores: Vec<f64> = cases.iter().filter(|c| c.0 == truth).map(|c| c.1).collect();
            let mut order: Vec<usize> = (0..scores.len()).collect();
            order.sort_unstable_by(|a, b| scores[*a].total_cmp(&scores[*b]));
            let mut placed = vec![0.0; scores.len()];
            for (value, place) in values.iter().zip(order) {
                placed[place] = *value;
            }
            *values = placed;
        }
        self
    }

    fn variance(&self) -> f64 {
        self.covariance(self)
    }

    fn covariance(&self, other: &Self) -> f64 {
        covariance(&self.positive, &other.positive) / self.positive.len() as f64
            + covariance(&self.negative, &other.negative) / self.negative.len() as f64
    }
}

/// The sample covariance (n - 1); NaN for one value.
fn covariance(a: &[f64], b: &[f64]) -> f64 {
    let n = a.len() as f64;
    let (mean_a, mean_b) = (a.iter().sum::<f64>() / n, b.iter().sum::<f64>() / n);
    a.iter().zip(b).map(|(x, y)| (x - mean_a) * (y - mean_b)).sum::<f64>() / (n - 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(positive: &[f64], negative: &[f64]) -> Vec<(bool, f64)> {
        positive.iter().map(|s| (true, *s)).chain(negative.iter().map(|s| (false, *s))).collect()
    }

    #[test]
    fn the_area_is_the_share_of_pairs_in_order() {
        // 3 > 1, 3 > 2, 2 > 1, 2 = 2: three and a half of four.
        let found = auroc(of(&[3.0, 2.0], &[1.0, 2.0]).into_iter());
        assert_eq!(found.value, Some(0.875));
    }

    #[test]
    fn one_class_and_perfect_order_are_said_and_do_not_panic() {
        assert_eq!(auroc(of(&[1.0, 2.0], &[]).into_iter()).value, None);
        assert_eq!(auroc(std::iter::empty()).value, None);
        let perfect = auroc(of(&[3.0, 4.0], &[1.0, 2.0]).into_iter());
        assert_eq!((perfect.value, perfect.low), (Some(1.0), None));
        assert!(perfect.note.unwrap().contains("do not overlap"));
        let one = auroc(of(&[1.5], &[1.0, 2.0]).into_iter());
        assert_eq!((one.value, one.low), (Some(0.5), None));
    }

    #[test]
    fn an_edition_does_not_differ_from_itself() {
        let cases = [(true, 3.0, 3.0), (true, 1.0, 1.0), (false, 2.0, 2.0), (false, 0.0, 0.0)];
        let found = difference(&cases);
        assert_eq!((found.difference, found.p), (Some(0.0), None));
    }

    #[test]
    fn the_curve_runs_from_corner_to_corner_and_ties_make_a_slope() {
        let found = curve(of(&[2.0, 1.0], &[1.0, 0.0]).into_iter(), 200);
        assert_eq!(found, [[0.0, 0.0], [0.0, 0.5], [0.5, 1.0], [1.0, 1.0]]);
        let many = (0..5000).map(|i| (i % 3 == 0, f64::from(i * 7919 % 5000)));
        let thinned = curve(many, 200);
        assert_eq!((thinned[0], *thinned.last().unwrap()), ([0.0, 0.0], [1.0, 1.0]));
        assert!(thinned.len() <= 200);
    }
}
