//! The images of a study on their way out: all of them pass the gate before the first is put, so that of a study with one image that must not leave nothing
//! leaves.

use std::sync::Arc;

use overread_deid::{Gate, GateError, Leaving, Left, Look, Looks};
use overread_store::{ObjectKey, Trouble};
use tempfile::TempPath;

use crate::error::sentence;
use crate::vault::SealedObjects;

/// Bytes of a study that wait in staging until it is known whether all of it may leave; what is more is made twice.
const KEPT: u64 = 1 << 30;

/// A received image, as far as the way out asks.
pub(crate) struct Received<'a> {
    /// Its key in the objects.
    pub(crate) object: &'a str,
    /// Its series.
    pub(crate) series: &'a str,
}

/// What came of a study's images.
pub(crate) enum Passed {
    /// All may leave, in the order of the list.
    All(Vec<Made>),
    /// One must not.
    Quarantined(Quarantined),
}

/// The image of a study that must not leave.
pub(crate) struct Quarantined {
    /// Its place in the list, from 1.
    pub(crate) image: usize,
    /// Why.
    pub(crate) reasons: Vec<String>,
}

/// An image that may leave.
pub(crate) struct Made {
    pub(crate) left: Left,
    look: Look,
    file: Option<TempPath>,
}

/// Takes images through the gate.
pub(crate) struct Way<'a> {
    pub(crate) gate: &'a Arc<Gate>,
    pub(crate) objects: &'a SealedObjects,
}

impl Way<'_> {
    /// Takes all images of a study through the gate. Nothing is sent.
    pub(crate) async fn all(&self, images: &[Received<'_>]) -> Result<Passed, Trouble> {
        let mut looks = Looks::new(images.iter().map(|image| image.series));
        let mut made: Vec<Option<Made>> = images.iter().map(|_| None).collect();
        let mut kept = 0;
        for place in looks.order() {
            let look = looks.at(place);
            let (leaving, file) = self.pass(images[place].object, look).await?;
            looks.note(place, leaving.warns());
            let left = match leaving {
                Leaving::Clean(left) => *left,
                Leaving::Quarantined(reasons) => {
                    return Ok(Passed::Quarantined(Quarantined { image: place + 1, reasons }));
                }
            };
            kept += left.bytes;
            let file = (kept <= KEPT).then_some(file);
            made[place] = Some(Made { left, look, file });
        }
        Ok(Passed::All(made.into_iter().flatten().collect()))
    }

    /// The file of an image that passed: the one that waited, or the same made again.
    pub(crate) async fn file(&self, made: &mut Made, image: &Received<'_>) -> Result<TempPath, Trouble> {
        if let Some(file) = made.file.take() {
            return Ok(file);
        }
        match self.pass(image.object, made.look).await? {
            (Leaving::Clean(left), file) if left.sha256 == made.left.sha256 => Ok(file),
            _ => Err(Trouble::Failed {
                why: "an image that passed the gate came out otherwise a second time; look at its pixels before it is tried again".into(),
            }),
        }
    }

    async fn pass(&self, object: &str, look: Look) -> Result<(Leaving, TempPath), Trouble> {
        let local = self.objects.local(&ObjectKey::parse(object)?).await?;
        let (gate, staging) = (Arc::clone(self.gate), self.objects.staging().to_owned());
        let passed = tokio::task::spawn_blocking(move || {
            let file = tempfile::NamedTempFile::new_in(staging)
                .map_err(|e| Trouble::Later { why: format!("writing to staging: {e}") })?
                .into_temp_path();
            let leaving = gate.pass(local.path(), look, &file).map_err(|e| trouble(&e))?;
            Ok::<_, Trouble>((leaving, file))
        });
        passed.await.map_err(|_| Trouble::Failed { why: "de-identifying an image panicked".into() })?
    }
}

fn trouble(error: &GateError) -> Trouble {
    // A full disk is waited for; all else counts, so that a defect of ours cannot hide.
    let why = format!("an image cannot be de-identified: {}", sentence(error));
    match error {
        GateError::Deid(e) if e.is_passing() => Trouble::Later { why },
        _ => Trouble::Failed { why },
    }
}
