//! Reading whole slides: find the tissue, read its tiles at the level that fits while others are in inference, join them to one answer.
//!
//! Nothing of a slide is ever in memory whole: each thread reads a few tiles, makes tensors of them and runs them, and what remains of a
//! tile are its logits. `plan` says where tiles lie, `tissue` which of them are read.

mod files;
mod plan;
mod tissue;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use overread_dicom::read::{self, Opened, ReadError, Slide, SlideView};
use overread_domain::{Decision, Explanation, GridSize, ImageGrid, NotAssessed, Region, ValueKind, sentence};
use overread_infer::manifest::{CalibratedOn, SlideUse};
use overread_infer::{Engine, InferError, Pack, Tensor, quality};

use crate::intake::Study;
use crate::program::Program;
use crate::reader::{
    FrameExplanation, FrameOutcome, FrameRef, KeyFrame, Reader, Reading, ReadingError, Spent, stranger,
};
use plan::Plan;
use tissue::Shrunk;

/// Longest side of a block of tiles that one thread takes at a time, and how many blocks each thread gets at least where there are tiles enough:
/// while the last one is read the other threads have nothing to do.
const BLOCK: u32 = 8;
const BLOCKS_A_THREAD: usize = 16;

/// What a slide came to, tile by tile.
#[derive(Clone, Debug)]
pub struct SlideMap {
    /// The image of the study that holds its full resolution.
    pub image: usize,
    /// Its size there.
    pub size: GridSize,
    /// Side of a pixel there, in micrometres.
    pub microns_per_pixel: f64,
    /// Side of a pixel of the level that was read, in micrometres.
    pub read_at_microns: f64,
    /// Side of a tile in pixels of the full resolution; not a whole number.
    pub tile_side: f64,
    /// Tiles across and down, those on glass included.
    pub grid: (u32, u32),
    /// The tiles with tissue, row by row.
    pub tiles: Vec<Tile>,
    /// The slide made small, to look at.
    pub overview: ImageGrid,
}

/// What became of one tile.
#[derive(Clone, Debug)]
pub struct Tile {
    /// Its place in the grid: column and row.
    pub place: (u32, u32),
    /// Its place on the slide, in pixels of the full resolution; cut at the slide's edge.
    pub region: Region,
    /// Its logits, or why it does not count.
    pub outcome: Result<Vec<f64>, NotAssessed>,
}

/// Whether this program reads slides of this study.
pub(crate) fn wanted(study: &Study, program: &Program) -> bool {
    study.images.iter().any(|image| image.slide && program.accepts(image).is_ok())
}

impl Reader {
    /// Reads the whole slides of a study; its other images are left out.
    pub(crate) fn read_slides(
        &mut self,
        study: &Study,
        program: &Program,
        mut reading: Reading,
    ) -> Result<Reading, ReadingError> {
        let pack = Arc::clone(&program.pack);
        let Some(how) = pack.manifest.slides else { return Ok(reading) };
        let mut refused = Vec::new();
        let slides = slides_of(study, program, &mut reading);
        for images in &slides {
            match self.read_slide(study, images, &pack, how, &mut reading)? {
                Ok(map) => reading.slides.push(map),
                Err(why) => {
                    // One slide of several that is not read leaves something unseen; a single one is the answer itself.
                    if slides.len() > 1 {
                        reading.warnings.push(format!("{}: {}", study.images[images[0]].name, why.message));
                    }
                    refused.push((images[0], why));
                }
            }
        }
        conclude(&mut reading, how);
        for (image, why) in refused {
            // The study's answer is that of a slide, not that of its label.
            if reading.slides.is_empty() {
                reading.not_assessed = Some(why.clone());
            }
            reading.frames.push(FrameOutcome::refused(FrameRef { image, frame: 0 }, why));
        }
        Ok(reading)
    }

    /// One slide: its tiles, or why it is not read. A slide that cannot be opened is a warning, as a frame is.
    fn read_slide(
        &mut self,
        study: &Study,
        images: &[usize],
        pack: &Arc<Pack>,
        how: SlideUse,
        reading: &mut Reading,
    ) -> Result<Result<SlideMap, NotAssessed>, ReadingError> {
        let started = Instant::now();
        let image = images[0];
        let name = &study.images[image].name;
        let damaged = |e: ReadError| NotAssessed { code: "slide-unreadable".into(), message: sentence(&e) };
        let slide = match self.open_slide(study, images) {
            Ok(slide) => slide,
            Err(e) => return Ok(Err(damaged(e))),
        };
        let preprocessing = &pack.manifest.preprocessing;
        let plan = match Plan::of(&slide, how.tile_microns, preprocessing.width.max(preprocessing.height)) {
            Ok(plan) => plan,
            Err(refused) => return Ok(Err(refused)),
        };
        let shrunk = Shrunk::of(&mut slide.view(&mut self.codec), slide.levels(), tissue::cell(&plan));
        let (places, overview) = match shrunk {
            Ok(shrunk) => (tissue::tiles(&shrunk, &plan), ImageGrid::of_rgb(shrunk.size, shrunk.bytes())),
            Err(e) => return Ok(Err(damaged(e))),
        };
        reading.spent.decode += started.elapsed();
        if places.is_empty() {
            let message = "no tissue was found on the slide".to_owned();
            return Ok(Err(NotAssessed { code: "no-tissue".into(), message }));
        }
        let tiles = self.read_tiles(&slide, &plan, &places, pack, reading, name)?;
        if tiles.is_empty() {
            let message =
                "none of the slide's tiles with tissue could be read; scan or export it again".to_owned();
            return Ok(Err(NotAssessed { code: "slide-unreadable".into(), message }));
        }
        let microns_per_pixel = slide.microns_per_pixel().unwrap_or_default();
        Ok(Ok(SlideMap {
            image,
            size: plan.size,
            microns_per_pixel,
            read_at_microns: microns_per_pixel * plan.downsample,
            tile_side: plan.side,
            grid: (plan.columns, plan.rows),
            tiles,
            overview,
        }))
    }

    pub(crate) fn open_slide(&mut self, study: &Study, images: &[usize]) -> Result<Slide, ReadError> {
        let mut objects = Vec::new();
        for image in images {
            let path = &study.images[*image].path;
            match read::open(path, &self.limits)? {
                Opened::Dicom(file) => objects.push(file),
                _ => return Slide::of_file(path.clone(), &mut self.codec),
            }
        }
        Slide::of_objects(objects)
    }

    /// Reads tiles in several threads: while one reads, another is in inference.
    fn read_tiles(
        &mut self,
        slide: &Slide,
        plan: &Plan,
        places: &[(u32, u32)],
        pack: &Arc<Pack>,
        reading: &mut Reading,
        name: &str,
    ) -> Result<Vec<Tile>, ReadingError> {
        let (told, done) = (Arc::clone(&self.on_tiles), AtomicUsize::new(0));
        let mut crew = self.crew(pack);
        let parts = blocks(places, block_side(places.len(), crew.threads()));
        let read = crew.each(&parts, |codec, engine, block| {
            let part = Part::read(&mut slide.view(codec), engine, plan, block)?;
            told(done.fetch_add(block.len(), Ordering::Relaxed) + block.len(), places.len());
            Ok(part)
        });
        self.keep(pack, crew);
        let (mut tiles, mut lost) = (Vec::with_capacity(places.len()), Vec::new());
        for part in read? {
            tiles.extend(part.tiles);
            lost.extend(part.lost);
            reading.spent.add(&part.spent);
        }
        if let Some(why) = lost.first() {
            let (count, all) = (lost.len(), places.len());
            reading.warnings.push(format!("{name}: {count} of {all} tiles could not be read: {why}"));
        }
        tiles.sort_by_key(|tile| (tile.place.1, tile.place.0));
        Ok(tiles)
    }

    /// A slide as a small picture, of which the longer side is about so long.
    ///
    /// # Errors
    /// The slide cannot be opened or read any more.
    pub fn slide_picture(
        &mut self,
        study: &Study,
        image: usize,
        longest: u32,
    ) -> Result<ImageGrid, ReadError> {
        let slide = self.open_slide(study, &levels_beside(study, image))?;
        let full = slide.levels()[0].size;
        let cell = (f64::from(full.columns.max(full.rows)) / f64::from(longest)).max(1.0);
        let shrunk = Shrunk::of(&mut slide.view(&mut self.codec), slide.levels(), cell)?;
        Ok(ImageGrid::of_rgb(shrunk.size, shrunk.bytes()))
    }
}

/// The slides that a program takes, each as the images of its levels, the finest first. Other images say why they are not read.
fn slides_of(study: &Study, program: &Program, reading: &mut Reading) -> Vec<Vec<usize>> {
    let mut slides: Vec<Vec<usize>> = Vec::new();
    for (image, file) in study.images.iter().enumerate() {
        let refused = match program.accepts(file) {
            Ok(()) if read::is_slide_label(&file.header) => NotAssessed {
                code: "slide-label".into(),
                message: "the label or overview of a slide, where a name may stand: it is never read".into(),
            },
            Ok(()) if file.slide => {
                let same = |s: &Vec<usize>| {
                    study.images[s[0]].header.series_instance_uid == file.header.series_instance_uid
                };
                match slides.iter_mut().find(|s| same(s)) {
                    Some(slide) => slide.push(image),
                    None => slides.push(vec![image]),
                }
                continue;
            }
            Ok(()) => NotAssessed {
                code: "beside-slides".into(),
                message: "the whole slides of the study are read, not the pictures beside them".into(),
            },
            Err(refused) => refused,
        };
        reading.frames.push(FrameOutcome::refused(FrameRef { image, frame: 0 }, refused));
    }
    for slide in &mut slides {
        slide.sort_by_key(|i| {
            let header = &study.images[*i].header;
            std::cmp::Reverse(u64::from(header.frames) * u64::from(header.rows) * u64::from(header.columns))
        });
    }
    slides
}

/// The images of the slide to which an image belongs, itself first.
fn levels_beside(study: &Study, image: usize) -> Vec<usize> {
    let series = |i: usize| &study.images[i].header.series_instance_uid;
    let same = (0..study.images.len()).filter(|i| {
        *i != image && study.images[*i].slide && series(*i) == series(image) && series(*i).is_some()
    });
    std::iter::once(image).chain(same).collect()
}

/// Tiles in square blocks: those of one share most of what is decoded for them, and threads share little.
fn blocks(places: &[(u32, u32)], side: u32) -> Vec<Vec<(u32, u32)>> {
    let mut blocks: BTreeMap<(u32, u32), Vec<(u32, u32)>> = BTreeMap::new();
    for (column, row) in places {
        blocks.entry((row / side, column / side)).or_default().push((*column, *row));
    }
    blocks.into_values().collect()
}

/// Side of the blocks of so many tiles.
fn block_side(tiles: usize, threads: usize) -> u32 {
    (1..BLOCK).find(|side| (side + 1).pow(2) as usize * threads * BLOCKS_A_THREAD > tiles).unwrap_or(BLOCK)
}

/// What became of a block.
struct Part {
    tiles: Vec<Tile>,
    /// Why tiles could not be read.
    lost: Vec<String>,
    spent: Spent,
}

impl Part {
    fn read(
        view: &mut SlideView<'_>,
        engine: &mut Engine,
        plan: &Plan,
        places: &[(u32, u32)],
    ) -> Result<Self, InferError> {
        let pack = Arc::clone(engine.pack());
        let mut part = Self { tiles: vec![], lost: vec![], spent: Spent::default() };
        for places in places.chunks(Engine::BATCH) {
            let (mut kept, mut tensors) = (vec![], vec![]);
            for place in places {
                match part.tensor(view, plan, &pack, *place) {
                    Ok(Ok(tensor)) => {
                        kept.push(*place);
                        tensors.push(tensor);
                    }
                    Ok(Err(refused)) => part.tiles.push(Tile::new(plan, *place, Err(refused))),
                    Err(why) => part.lost.push(why),
                }
            }
            let started = Instant::now();
            let outputs = engine.run(&tensors, false)?;
            part.spent.inference += started.elapsed();
            for (place, output) in kept.into_iter().zip(outputs) {
                let outcome = stranger(&pack, &output).map_or(Ok(output.logits), Err);
                part.tiles.push(Tile::new(plan, place, outcome));
            }
        }
        Ok(part)
    }

    fn tensor(
        &mut self,
        view: &mut SlideView<'_>,
        plan: &Plan,
        pack: &Pack,
        place: (u32, u32),
    ) -> Result<Result<Tensor, NotAssessed>, String> {
        let started = Instant::now();
        let Region { left, top, size } = plan.tile_at_level(place.0, place.1);
        let grid = view.region(plan.level, left, top, size).map_err(|e| sentence(&e))?;
        let decode = started.elapsed();
        self.spent.decode += decode;
        if let Some(objection) = quality::no_contrast(&grid) {
            return Ok(Err(objection));
        }
        let tensor = pack.manifest.preprocessing.tensor(&grid).map_err(|e| sentence(&e))?;
        self.spent.preprocess += started.elapsed() - decode;
        Ok(Ok(tensor))
    }
}

impl Tile {
    fn new(plan: &Plan, place: (u32, u32), outcome: Result<Vec<f64>, NotAssessed>) -> Self {
        Self { place, region: cut(plan, place), outcome }
    }
}

/// A tile without what of it lies beyond the slide.
fn cut(plan: &Plan, (column, row): (u32, u32)) -> Region {
    let Region { left, top, size } = plan.tile(column, row);
    let within = |from: u32, long: u32, whole: u32| long.min(whole.saturating_sub(from)).max(1);
    let size =
        GridSize::new(within(left, size.columns, plan.size.columns), within(top, size.rows, plan.size.rows));
    Region { left, top, size }
}

/// From tiles to one answer: the pack's aggregation over all tiles of all slides that count.
fn conclude(reading: &mut Reading, how: SlideUse) {
    let pack = Arc::clone(&reading.program.pack);
    reading.findings = pack.manifest.findings.iter().map(|f| f.unanswered()).collect();
    reading.key_frames = vec![vec![]; reading.findings.len()];
    let all: usize = reading.slides.iter().map(|s| s.tiles.len()).sum();
    let counted: Vec<(usize, &Tile, &Vec<f64>)> = reading
        .slides
        .iter()
        .flat_map(|slide| slide.tiles.iter().map(move |tile| (slide.image, tile)))
        .filter_map(|(image, tile)| Some((image, tile, tile.outcome.as_ref().ok()?)))
        .collect();
    // A slide most of which looks strange is of another stain, organ or scanner: what is left of it says little.
    if counted.len() * 2 <= all {
        let first =
            reading.slides.iter().flat_map(|s| &s.tiles).find_map(|t| t.outcome.as_ref().err().cloned());
        reading.not_assessed = first.map(|why| NotAssessed {
            message: format!(
                "{} of {all} tiles with tissue do not count; the first: {}",
                all - counted.len(),
                why.message
            ),
            ..why
        });
        let shown = reading.slides.iter().map(|slide| FrameRef { image: slide.image, frame: 0 });
        let outcomes = shown.zip(reading.not_assessed.iter().cycle());
        reading.frames.extend(outcomes.map(|(frame, why)| FrameOutcome::refused(frame, why.clone())));
        return;
    }
    let (mut answers, mut findings, mut key_frames) = (vec![], vec![], vec![]);
    for (label, spec) in pack.manifest.findings.iter().enumerate() {
        let logits: Vec<f64> = counted.iter().map(|(_, _, logits)| logits[label]).collect();
        let answer = pack.manifest.aggregation.answer(&logits);
        let mut finding = if how.calibrated_on == CalibratedOn::Slides {
            spec.finding(answer.logit, reading.program.prevalence)
        } else {
            spec.uncalibrated(answer.logit)
        };
        if finding.decision == Decision::Absent && !reading.warnings.is_empty() {
            finding.decision = Decision::Indeterminate;
        }
        let key = |i: usize| {
            let (image, tile, _) = counted[i];
            let frame = FrameRef { image, frame: 0 };
            KeyFrame { frame, logit: logits[i], region: Some(tile.region) }
        };
        key_frames.push(answer.carried_by.into_iter().map(key).collect());
        answers.push(answer.logit);
        findings.push(finding);
    }
    (reading.findings, reading.key_frames) = (findings, key_frames);
    for slide in &reading.slides {
        reading.frames.push(FrameOutcome {
            frame: FrameRef { image: slide.image, frame: 0 },
            out_of_distribution: None,
            logits: answers.clone(),
            refused: None,
        });
        for label in 0..pack.manifest.findings.len() {
            reading.explanations.push(explanation(slide, &pack, label));
        }
    }
}

impl SlideMap {
    /// What the numbers of tiles are: probabilities where the pack was calibrated on tiles, scores else.
    pub fn kind(pack: &Pack, label: usize) -> ValueKind {
        let on_tiles = pack.manifest.slides.is_some_and(|s| s.calibrated_on == CalibratedOn::Tiles);
        let calibrated = pack.manifest.findings[label].calibration.is_some();
        if on_tiles && calibrated { ValueKind::Probability } else { ValueKind::Score }
    }

    /// What a tile says of a label by itself, 0 to 1; a probability is that at the pack's own prevalence.
    pub fn value(pack: &Pack, label: usize, logits: &[f64]) -> f64 {
        let (spec, logit) = (&pack.manifest.findings[label], logits[label]);
        match Self::kind(pack, label) {
            ValueKind::Probability => spec.finding(logit, None).probability.map(f64::from),
            ValueKind::Score => spec.uncalibrated(logit).score,
        }
        .unwrap_or_default()
    }

    /// Values of a label by cell of the grid, row by row; none where a tile is on glass or does not count.
    pub fn values(&self, pack: &Pack, label: usize) -> Vec<Option<f64>> {
        let mut values = vec![None; self.grid.0 as usize * self.grid.1 as usize];
        for tile in &self.tiles {
            let cell = tile.place.1 as usize * self.grid.0 as usize + tile.place.0 as usize;
            values[cell] = tile.outcome.as_ref().ok().map(|logits| Self::value(pack, label, logits));
        }
        values
    }
}

/// The method of a map whose cells are tiles, each with what the pack says of it alone.
pub const TILES: &str = "tile-map";

fn explanation(slide: &SlideMap, pack: &Pack, label: usize) -> FrameExplanation {
    let values = slide.values(pack, label).into_iter().map(|v| v.unwrap_or_default() as f32).collect();
    let map = Explanation {
        label: pack.manifest.findings[label].label.clone(),
        method: TILES.to_owned(),
        grid: (slide.grid.0 as usize, slide.grid.1 as usize),
        values,
    };
    let end = |tiles: u32, whole: u32| f64::from(tiles) * slide.tile_side / f64::from(whole.max(1));
    let area = [0.0, 0.0, end(slide.grid.0, slide.size.columns), end(slide.grid.1, slide.size.rows)];
    FrameExplanation {
        frame: FrameRef { image: slide.image, frame: 0 },
        map,
        area,
        side: None,
        faithfulness: None,
    }
}

#[cfg(test)]
mod tests;
