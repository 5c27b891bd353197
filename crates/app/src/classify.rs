//! `overread classify`: studies in, results out; a bad file never stops the others.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use indicatif::{ProgressBar, ProgressStyle};
use overread_dicom::read::Limits;
use overread_dicom::write::Stamp;
use overread_domain::sentence;
use overread_infer::Runtime;
use overread_read::artifacts::ArtifactFolder;
use overread_read::considered::Considered;
use overread_read::reader::{OnTiles, Options, Reader};
use overread_read::{Program, Status, Study, StudyResult, Workers, batch, find_studies};

use crate::cli::{ClassifyArgs, Format, Shared};
use crate::{SOME_FAILED, children, library, page, table};

/// Why a pack for research was not asked.
const FOR_RESEARCH: &str = "for research alone: asked only where --program names it";

pub fn run(shared: &Shared, args: &ClassifyArgs) -> Result<ExitCode> {
    let library = library::onnxruntime(shared)?;
    // The library loads while the packs are read and hashed. The scope waits for it whatever happens: a process must not end
    // while its libraries are still being loaded.
    let (programs, runtime) = std::thread::scope(|scope| {
        let loading = scope.spawn(|| Runtime::load(&library));
        let programs = programs(shared, args);
        (programs, loading.join())
    });
    let (programs, unasked) = programs?;
    let runtime = runtime.map_err(|_| anyhow!("loading ONNX Runtime panicked"))??;
    if let Some(out) = &args.out {
        std::fs::create_dir_all(out).with_context(|| format!("making {}", out.display()))?;
    }
    let limits = Limits::default();
    let bar = Progress::start(args.format);
    let studies = find_studies(&args.paths, &limits);
    bar.expect(studies.len());
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let workers = Workers::split(args.workers.map_or(cores, usize::from), studies.len());
    let hosts = children::hosts()?;
    let numbered: Vec<(usize, &Study)> = studies.iter().enumerate().collect();
    let options =
        Options { explain: !args.no_explain, faithfulness: args.faithfulness, full_decode: args.full_decode };
    let mut sink = Sink::new(args)?;
    batch::in_order(
        &numbered,
        workers.readers,
        || {
            let reader = Reader::new(runtime.clone(), hosts(), limits.clone(), workers.threads_each);
            Ok::<_, anyhow::Error>(reader.telling(bar.tiles()))
        },
        |reader, (index, study)| answer(reader, (*index, study), (&programs, &unasked), options, args),
        |result| {
            bar.step();
            sink.take(&result);
        },
    )?;
    bar.done();
    sink.finish(studies.len())
}

/// The programs that the command line names, else all that may be used without being named; then, the others and why they are not asked.
fn programs(shared: &Shared, args: &ClassifyArgs) -> Result<(Vec<Program>, Vec<Considered>)> {
    let trust = library::trust(shared)?;
    let mut unasked = vec![];
    let folders: Vec<PathBuf> = if args.pack.is_empty() {
        let entries = library::entries(shared);
        let known: Vec<String> = entries.iter().map(|e| e.metadata.overread.program.clone()).collect();
        if let Some(unknown) = args.program.iter().find(|p| !known.contains(p)) {
            bail!("no program {unknown}; {}", library::names(shared, known.iter().map(String::as_str)));
        }
        if args.program.is_empty() {
            let research = entries.iter().map(|e| &e.metadata.overread).filter(|m| m.terms.research_only);
            unasked.extend(research.map(|m| Considered::unasked(&m.program, "not-named", FOR_RESEARCH)));
        }
        let wanted = |e: &&library::Entry| {
            let manifest = &e.metadata.overread;
            if args.program.is_empty() {
                !manifest.terms.research_only
            } else {
                args.program.contains(&manifest.program)
            }
        };
        entries.iter().filter(wanted).map(|e| e.folder.clone()).collect()
    } else {
        args.pack.clone()
    };
    if folders.is_empty() {
        bail!("no pack to read with; {}", library::names(shared, std::iter::empty()));
    }
    let open = |folder: &PathBuf| {
        let pack = library::open(folder, &trust, args.allow_untrusted)?;
        Ok(Program { prevalence: args.prevalence, ..Program::of_pack(pack) })
    };
    Ok((folders.iter().map(open).collect::<Result<_>>()?, unasked))
}

fn answer(
    reader: &mut Reader,
    (index, study): (usize, &Study),
    (programs, unasked): (&[Program], &[Considered]),
    options: Options,
    args: &ClassifyArgs,
) -> StudyResult {
    // One that is named says why it does not read a study; of several, those read it that take it.
    let named = args.program.len() + args.pack.len() == 1;
    let (readings, considered) = overread_read::result::read_study(reader, study, programs, named, options);
    let mut result = StudyResult::new(study, &readings, args.timings);
    result.considered = considered;
    if study.unreadable.is_none() {
        result.considered.extend_from_slice(unasked);
    }
    if let Some(out) = &args.out {
        // Numbered: a folder's name tells nothing of the patient.
        let folder = ArtifactFolder::new(out.join(format!("{:05}", index + 1)), now());
        for reading in readings.iter().flat_map(|r| r.as_ref().ok()) {
            match folder.write(reader, study, reading) {
                Ok(artifacts) => result.artifacts.extend(artifacts),
                Err(why) => {
                    result.warnings.push(format!("a result file was not written: {}", sentence(&why)))
                }
            }
        }
    }
    result
}

/// The time that result objects state, by this machine's clock and zone.
pub fn now() -> Stamp {
    let now = chrono::Local::now();
    let offset = now.offset().local_minus_utc() / 60;
    Stamp::new(now.timestamp(), i16::try_from(offset).unwrap_or(0))
}

/// Where results go: printed as they come, or kept for a table, and into the folder.
struct Sink {
    format: Format,
    shown: table::Results,
    results: Vec<serde_json::Value>,
    failed: usize,
    out: Option<(PathBuf, std::io::BufWriter<std::fs::File>)>,
    trouble: Option<anyhow::Error>,
}

impl Sink {
    fn new(args: &ClassifyArgs) -> Result<Self> {
        let out = match &args.out {
            None => None,
            Some(folder) => {
                let path = folder.join("results.jsonl");
                let file =
                    std::fs::File::create(&path).with_context(|| format!("making {}", path.display()))?;
                Some((folder.clone(), std::io::BufWriter::new(file)))
            }
        };
        let shown = table::Results::new();
        Ok(Self { format: args.format, shown, results: vec![], failed: 0, out, trouble: None })
    }

    fn take(&mut self, result: &StudyResult) {
        if let Err(e) = self.try_take(result) {
            self.trouble.get_or_insert(e);
        }
    }

    fn try_take(&mut self, result: &StudyResult) -> Result<()> {
        self.failed += usize::from(result.status == Status::Failed);
        let json = serde_json::to_value(result)?;
        if let Some((_, file)) = &mut self.out {
            use std::io::Write as _;
            writeln!(file, "{}", serde_json::to_string(&json)?)?;
        }
        match self.format {
            Format::Jsonl => table::print_line(&json)?,
            Format::Text => self.shown.add(result),
            Format::Json => {}
        }
        if self.format == Format::Json || self.out.is_some() {
            self.results.push(json);
        }
        Ok(())
    }

    fn finish(mut self, studies: usize) -> Result<ExitCode> {
        if let Some(trouble) = self.trouble {
            return Err(trouble.context("results could not be written"));
        }
        if let Some((folder, mut file)) = self.out.take() {
            std::io::Write::flush(&mut file)?;
            write_page(&folder, &self.results)?;
        }
        match self.format {
            Format::Json => table::print_json(&serde_json::Value::Array(self.results))?,
            Format::Text => self.shown.print()?,
            Format::Jsonl => {}
        }
        if studies == 0 {
            bail!("no files were found in the paths given");
        }
        if self.failed > 0 {
            table::remark(&format!(
                "{} of {studies} studies failed; the reasons are in their results",
                self.failed
            ));
            return Ok(ExitCode::from(SOME_FAILED));
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn write_page(folder: &Path, results: &[serde_json::Value]) -> Result<()> {
    let path = folder.join("index.html");
    std::fs::write(&path, page::render(folder, results))
        .with_context(|| format!("writing {}", path.display()))?;
    table::remark(&format!("a page to look at: {}", path.display()));
    Ok(())
}

/// A progress bar on standard error, where that is a terminal.
pub struct Progress(Arc<ProgressBar>);

impl Progress {
    pub fn start(format: Format) -> Self {
        let bar = if format == Format::Jsonl { ProgressBar::hidden() } else { ProgressBar::new_spinner() };
        bar.set_message("finding studies");
        bar.enable_steady_tick(Duration::from_millis(200));
        Self(Arc::new(bar))
    }

    pub fn expect(&self, studies: usize) {
        self.0.set_length(studies as u64);
        self.0.set_message("");
        let template = "{bar:32} {pos}/{len} studies, {per_sec}, {eta} left{msg}";
        if let Ok(style) = ProgressStyle::with_template(template) {
            self.0.set_style(style);
        }
    }

    pub fn step(&self) {
        self.0.inc(1);
    }

    /// Shows how far a slide is.
    pub fn tiles(&self) -> OnTiles {
        let bar = Arc::clone(&self.0);
        Arc::new(move |done, all| {
            bar.set_message(if done < all {
                format!(", {done} of {all} tiles of a slide")
            } else {
                String::new()
            });
        })
    }

    pub fn done(&self) {
        self.0.finish_and_clear();
    }
}
