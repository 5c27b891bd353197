//! Results of a run, `overread.result/1`, as far as figures need them.

use anyhow::{Context, Result, bail};
use overread_domain::Decision;
use overread_read::result::SCHEMA;
use serde::Deserialize;

/// One result.
#[derive(Deserialize)]
pub struct Answered {
    schema: String,
    study: StudyLine,
    source: String,
    reason: Option<ReasonLine>,
    results: Vec<ProgramLine>,
}

#[derive(Deserialize)]
struct StudyLine {
    images: Vec<String>,
}

/// Why there is no answer.
#[derive(Deserialize)]
pub struct ReasonLine {
    /// A stable word.
    pub code: String,
}

/// What a program said.
#[derive(Deserialize)]
pub struct ProgramLine {
    /// Its name.
    pub program: String,
    /// The pack that read.
    pub pack: PackLine,
    /// The edition.
    pub edition: String,
    /// Why it did not answer.
    pub reason: Option<ReasonLine>,
    /// One a label.
    pub findings: Vec<FindingLine>,
    /// Frames that were looked at.
    pub images: Vec<ImageLine>,
}

/// A pack.
#[derive(Deserialize)]
pub struct PackLine {
    /// Its lineage.
    pub id: String,
    /// Its makers' version.
    pub version: String,
    /// Whether it may only be used for research.
    pub research_only: bool,
}

/// One label's answer.
#[derive(Clone, Debug, Deserialize)]
pub struct FindingLine {
    /// The pack's word.
    pub label: String,
    /// Calibrated.
    pub probability: Option<f64>,
    /// Not calibrated.
    #[serde(default)]
    pub score: Option<f64>,
    /// The decision.
    pub decision: Decision,
    /// At or below: absent.
    pub rule_out: Option<f64>,
    /// At or above: present.
    pub rule_in: Option<f64>,
    /// What the three numbers hold for.
    pub prevalence: Option<f64>,
    /// Few positive patients.
    pub experimental: bool,
}

/// One frame.
#[derive(Deserialize)]
pub struct ImageLine {
    /// The file.
    pub path: String,
    /// Why it did not count.
    pub reason: Option<ReasonLine>,
    /// Its logits.
    pub logits: Vec<f64>,
}

/// One study's answer under the program that is validated.
pub struct Line {
    /// Its files.
    pub files: Vec<String>,
    /// What the program said; else why not.
    pub answer: Result<ProgramLine, String>,
}

/// What a record of several editions names: no edition's hash, so that no program takes it for its own.
pub const CROSS_VALIDATED: &str = "cross-validated";

/// Reads the results of one program; without a name, of the one program there is. Those of a cross-validation may be of several editions.
pub fn parse(name: &str, text: &str, program: Option<&str>, cross_validated: bool) -> Result<Vec<Line>> {
    let mut lines = vec![];
    for (number, text) in text.lines().enumerate().filter(|(_, text)| !text.trim().is_empty()) {
        let place = || format!("{name}, line {}", number + 1);
        let answered: Answered = serde_json::from_str(text)
            .with_context(|| format!("{}: it is no result of overread classify --format jsonl", place()))?;
        if answered.schema != SCHEMA {
            bail!("{}: its schema is {}, this reads {SCHEMA}", place(), answered.schema);
        }
        lines.push(line(answered, program).with_context(place)?);
    }
    if lines.is_empty() {
        bail!("{name} holds no results");
    }
    one_of(
        name,
        "programs",
        "say which one: --program",
        lines.iter().filter_map(|l| Some(&l.answer.as_ref().ok()?.program)),
    )?;
    if cross_validated {
        for answer in lines.iter_mut().filter_map(|l| l.answer.as_mut().ok()) {
            answer.edition = CROSS_VALIDATED.into();
        }
        return Ok(lines);
    }
    one_of(
        name,
        "editions",
        "keep one",
        lines.iter().filter_map(|l| Some(&l.answer.as_ref().ok()?.edition)),
    )?;
    Ok(lines)
}

fn line(answered: Answered, program: Option<&str>) -> Result<Line> {
    let files = if answered.study.images.is_empty() { vec![answered.source] } else { answered.study.images };
    let mut of_program: Vec<ProgramLine> =
        answered.results.into_iter().filter(|r| program.is_none_or(|p| r.program == p)).collect();
    if of_program.len() > 1 {
        let names: Vec<&str> = of_program.iter().map(|r| r.program.as_str()).collect();
        bail!("the study was read by {}; say which one: --program", names.join(" and "));
    }
    for program in &mut of_program {
        program.findings = one_a_label(std::mem::take(&mut program.findings));
    }
    let answer = of_program.pop().ok_or_else(|| answered.reason.map_or("not-read".into(), |r| r.code));
    Ok(Line { files, answer })
}

/// The case's answer to each label: that of the side for which most speaks, absent only where all sides are.
fn one_a_label(findings: Vec<FindingLine>) -> Vec<FindingLine> {
    let speaks = |f: &FindingLine| f.probability.or(f.score).unwrap_or(-1.0);
    let mut joined: Vec<FindingLine> = vec![];
    for side in findings {
        match joined.iter_mut().find(|f| f.label == side.label) {
            None => joined.push(side),
            Some(other) => {
                let decision = of_both(other.decision, side.decision);
                let stronger = if speaks(&side) > speaks(other) { side } else { other.clone() };
                *other = FindingLine { decision, ..stronger };
            }
        }
    }
    joined
}

fn of_both(one: Decision, other: Decision) -> Decision {
    use Decision::{Absent, Indeterminate, NotAssessed, Present};
    match (one, other) {
        (Present, _) | (_, Present) => Present,
        (Absent, Absent) => Absent,
        (NotAssessed, NotAssessed) => NotAssessed,
        _ => Indeterminate,
    }
}

fn one_of<'a>(name: &str, what: &str, do_what: &str, values: impl Iterator<Item = &'a String>) -> Result<()> {
    let mut values = values;
    let Some(first) = values.next() else {
        bail!("{name}: no study was read by the program; look at the reasons in it");
    };
    if let Some(other) = values.find(|v| *v != first) {
        bail!("{name} holds results of two {what}, {first} and {other}; {do_what}");
    }
    Ok(())
}
