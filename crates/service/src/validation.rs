//! The record of a validation on a site's own cases, as a program keeps it: what was shown of which edition, not the record itself.

use overread_domain::ContentHash;
use overread_learn::Validation;
use overread_learn::page::text::day;
use overread_learn::record::FindingValidation;
use overread_read::Program;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use utoipa::ToSchema;

/// What is kept of a record.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Recorded {
    /// SHA-256 of the record's file.
    pub sha256: String,
    /// The edition that was validated.
    pub edition: String,
    /// On how many cases.
    pub cases: u64,
    /// When, in milliseconds since 1970.
    pub made_at: i64,
    /// How well each finding was told apart.
    pub findings: Vec<RecordedFinding>,
}

/// A finding's figures.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct RecordedFinding {
    /// The pack's word.
    pub label: String,
    /// Cases that were assessed.
    pub assessed: u64,
    /// Positive ones among them.
    pub positives: u64,
    /// Area under the receiver operating characteristic curve.
    pub auroc: Option<f64>,
    /// Lower end of its 95% interval.
    pub low: Option<f64>,
    /// Upper end.
    pub high: Option<f64>,
}

impl Recorded {
    /// What a record says of a program's edition; `text` is the file as it is.
    ///
    /// # Errors
    /// A sentence: it is no record, or one of something else.
    pub(crate) fn accept(text: &str, program: &Program) -> Result<Self, String> {
        let record = Validation::parse(text).map_err(|e| e.to_string())?;
        let made_for = &program.pack.manifest.program;
        if record.program != program.name && record.program != *made_for {
            return Err(format!(
                "the record is of program {}; this is {}, whose pack was made for {made_for}",
                record.program, program.name
            ));
        }
        let edition = program.pack.edition.to_string();
        if record.pack.edition != edition {
            return Err(format!(
                "the record is of edition {}, and {} is read by edition {}; validate that one: overread validate --program {made_for}",
                record.pack.edition.chars().take(12).collect::<String>(),
                program.name,
                program.pack.edition.short()
            ));
        }
        Ok(Self {
            sha256: ContentHash::from_bytes(Sha256::digest(text).into()).to_string(),
            edition,
            cases: record.cases.cases,
            made_at: record.made_at,
            findings: record.findings.iter().map(RecordedFinding::from).collect(),
        })
    }

    /// Whether it is of the edition that reads.
    pub(crate) fn is_of(&self, program: &Program) -> bool {
        self.edition == program.pack.edition.to_string()
    }
}

/// Whether and on what a program was validated, in words.
pub(crate) fn statement(recorded: Option<&Recorded>, program: &Program) -> String {
    match recorded {
        None => "without local validation".into(),
        Some(r) if r.is_of(program) => {
            format!("validated locally on {} cases, {}", r.cases, day(r.made_at))
        }
        Some(r) => format!(
            "without local validation of this edition; another one was validated on {} cases, {}",
            r.cases,
            day(r.made_at)
        ),
    }
}

impl From<&FindingValidation> for RecordedFinding {
    fn from(f: &FindingValidation) -> Self {
        Self {
            label: f.label.clone(),
            assessed: f.cases.assessed,
            positives: f.cases.positives,
            auroc: f.cases.auroc.value,
            low: f.cases.auroc.low,
            high: f.cases.auroc.high,
        }
    }
}
