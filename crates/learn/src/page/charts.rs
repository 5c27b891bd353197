//! The figures of a finding as pictures. Each says in its description what is to be seen.

use super::svg::{Mark, Plot, Row, forest};
use super::text::{interval, name_of, percent};
use crate::figures::PointName;
use crate::record::{FindingValidation, SubgroupValidation};
use crate::reliability::Reliability;
use crate::thresholds::Threshold;

/// The operating characteristic with the operating points; none where a class is missing.
pub fn characteristic(id: &str, finding: &FindingValidation) -> Option<String> {
    if finding.curve.is_empty() {
        return None;
    }
    let auroc = &finding.cases.auroc;
    let mut description = format!("The curve encloses {}.", interval(auroc.value, auroc.low, auroc.high, 3));
    for point in &finding.cases.points {
        description += &format!(
            " At {} the sensitivity is {} and the specificity {}.",
            name_of(point.name),
            percent(point.sensitivity.value),
            percent(point.specificity.value)
        );
    }
    let title = format!("{}: receiver operating characteristic", finding.label);
    let mut plot = Plot::new(id, &title, &description, "1 − specificity", "sensitivity", 1.0);
    plot.line("chance", &[[0.0, 0.0], [1.0, 1.0]]);
    plot.line("first", &finding.curve);
    for point in &finding.cases.points {
        if let (Some(sensitivity), Some(specificity)) = (point.sensitivity.value, point.specificity.value) {
            let mark = match point.name {
                PointName::RuleOut => Mark::Dot,
                PointName::RuleIn => Mark::Square,
                PointName::Chosen => Mark::Ring,
            };
            plot.mark("second", mark, [1.0 - specificity, sensitivity]);
            plot.key("second", mark, name_of(point.name));
        }
    }
    Some(plot.finish())
}

/// The reliability diagram.
pub fn reliability(id: &str, label: &str, found: &Reliability) -> String {
    let description = format!(
        "On the dashed line a stated probability is what was found. Brier score {:.4}, expected calibration error {:.4}. Bars are 95% intervals.",
        found.brier, found.expected_calibration_error
    );
    let title = format!("{label}: reliability of the probabilities");
    let mut plot =
        Plot::new(id, &title, &description, "mean probability stated", "share found positive", 1.0);
    plot.line("chance", &[[0.0, 0.0], [1.0, 1.0]]);
    for bin in &found.bins {
        if let (Some(low), Some(high)) = (bin.observed.low, bin.observed.high) {
            plot.interval("first", bin.mean, low, high);
        }
    }
    for bin in &found.bins {
        if let Some(value) = bin.observed.value {
            plot.mark("first", Mark::Dot, [bin.mean, value]);
        }
    }
    plot.finish()
}

/// What each share of alerts finds, and how many of them are right.
pub fn thresholds(id: &str, finding: &FindingValidation, prevalence: f64) -> Option<String> {
    let called = |t: &Threshold| {
        Some(t.sensitivity.value? * prevalence + (1.0 - t.specificity.value?) * (1.0 - prevalence))
    };
    let found: Vec<[f64; 2]> =
        finding.thresholds.iter().filter_map(|t| Some([called(t)?, t.sensitivity.value?])).collect();
    let right: Vec<[f64; 2]> =
        finding.thresholds.iter().filter_map(|t| Some([called(t)?, t.ppv.value?])).collect();
    let last = *found.last()?;
    let title = format!("{}: what more alerts find", finding.label);
    let description = "The solid line is the share of positive cases found (sensitivity), the dashed one the share of alerts that are right \
                       (positive predictive value), over the share of studies called positive. The table beside it has the numbers.";
    // The axis ends at a number that quarters well, above the last threshold.
    let end = [0.1, 0.2, 0.4, 0.6, 0.8, 1.0].into_iter().find(|end| *end >= last[0]).unwrap_or(1.0);
    let mut plot = Plot::new(id, &title, description, "studies called positive", "share", end);
    plot.line("first", &found);
    plot.line("second dashed", &right);
    plot.key("first", Mark::Line, "sensitivity");
    plot.key("second dashed", Mark::Line, "PPV");
    Some(plot.finish())
}

/// The areas of the subgroups below that of all cases.
pub fn subgroups(id: &str, finding: &FindingValidation) -> String {
    let row = |name: String, figures: &crate::figures::Figures| Row {
        name,
        value: figures.auroc.value.map(|v| (v, figures.auroc.low.zip(figures.auroc.high))),
        small: figures.small,
    };
    let of = |s: &SubgroupValidation| row(format!("{} {}", s.column, s.value), &s.figures);
    let rows: Vec<Row> = std::iter::once(row("all cases".into(), &finding.cases))
        .chain(finding.subgroups.iter().map(of))
        .collect();
    let lowest = rows
        .iter()
        .filter_map(|r| r.value.map(|(value, interval)| interval.map_or(value, |(low, _)| low)))
        .fold(1.0, f64::min);
    let from = [0.98, 0.96, 0.9, 0.8, 0.6, 0.5].into_iter().find(|from| *from <= lowest).unwrap_or(0.0);
    let title = format!("{}: AUROC by subgroup", finding.label);
    let description = "Dots are areas, bars 95% intervals, pale ones have few cases; the dashed line is that of all cases. The table below has the numbers.";
    forest(id, &title, description, &rows, from, finding.cases.auroc.value)
}
