//! The service forgets a study of which something was erased; what is left of the study goes out anew afterwards.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use overread_domain::{Clock, Millis, Uid};
use overread_store::audit::{self, Event};
use overread_store::jobs::{self, Job, NewJob};
use overread_store::{Database, Handler, Trouble, Tx};
use overread_wire::{Link, LinkError};
use serde::{Deserialize, Serialize};
use sqlx::Row;
use tokio::sync::Notify;

use crate::error::EdgeError;
use crate::filing::link_trouble;

/// The kind of its jobs. Their keys are our ids of studies.
pub(crate) const FORGET: &str = "forget";

/// What the job carries.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Forgotten {
    /// The study's pseudonym.
    pub(super) pseudonym: String,
    /// Its last version.
    pub(super) version: i64,
    /// Whether images of another patient are left in it.
    pub(super) stays: bool,
}

impl Forgotten {
    /// Asks for the job. What was never sent the service does not know: then the rest of the study goes on at once.
    pub(super) async fn ask(&self, tx: &mut Tx, study: &str, now: Millis) -> Result<(), EdgeError> {
        if self.version > 0 {
            let payload = serde_json::to_value(self).unwrap_or_default();
            jobs::enqueue(tx, &NewJob { kind: FORGET, key: study, payload, priority: 0, run_at: now }, now)
                .await?;
        } else if self.stays {
            complete(tx, study, false, now).await?;
        }
        Ok(())
    }
}

async fn complete(tx: &mut Tx, study: &str, whole: bool, now: Millis) -> Result<(), EdgeError> {
    let payload = serde_json::json!({ "whole": whole });
    Ok(jobs::enqueue(tx, &NewJob { kind: "complete", key: study, payload, priority: 1, run_at: now }, now)
        .await?)
}

/// Does the `forget` jobs.
pub struct Forget<L> {
    /// The edge's database.
    pub database: Database,
    /// The time.
    pub clock: Clock,
    /// The link.
    pub link: L,
    /// Wakes the jobs.
    pub wake: Arc<Notify>,
}

impl<L: Link + 'static> Handler for Forget<L> {
    fn run<'a>(&'a self, job: &'a Job) -> Pin<Box<dyn Future<Output = Result<(), Trouble>> + Send + 'a>> {
        Box::pin(self.forget(job))
    }
}

impl<L: Link> Forget<L> {
    async fn forget(&self, job: &Job) -> Result<(), Trouble> {
        let never = |why: &str| Trouble::Never { why: why.to_owned() };
        let told: Forgotten = serde_json::from_value(job.payload.clone()).map_err(|_| {
            never("the job was written by another version of this software; go back to that version")
        })?;
        let study = Uid::parse(&told.pseudonym).map_err(|_| never("the job names no study"))?;
        let version = u32::try_from(told.version).unwrap_or(u32::MAX);
        match self.link.forget(&study, version).await {
            Ok(()) | Err(LinkError::Gone { .. }) => {}
            Err(e) => return Err(link_trouble(&e)),
        }
        let now = self.clock.now();
        let mut tx = self.database.begin().await?;
        let left = sqlx::query("SELECT COUNT(*) FROM studies WHERE id = $1 AND state = 'receiving'")
            .bind(job.key.clone())
            .fetch_one(&mut *tx)
            .await
            .and_then(|row| row.try_get::<i64, _>(0))
            .map_err(EdgeError::query("looking for what is left of a study"))?;
        if left > 0 {
            complete(&mut tx, &job.key, true, now).await?;
        }
        jobs::finish(&mut tx, job).await?;
        let detail = serde_json::json!({ "version": version });
        let event = Event { at: now, actor: "edge", action: "study.forgotten", subject: &job.key, detail };
        audit::append(&mut tx, &event).await?;
        Database::commit(tx).await?;
        self.wake.notify_waiters();
        Ok(())
    }
}
