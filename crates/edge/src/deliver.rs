//! Documents go to their destinations until they are acknowledged, the versions of a case in order.

pub(crate) mod stow;

use std::future::Future;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use overread_dimse::{AeTitle, DimseError, Peer, Sender, contexts_of};
use overread_domain::Clock;
use overread_store::audit::{self, Event};
use overread_store::jobs::{self, Job};
use overread_store::{Database, Handler, LocalObject, ObjectKey, Objects, Trouble};
use sqlx::Row;

use crate::config::{ClientTls, Config, Destination};
use crate::error::{EdgeError, sentence};

/// Does the `deliver` jobs.
pub struct Deliver {
    /// The edge's database.
    pub database: Database,
    /// The edge's objects.
    pub objects: Objects,
    /// The time.
    pub clock: Clock,
    /// Destinations.
    pub config: Arc<Config>,
}

impl Handler for Deliver {
    fn run<'a>(&'a self, job: &'a Job) -> Pin<Box<dyn Future<Output = Result<(), Trouble>> + Send + 'a>> {
        Box::pin(self.deliver(job))
    }
}

impl Deliver {
    async fn deliver(&self, job: &Job) -> Result<(), Trouble> {
        let text = |key: &str| job.payload[key].as_str().unwrap_or("").to_owned();
        let (study, program, name) = (text("study_uid"), text("program"), text("destination"));
        let Some(destination) = self.config.destinations.get(&name) else {
            return Err(Trouble::Never { why: format!("there is no [edge.destination.{name}] any more") });
        };
        let waiting = self.waiting(&study, &program, &name).await?;
        for (index, result) in waiting.iter().enumerate() {
            // A version that nobody has seen and that a later one replaces need not be sent at all.
            if !result.attempted && index + 1 < waiting.len() {
                self.note(&result.id, &name, "superseded").await?;
                continue;
            }
            self.note_attempt(&result.id, &name).await?;
            let files = self.files(&result.id).await?;
            self.send(destination, files).await?;
            self.note(&result.id, &name, "delivered").await?;
            tracing::info!(result = result.id, destination = name, "a result was delivered");
        }
        let mut tx = self.database.begin().await?;
        jobs::finish(&mut tx, job).await?;
        Ok(Database::commit(tx).await?)
    }

    /// Results of a case that the destination does not have yet, in the order of their versions.
    async fn waiting(
        &self,
        study: &str,
        program: &str,
        destination: &str,
    ) -> Result<Vec<WaitingResult>, Trouble> {
        let query = || EdgeError::query("looking for what to deliver");
        let mut conn = self.database.read().await?;
        let rows = sqlx::query(
            "SELECT r.id, d.attempted_at FROM deliveries d JOIN results r ON r.id = d.result
             WHERE r.study_uid = $1 AND r.program = $2 AND d.destination = $3 AND d.state = 'waiting' ORDER BY r.case_version",
        )
        .bind(study.to_owned())
        .bind(program.to_owned())
        .bind(destination.to_owned())
        .fetch_all(&mut *conn)
        .await
        .map_err(query())?;
        let mut waiting = Vec::with_capacity(rows.len());
        for row in rows {
            let attempted: Option<i64> = row.try_get(1).map_err(query())?;
            waiting
                .push(WaitingResult { id: row.try_get(0).map_err(query())?, attempted: attempted.is_some() });
        }
        Ok(waiting)
    }

    async fn files(&self, result: &str) -> Result<Vec<LocalObject>, Trouble> {
        let query = || EdgeError::query("looking for a result's documents");
        let mut conn = self.database.read().await?;
        let rows = sqlx::query("SELECT i.object FROM result_objects o JOIN instances i ON i.sop_uid = o.sop_uid WHERE o.result = $1 ORDER BY o.position")
            .bind(result.to_owned())
            .fetch_all(&mut *conn)
            .await
            .map_err(query())?;
        drop(conn);
        let mut files = Vec::with_capacity(rows.len());
        for row in rows {
            let key: String = row.try_get(0).map_err(query())?;
            files.push(self.objects.local(&ObjectKey::parse(&key)?).await?);
        }
        Ok(files)
    }

    async fn send(&self, destination: &Destination, files: Vec<LocalObject>) -> Result<(), Trouble> {
        match destination {
            Destination::Dimse { .. } => {
                let peer = peer_of(destination, &self.config.dimse.ae_title)?;
                let sent = tokio::task::spawn_blocking(move || store(&peer, &files)).await;
                sent.map_err(|_| Trouble::Failed { why: "the sender panicked".into() })?
            }
            Destination::Stow { .. } => {
                let paths: Vec<&Path> = files.iter().map(LocalObject::path).collect();
                stow::send(destination, &paths).await
            }
        }
    }

    async fn note_attempt(&self, result: &str, destination: &str) -> Result<(), Trouble> {
        let mut tx = self.database.begin().await?;
        sqlx::query("UPDATE deliveries SET attempted_at = COALESCE(attempted_at, $1) WHERE result = $2 AND destination = $3")
            .bind(self.clock.now().0)
            .bind(result.to_owned())
            .bind(destination.to_owned())
            .execute(&mut *tx)
            .await
            .map_err(EdgeError::query("noting an attempt"))?;
        Ok(Database::commit(tx).await?)
    }

    async fn note(&self, result: &str, destination: &str, state: &str) -> Result<(), Trouble> {
        let now = self.clock.now();
        let mut tx = self.database.begin().await?;
        sqlx::query(
            "UPDATE deliveries SET state = $1, delivered_at = $2 WHERE result = $3 AND destination = $4",
        )
        .bind(state.to_owned())
        .bind(now.0)
        .bind(result.to_owned())
        .bind(destination.to_owned())
        .execute(&mut *tx)
        .await
        .map_err(EdgeError::query("noting a delivery"))?;
        let action = format!("result.{state}");
        let detail = serde_json::json!({ "destination": destination });
        audit::append(&mut tx, &Event { at: now, actor: "edge", action: &action, subject: result, detail })
            .await?;
        Ok(Database::commit(tx).await?)
    }
}

struct WaitingResult {
    id: String,
    attempted: bool,
}

/// The peer of a C-STORE destination.
pub(crate) fn peer_of(destination: &Destination, our_ae_title: &str) -> Result<Peer, Trouble> {
    let Destination::Dimse { host, port, ae_title, our_ae_title: other, tls, .. } = destination else {
        return Err(Trouble::Never { why: "this destination is not reached by C-STORE".into() });
    };
    let never = |e: &dyn std::error::Error| Trouble::Never { why: sentence(e) };
    Ok(Peer {
        ae_title: AeTitle::parse(ae_title).map_err(|e| never(&e))?,
        our_ae_title: AeTitle::parse(other.as_deref().unwrap_or(our_ae_title)).map_err(|e| never(&e))?,
        host: host.clone(),
        port: *port,
        tls: tls.as_ref().map(client_tls).transpose()?,
        connect: Duration::from_secs(10),
        answer: Duration::from_secs(60),
    })
}

fn client_tls(tls: &ClientTls) -> Result<Arc<rustls::ClientConfig>, Trouble> {
    let read = |path: &Path| {
        std::fs::read(path).map_err(|e| Trouble::Failed { why: format!("reading {}: {e}", path.display()) })
    };
    let authority = read(&tls.authority)?;
    let identity = match (&tls.certificate, &tls.key) {
        (Some(certificate), Some(key)) => Some((read(certificate)?, read(key)?)),
        _ => None,
    };
    let identity = identity.as_ref().map(|(certificate, key)| (certificate.as_slice(), key.as_slice()));
    overread_dimse::tls_client(&authority, identity).map_err(|e| Trouble::Failed { why: sentence(&e) })
}

/// Sends files over one association. A repeat is the same objects: a peer that has them already says so.
fn store(peer: &Peer, files: &[LocalObject]) -> Result<(), Trouble> {
    let trouble = |e: DimseError| {
        let why = sentence(&e);
        if e.is_passing() { Trouble::Later { why } } else { Trouble::Failed { why } }
    };
    let paths: Vec<&Path> = files.iter().map(LocalObject::path).collect();
    let contexts = contexts_of(&paths).map_err(trouble)?;
    let mut sender = Sender::connect(peer, &contexts).map_err(trouble)?;
    for path in paths {
        let status = sender.store(path).map_err(trouble)?;
        let accepted = status == 0 || status >> 12 == 0xB;
        if !accepted {
            let why = format!("{} refused a document with status {status:04X}", peer.ae_title.as_str());
            // Out of resources and processing failure pass; a refusal of the object itself is for a person.
            return Err(if status >> 8 == 0xA7 || status == 0x0110 {
                Trouble::Later { why }
            } else {
                Trouble::Failed { why }
            });
        }
    }
    sender.release().map_err(trouble)
}
