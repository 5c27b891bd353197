//! Images come in: durable before they are acknowledged, many senders sharing a commit.
//!
//! Senders hand over files that lie in staging. One task, the [`Committer`], commits them in groups.

use std::path::PathBuf;

use overread_dicom::read::Limits;
use overread_domain::{Clock, ContentHash};
use tempfile::TempPath;
use tokio::sync::{mpsc, oneshot};

pub use crate::commit::Committer;
use crate::commit::{GROUP, Sealed, Waiting};
use crate::describe::{Description, describe};
use crate::error::{EdgeError, sentence};
use crate::vault::SealedObjects;

/// An object that lies in staging.
pub struct Arrival {
    /// The file, a DICOM Part 10 file; taken, or left to the caller to remove.
    pub file: PathBuf,
    /// Its length in bytes.
    pub bytes: u64,
    /// SHA-256 of the file.
    pub sha256: ContentHash,
    /// Calling AE title, `stow` or `upload`.
    pub source: String,
    /// How many images the sender says that its study has, where the object itself does not tell.
    pub expected: Option<i64>,
}

/// What became of an object. In each case its bytes are safe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accepted {
    /// New.
    Stored,
    /// The same object was here already; the file meta group may have been another.
    Duplicate,
    /// Another data set is here under the same SOP Instance UID: both are kept, the first counts, and a person is told.
    Conflict,
}

/// Why an object was not taken. Holds no identity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// No room: 0xA700, 507. Taken again by itself once there is room.
    Full,
    /// The database or the object store is away: 0xA700, 503.
    Away,
    /// Not an object that can be kept: 0xC000, 409.
    Unreadable(String),
}

/// The way in. Clones share it.
#[derive(Clone)]
pub struct Intake {
    queue: mpsc::Sender<Waiting>,
    objects: SealedObjects,
    clock: Clock,
    limits: Limits,
    reserve: u64,
}

impl Intake {
    /// Starts the committing task. It ends when the last clone of the intake is dropped.
    pub fn start(committer: Committer, limits: Limits, reserve_bytes: u64) -> Self {
        let (queue, arrivals) = mpsc::channel(4 * GROUP);
        let (objects, clock) = (committer.objects.clone(), committer.clock.clone());
        tokio::spawn(committer.run(arrivals));
        Self { queue, objects, clock, limits, reserve: reserve_bytes }
    }

    /// Where files are written before they are handed over.
    pub fn staging(&self) -> &std::path::Path {
        self.objects.staging()
    }

    /// Whether there is room for more.
    pub fn has_room(&self) -> bool {
        self.objects.free_bytes().is_none_or(|free| free > self.reserve)
    }

    /// Takes an object: on return it is durable, and so is the knowledge of it.
    ///
    /// # Errors
    /// [`Refusal`]: it is not here, and nothing of it.
    pub async fn accept(&self, arrival: Arrival) -> Result<Accepted, Refusal> {
        if !self.has_room() {
            return Err(Refusal::Full);
        }
        let (file, source, limits) = (arrival.file.clone(), arrival.source.clone(), self.limits.clone());
        let described = tokio::task::spawn_blocking(move || describe(&file, &source, &limits)).await;
        let mut description = described
            .map_err(|_| Refusal::Unreadable("the object could not be parsed".into()))?
            .map_err(Refusal::Unreadable)?;
        description.expected = description.expected.or(arrival.expected);
        let sealed = self.seal(&arrival, &description).await.map_err(|e| not_sealed(&e))?;
        self.commit(arrival, description, sealed).await
    }

    /// Seals what is to be kept, each sender's beside the others' and beside the commit that goes on meanwhile.
    async fn seal(&self, arrival: &Arrival, description: &Description) -> Result<Sealed, EdgeError> {
        let patient = self.objects.vault().patient(&description.who).await?;
        let hour = self.clock.now().0 / 3_600_000;
        let key = SealedObjects::key(&format!("in/{hour}"), &format!("{:032x}", rand::random::<u128>()))?;
        let attributes = serde_json::to_string(&description.attributes).unwrap_or_else(|_| "{}".into());
        let (row, file) = (description.sop_instance.to_string(), arrival.file.clone());
        let objects = self.objects.clone();
        let work = move || -> Result<Sealed, EdgeError> {
            let file: TempPath = objects.seal(&patient, &key, &file)?;
            let attributes = patient.seal_text("instances.attributes", &row, &attributes)?;
            Ok(Sealed { key, patient: patient.id, file, attributes })
        };
        tokio::task::spawn_blocking(work).await.map_err(|_| EdgeError::lost("sealing an image"))?
    }

    async fn commit(
        &self,
        arrival: Arrival,
        description: Description,
        sealed: Sealed,
    ) -> Result<Accepted, Refusal> {
        let (answer, answered) = oneshot::channel();
        self.queue.send(Waiting { arrival, description, sealed, answer }).await.map_err(|_| Refusal::Away)?;
        answered.await.map_err(|_| Refusal::Away)?
    }
}

fn not_sealed(error: &EdgeError) -> Refusal {
    tracing::error!("an image was not taken: {}", sentence(error));
    if error.is_full() { Refusal::Full } else { Refusal::Away }
}
