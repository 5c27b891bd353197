//! Labels beside answers: what the figures are computed from.

use overread_domain::{Decision, Probability};

/// One case's answer to one finding, and the truth.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Answer {
    /// Whether the label says that the finding is there.
    pub truth: bool,
    /// What is ranked: the higher, the more it speaks for the finding. Finite.
    pub score: f64,
    /// The calibrated probability; none where the pack has no calibration.
    pub probability: Option<Probability>,
    /// What the pack decided.
    pub decision: Decision,
}

/// All answers to one finding.
#[derive(Clone, Debug, Default)]
pub struct FindingCases {
    /// The pack's word.
    pub label: String,
    /// Fewer than 20 positive patients stood behind it when it was made.
    pub experimental: bool,
    /// The prevalence that probabilities and operating points are stated at; none where the pack has no calibration.
    pub prevalence: Option<Probability>,
    /// At or below: `absent`.
    pub rule_out: Option<Probability>,
    /// At or above: `present`.
    pub rule_in: Option<Probability>,
    /// Cases that were assessed.
    pub cases: Vec<Answer>,
    /// Cases with this label that were not assessed: positive, negative.
    pub refused: (u64, u64),
    /// Images that were assessed, where a case has several.
    pub images: Vec<Answer>,
    /// Values of the cases by which figures are broken down.
    pub subgroups: Vec<Subgroup>,
}

/// A column by which figures are broken down.
#[derive(Clone, Debug, Default)]
pub struct Subgroup {
    /// The column.
    pub name: String,
    /// Its values, in the order in which they are shown.
    pub values: Vec<String>,
    /// For each assessed case the index of its value.
    pub of_case: Vec<usize>,
    /// For each value the cases that were not assessed.
    pub refused: Vec<u64>,
}

/// What whoever validates says of the site.
#[derive(Clone, Copy, Debug, Default)]
pub struct Settings {
    /// The finding's prevalence among the site's own studies; none: that of the cases.
    pub prevalence: Option<Probability>,
    /// A threshold to look at beside those of the pack, a probability at that prevalence (a score, where the pack has no calibration).
    pub threshold: Option<f64>,
    /// How many studies the site would send a day.
    pub studies_a_day: Option<f64>,
}

impl FindingCases {
    /// The share of positive cases among those that were assessed; none where one class is missing.
    pub fn observed_prevalence(&self) -> Option<Probability> {
        let positives = self.cases.iter().filter(|c| c.truth).count();
        let share = positives as f64 / self.cases.len() as f64;
        Probability::new(share).ok().filter(|_| share > 0.0 && share < 1.0)
    }

    /// Moves probabilities and operating points to another prevalence; decisions stay what they were.
    pub fn at_prevalence(&mut self, to: Probability) {
        let Some(from) = self.prevalence else { return };
        let shift = |p: Probability| p.at_prevalence(from, to);
        for answer in self.cases.iter_mut().chain(&mut self.images) {
            answer.probability = answer.probability.map(shift);
        }
        self.rule_out = self.rule_out.map(shift);
        self.rule_in = self.rule_in.map(shift);
        self.prevalence = Some(to);
    }
}

impl Answer {
    /// What a threshold is compared with.
    pub(crate) fn level(&self) -> f64 {
        self.probability.map_or(self.score, Probability::get)
    }
}
