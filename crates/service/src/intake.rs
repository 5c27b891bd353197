//! What comes over the link: objects and versions of studies. An answer means that they are durable.

use std::collections::{HashMap, HashSet};
use std::fmt::Write as _;

use overread_domain::{ContentHash, Millis};
use overread_store::jobs::{self, NewJob};
use overread_store::{Database, ObjectKey, StoreError, Tx, audit};
use overread_wire::StudyManifest;
use sqlx::{AssertSqlSafe, Row};

use crate::cases;
use crate::clients::{self, Caller};
use crate::error::{db, document};
use crate::forget;
use crate::read_job::READ;

/// What an object is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ObjectKind {
    /// An image, sent by an edge; never given back.
    Image,
    /// A picture of a reading; an edge may fetch it.
    Capture,
}

impl ObjectKind {
    /// The word in database and keys.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Image => "image",
            Self::Capture => "capture",
        }
    }
}

/// What became of a version of a study.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// It is new, and will be read.
    New,
    /// It is known with the same manifest: nothing was done.
    Known,
}

/// Why a version of a study was not taken.
#[derive(Debug, thiserror::Error)]
pub enum IntakeError {
    /// Objects were not put before.
    #[error(
        "{count} of the study's {of} objects are not here; put them first (POST /link/v1/missing tells which)"
    )]
    Missing {
        /// How many.
        count: usize,
        /// Of how many.
        of: usize,
    },
    /// The version is known with another content.
    #[error(
        "version {version} of this study is known with another manifest; send what changed as the next version"
    )]
    Different {
        /// The version.
        version: u32,
    },
    /// A newer version is known and this one is not.
    #[error(
        "version {version} of this study is not known, and a newer one is ({latest}); send the next version"
    )]
    Older {
        /// The version.
        version: u32,
        /// The newest that is known.
        latest: i64,
    },
    /// The edge had it forgotten.
    #[error("version {version} of this study was forgotten, as its edge asked")]
    Forgotten {
        /// The version.
        version: u32,
    },
    /// The database failed.
    #[error("the study could not be taken")]
    Store(#[from] StoreError),
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
pub async fn missing(
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
async fn epochs(
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

/// Takes a version of a study: row, case, job and audit entry in one transaction.
///
/// # Errors
/// [`IntakeError`]; nothing was written then.
pub(crate) async fn put_study(
    database: &Database,
    caller: &Caller,
    manifest: &StudyManifest,
    now: Millis,
) -> Result<Taken, IntakeError> {
    let client = caller.client.as_str();
    let hashes: Vec<ContentHash> = manifest.instances.iter().map(|i| i.sha256.clone()).collect();
    let mut tx = database.begin().await?;
    clients::lock(&mut tx, client).await?;
    if forget::forgotten(&mut tx, client, &manifest.study).await? >= i64::from(manifest.version) {
        return Err(IntakeError::Forgotten { version: manifest.version });
    }
    // Looked for under the lock: what is here now is not forgotten before it is used.
    let here = epochs(&mut tx, client, ObjectKind::Image, &hashes).await?;
    let count = hashes.iter().filter(|h| !here.contains_key(h.as_str())).count();
    if count > 0 {
        return Err(IntakeError::Missing { count, of: hashes.len() });
    }
    let (study, latest) = study_row(&mut tx, caller, manifest).await?;
    if let Some(known) = manifest_of(&mut tx, study, i64::from(manifest.version)).await? {
        let same = known == *manifest;
        return if same {
            Ok(Taken::Known)
        } else {
            Err(IntakeError::Different { version: manifest.version })
        };
    }
    if i64::from(manifest.version) < latest {
        return Err(IntakeError::Older { version: manifest.version, latest });
    }
    insert_version(&mut tx, study, manifest, now).await?;
    own(&mut tx, study, caller).await?;
    use_objects(&mut tx, client, ObjectKind::Image, &hashes, study).await?;
    cases::reopen(&mut tx, client, study, manifest, now).await?;
    let job = NewJob {
        kind: READ,
        key: &study.to_string(),
        payload: serde_json::json!({}),
        priority: manifest.priority.rank(),
        run_at: now,
    };
    jobs::enqueue(&mut tx, &job, now).await?;
    let event = audit::Event {
        at: now,
        actor: "link",
        action: "study.received",
        subject: &format!("study {study}"),
        detail: serde_json::json!({ "version": manifest.version, "images": manifest.instances.len(), "edge": caller.edge, "manifest": manifest.digest() }),
    };
    audit::append(&mut tx, &event).await?;
    Database::commit(tx).await?;
    Ok(Taken::New)
}

/// Locks a study's row until the commit: versions of it and verdicts on it come one after another. Answers the edge that sent it last; none if the study
/// was forgotten.
pub(crate) async fn lock(tx: &mut Tx, study: i64) -> Result<Option<String>, StoreError> {
    let doing = db("locking a study");
    let row = sqlx::query("UPDATE studies SET latest = latest WHERE id = $1 RETURNING edge")
        .bind(study)
        .fetch_optional(&mut **tx)
        .await
        .map_err(&doing)?;
    row.map(|row| row.try_get(0)).transpose().map_err(&doing)
}

/// From now on the study's results go to the edge that sent this version.
async fn own(tx: &mut Tx, study: i64, caller: &Caller) -> Result<(), StoreError> {
    sqlx::query("UPDATE studies SET edge = $1 WHERE id = $2")
        .bind(caller.edge.clone())
        .bind(study)
        .execute(&mut **tx)
        .await
        .map_err(db("writing down a study's edge"))?;
    Ok(())
}

/// The study's number and newest version (0 if it is new), its row locked until the commit.
async fn study_row(tx: &mut Tx, caller: &Caller, manifest: &StudyManifest) -> Result<(i64, i64), StoreError> {
    let doing = db("looking for a study");
    let id = cases::next(tx, "study").await?;
    // Two requests for a new study at once: one inserts, both then lock what was inserted.
    sqlx::query(
        "INSERT INTO studies (id, client, study, latest, edge, indexed) VALUES ($1, $2, $3, 0, $4, 1) ON CONFLICT (client, study) DO NOTHING",
    )
    .bind(id)
    .bind(caller.client.clone())
    .bind(manifest.study.as_str().to_owned())
    .bind(caller.edge.clone())
    .execute(&mut **tx)
    .await
    .map_err(&doing)?;
    let row = sqlx::query(
        "UPDATE studies SET latest = latest WHERE client = $1 AND study = $2 RETURNING id, latest",
    )
    .bind(caller.client.clone())
    .bind(manifest.study.as_str().to_owned())
    .fetch_one(&mut **tx)
    .await
    .map_err(&doing)?;
    Ok((row.try_get(0).map_err(&doing)?, row.try_get(1).map_err(&doing)?))
}

async fn insert_version(
    tx: &mut Tx,
    study: i64,
    manifest: &StudyManifest,
    now: Millis,
) -> Result<(), StoreError> {
    let doing = db("writing down a study");
    let text = serde_json::to_string(manifest).map_err(document("a manifest"))?;
    sqlx::query(
        "INSERT INTO study_versions (study_id, version, manifest, received_at) VALUES ($1, $2, $3, $4)",
    )
    .bind(study)
    .bind(i64::from(manifest.version))
    .bind(text)
    .bind(now.0)
    .execute(&mut **tx)
    .await
    .map_err(&doing)?;
    sqlx::query("UPDATE studies SET latest = $1 WHERE id = $2")
        .bind(i64::from(manifest.version))
        .bind(study)
        .execute(&mut **tx)
        .await
        .map_err(&doing)?;
    Ok(())
}

/// The manifest of a study's version; none if there is none.
pub(crate) async fn manifest_of(
    tx: &mut Tx,
    study: i64,
    version: i64,
) -> Result<Option<StudyManifest>, StoreError> {
    let doing = db("reading a manifest");
    let row = sqlx::query("SELECT manifest FROM study_versions WHERE study_id = $1 AND version = $2")
        .bind(study)
        .bind(version)
        .fetch_optional(&mut **tx)
        .await
        .map_err(&doing)?;
    let Some(row) = row else { return Ok(None) };
    let text: String = row.try_get(0).map_err(&doing)?;
    serde_json::from_str(&text).map(Some).map_err(document("a manifest"))
}

/// The newest version of a study; none if there is no such study.
pub(crate) async fn newest(
    database: &Database,
    study: i64,
) -> Result<Option<(String, StudyManifest)>, StoreError> {
    let doing = db("reading a study");
    let mut conn = database.read().await?;
    let row = sqlx::query(
        "SELECT s.client, v.manifest FROM studies s JOIN study_versions v ON v.study_id = s.id AND v.version = s.latest WHERE s.id = $1",
    )
    .bind(study)
    .fetch_optional(&mut *conn)
    .await
    .map_err(&doing)?;
    let Some(row) = row else { return Ok(None) };
    let client: String = row.try_get(0).map_err(&doing)?;
    let text: String = row.try_get(1).map_err(&doing)?;
    Ok(Some((client, serde_json::from_str(&text).map_err(document("a manifest"))?)))
}
