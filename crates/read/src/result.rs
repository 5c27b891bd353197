//! The answer for one study as JSON: schema `overread.result/1`.
//!
//! Within version 1 fields are added, never renamed or removed. `docs/schema/overread.result-1.json` is generated from
//! these types.

use std::collections::BTreeMap;
use std::path::PathBuf;

use overread_domain::{BodySide, CodedConcept, Decision, Finding, Region, Uid, sentence};
use overread_infer::faithfulness::Faithfulness;
use schemars::JsonSchema;
use serde::Serialize;

use crate::considered::Considered;
use crate::intake::Study;
use crate::patients;
use crate::program::Program;
use crate::reader::{
    FrameExplanation, FrameOutcome, KeyFrame, Options, Reader, Reading, ReadingError, Spent, path_of,
};
use crate::slide::SlideMap;

/// The name of the schema, the first field of every result.
pub const SCHEMA: &str = "overread.result/1";

/// What became of a study.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    /// At least one program answers.
    Classified,
    /// No program answers, for the reason given.
    NotAssessed,
    /// The study could not be read.
    Failed,
}

/// The answer for one study.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct StudyResult {
    /// `overread.result/1`.
    pub schema: &'static str,
    /// Path of the study's first file.
    pub source: PathBuf,
    /// The study.
    pub study: StudyReference,
    /// What became of it.
    pub status: Status,
    /// Why it was not assessed or failed; null otherwise.
    pub reason: Option<Reason>,
    /// One entry a program that took the study.
    pub results: Vec<ProgramResult>,
    /// Which programs there were, and why each took the study or did not.
    pub considered: Vec<Considered>,
    /// Files that were written for it.
    pub artifacts: Vec<Artifact>,
    /// Images that could not be read though others of the study could.
    pub warnings: Vec<String>,
    /// Where the time went, where it was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timings: Option<Timings>,
}

/// Which study.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct StudyReference {
    /// Study Instance UID (0020,000D); of a photograph, a function of its content and path.
    #[schemars(with = "Option<String>")]
    pub study_instance_uid: Option<Uid>,
    /// Its image files.
    pub images: Vec<PathBuf>,
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Reason {
    /// A stable word, such as `out-of-distribution`.
    pub code: String,
    /// A sentence.
    pub message: String,
}

/// What one program says.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct ProgramResult {
    /// The program's name.
    pub program: String,
    /// The pack that read, as its makers name and count it.
    pub pack: PackReference,
    /// SHA-256 that names the edition.
    pub edition: String,
    /// `classified` or `not-assessed`.
    pub status: Status,
    /// Why it was not assessed; null otherwise.
    pub reason: Option<Reason>,
    /// What whoever looks at the result must know of the pack, in sentences: that it is for research only, that it cannot tell
    /// strangers.
    pub caveats: Vec<String>,
    /// One entry a label, for each side where the images show both.
    pub findings: Vec<FindingRecord>,
    /// One map a finding that has one.
    pub explanations: Vec<ExplanationRecord>,
    /// What was read and what was refused.
    pub images: Vec<ImageRecord>,
    /// The whole slides that were read.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub slides: Vec<SlideRecord>,
}

/// How a whole slide was read. The map of its tiles is among the explanations; tile by tile it is in the files written.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct SlideRecord {
    /// The file of its full resolution.
    pub image: PathBuf,
    /// Columns and rows of its full resolution.
    pub size: [u32; 2],
    /// Side of a pixel of the full resolution in micrometres.
    pub microns_per_pixel: f64,
    /// Side of a pixel of the level that was read in micrometres.
    pub read_at_microns_per_pixel: f64,
    /// Side of a tile in pixels of the full resolution.
    pub tile_side: f64,
    /// Tiles with tissue.
    pub tiles: usize,
    /// Those of them that do not count, by the reason's code.
    pub refused: BTreeMap<String, usize>,
}

/// A pack by name and version.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct PackReference {
    /// Its lineage.
    pub id: String,
    /// Its makers' version.
    pub version: String,
    /// Whether it may only be used for research.
    pub research_only: bool,
}

/// A coded concept.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Code {
    /// Coding scheme designator.
    pub scheme: String,
    /// Code value.
    pub value: String,
    /// Code meaning.
    pub meaning: String,
}

/// One label's answer.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct FindingRecord {
    /// The pack's word.
    pub label: String,
    /// The coded concept.
    pub code: Code,
    /// Where in the body.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub site: Option<Code>,
    /// `right` or `left`, where the images that it was taken from tell.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub laterality: Option<BodySide>,
    /// Calibrated probability at `prevalence`; null where there is no answer or no calibration.
    pub probability: Option<f64>,
    /// Uncalibrated output of a pack without calibration; not a probability.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub score: Option<f64>,
    /// `present`, `absent`, `indeterminate` or `not-assessed`.
    #[schemars(with = "String")]
    pub decision: Decision,
    /// At or below this probability: `absent`; null where there is no automatic `absent`.
    pub rule_out: Option<f64>,
    /// At or above this probability: `present`.
    pub rule_in: Option<f64>,
    /// The prevalence that the three numbers above hold for.
    pub prevalence: Option<f64>,
    /// Fewer than 20 positive patients stand behind it.
    pub experimental: bool,
    /// Why this one was not assessed, where others of the program were.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
    /// The frames that carried the answer, the highest logit first; empty where there is no answer, or all frames count alike.
    pub key_frames: Vec<KeyFrameRecord>,
}

/// A frame that carried an answer: a key slice of a series, the image of a single one.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct KeyFrameRecord {
    /// The file.
    pub image: PathBuf,
    /// Its frame, from 1.
    pub frame: u32,
    /// Its logit for this label, before calibration.
    pub logit: f64,
    /// The part of it that carried the answer, such as a tile of a slide: left, top, columns and rows in pixels of the full resolution.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub region: Option<[u32; 4]>,
}

/// One map.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct ExplanationRecord {
    /// The finding it belongs to.
    pub label: String,
    /// The side that the finding is of: `right` or `left`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub laterality: Option<BodySide>,
    /// `class-activation-map` or `occlusion`.
    pub method: String,
    /// The image it lies over.
    pub image: PathBuf,
    /// Its frame, from 1.
    pub frame: u32,
    /// Cells across and down.
    pub grid: [usize; 2],
    /// What each cell adds to the logit, row by row from the top left.
    pub values: Vec<f32>,
    /// The part of the image that the map spans: left, top, right and bottom in widths and heights of the image.
    pub area: [f64; 4],
    /// The middle of the highest cell, across and down from the image's top left, 0 to 1.
    pub peak: [f64; 2],
    /// The deletion test, where it was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<serde_json::Value>")]
    pub faithfulness: Option<Faithfulness>,
}

/// One frame that was looked at.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct ImageRecord {
    /// The file.
    pub path: PathBuf,
    /// Its frame, from 1.
    pub frame: u32,
    /// `classified` or `not-assessed`.
    pub status: Status,
    /// Why it was not assessed; null otherwise.
    pub reason: Option<Reason>,
    /// How strange it looks to the pack; about 1 for pictures like its own.
    pub out_of_distribution: Option<f64>,
    /// Logits by label, before calibration, as the evaluation wants them.
    pub logits: Vec<f64>,
}

/// A file that was written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Artifact {
    /// `overlay-png`, `secondary-capture`, `structured-report`; of a slide also `tiles-csv`, `tiles-geojson`, `parametric-map`.
    pub kind: String,
    /// Where.
    pub path: PathBuf,
}

/// Milliseconds spent on a study.
#[derive(Clone, Copy, Debug, Default, Serialize, JsonSchema)]
pub struct Timings {
    /// Opening files and decoding pixels.
    pub decode_ms: f64,
    /// From pixels to tensors.
    pub preprocess_ms: f64,
    /// The graph and, for class-activation maps, the explanation.
    pub inference_ms: f64,
    /// Explanations that need passes of their own, and their tests.
    pub explain_ms: f64,
}

impl From<&CodedConcept> for Code {
    fn from(c: &CodedConcept) -> Self {
        Self { scheme: c.scheme.clone(), value: c.value.clone(), meaning: c.meaning.clone() }
    }
}

impl From<&overread_domain::NotAssessed> for Reason {
    fn from(n: &overread_domain::NotAssessed) -> Self {
        Self { code: n.code.clone(), message: n.message.clone() }
    }
}

impl FindingRecord {
    fn new(study: &Study, f: &Finding, key_frames: &[KeyFrame]) -> Self {
        Self {
            label: f.label.clone(),
            code: (&f.code).into(),
            site: f.site.as_ref().map(Code::from),
            laterality: f.laterality,
            probability: f.probability.map(f64::from),
            score: f.score,
            decision: f.decision,
            rule_out: f.rule_out.map(f64::from),
            rule_in: f.rule_in.map(f64::from),
            prevalence: f.prevalence.map(f64::from),
            experimental: f.experimental,
            reason: f.reason.as_ref().map(Reason::from),
            key_frames: key_frames.iter().map(|k| KeyFrameRecord::new(study, k)).collect(),
        }
    }
}

impl KeyFrameRecord {
    fn new(study: &Study, key: &KeyFrame) -> Self {
        Self {
            image: path_of(study, &key.frame),
            frame: key.frame.frame + 1,
            logit: key.logit,
            region: key.region.map(corners),
        }
    }
}

fn corners(region: Region) -> [u32; 4] {
    [region.left, region.top, region.size.columns, region.size.rows]
}

/// The JSON Schema (draft 2020-12) of [`StudyResult`].
pub fn json_schema() -> serde_json::Value {
    let mut schema = schemars::generate::SchemaSettings::draft2020_12()
        .for_serialize()
        .into_generator()
        .into_root_schema_for::<StudyResult>()
        .to_value();
    schema["title"] = SCHEMA.into();
    schema
}

/// Reads a study under each program that takes it; under all of them if they were `named`, so that each says why not. A photograph does not
/// say what it shows, so every program for photographs is asked; those to which it is strange are left out where another knows it. Beside the
/// readings: why each program took the study or did not.
pub fn read_study(
    reader: &mut Reader,
    study: &Study,
    programs: &[Program],
    named: bool,
    options: Options,
) -> (Vec<Result<Reading, ReadingError>>, Vec<Considered>) {
    if study.unreadable.is_some() {
        return (vec![], vec![]);
    }
    let mut considered: Vec<_> = programs.iter().map(|p| Considered::new(study, p)).collect();
    let asked = programs.iter().zip(&considered).filter(|(_, c)| named || c.taken);
    let mut readings: Vec<_> = asked.map(|(p, _)| reader.read(study, p, options)).collect();
    let answers = |r: &Result<Reading, ReadingError>| r.as_ref().is_ok_and(|r| r.not_assessed.is_none());
    if !named && study.images.iter().all(|image| image.photograph) && readings.iter().any(answers) {
        let silent = readings.extract_if(.., |r| r.is_ok() && !answers(r)).filter_map(Result::ok);
        for Reading { program, not_assessed, .. } in silent {
            let why = not_assessed.map_or(String::new(), |why| why.message);
            let of_program = considered.iter_mut().filter(|c| c.program == program.name);
            of_program.for_each(|c| *c = Considered::unasked(&program.name, "out-of-distribution", &why));
        }
    }
    (readings, considered)
}

impl StudyResult {
    /// The answer for a study from its readings.
    pub fn new(study: &Study, readings: &[Result<Reading, ReadingError>], timings: bool) -> Self {
        let mut result = Self {
            schema: SCHEMA,
            source: study.source().to_owned(),
            study: StudyReference {
                study_instance_uid: study.uid.clone(),
                images: study.images.iter().map(|i| i.path.clone()).collect(),
            },
            status: Status::NotAssessed,
            reason: None,
            results: vec![],
            considered: vec![],
            artifacts: vec![],
            warnings: vec![],
            timings: None,
        };
        let mut spent = Timings::default();
        for reading in readings {
            match reading {
                Ok(reading) => {
                    spent.add(&reading.spent);
                    result.warnings.extend(reading.warnings.iter().cloned());
                    result.results.push(ProgramResult::new(study, reading));
                }
                Err(error) => {
                    result.reason = Some(Reason { code: "failed".into(), message: sentence(error) })
                }
            }
        }
        result.timings = timings.then_some(spent);
        result.settle(study);
        result
    }

    fn settle(&mut self, study: &Study) {
        if let Some((_, why)) = &study.unreadable {
            self.status = Status::Failed;
            self.reason = Some(Reason { code: "unreadable".into(), message: why.clone() });
        } else if self.results.iter().any(|r| r.status == Status::Classified) {
            self.status = Status::Classified;
            self.reason = None;
        } else if self.reason.is_some() {
            self.status = Status::Failed;
        } else if let Some(first) = self.results.first() {
            self.reason.clone_from(&first.reason);
        } else if let Some(two) = patients::objection(study) {
            self.reason = Some((&two).into());
        } else {
            self.reason = Some(Reason {
                code: "no-program".into(),
                message: "no program reads studies of this kind; overread pack ls shows what there is".into(),
            });
        }
    }
}

impl ProgramResult {
    fn new(study: &Study, reading: &Reading) -> Self {
        let pack = &reading.program.pack;
        let status = if reading.not_assessed.is_some() { Status::NotAssessed } else { Status::Classified };
        Self {
            program: reading.program.name.clone(),
            pack: PackReference {
                id: pack.manifest.id.clone(),
                version: pack.version.clone(),
                research_only: pack.manifest.terms.research_only,
            },
            edition: pack.edition.to_string(),
            status,
            reason: reading.not_assessed.as_ref().map(Reason::from),
            caveats: pack.manifest.caveats().into_iter().map(str::to_owned).collect(),
            findings: reading
                .findings
                .iter()
                .zip(&reading.key_frames)
                .map(|(finding, keys)| FindingRecord::new(study, finding, keys))
                .collect(),
            explanations: reading.explanations.iter().map(|e| ExplanationRecord::new(study, e)).collect(),
            images: reading.frames.iter().map(|f| ImageRecord::new(study, f)).collect(),
            slides: reading.slides.iter().map(|s| SlideRecord::new(study, s)).collect(),
        }
    }
}

impl ExplanationRecord {
    fn new(study: &Study, e: &FrameExplanation) -> Self {
        Self {
            label: e.map.label.clone(),
            laterality: e.side,
            method: e.map.method.clone(),
            image: path_of(study, &e.frame),
            frame: e.frame.frame + 1,
            grid: [e.map.grid.0, e.map.grid.1],
            values: e.map.values.clone(),
            area: e.area,
            peak: e.peak(),
            faithfulness: e.faithfulness.clone(),
        }
    }
}

impl SlideRecord {
    fn new(study: &Study, slide: &SlideMap) -> Self {
        let mut refused = BTreeMap::new();
        for why in slide.tiles.iter().filter_map(|tile| tile.outcome.as_ref().err()) {
            *refused.entry(why.code.clone()).or_default() += 1;
        }
        Self {
            image: study.images[slide.image].path.clone(),
            size: [slide.size.columns, slide.size.rows],
            microns_per_pixel: slide.microns_per_pixel,
            read_at_microns_per_pixel: slide.read_at_microns,
            tile_side: slide.tile_side,
            tiles: slide.tiles.len(),
            refused,
        }
    }
}

impl ImageRecord {
    fn new(study: &Study, f: &FrameOutcome) -> Self {
        Self {
            path: path_of(study, &f.frame),
            frame: f.frame.frame + 1,
            status: if f.refused.is_some() { Status::NotAssessed } else { Status::Classified },
            reason: f.refused.as_ref().map(Reason::from),
            out_of_distribution: f.out_of_distribution,
            logits: f.logits.clone(),
        }
    }
}

impl Timings {
    /// Adds what a reading spent.
    pub fn add(&mut self, spent: &Spent) {
        let ms = |d: std::time::Duration| d.as_secs_f64() * 1e3;
        self.decode_ms += ms(spent.decode);
        self.preprocess_ms += ms(spent.preprocess);
        self.inference_ms += ms(spent.inference);
        self.explain_ms += ms(spent.explain);
    }
}
