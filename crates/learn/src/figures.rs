//! The figures of one set of cases: how well they are told apart, and what the decisions are worth.

use overread_domain::{Decision, Probability};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::auroc::{Auroc, auroc};
use crate::cases::{Answer, FindingCases, Settings};
use crate::share::{Predictive, Share, npv, ppv};

/// With fewer positive or negative cases, figures say little.
pub const SMALL: u64 = 20;

/// Figures of one set of cases.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Figures {
    /// Cases that were assessed.
    pub assessed: u64,
    /// Positive ones among them.
    pub positives: u64,
    /// Fewer than 20 positive or fewer than 20 negative cases: the figures say little, however good they look.
    pub small: bool,
    /// How well the classes are told apart.
    pub auroc: Auroc,
    /// Decisions that were `present`.
    pub present: Share,
    /// Decisions that were `indeterminate`: a person reads these whatever the others say.
    pub indeterminate: Share,
    /// Decisions that were `absent`.
    pub absent: Share,
    /// What calling cases positive at the operating points is worth.
    pub points: Vec<Point>,
}

/// Which operating point.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum PointName {
    /// The pack's: positive is all that is not `absent`.
    RuleOut,
    /// The pack's: positive is what is `present`.
    RuleIn,
    /// The one that was asked for: positive is what lies at or above it.
    Chosen,
}

/// An operating point.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Point {
    /// Which.
    pub name: PointName,
    /// The threshold: a probability at the record's prevalence, or a score where the pack has no calibration.
    pub threshold: f64,
    /// Share of positive cases that are called positive.
    pub sensitivity: Share,
    /// Share of negative cases that are not.
    pub specificity: Share,
    /// Share of cases called positive that are.
    pub ppv: Predictive,
    /// Share of cases called negative that are.
    pub npv: Predictive,
}

/// Figures of answers to a finding, whose operating points and prevalence `finding` holds. Predictive values are for the stated prevalence of `settings`.
pub fn figures<'a>(
    answers: impl Iterator<Item = &'a Answer> + Clone,
    finding: &FindingCases,
    settings: &Settings,
) -> Figures {
    let count = |keep: fn(&Answer) -> bool| answers.clone().filter(|a| keep(a)).count() as u64;
    let (assessed, positives) = (count(|_| true), count(|a| a.truth));
    let decided = |decision: Decision| {
        Share::new(answers.clone().filter(|a| a.decision == decision).count() as u64, assessed)
    };
    let at = |name: PointName, threshold: Option<f64>, called: &dyn Fn(&Answer) -> bool| {
        threshold.map(|threshold| point(name, threshold, answers.clone(), called, settings.prevalence))
    };
    let points = [
        at(PointName::RuleOut, finding.rule_out.map(Probability::get), &|a| a.decision != Decision::Absent),
        at(PointName::RuleIn, finding.rule_in.map(Probability::get), &|a| a.decision == Decision::Present),
        at(PointName::Chosen, settings.threshold, &|a| settings.threshold.is_some_and(|t| a.level() >= t)),
    ];
    Figures {
        assessed,
        positives,
        small: positives < SMALL || assessed - positives < SMALL,
        auroc: auroc(answers.clone().map(|a| (a.truth, a.score))),
        present: decided(Decision::Present),
        indeterminate: decided(Decision::Indeterminate),
        absent: decided(Decision::Absent),
        points: points.into_iter().flatten().collect(),
    }
}

fn point<'a>(
    name: PointName,
    threshold: f64,
    answers: impl Iterator<Item = &'a Answer>,
    called: &dyn Fn(&Answer) -> bool,
    prevalence: Option<Probability>,
) -> Point {
    // [truth][called]
    let mut table = [[0u64; 2]; 2];
    for answer in answers {
        table[usize::from(answer.truth)][usize::from(called(answer))] += 1;
    }
    let [[passed, alarms], [missed, hits]] = table;
    let sensitivity = Share::new(hits, hits + missed);
    let alarmed = Share::new(alarms, alarms + passed);
    let prevalence = prevalence.map(Probability::get);
    Point {
        name,
        threshold,
        sensitivity,
        specificity: Share::new(passed, alarms + passed),
        ppv: ppv(sensitivity, alarmed, prevalence),
        npv: npv(sensitivity, alarmed, prevalence),
    }
}
