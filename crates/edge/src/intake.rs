//! Images come in: durable before they are acknowledged, many senders sharing a commit.
//!
//! Senders hand over files that lie in staging. One task, the [`Committer`], commits them in groups.

use std::path::PathBuf;

use overread_dicom::read::Limits;
use overread_domain::ContentHash;
use overread_store::Objects;
use tokio::sync::{mpsc, oneshot};

pub use crate::commit::Committer;
use crate::commit::{GROUP, Waiting};
use crate::describe::{Description, describe};

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
    objects: Objects,
    limits: Limits,
    reserve: u64,
}

impl Intake {
    /// Starts the committing task. It ends when the last clone of the intake is dropped.
    pub fn start(committer: Committer, limits: Limits, reserve_bytes: u64) -> Self {
        let (queue, arrivals) = mpsc::channel(4 * GROUP);
        let objects = committer.objects.clone();
        tokio::spawn(committer.run(arrivals));
        Self { queue, objects, limits, reserve: reserve_bytes }
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
        self.commit(arrival, description).await
    }

    async fn commit(&self, arrival: Arrival, description: Description) -> Result<Accepted, Refusal> {
        let (answer, answered) = oneshot::channel();
        self.queue.send(Waiting { arrival, description, answer }).await.map_err(|_| Refusal::Away)?;
        answered.await.map_err(|_| Refusal::Away)?
    }
}
