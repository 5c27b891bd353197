//! When a study is complete, and which program it is for.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use overread_domain::{Clock, Millis};
use overread_store::audit::{self, Event};
use overread_store::jobs::{self, Job, NewJob};
use overread_store::{Database, Handler, Trouble};
use serde::{Deserialize, Serialize};
use sqlx::Row;
use tokio::sync::Notify;

use crate::describe::Attributes;
use crate::error::EdgeError;
use crate::rules::{ImageFacts, Matcher};
use crate::vault::Vault;

/// What the `send` job carries.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Outgoing {
    /// The study's version.
    pub(crate) version: u32,
    /// The program that the rules chose.
    pub(crate) program: Option<String>,
    /// How soon.
    pub(crate) priority: overread_domain::Priority,
}

/// Does the `complete` jobs.
pub struct Assemble {
    /// The edge's database.
    pub database: Database,
    /// The time.
    pub clock: Clock,
    /// The rules.
    pub rules: Matcher,
    /// Quiet period in milliseconds.
    pub quiet_ms: i64,
    /// Opens what the rules look at.
    pub vault: Vault,
    /// Wakes the jobs.
    pub wake: Arc<Notify>,
}

impl Handler for Assemble {
    fn run<'a>(&'a self, job: &'a Job) -> Pin<Box<dyn Future<Output = Result<(), Trouble>> + Send + 'a>> {
        Box::pin(async move { Ok(self.complete(job).await?) })
    }
}

impl Assemble {
    async fn complete(&self, job: &Job) -> Result<(), EdgeError> {
        let doing = EdgeError::query;
        let now = self.clock.now();
        let mut tx = self.database.begin().await?;
        let study = sqlx::query("SELECT study_uid, last_at, version, state FROM studies WHERE id = $1")
            .bind(job.key.clone())
            .fetch_optional(&mut *tx)
            .await
            .map_err(doing("reading a study"))?;
        let Some(study) = study else {
            jobs::finish(&mut tx, job).await?;
            return Ok(Database::commit(tx).await?);
        };
        let column = doing("reading a study");
        let read = || -> Result<(String, i64, i64, String), sqlx::Error> {
            Ok((study.try_get(0)?, study.try_get(1)?, study.try_get(2)?, study.try_get(3)?))
        };
        let (study_uid, last_at, version, state) = read().map_err(column)?;
        let whole = job.payload["whole"].as_bool().unwrap_or(false);
        // A clock that was turned back makes a study look as if it came from the future: then it is complete.
        let quiet_at = last_at.saturating_add(self.quiet_ms);
        if !whole && now.0 < quiet_at && quiet_at - now.0 <= self.quiet_ms {
            let later = NewJob {
                kind: "complete",
                key: &job.key,
                payload: job.payload.clone(),
                priority: 1,
                run_at: Millis(quiet_at),
            };
            jobs::enqueue(&mut tx, &later, now).await?;
            jobs::finish(&mut tx, job).await?;
            return Ok(Database::commit(tx).await?);
        }
        if state == "receiving" {
            self.settle(&mut tx, &job.key, &study_uid, version).await?;
        }
        jobs::finish(&mut tx, job).await?;
        Database::commit(tx).await?;
        self.wake.notify_waiters();
        Ok(())
    }

    async fn settle(
        &self,
        tx: &mut overread_store::Tx,
        id: &str,
        study_uid: &str,
        version: i64,
    ) -> Result<(), EdgeError> {
        let now = self.clock.now();
        let images = facts(tx, &self.vault, study_uid).await?;
        let rule = self.rules.choose(&images);
        let (state, program, priority) = match rule {
            _ if images.is_empty() => ("no-images", None, overread_domain::Priority::Routine),
            Some(rule) => ("complete", Some(rule.name.clone()), rule.priority),
            None if self.rules.is_empty() => ("complete", None, overread_domain::Priority::Routine),
            None => ("no-program", None, overread_domain::Priority::Routine),
        };
        let version = if state == "complete" { version + 1 } else { version };
        sqlx::query("UPDATE studies SET state = $1, version = $2, program = $3, reason = NULL WHERE id = $4")
            .bind(state)
            .bind(version)
            .bind(program.clone())
            .bind(id.to_owned())
            .execute(&mut **tx)
            .await
            .map_err(EdgeError::query("settling a study"))?;
        let detail = serde_json::json!({ "state": state, "version": version, "program": program, "images": images.len() });
        if state == "complete" {
            let outgoing =
                Outgoing { version: u32::try_from(version).unwrap_or(u32::MAX), program, priority };
            let payload = serde_json::to_value(&outgoing).unwrap_or_default();
            let job = NewJob { kind: "send", key: id, payload, priority: priority.rank(), run_at: now };
            jobs::enqueue(tx, &job, now).await?;
        }
        audit::append(tx, &Event { at: now, actor: "edge", action: "study.settled", subject: id, detail })
            .await?;
        Ok(())
    }
}

/// The facts of a study's received images.
async fn facts(
    tx: &mut overread_store::Tx,
    vault: &Vault,
    study_uid: &str,
) -> Result<Vec<ImageFacts>, EdgeError> {
    let rows = sqlx::query(
        "SELECT sop_uid, attributes FROM instances WHERE study_uid = $1 AND origin = 'received' AND frames > 0",
    )
    .bind(study_uid.to_owned())
    .fetch_all(&mut **tx)
    .await
    .map_err(EdgeError::query("reading a study's images"))?;
    let mut facts = Vec::with_capacity(rows.len());
    for row in rows {
        let column =
            |n: usize| row.try_get::<String, _>(n).map_err(EdgeError::query("reading a study's images"));
        let text = match vault.open_text("instances.attributes", &column(0)?, column(1)?).await {
            // It is about to go.
            Err(EdgeError::Erased) => continue,
            other => other?,
        };
        if let Ok(attributes) = serde_json::from_str::<Attributes>(&text) {
            facts.push(attributes.facts);
        }
    }
    Ok(facts)
}
