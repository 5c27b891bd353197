//! Reading one study under one program: decode, preprocess, infer, abstain, aggregate, explain.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use overread_dicom::read::{self, CodecHost, Limits, Opened, Resolution};
use overread_domain::{BodySide, Explanation, Finding, GridSize, ImageGrid, NotAssessed, Region};
use overread_infer::engine::ImageOutput;
use overread_infer::faithfulness::{self, Faithfulness};
use overread_infer::manifest::Model;
use overread_infer::{Engine, InferError, Pack, Runtime, Tensor, explain};

use crate::cine;
use crate::crew::Crew;
use crate::frames::{Frames, area};
use crate::intake::{ImageFile, Study};
use crate::patients;
use crate::program::Program;
use crate::run::{Batch, Best, Top};
use crate::series;
use crate::sides::{self, Sides};
use crate::slide::{self, SlideMap};

/// Most frames of a study that one program reads; a cine or series is sampled evenly above it.
const FRAMES: usize = 512;

/// So many frames are read in one thread, by a session on all cores: sessions for each thread must be made first.
const FEW: usize = 16;

/// What a reading should hold.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// Maps of what spoke for each finding.
    pub explain: bool,
    /// The deletion test of each map; costs some eighty passes a finding.
    pub faithfulness: bool,
    /// Decode in full even where the pack needs less.
    pub full_decode: bool,
}

/// One frame of one file.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct FrameRef {
    /// Index into the study's images.
    pub image: usize,
    /// Frame, from 0.
    pub frame: u32,
}

/// What became of one frame.
pub struct FrameOutcome {
    /// Which.
    pub frame: FrameRef,
    /// How strange it looks; none if it was not run.
    pub out_of_distribution: Option<f64>,
    /// Logits by label; empty if it was not run.
    pub logits: Vec<f64>,
    /// Why it does not count; none if it does.
    pub refused: Option<NotAssessed>,
}

impl FrameOutcome {
    /// A frame that was not run.
    pub(crate) const fn refused(frame: FrameRef, why: NotAssessed) -> Self {
        Self { frame, out_of_distribution: None, logits: vec![], refused: Some(why) }
    }
}

/// A frame that carried an answer.
#[derive(Clone, Debug, PartialEq)]
pub struct KeyFrame {
    /// Which.
    pub frame: FrameRef,
    /// Its logit for the label.
    pub logit: f64,
    /// The part of it that carried the answer, in pixels; none where all of it did.
    pub region: Option<Region>,
}

/// A map, the frame it lies over, and its test.
pub struct FrameExplanation {
    /// The frame.
    pub frame: FrameRef,
    /// The side that its finding is of.
    pub side: Option<BodySide>,
    /// The map.
    pub map: Explanation,
    /// The part of the image that the map spans: left, top, right and bottom in widths and heights of the image, below 0 and above 1
    /// where the pack adds black around it.
    pub area: [f64; 4],
    /// The deletion test, where it was asked for.
    pub faithfulness: Option<Faithfulness>,
}

/// One program's reading of one study.
pub struct Reading {
    /// The program that read.
    pub program: Program,
    /// Why there is no answer; none if there is one.
    pub not_assessed: Option<NotAssessed>,
    /// What is answered for apart.
    pub sides: Sides,
    /// One a label, for each side that is answered for.
    pub findings: Vec<Finding>,
    /// The frames that carried each finding's answer, the highest logit first; none where there is no answer, or all frames
    /// count alike. One list a finding.
    pub key_frames: Vec<Vec<KeyFrame>>,
    /// One a finding that has a map.
    pub explanations: Vec<FrameExplanation>,
    /// What became of each frame: first those that the program was not made for, then those for which others were chosen, then the chosen.
    pub frames: Vec<FrameOutcome>,
    /// The whole slides that were read, tile by tile.
    pub slides: Vec<SlideMap>,
    /// Files or frames that could not be read though others could.
    pub warnings: Vec<String>,
    /// Frames that could not be decoded; each has its warning.
    pub unread: Vec<FrameRef>,
    /// Where the time went.
    pub spent: Spent,
}

impl Reading {
    /// The reading that frames come to that were run before, as the pack joins them. `warnings` are what could not be read of the study.
    pub fn of_frames(program: &Program, frames: Vec<FrameOutcome>, warnings: Vec<String>) -> Self {
        let mut reading = Self {
            program: program.clone(),
            not_assessed: None,
            sides: Sides::whole(),
            findings: vec![],
            key_frames: vec![],
            explanations: vec![],
            frames,
            slides: vec![],
            warnings,
            unread: vec![],
            spent: Spent::default(),
        };
        sides::conclude(&mut reading);
        reading
    }
}

/// Where the time went.
#[derive(Clone, Copy, Debug, Default)]
pub struct Spent {
    /// Opening files and decoding pixels.
    pub decode: Duration,
    /// From pixels to tensors.
    pub preprocess: Duration,
    /// The graph.
    pub inference: Duration,
    /// Explanations that need passes of their own, and their tests.
    pub explain: Duration,
}

impl Spent {
    /// Adds what a part of the study took.
    pub(crate) fn add(&mut self, other: &Self) {
        self.decode += other.decode;
        self.preprocess += other.preprocess;
        self.inference += other.inference;
        self.explain += other.explain;
    }
}

/// Why a study could not be read by a program at all.
#[derive(Debug, thiserror::Error)]
pub enum ReadingError {
    /// The pack or the runtime failed: nothing is wrong with the study.
    #[error("the pack could not be run")]
    Infer(#[from] InferError),
    /// None of the study's images could be decoded.
    #[error("{0}")]
    Undecodable(String),
}

impl FrameExplanation {
    /// The middle of the map's highest cell, across and down from the image's top left, 0 to 1; that of the first where several are level.
    pub fn peak(&self) -> [f64; 2] {
        let (across, down) = self.map.grid;
        let cells = 0..self.map.values.len();
        let highest =
            cells.rev().max_by(|a, b| self.map.values[*a].total_cmp(&self.map.values[*b])).unwrap_or(0);
        let [left, top, right, bottom] = self.area;
        let place = |cell: usize, cells: usize, from: f64, to: f64| {
            (from + (to - from) * (cell as f64 + 0.5) / cells.max(1) as f64).clamp(0.0, 1.0)
        };
        [
            place(highest % across.max(1), across, left, right),
            place(highest / across.max(1), down, top, bottom),
        ]
    }
}

/// Told how many tiles of a slide were read, and of how many.
pub type OnTiles = Arc<dyn Fn(usize, usize) + Send + Sync>;

/// Reads studies, one at a time: one a thread. It keeps a session for each pack it has met.
pub struct Reader {
    runtime: Runtime,
    pub(crate) codec: CodecHost,
    pub(crate) limits: Limits,
    pub(crate) threads: usize,
    /// Told how many tiles of a slide were read, and of how many.
    pub(crate) on_tiles: OnTiles,
    engines: HashMap<String, Engine>,
    /// Threads that share what is large, by the pack that they run.
    crews: HashMap<String, Crew>,
    /// Sessions that are being made while the first pictures are decoded.
    coming: HashMap<String, JoinHandle<Result<Engine, InferError>>>,
}

impl Reader {
    /// A reader whose sessions compute on so many threads.
    pub fn new(runtime: Runtime, codec: CodecHost, limits: Limits, threads: usize) -> Self {
        let on_tiles: OnTiles = Arc::new(|_, _| ());
        let (engines, crews, coming) = (HashMap::new(), HashMap::new(), HashMap::new());
        Self { runtime, codec, limits, threads, on_tiles, engines, crews, coming }
    }

    /// The same, which tells how far it is with a slide: minutes may pass.
    #[must_use]
    pub fn telling(mut self, on_tiles: OnTiles) -> Self {
        self.on_tiles = on_tiles;
        self
    }

    /// Reads a study under a program.
    ///
    /// # Errors
    /// The pack cannot be run, or no image of the study can be decoded.
    pub fn read(
        &mut self,
        study: &Study,
        program: &Program,
        options: Options,
    ) -> Result<Reading, ReadingError> {
        let pack = Arc::clone(&program.pack);
        let mut reading = Reading {
            program: program.clone(),
            not_assessed: None,
            sides: Sides::whole(),
            findings: vec![],
            key_frames: vec![],
            explanations: vec![],
            frames: vec![],
            slides: vec![],
            warnings: study.lost.clone(),
            unread: vec![],
            spent: Spent::default(),
        };
        if let Some(why) = patients::objection(study) {
            reading.not_assessed = Some(why);
            sides::conclude(&mut reading);
            return Ok(reading);
        }
        if slide::wanted(study, program) {
            return self.read_slides(study, program, reading);
        }
        let frames = accepted_frames(study, program, &mut reading);
        let refused_by_header = reading.frames.len();
        reading.sides = Sides::of(&study.images, program, &frames);
        let mut best = Best::new(pack.manifest.findings.len(), reading.sides.groups().len());
        if !frames.is_empty() {
            self.read_frames(study, &frames, options, &mut reading, &mut best)?;
        }
        // Frames refused by their header stand in `frames` too; what counts is whether any accepted one could be read.
        // A study of which nothing could even be opened has no frames at all.
        let none_read = !frames.is_empty() && reading.frames.len() == refused_by_header;
        if none_read || (study.images.is_empty() && !study.lost.is_empty()) {
            return Err(ReadingError::Undecodable(reading.warnings.join("; ")));
        }
        sides::conclude(&mut reading);
        if reading.not_assessed.is_none() && options.explain {
            self.explain(study, &pack, best, options, &mut reading)?;
        }
        Ok(reading)
    }

    /// Decodes a frame for showing: the smallest resolution that is at least so large.
    ///
    /// # Errors
    /// The file cannot be opened or decoded any more.
    pub fn picture(
        &mut self,
        file: &ImageFile,
        frame: u32,
        at_least: GridSize,
    ) -> Result<ImageGrid, read::ReadError> {
        let opened = read::open(&file.path, &self.limits)?;
        opened.decode(frame, Resolution::AtLeast(at_least), &mut self.codec)
    }

    /// Opens a file again, for its header.
    ///
    /// # Errors
    /// The file cannot be opened any more.
    pub fn reopen(&self, file: &ImageFile) -> Result<Opened, read::ReadError> {
        read::open(&file.path, &self.limits)
    }

    /// Reads frames in batches: a few in one, many in several threads.
    fn read_frames(
        &mut self,
        study: &Study,
        frames: &[FrameRef],
        options: Options,
        reading: &mut Reading,
        best: &mut Best,
    ) -> Result<(), ReadingError> {
        let pack = Arc::clone(&reading.program.pack);
        if frames.len() <= FEW || self.threads == 1 {
            self.prepare(&pack);
            for part in frames.chunks(Engine::BATCH) {
                let ready = Frames::new(study, &pack, &self.limits, options, &mut self.codec).batch(part);
                Batch::run(self.engine(&pack)?, ready, options, &reading.sides)?.join(reading, best);
            }
            return Ok(());
        }
        let (mut crew, limits) = (self.crew(&pack), self.limits.clone());
        let parts: Vec<&[FrameRef]> = frames.chunks(Engine::BATCH).collect();
        let done = crew.each(&parts, |codec, engine, part| {
            let ready = Frames::new(study, &pack, &limits, options, codec).batch(part);
            Batch::run(engine, ready, options, &reading.sides)
        });
        self.keep(&pack, crew);
        done?.into_iter().for_each(|batch| batch.join(reading, best));
        Ok(())
    }

    /// The threads that share what is large, for a pack.
    pub(crate) fn crew(&mut self, pack: &Arc<Pack>) -> Crew {
        let known = self.crews.remove(&pack.edition.to_string());
        known.unwrap_or_else(|| Crew::new(self.runtime.clone(), Arc::clone(pack), &self.codec, self.threads))
    }

    /// Keeps them for the next study.
    pub(crate) fn keep(&mut self, pack: &Pack, crew: Crew) {
        self.crews.insert(pack.edition.to_string(), crew);
    }

    /// Starts to make the session of a pack, unless there is one.
    pub(crate) fn prepare(&mut self, pack: &Arc<Pack>) {
        let key = pack.edition.to_string();
        if !self.engines.contains_key(&key) && !self.coming.contains_key(&key) {
            let (runtime, pack, threads) = (self.runtime.clone(), Arc::clone(pack), self.threads);
            self.coming.insert(key, std::thread::spawn(move || Engine::new(&runtime, pack, threads)));
        }
    }

    /// The session of a pack. Keyed by edition: two editions of one lineage may be compared in one run.
    pub(crate) fn engine(&mut self, pack: &Arc<Pack>) -> Result<&mut Engine, InferError> {
        let key = pack.edition.to_string();
        if !self.engines.contains_key(&key) {
            self.prepare(pack);
            let made = self.coming.remove(&key).map(JoinHandle::join);
            let lost = || InferError::Preprocess("the thread that made the session was lost".into());
            let engine = made.and_then(Result::ok).ok_or_else(lost)??;
            self.engines.insert(key.clone(), engine);
        }
        self.engines.get_mut(&key).ok_or_else(|| InferError::Preprocess("the session was lost".into()))
    }

    fn explain(
        &mut self,
        study: &Study,
        pack: &Arc<Pack>,
        best: Best,
        options: Options,
        reading: &mut Reading,
    ) -> Result<(), ReadingError> {
        let started = Instant::now();
        let opaque = matches!(pack.manifest.model, Model::Opaque { .. });
        let tops: Vec<(usize, Top)> =
            best.of_finding.into_iter().enumerate().filter_map(|(index, top)| Some((index, top?))).collect();
        // A frame is made ready again where passes of their own need it, so that not one of each finding is kept.
        let again = tops.iter().filter(|_| opaque || options.faithfulness).map(|(_, top)| &top.frame);
        let tensors = self.tensors(study, pack, options, again);
        let engine = self.engine(pack)?;
        // One occlusion gives the maps of all labels, and most often one frame is the best of several.
        let mut occluded: HashMap<FrameRef, Vec<Explanation>> = HashMap::new();
        let labels = pack.manifest.findings.len();
        for (index, Top { frame, map, .. }) in tops {
            let (label, side) = (index % labels, reading.sides.groups()[index / labels]);
            let tensor = tensors.get(&frame);
            if let Some(tensor) = tensor.filter(|_| opaque && !occluded.contains_key(&frame)) {
                occluded.insert(frame.clone(), explain::occlusion(engine, tensor)?);
            }
            let of_frame = occluded.get(&frame).and_then(|maps| maps.get(label)).cloned();
            let Some(map) = map.or(of_frame) else { continue };
            let faithfulness = match tensor.filter(|_| options.faithfulness) {
                Some(tensor) => Some(faithfulness::deletion(engine, tensor, &map, label)?),
                None => None,
            };
            let area = area(pack, &study.images[frame.image]);
            reading.explanations.push(FrameExplanation { frame, side, map, area, faithfulness });
        }
        reading.spent.explain += started.elapsed();
        Ok(())
    }
}

impl Reader {
    /// Tensors of frames; one that cannot be decoded any more has none.
    fn tensors<'a>(
        &mut self,
        study: &Study,
        pack: &Pack,
        options: Options,
        frames: impl Iterator<Item = &'a FrameRef>,
    ) -> HashMap<FrameRef, Tensor> {
        let distinct: HashSet<FrameRef> = frames.cloned().collect();
        let distinct: Vec<FrameRef> = distinct.into_iter().collect();
        let ready = Frames::new(study, pack, &self.limits, options, &mut self.codec).batch(&distinct);
        ready.into_iter().filter_map(|r| Some((r.frame, r.outcome.ok()?.ok()?))).collect()
    }
}

impl Drop for Reader {
    /// Waits for sessions that nobody fetched: a process must not end while one is being made.
    fn drop(&mut self) {
        for (_, thread) in self.coming.drain() {
            let _ = thread.join();
        }
    }
}

/// The frames that the program was made for, slices in the order in which they lie; others are put down as refused.
fn accepted_frames(study: &Study, program: &Program, reading: &mut Reading) -> Vec<FrameRef> {
    let mut frames = Vec::new();
    for (image, file) in study.images.iter().enumerate() {
        match program.accepts(file) {
            Ok(()) => {
                let sample = cine::sample(file);
                frames.extend(sample.frames.into_iter().map(|frame| FrameRef { image, frame }));
                reading.warnings.extend(sample.told);
            }
            Err(refused) => {
                reading.frames.push(FrameOutcome::refused(FrameRef { image, frame: 0 }, refused));
            }
        }
    }
    let arranged = series::arrange(&study.images, frames, &program.pack.manifest.intended_use.planes);
    let left_out = arranged.left_out.into_iter();
    reading.frames.extend(left_out.map(|(frame, why)| FrameOutcome::refused(frame, why)));
    reading.warnings.extend(arranged.unseen);
    let mut frames = arranged.frames;
    if frames.len() > FRAMES {
        let all = frames.len();
        reading.warnings.push(format!("{FRAMES} of {all} frames were read, evenly over the study"));
        frames = (0..FRAMES).map(|i| frames[i * all / FRAMES].clone()).collect();
    }
    frames
}

/// Why the pack should not answer for this picture; none if it should.
pub(crate) fn stranger(pack: &Pack, output: &ImageOutput) -> Option<NotAssessed> {
    let threshold = pack.manifest.out_of_distribution?.threshold;
    let score = output.out_of_distribution?;
    (score > threshold).then(|| NotAssessed {
        code: "out-of-distribution".into(),
        message: format!(
            "the image does not look like those that {} was trained on (score {score:.2}, at most {threshold:.2} is accepted)",
            pack.manifest.id
        ),
    })
}

/// The path of a frame's file.
pub fn path_of(study: &Study, frame: &FrameRef) -> PathBuf {
    study.images[frame.image].path.clone()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_peak_is_where_the_map_is_highest_in_the_whole_image() {
        let mut map =
            Explanation { label: "x".into(), method: "occlusion".into(), grid: (4, 2), values: vec![0.0; 8] };
        map.values[6] = 1.0;
        let frame = FrameRef { image: 0, frame: 0 };
        let peak = |area| {
            FrameExplanation { frame: frame.clone(), side: None, map: map.clone(), area, faithfulness: None }
                .peak()
        };
        assert_eq!(peak([0.0, 0.0, 1.0, 1.0]), [0.625, 0.75]);
        // The middle half of a wide image: 0.25 + 0.5 × 0.625.
        assert_eq!(peak([0.25, 0.0, 0.75, 1.0]), [0.5625, 0.75]);
    }
}
