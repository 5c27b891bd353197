//! What comes over the link: objects and versions of studies. An answer means that they are durable.

use std::collections::HashSet;
use std::fmt::Write as _;

use overread_domain::{ContentHash, Millis};
use overread_store::jobs::{self, NewJob};
use overread_store::{Database, ObjectKey, StoreError, Tx, audit};
use overread_wire::StudyManifest;
use sqlx::{AssertSqlSafe, Row};

use crate::cases;
use crate::error::{db, document};
use crate::read_job::READ;

/// The one client that there is for now. Every row has one.
pub const CLIENT: &str = "default";

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
    /// The database failed.
    #[error("the study could not be taken")]
    Store(#[from] StoreError),
}

/// Where an object lies.
pub(crate) fn object_key(
    client: &str,
    kind: ObjectKind,
    hash: &ContentHash,
) -> Result<ObjectKey, StoreError> {
    let folder = hash.as_str().get(..2).unwrap_or("00");
    ObjectKey::parse(&format!("{client}/{}/{folder}/{hash}", kind.as_str()))
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
    let doing = db("looking for objects");
    let mut seen = HashSet::new();
    let wanted: Vec<&ContentHash> = hashes.iter().filter(|h| seen.insert(h.as_str())).collect();
    let mut here: HashSet<String> = HashSet::new();
    let mut conn = database.read().await?;
    for chunk in wanted.chunks(500) {
        let mut list = String::new();
        for index in 0..chunk.len() {
            let _ = write!(list, "{}${}", if index == 0 { "" } else { ", " }, index + 3);
        }
        let sql =
            format!("SELECT sha256 FROM objects WHERE client = $1 AND kind = $2 AND sha256 IN ({list})");
        let mut query = sqlx::query(AssertSqlSafe(sql)).bind(client.to_owned()).bind(kind.as_str());
        for hash in chunk {
            query = query.bind(hash.as_str().to_owned());
        }
        for row in query.fetch_all(&mut *conn).await.map_err(&doing)? {
            here.insert(row.try_get(0).map_err(&doing)?);
        }
    }
    Ok(wanted.into_iter().filter(|h| !here.contains(h.as_str())).cloned().collect())
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
    bytes: u64,
    now: Millis,
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO objects (client, kind, sha256, bytes, put_at) VALUES ($1, $2, $3, $4, $5) ON CONFLICT (client, kind, sha256) DO NOTHING",
    )
    .bind(client.to_owned())
    .bind(kind.as_str())
    .bind(hash.as_str().to_owned())
    .bind(i64::try_from(bytes).unwrap_or(i64::MAX))
    .bind(now.0)
    .execute(&mut **tx)
    .await
    .map_err(db("writing down an object"))?;
    Ok(())
}

/// Takes a version of a study: row, case, job and audit entry in one transaction.
///
/// # Errors
/// [`IntakeError`]; nothing was written then.
pub async fn put_study(
    database: &Database,
    client: &str,
    manifest: &StudyManifest,
    now: Millis,
) -> Result<Taken, IntakeError> {
    let hashes: Vec<ContentHash> = manifest.instances.iter().map(|i| i.sha256.clone()).collect();
    let count = missing(database, client, ObjectKind::Image, &hashes).await?.len();
    if count > 0 {
        return Err(IntakeError::Missing { count, of: hashes.len() });
    }
    let mut tx = database.begin().await?;
    let (study, latest) = study_row(&mut tx, client, manifest).await?;
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
        detail: serde_json::json!({ "version": manifest.version, "images": manifest.instances.len(), "manifest": manifest.digest() }),
    };
    audit::append(&mut tx, &event).await?;
    Database::commit(tx).await?;
    Ok(Taken::New)
}

/// Locks a study's row until the commit: versions of it and verdicts on it come one after another.
pub(crate) async fn lock(tx: &mut Tx, study: i64) -> Result<(), StoreError> {
    sqlx::query("UPDATE studies SET latest = latest WHERE id = $1")
        .bind(study)
        .execute(&mut **tx)
        .await
        .map_err(db("locking a study"))?;
    Ok(())
}

/// The study's number and newest version (0 if it is new), its row locked until the commit.
async fn study_row(tx: &mut Tx, client: &str, manifest: &StudyManifest) -> Result<(i64, i64), StoreError> {
    let doing = db("looking for a study");
    let id = cases::next(tx, "study").await?;
    // Two requests for a new study at once: one inserts, both then lock what was inserted.
    sqlx::query(
        "INSERT INTO studies (id, client, study, latest) VALUES ($1, $2, $3, 0) ON CONFLICT (client, study) DO NOTHING",
    )
    .bind(id)
    .bind(client.to_owned())
    .bind(manifest.study.as_str().to_owned())
    .execute(&mut **tx)
    .await
    .map_err(&doing)?;
    let row = sqlx::query(
        "UPDATE studies SET latest = latest WHERE client = $1 AND study = $2 RETURNING id, latest",
    )
    .bind(client.to_owned())
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
