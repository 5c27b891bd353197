//! Work that survives the process: rows in the database of what they concern, written in the same transaction.
//!
//! A job is named by kind and key. There is one for each name at a time: asking again for a waiting one replaces it, asking for a running one makes
//! it run once more afterwards, asking for a dead one revives it. Own table, not `apalis`: that has no claim within a caller's transaction on both
//! databases, and no names.

use std::fmt::Write;

use overread_domain::Millis;
use serde::Serialize;
use sqlx::any::AnyRow;
use sqlx::{AssertSqlSafe, Row};

use crate::{Database, StoreError, Tx};

/// A job to be done.
#[derive(Clone, Debug)]
pub struct NewJob<'a> {
    /// Which handler does it.
    pub kind: &'a str,
    /// What it is about: with the kind it names the job.
    pub key: &'a str,
    /// What the handler needs.
    pub payload: serde_json::Value,
    /// 0 comes first.
    pub priority: i64,
    /// Not before.
    pub run_at: Millis,
}

/// A job that this process runs.
#[derive(Clone, Debug)]
pub struct Job {
    /// Its number.
    pub id: i64,
    /// Which handler.
    pub kind: String,
    /// What it is about.
    pub key: String,
    /// What the handler needs.
    pub payload: serde_json::Value,
    /// Which attempt this is, from 1; recorded before it started.
    pub attempts: i64,
    /// How often it had to wait for somebody since it last got on.
    pub(crate) delays: i64,
    /// Whoever holds this may finish it.
    pub(crate) token: String,
}

/// A job as people see it.
#[derive(Clone, Debug, Serialize)]
pub struct JobRow {
    /// Its number.
    pub id: i64,
    /// Which handler.
    pub kind: String,
    /// What it is about: our own ids.
    pub key: String,
    /// `waiting`, `running` or `dead`.
    pub state: String,
    /// Not before, in milliseconds since 1970.
    pub run_at: i64,
    /// Attempts so far.
    pub attempts: i64,
    /// Why the last attempt did not succeed.
    pub error: Option<String>,
    /// When it was asked for, in milliseconds since 1970.
    pub created_at: i64,
}

/// How many jobs of a kind are in a state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct JobCount {
    /// The kind.
    pub kind: String,
    /// `waiting`, `running` or `dead`.
    pub state: String,
    /// How many.
    pub count: i64,
}

/// Asks for a job, in the transaction of what it concerns. What was written about earlier attempts of a waiting or dead one is forgotten.
///
/// It locks the job's row until the transaction ends. Ask before [`crate::audit::append`]: the audit log comes last in every transaction.
///
/// # Errors
/// The database failed.
pub async fn enqueue(tx: &mut Tx, job: &NewJob<'_>, now: Millis) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO jobs (kind, key, payload, priority, state, run_at, attempts, delays, created_at, changed_at)
         VALUES ($1, $2, $3, $4, 'waiting', $5, 0, 0, $6, $6)
         ON CONFLICT (kind, key) DO UPDATE SET
           payload = CASE WHEN jobs.state = 'running' THEN jobs.payload ELSE excluded.payload END,
           priority = excluded.priority,
           run_at = CASE WHEN jobs.state = 'running' THEN jobs.run_at ELSE excluded.run_at END,
           attempts = CASE WHEN jobs.state = 'dead' THEN 0 ELSE jobs.attempts END,
           delays = CASE WHEN jobs.state = 'running' THEN jobs.delays ELSE 0 END,
           error = CASE WHEN jobs.state = 'running' THEN jobs.error ELSE NULL END,
           again = CASE WHEN jobs.state = 'running' THEN excluded.payload ELSE NULL END,
           again_at = CASE WHEN jobs.state = 'running' THEN excluded.run_at ELSE NULL END,
           state = CASE WHEN jobs.state = 'running' THEN 'running' ELSE 'waiting' END,
           changed_at = excluded.changed_at",
    )
    .bind(job.kind.to_owned())
    .bind(job.key.to_owned())
    .bind(job.payload.to_string())
    .bind(job.priority)
    .bind(job.run_at.0)
    .bind(now.0)
    .execute(&mut **tx)
    .await
    .map_err(StoreError::database("asking for a job"))?;
    Ok(())
}

/// Takes the next job of these kinds that is due, and records the attempt before it starts.
pub(crate) async fn claim(
    database: &Database,
    kinds: &[String],
    owner: &str,
    token: &str,
    lease_ms: i64,
    now: Millis,
) -> Result<Option<Job>, StoreError> {
    let doing = "taking a job";
    let list = placeholders(kinds.len(), 5);
    let lock = database.skipping_locked();
    let sql = format!(
        "UPDATE jobs SET state = 'running', attempts = attempts + 1, owner = $1, token = $2, leased_until = $3, changed_at = $4
         WHERE id = (SELECT id FROM jobs WHERE state = 'waiting' AND run_at <= $4 AND kind IN ({list})
                     ORDER BY priority, run_at, id LIMIT 1{lock}) AND state = 'waiting'
         RETURNING id, kind, key, payload, attempts, delays"
    );
    let mut tx = database.begin().await?;
    let mut query = sqlx::query(AssertSqlSafe(sql))
        .bind(owner.to_owned())
        .bind(token.to_owned())
        .bind(now.plus(lease_ms).0)
        .bind(now.0);
    for kind in kinds {
        query = query.bind(kind.clone());
    }
    let row = query.fetch_optional(&mut *tx).await.map_err(StoreError::database(doing))?;
    Database::commit(tx).await?;
    row.map(|row| job_of(&row, token)).transpose()
}

/// `$n, $n+1, …`, so many.
fn placeholders(count: usize, first: usize) -> String {
    let mut list = String::new();
    for index in first..first + count {
        let _ = write!(list, "{}${index}", if index == first { "" } else { ", " });
    }
    list
}

fn job_of(row: &AnyRow, token: &str) -> Result<Job, StoreError> {
    let column = || StoreError::database("reading a job");
    let payload: String = row.try_get(3).map_err(column())?;
    Ok(Job {
        id: row.try_get(0).map_err(column())?,
        kind: row.try_get(1).map_err(column())?,
        key: row.try_get(2).map_err(column())?,
        payload: serde_json::from_str(&payload)
            .map_err(|source| StoreError::Document { what: "a job's payload", source })?,
        attempts: row.try_get(4).map_err(column())?,
        delays: row.try_get(5).map_err(column())?,
        token: token.to_owned(),
    })
}

/// Finishes a job, in the transaction of its effects: both happen or neither. A job that was asked for meanwhile waits again.
///
/// It locks the job's row, as [`enqueue`] does: before [`crate::audit::append`].
///
/// # Errors
/// [`StoreError::LeaseLost`] if somebody else runs it by now: then the transaction must not be committed.
pub async fn finish(tx: &mut Tx, job: &Job) -> Result<(), StoreError> {
    let doing = "finishing a job";
    let again = sqlx::query(
        "UPDATE jobs SET state = 'waiting', payload = again, run_at = again_at, attempts = 0, delays = 0, again = NULL, again_at = NULL, error = NULL
         WHERE id = $1 AND token = $2 AND state = 'running' AND again IS NOT NULL",
    )
    .bind(job.id)
    .bind(job.token.clone())
    .execute(&mut **tx)
    .await
    .map_err(StoreError::database(doing))?;
    if again.rows_affected() == 1 {
        return Ok(());
    }
    let gone = sqlx::query("DELETE FROM jobs WHERE id = $1 AND token = $2 AND state = 'running'")
        .bind(job.id)
        .bind(job.token.clone())
        .execute(&mut **tx)
        .await
        .map_err(StoreError::database(doing))?;
    if gone.rows_affected() == 1 { Ok(()) } else { Err(StoreError::LeaseLost { id: job.id }) }
}

/// Takes back the jobs that are about something that is no more: those whose key is this one, or begins with it and a colon. One that runs finds nothing left to
/// finish.
///
/// It locks the jobs' rows, as [`enqueue`] does.
///
/// # Errors
/// The database failed.
pub async fn cancel(tx: &mut Tx, key: &str) -> Result<(), StoreError> {
    let sql = format!("DELETE FROM jobs WHERE key = $1 OR substr(key, 1, {}) = $2", key.chars().count() + 1);
    sqlx::query(AssertSqlSafe(sql))
        .bind(key.to_owned())
        .bind(format!("{key}:"))
        .execute(&mut **tx)
        .await
        .map_err(StoreError::database("taking jobs back"))?;
    Ok(())
}

/// What becomes of a job whose attempt did not succeed.
pub(crate) enum Outcome {
    /// Tried again at a time; whether the attempt counts.
    Again { at: Millis, counts: bool },
    /// Left for a person.
    Dead,
}

/// Puts a job back, or aside. One that was asked for meanwhile is not buried: the new request counts.
pub(crate) async fn put_back(
    database: &Database,
    job: &Job,
    outcome: &Outcome,
    why: &str,
    now: Millis,
) -> Result<(), StoreError> {
    let (state, at, attempts, delays) = match outcome {
        Outcome::Again { at, counts: true } => ("waiting", *at, job.attempts, 0),
        Outcome::Again { at, counts: false } => ("waiting", *at, job.attempts - 1, job.delays + 1),
        Outcome::Dead => ("dead", now, job.attempts, 0),
    };
    let mut tx = database.begin().await?;
    sqlx::query(
        "UPDATE jobs SET state = CASE WHEN again IS NOT NULL THEN 'waiting' ELSE $1 END, run_at = COALESCE(again_at, $2), attempts = CASE WHEN again IS NOT NULL THEN 0 ELSE $3 END,
           delays = CASE WHEN again IS NOT NULL THEN 0 ELSE $4 END, payload = COALESCE(again, payload), error = CASE WHEN again IS NOT NULL THEN NULL ELSE $5 END,
           changed_at = CASE WHEN again IS NOT NULL THEN changed_at ELSE $6 END, again = NULL, again_at = NULL
         WHERE id = $7 AND token = $8 AND state = 'running'",
    )
    .bind(state)
    .bind(at.0)
    .bind(attempts)
    .bind(delays)
    .bind(why.chars().take(2000).collect::<String>())
    .bind(now.0)
    .bind(job.id)
    .bind(job.token.clone())
    .execute(&mut *tx)
    .await
    .map_err(StoreError::database("putting a job back"))?;
    Database::commit(tx).await
}

/// When the next of these kinds is due; none if none waits.
pub(crate) async fn next_due(database: &Database, kinds: &[String]) -> Result<Option<Millis>, StoreError> {
    let doing = "looking for the next job";
    let list = placeholders(kinds.len(), 1);
    let sql = format!("SELECT MIN(run_at) FROM jobs WHERE state = 'waiting' AND kind IN ({list})");
    let mut conn = database.read().await?;
    let mut query = sqlx::query(AssertSqlSafe(sql));
    for kind in kinds {
        query = query.bind(kind.clone());
    }
    let row = query.fetch_one(&mut *conn).await.map_err(StoreError::database(doing))?;
    let due: Option<i64> = row.try_get(0).map_err(StoreError::database(doing))?;
    Ok(due.map(Millis))
}

/// Jobs with numbers after one, in order; of one state if it is given. Numbers grow in the order of asking.
///
/// # Errors
/// The database failed.
pub async fn list(
    database: &Database,
    state: Option<&str>,
    after: i64,
    limit: i64,
) -> Result<Vec<JobRow>, StoreError> {
    let doing = "listing jobs";
    let mut conn = database.read().await?;
    let rows = sqlx::query(
        "SELECT id, kind, key, state, run_at, attempts, error, created_at FROM jobs WHERE id > $1 AND ($2 = '' OR state = $2) ORDER BY id LIMIT $3",
    )
    .bind(after)
    .bind(state.unwrap_or("").to_owned())
    .bind(limit)
    .fetch_all(&mut *conn)
    .await
    .map_err(StoreError::database(doing))?;
    let row = |r: &AnyRow| -> Result<JobRow, sqlx::Error> {
        Ok(JobRow {
            id: r.try_get(0)?,
            kind: r.try_get(1)?,
            key: r.try_get(2)?,
            state: r.try_get(3)?,
            run_at: r.try_get(4)?,
            attempts: r.try_get(5)?,
            error: r.try_get(6)?,
            created_at: r.try_get(7)?,
        })
    };
    rows.iter().map(row).collect::<Result<_, _>>().map_err(StoreError::database(doing))
}

/// How many jobs there are, by kind and state.
///
/// # Errors
/// The database failed.
pub async fn counts(database: &Database) -> Result<Vec<JobCount>, StoreError> {
    let doing = "counting jobs";
    let mut conn = database.read().await?;
    let rows =
        sqlx::query("SELECT kind, state, COUNT(*) FROM jobs GROUP BY kind, state ORDER BY kind, state")
            .fetch_all(&mut *conn)
            .await
            .map_err(StoreError::database(doing))?;
    let row = |r: &AnyRow| -> Result<JobCount, sqlx::Error> {
        Ok(JobCount { kind: r.try_get(0)?, state: r.try_get(1)?, count: r.try_get(2)? })
    };
    rows.iter().map(row).collect::<Result<_, _>>().map_err(StoreError::database(doing))
}

/// Gives dead letters another try: one by its number, or all. Answers how many.
///
/// # Errors
/// The database failed.
pub async fn requeue(tx: &mut Tx, id: Option<i64>, now: Millis) -> Result<u64, StoreError> {
    let done = sqlx::query(
        "UPDATE jobs SET state = 'waiting', attempts = 0, delays = 0, run_at = $1, changed_at = $1 WHERE state = 'dead' AND ($2 = 0 OR id = $2)",
    )
    .bind(now.0)
    .bind(id.unwrap_or(0))
    .execute(&mut **tx)
    .await
    .map_err(StoreError::database("requeueing jobs"))?;
    Ok(done.rows_affected())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_worker_looks_for_its_own_kind_by_an_index() {
        let folder = tempfile::tempdir().unwrap();
        let address = format!("sqlite://{}", folder.path().join("a.db").display());
        let database = Database::open(&address, "room", &[]).await.unwrap();
        let mut tx = database.begin().await.unwrap();
        let new = NewJob { kind: "other", key: "a", payload: 1.into(), priority: 0, run_at: Millis(5) };
        enqueue(&mut tx, &new, Millis(1)).await.unwrap();
        Database::commit(tx).await.unwrap();
        // A job of another kind that is due all along does not keep it awake.
        assert_eq!(next_due(&database, &["mine".to_owned()]).await.unwrap(), None);
        assert_eq!(
            next_due(&database, &["mine".to_owned(), "other".to_owned()]).await.unwrap(),
            Some(Millis(5))
        );
        let mut conn = database.read().await.unwrap();
        let plan = sqlx::query(
            "EXPLAIN QUERY PLAN SELECT MIN(run_at) FROM jobs WHERE state = 'waiting' AND kind IN ('mine')",
        )
        .fetch_one(&mut *conn)
        .await
        .unwrap();
        let plan: String = plan.try_get(3).unwrap();
        assert!(plan.contains("COVERING INDEX jobs_due"), "{plan}");
    }
}
