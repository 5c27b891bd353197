//! Choosing a threshold: what each would find, miss and cost.

use overread_domain::Probability;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::cases::{Answer, Settings};
use crate::share::{Predictive, Share, npv, ppv};

/// Shares of the cases that the offered thresholds call positive, in percent. Probabilities crowd near 0 where a finding is rare, so that
/// thresholds at even distances would mostly say the same.
const CALLED: [u64; 20] = [1, 2, 5, 10, 15, 20, 25, 30, 35, 40, 45, 50, 55, 60, 65, 70, 75, 80, 90, 95];

/// One threshold.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Threshold {
    /// Cases at or above it are called positive: a probability at the record's prevalence, or a score where the pack has no calibration.
    pub threshold: f64,
    /// Share of positive cases that are called positive.
    pub sensitivity: Share,
    /// Share of negative cases that are not.
    pub specificity: Share,
    /// Share of cases called positive that are.
    pub ppv: Predictive,
    /// Share of cases called negative that are.
    pub npv: Predictive,
    /// Studies called positive a day, true and false, at the record's prevalence; null where nobody said how many studies there are.
    pub alerts_a_day: Option<f64>,
}

/// Some 20 thresholds from the highest to the lowest; `assessed` is the share of studies that are assessed at all.
pub fn thresholds(answers: &[Answer], settings: &Settings, assessed: f64) -> Vec<Threshold> {
    let mut sorted: Vec<(f64, bool)> = answers.iter().map(|a| (a.level(), a.truth)).collect();
    sorted.sort_unstable_by(|a, b| b.0.total_cmp(&a.0));
    let positives = sorted.iter().filter(|c| c.1).count() as u64;
    let negatives = sorted.len() as u64 - positives;
    let mut found: Vec<Threshold> = Vec::with_capacity(CALLED.len());
    let (mut called, mut hits) = (0usize, 0u64);
    for percent in CALLED {
        let wanted = (sorted.len() * percent as usize).div_ceil(100);
        let Some((level, _)) = wanted.checked_sub(1).and_then(|i| sorted.get(i)) else { continue };
        if found.last().is_some_and(|t| t.threshold <= *level) {
            continue;
        }
        // All cases of one level fall on one side.
        while let Some((_, truth)) = sorted.get(called).filter(|c| c.0 >= *level) {
            hits += u64::from(*truth);
            called += 1;
        }
        let sensitivity = Share::new(hits, positives);
        let alarms = Share::new(called as u64 - hits, negatives);
        let prevalence = settings.prevalence.map(Probability::get);
        let at = prevalence.unwrap_or(positives as f64 / sorted.len() as f64);
        let share = sensitivity.value.unwrap_or(0.0) * at + alarms.value.unwrap_or(0.0) * (1.0 - at);
        found.push(Threshold {
            threshold: *level,
            sensitivity,
            specificity: Share::new(negatives - alarms.count, negatives),
            ppv: ppv(sensitivity, alarms, prevalence),
            npv: npv(sensitivity, alarms, prevalence),
            alerts_a_day: settings.studies_a_day.map(|studies| studies * assessed * share),
        });
    }
    found
}

#[cfg(test)]
mod tests {
    use overread_domain::Decision;

    use super::*;

    fn answers() -> Vec<Answer> {
        let of = |i: u32| {
            let p = f64::from(i) / 100.0;
            Answer {
                truth: i >= 80,
                score: p,
                probability: Probability::new(p).ok(),
                decision: Decision::Indeterminate,
            }
        };
        (0..100).map(of).collect()
    }

    #[test]
    fn thresholds_fall_from_few_alerts_to_many() {
        let settings = Settings { studies_a_day: Some(200.0), ..Settings::default() };
        let found = thresholds(&answers(), &settings, 0.5);
        assert_eq!(found.len(), CALLED.len());
        assert!(found.windows(2).all(|w| w[0].threshold > w[1].threshold));
        let at = found.iter().find(|t| (t.threshold - 0.8).abs() < 1e-9).unwrap();
        assert_eq!(
            (at.sensitivity.value, at.specificity.value, at.ppv.value),
            (Some(1.0), Some(1.0), Some(1.0))
        );
        // 20% of 200 studies, of which every other is assessed.
        assert!((at.alerts_a_day.unwrap() - 20.0).abs() < 1e-9);
    }

    #[test]
    fn alerts_follow_the_stated_prevalence() {
        let settings =
            Settings { studies_a_day: Some(100.0), prevalence: Probability::new(0.01).ok(), threshold: None };
        let found = thresholds(&answers(), &settings, 1.0);
        let at = found.iter().find(|t| (t.threshold - 0.8).abs() < 1e-9).unwrap();
        assert!((at.alerts_a_day.unwrap() - 1.0).abs() < 1e-9);
    }

    #[test]
    fn one_level_is_one_threshold() {
        let same =
            vec![Answer { truth: true, score: 1.0, probability: None, decision: Decision::Indeterminate }; 7];
        assert_eq!(thresholds(&same, &Settings::default(), 1.0).len(), 1);
        assert!(thresholds(&[], &Settings::default(), 1.0).is_empty());
    }
}
