//! Results come home: taken in order, stored, and only then told to be safe.

use std::sync::Arc;
use std::time::Duration;

use overread_domain::Clock;
use overread_store::audit::{self, Event};
use overread_store::jobs::{self, NewJob};
use overread_store::{Database, Tx};
use overread_wire::{Cursor, Link, ResultMessage};
use sqlx::Row;
use tokio::sync::{Notify, watch};

use crate::departures;
use crate::error::{EdgeError, sentence};
use crate::vault::Vault;
use crate::vault::erasure::{enter, last_version};
use crate::vault::older::patient_of_study;

/// Takes results from the service until it is stopped.
pub struct Inbox<L> {
    /// The edge's database.
    pub database: Database,
    /// The time.
    pub clock: Clock,
    /// The link.
    pub link: L,
    /// Seals results.
    pub vault: Vault,
    /// Wakes the jobs.
    pub wake: Arc<Notify>,
}

impl<L: Link> Inbox<L> {
    /// Polls until `stopped` turns true. An outage is told once, and waited for.
    pub async fn run(self, mut stopped: watch::Receiver<bool>) {
        let mut away = false;
        while !*stopped.borrow() {
            let turn = tokio::select! {
                turn = self.turn() => turn,
                _ = stopped.changed() => return,
            };
            match turn {
                Ok(()) if away => {
                    tracing::info!("results come in again");
                    away = false;
                }
                Ok(()) => {}
                Err(why) => {
                    if !away {
                        tracing::warn!("results cannot be taken: {why}; tried again every few seconds");
                    }
                    away = true;
                    tokio::select! {
                        () = tokio::time::sleep(Duration::from_secs(2)) => {}
                        _ = stopped.changed() => return,
                    }
                }
            }
        }
    }

    async fn turn(&self) -> Result<(), String> {
        let after = self.cursor().await.map_err(|e| sentence(&e))?;
        let page = self.link.results(after, 20).await.map_err(|e| sentence(&e))?;
        if page.next == after && page.results.is_empty() {
            return Ok(());
        }
        self.take(&page.results, page.next).await.map_err(|e| sentence(&e))?;
        self.wake.notify_waiters();
        Ok(())
    }

    async fn cursor(&self) -> Result<Cursor, EdgeError> {
        let doing = EdgeError::query;
        let mut conn = self.database.read().await?;
        let row = sqlx::query("SELECT position FROM cursors WHERE name = 'results'")
            .fetch_optional(&mut *conn)
            .await
            .map_err(doing("reading the cursor"))?;
        row.map_or(Ok(Cursor(0)), |r| r.try_get(0).map(Cursor).map_err(doing("reading the cursor")))
    }

    /// Stores a page and moves the cursor, both or neither. A message that came before changes nothing.
    pub(crate) async fn take(&self, results: &[ResultMessage], next: Cursor) -> Result<(), EdgeError> {
        let mut tx = self.database.begin().await?;
        for message in results {
            self.take_one(&mut tx, message).await?;
        }
        sqlx::query("INSERT INTO cursors (name, position) VALUES ('results', $1) ON CONFLICT (name) DO UPDATE SET position = excluded.position")
            .bind(next.0)
            .execute(&mut *tx)
            .await
            .map_err(EdgeError::query("moving the cursor"))?;
        Ok(Database::commit(tx).await?)
    }

    async fn take_one(&self, tx: &mut Tx, message: &ResultMessage) -> Result<(), EdgeError> {
        let doing = EdgeError::query;
        let now = self.clock.now();
        let study = sqlx::query("SELECT id, study_uid FROM studies WHERE pseudonym = $1")
            .bind(message.study.to_string())
            .fetch_optional(&mut **tx)
            .await
            .map_err(doing("finding a result's study"))?;
        let column = || doing("reading a study");
        let study: Option<(String, String)> = match study {
            Some(row) => Some((row.try_get(0).map_err(column())?, row.try_get(1).map_err(column())?)),
            None => None,
        };
        let erased = last_version(tx, message.study.as_str()).await? >= i64::from(message.study_version);
        // A result that cannot be matched goes to no patient: it is put down for a person.
        let reason = match (&study, message.check()) {
            _ if erased => Some("what it read was erased meanwhile".to_owned()),
            (None, _) => Some("no study of ours has this pseudonym".to_owned()),
            (_, Err(e)) => Some(e.to_string()),
            (Some((id, uid)), Ok(())) => departures::contradiction(tx, id, uid, message).await?,
        };
        let (Some((study_id, study_uid)), None) = (study, reason.as_ref()) else {
            let detail = serde_json::json!({ "pseudonym": message.study, "reason": reason });
            tracing::error!("a result was not taken: {}", reason.unwrap_or_default());
            audit::append(
                tx,
                &Event {
                    at: now,
                    actor: "edge",
                    action: "result.refused",
                    subject: &message.program,
                    detail,
                },
            )
            .await?;
            return Ok(());
        };
        let id = format!("{:032x}", rand::random::<u128>());
        let patient = match patient_of_study(tx, &self.vault, &study_uid).await {
            Ok(patient) if enter(tx, patient.id).await? => patient,
            Ok(_) | Err(EdgeError::Erased) => {
                tracing::info!("a result came for a patient who is being erased; it is not taken");
                return Ok(());
            }
            Err(e) => return Err(e),
        };
        let text = serde_json::to_string(message).unwrap_or_default();
        let sealed = patient.seal_text("results.message", &id, &text)?;
        let new = sqlx::query(
            "INSERT INTO results (id, study_uid, program, case_version, message, state, received_at) VALUES ($1, $2, $3, $4, $5, 'received', $6)
             ON CONFLICT (study_uid, program, case_version) DO NOTHING",
        )
        .bind(id.clone())
        .bind(study_uid)
        .bind(message.program.clone())
        .bind(i64::from(message.case_version))
        .bind(sealed)
        .bind(now.0)
        .execute(&mut **tx)
        .await
        .map_err(doing("storing a result"))?;
        if new.rows_affected() == 0 {
            return Ok(());
        }
        let payload = serde_json::json!({ "study": study_id });
        jobs::enqueue(tx, &NewJob { kind: "file", key: &id, payload, priority: 1, run_at: now }, now).await?;
        let detail = serde_json::json!({ "study": study_id, "program": message.program, "case_version": message.case_version, "edition": message.algorithm.edition, "manifest": message.manifest, "result": message.digest() });
        audit::append(tx, &Event { at: now, actor: "edge", action: "result.received", subject: &id, detail })
            .await?;
        Ok(())
    }
}
