//! `overread deid`: originals in, de-identified objects out; a bad file never stops the others.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::{BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use overread_deid::report::{FileReport, Outcome};
use overread_deid::{Deidentifier, Folder, Pixels, Profile, PseudonymKey, Verdict, profile};
use overread_dicom::read::Limits;
use overread_domain::sentence;
use overread_read::batch;
use overread_read::intake;
use serde_json::json;

use crate::cli::DeidArgs;
use crate::{SOME_FAILED, table};

pub fn run(args: &DeidArgs) -> Result<ExitCode> {
    let deidentifier = Deidentifier::new(profile(&args.profile)?, key(args.key.as_deref())?);
    let folder = Folder::new(&args.out).with_context(|| format!("making {}", args.out.display()))?;
    let found = originals(args)?;
    if found.is_empty() {
        bail!("no files were found in the paths given");
    }
    let mut report = Report::start(args.report.as_deref(), deidentifier.profile())?;
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let workers = args.workers.map_or(cores, usize::from).min(found.len());
    let pixels = if args.pixels_cleaned { Pixels::Cleaned } else { Pixels::Unseen };
    // Whole slides are larger than what is read for a finding; pixel data go by in pieces.
    let limits = Limits { file_bytes: u64::MAX, ..Limits::default() };
    batch::in_order(
        &found,
        workers,
        || Ok::<_, anyhow::Error>(()),
        |(), file| answer(file, &deidentifier, &folder, pixels, &limits),
        |answered| report.take(&answered),
    )?;
    report.finish(args.report.as_deref())
}

/// A built-in profile, or the one in a file.
fn profile(name: &str) -> Result<Profile> {
    if !name.ends_with(".toml") && !name.contains('/') {
        return Ok(Profile::shipped(name)?);
    }
    let text = std::fs::read_to_string(name).with_context(|| format!("reading the profile {name}"))?;
    Profile::parse(&text).with_context(|| format!("the profile {name}"))
}

fn key(file: Option<&Path>) -> Result<PseudonymKey> {
    match file {
        Some(path) => Ok(PseudonymKey::load_or_create(path)?),
        None => Ok(PseudonymKey::random()?),
    }
}

/// The files of the paths, without what an earlier run wrote into the folder.
fn originals(args: &DeidArgs) -> Result<Vec<intake::Found>> {
    let out = args.out.canonicalize().with_context(|| format!("finding {}", args.out.display()))?;
    let real = |path: &Path| path.canonicalize().unwrap_or_default();
    let mut found = intake::files(&args.paths);
    if args.paths.iter().any(|path| out.starts_with(real(path))) {
        found.retain(|file| !file.as_ref().is_ok_and(|path| real(path).starts_with(&out)));
    }
    Ok(found)
}

fn answer(
    found: &intake::Found,
    deidentifier: &Deidentifier,
    folder: &Folder,
    pixels: Pixels,
    limits: &Limits,
) -> FileReport {
    let failed = |input: &PathBuf, reason: String| FileReport {
        input: input.clone(),
        outcome: Outcome::Failed { reason },
    };
    let input = match found {
        Ok(input) => input,
        Err((folder, why)) => return failed(folder, why.clone()),
    };
    // Files come from anywhere; a defect that one of them meets must not stop the others.
    let taken = catch_unwind(AssertUnwindSafe(|| folder.take(deidentifier, input, pixels, limits)));
    let outcome = match taken {
        Ok(Ok((Verdict::Written(object), Some(output)))) => Outcome::Written { output, object },
        Ok(Ok((Verdict::Quarantined(reasons), _))) => Outcome::Quarantined { reasons },
        Ok(Ok((Verdict::Written(_), None))) => {
            return failed(input, "the object was written to no file; this is a defect".into());
        }
        Ok(Err(error)) => return failed(input, sentence(&error)),
        Err(_) => return failed(input, "reading the file met a defect; please report it".into()),
    };
    FileReport { input: input.clone(), outcome }
}

/// What is told of a run: a file for each original in the report, and sums without a path on the terminal.
struct Report {
    file: Option<BufWriter<std::fs::File>>,
    first: bool,
    written: usize,
    quarantined: usize,
    failed: usize,
    reasons: BTreeMap<String, usize>,
    trouble: Option<anyhow::Error>,
}

impl Report {
    fn start(path: Option<&Path>, profile: &Profile) -> Result<Self> {
        let file =
            path.map(|path| create(path, profile).with_context(|| format!("making {}", path.display())));
        Ok(Self {
            file: file.transpose()?,
            first: true,
            written: 0,
            quarantined: 0,
            failed: 0,
            reasons: BTreeMap::new(),
            trouble: None,
        })
    }

    fn take(&mut self, file: &FileReport) {
        match &file.outcome {
            Outcome::Written { .. } => self.written += 1,
            Outcome::Quarantined { reasons } => {
                self.quarantined += 1;
                reasons.iter().for_each(|reason| self.count(reason));
            }
            Outcome::Failed { reason } => {
                self.failed += 1;
                self.count(reason);
            }
        }
        if let Err(e) = self.write(file) {
            self.trouble.get_or_insert(e);
        }
    }

    /// Counts a reason without the place in the file.
    fn count(&mut self, reason: &str) {
        let kind = reason.split(", at byte").next().unwrap_or(reason).to_owned();
        *self.reasons.entry(kind).or_default() += 1;
    }

    fn write(&mut self, report: &FileReport) -> Result<()> {
        let Some(file) = &mut self.file else { return Ok(()) };
        file.write_all(if self.first { b"\n" } else { b",\n" })?;
        self.first = false;
        serde_json::to_writer(file, report)?;
        Ok(())
    }

    fn finish(mut self, path: Option<&Path>) -> Result<ExitCode> {
        if let Some(file) = &mut self.file {
            file.write_all(b"\n]}\n")?;
            file.flush()?;
        }
        if let Some(trouble) = self.trouble {
            return Err(trouble.context("the report could not be written"));
        }
        let (left, all) = (self.written, self.written + self.quarantined + self.failed);
        table::print(&format!(
            "{left} of {all} files written, {} quarantined, {} failed",
            self.quarantined, self.failed
        ))?;
        for (reason, times) in &self.reasons {
            table::print(&format!("{times:>7} × {reason}"))?;
        }
        if left == all {
            return Ok(ExitCode::SUCCESS);
        }
        match path {
            Some(path) => {
                table::remark(&format!("which files, and what was done with the others: {}", path.display()))
            }
            None => table::remark("which files they are, a run with --report FILE tells"),
        }
        Ok(ExitCode::from(SOME_FAILED))
    }
}

/// Makes the report, for the owner's eyes: paths of originals may tell who the patients are.
fn create(path: &Path, profile: &Profile) -> Result<BufWriter<std::fs::File>> {
    let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    let mut file = BufWriter::new(file);
    let head = json!({
        "schema": "overread.deid/1",
        "profile": profile.name(),
        "standard": format!("DICOM PS3.15 {} Annex E", profile::EDITION),
        "options": profile.options().iter().collect::<Vec<_>>(),
    });
    let head = serde_json::to_string(&head)?;
    write!(file, "{},\"files\":[", head.trim_end_matches('}'))?;
    Ok(file)
}
