//! What labelled cases say of a pack. Pure functions: no files, no DICOM, no network.
//!
//! In reading order: [`cases`] are labels beside answers, [`auroc`] and [`share`] are the statistics, [`figures`] puts them together for one set of
//! cases, [`reliability`] and [`thresholds`] look at its probabilities, [`compare`] sets two editions side by side, [`record`] is all of it as JSON
//! (`overread.validation/1`), [`page`] is the record to look at.

pub mod auroc;
pub mod cases;
pub mod compare;
pub mod figures;
mod normal;
pub mod page;
pub mod record;
pub mod reliability;
pub mod share;
pub mod thresholds;

pub use cases::{Answer, FindingCases, Settings, Subgroup};
pub use record::{SCHEMA, Validation, json_schema};
