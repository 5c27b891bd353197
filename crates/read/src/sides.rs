//! Which side of the body an image shows, and findings for each side: two eyes are two answers.
//!
//! An image has a side where its header says `R` or `L` of a paired part of the body. Where the images of a study show both sides, each
//! gets an aggregation and findings of its own; where they show one, the findings are of it. Images that do not say which side they show
//! are answered for without a side, and what they may show of either is not ruled out there.

use std::collections::BTreeSet;

use overread_domain::{BodySide, Decision, Finding, NotAssessed};
use overread_infer::Pack;

use crate::intake::ImageFile;
use crate::program::Program;
use crate::reader::{FrameOutcome, FrameRef, KeyFrame, Reading};

/// Parts of the body that have no side (Body Part Examined (0018,0015)): a `L` beside them is of the view.
const UNPAIRED: [&str; 16] = [
    "CHEST", "CHEST AP", "CHEST PA", "THORAX", "ABDOMEN", "PELVIS", "HEAD", "SKULL", "BRAIN", "NECK",
    "HEART", "LIVER", "SPINE", "CSPINE", "TSPINE", "LSPINE",
];

/// What is answered for apart: sides, or the study as a whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sides {
    /// What each image shows, by its index; none for those that do not say.
    of_image: Vec<Option<BodySide>>,
    groups: Vec<Option<BodySide>>,
}

impl Sides {
    /// The study as a whole.
    pub fn whole() -> Self {
        Self { of_image: vec![], groups: vec![None] }
    }

    /// The sides that the frames of a program show.
    pub fn of(images: &[ImageFile], program: &Program, frames: &[FrameRef]) -> Self {
        let of_image: Vec<_> = images.iter().map(|image| side_of(image, program)).collect();
        let shown: BTreeSet<Option<BodySide>> = frames.iter().map(|f| of_image[f.image]).collect();
        let known = shown.iter().flatten().count();
        if known == 2 || (known == 1 && !shown.contains(&None)) {
            let (unsaid, said): (Vec<_>, Vec<_>) = shown.into_iter().partition(Option::is_none);
            return Self { of_image, groups: said.into_iter().chain(unsaid).collect() };
        }
        // An image that may be of either side must not count for the other's.
        Self::whole()
    }

    /// What is answered for, in the order of the findings: right, left, and what has no side.
    pub fn groups(&self) -> &[Option<BodySide>] {
        &self.groups
    }

    /// The place among the groups of what an image shows.
    pub fn group_of(&self, frame: &FrameRef) -> usize {
        let side = self.of_image.get(frame.image).copied().flatten();
        self.groups.iter().position(|group| *group == side).unwrap_or(0)
    }
}

/// The side that an image states of a paired part of the body; where it does not name the part, of those that the program reads.
fn side_of(image: &ImageFile, program: &Program) -> Option<BodySide> {
    let unpaired = |part: &String| UNPAIRED.contains(&part.to_ascii_uppercase().as_str());
    let parts = &program.pack.manifest.intended_use.body_parts;
    if image.header.body_part_examined.as_ref().map_or_else(|| parts.iter().any(unpaired), unpaired) {
        return None;
    }
    BodySide::parse(image.header.laterality.as_deref()?)
}

/// From frames to one answer a label and side.
pub(crate) fn conclude(reading: &mut Reading) {
    let pack = std::sync::Arc::clone(&reading.program.pack);
    let groups = reading.sides.groups().len();
    let findings = (0..groups).map(|group| answer(reading, &pack, group)).collect::<Vec<_>>();
    if reading.not_assessed.is_none() && findings.iter().all(Result::is_err) {
        let frames: Vec<&FrameOutcome> = reading.frames.iter().collect();
        reading.not_assessed = weightiest(&frames).and_then(|f| f.refused.clone());
    }
    (reading.findings, reading.key_frames) = (vec![], vec![]);
    for (findings, side) in findings.into_iter().zip(reading.sides.groups().to_vec()) {
        let answered = findings.unwrap_or_else(|why| {
            let unanswered = |spec: &overread_infer::manifest::FindingSpec| {
                let reason = why.clone().filter(|_| reading.not_assessed.is_none());
                (Finding { reason, ..spec.unanswered() }, vec![])
            };
            pack.manifest.findings.iter().map(unanswered).collect()
        });
        for (finding, keys) in answered {
            reading.findings.push(Finding { laterality: side, ..finding });
            reading.key_frames.push(keys);
        }
    }
    not_beside_the_unsaid(reading, pack.manifest.findings.len());
}

/// The frame whose refusal tells best why there is no answer. Why the program ran and did not answer weighs more than why it did not run, and
/// why the frames that it chose were not run more than why it did not choose others, which stand before them.
fn weightiest<'a>(frames: &[&'a FrameOutcome]) -> Option<&'a FrameOutcome> {
    frames.iter().find(|f| !f.logits.is_empty()).or(frames.last()).copied()
}

type Answered = Vec<(Finding, Vec<KeyFrame>)>;

/// The findings of a group; else why it has none.
fn answer(reading: &Reading, pack: &Pack, group: usize) -> Result<Answered, Option<NotAssessed>> {
    let own = |frame: &FrameRef| reading.sides.group_of(frame) == group;
    let shown: Vec<&FrameOutcome> = reading.frames.iter().filter(|f| own(&f.frame)).collect();
    let counted: Vec<&FrameOutcome> = shown.iter().copied().filter(|f| f.refused.is_none()).collect();
    if counted.is_empty() {
        return Err(weightiest(&shown).map_or_else(|| Some(undecodable()), |f| f.refused.clone()));
    }
    // What was not seen cannot be ruled out: `absent` needs every frame of the side, and nothing amiss that may be of any.
    let elsewhere = reading
        .unread
        .iter()
        .filter(|f| !own(f) && reading.sides.groups()[reading.sides.group_of(f)].is_some());
    let unseen = reading.warnings.len() > elsewhere.count();
    let mut answered = Vec::with_capacity(pack.manifest.findings.len());
    for (label, spec) in pack.manifest.findings.iter().enumerate() {
        let logits: Vec<f64> = counted.iter().map(|f| f.logits[label]).collect();
        let answer = pack.manifest.aggregation.answer(&logits);
        let mut finding = spec.finding(answer.logit, reading.program.prevalence);
        if finding.decision == Decision::Absent && unseen {
            finding.decision = Decision::Indeterminate;
        }
        let key_frame =
            |i: usize| KeyFrame { frame: counted[i].frame.clone(), logit: logits[i], region: None };
        answered.push((finding, answer.carried_by.into_iter().map(key_frame).collect()));
    }
    Ok(answered)
}

fn undecodable() -> NotAssessed {
    NotAssessed {
        code: "undecodable".into(),
        message: "none of the images of this side could be read".into(),
    }
}

/// Beside images that do not say their side, nothing is `absent` on one that is not `absent` in them.
fn not_beside_the_unsaid(reading: &mut Reading, labels: usize) {
    if reading.sides.groups().len() < 2 || reading.sides.groups().last() != Some(&None) {
        return;
    }
    let sided = reading.findings.len() - labels;
    let (sides, unsaid) = reading.findings.split_at_mut(sided);
    for (index, finding) in sides.iter_mut().enumerate() {
        if finding.decision == Decision::Absent && unsaid[index % labels].decision != Decision::Absent {
            finding.decision = Decision::Indeterminate;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(image: usize, code: &str) -> FrameOutcome {
        let why = NotAssessed { code: code.into(), message: code.into() };
        FrameOutcome::refused(FrameRef { image, frame: 0 }, why)
    }

    #[test]
    fn what_was_chosen_and_refused_weighs_more_than_what_was_not_chosen() {
        let mut frames = [refused(0, "localiser"), refused(1, "other-series"), refused(2, "image-too-small")];
        let reason = |frames: &[FrameOutcome]| {
            let frames: Vec<&FrameOutcome> = frames.iter().collect();
            weightiest(&frames).and_then(|f| f.refused.clone()).map(|why| why.code)
        };
        assert_eq!(reason(&frames).as_deref(), Some("image-too-small"));
        frames[1] = FrameOutcome { logits: vec![0.5], ..refused(1, "out-of-distribution") };
        assert_eq!(reason(&frames).as_deref(), Some("out-of-distribution"));
        assert_eq!(reason(&[]), None);
    }
}
