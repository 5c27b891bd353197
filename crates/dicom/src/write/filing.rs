//! The objects of one result, made in one call and in the order in which they are filed.

use overread_domain::{Finding, GridSize, NotAssessed};

use super::capture::{Capture, secondary_capture};
use super::elements::to_part10;
use super::identity::{Algorithm, ResultIdentity};
use super::report::{Release, Report, VisualExplanation, structured_report};
use super::source::{InstanceReference, SourceContext};
use super::stamp::Stamp;
use super::{DicomFile, WriteError};

/// A picture to be filed as a secondary capture. It must not show who the patient is.
#[derive(Clone, Debug)]
pub struct FiledCapture {
    /// Tells the capture from the result's others; its UID is a function of it.
    pub label: String,
    /// [`Finding::name`] of the finding that it explains, if it is a picture of why.
    pub explains: Option<String>,
    /// How it was made.
    pub description: String,
    /// Columns and rows.
    pub size: GridSize,
    /// Red, green, blue, one byte each, row by row from the top left (`y, x, c`).
    pub rgb: Vec<u8>,
}

/// What a result says, for [`documents`].
#[derive(Clone, Copy, Debug)]
pub struct Filing<'a> {
    /// The findings, in the pack's order.
    pub findings: &'a [Finding],
    /// Why the study was not assessed.
    pub not_assessed: Option<&'a NotAssessed>,
    /// The pictures, each under a label of its own.
    pub captures: &'a [FiledCapture],
    /// Reports of the same study that this result replaces.
    pub predecessors: &'a [InstanceReference],
    /// Preliminary or final.
    pub release: Release,
    /// Sentences about the reader, as [`Report::caveats`].
    pub caveats: &'a [&'a str],
}

/// Makes the objects of a result as Part 10 files: its captures in their order, then the report that refers to them, so
/// that an archive never holds a report whose pictures are still to come. The same inputs make the same bytes.
///
/// # Errors
/// As [`secondary_capture`] and [`structured_report`]; [`WriteError::SameLabel`] where two captures would be one object.
pub fn documents(
    source: &SourceContext,
    algorithm: &Algorithm,
    identity: &ResultIdentity,
    stamp: Stamp,
    filing: &Filing<'_>,
) -> Result<Vec<(InstanceReference, Vec<u8>)>, WriteError> {
    let mut objects = Vec::with_capacity(filing.captures.len() + 1);
    let mut explanations = Vec::new();
    for (number, capture) in (1..).zip(filing.captures) {
        let others = &filing.captures[..number as usize - 1];
        if others.iter().any(|c| c.label == capture.label) {
            return Err(WriteError::SameLabel { label: capture.label.clone() });
        }
        let picture = Capture {
            label: &capture.label,
            number,
            description: &capture.description,
            size: capture.size,
            rgb: &capture.rgb,
        };
        let filed = filed(&secondary_capture(source, algorithm, identity, stamp, &picture)?)?;
        if let Some(finding) = &capture.explains {
            explanations.push(VisualExplanation { finding: finding.clone(), image: filed.0.clone() });
        }
        objects.push(filed);
    }
    let report = Report {
        findings: filing.findings,
        not_assessed: filing.not_assessed,
        explanations: &explanations,
        predecessors: filing.predecessors,
        release: filing.release,
        caveats: filing.caveats,
    };
    objects.push(filed(&structured_report(source, algorithm, identity, stamp, &report)?)?);
    Ok(objects)
}

fn filed(object: &DicomFile) -> Result<(InstanceReference, Vec<u8>), WriteError> {
    Ok((InstanceReference::to(object)?, to_part10(object)?))
}
