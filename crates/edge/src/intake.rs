//! Images come in: durable before they are acknowledged, many senders sharing a commit.
//!
//! Senders hand over files that lie in staging. One task commits them in groups: whatever has arrived while the last group was being
//! synced is the next group, so a group grows with the load and a lone image waits for nobody.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use overread_dicom::read::Limits;
use overread_domain::{Clock, ContentHash, Uid};
use overread_store::{Database, ObjectKey, Objects, Tx, jobs};
use sqlx::Row;
use tokio::sync::{Notify, mpsc, oneshot};

use crate::describe::{Description, describe};
use crate::error::{EdgeError, sentence};

/// Most images of one commit.
const GROUP: usize = 64;

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
}

/// What became of an object. In each case its bytes are safe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accepted {
    /// New.
    Stored,
    /// The same bytes were here already.
    Duplicate,
    /// Other bytes are here under the same SOP Instance UID: both are kept, the first counts, and a person is told.
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

struct Waiting {
    arrival: Arrival,
    description: Description,
    answer: oneshot::Sender<Result<Accepted, Refusal>>,
}

/// The way in. Clones share it.
#[derive(Clone)]
pub struct Intake {
    queue: mpsc::Sender<Waiting>,
    objects: Objects,
    limits: Limits,
    reserve: u64,
}

/// What the committing task needs.
pub struct Committer {
    /// The edge's database.
    pub database: Database,
    /// The edge's objects.
    pub objects: Objects,
    /// The time.
    pub clock: Clock,
    /// Milliseconds without a new image after which a study is complete.
    pub quiet_ms: i64,
    /// Whether a study that holds as many images as it announced is complete at once.
    pub trust_expected: bool,
    /// Wakes the jobs.
    pub wake: Arc<Notify>,
    /// The pseudonym of a study.
    pub pseudonym: Box<dyn Fn(&Uid) -> Uid + Send + Sync>,
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
        let description = described
            .map_err(|_| Refusal::Unreadable("the object could not be parsed".into()))?
            .map_err(Refusal::Unreadable)?;
        self.commit(arrival, description).await
    }

    async fn commit(&self, arrival: Arrival, description: Description) -> Result<Accepted, Refusal> {
        let (answer, answered) = oneshot::channel();
        self.queue.send(Waiting { arrival, description, answer }).await.map_err(|_| Refusal::Away)?;
        answered.await.map_err(|_| Refusal::Away)?
    }
}

impl Committer {
    async fn run(self, mut arrivals: mpsc::Receiver<Waiting>) {
        let mut group = Vec::with_capacity(GROUP);
        while arrivals.recv_many(&mut group, GROUP).await > 0 {
            let waiting = std::mem::take(&mut group);
            match self.commit(&waiting).await {
                Ok(outcomes) => {
                    for (waiting, outcome) in waiting.into_iter().zip(outcomes) {
                        // A sender that has gone does not matter: it sends again and meets a duplicate.
                        let _ = waiting.answer.send(outcome);
                    }
                }
                Err(error) => {
                    tracing::error!("images were not taken: {}", sentence(&error));
                    let full = matches!(&error, EdgeError::Store { source, .. } if source.is_full());
                    for waiting in waiting {
                        let _ = waiting.answer.send(Err(if full { Refusal::Full } else { Refusal::Away }));
                    }
                }
            }
        }
    }

    /// Commits a group: files first, then one transaction. A file without a row is nothing; there is never a row without its file.
    async fn commit(&self, group: &[Waiting]) -> Result<Vec<Result<Accepted, Refusal>>, EdgeError> {
        let mut known = self.known(group).await?;
        let mut plans = Vec::with_capacity(group.len());
        for waiting in group {
            let sop = waiting.description.sop_instance.as_str();
            let sha = waiting.arrival.sha256.as_str();
            let here = known.entry(sop.to_owned()).or_default();
            plans.push(if here.iter().any(|s| s == sha) {
                None
            } else {
                here.push(sha.to_owned());
                let key =
                    format!("in/{}/{:032x}.dcm", self.clock.now().0 / 3_600_000, rand::random::<u128>());
                Some((here.len() == 1, ObjectKey::parse(&key)?))
            });
        }
        let files = plans
            .iter()
            .zip(group)
            .filter_map(|(plan, w)| plan.as_ref().map(|(_, key)| (key.clone(), w.arrival.file.clone())));
        let mut put = self.objects.put_files(files.collect()).await.into_iter();
        let mut outcomes = Vec::with_capacity(group.len());
        let mut tx = self.database.begin().await?;
        let mut studies: HashMap<String, &Description> = HashMap::new();
        for (waiting, plan) in group.iter().zip(&plans) {
            let Some((first, key)) = plan else {
                let _ = std::fs::remove_file(&waiting.arrival.file);
                outcomes.push(Ok(Accepted::Duplicate));
                continue;
            };
            match put.next() {
                Some(Ok(())) => {}
                Some(Err(e)) => {
                    tracing::error!("an image was not taken: {}", sentence(&e));
                    outcomes.push(Err(if e.is_full() { Refusal::Full } else { Refusal::Away }));
                    continue;
                }
                None => {
                    outcomes.push(Err(Refusal::Away));
                    continue;
                }
            }
            if *first {
                self.insert(&mut tx, waiting, key).await?;
                if waiting.description.frames > 0 {
                    studies.insert(waiting.description.study.to_string(), &waiting.description);
                }
                outcomes.push(Ok(Accepted::Stored));
            } else {
                tracing::warn!(object = %key, "another object came under a SOP Instance UID that is taken; both are kept, the first counts");
                self.insert_conflict(&mut tx, waiting, key).await?;
                outcomes.push(Ok(Accepted::Conflict));
            }
        }
        for (study, description) in studies {
            self.touch(&mut tx, &study, description).await?;
        }
        Database::commit(tx).await?;
        self.wake.notify_waiters();
        Ok(outcomes)
    }

    /// Hashes that are here already, by SOP Instance UID; the first is the one that counts.
    async fn known(&self, group: &[Waiting]) -> Result<HashMap<String, Vec<String>>, EdgeError> {
        let doing = EdgeError::query;
        let mut conn = self.database.read().await?;
        let mut known: HashMap<String, Vec<String>> = HashMap::new();
        for waiting in group {
            let sop = waiting.description.sop_instance.as_str();
            if known.contains_key(sop) {
                continue;
            }
            let rows = sqlx::query(
                "SELECT sha256, 0 AS rank FROM instances WHERE sop_uid = $1 UNION ALL SELECT sha256, 1 AS rank FROM conflicts WHERE sop_uid = $1 ORDER BY rank",
            )
            .bind(sop.to_owned())
            .fetch_all(&mut *conn)
            .await
            .map_err(doing("looking for duplicates"))?;
            let hashes = rows.iter().map(|r| r.try_get(0)).collect::<Result<Vec<String>, _>>();
            known.insert(sop.to_owned(), hashes.map_err(doing("looking for duplicates"))?);
        }
        Ok(known)
    }

    async fn insert(&self, tx: &mut Tx, waiting: &Waiting, key: &ObjectKey) -> Result<(), EdgeError> {
        let now = self.clock.now().0;
        let d = &waiting.description;
        sqlx::query(
            "INSERT INTO instances (sop_uid, study_uid, series_uid, sop_class, transfer_syntax, origin, source, object, bytes, sha256, frames, attributes, received_at)
             VALUES ($1, $2, $3, $4, $5, 'received', $6, $7, $8, $9, $10, $11, $12)",
        )
        .bind(d.sop_instance.to_string())
        .bind(d.study.to_string())
        .bind(d.series.to_string())
        .bind(d.sop_class.to_string())
        .bind(d.transfer_syntax.clone())
        .bind(waiting.arrival.source.clone())
        .bind(key.to_string())
        .bind(i64::try_from(waiting.arrival.bytes).unwrap_or(i64::MAX))
        .bind(waiting.arrival.sha256.to_string())
        .bind(i64::from(d.frames))
        .bind(serde_json::to_string(&d.attributes).unwrap_or_else(|_| "{}".into()))
        .bind(now)
        .execute(&mut **tx)
        .await
        .map_err(EdgeError::query("noting an image"))?;
        Ok(())
    }

    async fn insert_conflict(
        &self,
        tx: &mut Tx,
        waiting: &Waiting,
        key: &ObjectKey,
    ) -> Result<(), EdgeError> {
        sqlx::query("INSERT INTO conflicts (object, sop_uid, source, bytes, sha256, received_at) VALUES ($1, $2, $3, $4, $5, $6)")
            .bind(key.to_string())
            .bind(waiting.description.sop_instance.to_string())
            .bind(waiting.arrival.source.clone())
            .bind(i64::try_from(waiting.arrival.bytes).unwrap_or(i64::MAX))
            .bind(waiting.arrival.sha256.to_string())
            .bind(self.clock.now().0)
            .execute(&mut **tx)
            .await
            .map_err(EdgeError::query("noting a conflict"))?;
        Ok(())
    }

    /// A study got an image: it is open (again), and its completion moves.
    async fn touch(&self, tx: &mut Tx, study: &str, description: &Description) -> Result<(), EdgeError> {
        let now = self.clock.now();
        let row = sqlx::query(
            "INSERT INTO studies (id, study_uid, pseudonym, state, version, expected, first_at, last_at) VALUES ($1, $2, $3, 'receiving', 0, $4, $5, $5)
             ON CONFLICT (study_uid) DO UPDATE SET state = 'receiving', last_at = excluded.last_at, expected = COALESCE(excluded.expected, studies.expected)
             RETURNING id, expected",
        )
        .bind(format!("{:032x}", rand::random::<u128>()))
        .bind(study.to_owned())
        .bind((self.pseudonym)(&description.study).to_string())
        .bind(description.expected)
        .bind(now.0)
        .fetch_one(&mut **tx)
        .await
        .map_err(EdgeError::query("noting a study"))?;
        let id: String = row.try_get(0).map_err(EdgeError::query("noting a study"))?;
        let expected: Option<i64> = row.try_get(1).map_err(EdgeError::query("noting a study"))?;
        let whole = self.trust_expected
            && expected.is_some_and(|n| n > 0)
            && self.count(tx, study).await? >= expected.unwrap_or(i64::MAX);
        let run_at = if whole { now } else { now.plus(self.quiet_ms) };
        let job = jobs::NewJob {
            kind: "complete",
            key: &id,
            payload: serde_json::json!({ "whole": whole }),
            priority: 1,
            run_at,
        };
        Ok(jobs::enqueue(tx, &job, now).await?)
    }

    async fn count(&self, tx: &mut Tx, study: &str) -> Result<i64, EdgeError> {
        let row = sqlx::query("SELECT COUNT(*) FROM instances WHERE study_uid = $1 AND origin = 'received'")
            .bind(study.to_owned())
            .fetch_one(&mut **tx)
            .await
            .map_err(EdgeError::query("counting images"))?;
        row.try_get(0).map_err(EdgeError::query("counting images"))
    }
}
