//! Bytes that nobody needs any more go: written down in the transaction that gives them up, erased by a durable job.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use overread_domain::{ContentHash, Millis};
use overread_store::jobs::{self, Job, NewJob};
use overread_store::{Database, Handler, StoreError, Trouble, Tx};
use sqlx::{AssertSqlSafe, Row};

use crate::clients;
use crate::error::db;
use crate::objects::{ObjectKind, object_key};
use crate::service::Service;

/// The kind of the job that erases bytes. Its key is the client.
pub const ERASE: &str = "erase";
/// Objects that are erased before the next are looked for.
const BATCH: i64 = 200;
/// Milliseconds after which an object goes that no study ever named: its edge has given it up.
const UNUSED_MS: i64 = 30 * 24 * 3_600_000;

/// Lets bytes be erased that were put for something that is forgotten by now, unless they are those of an object that is here.
pub(crate) async fn unless_used(
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
    let waits = sqlx::query("SELECT sha256 FROM erasing WHERE client = $1 LIMIT 1")
        .bind(client.to_owned())
        .fetch_optional(&mut *tx)
        .await
        .map_err(db("looking for what is to be erased"))?;
    if waits.is_some() {
        enqueue(&mut tx, client, now).await?;
    }
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
