//! Labels and results put together: cases, and each case's answer.

use std::collections::{BTreeMap, HashMap};

use anyhow::{Context, Result, bail};
use overread_domain::{Finding, NotAssessed, Probability};
use overread_learn::record::PackReference;
use overread_learn::{Answer, FindingCases, Subgroup};
use overread_read::Program;
use overread_read::reader::{FrameOutcome, FrameRef, Reading};

use super::answers::{CROSS_VALIDATED, FindingLine, Line, ProgramLine};
use super::labels::{Labels, Source};

/// The cases of a run.
pub struct Run {
    /// The program that read.
    pub program: String,
    /// The edition that read.
    pub pack: PackReference,
    /// Its findings without answers.
    pub findings: Vec<FindingLine>,
    /// Cases with labels.
    pub cases: Vec<Case>,
    /// Results without a label.
    pub unlabelled: usize,
}

/// A case.
pub struct Case {
    /// Its rows of the label file, in order.
    pub rows: Vec<usize>,
    /// Answers, one a finding; else the code of why there are none.
    pub outcome: Result<Vec<FindingLine>, String>,
    /// Frames that counted: row, logits.
    images: Vec<(usize, Vec<f64>)>,
    /// Frames that were looked at.
    pub looked_at: u64,
    /// Those of them that did not count.
    pub refused: u64,
}

/// Whether a case is positive and what was answered, none where it was not assessed; none at all where it has no label for the finding.
pub type Cell = Option<(bool, Option<Answer>)>;

/// A result with the rows of its files.
struct Placed {
    rows: Vec<usize>,
    line: Line,
}

/// Joins results to labels by the ends of their paths, and results of one group to a case. `pack` is asked for where several results make a case.
pub fn join(labels: &Labels, lines: Vec<Line>, group: Option<&str>, pack: Option<&Program>) -> Result<Run> {
    let by_file = labels.by_file();
    let (placed, unlabelled): (Vec<Placed>, Vec<Placed>) = lines
        .into_iter()
        .map(|line| Placed { rows: line.files.iter().filter_map(|f| row_of(&by_file, f)).collect(), line })
        .partition(|placed| !placed.rows.is_empty());
    check_cover(labels, &placed)?;
    let first = placed.iter().find_map(|p| p.line.answer.as_ref().ok());
    let first =
        first.context("no study with a label was read by the program; look at the reasons in the results")?;
    let (program, pack_line) = (first.program.clone(), reference(first));
    let findings: Vec<FindingLine> = first.findings.clone();
    let one_edition = pack_line.edition != CROSS_VALIDATED;
    if let Some(pack) = pack.filter(|p| one_edition && p.pack.edition.to_string() != pack_line.edition) {
        bail!(
            "the results are of edition {}, the pack {} here is edition {}; name the pack that read with --pack",
            overread_learn::page::text::short(&pack_line.edition),
            pack.pack.manifest.id,
            pack.pack.edition.short()
        );
    }
    let mut cases = vec![];
    for lines in grouped(labels, placed, group)? {
        cases.push(case(lines, &by_file, pack, group)?);
    }
    Ok(Run { program, pack: pack_line, findings, cases, unlabelled: unlabelled.len() })
}

/// The row whose file is the longest end of a path.
fn row_of(by_file: &HashMap<&str, usize>, path: &str) -> Option<usize> {
    let ends = std::iter::once(path).chain(path.match_indices('/').map(|(i, _)| &path[i + 1..]));
    ends.filter_map(|end| by_file.get(end)).next().copied()
}

/// Each label has one result.
fn check_cover(labels: &Labels, placed: &[Placed]) -> Result<()> {
    let mut times = vec![0u8; labels.len()];
    for row in placed.iter().flat_map(|p| &p.rows) {
        times[*row] = times[*row].saturating_add(1);
        if times[*row] > 1 {
            bail!(
                "{} has two results; leave one, or tell files of one name apart by their folders in the label file",
                labels.file(*row)
            );
        }
    }
    let missing: Vec<&str> = (0..labels.len()).filter(|r| times[*r] == 0).map(|r| labels.file(r)).collect();
    if !missing.is_empty() {
        bail!(
            "{}; choose rows with --where or --split, or read these too",
            named(&missing, "has a label and no result", "have a label and no result")
        );
    }
    Ok(())
}

/// Files in words, not more than three by name.
pub fn named(files: &[&str], one: &str, many: &str) -> String {
    let first = files.iter().take(3).copied().collect::<Vec<_>>().join(", ");
    match files.len() {
        1 => format!("{first} {one}"),
        2 | 3 => format!("{first} {many}"),
        more => format!("{first} and {} more files {many}", more - 3),
    }
}

/// Results by case.
fn grouped(labels: &Labels, placed: Vec<Placed>, group: Option<&str>) -> Result<Vec<Vec<Placed>>> {
    let Some(column) = group else { return Ok(placed.into_iter().map(|p| vec![p]).collect()) };
    let mut group_of = vec![0; labels.len()];
    for (index, rows) in labels.groups(column)?.iter().enumerate() {
        rows.iter().for_each(|row| group_of[*row] = index);
    }
    let mut cases: BTreeMap<usize, Vec<Placed>> = BTreeMap::new();
    for placed in placed {
        let group = group_of[placed.rows[0]];
        if placed.rows.iter().any(|row| group_of[*row] != group) {
            bail!(
                "{} and other files of one study belong to several groups of the column {column}",
                labels.file(placed.rows[0])
            );
        }
        cases.entry(group).or_default().push(placed);
    }
    Ok(cases.into_values().collect())
}

fn case(
    placed: Vec<Placed>,
    by_file: &HashMap<&str, usize>,
    pack: Option<&Program>,
    group: Option<&str>,
) -> Result<Case> {
    let mut rows: Vec<usize> = placed.iter().flat_map(|p| p.rows.clone()).collect();
    rows.sort_unstable();
    let answered = || placed.iter().filter_map(|p| p.line.answer.as_ref().ok());
    let counted = |p: &ProgramLine| {
        let frames = p.images.iter().filter(|i| i.reason.is_none() && !i.logits.is_empty());
        frames.filter_map(|i| Some((row_of(by_file, &i.path)?, i.logits.clone()))).collect::<Vec<_>>()
    };
    let images = answered().flat_map(counted).collect();
    let frames = || answered().flat_map(|p| &p.images);
    let looked_at = frames().count() as u64;
    let refused = frames().filter(|i| i.reason.is_some()).count() as u64;
    let outcome = match (placed.as_slice(), pack) {
        ([one], _) => match &one.line.answer {
            Ok(program) => match &program.reason {
                Some(reason) => Err(reason.code.clone()),
                None => Ok(program.findings.clone()),
            },
            Err(code) => Err(code.clone()),
        },
        (_, Some(pack)) => joined(&placed, pack),
        (_, None) => bail!(
            "the results are of single files, which only the pack that read them can join to cases of one {}; name it with --pack or --program",
            group.unwrap_or("group")
        ),
    };
    Ok(Case { rows, outcome, images, looked_at, refused })
}

/// Several results as one, as the pack joins the images of a study.
fn joined(placed: &[Placed], pack: &Program) -> Result<Vec<FindingLine>, String> {
    let mut frames = vec![];
    let mut warnings = vec![];
    let mut prevalence = pack.prevalence;
    for (index, placed) in placed.iter().enumerate() {
        match &placed.line.answer {
            Err(code) => warnings.push(code.clone()),
            Ok(program) => {
                let stated = program.findings.iter().find_map(|f| f.prevalence);
                prevalence = stated.and_then(|p| Probability::new(p).ok()).or(prevalence);
                frames.extend(program.images.iter().map(|image| {
                    FrameOutcome {
                        frame: FrameRef { image: index, frame: 0 },
                        out_of_distribution: None,
                        logits: image.logits.clone(),
                        refused: image
                            .reason
                            .as_ref()
                            .map(|r| NotAssessed { code: r.code.clone(), message: String::new() }),
                    }
                }));
            }
        }
    }
    if frames.is_empty() {
        return Err(warnings.swap_remove(0));
    }
    let reading = Reading::of_frames(&Program { prevalence, ..pack.clone() }, frames, warnings);
    match reading.not_assessed {
        Some(why) => Err(why.code),
        None => Ok(reading.findings.iter().map(FindingLine::from).collect()),
    }
}

impl From<&Finding> for FindingLine {
    fn from(f: &Finding) -> Self {
        Self {
            label: f.label.clone(),
            probability: f.probability.map(f64::from),
            score: f.score,
            decision: f.decision,
            rule_out: f.rule_out.map(f64::from),
            rule_in: f.rule_in.map(f64::from),
            prevalence: f.prevalence.map(f64::from),
            experimental: f.experimental,
        }
    }
}

fn reference(program: &ProgramLine) -> PackReference {
    PackReference {
        id: program.pack.id.clone(),
        version: program.pack.version.clone(),
        edition: program.edition.clone(),
        research_only: program.pack.research_only,
    }
}

impl Case {
    /// Whether a finding is there in one of its files; none where no file has a label for it.
    fn truth(&self, labels: &Labels, source: &Source) -> Result<Option<bool>> {
        let mut truth = None;
        for row in &self.rows {
            truth = truth.max(labels.truth(*row, source)?);
        }
        Ok(truth)
    }

    /// Its answer to a finding; none where it was not assessed.
    fn answer(&self, finding: usize, truth: bool, labels: &Labels) -> Result<Option<Answer>> {
        let Ok(findings) = &self.outcome else { return Ok(None) };
        let place = || format!("the result of {}", labels.file(self.rows[0]));
        let found = findings.get(finding).with_context(|| format!("{} lacks a finding", place()))?;
        let probability = found.probability.map(Probability::new).transpose().with_context(place)?;
        let score = probability.map(f64::from).or(found.score).filter(|s| s.is_finite());
        let score = score
            .with_context(|| format!("{}: {} has neither probability nor score", place(), found.label))?;
        Ok(Some(Answer { truth, score, probability, decision: found.decision }))
    }
}

impl Run {
    /// Each case's truth and answer.
    pub fn column(&self, labels: &Labels, (finding, source): &(usize, Source)) -> Result<Vec<Cell>> {
        let of = |case: &Case| {
            let Some(truth) = case.truth(labels, source)? else { return Ok(None) };
            Ok(Some((truth, case.answer(*finding, truth, labels)?)))
        };
        self.cases.iter().map(of).collect()
    }

    /// What the figures of a finding are computed from.
    pub fn finding(
        &self,
        labels: &Labels,
        source: &(usize, Source),
        subgroups: &[String],
        pack: Option<&Program>,
    ) -> Result<FindingCases> {
        let column = self.column(labels, source)?;
        let spec = &self.findings[source.0];
        let probability = |p: Option<f64>| p.and_then(|p| Probability::new(p).ok());
        let refused =
            |truth: bool| column.iter().flatten().filter(|(t, a)| a.is_none() && *t == truth).count() as u64;
        let rows: Vec<Vec<usize>> = self.cases.iter().map(|c| c.rows.clone()).collect();
        // A case that was not assessed states no operating points, so the first one that was is asked.
        let stated = self.cases.iter().find_map(|c| c.outcome.as_ref().ok()?.get(source.0)).unwrap_or(spec);
        Ok(FindingCases {
            label: spec.label.clone(),
            experimental: spec.experimental,
            prevalence: probability(stated.prevalence),
            rule_out: probability(stated.rule_out),
            rule_in: probability(stated.rule_in),
            refused: (refused(true), refused(false)),
            cases: column.iter().flatten().filter_map(|(_, answer)| *answer).collect(),
            images: self.images(labels, source, pack, probability(stated.prevalence))?,
            subgroups: subgroups
                .iter()
                .map(|name| subgroup(labels, name, &rows, &column))
                .collect::<Result<_>>()?,
        })
    }

    /// Single images; none where each case is one, or nobody can say what a logit means.
    fn images(
        &self,
        labels: &Labels,
        (finding, source): &(usize, Source),
        pack: Option<&Program>,
        prevalence: Option<Probability>,
    ) -> Result<Vec<Answer>> {
        let Some(pack) = pack.filter(|_| self.cases.iter().any(|c| c.images.len() > 1)) else {
            return Ok(vec![]);
        };
        let spec = &pack.pack.manifest.findings[*finding];
        let mut images = vec![];
        for (row, logits) in self.cases.iter().flat_map(|c| &c.images) {
            let (Some(truth), Some(logit)) = (labels.truth(*row, source)?, logits.get(*finding)) else {
                continue;
            };
            let found = spec.finding(*logit, prevalence);
            images.push(Answer {
                truth,
                score: *logit,
                probability: found.probability,
                decision: found.decision,
            });
        }
        Ok(images)
    }
}

fn subgroup(labels: &Labels, name: &str, rows: &[Vec<usize>], column: &[Cell]) -> Result<Subgroup> {
    let (values, of_all) = labels.broken_down(name, rows)?;
    let mut subgroup =
        Subgroup { name: name.to_owned(), refused: vec![0; values.len()], values, of_case: vec![] };
    for (value, cell) in of_all.into_iter().zip(column) {
        match cell {
            Some((_, Some(_))) => subgroup.of_case.push(value),
            Some((_, None)) => subgroup.refused[value] += 1,
            None => {}
        }
    }
    Ok(subgroup)
}
