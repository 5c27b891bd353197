//! What an edge without a vault left: plain rows and objects are sealed one after the other, while the edge works.
//!
//! A plain object is sealed under a new key, then its row names that one and the plain object is put down for removal, in one transaction. Killed anywhere, it goes
//! on at the next start.

use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;

use overread_dicom::read::Limits;
use overread_domain::Millis;
use overread_store::jobs::{self, Job, NewJob};
use overread_store::{Database, Handler, LocalObject, ObjectKey, StoreError, Trouble, Tx};
use sqlx::Row;
use sqlx::any::AnyRow;

use super::{Patient, SealedObjects, Who, erasure};
use crate::describe::{Attributes, describe};
use crate::error::EdgeError;

/// The kind and key of its one job.
pub(crate) const SEAL: &str = "seal";
const KEY: &str = "older";
/// Rows between two looks whether somebody else wants the database.
const BATCH: i64 = 32;

const LEFT: &str = "SELECT 1 AS found FROM instances WHERE patient IS NULL UNION ALL SELECT 1 FROM conflicts WHERE patient IS NULL
  UNION ALL SELECT 1 FROM results WHERE message NOT LIKE 'sealed.%'";

/// Does the `seal` job.
pub struct Older {
    /// The edge's database.
    pub database: Database,
    /// The edge's objects.
    pub objects: SealedObjects,
    /// What a file may cost.
    pub limits: Limits,
}

fn query(e: sqlx::Error) -> EdgeError {
    EdgeError::query("sealing what an older version left")(e)
}

/// Whether anything is plain.
pub(super) async fn is_left(database: &Database) -> Result<bool, EdgeError> {
    let mut conn = database.read().await?;
    let row = sqlx::query(sqlx::AssertSqlSafe(format!("{LEFT} LIMIT 1"))).fetch_optional(&mut *conn).await;
    Ok(row.map_err(query)?.is_some())
}

/// Asks for the job if there is anything to seal or to remove.
pub(crate) async fn ask(database: &Database, now: Millis) -> Result<(), EdgeError> {
    let mut conn = database.read().await?;
    let row = sqlx::query(sqlx::AssertSqlSafe(format!("{LEFT} UNION ALL SELECT 1 FROM removals LIMIT 1")))
        .fetch_optional(&mut *conn)
        .await
        .map_err(query)?;
    drop(conn);
    if row.is_none() {
        return Ok(());
    }
    let job = NewJob { kind: SEAL, key: KEY, payload: serde_json::json!({}), priority: 9, run_at: now };
    let mut tx = database.begin().await?;
    jobs::enqueue(&mut tx, &job, now).await?;
    Ok(Database::commit(tx).await?)
}

impl Handler for Older {
    fn run<'a>(&'a self, job: &'a Job) -> Pin<Box<dyn Future<Output = Result<(), Trouble>> + Send + 'a>> {
        Box::pin(async move { Ok(self.work(job).await?) })
    }
}

/// The row of a plain object.
struct Plain {
    /// SOP Instance UID, or the object's key of a conflict.
    row: String,
    study: String,
    object: String,
    attributes: String,
}

impl Older {
    async fn work(&self, job: &Job) -> Result<(), EdgeError> {
        let mut sealed = 0;
        loop {
            let done = self.instances().await? + self.conflicts().await? + self.results().await?;
            erasure::remove_objects(&self.database, &self.objects).await?;
            if done == 0 {
                break;
            }
            sealed += done;
        }
        if sealed > 0 {
            // An older version's deleted rows lie in unused parts of the file.
            self.database.rewrite().await?;
        }
        let mut tx = self.database.begin().await?;
        jobs::finish(&mut tx, job).await?;
        Database::commit(tx).await?;
        tracing::info!("nothing of an older version is left unsealed");
        Ok(())
    }

    async fn some(&self, sql: &'static str) -> Result<Vec<AnyRow>, EdgeError> {
        let mut conn = self.database.read().await?;
        sqlx::query(sql).bind(BATCH).fetch_all(&mut *conn).await.map_err(query)
    }

    async fn instances(&self) -> Result<usize, EdgeError> {
        let rows = self
            .some("SELECT sop_uid, study_uid, object, attributes FROM instances WHERE patient IS NULL ORDER BY sop_uid LIMIT $1")
            .await?;
        for row in &rows {
            let text = |n: usize| row.try_get::<String, _>(n).map_err(query);
            let plain = Plain { row: text(0)?, study: text(1)?, object: text(2)?, attributes: text(3)? };
            let dicom =
                serde_json::from_str::<Attributes>(&plain.attributes).map(|a| a.dicom).unwrap_or_default();
            let patient = self.objects.vault().patient(&Who::of_json(&dicom, &plain.study)).await?;
            let attributes = patient.seal_text("instances.attributes", &plain.row, &plain.attributes)?;
            let object = self.seal_object(&plain.object, &patient).await?;
            let mut tx = self.database.begin().await?;
            if !erasure::enter(&mut tx, patient.id).await? {
                self.objects.vault().let_go(patient.id);
                continue;
            }
            let changed = sqlx::query("UPDATE instances SET patient = $1, attributes = $2, object = $3 WHERE sop_uid = $4 AND patient IS NULL")
                .bind(patient.id.to_string())
                .bind(attributes)
                .bind(object.to_string())
                .bind(plain.row)
                .execute(&mut *tx)
                .await
                .map_err(query)?;
            self.replaced(tx, changed.rows_affected(), plain.object, &object).await?;
        }
        Ok(rows.len())
    }

    async fn conflicts(&self) -> Result<usize, EdgeError> {
        let rows = self
            .some("SELECT object, sop_uid FROM conflicts WHERE patient IS NULL ORDER BY object LIMIT $1")
            .await?;
        for row in &rows {
            let plain: String = row.try_get(0).map_err(query)?;
            let sop: String = row.try_get(1).map_err(query)?;
            let patient = self.patient_of_object(&plain, &sop).await?;
            let object = self.seal_object(&plain, &patient).await?;
            let mut tx = self.database.begin().await?;
            if !erasure::enter(&mut tx, patient.id).await? {
                self.objects.vault().let_go(patient.id);
                continue;
            }
            let changed = sqlx::query(
                "UPDATE conflicts SET patient = $1, object = $2 WHERE object = $3 AND patient IS NULL",
            )
            .bind(patient.id.to_string())
            .bind(object.to_string())
            .bind(plain.clone())
            .execute(&mut *tx)
            .await
            .map_err(query)?;
            self.replaced(tx, changed.rows_affected(), plain, &object).await?;
        }
        Ok(rows.len())
    }

    /// Commits that an object has another key now, and puts the plain one down for removal.
    async fn replaced(
        &self,
        mut tx: Tx,
        changed: u64,
        plain: String,
        sealed: &ObjectKey,
    ) -> Result<(), EdgeError> {
        if changed == 1 && plain != sealed.as_str() {
            sqlx::query("INSERT INTO removals (object) VALUES ($1) ON CONFLICT (object) DO NOTHING")
                .bind(plain)
                .execute(&mut *tx)
                .await
                .map_err(query)?;
        }
        Ok(Database::commit(tx).await?)
    }

    async fn results(&self) -> Result<usize, EdgeError> {
        let rows = self
            .some("SELECT id, study_uid, message FROM results WHERE message NOT LIKE 'sealed.%' ORDER BY id LIMIT $1")
            .await?;
        for row in &rows {
            let text = |n: usize| row.try_get::<String, _>(n).map_err(query);
            let (id, study, message) = (text(0)?, text(1)?, text(2)?);
            let mut tx = self.database.begin().await?;
            let patient = patient_of_study(&mut tx, self.objects.vault(), &study).await?;
            sqlx::query("UPDATE results SET message = $1 WHERE id = $2")
                .bind(patient.seal_text("results.message", &id, &message)?)
                .bind(id)
                .execute(&mut *tx)
                .await
                .map_err(query)?;
            Database::commit(tx).await?;
        }
        Ok(rows.len())
    }

    async fn local(&self, key: &str) -> Result<Option<LocalObject>, EdgeError> {
        match self.objects.local(&ObjectKey::parse(key)?).await {
            Ok(local) => Ok(Some(local)),
            Err(EdgeError::Store { source: StoreError::NoObject { .. }, .. }) => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// Seals a plain object under a new key; that key. One that is not there keeps its own.
    async fn seal_object(&self, plain: &str, patient: &Patient) -> Result<ObjectKey, EdgeError> {
        let Some(local) = self.local(plain).await? else { return Ok(ObjectKey::parse(plain)?) };
        let folder = plain.rsplit_once('/').map_or("in", |(folder, _)| folder);
        let key = SealedObjects::key(folder, &format!("{:032x}", rand::random::<u128>()))?;
        self.objects.put_file(&key, patient, local.path().to_owned()).await?;
        Ok(key)
    }

    async fn patient_of_object(&self, object: &str, sop: &str) -> Result<Patient, EdgeError> {
        // Whose nobody can tell has a patient of its own.
        let mut who = Who::new("", "", sop);
        if let Some(local) = self.local(object).await? {
            let (file, limits): (PathBuf, Limits) = (local.path().to_owned(), self.limits.clone());
            let described = tokio::task::spawn_blocking(move || describe(&file, "older", &limits)).await;
            if let Ok(Ok(described)) = described {
                who = described.who;
            }
        }
        self.objects.vault().patient(&who).await
    }
}

/// The patient under whose key a study's results are sealed: that of its first image.
pub(crate) async fn patient_of_study(
    tx: &mut Tx,
    vault: &super::Vault,
    study_uid: &str,
) -> Result<Patient, EdgeError> {
    let row = sqlx::query(
        "SELECT patient FROM instances WHERE study_uid = $1 AND origin = 'received' AND patient IS NOT NULL ORDER BY received_at, sop_uid LIMIT 1",
    )
    .bind(study_uid.to_owned())
    .fetch_optional(&mut **tx)
    .await
    .map_err(query)?;
    let id: Option<String> = row.map(|row| row.try_get(0)).transpose().map_err(query)?;
    match id.as_deref().and_then(overread_deid::vault::KeyId::parse) {
        Some(id) => vault.known(id).await,
        None => vault.patient(&Who::new("", "", study_uid)).await,
    }
}
