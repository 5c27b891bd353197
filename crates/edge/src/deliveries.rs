//! What each destination has of each result: the rows of `deliveries`, and the objects that one of them stands for.
//!
//! A delivery is `waiting`, then `delivered`. Where storage commitment is asked for it goes on to `committed`, to `not-offered` by a peer without the
//! service, or to `uncommitted`, which is sent again. It is `superseded` where a later version went out before its first attempt, and `withdrawn` where the
//! peer lost it and a later version, which withdraws it, is there already.

use overread_domain::{Clock, Millis, Uid};
use overread_store::audit::{self, Event};
use overread_store::jobs::{self, Job, NewJob};
use overread_store::{Database, ObjectKey, Trouble, Tx};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sqlx::Row;
use sqlx::any::AnyRow;

use crate::error::EdgeError;

/// Kinds of the jobs that deliver begin so: each destination has a kind of its own, so that one that is silent keeps no other waiting.
pub(crate) const DELIVER: &str = "deliver:";

/// Kinds of the jobs that ask for storage commitment begin so.
pub(crate) const COMMIT: &str = "commit:";

/// A case at a destination: what a `deliver` job is about.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Case {
    /// Our id of its study.
    pub(crate) study: String,
    /// Study Instance UID.
    pub(crate) study_uid: String,
    /// The program.
    pub(crate) program: String,
    /// The destination's name.
    pub(crate) destination: String,
}

/// A result at a destination: what a `commit` job is about.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Delivery {
    /// The result's id.
    pub(crate) result: String,
    /// The destination's name.
    pub(crate) destination: String,
}

/// A result that a destination does not have yet.
pub(crate) struct Waiting {
    pub(crate) delivery: Delivery,
    /// Whether it may have been sent already.
    pub(crate) attempted: bool,
}

/// An object that a destination gets.
pub(crate) struct Document {
    pub(crate) sop_class: Uid,
    pub(crate) sop_instance: Uid,
    pub(crate) object: ObjectKey,
}

/// A job's payload. What serde says of one that does not fit is not repeated: it may quote a UID.
fn payload<T: DeserializeOwned>(job: &Job) -> Result<T, Trouble> {
    let why =
        "the job was written by another version of this software; go back to that version, or remove the job";
    serde_json::from_value(job.payload.clone()).map_err(|_| Trouble::Never { why: why.to_owned() })
}

impl Case {
    /// Reads a job's payload.
    pub(crate) fn of(job: &Job) -> Result<Self, Trouble> {
        payload(job)
    }

    /// Asks for the job that delivers what waits.
    pub(crate) async fn ask(&self, tx: &mut Tx, now: Millis) -> Result<(), EdgeError> {
        let payload = serde_json::to_value(self).unwrap_or_default();
        let (kind, key) = (
            format!("{DELIVER}{}", self.destination),
            format!("{}:{}:{}", self.study, self.program, self.destination),
        );
        let job = NewJob { kind: &kind, key: &key, payload, priority: 1, run_at: now };
        Ok(jobs::enqueue(tx, &job, now).await?)
    }

    /// Results that the destination does not have yet, in the order of their versions.
    pub(crate) async fn waiting(&self, database: &Database) -> Result<Vec<Waiting>, EdgeError> {
        let query = || EdgeError::query("looking for what to deliver");
        let mut conn = database.read().await?;
        let rows = sqlx::query(
            "SELECT r.id, d.attempted_at FROM deliveries d JOIN results r ON r.id = d.result
             WHERE r.study_uid = $1 AND r.program = $2 AND d.destination = $3 AND d.state = 'waiting' ORDER BY r.case_version",
        )
        .bind(self.study_uid.clone())
        .bind(self.program.clone())
        .bind(self.destination.clone())
        .fetch_all(&mut *conn)
        .await
        .map_err(query())?;
        let waiting = |row: &AnyRow| -> Result<Waiting, sqlx::Error> {
            let attempted: Option<i64> = row.try_get(1)?;
            let delivery = Delivery { result: row.try_get(0)?, destination: self.destination.clone() };
            Ok(Waiting { delivery, attempted: attempted.is_some() })
        };
        rows.iter().map(waiting).collect::<Result<_, _>>().map_err(query())
    }
}

impl Delivery {
    /// Reads a job's payload.
    pub(crate) fn of(job: &Job) -> Result<Self, Trouble> {
        payload(job)
    }

    /// Asks for the job that looks after its storage commitment.
    pub(crate) async fn ask_commitment(
        &self,
        tx: &mut Tx,
        run_at: Millis,
        now: Millis,
    ) -> Result<(), EdgeError> {
        let payload = serde_json::to_value(self).unwrap_or_default();
        let (kind, key) =
            (format!("{COMMIT}{}", self.destination), format!("{}:{}", self.result, self.destination));
        let job = NewJob { kind: &kind, key: &key, payload, priority: 2, run_at };
        Ok(jobs::enqueue(tx, &job, now).await?)
    }

    /// Notes that it is about to be sent for the first time, if it is.
    pub(crate) async fn note_attempt(&self, database: &Database, now: Millis) -> Result<(), EdgeError> {
        let mut tx = database.begin().await?;
        sqlx::query("UPDATE deliveries SET attempted_at = COALESCE(attempted_at, $1) WHERE result = $2 AND destination = $3")
            .bind(now.0)
            .bind(self.result.clone())
            .bind(self.destination.clone())
            .execute(&mut *tx)
            .await
            .map_err(EdgeError::query("noting an attempt"))?;
        Ok(Database::commit(tx).await?)
    }

    /// Moves it from one state to another, in the transaction of what follows from that; whether it was in the first.
    pub(crate) async fn turn(&self, tx: &mut Tx, from: &str, to: &str) -> Result<bool, EdgeError> {
        let turned = sqlx::query(
            "UPDATE deliveries SET state = $1 WHERE result = $2 AND destination = $3 AND state = $4",
        )
        .bind(to.to_owned())
        .bind(self.result.clone())
        .bind(self.destination.clone())
        .bind(from.to_owned())
        .execute(&mut **tx)
        .await
        .map_err(EdgeError::query("noting a delivery"))?;
        Ok(turned.rows_affected() == 1)
    }

    /// Puts what became of it into the audit log: last in its transaction.
    pub(crate) async fn record(
        &self,
        tx: &mut Tx,
        clock: &Clock,
        became: &str,
        mut detail: serde_json::Value,
    ) -> Result<(), EdgeError> {
        detail["destination"] = self.destination.clone().into();
        let action = format!("result.{became}");
        let event = Event { at: clock.now(), actor: "edge", action: &action, subject: &self.result, detail };
        audit::append(tx, &event).await?;
        Ok(())
    }

    /// The objects that the destination gets: the result's documents, then the note that withdraws the last version before that it was sent, if there is
    /// one. Versions in between never went there, and a note that names them would be about objects that the destination does not know.
    pub(crate) async fn documents(&self, database: &Database) -> Result<Vec<Document>, EdgeError> {
        let query = || EdgeError::query("looking for a result's documents");
        let mut conn = database.read().await?;
        let mut rows = sqlx::query(
            "SELECT i.sop_class, i.sop_uid, i.object FROM result_objects o JOIN instances i ON i.sop_uid = o.sop_uid
             WHERE o.result = $1 AND o.kind <> 'rejection' ORDER BY o.position",
        )
        .bind(self.result.clone())
        .fetch_all(&mut *conn)
        .await
        .map_err(query())?;
        let notes = sqlx::query(
            "SELECT i.sop_class, i.sop_uid, i.object FROM results r JOIN results n ON n.study_uid = r.study_uid AND n.program = r.program
               JOIN result_objects o ON o.result = n.id AND o.kind = 'rejection' JOIN instances i ON i.sop_uid = o.sop_uid
             WHERE r.id = $1 AND n.case_version = 1 + (
               SELECT MAX(b.case_version) FROM results b JOIN deliveries d ON d.result = b.id AND d.destination = $2 AND d.attempted_at IS NOT NULL
               WHERE b.study_uid = r.study_uid AND b.program = r.program AND b.case_version < r.case_version)",
        )
        .bind(self.result.clone())
        .bind(self.destination.clone())
        .fetch_all(&mut *conn)
        .await
        .map_err(query())?;
        drop(conn);
        rows.extend(notes);
        let document = |row: &AnyRow| -> Result<Document, EdgeError> {
            let text = |n: usize| row.try_get::<String, _>(n).map_err(query());
            let uid = |n: usize| {
                Uid::parse(&text(n)?)
                    .map_err(|e| EdgeError::Row { what: "a document of ours", source: e.into() })
            };
            Ok(Document { sop_class: uid(0)?, sop_instance: uid(1)?, object: ObjectKey::parse(&text(2)?)? })
        };
        rows.iter().map(document).collect()
    }
}
