//! `overread deid`: originals in, de-identified objects out; a bad file never stops the others.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::{BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use overread_deid::pixels::second_look::SecondLook;
use overread_deid::profile::BurnedIn;
use overread_deid::report::{FileReport, Outcome};
use overread_deid::{
    Detection, Eyes, Folder, Gate, Leaving, Look, Looks, Policy, Profile, PseudonymKey, profile,
};
use overread_dicom::read::Limits;
use overread_domain::sentence;
use overread_read::batch;
use overread_read::intake;
use serde_json::json;

use crate::cli::{DeidArgs, Shared};
use crate::{SOME_FAILED, children, library, table};

pub fn run(shared: &Shared, args: &DeidArgs) -> Result<ExitCode> {
    let found = originals(args)?;
    if found.is_empty() {
        bail!("no files were found in the paths given");
    }
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let workers = args.workers.map_or(cores, usize::from).min(found.len());
    let profile = profile(&args.profile)?;
    let gate = gate(shared, args, profile.clone())?;
    let mut report = Report::start(args.report.as_deref(), &profile)?;
    let folder = Folder::new(&args.out).with_context(|| format!("making {}", args.out.display()))?;
    let mut looks = looks(&found, &gate, workers)?;
    let (order, sample) = (looks.order(), looks.sample());
    // What the sample of a series shows decides about its other images.
    for part in [&order[..sample], &order[sample..]] {
        let mut seen = Vec::new();
        batch::in_order(
            part,
            workers.min(part.len()),
            || Ok::<_, anyhow::Error>(()),
            |(), place| (*place, answer(&found[*place], &gate, looks.at(*place), &folder)),
            |(place, answered)| {
                report.take(&answered);
                seen.push((place, shows_text(&answered)));
            },
        )?;
        seen.into_iter().for_each(|(place, text)| looks.note(place, text));
    }
    report.finish(args.report.as_deref())
}

/// The gate of the profile, with the eyes that it needs.
fn gate(shared: &Shared, args: &DeidArgs, profile: Profile) -> Result<Gate> {
    let key = key(args.key.as_deref())?;
    let policy = Policy {
        cleaned_elsewhere: args.pixels_cleaned,
        ..Policy::of(&profile, !args.no_second_look && !args.pixels_cleaned)
    };
    let detection = (policy.pixels == BurnedIn::Clean && !policy.cleaned_elsewhere)
        .then(|| Detection::load(&library::onnxruntime(shared)?, 1).map_err(anyhow::Error::from))
        .transpose()
        .context("text cannot be removed from pixels; name ONNX Runtime with --onnxruntime, or take a profile with burned_in = \"quarantine\"")?;
    let second_look = if policy.second_look { SecondLook::find(Path::new("tesseract")) } else { None };
    if policy.second_look && second_look.is_none() {
        bail!("Tesseract, which reads the outgoing pixels, is missing; install it, or say --no-second-look");
    }
    let eyes = Eyes { detection, second_look, codec: children::hosts()? };
    // Whole slides are larger than what is read for a finding; pixel data go by in pieces.
    let limits = Limits { file_bytes: u64::MAX, ..Limits::default() };
    Ok(Gate::by_profile(profile, key, policy, eyes, limits)?)
}

/// Which files are looked at closely: slices by series, every other file.
fn looks(found: &[intake::Found], gate: &Gate, workers: usize) -> Result<Looks> {
    let mut series = Vec::with_capacity(found.len());
    let of = |file: &intake::Found| {
        let path = file.as_ref().ok()?;
        // A defect met here is met again, and told, when the file has its turn.
        catch_unwind(AssertUnwindSafe(|| gate.sampled_series(path).ok().flatten())).ok().flatten()
    };
    batch::in_order(
        found,
        workers,
        || Ok::<_, anyhow::Error>(()),
        |(), file| of(file),
        |uid| series.push(uid),
    )?;
    let keys = series.into_iter().enumerate().map(|(at, uid)| uid.unwrap_or_else(|| format!("file {at}")));
    Ok(Looks::new(keys.collect::<Vec<_>>().iter().map(String::as_str)))
}

/// Whether a file tells that its series shows text.
fn shows_text(report: &FileReport) -> bool {
    match &report.outcome {
        Outcome::Written { object, .. } => !object.pixels.regions.is_empty(),
        Outcome::Quarantined { .. } | Outcome::Failed { .. } => true,
    }
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
    // A folder that is not there holds nothing of an earlier run.
    let Ok(out) = args.out.canonicalize() else { return Ok(intake::files(&args.paths)) };
    let real = |path: &Path| path.canonicalize().unwrap_or_default();
    let mut found = intake::files(&args.paths);
    if args.paths.iter().any(|path| out.starts_with(real(path))) {
        found.retain(|file| !file.as_ref().is_ok_and(|path| real(path).starts_with(&out)));
    }
    Ok(found)
}

fn answer(found: &intake::Found, gate: &Gate, look: Look, folder: &Folder) -> FileReport {
    let failed = |input: &PathBuf, reason: String| FileReport {
        input: input.clone(),
        outcome: Outcome::Failed { reason },
    };
    let input = match found {
        Ok(input) => input,
        Err((folder, why)) => return failed(folder, why.clone()),
    };
    // Files come from anywhere; a defect that one of them meets must not stop the others.
    let taken = catch_unwind(AssertUnwindSafe(|| folder.take(gate, input, look)));
    let outcome = match taken {
        Ok(Ok((Leaving::Clean(object), Some(output)))) => Outcome::Written { output, object },
        Ok(Ok((Leaving::Quarantined(reasons), _))) => Outcome::Quarantined { reasons },
        Ok(Ok((Leaving::Clean(_), None))) => {
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
        "burned_in": profile.burned_in(),
        "recognizable_features": profile.recognizable(),
    });
    let head = serde_json::to_string(&head)?;
    write!(file, "{},\"files\":[", head.trim_end_matches('}'))?;
    Ok(file)
}
