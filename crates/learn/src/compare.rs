//! Two editions on the same cases.

use overread_domain::Decision;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use statrs::function::beta::beta_reg;

use crate::auroc::{AurocDifference, difference};
use crate::cases::Answer;
use crate::figures::PointName;
use crate::record::PackReference;

/// Two editions on the same cases.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Comparison {
    /// The other edition; "second" in what follows, the validated one is "first".
    pub with: PackReference,
    /// One a finding that both answer.
    pub findings: Vec<FindingComparison>,
}

/// One finding's comparison, over the cases that both assessed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct FindingComparison {
    /// The pack's word.
    pub label: String,
    /// Cases that both assessed.
    pub cases: u64,
    /// Positive ones among them.
    pub positives: u64,
    /// Paired by DeLong's method.
    pub auroc: AurocDifference,
    /// Decisions at each edition's own operating points.
    pub points: Vec<PointComparison>,
}

/// Who is right where the two decide differently at an operating point.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PointComparison {
    /// Which.
    pub name: PointName,
    /// Positive cases.
    pub positives: Discordant,
    /// Negative cases.
    pub negatives: Discordant,
}

/// McNemar's table of a class.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Counts {
    /// Right in the first edition alone.
    pub first: u64,
    /// Right in the second edition alone.
    pub second: u64,
}

/// McNemar's exact test within one class: sensitivity over positive cases, specificity over negative ones.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Discordant {
    /// Cases that only one of the two decides right.
    pub right_alone: Counts,
    /// Two-sided exact p value of no difference (McNemar 1947; binomial).
    pub p: f64,
}

/// Compares two editions' answers to a finding; both are in the same order of cases.
pub fn compare(label: &str, pairs: &[(Answer, Answer)]) -> FindingComparison {
    let scores: Vec<(bool, f64, f64)> = pairs.iter().map(|(a, b)| (a.truth, a.score, b.score)).collect();
    let at = |name: PointName, called: fn(Decision) -> bool| PointComparison {
        name,
        positives: discordant(pairs, true, called),
        negatives: discordant(pairs, false, called),
    };
    FindingComparison {
        label: label.to_owned(),
        cases: pairs.len() as u64,
        positives: pairs.iter().filter(|(a, _)| a.truth).count() as u64,
        auroc: difference(&scores),
        points: vec![
            at(PointName::RuleOut, |d| d != Decision::Absent),
            at(PointName::RuleIn, |d| d == Decision::Present),
        ],
    }
}

fn discordant(pairs: &[(Answer, Answer)], truth: bool, called: fn(Decision) -> bool) -> Discordant {
    let mut alone = Counts { first: 0, second: 0 };
    for (a, b) in pairs.iter().filter(|(a, _)| a.truth == truth) {
        let (first, second) = (called(a.decision) == truth, called(b.decision) == truth);
        alone.first += u64::from(first && !second);
        alone.second += u64::from(second && !first);
    }
    Discordant { right_alone: alone, p: mcnemar(alone.first, alone.second) }
}

/// The exact two-sided p value of McNemar's test.
pub fn mcnemar(first: u64, second: u64) -> f64 {
    let (fewer, n) = (first.min(second), first + second);
    if first == second {
        return 1.0;
    }
    // P(X ≤ k) of a fair coin thrown n times, by the regularised incomplete beta function.
    let tail = beta_reg((n - fewer) as f64, (fewer + 1) as f64, 0.5);
    (2.0 * tail).min(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mcnemar_counts_coins() {
        assert_eq!(mcnemar(0, 0), 1.0);
        assert_eq!(mcnemar(4, 4), 1.0);
        // One of six or none: 2 × (1 + 6) / 64.
        assert!((mcnemar(1, 5) - 14.0 / 64.0).abs() < 1e-12);
        assert_eq!(mcnemar(1, 5), mcnemar(5, 1));
    }
}
