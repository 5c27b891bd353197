//! Results on their way to the edge: kept in the order of their release until the edge has them, and after.

use std::time::Duration;

use overread_domain::Millis;
use overread_store::{Database, StoreError, Tx};
use overread_wire::{Cursor, ResultMessage, ResultPage};
use sqlx::Row;
use tokio::sync::watch;

use crate::cases;
use crate::clients::Caller;
use crate::error::{db, document};
use crate::service::Bell;

/// Most results of one page.
const PAGE: i64 = 50;
/// How often a waiting request looks by itself: another process may have released.
const LOOK: Duration = Duration::from_secs(3);

/// Why there is no page.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OutboxError {
    /// The edge has taken more than was ever released here.
    #[error(
        "the edge has taken {after} results and this service has released {last}: its database is older than the edge's. Restore the newer one, or reset \
         the edge's cursor"
    )]
    Ahead {
        /// What the edge has.
        after: i64,
        /// What was released.
        last: i64,
    },
    /// The database failed.
    #[error("the results could not be read")]
    Store(#[from] StoreError),
}

/// Puts a result into the outbox of an edge, in the transaction that releases it. Each edge has a count of its own, which tells nothing of the others'.
pub(crate) async fn put(
    tx: &mut Tx,
    to: &Caller,
    reading: i64,
    message: &ResultMessage,
    now: Millis,
) -> Result<(), StoreError> {
    let sequence = cases::next(tx, "outbox").await?;
    let text = serde_json::to_string(message).map_err(document("a result"))?;
    // The edge's row is locked until the commit: positions are the order of commits.
    sqlx::query("UPDATE edges SET last = last + 1 WHERE id = $1")
        .bind(to.edge.clone())
        .execute(&mut **tx)
        .await
        .map_err(db("counting a result"))?;
    sqlx::query(
        "INSERT INTO outbox (sequence, client, edge, position, reading_id, message, created_at)
         SELECT $1, $2, e.id, e.last, $4, $5, $6 FROM edges e WHERE e.id = $3",
    )
    .bind(sequence)
    .bind(to.client.clone())
    .bind(to.edge.clone())
    .bind(reading)
    .bind(text)
    .bind(now.0)
    .execute(&mut **tx)
    .await
    .map_err(db("putting a result into the outbox"))?;
    Ok(())
}

/// The results after a cursor; waits for one if there is none. The cursor is written down as safe.
///
/// # Errors
/// [`OutboxError`].
pub(crate) async fn results(
    database: &Database,
    edge: &str,
    after: Cursor,
    wait: Duration,
    bell: &mut watch::Receiver<Bell>,
    now: Millis,
) -> Result<ResultPage, OutboxError> {
    let deadline = tokio::time::Instant::now() + wait;
    mark_safe(database, edge, after, now).await?;
    loop {
        // Marked as seen before looking, so that a release in between wakes.
        let closing = bell.borrow_and_update().closing;
        let page = page(database, edge, after).await?;
        let left = deadline.saturating_duration_since(tokio::time::Instant::now());
        if !page.results.is_empty() || left.is_zero() || closing {
            return Ok(page);
        }
        tokio::select! {
            changed = bell.changed() => if changed.is_err() { return Ok(page) },
            () = tokio::time::sleep(left.min(LOOK)) => {}
        }
    }
}

async fn page(database: &Database, edge: &str, after: Cursor) -> Result<ResultPage, StoreError> {
    let doing = db("reading the outbox");
    let mut conn = database.read().await?;
    let rows = sqlx::query(
        "SELECT position, message FROM outbox WHERE edge = $1 AND position > $2 ORDER BY position LIMIT $3",
    )
    .bind(edge.to_owned())
    .bind(after.0)
    .bind(PAGE)
    .fetch_all(&mut *conn)
    .await
    .map_err(&doing)?;
    let mut page = ResultPage { results: Vec::with_capacity(rows.len()), next: after };
    for row in rows {
        page.next = Cursor(row.try_get(0).map_err(&doing)?);
        let text: String = row.try_get(1).map_err(&doing)?;
        page.results.push(serde_json::from_str(&text).map_err(document("a result"))?);
    }
    Ok(page)
}

/// Writes down that the edge has everything up to here.
async fn mark_safe(database: &Database, edge: &str, cursor: Cursor, now: Millis) -> Result<(), OutboxError> {
    let doing = db("reading the edge's cursor");
    let mut conn = database.read().await?;
    let row = sqlx::query("SELECT safe, last FROM edges WHERE id = $1")
        .bind(edge.to_owned())
        .fetch_one(&mut *conn)
        .await
        .map_err(&doing)?;
    drop(conn);
    let (safe, last): (i64, i64) = (row.try_get(0).map_err(&doing)?, row.try_get(1).map_err(&doing)?);
    if cursor.0 > last {
        return Err(OutboxError::Ahead { after: cursor.0, last });
    }
    if cursor.0 <= safe {
        return Ok(());
    }
    let mut tx = database.begin().await?;
    sqlx::query("UPDATE edges SET safe = $1, changed_at = $2 WHERE id = $3 AND safe < $1")
        .bind(cursor.0)
        .bind(now.0)
        .bind(edge.to_owned())
        .execute(&mut *tx)
        .await
        .map_err(db("writing down the edge's cursor"))?;
    Database::commit(tx).await?;
    Ok(())
}

/// How many results were released, and how many of them their edges have. What is meant for an edge that was revoked is waited for by nobody.
pub(crate) async fn progress(database: &Database) -> Result<(i64, i64), StoreError> {
    let doing = db("counting results");
    let mut conn = database.read().await?;
    let row = sqlx::query("SELECT CAST(COALESCE(SUM(last), 0) AS BIGINT), CAST(COALESCE(SUM(CASE WHEN revoked_at IS NULL THEN safe ELSE last END), 0) AS BIGINT) FROM edges")
        .fetch_one(&mut *conn)
        .await
        .map_err(&doing)?;
    Ok((row.try_get(0).map_err(&doing)?, row.try_get(1).map_err(&doing)?))
}
