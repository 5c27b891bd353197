//! `overread validate`: a pack on a site's own labelled cases.

mod answers;
mod join;
mod labels;
mod read;
mod show;

use std::cell::OnceCell;
use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use overread_domain::{Clock, Probability};
use overread_infer::Runtime;
use overread_learn::compare::{Comparison, compare};
use overread_learn::page;
use overread_learn::record::{Cases, FindingValidation, Refusal, Refusals};
use overread_learn::share::Share;
use overread_learn::{Answer, SCHEMA, Settings, Validation};
use overread_read::Program;

use self::join::{Case, Cell, Run};
use self::labels::{Labels, Source};
use crate::cli::{Lines, Shared, ValidateArgs};
use crate::{library, table};

pub fn run(shared: &Shared, args: &ValidateArgs) -> Result<ExitCode> {
    let split = args.split.as_deref().zip(args.part.as_deref());
    let labels = Labels::read(&args.labels, &args.rows, split)?;
    let pack = pack(shared, args)?;
    if let Some(pack) = &pack {
        // Labels that do not fit are told before hours of reading.
        let findings: Vec<String> = pack.pack.manifest.findings.iter().map(|f| f.label.clone()).collect();
        labels.sources(&findings, &args.finding)?;
    }
    let runtime = Lazy::default();
    let lines = results(shared, args, &labels, pack.as_ref(), &runtime)?;
    let run = join::join(&labels, parsed(args, &lines)?, args.group.as_deref(), pack.as_ref())?;
    let names: Vec<String> = run.findings.iter().map(|f| f.label.clone()).collect();
    let sources = labels.sources(&names, &args.finding)?;
    let mut record = record(args, &labels, &run, &sources, pack.as_ref())?;
    if let Some(other) = &args.compare {
        let other = other_run(shared, args, &labels, other, &runtime)?;
        record.comparison = Some(compared(args, &labels, &run, &other, &sources)?);
    }
    if let Some(out) = &args.out {
        write(out, &record, &lines, args)?;
    }
    match args.format {
        Lines::Json => table::print_json(&serde_json::to_value(&record)?)?,
        Lines::Text => show::print(&record)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// ONNX Runtime, loaded by the first who reads: earlier results need none, and a process has but one.
#[derive(Default)]
struct Lazy(OnceCell<Runtime>);

impl Lazy {
    fn get(&self, shared: &Shared) -> Result<&Runtime> {
        match self.0.get() {
            Some(runtime) => Ok(runtime),
            None => {
                let loaded = library::runtime(shared)?;
                Ok(self.0.get_or_init(|| loaded))
            }
        }
    }
}

/// The pack that is validated: named by its folder, or by its program. Earlier results can do without.
fn pack(shared: &Shared, args: &ValidateArgs) -> Result<Option<Program>> {
    let folder = match (&args.pack, &args.program) {
        (Some(folder), _) => folder.clone(),
        (None, Some(program)) => {
            let entries = library::entries(shared);
            match entries.iter().find(|e| e.metadata.overread.program == *program) {
                Some(entry) => entry.folder.clone(),
                // The name may be that of a service's program, whose results can be validated all the same.
                None if args.results.is_some() => return Ok(None),
                None => {
                    let known = entries.iter().map(|e| e.metadata.overread.program.as_str());
                    bail!("no program {program}; {}", library::names(shared, known));
                }
            }
        }
        (None, None) => return Ok(None),
    };
    open(shared, args, &folder).map(Some)
}

fn open(shared: &Shared, args: &ValidateArgs, folder: &Path) -> Result<Program> {
    Ok(Program::of_pack(library::open(folder, &library::trust(shared)?, args.allow_untrusted)?))
}

/// The results, one a line: those of an earlier run, or of reading now.
fn results(
    shared: &Shared,
    args: &ValidateArgs,
    labels: &Labels,
    pack: Option<&Program>,
    runtime: &Lazy,
) -> Result<String> {
    match (&args.results, &args.folder, pack) {
        (Some(file), _, _) => {
            std::fs::read_to_string(file).with_context(|| format!("reading {}", file.display()))
        }
        (None, Some(folder), Some(pack)) => read::read(args, folder, labels, pack, runtime.get(shared)?),
        _ => bail!("name a folder and a program, or --results"),
    }
}

fn parsed(args: &ValidateArgs, lines: &str) -> Result<Vec<answers::Line>> {
    let name = args.results.as_ref().map_or("the results".into(), |file| file.display().to_string());
    // A pack that is named by its folder has results under its own program's name alone.
    answers::parse(&name, lines, args.program.as_deref(), args.cross_validated)
}

/// The same cases under another edition.
fn other_run(
    shared: &Shared,
    args: &ValidateArgs,
    labels: &Labels,
    path: &Path,
    runtime: &Lazy,
) -> Result<Run> {
    if path.is_file() {
        let text = std::fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
        let lines = answers::parse(&path.display().to_string(), &text, args.program.as_deref(), false)?;
        // Only the pack that made them can join single results, and it is not at hand.
        return join::join(labels, lines, args.group.as_deref(), None);
    }
    let Some(folder) = &args.folder else {
        bail!(
            "--compare {}: with --results it takes the results of another run, a file of JSON lines",
            path.display()
        );
    };
    let pack = open(shared, args, path)?;
    let lines = read::read(args, folder, labels, &pack, runtime.get(shared)?)?;
    let lines = answers::parse("the other pack's results", &lines, None, false)?;
    join::join(labels, lines, args.group.as_deref(), Some(&pack))
}

fn record(
    args: &ValidateArgs,
    labels: &Labels,
    run: &Run,
    sources: &[(usize, Source)],
    pack: Option<&Program>,
) -> Result<Validation> {
    let settings =
        Settings { prevalence: args.prevalence, threshold: args.at, studies_a_day: args.studies_a_day };
    let finding =
        |source| Ok(FindingValidation::of(run.finding(labels, source, &args.subgroup, pack)?, &settings));
    let findings: Vec<FindingValidation> = sources.iter().map(finding).collect::<Result<_>>()?;
    Ok(Validation {
        schema: SCHEMA.into(),
        made_at: Clock::machine().now().0,
        made_by: env!("CARGO_PKG_VERSION").into(),
        program: run.program.clone(),
        pack: run.pack.clone(),
        cases: Cases {
            cases: run.cases.len() as u64,
            images: run.cases.iter().map(|c| c.rows.len() as u64).sum(),
            grouped_by: args.group.clone(),
            labels_sha256: labels.sha256.clone(),
        },
        confidence: 0.95,
        prevalence: args.prevalence.map(Probability::get),
        studies_a_day: args.studies_a_day,
        refusals: refusals(&run.cases),
        remarks: remarks(run, &findings, pack),
        findings,
        comparison: None,
    })
}

fn refusals(cases: &[Case]) -> Refusals {
    let mut codes: BTreeMap<&str, u64> = BTreeMap::new();
    for code in cases.iter().filter_map(|c| c.outcome.as_ref().err()) {
        *codes.entry(code).or_default() += 1;
    }
    let all = cases.len() as u64;
    let refusal =
        |(code, count): (&&str, &u64)| Refusal { code: (*code).into(), cases: Share::new(*count, all) };
    let images = Share::new(cases.iter().map(|c| c.refused).sum(), cases.iter().map(|c| c.looked_at).sum());
    Refusals {
        cases: Share::new(codes.values().sum(), all),
        images,
        codes: codes.iter().map(refusal).collect(),
    }
}

/// What whoever reads the figures must know beside them.
fn remarks(run: &Run, findings: &[FindingValidation], pack: Option<&Program>) -> Vec<String> {
    let mut remarks = vec![];
    if run.pack.edition == answers::CROSS_VALIDATED {
        remarks.push(
            "cross-validated: the cases were read by several editions, each on those it had not seen; this validates a recipe and no edition".into(),
        );
    }
    if run.unlabelled > 0 {
        remarks.push(format!("{} results have no label and are left out.", run.unlabelled));
    }
    let without: Vec<&str> = run
        .findings
        .iter()
        .map(|f| f.label.as_str())
        .filter(|label| findings.iter().all(|f| f.label != *label))
        .collect();
    if !without.is_empty() {
        remarks.push(format!("The label file says nothing of {}.", without.join(", ")));
    }
    let several = run.cases.iter().any(|c| c.rows.len() > 1);
    if several && pack.is_none() {
        remarks.push("Figures of single images are left out: they need the pack that read, --pack.".into());
    }
    let answered = run.cases.iter().filter(|c| c.outcome.is_ok()).count() as u64;
    for finding in findings {
        if finding.cases.assessed < answered {
            remarks.push(format!(
                "{} has no label in some cases, which are left out of its figures.",
                finding.label
            ));
        }
    }
    remarks
}

/// Both editions' answers to the findings that both have, over the cases that both assessed.
fn compared(
    args: &ValidateArgs,
    labels: &Labels,
    run: &Run,
    other: &Run,
    sources: &[(usize, Source)],
) -> Result<Comparison> {
    let names: Vec<String> = other.findings.iter().map(|f| f.label.clone()).collect();
    let place: HashMap<usize, usize> = other.cases.iter().enumerate().map(|(i, c)| (c.rows[0], i)).collect();
    let mut findings = vec![];
    for source in sources {
        let label = &run.findings[source.0].label;
        let Some(index) = names.iter().position(|n| n == label) else { continue };
        let Some(theirs) = labels.sources(&names, &args.finding)?.into_iter().find(|(i, _)| *i == index)
        else {
            continue;
        };
        let (first, second) = (run.column(labels, source)?, other.column(labels, &theirs)?);
        let pair = |(case, cell): (&Case, &Cell)| {
            let (_, second) = (*second.get(*place.get(&case.rows[0])?)?)?;
            Some(((*cell)?.1?, second?))
        };
        let pairs: Vec<(Answer, Answer)> = run.cases.iter().zip(&first).filter_map(pair).collect();
        findings.push(compare(label, &pairs));
    }
    if findings.is_empty() {
        bail!(
            "the two editions have no finding in common: {} here, {} there",
            run.findings.len(),
            names.join(", ")
        );
    }
    Ok(Comparison { with: other.pack.clone(), findings })
}

fn write(out: &Path, record: &Validation, lines: &str, args: &ValidateArgs) -> Result<()> {
    std::fs::create_dir_all(out).with_context(|| format!("making {}", out.display()))?;
    let put = |name: &str, text: &str| {
        let path = out.join(name);
        std::fs::write(&path, text).with_context(|| format!("writing {}", path.display()))
    };
    put("validation.json", &(serde_json::to_string_pretty(record)? + "\n"))?;
    put("index.html", &page::render(record))?;
    if args.results.is_none() {
        put("results.jsonl", lines)?;
    }
    table::remark(&format!("a page to look at: {}", out.join("index.html").display()));
    Ok(())
}
