//! Frames through the graph: what became of each, and which was the strongest for each finding.

use std::time::Instant;

use overread_domain::Explanation;
use overread_infer::engine::ImageOutput;
use overread_infer::{Engine, InferError};

use crate::frames::Ready;
use crate::reader::{FrameOutcome, FrameRef, Options, Reading, Spent, stranger};
use crate::sides::Sides;

/// What frames came to that went through the graph together.
pub(crate) struct Batch {
    frames: Vec<FrameOutcome>,
    warnings: Vec<String>,
    unread: Vec<FrameRef>,
    spent: Spent,
    best: Best,
}

/// The frame with the highest logit of each finding: the one an explanation is about.
pub(crate) struct Best {
    labels: usize,
    /// Label by label, for each side that is answered for.
    pub(crate) of_finding: Vec<Option<Top>>,
}

/// A frame, and the map of the finding if it came with the same pass.
pub(crate) struct Top {
    logit: f64,
    pub(crate) frame: FrameRef,
    pub(crate) map: Option<Explanation>,
}

impl Batch {
    /// Runs frames that are ready.
    pub(crate) fn run(
        engine: &mut Engine,
        ready: Vec<Ready>,
        options: Options,
        sides: &Sides,
    ) -> Result<Self, InferError> {
        let pack = engine.pack().clone();
        let mut batch = Self {
            frames: vec![],
            warnings: vec![],
            unread: vec![],
            spent: Spent::default(),
            best: Best::new(pack.manifest.findings.len(), sides.groups().len()),
        };
        let (mut tensors, mut kept) = (Vec::with_capacity(ready.len()), Vec::with_capacity(ready.len()));
        for Ready { frame, outcome, decode, preprocess } in ready {
            batch.spent.decode += decode;
            batch.spent.preprocess += preprocess;
            match outcome {
                Ok(Ok(tensor)) => {
                    tensors.push(tensor);
                    kept.push(frame);
                }
                Ok(Err(refused)) => batch.frames.push(FrameOutcome::refused(frame, refused)),
                Err(why) => {
                    batch.warnings.push(why);
                    batch.unread.push(frame);
                }
            }
        }
        let started = Instant::now();
        let outputs = engine.run(&tensors, options.explain)?;
        batch.spent.inference += started.elapsed();
        for (frame, output) in kept.into_iter().zip(outputs) {
            let refused = stranger(&pack, &output);
            if refused.is_none() {
                batch.best.consider(sides.group_of(&frame), &frame, &output);
            }
            let (out_of_distribution, logits) = (output.out_of_distribution, output.logits);
            batch.frames.push(FrameOutcome { frame, out_of_distribution, logits, refused });
        }
        Ok(batch)
    }

    /// Adds it to a reading.
    pub(crate) fn join(self, reading: &mut Reading, best: &mut Best) {
        reading.frames.extend(self.frames);
        reading.warnings.extend(self.warnings);
        reading.unread.extend(self.unread);
        reading.spent.add(&self.spent);
        best.join(self.best);
    }
}

impl Best {
    pub(crate) fn new(labels: usize, sides: usize) -> Self {
        Self { labels, of_finding: (0..labels * sides).map(|_| None).collect() }
    }

    fn consider(&mut self, side: usize, frame: &FrameRef, output: &ImageOutput) {
        let own = &mut self.of_finding[side * self.labels..][..self.labels];
        for (label, slot) in own.iter_mut().enumerate() {
            let logit = output.logits[label];
            if slot.as_ref().is_none_or(|top| logit > top.logit) {
                let map = output.explanations.get(label).cloned();
                *slot = Some(Top { logit, frame: frame.clone(), map });
            }
        }
    }

    /// Of frames that are level the first stays.
    fn join(&mut self, later: Self) {
        for (slot, other) in self.of_finding.iter_mut().zip(later.of_finding) {
            if let Some(other) = other
                && slot.as_ref().is_none_or(|top| other.logit > top.logit)
            {
                *slot = Some(other);
            }
        }
    }
}
