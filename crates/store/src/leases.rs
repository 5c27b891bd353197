//! What becomes of running jobs: leases are extended while they run, and jobs that nobody runs any more are recovered.

use std::collections::HashSet;
use std::sync::{Arc, Mutex as Lock, MutexGuard, PoisonError};

use overread_domain::{Clock, Millis};
use sqlx::{AssertSqlSafe, Row};
use tokio::sync::Mutex;

use crate::{Database, StoreError};

/// Further ahead than this, in milliseconds, a moment of the past was written by a clock that was turned back since. Clocks of several processes differ by less.
const SKEW: i64 = 300_000;

/// An attempt that ended in the middle: $1 is the most attempts, $2 now, $3 what to tell. A new request made meanwhile counts instead, at its own time.
const CRASHED: &str = "state = CASE WHEN again IS NULL AND attempts >= $1 THEN 'dead' ELSE 'waiting' END,
    run_at = COALESCE(again_at, $2), owner = NULL, token = NULL, payload = COALESCE(again, payload),
    attempts = CASE WHEN again IS NULL THEN attempts ELSE 0 END,
    error = CASE WHEN again IS NULL THEN $3 ELSE NULL END,
    changed_at = CASE WHEN again IS NULL THEN $2 ELSE changed_at END, again = NULL, again_at = NULL";

/// The tokens under which this process takes and runs jobs. A token is in it before its claim begins, and until the job's row is let go.
#[derive(Clone, Default)]
pub(crate) struct InFlight(Arc<Lock<HashSet<String>>>);

impl InFlight {
    /// A new token, in flight until the guard is dropped.
    pub(crate) fn begin(&self) -> Flight {
        let token = format!("{:032x}", rand::random::<u128>());
        self.tokens().insert(token.clone());
        Flight { token, all: self.clone() }
    }

    fn holds(&self, token: &str) -> bool {
        self.tokens().contains(token)
    }

    fn tokens(&self) -> MutexGuard<'_, HashSet<String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A token in flight.
pub(crate) struct Flight {
    pub(crate) token: String,
    all: InFlight,
}

impl Drop for Flight {
    fn drop(&mut self) {
        self.all.tokens().remove(&self.token);
    }
}

/// Extends the leases of an owner's jobs that are in flight and recovers its others: no task runs them, because a database's answer was lost or a handler
/// did not finish its job. Answers how many it recovered.
pub(crate) async fn tend(
    database: &Database,
    owner: &str,
    in_flight: &InFlight,
    (max_attempts, lease_ms): (i64, i64),
    now: Millis,
) -> Result<u64, StoreError> {
    let doing = "extending leases";
    // A row that is locked is being changed: it is left for the next time, so that this never waits with rows of its own.
    let sql = format!(
        "SELECT id, token FROM jobs WHERE state = 'running' AND owner = $1 ORDER BY id{}",
        database.skipping_locked()
    );
    let mut tx = database.begin().await?;
    let rows = sqlx::query(AssertSqlSafe(sql))
        .bind(owner.to_owned())
        .fetch_all(&mut *tx)
        .await
        .map_err(StoreError::database(doing))?;
    let mut recovered = 0;
    for row in rows {
        let id: i64 = row.try_get(0).map_err(StoreError::database(doing))?;
        let token: Option<String> = row.try_get(1).map_err(StoreError::database(doing))?;
        // Asked after the row was read: whoever wrote this token had put it in flight before.
        let query = if token.is_some_and(|t| in_flight.holds(&t)) {
            sqlx::query("UPDATE jobs SET leased_until = $1 WHERE id = $2").bind(now.plus(lease_ms).0)
        } else {
            recovered += 1;
            sqlx::query(AssertSqlSafe(format!("UPDATE jobs SET {CRASHED} WHERE id = $4")))
                .bind(max_attempts)
                .bind(now.0)
                .bind("an attempt ended and the job was not finished".to_owned())
        };
        query.bind(id).execute(&mut *tx).await.map_err(StoreError::database(doing))?;
    }
    Database::commit(tx).await?;
    Ok(recovered)
}

/// Watches for a clock that is turned ahead: what was to happen in a while would all happen at once.
pub(crate) struct Turned {
    database: Database,
    clock: Clock,
    /// The time of day, and how much time had passed then. Held while jobs are put off, so that none is taken too early.
    last: Mutex<(Millis, i64)>,
}

impl Turned {
    pub(crate) fn new(database: Database, clock: Clock) -> Self {
        let last = Mutex::new(clock.read());
        Self { database, clock, last }
    }

    /// If the clock was turned ahead since this was last asked: jobs wait as long as they were meant to, and leases last as long.
    pub(crate) async fn heed(&self) -> Result<(), StoreError> {
        let mut last = self.last.lock().await;
        let (now, passed) = self.clock.read();
        let due = last.0.plus(passed - last.1);
        if now.0 - due.0 > SKEW {
            tracing::warn!(
                seconds = (now.0 - due.0) / 1000,
                "the clock was turned ahead; jobs wait as long as they were meant to"
            );
            put_off(&self.database, due, now).await?;
        }
        *last = (now, passed);
        Ok(())
    }
}

/// Moves what was asked for before the clock was turned from `before` to `now`. Done twice, by two processes, it is done once.
async fn put_off(database: &Database, before: Millis, now: Millis) -> Result<(), StoreError> {
    let doing = "putting jobs off";
    let mut tx = database.begin().await?;
    let waiting = "UPDATE jobs SET run_at = run_at + $1, changed_at = changed_at + $1
         WHERE id IN (SELECT id FROM jobs WHERE state = 'waiting' AND run_at > $2 AND changed_at <= $2 ORDER BY id";
    let running = "UPDATE jobs SET leased_until = leased_until + $1
         WHERE id IN (SELECT id FROM jobs WHERE state = 'running' AND leased_until >= $2 AND leased_until < $3 ORDER BY id";
    for (sql, until) in [(waiting, None), (running, Some(now.0))] {
        let sql = format!("{sql}{})", database.skipping_locked());
        let mut query = sqlx::query(AssertSqlSafe(sql)).bind(now.0 - before.0).bind(before.0);
        if let Some(until) = until {
            query = query.bind(until);
        }
        query.execute(&mut *tx).await.map_err(StoreError::database(doing))?;
    }
    Database::commit(tx).await
}

/// Whose jobs are recovered.
#[derive(Clone, Copy)]
pub(crate) enum Of<'a> {
    /// An owner's that starts: all that it ran are crashes; and those of others whose lease is over.
    Starting(&'a str),
    /// Those of others whose lease is over; the owner tends its own.
    Others(&'a str),
}

/// Jobs whose process ended in the middle. Each is a crash: it waits again, or is dead after too many. A lease that lies further ahead than it could,
/// because the clock was turned back, is over; a waiting job that was written by such a clock waits as long as it was meant to, from now.
pub(crate) async fn recover(
    database: &Database,
    of: Of<'_>,
    (max_attempts, lease_ms): (i64, i64),
    now: Millis,
) -> Result<u64, StoreError> {
    let doing = "recovering jobs";
    let (owner, own) = match of {
        Of::Starting(owner) => (owner, 1_i64),
        Of::Others(owner) => (owner, 0),
    };
    let lock = database.skipping_locked();
    let sql = format!(
        "UPDATE jobs SET {CRASHED} WHERE id IN (SELECT id FROM jobs WHERE state = 'running'
           AND ((owner = $4 AND $5 = 1) OR (owner <> $4 AND (leased_until < $2 OR leased_until > $6))) ORDER BY id{lock})"
    );
    let mut tx = database.begin().await?;
    let crashed = sqlx::query(AssertSqlSafe(sql))
        .bind(max_attempts)
        .bind(now.0)
        .bind("the process ended while it ran this job".to_owned())
        .bind(owner.to_owned())
        .bind(own)
        .bind(now.plus(2 * lease_ms).0)
        .execute(&mut *tx)
        .await
        .map_err(StoreError::database(doing))?;
    let sql = format!(
        "UPDATE jobs SET run_at = CASE WHEN run_at > changed_at THEN $1 + (run_at - changed_at) ELSE $1 END, changed_at = $1
         WHERE id IN (SELECT id FROM jobs WHERE state = 'waiting' AND changed_at > $2 ORDER BY id{lock})"
    );
    sqlx::query(AssertSqlSafe(sql))
        .bind(now.0)
        .bind(now.plus(SKEW).0)
        .execute(&mut *tx)
        .await
        .map_err(StoreError::database(doing))?;
    Database::commit(tx).await?;
    Ok(crashed.rows_affected())
}
