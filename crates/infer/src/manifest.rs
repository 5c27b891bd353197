//! `configs/metadata.json`: MONAI's keys for other people's tools, ours under `overread`.
//!
//! Unknown keys are tolerated (bundles of other tools carry many); a missing key of ours is an error that names it.

use std::num::NonZeroU32;

use overread_domain::{CodedConcept, Plane, Probability};
use serde::Deserialize;

/// The version of the pack format that this build reads.
pub const PACK_FORMAT: u32 = 1;

/// The caveat of a pack whose terms allow nothing but research.
pub const RESEARCH_ONLY: &str = "Research use only: not for the care of any patient.";

/// The caveat of a pack without an out-of-distribution check.
pub const NO_STRANGERS: &str =
    "This pack cannot tell strangers: it answers for any image, also for kinds that it never saw.";

/// The whole metadata file, of which we read a few keys.
#[derive(Clone, Debug, Deserialize)]
pub struct Metadata {
    /// The pack's version, as its makers count.
    pub version: String,
    /// Ours.
    pub overread: Manifest,
}

/// What a pack says of itself.
#[derive(Clone, Debug, Deserialize)]
pub struct Manifest {
    /// Version of this format; see [`PACK_FORMAT`].
    pub pack_format: u32,
    /// Name of the lineage, such as `cxr-pneumonia`: lower-case letters, digits, dashes.
    pub id: String,
    /// One line for people.
    pub title: String,
    /// The program it was made for.
    pub program: String,
    /// What it may be asked.
    pub intended_use: IntendedUse,
    /// Under what terms.
    pub terms: Terms,
    /// Its graphs.
    pub model: Model,
    /// From picture to tensor.
    pub preprocessing: Preprocessing,
    /// From pictures to one answer a study.
    #[serde(default)]
    pub aggregation: Aggregation,
    /// How whole slides are read; a pack without reads none.
    #[serde(default)]
    pub slides: Option<SlideUse>,
    /// Its labels, in the order of the graph's outputs.
    pub findings: Vec<FindingSpec>,
    /// When a picture is not like anything it knows.
    #[serde(default)]
    pub out_of_distribution: Option<OutOfDistribution>,
}

/// Which studies a pack was made for.
#[derive(Clone, Debug, Deserialize)]
pub struct IntendedUse {
    /// In words; ends with "not for clinical use without local validation".
    pub statement: String,
    /// DICOM modalities (0008,0060).
    pub modalities: Vec<String>,
    /// DICOM body parts (0018,0015); empty: any.
    #[serde(default)]
    pub body_parts: Vec<String>,
    /// Youngest and oldest age in years, both included.
    #[serde(default)]
    pub age_years: Option<[f64; 2]>,
    /// DICOM view positions (0018,5101); empty: any.
    #[serde(default)]
    pub views: Vec<String>,
    /// Planes of the body that its slices lie in, told from their geometry; empty: any.
    #[serde(default)]
    pub planes: Vec<Plane>,
    /// Whether it reads photographs (files that are not DICOM).
    #[serde(default)]
    pub photographs: bool,
}

/// How a pack reads whole slides: in tiles, which are joined as pictures of a study are.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct SlideUse {
    /// Side of a tile in micrometres: the tensor's pixels times the micrometres a pixel that the pack was trained at.
    pub tile_microns: f64,
    /// What calibration and thresholds were made on: only of that a number is a probability.
    pub calibrated_on: CalibratedOn,
}

/// What the calibration of a pack for slides was made on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CalibratedOn {
    /// Whole slides: what a slide comes to is a probability, and what a tile says by itself is a score.
    Slides,
    /// Tiles: each has a probability, and what the slide comes to is a score.
    Tiles,
}

/// Licence terms, readable by machines.
#[derive(Clone, Debug, Deserialize)]
pub struct Terms {
    /// SPDX expression of the weights.
    pub licence: String,
    /// Licence of the training data.
    #[serde(default)]
    pub data_licence: Option<String>,
    /// Off by default, and `shadow` only.
    pub research_only: bool,
}

/// The graphs of a pack.
#[derive(Clone, Debug, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Model {
    /// A backbone that returns its last feature map, and a linear head beside it.
    Decomposable {
        /// Graph with the outputs below.
        backbone: String,
        /// The same with the head inside, for other tools.
        #[serde(default)]
        fused: Option<String>,
        /// safetensors file with `weight`, `bias` and the out-of-distribution model.
        head: String,
        /// Name of the input, `[N, C, H, W]`.
        input: String,
        /// Last feature map, `[N, F, h, w]`.
        features: String,
        /// Its spatial mean, `[N, F]`.
        pooled: String,
        /// What the out-of-distribution check looks at, `[N, D]`.
        embedding: String,
        /// Name of the fused graph's output, `[N, labels]`.
        #[serde(default = "logits")]
        logits: String,
    },
    /// Any classifier whose inside is unknown.
    Opaque {
        /// The graph.
        graph: String,
        /// Name of the input.
        input: String,
        /// Name of the output, `[N, labels]`.
        output: String,
        /// What the output is.
        activation: Activation,
        /// In which order the input holds its dimensions.
        #[serde(default)]
        layout: Layout,
    },
}

fn logits() -> String {
    "logits".into()
}

/// In which order an opaque graph's input holds its dimensions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Layout {
    /// Pictures, channels, rows, columns.
    #[default]
    Nchw,
    /// Pictures, rows, columns, channels.
    Nhwc,
}

/// What the numbers of an opaque graph are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Activation {
    /// One logit a label, each for itself.
    Logits,
    /// One logit a class, of which one is true.
    SoftmaxLogits,
    /// Numbers from 0 to 1 already.
    Probabilities,
}

/// From picture to tensor.
#[derive(Clone, Debug, Deserialize)]
pub struct Preprocessing {
    /// Width of the tensor.
    pub width: u32,
    /// Height of the tensor.
    pub height: u32,
    /// 1: grey; 3: red, green, blue (or one window each).
    pub channels: usize,
    /// Which display values a DICOM picture gets.
    #[serde(default)]
    pub voi: VoiRule,
    /// Whether MONOCHROME1 is turned so that bright is high.
    #[serde(default = "yes")]
    pub invert_monochrome1: bool,
    /// Which part of a picture is taken, before it is made to fit.
    #[serde(default)]
    pub region: PictureRegion,
    /// How a picture of another shape is made to fit.
    #[serde(default)]
    pub fit: Fit,
    /// How it is resampled.
    #[serde(default)]
    pub filter: Filter,
    /// Subtracted, one a channel, after scaling to 0..1.
    pub mean: Vec<f32>,
    /// Divided by, one a channel.
    pub std: Vec<f32>,
}

const fn yes() -> bool {
    true
}

/// Which display values a DICOM picture gets before it is scaled to 0..1.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum VoiRule {
    /// The file's first VOI; without one the representable range up to 8 bits, else the range observed.
    #[default]
    FirstWindowOrFullRange,
    /// Fixed windows over modality values (HU); as many as there are channels, or one for all. A photograph of a slice, or another picture
    /// without a rescale that is to be shown over its whole range, holds none: somebody has windowed it already, and it is taken as it is.
    Windows(Vec<FixedWindow>),
}

/// A window over modality values, LINEAR_EXACT.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
pub struct FixedWindow {
    /// Centre.
    pub center: f64,
    /// Width, above 0.
    pub width: f64,
}

/// Which part of a picture is taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PictureRegion {
    /// All of it.
    #[default]
    Whole,
    /// The largest region of an ultrasound picture that shows the body in two dimensions, where the file tells regions; else all of it.
    Ultrasound,
}

/// How a picture of another shape is made to fit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fit {
    /// Width and height are scaled each for itself.
    #[default]
    Stretch,
    /// The largest centred part of the tensor's shape is kept.
    CentreCrop,
    /// All is kept, black is added around it.
    Letterbox,
}

/// A resampling filter, antialiased: its support grows with the reduction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub enum Filter {
    /// Triangle.
    #[default]
    #[serde(rename = "bilinear-antialias")]
    Bilinear,
    /// Catmull-Rom.
    #[serde(rename = "bicubic-antialias")]
    Bicubic,
    /// Lanczos with three lobes.
    #[serde(rename = "lanczos3-antialias")]
    Lanczos3,
}

/// How the pictures of a study become one answer; see [`crate::aggregation`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(tag = "method", rename_all = "kebab-case")]
pub enum Aggregation {
    /// The highest probability of all pictures that were assessed.
    #[default]
    MaxProbability,
    /// The mean logit of all pictures that were assessed.
    MeanLogit,
    /// The mean of the highest logits, of all where there are fewer: a finding that shows on some slices of a series.
    TopMeanLogit {
        /// How many, 1 or more.
        top: NonZeroU32,
    },
}

/// One label.
#[derive(Clone, Debug, Deserialize)]
pub struct FindingSpec {
    /// The pack's word.
    pub label: String,
    /// The coded concept.
    pub code: CodedConcept,
    /// Where in the body.
    #[serde(default)]
    pub site: Option<CodedConcept>,
    /// Fewer than 20 positive patients stand behind it.
    #[serde(default)]
    pub experimental: bool,
    /// Logit → probability; without it the output is a score.
    #[serde(default)]
    pub calibration: Option<Calibration>,
    /// At or below: `absent`.
    #[serde(default)]
    pub rule_out: Option<Threshold>,
    /// At or above: `present`.
    #[serde(default)]
    pub rule_in: Option<Threshold>,
}

/// Platt scaling: probability = logistic(slope × logit + intercept).
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct Calibration {
    /// The map; `platt` is the one there is.
    pub method: CalibrationMethod,
    /// Slope.
    pub slope: f64,
    /// Intercept.
    pub intercept: f64,
    /// Share of positive patients among those it was fitted on.
    pub reference_prevalence: Probability,
    /// Patients it was fitted on.
    pub patients: u32,
    /// Positive ones among them.
    pub positives: u32,
}

/// Calibration maps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CalibrationMethod {
    /// Platt 1999.
    Platt,
}

/// An operating point, at the reference prevalence.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct Threshold {
    /// The calibrated probability.
    pub probability: Probability,
}

/// When a picture is not like anything the pack knows.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct OutOfDistribution {
    /// The score; see [`crate::abstention`].
    pub method: OodMethod,
    /// Above: not assessed.
    pub threshold: f64,
    /// Variance of what the components leave.
    pub residual_variance: f64,
}

/// Out-of-distribution scores.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OodMethod {
    /// Mahalanobis distance under probabilistic PCA (Tipping and Bishop 1999), divided by the dimension.
    PpcaMahalanobis,
}

impl Metadata {
    /// Reads the metadata and checks what types alone do not.
    ///
    /// # Errors
    /// A sentence that names the key.
    pub fn parse(json: &[u8]) -> Result<Self, String> {
        let metadata: Self = serde_json::from_slice(json).map_err(|e| e.to_string())?;
        metadata.overread.check()?;
        Ok(metadata)
    }
}

impl Manifest {
    /// What whoever looks at a result must know of the pack, in sentences; empty for most packs.
    pub fn caveats(&self) -> Vec<&'static str> {
        let research = self.terms.research_only.then_some(RESEARCH_ONLY);
        let blind = self.out_of_distribution.is_none().then_some(NO_STRANGERS);
        research.into_iter().chain(blind).collect()
    }

    fn check(&self) -> Result<(), String> {
        if self.pack_format != PACK_FORMAT {
            return Err(format!(
                "overread.pack_format is {}, this build reads {PACK_FORMAT}; use a build that fits the pack",
                self.pack_format
            ));
        }
        let word = |s: &str| {
            !s.is_empty()
                && s.len() <= 64
                && s.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        };
        if !word(&self.id) || !word(&self.program) {
            return Err("overread.id and overread.program are lower-case letters, digits and dashes".into());
        }
        if self.findings.is_empty() {
            return Err("overread.findings is empty: a pack answers at least one".into());
        }
        if self.slides.is_some_and(|s| !(s.tile_microns > 0.0 && s.tile_microns <= 1e5)) {
            return Err("overread.slides.tile_microns lies above 0 and is at most 100000".into());
        }
        self.preprocessing.check()?;
        self.findings.iter().try_for_each(FindingSpec::check)
    }
}

impl Preprocessing {
    fn check(&self) -> Result<(), String> {
        let sane = |n: u32| (8..=4096).contains(&n);
        if !sane(self.width) || !sane(self.height) {
            return Err("overread.preprocessing.width and height lie between 8 and 4096".into());
        }
        if self.channels != 1 && self.channels != 3 {
            return Err("overread.preprocessing.channels is 1 or 3".into());
        }
        if self.mean.len() != self.channels || self.std.len() != self.channels {
            return Err("overread.preprocessing.mean and std have one number a channel".into());
        }
        if self.std.iter().any(|s| !(s.is_finite() && *s > 0.0)) || self.mean.iter().any(|m| !m.is_finite()) {
            return Err("overread.preprocessing.std is above 0 and mean is finite".into());
        }
        if let VoiRule::Windows(windows) = &self.voi {
            if windows.len() != 1 && windows.len() != self.channels {
                return Err("overread.preprocessing.voi.windows has one window, or one a channel".into());
            }
            if windows.iter().any(|w| !(w.width > 0.0 && w.center.is_finite())) {
                return Err("overread.preprocessing.voi.windows: width is above 0".into());
            }
        }
        Ok(())
    }
}

impl FindingSpec {
    fn check(&self) -> Result<(), String> {
        let key = |k: &str| format!("overread.findings[{}].{k}", self.label);
        if self.calibration.is_none() && (self.rule_in.is_some() || self.rule_out.is_some()) {
            return Err(format!("{}: thresholds need a calibration", key("rule_in")));
        }
        if let (Some(low), Some(high)) = (self.rule_out, self.rule_in)
            && low.probability >= high.probability
        {
            return Err(format!("{} lies below rule_in", key("rule_out")));
        }
        if let Some(c) = self.calibration {
            let p = c.reference_prevalence.get();
            if !(c.slope.is_finite() && c.slope > 0.0 && c.intercept.is_finite()) {
                return Err(format!("{}: slope is above 0", key("calibration")));
            }
            if p <= 0.0 || p >= 1.0 {
                return Err(format!("{}.reference_prevalence lies between 0 and 1", key("calibration")));
            }
            if c.positives < 20 && (!self.experimental || self.rule_out.is_some()) {
                return Err(format!(
                    "{}: fewer than 20 positive patients make a finding experimental, without rule_out",
                    key("experimental")
                ));
            }
        }
        Ok(())
    }
}
