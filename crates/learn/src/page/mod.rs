//! The record to look at: a page with figures and, beside each, its numbers. Plain HTML, no scripts, nothing fetched; light and dark.

mod charts;
mod svg;
pub mod text;

use std::fmt::Write as _;

use self::text::{
    day, interval, name_of, p_value, percent, predictive, share, share_alone, short, short_hash,
};
use crate::compare::{Comparison, FindingComparison, PointComparison};
use crate::figures::{Figures, Point, PointName};
use crate::record::{FindingValidation, Validation};

const STYLE: &str = include_str!("style.css");

/// The page of a record.
pub fn render(record: &Validation) -> String {
    let mut html = format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>Validation of {0} on local cases</title>\
         <meta name=\"viewport\" content=\"width=device-width\"><style>{STYLE}</style></head><body><main>\
         <h1>Validation of {0} on local cases</h1>",
        escape(&record.program)
    );
    head(&mut html, record);
    for (index, finding) in record.findings.iter().enumerate() {
        section(&mut html, index, finding, record);
    }
    refusals(&mut html, record);
    if let Some(comparison) = &record.comparison {
        compared(&mut html, comparison);
    }
    method(&mut html, record);
    html.push_str("</main></body></html>\n");
    html
}

fn head(html: &mut String, record: &Validation) {
    let joined = match &record.cases.grouped_by {
        Some(column) => format!("{} images, joined by {column}", record.cases.images),
        None => format!("{} images", record.cases.images),
    };
    let _ = write!(
        html,
        "<p>{} cases ({}), read by pack {} {}, edition <code>{}</code>, on {}. {} of them not assessed: {}.</p>",
        record.cases.cases,
        escape(&joined),
        escape(&record.pack.id),
        escape(&record.pack.version),
        escape(&short(&record.pack.edition)),
        day(record.made_at),
        record.refusals.cases.count,
        escape(&percent(record.refusals.cases.value))
    );
    html.push_str(
        "<p class=\"note\">Figures of these cases and of no others. A local validation is what a site needs before it lets results \
         out; it does not make them fit for use without a person.</p>",
    );
    if record.pack.research_only {
        html.push_str("<p class=\"warn\">This pack is for research only.</p>");
    }
    if !record.remarks.is_empty() {
        html.push_str("<ul class=\"warn\">");
        for remark in &record.remarks {
            let _ = write!(html, "<li>{}</li>", escape(remark));
        }
        html.push_str("</ul>");
    }
}

fn section(html: &mut String, index: usize, finding: &FindingValidation, record: &Validation) {
    let id = |what: &str| format!("f{index}-{what}");
    let _ = write!(html, "<section><h2>{}</h2>", escape(&finding.label));
    in_words(html, finding);
    let table = figures_table(finding);
    beside(html, "How well cases are told apart", charts::characteristic(&id("roc"), finding), &table);
    if let Some(found) = &finding.reliability {
        let picture = charts::reliability(&id("reliability"), &finding.label, found);
        beside(html, "Whether probabilities hold", Some(picture), &reliability_table(finding));
    }
    if !finding.thresholds.is_empty() {
        let picture = finding.prevalence.and_then(|p| charts::thresholds(&id("thresholds"), finding, p));
        let table = thresholds_table(finding, record.studies_a_day.is_some());
        beside(html, "Choosing a threshold", picture, &table);
    }
    if !finding.subgroups.is_empty() {
        let picture = charts::subgroups(&id("subgroups"), finding);
        beside(html, "Subgroups", Some(picture), &subgroups_table(finding));
    }
    html.push_str("</section>");
}

/// What the figures say, for whoever reads no tables.
fn in_words(html: &mut String, finding: &FindingValidation) {
    let cases = &finding.cases;
    let _ = write!(html, "<p>{} of {} assessed cases are positive.", cases.positives, cases.assessed);
    let point = |name: PointName| cases.points.iter().find(|p| p.name == name);
    if let Some(out) = point(PointName::RuleOut) {
        let missed = out.sensitivity.of - out.sensitivity.count;
        let _ = write!(html, " Of the positive ones {missed} were called absent.");
    }
    if let Some(present) = point(PointName::RuleIn) {
        let alarms = present.specificity.of - present.specificity.count;
        let _ = write!(
            html,
            " {} were called present, of which {alarms} are not.",
            present.sensitivity.count + alarms
        );
    }
    let _ = write!(html, " {} were left to a person as indeterminate.", cases.indeterminate.count);
    let unseen = finding.positives_not_assessed;
    if unseen.count > 0 {
        let _ = write!(html, " {} positive cases were not assessed.", unseen.count);
    }
    html.push_str("</p>");
    if let Some(note) = &cases.auroc.note {
        let _ = write!(html, "<p class=\"warn\">AUROC: {}.</p>", escape(note));
    }
    if cases.small {
        html.push_str(
            "<p class=\"warn\">Fewer than 20 positive or fewer than 20 negative cases: these figures say little, however good they look.</p>",
        );
    }
    if finding.experimental {
        html.push_str("<p class=\"warn\">Its makers call this finding experimental.</p>");
    }
    if !finding.calibrated {
        html.push_str("<p class=\"warn\">The pack has no calibration: thresholds are scores, not probabilities, and nothing is decided.</p>");
    }
}

fn beside(html: &mut String, heading: &str, picture: Option<String>, table: &str) {
    let _ = write!(html, "<h3>{}</h3><div class=\"pair\">", escape(heading));
    if let Some(picture) = picture {
        let _ = write!(html, "<figure>{picture}</figure>");
    }
    let _ = write!(
        html,
        "<div class=\"wide\" tabindex=\"0\" role=\"group\" aria-label=\"{}: numbers\">{table}</div></div>",
        escape(heading)
    );
}

/// A table: its caption, its columns, its rows, of which the first cell names the row.
fn table(caption: &str, columns: &[&str], rows: &[Vec<String>]) -> String {
    let mut html = format!("<table><caption>{}</caption><thead><tr>", escape(caption));
    for column in columns {
        let _ = write!(html, "<th scope=\"col\">{}</th>", escape(column));
    }
    html.push_str("</tr></thead><tbody>");
    for row in rows {
        html.push_str("<tr>");
        for (index, cell) in row.iter().enumerate() {
            let cell = escape(cell);
            let _ = if index == 0 {
                write!(html, "<th scope=\"row\">{cell}</th>")
            } else {
                write!(html, "<td>{cell}</td>")
            };
        }
        html.push_str("</tr>");
    }
    html.push_str("</tbody></table>");
    html
}

fn auroc(figures: &Figures) -> String {
    interval(figures.auroc.value, figures.auroc.low, figures.auroc.high, 4)
}

fn figures_table(finding: &FindingValidation) -> String {
    let at = finding
        .prevalence
        .map_or(String::new(), |p| format!(" Predictive values at prevalence {}.", percent(Some(p))));
    let caption = format!("95% intervals in brackets.{at}");
    let mut sets = vec![("cases", &finding.cases)];
    sets.extend(finding.images.as_ref().map(|images| ("single images", images)));
    let columns: Vec<&str> = std::iter::once("").chain(sets.iter().map(|s| s.0)).collect();
    let row = |name: &str, value: &dyn Fn(&Figures) -> String| {
        std::iter::once(name.to_owned()).chain(sets.iter().map(|(_, f)| value(f))).collect::<Vec<String>>()
    };
    let mut rows = vec![
        row("assessed (positive)", &|f| format!("{} ({})", f.assessed, f.positives)),
        row("AUROC", &auroc),
    ];
    for name in [PointName::RuleOut, PointName::RuleIn, PointName::Chosen] {
        let Some(point) = finding.cases.points.iter().find(|p| p.name == name) else { continue };
        let of = |f: &Figures, value: &dyn Fn(&Point) -> String| {
            f.points.iter().find(|p| p.name == name).map_or("–".into(), value)
        };
        let at = format!("{} ({:.3})", name_of(name), point.threshold);
        rows.push(row(&format!("sensitivity at {at}"), &|f| of(f, &|p| share(&p.sensitivity))));
        rows.push(row("specificity", &|f| of(f, &|p| share(&p.specificity))));
        rows.push(row("PPV", &|f| of(f, &|p| predictive(&p.ppv))));
        rows.push(row("NPV", &|f| of(f, &|p| predictive(&p.npv))));
    }
    rows.push(row("indeterminate", &|f| share(&f.indeterminate)));
    table(&caption, &columns, &rows)
}

fn reliability_table(finding: &FindingValidation) -> String {
    let Some(found) = &finding.reliability else { return String::new() };
    let caption = format!(
        "At the cases' own prevalence of {}. Brier score {:.4} (saying {} each time: {:.4}); expected calibration error {:.4}.",
        percent(Some(found.prevalence)),
        found.brier,
        percent(Some(found.prevalence)),
        found.brier_of_prevalence,
        found.expected_calibration_error
    );
    let rows: Vec<Vec<String>> = found
        .bins
        .iter()
        .map(|b| {
            vec![
                format!("{:.0}–{:.0}%", b.from * 100.0, b.to * 100.0),
                b.observed.of.to_string(),
                percent(Some(b.mean)),
                share(&b.observed),
            ]
        })
        .collect();
    table(&caption, &["probability", "cases", "mean", "found positive"], &rows)
}

fn thresholds_table(finding: &FindingValidation, alerts: bool) -> String {
    let at = finding.prevalence.map_or("–".into(), |p| percent(Some(p)));
    let caption = format!(
        "Cases at or above the threshold are called positive. Predictive values{} at prevalence {at}.",
        if alerts { " and alerts" } else { "" }
    );
    let mut columns = vec!["threshold"];
    columns.extend(alerts.then_some("alerts a day"));
    columns.extend(["sensitivity", "specificity", "PPV", "NPV"]);
    let mut rows = Vec::with_capacity(finding.thresholds.len());
    for t in &finding.thresholds {
        let mut row = vec![format!("{:.4}", t.threshold)];
        row.extend(t.alerts_a_day.map(|a| format!("{a:.1}")));
        row.extend([
            share_alone(&t.sensitivity),
            share_alone(&t.specificity),
            predictive(&t.ppv),
            predictive(&t.npv),
        ]);
        rows.push(row);
    }
    table(&caption, &columns, &rows)
}

fn subgroups_table(finding: &FindingValidation) -> String {
    let rows: Vec<Vec<String>> = finding
        .subgroups
        .iter()
        .map(|s| {
            let figures = &s.figures;
            let at = |name: PointName, value: fn(&Point) -> &crate::share::Share| {
                figures.points.iter().find(|p| p.name == name).map_or("–".into(), |p| share_alone(value(p)))
            };
            let small = if figures.small { " – few cases" } else { "" };
            vec![
                format!("{} {}{small}", s.column, s.value),
                format!("{} ({})", figures.assessed, figures.positives),
                auroc(figures),
                at(PointName::RuleOut, |p| &p.sensitivity),
                at(PointName::RuleIn, |p| &p.specificity),
                share_alone(&s.not_assessed),
            ]
        })
        .collect();
    let columns = [
        "subgroup",
        "assessed (positive)",
        "AUROC",
        "sensitivity at rule-out",
        "specificity at rule-in",
        "not assessed",
    ];
    table("Few cases: fewer than 20 positive or fewer than 20 negative.", &columns, &rows)
}

fn refusals(html: &mut String, record: &Validation) {
    html.push_str("<section><h2>Not assessed</h2>");
    let mut rows = vec![vec!["all reasons".to_owned(), share(&record.refusals.cases)]];
    if record.cases.images > record.cases.cases {
        rows.push(vec![
            "single images, whatever became of their case".to_owned(),
            share(&record.refusals.images),
        ]);
    }
    rows.extend(record.refusals.codes.iter().map(|r| vec![r.code.clone(), share(&r.cases)]));
    html.push_str(&table("Shares of all cases, 95% intervals in brackets.", &["reason", "cases"], &rows));
    html.push_str("</section>");
}

fn compared(html: &mut String, comparison: &Comparison) {
    let with = &comparison.with;
    let _ = write!(
        html,
        "<section><h2>Beside another edition</h2><p>The second edition is {} {}, <code>{}</code>. Both read the same cases; those that either \
         did not assess are left out.</p>",
        escape(&with.id),
        escape(&with.version),
        escape(&short(&with.edition))
    );
    let area = |f: &FindingComparison| {
        let a = &f.auroc;
        vec![
            f.label.clone(),
            format!("{} ({})", f.cases, f.positives),
            interval(a.first, None, None, 4),
            interval(a.second, None, None, 4),
            interval(a.difference, a.low, a.high, 4),
            p_value(a.p),
        ]
    };
    let rows: Vec<Vec<String>> = comparison.findings.iter().map(area).collect();
    let columns = ["finding", "cases (positive)", "first AUROC", "second AUROC", "second less first", "p"];
    html.push_str(&table("Areas, paired by DeLong's method.", &columns, &rows));
    let decision = |label: &str, p: &PointComparison| {
        [("sensitivity", p.positives), ("specificity", p.negatives)].map(|(what, found)| {
            vec![
                format!("{label}, {what} at {}", name_of(p.name)),
                found.right_alone.first.to_string(),
                found.right_alone.second.to_string(),
                p_value(Some(found.p)),
            ]
        })
    };
    let rows: Vec<Vec<String>> = comparison
        .findings
        .iter()
        .flat_map(|f| f.points.iter().flat_map(|p| decision(&f.label, p)))
        .collect();
    let columns = ["decision", "only the first is right", "only the second is right", "p"];
    html.push_str(&table("Decisions, by McNemar's exact test.", &columns, &rows));
    html.push_str("</section>");
}

fn method(html: &mut String, record: &Validation) {
    let prevalence = match record.prevalence {
        Some(p) => format!("Predictive values and alerts are for the stated prevalence of {}, from sensitivity and specificity, with intervals of the logit (Mercaldo and others 2007).", percent(Some(p))),
        None => "Predictive values are counted among the cases, at their own prevalence, with exact intervals. State the site's own with <code>--prevalence</code>.".into(),
    };
    let _ = write!(
        html,
        "<section><h2>How it was computed</h2><p>AUROC: interval by DeLong and others 1988 on the logit scale. Shares: exact intervals (Clopper and Pearson \
         1934). {prevalence} At rule-out a case counts as positive unless it is called absent, at rule-in if it is called present. Cases that were \
         not assessed are in no figure but their own. Many figures are shown: some subgroup will look odd by chance.</p>\
         <p>Label file <code>{}</code> (SHA-256), edition <code>{}</code>, made by Overread {}. The same figures as JSON: <code>validation.json</code>.</p></section>",
        short_hash(&record.cases.labels_sha256),
        escape(&record.pack.edition),
        escape(&record.made_by)
    );
}

pub(crate) fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
