//! The record of a validation as JSON: schema `overread.validation/1`.
//!
//! Within version 1 fields are added, never renamed or removed. `docs/schema/overread.validation-1.json` is generated from these types.
//! The record holds counts and figures, no case: nobody can be found in it, unless a column that was named for subgroups tells who somebody is.

use overread_domain::ContentHash;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::auroc::curve;
use crate::cases::{FindingCases, Settings, Subgroup};
use crate::compare::Comparison;
use crate::figures::{Figures, figures};
use crate::reliability::{Reliability, reliability};
use crate::share::Share;
use crate::thresholds::{Threshold, thresholds};

/// The name of the schema, the first field of every record.
pub const SCHEMA: &str = "overread.validation/1";

/// Points of a curve.
const CURVE: usize = 201;

/// The record of a validation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Validation {
    /// `overread.validation/1`.
    pub schema: String,
    /// When it was made, in milliseconds since 1970.
    pub made_at: i64,
    /// The version of Overread that made it.
    pub made_by: String,
    /// The program that was validated.
    pub program: String,
    /// The edition that read.
    pub pack: PackReference,
    /// What it was validated on.
    pub cases: Cases,
    /// Confidence of every interval: 0.95.
    pub confidence: f64,
    /// The prevalence that was stated for the site; null: each finding's own among the cases.
    pub prevalence: Option<f64>,
    /// Studies a day that alerts are counted for; null where nobody said.
    pub studies_a_day: Option<f64>,
    /// What was not assessed.
    pub refusals: Refusals,
    /// One a finding that has labels.
    pub findings: Vec<FindingValidation>,
    /// The same cases under another edition; null where there is none.
    pub comparison: Option<Comparison>,
    /// What a reader of the record must know beside the figures.
    pub remarks: Vec<String>,
}

/// A pack by name, version and content.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PackReference {
    /// Its lineage.
    pub id: String,
    /// Its makers' version.
    pub version: String,
    /// SHA-256 that names the edition.
    pub edition: String,
    /// Whether it may only be used for research.
    pub research_only: bool,
}

/// What a pack was validated on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Cases {
    /// Cases with labels and an answer, `not assessed` included.
    pub cases: u64,
    /// Images of them.
    pub images: u64,
    /// The column by which images were joined to cases; null: each image, or study, is a case.
    pub grouped_by: Option<String>,
    /// SHA-256 of the label file.
    #[schemars(with = "String")]
    pub labels_sha256: ContentHash,
}

/// What was not assessed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Refusals {
    /// Of all cases, those that were not assessed or failed.
    pub cases: Share,
    /// Of all images that were looked at, those that did not count; others of their case may have.
    pub images: Share,
    /// Cases by reason.
    pub codes: Vec<Refusal>,
}

/// One reason.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Refusal {
    /// A stable word, such as `out-of-distribution`.
    pub code: String,
    /// Of all cases, those with this reason.
    pub cases: Share,
}

/// One finding's figures.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct FindingValidation {
    /// The pack's word.
    pub label: String,
    /// Whether its numbers are probabilities; else they are scores.
    pub calibrated: bool,
    /// Fewer than 20 positive patients stood behind it when it was made.
    pub experimental: bool,
    /// The prevalence that thresholds, predictive values and alerts hold for; null where the cases are of one class and nobody stated one.
    pub prevalence: Option<f64>,
    /// Of the positive cases, those that were not assessed: what the machine does not find because it does not look.
    pub positives_not_assessed: Share,
    /// Figures over cases.
    pub cases: Figures,
    /// Figures over single images, where cases have several. Images of one patient are alike: these intervals are too narrow.
    pub images: Option<Figures>,
    /// The operating characteristic of the cases as (1 - specificity, sensitivity).
    pub curve: Vec<[f64; 2]>,
    /// How probabilities compare with what was found; null where the finding has none.
    pub reliability: Option<Reliability>,
    /// Thresholds to choose from.
    pub thresholds: Vec<Threshold>,
    /// Figures broken down.
    pub subgroups: Vec<SubgroupValidation>,
}

/// Figures of the cases that share a value.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SubgroupValidation {
    /// The column.
    pub column: String,
    /// Its value.
    pub value: String,
    /// Of its cases, those that were not assessed.
    pub not_assessed: Share,
    /// Figures over its cases.
    pub figures: Figures,
}

/// Why a text is no record of a validation.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// The text is not of the schema.
    #[error("the record is not {SCHEMA}: {0}; overread validate --out DIR writes one as validation.json")]
    Shape(String),
    /// It says nothing.
    #[error("the record holds no finding with positive and negative cases: it validates nothing")]
    Empty,
}

impl Validation {
    /// Reads a record and checks that it says something.
    ///
    /// # Errors
    /// [`RecordError`] says what is wrong.
    pub fn parse(text: &str) -> Result<Self, RecordError> {
        let record: Self = serde_json::from_str(text).map_err(|e| RecordError::Shape(e.to_string()))?;
        if record.schema != SCHEMA {
            return Err(RecordError::Shape(format!("its schema is {}", record.schema)));
        }
        let tells = |f: &FindingValidation| f.cases.auroc.value.is_some_and(|v| (0.0..=1.0).contains(&v));
        if record.cases.cases == 0 || !record.findings.iter().any(tells) {
            return Err(RecordError::Empty);
        }
        Ok(record)
    }
}

impl FindingValidation {
    /// The figures of a finding at the prevalence of `settings`, else at the cases' own.
    pub fn of(mut finding: FindingCases, settings: &Settings) -> Self {
        let observed = finding.observed_prevalence();
        let reliability = observed.and_then(|observed| {
            finding.at_prevalence(observed);
            reliability(finding.cases.iter().filter_map(|c| Some((c.truth, c.probability?))))
        });
        let prevalence = settings.prevalence.or(observed);
        if let Some(prevalence) = prevalence {
            finding.at_prevalence(prevalence);
        }
        let (positive, negative) = finding.refused;
        let positives = finding.cases.iter().filter(|c| c.truth).count() as u64 + positive;
        let all = finding.cases.len() as u64 + positive + negative;
        let assessed = finding.cases.len() as f64 / (all as f64).max(1.0);
        Self {
            calibrated: finding.prevalence.is_some(),
            experimental: finding.experimental,
            prevalence: prevalence.map(f64::from),
            positives_not_assessed: Share::new(positive, positives),
            cases: figures(finding.cases.iter(), &finding, settings),
            images: (!finding.images.is_empty()).then(|| figures(finding.images.iter(), &finding, settings)),
            curve: curve(finding.cases.iter().map(|c| (c.truth, c.score)), CURVE),
            reliability,
            thresholds: thresholds(&finding.cases, settings, assessed),
            subgroups: finding.subgroups.iter().flat_map(|s| broken_down(s, &finding, settings)).collect(),
            label: finding.label,
        }
    }
}

fn broken_down(subgroup: &Subgroup, finding: &FindingCases, settings: &Settings) -> Vec<SubgroupValidation> {
    let of_value = |(index, value): (usize, &String)| {
        let answers = finding.cases.iter().zip(&subgroup.of_case).filter(move |(_, v)| **v == index);
        let figures = figures(answers.map(|(answer, _)| answer), finding, settings);
        let refused = subgroup.refused.get(index).copied().unwrap_or(0);
        SubgroupValidation {
            column: subgroup.name.clone(),
            value: value.clone(),
            not_assessed: Share::new(refused, refused + figures.assessed),
            figures,
        }
    };
    subgroup.values.iter().enumerate().map(of_value).collect()
}

/// The JSON Schema (draft 2020-12) of [`Validation`].
pub fn json_schema() -> serde_json::Value {
    let mut schema = schemars::generate::SchemaSettings::draft2020_12()
        .for_serialize()
        .into_generator()
        .into_root_schema_for::<Validation>()
        .to_value();
    schema["title"] = SCHEMA.into();
    schema
}
