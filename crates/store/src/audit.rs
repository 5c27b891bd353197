//! An append-only log whose alteration shows: each entry's hash covers the one before.
//!
//! Hash of an entry = SHA-256 over: the text `overread audit 1`, the previous entry's hash, the sequence, the moment, actor, action, subject, detail; each
//! preceded by its length in bytes (8 bytes, big endian), numbers as 8 bytes, big endian. The first entry's predecessor is the empty text.
//! Whoever copies the head's hash elsewhere can later prove that nothing before it was changed.

use overread_domain::Millis;
use serde::Serialize;
use sha2::{Digest, Sha256};
use sqlx::Row;

use crate::{Database, StoreError, Tx};

/// Something that happened. Subjects are our own ids, never a patient's.
#[derive(Clone, Debug)]
pub struct Event<'a> {
    /// When.
    pub at: Millis,
    /// Who: a token's name, `local`, or the part of the software.
    pub actor: &'a str,
    /// What, such as `study.complete`.
    pub action: &'a str,
    /// On what.
    pub subject: &'a str,
    /// How; an object of JSON.
    pub detail: serde_json::Value,
}

/// An entry as it lies in the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Entry {
    /// From 1, without gaps.
    pub sequence: i64,
    /// Milliseconds since 1970.
    pub at: i64,
    /// Who.
    pub actor: String,
    /// What.
    pub action: String,
    /// On what.
    pub subject: String,
    /// How, as JSON text.
    pub detail: String,
    /// The hash, in hexadecimal.
    pub hash: String,
}

/// A chain that holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Verified {
    /// How many entries.
    pub entries: i64,
    /// The last one's hash; empty if there is none.
    pub head: String,
}

/// Appends an event, in the transaction of what it tells. Appends wait for each other until the transaction ends: it comes last, after jobs are asked for
/// and finished, or two transactions may wait for each other.
///
/// # Errors
/// The database failed.
pub async fn append(tx: &mut Tx, event: &Event<'_>) -> Result<(), StoreError> {
    let doing = "appending to the audit log";
    // The update takes the row's lock, so that no two appends see the same head.
    let head =
        sqlx::query("UPDATE audit_head SET sequence = sequence + 1 WHERE id = 1 RETURNING sequence, hash")
            .fetch_one(&mut **tx)
            .await
            .map_err(StoreError::database(doing))?;
    let column = || StoreError::database(doing);
    let (sequence, previous): (i64, String) =
        (head.try_get(0).map_err(column())?, head.try_get(1).map_err(column())?);
    let mut entry = Entry {
        sequence,
        at: event.at.0,
        actor: event.actor.to_owned(),
        action: event.action.to_owned(),
        subject: event.subject.to_owned(),
        detail: event.detail.to_string(),
        hash: String::new(),
    };
    entry.hash = hash_of(&entry, &previous);
    sqlx::query("INSERT INTO audit (sequence, at, actor, action, subject, detail, hash) VALUES ($1, $2, $3, $4, $5, $6, $7)")
        .bind(entry.sequence)
        .bind(entry.at)
        .bind(entry.actor)
        .bind(entry.action)
        .bind(entry.subject)
        .bind(entry.detail)
        .bind(entry.hash.clone())
        .execute(&mut **tx)
        .await
        .map_err(StoreError::database(doing))?;
    sqlx::query("UPDATE audit_head SET hash = $1 WHERE id = 1")
        .bind(entry.hash)
        .execute(&mut **tx)
        .await
        .map_err(StoreError::database(doing))?;
    Ok(())
}

/// Entries after a sequence, in order.
///
/// # Errors
/// The database failed.
pub async fn list(database: &Database, after: i64, limit: i64) -> Result<Vec<Entry>, StoreError> {
    let doing = "reading the audit log";
    let mut conn = database.read().await?;
    let rows = sqlx::query(
        "SELECT sequence, at, actor, action, subject, detail, hash FROM audit WHERE sequence > $1 ORDER BY sequence LIMIT $2",
    )
    .bind(after)
    .bind(limit)
    .fetch_all(&mut *conn)
    .await
    .map_err(StoreError::database(doing))?;
    let entry = |row: &sqlx::any::AnyRow| -> Result<Entry, sqlx::Error> {
        Ok(Entry {
            sequence: row.try_get(0)?,
            at: row.try_get(1)?,
            actor: row.try_get(2)?,
            action: row.try_get(3)?,
            subject: row.try_get(4)?,
            detail: row.try_get(5)?,
            hash: row.try_get(6)?,
        })
    };
    rows.iter().map(entry).collect::<Result<_, _>>().map_err(StoreError::database(doing))
}

/// Walks the whole chain. What is appended meanwhile is left for the next time.
///
/// # Errors
/// [`StoreError::Broken`] names the first entry that does not fit.
pub async fn verify(database: &Database) -> Result<Verified, StoreError> {
    let doing = "reading the head of the audit log";
    let mut conn = database.read().await?;
    let head = sqlx::query("SELECT sequence, hash FROM audit_head WHERE id = 1")
        .fetch_one(&mut *conn)
        .await
        .map_err(StoreError::database(doing))?;
    drop(conn);
    let column = || StoreError::database(doing);
    let (last, expected): (i64, String) =
        (head.try_get(0).map_err(column())?, head.try_get(1).map_err(column())?);
    let (mut sequence, mut previous) = (0, String::new());
    'pages: loop {
        let page = list(database, sequence, 1000).await?;
        if page.is_empty() {
            break;
        }
        for entry in page {
            if entry.sequence > last {
                break 'pages;
            }
            if entry.sequence != sequence + 1 {
                return Err(StoreError::Broken { sequence: sequence + 1, why: "the entry is missing" });
            }
            if entry.hash != hash_of(&entry, &previous) {
                return Err(StoreError::Broken {
                    sequence: entry.sequence,
                    why: "the entry or one before it was altered",
                });
            }
            sequence = entry.sequence;
            previous = entry.hash;
        }
    }
    if sequence != last {
        return Err(StoreError::Broken { sequence: sequence + 1, why: "entries at the end are missing" });
    }
    if previous != expected {
        return Err(StoreError::Broken {
            sequence,
            why: "the last entry is not the one that the head names",
        });
    }
    nothing_outside(database).await?;
    Ok(Verified { entries: sequence, head: previous })
}

/// Looks for entries that the walk does not see: before the first, or beyond the head. All three numbers are of one moment, whatever is appended meanwhile.
async fn nothing_outside(database: &Database) -> Result<(), StoreError> {
    let doing = "reading the ends of the audit log";
    let mut conn = database.read().await?;
    let row = sqlx::query(
        "SELECT (SELECT MIN(sequence) FROM audit), (SELECT MAX(sequence) FROM audit), (SELECT sequence FROM audit_head WHERE id = 1)",
    )
    .fetch_one(&mut *conn)
    .await
    .map_err(StoreError::database(doing))?;
    let number = |index: usize| row.try_get::<Option<i64>, _>(index).map_err(StoreError::database(doing));
    let (first, last, head) = (number(0)?, number(1)?, number(2)?.unwrap_or(0));
    if let Some(sequence) = first.filter(|n| *n < 1) {
        return Err(StoreError::Broken { sequence, why: "there is an entry before the first" });
    }
    if last.is_some_and(|n| n > head) {
        return Err(StoreError::Broken {
            sequence: head + 1,
            why: "there are entries beyond the one that the head names",
        });
    }
    Ok(())
}

fn hash_of(entry: &Entry, previous: &str) -> String {
    let mut hash = Sha256::new();
    let mut part = |bytes: &[u8]| {
        hash.update((bytes.len() as u64).to_be_bytes());
        hash.update(bytes);
    };
    part(b"overread audit 1");
    part(previous.as_bytes());
    part(&entry.sequence.to_be_bytes());
    part(&entry.at.to_be_bytes());
    for text in [&entry.actor, &entry.action, &entry.subject, &entry.detail] {
        part(text.as_bytes());
    }
    overread_domain::ContentHash::from_bytes(hash.finalize().into()).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_of_an_entry_never_changes() {
        let entry = Entry {
            sequence: 1,
            at: 1_700_000_000_000,
            actor: "local".into(),
            action: "program.mode".into(),
            subject: "cxr-pneumonia".into(),
            detail: "{\"to\":\"review-all\"}".into(),
            hash: String::new(),
        };
        // Computed with Python's hashlib from the description above.
        assert_eq!(hash_of(&entry, ""), GOLDEN);
        let moved = Entry { actor: "localp".into(), action: "rogram.mode".into(), ..entry };
        assert_ne!(hash_of(&moved, ""), GOLDEN, "fields run into each other");
    }

    const GOLDEN: &str = "013cf4f1ebd6a1b2dcdbac772da70a1b9586d2d6ae860f1d034a55c2c36b71ed";
}
