//! Reading studies, and validating what reads them.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use overread_domain::Probability;

use super::numbers::{prevalence, studies, threshold};
use super::{Format, Lines};

/// Exit status: 0, every study was answered (`not-assessed` is an answer); 1, nothing could be done; 2, the command
/// line is wrong; 3, some studies failed and the others were answered.
#[derive(Args)]
#[command(after_help = "Examples:
  overread classify chest.dcm
  overread classify studies/ --program cxr-pneumonia --prevalence 0.1 --out results/
  overread classify photos/*.jpeg --format jsonl > results.jsonl

Exit status: 0 every study was answered (\"not assessed\" is an answer); 1 nothing could be done;
2 the command line is wrong; 3 some studies failed, the others were answered.")]
pub struct ClassifyArgs {
    /// Files and folders. DICOM files are joined to studies by their Study Instance UID; each photograph is a study.
    #[arg(required = true, value_name = "PATH")]
    pub paths: Vec<PathBuf>,
    /// Read under this program only. Default: under each program whose intended use a study fits.
    #[arg(long, value_name = "NAME")]
    pub program: Vec<String>,
    /// Read with the pack in this folder, whatever the pack folders hold.
    #[arg(long, value_name = "DIR", conflicts_with = "program")]
    pub pack: Vec<PathBuf>,
    /// State probabilities at this prevalence of the finding, your own. Default: that of the pack's calibration.
    #[arg(long, value_name = "P", value_parser = prevalence)]
    pub prevalence: Option<Probability>,
    /// Write overlays, secondary captures, structured reports, results.jsonl and a page to look at into this folder.
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// How results are printed.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub format: Format,
    /// Leave explanations out.
    #[arg(long)]
    pub no_explain: bool,
    /// Test each explanation (deletion curve against random and centre maps). Slow: some eighty passes a finding.
    #[arg(long, conflicts_with = "no_explain")]
    pub faithfulness: bool,
    /// Decode every image in full, even where the pack needs less.
    #[arg(long)]
    pub full_decode: bool,
    /// Add to each result where the time went.
    #[arg(long)]
    pub timings: bool,
    /// Threads that read. Default: as many as there are cores.
    #[arg(long, value_name = "N", env = "OVERREAD_WORKERS", value_parser = clap::value_parser!(u16).range(1..=256))]
    pub workers: Option<u16>,
    /// Also use packs that are not signed by a key of the trust list.
    #[arg(long)]
    pub allow_untrusted: bool,
}

/// Check a pack on your own labelled cases. The figures are of these cases and of no others.
#[derive(Args)]
#[command(
    after_help = "labels.csv has a column `file` (paths below DIR) and a column for each finding: named like it with 0 and 1, or named by --finding.

Examples:
  overread validate chest/ --labels chest/labels.csv --program cxr-pneumonia --group patient --out validation/
  overread validate chest/ --labels l.csv --program cxr-pneumonia --finding pneumonia=label:pneumonia --subgroup sex,age,scanner
  overread validate chest/ --labels l.csv --program cxr-pneumonia --prevalence 0.05 --studies-a-day 80 --at 0.3
  overread classify chest/ --program cxr-pneumonia --format jsonl > results.jsonl
  overread validate --results results.jsonl --labels l.csv --out validation/
  overread program mode cxr-pneumonia review-all --reason \"validated on our own cases\" --validation validation/validation.json

Exit status: 0 the figures were computed; 1 they could not be, standard error says why; 2 the command line is wrong."
)]
pub struct ValidateArgs {
    /// Folder in which the label file's files lie.
    #[arg(value_name = "DIR", required_unless_present = "results", conflicts_with = "results")]
    pub folder: Option<PathBuf>,
    /// Instead of reading: JSON lines that `overread classify --format jsonl` printed, or results.jsonl of an earlier validation.
    #[arg(long, value_name = "FILE")]
    pub results: Option<PathBuf>,
    /// The results are of several editions, each on cases it had not seen: a recipe is validated, no edition. The record lifts no program out of shadow.
    #[arg(long, requires = "results")]
    pub cross_validated: bool,
    /// The label file (CSV, UTF-8, with a header).
    #[arg(long, value_name = "FILE")]
    pub labels: PathBuf,
    /// The program to validate.
    #[arg(long, value_name = "NAME", required_unless_present_any = ["pack", "results"])]
    pub program: Option<String>,
    /// The pack in this folder, whatever the pack folders hold.
    #[arg(long, value_name = "DIR")]
    pub pack: Option<PathBuf>,
    /// Column by which files are joined to cases, such as `patient`: each case is read as one study, and positive if one of its files is.
    /// Default: each file, or each study of the results, is a case.
    #[arg(long, value_name = "COLUMN")]
    pub group: Option<String>,
    /// Columns by which figures are broken down; a column of ages in years becomes decades.
    #[arg(long, value_name = "COLUMNS", value_delimiter = ',')]
    pub subgroup: Vec<String>,
    /// Which column says whether a finding is there: FINDING=COLUMN (0 or 1), or FINDING=COLUMN:VALUE. May be given several times.
    /// Default: the columns that are named like findings.
    #[arg(long, value_name = "FINDING=COLUMN[:VALUE]")]
    pub finding: Vec<String>,
    /// Only rows with this value, such as split=test. May be given several times; all must hold.
    #[arg(long = "where", value_name = "COLUMN=VALUE")]
    pub rows: Vec<String>,
    /// Only files of one part of a split: a CSV with the columns `file` and `split`; its other columns count too.
    #[arg(long, value_name = "FILE", requires = "part")]
    pub split: Option<PathBuf>,
    /// Which part of the split.
    #[arg(long, value_name = "NAME", requires = "split")]
    pub part: Option<String>,
    /// The finding's prevalence among your own studies, for predictive values and alerts. Default: that of the cases.
    #[arg(long, value_name = "P", value_parser = prevalence)]
    pub prevalence: Option<Probability>,
    /// A threshold to look at beside the pack's own: a probability at that prevalence.
    #[arg(long, value_name = "P", value_parser = threshold)]
    pub at: Option<f64>,
    /// How many studies you would send a day: the page then says how many alerts each threshold makes.
    #[arg(long, value_name = "N", value_parser = studies)]
    pub studies_a_day: Option<f64>,
    /// Another edition on the same cases: a pack's folder, or the results of another run.
    #[arg(long, value_name = "PATH")]
    pub compare: Option<PathBuf>,
    /// Write validation.json, index.html and results.jsonl into this folder.
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// How the figures are printed.
    #[arg(long, value_enum, default_value_t = Lines::Text)]
    pub format: Lines,
    /// Threads that read. Default: as many as there are cores.
    #[arg(long, value_name = "N", env = "OVERREAD_WORKERS", value_parser = clap::value_parser!(u16).range(1..=256))]
    pub workers: Option<u16>,
    /// Also use packs that are not signed by a key of the trust list.
    #[arg(long)]
    pub allow_untrusted: bool,
}

/// What has a JSON Schema.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Document {
    /// `overread.result/1`, which `overread classify` prints.
    Result,
    /// `overread.validation/1`, which `overread validate` writes.
    Validation,
}

impl Document {
    /// The schema.
    pub fn schema(self) -> serde_json::Value {
        match self {
            Self::Result => overread_read::result::json_schema(),
            Self::Validation => overread_learn::json_schema(),
        }
    }
}
