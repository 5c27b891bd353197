//! Forgetting: a study up to a version is taken out of the database in one transaction, its bytes go by a durable job, and a tombstone keeps late messages out.

use std::collections::HashSet;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use overread_domain::{ContentHash, Millis, Uid};
use overread_store::jobs::{self, Job, NewJob};
use overread_store::{Database, Handler, StoreError, Trouble, Tx};
use overread_wire::{CaptureReference, StudyManifest};
use sqlx::{AssertSqlSafe, Row};

use crate::clients::{self, Caller, note};
use crate::error::{db, document};
use crate::intake::{ObjectKind, object_key, placeholders, use_objects};
use crate::read_job::READ;
use crate::service::Service;

/// The kind of the job that erases bytes. Its key is the client.
pub const ERASE: &str = "erase";
/// Objects that are erased before the next are looked for.
const BATCH: i64 = 200;
/// Milliseconds after which an object goes that no study ever named: its edge has given it up.
const UNUSED_MS: i64 = 30 * 24 * 3_600_000;

/// The version up to which a study was forgotten; 0 if it was not.
pub(crate) async fn forgotten(tx: &mut Tx, client: &str, study: &Uid) -> Result<i64, StoreError> {
    let doing = db("looking for what was forgotten");
    let row = sqlx::query("SELECT version FROM forgotten WHERE client = $1 AND study = $2")
        .bind(client.to_owned())
        .bind(study.to_string())
        .fetch_optional(&mut **tx)
        .await
        .map_err(&doing)?;
    row.map_or(Ok(0), |row| row.try_get(0).map_err(&doing))
}

/// Forgets a study of a client up to a version. Done already, it changes nothing.
pub(crate) async fn forget(
    database: &Database,
    caller: &Caller,
    study: &Uid,
    version: u32,
    now: Millis,
) -> Result<(), StoreError> {
    let (client, version) = (caller.client.as_str(), i64::from(version));
    let mut tx = database.begin().await?;
    clients::lock(&mut tx, client).await?;
    if forgotten(&mut tx, client, study).await? >= version {
        return Ok(());
    }
    let doing = db("forgetting a study");
    sqlx::query(
        "INSERT INTO forgotten (client, study, version, forgotten_at) VALUES ($1, $2, $3, $4)
         ON CONFLICT (client, study) DO UPDATE SET version = excluded.version, forgotten_at = excluded.forgotten_at",
    )
    .bind(client.to_owned())
    .bind(study.to_string())
    .bind(version)
    .bind(now.0)
    .execute(&mut *tx)
    .await
    .map_err(&doing)?;
    let row = sqlx::query("SELECT id, latest FROM studies WHERE client = $1 AND study = $2")
        .bind(client.to_owned())
        .bind(study.to_string())
        .fetch_optional(&mut *tx)
        .await
        .map_err(&doing)?;
    let mut subject = "a study that was not here".to_owned();
    if let Some(row) = row {
        let (id, latest): (i64, i64) = (row.try_get(0).map_err(&doing)?, row.try_get(1).map_err(&doing)?);
        subject = format!("study {id}");
        remove(&mut tx, client, (id, latest), version, now).await?;
    }
    let detail = serde_json::json!({ "version": version, "client": client, "edge": caller.edge });
    note(&mut tx, now, "link", "study.forgotten", &subject, detail).await?;
    Database::commit(tx).await
}

/// Takes versions of a study, and all of it where none is left, out of the tables.
async fn remove(
    tx: &mut Tx,
    client: &str,
    (study, latest): (i64, i64),
    version: i64,
    now: Millis,
) -> Result<(), StoreError> {
    sqlx::query("UPDATE clients SET epoch = epoch + 1 WHERE id = $1")
        .bind(client.to_owned())
        .execute(&mut **tx)
        .await
        .map_err(db("forgetting a study"))?;
    let of_study = "SELECT id FROM cases WHERE study_id = $1";
    let old = format!("SELECT id FROM readings WHERE case_id IN ({of_study}) AND study_version <= $2");
    let mut statements = vec![
        format!("DELETE FROM outbox WHERE reading_id IN ({old})"),
        format!("DELETE FROM readings WHERE case_id IN ({of_study}) AND study_version <= $2"),
        "DELETE FROM study_versions WHERE study_id = $1 AND version <= $2".to_owned(),
    ];
    if latest <= version {
        statements.push("DELETE FROM cases WHERE study_id = $1 AND $2 > 0".to_owned());
        statements.push("DELETE FROM studies WHERE id = $1 AND $2 > 0".to_owned());
    }
    for sql in statements {
        let query = sqlx::query(AssertSqlSafe(sql)).bind(study).bind(version);
        query.execute(&mut **tx).await.map_err(db("forgetting a study"))?;
    }
    release_objects(tx, client, study).await?;
    enqueue(tx, client, now).await?;
    // Whatever became of the job that reads it, it comes once more and finds that there is nothing to do.
    let key = study.to_string();
    let job = NewJob { kind: READ, key: &key, payload: serde_json::json!({}), priority: 2, run_at: now };
    jobs::enqueue(tx, &job, now).await
}

/// Gives up the objects that what is left of a study does not need, and lets those be erased that no other study of the client needs.
async fn release_objects(tx: &mut Tx, client: &str, study: i64) -> Result<(), StoreError> {
    let doing = db("releasing a study's objects");
    let rows = sqlx::query("SELECT kind, sha256 FROM object_uses WHERE study_id = $1")
        .bind(study)
        .fetch_all(&mut **tx)
        .await
        .map_err(&doing)?;
    let mut used: Vec<(String, String)> = Vec::with_capacity(rows.len());
    for row in rows {
        used.push((row.try_get(0).map_err(&doing)?, row.try_get(1).map_err(&doing)?));
    }
    let needed = needed(tx, study).await?;
    for kind in [ObjectKind::Image, ObjectKind::Capture] {
        let free = used.iter().filter(|(k, _)| k == kind.as_str()).map(|(_, hash)| hash.as_str());
        let free: Vec<&str> = free.filter(|hash| !needed.contains(*hash)).collect();
        for chunk in free.chunks(500) {
            release_chunk(tx, (client, kind), study, chunk).await?;
        }
    }
    Ok(())
}

/// The hashes that what is left of a study needs.
async fn needed(tx: &mut Tx, study: i64) -> Result<HashSet<String>, StoreError> {
    let doing = db("reading what is left of a study");
    let mut needed = HashSet::new();
    let rows = sqlx::query("SELECT manifest FROM study_versions WHERE study_id = $1")
        .bind(study)
        .fetch_all(&mut **tx)
        .await
        .map_err(&doing)?;
    for row in rows {
        let text: String = row.try_get(0).map_err(&doing)?;
        let manifest: StudyManifest = serde_json::from_str(&text).map_err(document("a manifest"))?;
        needed.extend(manifest.instances.into_iter().map(|i| i.sha256.to_string()));
    }
    for capture in captures(tx, study).await? {
        needed.insert(capture.to_string());
    }
    Ok(needed)
}

/// The pictures of a study's readings.
async fn captures(tx: &mut Tx, study: i64) -> Result<Vec<ContentHash>, StoreError> {
    let doing = db("reading a study's readings");
    let rows = sqlx::query(
        "SELECT r.captures FROM readings r JOIN cases c ON c.id = r.case_id WHERE c.study_id = $1",
    )
    .bind(study)
    .fetch_all(&mut **tx)
    .await
    .map_err(&doing)?;
    let mut hashes = Vec::new();
    for row in rows {
        let text: String = row.try_get(0).map_err(&doing)?;
        let captures: Vec<CaptureReference> = serde_json::from_str(&text).map_err(document("a reading"))?;
        hashes.extend(captures.into_iter().map(|c| c.sha256));
    }
    Ok(hashes)
}

async fn release_chunk(
    tx: &mut Tx,
    (client, kind): (&str, ObjectKind),
    study: i64,
    hashes: &[&str],
) -> Result<(), StoreError> {
    let list = placeholders(hashes.len(), 4);
    let unused = format!(
        "FROM objects WHERE client = $1 AND kind = $2 AND $3 > 0 AND sha256 IN ({list}) AND NOT EXISTS (
           SELECT 1 FROM object_uses u WHERE u.client = objects.client AND u.kind = objects.kind AND u.sha256 = objects.sha256)"
    );
    for sql in [
        format!(
            "DELETE FROM object_uses WHERE client = $1 AND kind = $2 AND study_id = $3 AND sha256 IN ({list})"
        ),
        format!(
            "INSERT INTO erasing (client, kind, sha256, epoch) SELECT client, kind, sha256, epoch {unused} ON CONFLICT (client, kind, sha256, epoch) DO NOTHING"
        ),
        format!("DELETE {unused}"),
    ] {
        let mut query =
            sqlx::query(AssertSqlSafe(sql)).bind(client.to_owned()).bind(kind.as_str()).bind(study);
        for hash in hashes {
            query = query.bind((*hash).to_owned());
        }
        query.execute(&mut **tx).await.map_err(db("releasing a study's objects"))?;
    }
    Ok(())
}

/// Lets bytes be erased that were put for something that is forgotten by now, unless they are those of an object that is here.
pub(crate) async fn erase_unless_used(
    tx: &mut Tx,
    (client, kind): (&str, ObjectKind),
    hash: &ContentHash,
    epoch: i64,
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO erasing (client, kind, sha256, epoch) SELECT $1, $2, $3, $4
         WHERE NOT EXISTS (SELECT 1 FROM objects WHERE client = $1 AND kind = $2 AND sha256 = $3 AND epoch = $4)
         ON CONFLICT (client, kind, sha256, epoch) DO NOTHING",
    )
    .bind(client.to_owned())
    .bind(kind.as_str())
    .bind(hash.to_string())
    .bind(epoch)
    .execute(&mut **tx)
    .await
    .map_err(db("asking for bytes to be erased"))?;
    Ok(())
}

/// Asks for the job that erases a client's bytes.
pub(crate) async fn enqueue(tx: &mut Tx, client: &str, now: Millis) -> Result<(), StoreError> {
    let job = NewJob { kind: ERASE, key: client, payload: serde_json::json!({}), priority: 2, run_at: now };
    jobs::enqueue(tx, &job, now).await
}

/// Lets objects of a client go that no study named for a month.
pub(crate) async fn release_unused(database: &Database, client: &str, now: Millis) -> Result<(), StoreError> {
    let unused = "FROM objects WHERE client = $1 AND kind = 'image' AND put_at < $2 AND NOT EXISTS (
           SELECT 1 FROM object_uses u WHERE u.client = objects.client AND u.kind = objects.kind AND u.sha256 = objects.sha256)";
    let mut tx = database.begin().await?;
    clients::lock(&mut tx, client).await?;
    for sql in [
        format!(
            "INSERT INTO erasing (client, kind, sha256, epoch) SELECT client, kind, sha256, epoch {unused} ON CONFLICT (client, kind, sha256, epoch) DO NOTHING"
        ),
        format!("DELETE {unused}"),
        "UPDATE clients SET epoch = epoch + 1 WHERE id = $1 AND $2 > 0 AND EXISTS (SELECT 1 FROM erasing WHERE client = $1)".to_owned(),
    ] {
        let query = sqlx::query(AssertSqlSafe(sql)).bind(client.to_owned()).bind(now.plus(-UNUSED_MS).0);
        query.execute(&mut *tx).await.map_err(db("releasing objects that nobody named"))?;
    }
    enqueue(&mut tx, client, now).await?;
    Database::commit(tx).await
}

/// Erases bytes.
pub(crate) struct Erase {
    pub(crate) service: Arc<Service>,
}

impl Handler for Erase {
    fn run<'a>(&'a self, job: &'a Job) -> Pin<Box<dyn Future<Output = Result<(), Trouble>> + Send + 'a>> {
        Box::pin(self.erase(job))
    }
}

impl Erase {
    async fn erase(&self, job: &Job) -> Result<(), Trouble> {
        while self.batch(&job.key).await? {}
        let mut tx = self.service.database.begin().await?;
        jobs::finish(&mut tx, job).await?;
        Ok(Database::commit(tx).await?)
    }

    /// Erases some, and writes that down; false if there was none left.
    async fn batch(&self, client: &str) -> Result<bool, StoreError> {
        let doing = db("looking for what is to be erased");
        let mut conn = self.service.database.read().await?;
        let rows = sqlx::query("SELECT kind, sha256, epoch FROM erasing WHERE client = $1 LIMIT $2")
            .bind(client.to_owned())
            .bind(BATCH)
            .fetch_all(&mut *conn)
            .await
            .map_err(&doing)?;
        drop(conn);
        let mut erased: Vec<(String, String, i64)> = Vec::with_capacity(rows.len());
        for row in rows {
            let one = || Ok((row.try_get(0)?, row.try_get(1)?, row.try_get(2)?));
            let (kind, hash, epoch): (String, String, i64) = one().map_err(&doing)?;
            if let Ok(parsed) = ContentHash::parse(&hash) {
                let what = if kind == "image" { ObjectKind::Image } else { ObjectKind::Capture };
                self.service.objects.delete(&object_key(client, what, &parsed, epoch)?).await?;
            }
            erased.push((kind, hash, epoch));
        }
        let mut tx = self.service.database.begin().await?;
        for (kind, hash, epoch) in &erased {
            sqlx::query("DELETE FROM erasing WHERE client = $1 AND kind = $2 AND sha256 = $3 AND epoch = $4")
                .bind(client.to_owned())
                .bind(kind.clone())
                .bind(hash.clone())
                .bind(*epoch)
                .execute(&mut *tx)
                .await
                .map_err(db("writing down what was erased"))?;
        }
        Database::commit(tx).await?;
        Ok(!erased.is_empty())
    }
}

/// Writes down what studies need that came before that was kept.
pub(crate) async fn index(database: &Database) -> Result<(), StoreError> {
    let doing = db("looking for what studies need");
    loop {
        let mut tx = database.begin().await?;
        let row = sqlx::query("SELECT id, client FROM studies WHERE indexed = 0 LIMIT 1")
            .fetch_optional(&mut *tx)
            .await
            .map_err(&doing)?;
        let Some(row) = row else { return Ok(()) };
        let (study, client): (i64, String) =
            (row.try_get(0).map_err(&doing)?, row.try_get(1).map_err(&doing)?);
        let manifests = sqlx::query("SELECT manifest FROM study_versions WHERE study_id = $1")
            .bind(study)
            .fetch_all(&mut *tx)
            .await
            .map_err(&doing)?;
        for row in manifests {
            let text: String = row.try_get(0).map_err(&doing)?;
            let manifest: StudyManifest = serde_json::from_str(&text).map_err(document("a manifest"))?;
            let hashes: Vec<_> = manifest.instances.into_iter().map(|i| i.sha256).collect();
            use_objects(&mut tx, &client, ObjectKind::Image, &hashes, study).await?;
        }
        let pictures = captures(&mut tx, study).await?;
        use_objects(&mut tx, &client, ObjectKind::Capture, &pictures, study).await?;
        sqlx::query("UPDATE studies SET indexed = 1 WHERE id = $1")
            .bind(study)
            .execute(&mut *tx)
            .await
            .map_err(&doing)?;
        Database::commit(tx).await?;
    }
}
