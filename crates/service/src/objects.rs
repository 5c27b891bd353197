//! Objects: which are here, where they lie, and which studies need them.

use std::collections::{HashMap, HashSet};
use std::fmt::Write as _;

use overread_domain::{ContentHash, Millis};
use overread_store::{Database, ObjectKey, StoreError, Tx};
use sqlx::{AssertSqlSafe, Row};

use crate::clients::Caller;
use crate::error::db;

/// What an object is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ObjectKind {
    /// An image, sent by an edge; never given back.
    Image,
    /// A picture of a reading; an edge may fetch it.
    Capture,
}

impl ObjectKind {
    /// The word in database and keys.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Image => "image",
            Self::Capture => "capture",
        }
    }
}

/// Where an object lies that was put while its client had had something forgotten so often.
pub(crate) fn object_key(
    client: &str,
    kind: ObjectKind,
    hash: &ContentHash,
    epoch: i64,
) -> Result<ObjectKey, StoreError> {
    let folder = hash.as_str().get(..2).unwrap_or("00");
    let place = format!("{client}/{}/{folder}/{hash}", kind.as_str());
    ObjectKey::parse(&if epoch == 0 { place } else { format!("{place}-{epoch}") })
}

/// Which of these objects are not here, each once, in the order they were asked for.
///
/// # Errors
/// The database failed.
pub(crate) async fn missing(
    database: &Database,
    client: &str,
    kind: ObjectKind,
    hashes: &[ContentHash],
) -> Result<Vec<ContentHash>, StoreError> {
    let mut conn = database.read().await?;
    let here = epochs(&mut conn, client, kind, hashes).await?;
    drop(conn);
    let mut seen = HashSet::new();
    let wanted = hashes.iter().filter(|h| seen.insert(h.as_str()) && !here.contains_key(h.as_str()));
    Ok(wanted.cloned().collect())
}

/// Where objects lie that are here, by hash.
pub(crate) async fn places(
    database: &Database,
    client: &str,
    kind: ObjectKind,
    hashes: &[ContentHash],
) -> Result<HashMap<String, ObjectKey>, StoreError> {
    let mut conn = database.read().await?;
    let here = epochs(&mut conn, client, kind, hashes).await?;
    let mut places = HashMap::with_capacity(here.len());
    for hash in hashes {
        if let Some(epoch) = here.get(hash.as_str()) {
            places.insert(hash.to_string(), object_key(client, kind, hash, *epoch)?);
        }
    }
    Ok(places)
}

/// The epochs of those of these objects that are here.
pub(crate) async fn epochs(
    conn: &mut sqlx::AnyConnection,
    client: &str,
    kind: ObjectKind,
    hashes: &[ContentHash],
) -> Result<HashMap<String, i64>, StoreError> {
    let doing = db("looking for objects");
    let different: Vec<&str> =
        hashes.iter().map(ContentHash::as_str).collect::<HashSet<_>>().into_iter().collect();
    let mut here = HashMap::new();
    for chunk in different.chunks(500) {
        let list = placeholders(chunk.len(), 3);
        let sql = format!(
            "SELECT sha256, epoch FROM objects WHERE client = $1 AND kind = $2 AND sha256 IN ({list})"
        );
        let mut query = sqlx::query(AssertSqlSafe(sql)).bind(client.to_owned()).bind(kind.as_str());
        for hash in chunk {
            query = query.bind((*hash).to_owned());
        }
        for row in query.fetch_all(&mut *conn).await.map_err(&doing)? {
            here.insert(row.try_get(0).map_err(&doing)?, row.try_get(1).map_err(&doing)?);
        }
    }
    Ok(here)
}

/// Bytes of an image that is here; none if it is not.
pub(crate) async fn size(
    database: &Database,
    client: &str,
    hash: &ContentHash,
) -> Result<Option<u64>, StoreError> {
    let doing = db("looking for an object");
    let mut conn = database.read().await?;
    let row = sqlx::query("SELECT bytes FROM objects WHERE client = $1 AND kind = $2 AND sha256 = $3")
        .bind(client.to_owned())
        .bind(ObjectKind::Image.as_str())
        .bind(hash.to_string())
        .fetch_optional(&mut *conn)
        .await
        .map_err(&doing)?;
    let bytes: Option<i64> = row.map(|row| row.try_get(0)).transpose().map_err(&doing)?;
    Ok(bytes.map(|bytes| u64::try_from(bytes).unwrap_or(0)))
}

/// Whether a picture is of a study that this edge sent.
pub(crate) async fn shows_study_of(
    database: &Database,
    caller: &Caller,
    hash: &ContentHash,
) -> Result<bool, StoreError> {
    let mut conn = database.read().await?;
    let row = sqlx::query(
        "SELECT s.id FROM object_uses u JOIN studies s ON s.id = u.study_id
         WHERE u.client = $1 AND u.kind = $2 AND u.sha256 = $3 AND s.edge = $4 LIMIT 1",
    )
    .bind(caller.client.clone())
    .bind(ObjectKind::Capture.as_str())
    .bind(hash.to_string())
    .bind(caller.edge.clone())
    .fetch_optional(&mut *conn)
    .await
    .map_err(db("looking for a picture"))?;
    Ok(row.is_some())
}

/// `$n, $n+1, …`, so many.
pub(crate) fn placeholders(count: usize, first: usize) -> String {
    let mut list = String::new();
    for index in first..first + count {
        let _ = write!(list, "{}${index}", if index == first { "" } else { ", " });
    }
    list
}

/// Writes down that an object is here. Its bytes were made durable before.
///
/// # Errors
/// The database failed.
pub(crate) async fn record_object(
    tx: &mut Tx,
    client: &str,
    kind: ObjectKind,
    hash: &ContentHash,
    (bytes, epoch): (u64, i64),
    now: Millis,
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO objects (client, kind, sha256, bytes, put_at, epoch) VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (client, kind, sha256) DO NOTHING",
    )
    .bind(client.to_owned())
    .bind(kind.as_str())
    .bind(hash.as_str().to_owned())
    .bind(i64::try_from(bytes).unwrap_or(i64::MAX))
    .bind(now.0)
    .bind(epoch)
    .execute(&mut **tx)
    .await
    .map_err(db("writing down an object"))?;
    Ok(())
}

/// Writes down that a study needs objects. They are kept as long as any study does.
pub(crate) async fn use_objects(
    tx: &mut Tx,
    client: &str,
    kind: ObjectKind,
    hashes: &[ContentHash],
    study: i64,
) -> Result<(), StoreError> {
    let different: Vec<&str> =
        hashes.iter().map(ContentHash::as_str).collect::<HashSet<_>>().into_iter().collect();
    for chunk in different.chunks(500) {
        let rows: Vec<String> = (4..4 + chunk.len()).map(|n| format!("($1, $2, ${n}, $3)")).collect();
        let sql = format!(
            "INSERT INTO object_uses (client, kind, sha256, study_id) VALUES {} ON CONFLICT (client, kind, sha256, study_id) DO NOTHING",
            rows.join(", ")
        );
        let mut query =
            sqlx::query(AssertSqlSafe(sql)).bind(client.to_owned()).bind(kind.as_str()).bind(study);
        for hash in chunk {
            query = query.bind((*hash).to_owned());
        }
        query.execute(&mut **tx).await.map_err(db("writing down what a study needs"))?;
    }
    Ok(())
}
