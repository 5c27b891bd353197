//! What a reader says of a case: findings with probability, decision and explanation.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::code::CodedConcept;

/// A number from 0 to 1.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(try_from = "f64", into = "f64")]
pub struct Probability(f64);

/// What the numbers of a model are called, of a case or of its parts. A number that nobody calibrated is a score, whatever its range: that a
/// case's probability is calibrated says nothing of a tile's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ValueKind {
    /// Calibrated at the level at which it is given, from 0 to 1.
    Probability,
    /// It orders what it was computed of, and is no probability.
    Score,
}

/// A number that is no probability.
#[derive(Debug, thiserror::Error, PartialEq)]
#[error("{0} is not between 0 and 1")]
pub struct NotAProbability(pub f64);

impl Probability {
    /// A probability from a number.
    ///
    /// # Errors
    /// Outside 0 to 1, or not a number.
    pub fn new(value: f64) -> Result<Self, NotAProbability> {
        if (0.0..=1.0).contains(&value) { Ok(Self(value)) } else { Err(NotAProbability(value)) }
    }

    /// The logistic function of a finite logit.
    pub fn from_logit(logit: f64) -> Self {
        Self(1.0 / (1.0 + (-logit).exp()))
    }

    /// The number.
    pub const fn get(self) -> f64 {
        self.0
    }

    /// The same evidence at another prevalence: odds × (odds of `to` ÷ odds of `from`).
    ///
    /// Holds where the finding looks the same in both populations (prior probability shift).
    pub fn at_prevalence(self, from: Self, to: Self) -> Self {
        if self.0 == 0.0 || self.0 == 1.0 || from == to {
            return self;
        }
        let odds = |p: f64| p / (1.0 - p);
        let shifted = odds(self.0) * odds(to.0) / odds(from.0);
        if shifted.is_infinite() { Self(1.0) } else { Self(shifted / (1.0 + shifted)) }
    }
}

impl TryFrom<f64> for Probability {
    type Error = NotAProbability;
    fn try_from(value: f64) -> Result<Self, NotAProbability> {
        Self::new(value)
    }
}

impl From<Probability> for f64 {
    fn from(p: Probability) -> Self {
        p.0
    }
}

/// What a reading decides on one finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Decision {
    /// At or above the rule-in threshold.
    Present,
    /// At or below the rule-out threshold.
    Absent,
    /// Between the two: a person reads it.
    Indeterminate,
    /// The reader does not answer, for a reason it gives.
    NotAssessed,
}

impl fmt::Display for Decision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Present => "present",
            Self::Absent => "absent",
            Self::Indeterminate => "indeterminate",
            Self::NotAssessed => "not assessed",
        })
    }
}

/// Why a study was not assessed: a first-class answer, filed like any other.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NotAssessed {
    /// A stable word for machines, such as `out-of-distribution` or `patient-age`.
    pub code: String,
    /// A sentence for people; never holds patient identity.
    pub message: String,
}

/// The identity of an edition: the SHA-256 of a pack's content, in lower-case hexadecimal.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct EditionId(pub String);

impl EditionId {
    /// The first twelve characters, for people.
    pub fn short(&self) -> &str {
        self.0.get(..12).unwrap_or(&self.0)
    }
}

impl fmt::Display for EditionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The side of the body that a finding is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BodySide {
    /// `R`.
    Right,
    /// `L`.
    Left,
}

impl BodySide {
    /// The side of a code string of Image Laterality (0020,0062); none for both, unpaired and any other text.
    pub fn parse(code: &str) -> Option<Self> {
        match code.trim() {
            "R" => Some(Self::Right),
            "L" => Some(Self::Left),
            _ => None,
        }
    }
}

impl fmt::Display for BodySide {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Right => "right",
            Self::Left => "left",
        })
    }
}

/// One label with its calibrated probability and decision.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Finding {
    /// The pack's word for it, such as `pneumonia`.
    pub label: String,
    /// The coded concept.
    pub code: CodedConcept,
    /// Where in the body, where the pack says so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub site: Option<CodedConcept>,
    /// On which side, where the images that it was taken from tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub laterality: Option<BodySide>,
    /// Calibrated probability at `prevalence`; none where the reading does not answer or is not calibrated.
    pub probability: Option<Probability>,
    /// The raw output of a pack without calibration: it orders cases and is no probability.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub score: Option<f64>,
    /// What follows from it.
    pub decision: Decision,
    /// At or below this probability the decision is `absent`; none where too few positives allow no automatic `absent`.
    pub rule_out: Option<Probability>,
    /// At or above this probability the decision is `present`.
    pub rule_in: Option<Probability>,
    /// The prevalence that probability and thresholds hold for; none without calibration.
    pub prevalence: Option<Probability>,
    /// Fewer than 20 positive patients stand behind it.
    pub experimental: bool,
    /// Why this one was not assessed, where others of the reading were.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<NotAssessed>,
}

impl Finding {
    /// What tells the finding from the others of its reading: the label, and the side where it has one.
    pub fn name(&self) -> String {
        sided(&self.label, self.laterality)
    }

    /// The decision that follows from a probability and two thresholds.
    pub fn decide(p: Probability, rule_out: Option<Probability>, rule_in: Option<Probability>) -> Decision {
        if rule_in.is_some_and(|t| p >= t) {
            Decision::Present
        } else if rule_out.is_some_and(|t| p <= t) {
            Decision::Absent
        } else {
            Decision::Indeterminate
        }
    }
}

/// A label with a side, for people and for telling two findings of one label apart.
pub fn sided(label: &str, side: Option<BodySide>) -> String {
    side.map_or_else(|| label.to_owned(), |side| format!("{label} ({side})"))
}

/// A map over the pixels that tells what spoke for a finding.
#[derive(Clone, Debug, PartialEq)]
pub struct Explanation {
    /// The finding it belongs to.
    pub label: String,
    /// `class-activation-map` (an exact decomposition of the logit), `occlusion` or `rise`.
    pub method: String,
    /// Cells across and down; the map spans the whole picture.
    pub grid: (usize, usize),
    /// Contribution of each cell to the logit, row by row from the top left; for a class-activation
    /// map they add up to the logit less the bias.
    pub values: Vec<f32>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn p(v: f64) -> Probability {
        Probability::new(v).unwrap()
    }

    #[test]
    fn only_zero_to_one_is_a_probability() {
        assert!(Probability::new(1.01).is_err());
        assert!(Probability::new(-0.01).is_err());
        assert!(Probability::new(f64::NAN).is_err());
        assert!(serde_json::from_str::<Probability>("1.5").is_err());
    }

    #[test]
    fn prevalence_shift_follows_bayes() {
        // Prevalence 50% → 10% divides the odds by nine: 0.9 (odds 9) becomes 0.5 (odds 1).
        assert!((p(0.9).at_prevalence(p(0.5), p(0.1)).get() - 0.5).abs() < 1e-12);
        // There and back again.
        let there = p(0.37).at_prevalence(p(0.74), p(0.05));
        assert!((there.at_prevalence(p(0.05), p(0.74)).get() - 0.37).abs() < 1e-12);
        assert_eq!(p(1.0).at_prevalence(p(0.5), p(0.1)), p(1.0));
    }

    #[test]
    fn shifting_keeps_the_decision() {
        for x in [0.01, 0.2, 0.5, 0.8, 0.99] {
            let shift = |q: f64| p(q).at_prevalence(p(0.74), p(0.08));
            let before = Finding::decide(p(x), Some(p(0.2)), Some(p(0.8)));
            let after = Finding::decide(shift(x), Some(shift(0.2)), Some(shift(0.8)));
            assert_eq!(before, after, "{x}");
        }
    }

    #[test]
    fn without_a_rule_out_nothing_is_absent() {
        assert_eq!(Finding::decide(p(0.0), None, Some(p(0.9))), Decision::Indeterminate);
    }
}
