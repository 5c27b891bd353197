//! The threads that read: each has a reader of its own, which keeps its sessions.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Instant;

use futures::future::BoxFuture;
use overread_dicom::read::{CodecHost, Limits};
use overread_domain::{NotAssessed, sentence};
use overread_infer::{Pack, Runtime};
use overread_read::intake::Study;
use overread_read::reader::{Options, ReadingError};
use overread_read::{Program, Reader, Workers, pictures, result};
use overread_wire::AlgorithmReference;
use tokio::sync::oneshot;

use crate::reading::{Answer, Answers, ReadFailure, ReadStudy, Reading, StudyToRead, Timings};

/// Makes the host of the codecs' child process, one for each thread.
pub type CodecFactory = Arc<dyn Fn() -> CodecHost + Send + Sync>;

/// Most characters of a reason that is made of many images' reasons.
const REASON: usize = 600;
/// Most images that a result names when none of them was read.
const IMAGES: usize = 512;

type Task = (StudyToRead, oneshot::Sender<Result<Answers, ReadFailure>>);

/// The threads. Dropped, they end after the study that they read.
pub struct ReaderPool {
    tasks: Option<Sender<Task>>,
    threads: Vec<JoinHandle<()>>,
}

impl ReaderPool {
    /// Starts the threads.
    ///
    /// # Errors
    /// The system gives no threads.
    pub fn start(runtime: &Runtime, codec: &CodecFactory, workers: Workers) -> std::io::Result<Self> {
        let (tasks, receiver) = channel();
        let receiver = Arc::new(Mutex::new(receiver));
        let thread = |number: usize| {
            let (runtime, codec, receiver) = (runtime.clone(), Arc::clone(codec), Arc::clone(&receiver));
            let make = move || Reader::new(runtime.clone(), codec(), Limits::default(), workers.threads_each);
            std::thread::Builder::new()
                .name(format!("reader-{number}"))
                .spawn(move || read_all(&receiver, &make))
        };
        let threads = (1..=workers.readers.max(1)).map(thread).collect::<Result<_, _>>()?;
        Ok(Self { tasks: Some(tasks), threads })
    }
}

impl ReadStudy for ReaderPool {
    fn read(&self, study: StudyToRead) -> BoxFuture<'_, Result<Answers, ReadFailure>> {
        let (reply, answer) = oneshot::channel();
        let sent = self.tasks.as_ref().is_some_and(|tasks| tasks.send((study, reply)).is_ok());
        Box::pin(async move {
            if sent { answer.await.unwrap_or(Err(ReadFailure::Closed)) } else { Err(ReadFailure::Closed) }
        })
    }
}

impl Drop for ReaderPool {
    fn drop(&mut self) {
        self.tasks = None;
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

fn read_all(tasks: &Mutex<Receiver<Task>>, make: &impl Fn() -> Reader) {
    let mut reader = make();
    loop {
        let task = tasks.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok((study, reply)) = task else { return };
        let answers = catch_unwind(AssertUnwindSafe(|| read(&mut reader, &study)));
        let answers = answers.map_err(|_| {
            // What a panic left of it is not trusted any more.
            reader = make();
            ReadFailure::Panicked
        });
        // Whoever asked may have gone.
        let _ = reply.send(answers);
    }
}

fn read(reader: &mut Reader, wanted: &StudyToRead) -> Answers {
    let study = Study::of_files(wanted.uid.clone(), &wanted.files, &wanted.overrides, &Limits::default());
    let takes = |p: &&Program| wanted.named || study.images.iter().any(|image| p.accepts(image).is_ok());
    let options = Options { explain: true, ..Options::default() };
    let answers = wanted
        .programs
        .iter()
        .filter(takes)
        .map(|program| {
            let outcome = match reader.read(&study, program, options) {
                Ok(reading) => Ok(read_one(reader, &study, &reading)),
                Err(ReadingError::Undecodable(why)) => Ok(unreadable(wanted, &study, program, &why)),
                Err(ReadingError::Infer(e)) => Err(sentence(&e)),
            };
            Answer { program: program.name.clone(), outcome }
        })
        .collect();
    Answers { answers, lost: study.lost }
}

fn read_one(reader: &mut Reader, study: &Study, reading: &overread_read::reader::Reading) -> Reading {
    let started = Instant::now();
    // A picture that cannot be drawn takes nothing from the findings.
    let captures = pictures::captures(reader, study, reading).unwrap_or_else(|e| {
        tracing::warn!("a reading goes without pictures: {}", sentence(&e));
        vec![]
    });
    let mut timings = result::Timings::default();
    timings.add(&reading.spent);
    Reading {
        algorithm: algorithm(&reading.program.pack),
        findings: reading.findings.clone(),
        not_assessed: reading.not_assessed.clone(),
        images: looked_at(study, &reading.program, reading),
        captures,
        warnings: reading.warnings.clone(),
        timings: Timings {
            decode_ms: timings.decode_ms,
            preprocess_ms: timings.preprocess_ms,
            inference_ms: timings.inference_ms,
            explain_ms: timings.explain_ms,
            picture_ms: started.elapsed().as_secs_f64() * 1e3,
        },
    }
}

/// A study none of whose images can be decoded: an answer like any other.
fn unreadable(wanted: &StudyToRead, study: &Study, program: &Program, why: &str) -> Reading {
    let short: String = why.chars().take(REASON).collect();
    let more = if short.len() < why.len() { " …" } else { "" };
    let message = format!("none of the study's images can be read: {short}{more}");
    let accepted = study.images.iter().filter(|image| program.accepts(image).is_ok());
    let mut images: Vec<usize> = accepted.map(|image| image.position).take(IMAGES).collect();
    if images.is_empty() {
        images = (0..wanted.files.len().min(IMAGES)).collect();
    }
    Reading {
        algorithm: algorithm(&program.pack),
        findings: program.pack.manifest.findings.iter().map(|f| f.unanswered()).collect(),
        not_assessed: Some(NotAssessed { code: "unreadable".into(), message }),
        images,
        captures: vec![],
        warnings: vec![],
        timings: Timings::default(),
    }
}

fn algorithm(pack: &Pack) -> AlgorithmReference {
    AlgorithmReference {
        name: pack.manifest.id.clone(),
        version: pack.version.clone(),
        edition: pack.edition.clone(),
        manufacturer: "Overread".into(),
        caveats: pack.manifest.caveats().into_iter().map(str::to_owned).collect(),
    }
}

/// The images that the program takes and that were read; where it takes none, those that it refused.
fn looked_at(study: &Study, program: &Program, reading: &overread_read::reader::Reading) -> Vec<usize> {
    let mut frames: Vec<usize> = reading.frames.iter().map(|f| f.frame.image).collect();
    frames.sort_unstable();
    frames.dedup();
    let taken: Vec<usize> =
        frames.iter().copied().filter(|i| program.accepts(&study.images[*i]).is_ok()).collect();
    let chosen = if taken.is_empty() { frames.into_iter().take(IMAGES).collect() } else { taken };
    chosen.into_iter().map(|i| study.images[i].position).collect()
}
