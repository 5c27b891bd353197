//! A patient is erased: first their key, then their rows and objects, then what the service has of them.
//!
//! What is to be done lies in the edge's database before the first step is taken, as a durable job, and each step may be done again. From the moment that the job is
//! there nothing is written for the patient any more; should they come back, they are somebody new.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use overread_deid::vault::KeyId;
use overread_domain::{Clock, Millis};
use overread_store::audit::{self, Event};
use overread_store::jobs::{self, Job, NewJob};
use overread_store::{Database, Handler, ObjectKey, Trouble, Tx};
use sqlx::Row;
use sqlx::any::AnyRow;
use tokio::sync::Notify;

use super::forget::Forgotten;
use super::{SealedObjects, Vault, Who};
use crate::error::EdgeError;

/// The kind of its jobs.
pub(crate) const ERASE: &str = "erase";

/// Asks for erasures, and does them.
#[derive(Clone)]
pub struct Erasure {
    /// The edge's database.
    pub database: Database,
    /// The edge's objects.
    pub objects: SealedObjects,
    /// The time.
    pub clock: Clock,
    /// Wakes the jobs.
    pub wake: Arc<Notify>,
}

/// What became of a request.
pub(super) enum Asked {
    /// The key is destroyed; so many studies go with it.
    Erased { patient: KeyId, studies: i64 },
    /// Nobody is known under that Patient ID and issuer; so many are under another issuer.
    Unknown { alike: i64 },
    /// Rows of an older edge are not sealed yet: nobody knows whose they are.
    NotYet,
}

/// A study of which something goes.
struct Study {
    id: String,
    uid: String,
    pseudonym: String,
    version: i64,
}

fn query(e: sqlx::Error) -> EdgeError {
    EdgeError::query("erasing a patient")(e)
}

/// Whether anything in the edge's database is sealed.
pub(super) async fn has_patients(database: &Database) -> Result<bool, EdgeError> {
    let mut conn = database.read().await?;
    let row = sqlx::query("SELECT COUNT(*) FROM patients").fetch_one(&mut *conn).await.map_err(query)?;
    Ok(row.try_get::<i64, _>(0).map_err(query)? > 0)
}

/// Notes in a transaction that it writes for a patient; whether it may. Whoever writes for several asks in the order of their ids. An erasure waits until the
/// transaction has ended, or the transaction sees it.
pub(crate) async fn enter(tx: &mut Tx, patient: KeyId) -> Result<bool, EdgeError> {
    let row = sqlx::query(
        "INSERT INTO patients (id, erased) VALUES ($1, 0) ON CONFLICT (id) DO UPDATE SET erased = patients.erased RETURNING erased",
    )
    .bind(patient.to_string())
    .fetch_one(&mut **tx)
    .await
    .map_err(EdgeError::query("noting a patient"))?;
    Ok(row.try_get::<i64, _>(0).map_err(query)? == 0)
}

/// The version that a study, seen for the first time, counts from: more than 0 where it was erased before.
pub(crate) async fn last_version(tx: &mut Tx, pseudonym: &str) -> Result<i64, EdgeError> {
    let row = sqlx::query("SELECT version FROM erased WHERE pseudonym = $1")
        .bind(pseudonym.to_owned())
        .fetch_optional(&mut **tx)
        .await
        .map_err(query)?;
    row.map_or(Ok(0), |row| row.try_get(0).map_err(query))
}

/// Removes objects that no row names any more.
pub(super) async fn remove_objects(database: &Database, objects: &SealedObjects) -> Result<(), EdgeError> {
    let mut conn = database.read().await?;
    let rows = sqlx::query("SELECT object FROM removals").fetch_all(&mut *conn).await.map_err(query)?;
    drop(conn);
    if rows.is_empty() {
        return Ok(());
    }
    let keys: Vec<String> = texts(&rows)?;
    let parsed = keys.iter().map(|key| ObjectKey::parse(key)).collect::<Result<Vec<_>, _>>()?;
    objects.remove_all(parsed).await?;
    let mut tx = database.begin().await?;
    for key in keys {
        run(&mut tx, "DELETE FROM removals WHERE object = $1", &[&key]).await?;
    }
    Ok(Database::commit(tx).await?)
}

fn texts(rows: &[AnyRow]) -> Result<Vec<String>, EdgeError> {
    rows.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>().map_err(query)
}

async fn run(tx: &mut Tx, sql: &'static str, values: &[&str]) -> Result<(), EdgeError> {
    let mut statement = sqlx::query(sql);
    for value in values {
        statement = statement.bind((*value).to_owned());
    }
    statement.execute(&mut **tx).await.map_err(query)?;
    Ok(())
}

async fn rows(tx: &mut Tx, sql: &'static str, value: &str) -> Result<Vec<AnyRow>, EdgeError> {
    sqlx::query(sql).bind(value.to_owned()).fetch_all(&mut **tx).await.map_err(query)
}

impl Handler for Erasure {
    fn run<'a>(&'a self, job: &'a Job) -> Pin<Box<dyn Future<Output = Result<(), Trouble>> + Send + 'a>> {
        Box::pin(self.erase(job))
    }
}

impl Erasure {
    fn vault(&self) -> &Vault {
        self.objects.vault()
    }

    /// Erases a patient: on return their key is destroyed, durably, and the rest is a durable job.
    pub(super) async fn ask(&self, who: &Who, reason: &str, actor: &str) -> Result<Asked, EdgeError> {
        if super::older::is_left(&self.database).await? {
            return Ok(Asked::NotYet);
        }
        let (patient, alike) = self.vault().find(who).await?;
        let Some(patient) = patient else { return Ok(Asked::Unknown { alike }) };
        let (id, now) = (patient.to_string(), self.clock.now());
        let mut tx = self.database.begin().await?;
        run(
            &mut tx,
            "INSERT INTO patients (id, erased) VALUES ($1, 1) ON CONFLICT (id) DO UPDATE SET erased = 1",
            &[&id],
        )
        .await?;
        let counted =
            rows(&mut tx, "SELECT COUNT(DISTINCT study_uid) FROM instances WHERE patient = $1", &id).await?;
        let studies = counted.first().map_or(Ok(0), |row| row.try_get(0)).map_err(query)?;
        let job = NewJob { kind: ERASE, key: &id, payload: serde_json::json!({}), priority: 0, run_at: now };
        jobs::enqueue(&mut tx, &job, now).await?;
        let detail = serde_json::json!({ "studies": studies, "reason": reason });
        audit::append(&mut tx, &Event { at: now, actor, action: "patient.erase", subject: &id, detail })
            .await?;
        Database::commit(tx).await?;
        // Killed here, the job does it.
        self.vault().destroy(patient).await?;
        // Where readers are in the way, the job does it again.
        let _ = self.vault().scrub().await;
        self.wake.notify_waiters();
        Ok(Asked::Erased { patient, studies })
    }

    async fn erase(&self, job: &Job) -> Result<(), Trouble> {
        let patient = KeyId::parse(&job.key)
            .ok_or_else(|| Trouble::Never { why: "the job names no patient".into() })?;
        self.vault().destroy(patient).await?;
        self.vault().scrub().await?;
        let mut tx = self.database.begin().await?;
        remove_rows(&mut tx, &job.key, self.clock.now()).await?;
        Database::commit(tx).await?;
        self.wake.notify_waiters();
        remove_objects(&self.database, &self.objects).await?;
        self.database.checkpoint().await?;
        let now = self.clock.now();
        let mut tx = self.database.begin().await?;
        jobs::finish(&mut tx, job).await?;
        let detail = serde_json::json!({});
        let event = Event { at: now, actor: "edge", action: "patient.erased", subject: &job.key, detail };
        audit::append(&mut tx, &event).await?;
        Database::commit(tx).await?;
        // What the last steps wrote holds nothing of the patient; the log is emptied once more all the same.
        Ok(self.database.checkpoint().await?)
    }
}

/// Removes a patient's rows and asks for what follows, in one transaction. Done again, it finds nothing left.
async fn remove_rows(tx: &mut Tx, patient: &str, now: Millis) -> Result<(), EdgeError> {
    let found = rows(
        tx,
        "SELECT DISTINCT s.id, s.study_uid, s.pseudonym, s.version FROM instances i JOIN studies s ON s.study_uid = i.study_uid WHERE i.patient = $1",
        patient,
    )
    .await?;
    let study = |row: &AnyRow| -> Result<Study, sqlx::Error> {
        Ok(Study {
            id: row.try_get(0)?,
            uid: row.try_get(1)?,
            pseudonym: row.try_get(2)?,
            version: row.try_get(3)?,
        })
    };
    let studies: Vec<Study> = found.iter().map(study).collect::<Result<_, _>>().map_err(query)?;
    let mut jobs_of: Vec<String> = Vec::new();
    for study in &studies {
        // A result is about the whole study: none of them is right without a part of it.
        jobs_of.extend(remove_results(tx, &study.uid).await?);
        jobs_of.push(study.id.clone());
    }
    for sql in [
        "INSERT INTO removals (object) SELECT object FROM instances WHERE patient = $1 ON CONFLICT (object) DO NOTHING",
        "INSERT INTO removals (object) SELECT object FROM conflicts WHERE patient = $1 ON CONFLICT (object) DO NOTHING",
        "DELETE FROM instances WHERE patient = $1",
        "DELETE FROM conflicts WHERE patient = $1",
    ] {
        run(tx, sql, &[patient]).await?;
    }
    let mut forgotten = Vec::with_capacity(studies.len());
    for study in &studies {
        run(tx, "DELETE FROM departures WHERE study = $1", &[&study.id]).await?;
        forgotten.push((study, leave(tx, study).await?));
    }
    for key in &jobs_of {
        jobs::cancel(tx, key).await?;
    }
    for (study, stays) in forgotten {
        Forgotten { pseudonym: study.pseudonym.clone(), version: study.version, stays }
            .ask(tx, &study.id, now)
            .await?;
    }
    Ok(())
}

/// Removes the results of a study, their documents and deliveries; their ids.
async fn remove_results(tx: &mut Tx, study_uid: &str) -> Result<Vec<String>, EdgeError> {
    let results = texts(&rows(tx, "SELECT id FROM results WHERE study_uid = $1", study_uid).await?)?;
    for sql in [
        "INSERT INTO removals (object) SELECT object FROM instances WHERE study_uid = $1 AND origin = 'result' ON CONFLICT (object) DO NOTHING",
        "DELETE FROM result_objects WHERE result IN (SELECT id FROM results WHERE study_uid = $1)",
        "DELETE FROM deliveries WHERE result IN (SELECT id FROM results WHERE study_uid = $1)",
        "DELETE FROM instances WHERE study_uid = $1 AND origin = 'result'",
        "DELETE FROM results WHERE study_uid = $1",
    ] {
        run(tx, sql, &[study_uid]).await?;
    }
    Ok(results)
}

/// Notes which version of a study was its last, and removes the study unless images of another patient are left in it; whether they are.
async fn leave(tx: &mut Tx, study: &Study) -> Result<bool, EdgeError> {
    sqlx::query(
        "INSERT INTO erased (pseudonym, version) VALUES ($1, $2)
         ON CONFLICT (pseudonym) DO UPDATE SET version = CASE WHEN excluded.version > erased.version THEN excluded.version ELSE erased.version END",
    )
    .bind(study.pseudonym.clone())
    .bind(study.version)
    .execute(&mut **tx)
    .await
    .map_err(query)?;
    let left = rows(
        tx,
        "SELECT COUNT(*) FROM instances WHERE study_uid = $1 AND origin = 'received' AND frames > 0",
        &study.uid,
    )
    .await?;
    let left: i64 = left.first().map_or(Ok(0), |row| row.try_get(0)).map_err(query)?;
    if left == 0 {
        run(tx, "DELETE FROM studies WHERE id = $1", &[&study.id]).await?;
    } else {
        run(
            tx,
            "UPDATE studies SET state = 'receiving', reason = NULL, sent_at = NULL WHERE id = $1",
            &[&study.id],
        )
        .await?;
    }
    Ok(left > 0)
}
