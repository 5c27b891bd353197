//! The task that commits arrived objects: files first, then one transaction.
//!
//! Whatever has arrived while the last group was being synced is the next group, so a group grows with the load and a lone image waits
//! for nobody.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use overread_deid::vault::KeyId;
use overread_dicom::read::same_data_set;
use overread_domain::{Clock, Uid};
use overread_store::{Database, ObjectKey, StoreError, Tx, jobs};
use sqlx::Row;
use tempfile::TempPath;
use tokio::sync::{Notify, mpsc, oneshot};

use crate::describe::Description;
use crate::error::{EdgeError, sentence};
use crate::intake::{Accepted, Arrival, Refusal};
use crate::vault::{SealedObjects, erasure};

/// Most images of one commit.
pub(crate) const GROUP: usize = 64;

/// An object that waits to be committed.
pub(crate) struct Waiting {
    pub(crate) arrival: Arrival,
    pub(crate) description: Description,
    pub(crate) sealed: Sealed,
    pub(crate) answer: oneshot::Sender<Result<Accepted, Refusal>>,
}

impl Waiting {
    /// Answers, once nothing of it is left in staging. A sender that has gone does not matter: it sends again and meets a duplicate.
    fn answer(self, outcome: Result<Accepted, Refusal>) {
        drop(self.sealed);
        let _ = self.answer.send(outcome);
    }
}

/// What is kept of it if it is kept.
pub(crate) struct Sealed {
    /// Where it goes.
    pub(crate) key: ObjectKey,
    /// Whose it is.
    pub(crate) patient: KeyId,
    /// The sealed file, in staging.
    pub(crate) file: TempPath,
    /// Its attributes, sealed for its row.
    pub(crate) attributes: String,
}

/// What becomes of one object of a group.
enum Plan {
    /// It is here already, as that patient's.
    Here(Option<KeyId>),
    /// It comes with another one of the group too.
    With(usize),
    /// The first under its UID.
    New,
    /// Another object under a UID whose first is here, or comes with the group.
    Conflict(Option<usize>),
}

impl Plan {
    /// Whose rows it writes, or relies on.
    fn patients(&self, waiting: &Waiting) -> impl Iterator<Item = KeyId> {
        let patient = match self {
            Self::Here(patient) => *patient,
            Self::With(_) | Self::New | Self::Conflict(_) => Some(waiting.sealed.patient),
        };
        patient.into_iter()
    }
}

/// An object under a UID.
struct Kept {
    sha256: String,
    place: Place,
}

/// Where it lies.
enum Place {
    /// Among the objects, under that key; whose it is, where an older edge has not left it plain.
    Stored(String, Option<KeyId>),
    /// In staging, as that one of the group.
    Group(usize),
}

/// The answer to an object whose patient was erased meanwhile; the outcome of its put is taken, so that those after it get theirs.
fn lies_or(plan: &Plan, lies: &mut impl FnMut() -> Result<(), Refusal>) -> Result<Accepted, Refusal> {
    if matches!(plan, Plan::New | Plan::Conflict(_)) {
        drop(lies());
    }
    Err(Refusal::Away)
}

fn not_put(error: &StoreError) -> Refusal {
    tracing::error!("an image was not taken: {}", sentence(error));
    if error.is_full() { Refusal::Full } else { Refusal::Away }
}

/// What the committing task needs.
pub struct Committer {
    /// The edge's database.
    pub database: Database,
    /// The edge's objects.
    pub objects: SealedObjects,
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

impl Committer {
    pub(crate) async fn run(self, mut arrivals: mpsc::Receiver<Waiting>) {
        let mut group = Vec::with_capacity(GROUP);
        while arrivals.recv_many(&mut group, GROUP).await > 0 {
            let waiting = std::mem::take(&mut group);
            match self.commit(&waiting).await {
                Ok(outcomes) => {
                    for (waiting, outcome) in waiting.into_iter().zip(outcomes) {
                        waiting.answer(outcome);
                    }
                }
                Err(error) => {
                    tracing::error!("images were not taken: {}", sentence(&error));
                    let full = error.is_full();
                    for waiting in waiting {
                        waiting.answer(Err(if full { Refusal::Full } else { Refusal::Away }));
                    }
                }
            }
        }
    }

    /// Commits a group: files first, then one transaction. A file without a row is nothing; there is never a row without its file.
    async fn commit(&self, group: &[Waiting]) -> Result<Vec<Result<Accepted, Refusal>>, EdgeError> {
        let plans = self.plan(group).await?;
        let files = plans.iter().zip(group).filter_map(|(plan, w)| match plan {
            Plan::New | Plan::Conflict(_) => Some((w.sealed.key.clone(), w.sealed.file.to_path_buf())),
            Plan::Here(_) | Plan::With(_) => None,
        });
        let mut put = self.objects.put_files(files.collect()).await.into_iter();
        let mut lies = || put.next().map_or(Err(Refusal::Away), |put| put.map_err(|e| not_put(&e)));
        let mut outcomes: Vec<Result<Accepted, Refusal>> = Vec::with_capacity(group.len());
        let mut tx = self.database.begin().await?;
        let erased = self.erased(&mut tx, group, &plans).await?;
        let mut studies: HashMap<String, &Description> = HashMap::new();
        for (waiting, plan) in group.iter().zip(&plans) {
            let outcome = match plan {
                // Sent again a little later, it is somebody new's.
                plan if plan.patients(waiting).any(|patient| erased.contains(&patient)) => {
                    lies_or(plan, &mut lies)
                }
                Plan::Here(_) => Ok(Accepted::Duplicate),
                Plan::With(other) => outcomes[*other].clone().map(|_| Accepted::Duplicate),
                Plan::New => lies().map(|()| Accepted::Stored),
                // It counts for nothing without the first.
                Plan::Conflict(first) => lies()
                    .and_then(|()| first.map_or(Ok(Accepted::Stored), |first| outcomes[first].clone()))
                    .map(|_| Accepted::Conflict),
            };
            match (&outcome, plan) {
                (Ok(Accepted::Stored), Plan::New) => {
                    self.insert(&mut tx, waiting).await?;
                    if waiting.description.frames > 0 {
                        studies.insert(waiting.description.study.to_string(), &waiting.description);
                    }
                }
                (Ok(Accepted::Conflict), Plan::Conflict(_)) => {
                    tracing::warn!(object = %waiting.sealed.key, "another object came under a SOP Instance UID that is taken; both are kept, the first counts");
                    self.insert_conflict(&mut tx, waiting).await?;
                }
                _ => {}
            }
            outcomes.push(outcome);
        }
        for (study, description) in studies {
            self.touch(&mut tx, &study, description).await?;
        }
        Database::commit(tx).await?;
        self.wake.notify_waiters();
        self.leave(group, &outcomes, &erased).await;
        Ok(outcomes)
    }

    /// Patients of a group who were erased since their images were sealed.
    async fn erased(
        &self,
        tx: &mut Tx,
        group: &[Waiting],
        plans: &[Plan],
    ) -> Result<BTreeSet<KeyId>, EdgeError> {
        let patients = plans.iter().zip(group).flat_map(|(plan, waiting)| plan.patients(waiting));
        let patients: BTreeSet<KeyId> = patients.collect();
        let mut erased = BTreeSet::new();
        for patient in patients {
            if !erasure::enter(tx, patient).await? {
                self.objects.vault().let_go(patient);
                erased.insert(patient);
            }
        }
        Ok(erased)
    }

    /// Removes what is kept in another form, or not at all: the plain files of what is here now, and what was put for nobody.
    async fn leave(
        &self,
        group: &[Waiting],
        outcomes: &[Result<Accepted, Refusal>],
        erased: &BTreeSet<KeyId>,
    ) {
        let mut nobodys = Vec::new();
        for (waiting, outcome) in group.iter().zip(outcomes) {
            if outcome.is_ok() {
                drop(std::fs::remove_file(&waiting.arrival.file));
            } else if erased.contains(&waiting.sealed.patient) {
                nobodys.push(waiting.sealed.key.clone());
            }
        }
        if !nobodys.is_empty() && self.objects.remove_all(nobodys).await.is_err() {
            tracing::warn!("objects that nothing opens are left");
        }
    }

    /// What becomes of each object of a group.
    async fn plan(&self, group: &[Waiting]) -> Result<Vec<Plan>, EdgeError> {
        let mut known = self.known(group).await?;
        let mut plans = Vec::with_capacity(group.len());
        for (index, waiting) in group.iter().enumerate() {
            let here = known.entry(waiting.description.sop_instance.as_str().to_owned()).or_default();
            plans.push(match self.find(waiting, here, group).await? {
                Some(Place::Stored(_, patient)) => Plan::Here(*patient),
                Some(Place::Group(other)) => Plan::With(*other),
                None => {
                    let first = here.first().map(|kept| match &kept.place {
                        Place::Stored(..) => None,
                        Place::Group(first) => Some(*first),
                    });
                    here.push(Kept {
                        sha256: waiting.arrival.sha256.as_str().to_owned(),
                        place: Place::Group(index),
                    });
                    first.map_or(Plan::New, Plan::Conflict)
                }
            });
        }
        Ok(plans)
    }

    /// Where an object lies already, among those under its UID. Files with another meta group, as another sender or another door writes it, are the
    /// same object.
    async fn find<'k>(
        &self,
        waiting: &Waiting,
        here: &'k [Kept],
        group: &[Waiting],
    ) -> Result<Option<&'k Place>, EdgeError> {
        if let Some(same) = here.iter().find(|kept| kept.sha256 == waiting.arrival.sha256.as_str()) {
            return Ok(Some(&same.place));
        }
        for kept in here {
            let (path, copy) = match &kept.place {
                Place::Group(other) => (group[*other].arrival.file.clone(), None),
                Place::Stored(key, _) => match self.objects.local(&ObjectKey::parse(key)?).await {
                    Ok(local) => (local.path().to_owned(), Some(local)),
                    // It goes, and whoever sends is told to come again.
                    Err(EdgeError::Erased) => return Ok(Some(&kept.place)),
                    Err(e) if e.is_passing() => return Err(e),
                    Err(e) => {
                        tracing::warn!("an object could not be compared: {}", sentence(&e));
                        continue;
                    }
                },
            };
            let file = waiting.arrival.file.clone();
            let same = tokio::task::spawn_blocking(move || same_data_set(&path, &file)).await;
            drop(copy);
            match same {
                Ok(Ok(true)) => return Ok(Some(&kept.place)),
                Ok(Ok(false)) => {}
                Ok(Err(e)) => tracing::warn!("an object could not be compared: {}", sentence(&e)),
                Err(e) => tracing::error!("comparing objects stopped: {e}"),
            }
        }
        Ok(None)
    }

    /// What is here already, by SOP Instance UID; the first is the one that counts.
    async fn known(&self, group: &[Waiting]) -> Result<HashMap<String, Vec<Kept>>, EdgeError> {
        let doing = EdgeError::query;
        let mut conn = self.database.read().await?;
        let mut known: HashMap<String, Vec<Kept>> = HashMap::new();
        for waiting in group {
            let sop = waiting.description.sop_instance.as_str();
            if known.contains_key(sop) {
                continue;
            }
            let rows = sqlx::query(
                "SELECT sha256, object, patient, 0 AS rank FROM instances WHERE sop_uid = $1 UNION ALL SELECT sha256, object, patient, 1 AS rank FROM conflicts WHERE sop_uid = $1 ORDER BY rank",
            )
            .bind(sop.to_owned())
            .fetch_all(&mut *conn)
            .await
            .map_err(doing("looking for duplicates"))?;
            let kept = rows.iter().map(|row| {
                let patient: Option<String> = row.try_get(2)?;
                let patient = patient.as_deref().and_then(KeyId::parse);
                Ok(Kept { sha256: row.try_get(0)?, place: Place::Stored(row.try_get(1)?, patient) })
            });
            let kept = kept.collect::<Result<Vec<Kept>, sqlx::Error>>();
            known.insert(sop.to_owned(), kept.map_err(doing("looking for duplicates"))?);
        }
        Ok(known)
    }

    async fn insert(&self, tx: &mut Tx, waiting: &Waiting) -> Result<(), EdgeError> {
        let now = self.clock.now().0;
        let d = &waiting.description;
        sqlx::query(
            "INSERT INTO instances (sop_uid, study_uid, series_uid, sop_class, transfer_syntax, origin, source, object, bytes, sha256, frames, attributes, received_at, patient)
             VALUES ($1, $2, $3, $4, $5, 'received', $6, $7, $8, $9, $10, $11, $12, $13)",
        )
        .bind(d.sop_instance.to_string())
        .bind(d.study.to_string())
        .bind(d.series.to_string())
        .bind(d.sop_class.to_string())
        .bind(d.transfer_syntax.clone())
        .bind(waiting.arrival.source.clone())
        .bind(waiting.sealed.key.to_string())
        .bind(i64::try_from(waiting.arrival.bytes).unwrap_or(i64::MAX))
        .bind(waiting.arrival.sha256.to_string())
        .bind(i64::from(d.frames))
        .bind(waiting.sealed.attributes.clone())
        .bind(now)
        .bind(waiting.sealed.patient.to_string())
        .execute(&mut **tx)
        .await
        .map_err(EdgeError::query("noting an image"))?;
        Ok(())
    }

    async fn insert_conflict(&self, tx: &mut Tx, waiting: &Waiting) -> Result<(), EdgeError> {
        sqlx::query("INSERT INTO conflicts (object, sop_uid, source, bytes, sha256, received_at, patient) VALUES ($1, $2, $3, $4, $5, $6, $7)")
            .bind(waiting.sealed.key.to_string())
            .bind(waiting.description.sop_instance.to_string())
            .bind(waiting.arrival.source.clone())
            .bind(i64::try_from(waiting.arrival.bytes).unwrap_or(i64::MAX))
            .bind(waiting.arrival.sha256.to_string())
            .bind(self.clock.now().0)
            .bind(waiting.sealed.patient.to_string())
            .execute(&mut **tx)
            .await
            .map_err(EdgeError::query("noting a conflict"))?;
        Ok(())
    }

    /// A study got an image: it is open (again), and its completion moves.
    async fn touch(&self, tx: &mut Tx, study: &str, description: &Description) -> Result<(), EdgeError> {
        let now = self.clock.now();
        let pseudonym = (self.pseudonym)(&description.study).to_string();
        // Versions of a study that was erased and comes again go on: the service was told to forget those before.
        let before = erasure::last_version(tx, &pseudonym).await?;
        let row = sqlx::query(
            "INSERT INTO studies (id, study_uid, pseudonym, state, version, expected, first_at, last_at) VALUES ($1, $2, $3, 'receiving', $6, $4, $5, $5)
             ON CONFLICT (study_uid) DO UPDATE SET state = 'receiving', last_at = excluded.last_at, expected = COALESCE(excluded.expected, studies.expected)
             RETURNING id, expected",
        )
        .bind(format!("{:032x}", rand::random::<u128>()))
        .bind(study.to_owned())
        .bind(pseudonym)
        .bind(description.expected)
        .bind(now.0)
        .bind(before)
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

#[cfg(test)]
mod tests;
