//! Documents go to their destinations until they are acknowledged, the versions of a case in order.

pub(crate) mod stow;

use std::future::Future;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use overread_dimse::{AeTitle, DimseError, Peer, Sender, contexts_of};
use overread_domain::Clock;
use overread_store::jobs::{self, Job};
use overread_store::{Database, Handler, LocalObject, Trouble};
use tokio::sync::Notify;

use crate::config::{ClientTls, Config, Destination};
use crate::deliveries::{Case, Delivery, Waiting};
use crate::error::{EdgeError, sentence};
use crate::vault::SealedObjects;

/// Does the `deliver` jobs.
pub struct Deliver {
    /// The edge's database.
    pub database: Database,
    /// The edge's objects.
    pub objects: SealedObjects,
    /// The time.
    pub clock: Clock,
    /// Destinations.
    pub config: Arc<Config>,
    /// Wakes the jobs.
    pub wake: Arc<Notify>,
}

impl Handler for Deliver {
    fn run<'a>(&'a self, job: &'a Job) -> Pin<Box<dyn Future<Output = Result<(), Trouble>> + Send + 'a>> {
        Box::pin(self.deliver(job))
    }
}

impl Deliver {
    async fn deliver(&self, job: &Job) -> Result<(), Trouble> {
        let case = Case::of(job)?;
        let Some(destination) = self.config.destinations.get(&case.destination) else {
            let why = format!("there is no [edge.destination.{}] any more", case.destination);
            return Err(Trouble::Never { why });
        };
        let waiting = case.waiting(&self.database).await?;
        for (index, Waiting { delivery, attempted }) in waiting.iter().enumerate() {
            // A version that nobody has seen and that a later one replaces need not be sent at all.
            if !attempted && index + 1 < waiting.len() {
                let mut tx = self.database.begin().await?;
                delivery.turn(&mut tx, "waiting", "superseded").await?;
                delivery.record(&mut tx, &self.clock, "superseded", serde_json::json!({})).await?;
                Database::commit(tx).await?;
                continue;
            }
            delivery.note_attempt(&self.database, self.clock.now()).await?;
            let mut files = vec![];
            for document in delivery.documents(&self.database).await? {
                files.push(self.objects.local(&document.object).await?);
            }
            self.send(destination, files).await?;
            self.note_delivered(delivery, destination).await?;
            tracing::info!(
                result = delivery.result,
                destination = case.destination,
                "a result was delivered"
            );
        }
        let mut tx = self.database.begin().await?;
        jobs::finish(&mut tx, job).await?;
        Ok(Database::commit(tx).await?)
    }

    async fn note_delivered(&self, delivery: &Delivery, destination: &Destination) -> Result<(), Trouble> {
        let now = self.clock.now();
        let mut tx = self.database.begin().await?;
        sqlx::query("UPDATE deliveries SET state = 'delivered', delivered_at = $1 WHERE result = $2 AND destination = $3")
            .bind(now.0)
            .bind(delivery.result.clone())
            .bind(delivery.destination.clone())
            .execute(&mut *tx)
            .await
            .map_err(EdgeError::query("noting a delivery"))?;
        if matches!(destination, Destination::Dimse { storage_commitment: true, .. }) {
            delivery.ask_commitment(&mut tx, now, now).await?;
        }
        delivery.record(&mut tx, &self.clock, "delivered", serde_json::json!({})).await?;
        Database::commit(tx).await?;
        self.wake.notify_waiters();
        Ok(())
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

/// What a peer's failure means for a job.
pub(crate) fn dimse_trouble(error: &DimseError) -> Trouble {
    let why = sentence(error);
    if error.is_passing() { Trouble::Later { why } } else { Trouble::Failed { why } }
}

/// Sends files over one association. A repeat is the same objects: a peer that has them already says so.
fn store(peer: &Peer, files: &[LocalObject]) -> Result<(), Trouble> {
    let trouble = |e: DimseError| dimse_trouble(&e);
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
