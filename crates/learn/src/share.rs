//! Shares with exact intervals, and predictive values at a prevalence that is not the sample's.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use statrs::distribution::{Beta, ContinuousCDF};

use crate::normal;

/// A share of cases with its exact 95% interval (Clopper and Pearson 1934).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Share {
    /// `count` ÷ `of`; null where `of` is 0.
    pub value: Option<f64>,
    /// Lower end of the interval.
    pub low: Option<f64>,
    /// Upper end.
    pub high: Option<f64>,
    /// Cases that it holds for.
    pub count: u64,
    /// Cases in question.
    pub of: u64,
}

/// How a predictive value was computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum PredictiveMethod {
    /// Counted among the cases, at their own prevalence: exact interval.
    Counted,
    /// From sensitivity and specificity at a stated prevalence: interval of the logit (Mercaldo, Lau and Zhou, Statistics in Medicine 2007).
    Bayes,
}

/// A predictive value with its 95% interval.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Predictive {
    /// The value, 0 to 1; null where it is not defined.
    pub value: Option<f64>,
    /// Lower end of the interval.
    pub low: Option<f64>,
    /// Upper end.
    pub high: Option<f64>,
    /// How.
    pub method: PredictiveMethod,
}

impl Share {
    /// So many of so many.
    pub fn new(count: u64, of: u64) -> Self {
        if of == 0 {
            return Self { value: None, low: None, high: None, count, of };
        }
        let (k, n) = (count as f64, of as f64);
        let low = if count == 0 { 0.0 } else { beta_quantile(k, n - k + 1.0, 0.025) };
        let high = if count >= of { 1.0 } else { beta_quantile(k + 1.0, n - k, 0.975) };
        Self { value: Some(k / n), low: Some(low), high: Some(high), count, of }
    }
}

/// The quantile of a beta distribution, by bisection of the library's distribution function down to the last bit: its own inverse stops at some six digits.
fn beta_quantile(a: f64, b: f64, p: f64) -> f64 {
    let Ok(beta) = Beta::new(a, b) else { return f64::NAN };
    let (mut low, mut high) = (0.0, 1.0);
    for _ in 0..1100 {
        let middle = f64::midpoint(low, high);
        if middle <= low || middle >= high {
            break;
        }
        if beta.cdf(middle) < p { low = middle } else { high = middle }
    }
    f64::midpoint(low, high)
}

/// Positive predictive value: of the cases called positive, those that are. `hits` of `positives` and `alarms` of `negatives` were called positive.
pub fn ppv(hits: Share, alarms: Share, prevalence: Option<f64>) -> Predictive {
    match prevalence {
        None => Predictive::counted(Share::new(hits.count, hits.count + alarms.count)),
        Some(p) => Predictive::bayes(hits, alarms, p / (1.0 - p)),
    }
}

/// Negative predictive value: of the cases called negative, those that are.
pub fn npv(hits: Share, alarms: Share, prevalence: Option<f64>) -> Predictive {
    let passed = Share::new(alarms.of - alarms.count, alarms.of);
    let missed = Share::new(hits.of - hits.count, hits.of);
    match prevalence {
        None => Predictive::counted(Share::new(passed.count, passed.count + missed.count)),
        Some(p) => Predictive::bayes(passed, missed, (1.0 - p) / p),
    }
}

impl Predictive {
    fn counted(share: Share) -> Self {
        Self { value: share.value, low: share.low, high: share.high, method: PredictiveMethod::Counted }
    }

    /// `right` ÷ (`right` + `wrong`) where the first is met `odds` times as often as the second.
    fn bayes(right: Share, wrong: Share, odds: f64) -> Self {
        let method = PredictiveMethod::Bayes;
        let (Some(r), Some(w)) = (right.value, wrong.value) else {
            return Self { value: None, low: None, high: None, method };
        };
        let value = (r * odds + w > 0.0).then(|| r * odds / (r * odds + w));
        // Where a cell of the table is empty the logit has no variance: half a case is added to each, as for odds ratios.
        let empty = [right, wrong].iter().any(|s| s.count == 0 || s.count == s.of);
        let add = if empty { 0.5 } else { 0.0 };
        let smooth = |s: Share| (s.count as f64 + add) / (s.of as f64 + 2.0 * add);
        let variance = |s: Share| (1.0 - smooth(s)) / smooth(s) / (s.of as f64 + 2.0 * add);
        let logit = (smooth(right) * odds / smooth(wrong)).ln();
        let width = normal::Z95 * (variance(right) + variance(wrong)).sqrt();
        let end = |side: f64| 1.0 / (1.0 + (-(logit + side * width)).exp());
        let low = value.map(|v| end(-1.0).min(v));
        let high = value.map(|v| end(1.0).max(v));
        Self { value, low, high, method }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn known_intervals() {
        // Clopper and Pearson's own case: 0 of 10 reaches up to 1 - 0.025^(1/10).
        let none = Share::new(0, 10);
        assert_eq!(none.low, Some(0.0));
        assert!((none.high.unwrap() - (1.0 - 0.025f64.powf(0.1))).abs() < 1e-12);
        assert_eq!(Share::new(0, 0).value, None);
        assert_eq!(Share::new(10, 10).high, Some(1.0));
    }

    #[test]
    fn at_the_samples_own_prevalence_bayes_and_counting_agree() {
        let (hits, alarms) = (Share::new(90, 100), Share::new(30, 300));
        let counted = ppv(hits, alarms, None).value.unwrap();
        assert!((ppv(hits, alarms, Some(0.25)).value.unwrap() - counted).abs() < 1e-12);
        let counted = npv(hits, alarms, None).value.unwrap();
        assert!((npv(hits, alarms, Some(0.25)).value.unwrap() - counted).abs() < 1e-12);
    }

    proptest! {
        #[test]
        fn an_interval_holds_its_share_and_narrows_with_cases(count in 0u64..200, more in 0u64..200) {
            let of = count + more;
            let share = Share::new(count, of);
            prop_assume!(of > 0);
            let (low, value, high) = (share.low.unwrap(), share.value.unwrap(), share.high.unwrap());
            prop_assert!(0.0 <= low && low <= value && value <= high && high <= 1.0);
            let ten = Share::new(count * 10, of * 10);
            prop_assert!(ten.high.unwrap() - ten.low.unwrap() < high - low);
            // What is not counted has the mirrored interval.
            let rest = Share::new(more, of);
            prop_assert!((rest.low.unwrap() - (1.0 - high)).abs() < 1e-12);
        }

        #[test]
        fn predictive_values_stay_within_their_intervals(
            hits in 0u64..50, missed in 1u64..50, alarms in 0u64..50, passed in 1u64..50, prevalence in 0.001..0.999f64
        ) {
            let (hits, alarms) = (Share::new(hits, hits + missed), Share::new(alarms, alarms + passed));
            for found in [ppv(hits, alarms, Some(prevalence)), npv(hits, alarms, Some(prevalence))] {
                if let Some(value) = found.value {
                    prop_assert!(found.low.unwrap() <= value && value <= found.high.unwrap());
                    prop_assert!(found.low.unwrap() >= 0.0 && found.high.unwrap() <= 1.0);
                }
            }
        }
    }
}
