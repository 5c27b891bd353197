//! Whether a peer keeps what it took: storage commitment (PS3.4 Annex J), a durable job beside each delivery by C-STORE.
//!
//! The transaction's UID is written before the peer is asked, so that its report finds the delivery whenever it comes: on the association that asked, or on
//! one that the peer opens, also after this process was killed in between. A peer that never reports is asked again under a new transaction.

use std::collections::{BTreeSet, HashSet};
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use overread_dimse::{CommitmentAnswer, CommitmentReport, DimseError, Rejection, request_commitment};
use overread_domain::{Clock, Uid};
use overread_store::jobs::{self, Job};
use overread_store::{Database, Handler, Trouble};
use sqlx::Row;
use tokio::sync::Notify;

use crate::config::{Config, Destination};
use crate::deliver::{dimse_trouble, peer_of};
use crate::deliveries::{Case, Delivery};
use crate::error::EdgeError;

/// How long the association that asks stays open for the report.
const WAIT: Duration = Duration::from_secs(5);
/// Milliseconds after which a peer that took a request and did not report is asked again: archives commit to objects once they have written them
/// elsewhere, which may be hours later.
const ASK_AGAIN: i64 = 6 * 3_600_000;
/// Requests without a report after which a person must look.
const REQUESTS: i64 = 4;
/// How often objects that the peer does not keep are sent again before a person must look.
const RESENT: i64 = 3;

/// Takes reports, from whichever association they come.
#[derive(Clone)]
pub struct Reports {
    /// The edge's database.
    pub database: Database,
    /// The time.
    pub clock: Clock,
    /// Wakes the jobs.
    pub wake: Arc<Notify>,
    /// Destinations that reported on an association of their own: they need not be waited for on the one that asks.
    pub callers: Arc<Mutex<HashSet<String>>>,
}

/// Does the `commit` jobs.
pub struct Commit {
    /// Where reports on the association that asked go.
    pub reports: Reports,
    /// Destinations.
    pub config: Arc<Config>,
}

/// What is known of a delivery.
struct Standing {
    state: String,
    requests: i64,
    resent: i64,
}

impl Handler for Commit {
    fn run<'a>(&'a self, job: &'a Job) -> Pin<Box<dyn Future<Output = Result<(), Trouble>> + Send + 'a>> {
        Box::pin(self.commit(job))
    }
}

impl Reports {
    /// Notes what a peer says of a transaction on an association that it opened.
    ///
    /// # Errors
    /// The database failed.
    pub async fn called(&self, report: &CommitmentReport) -> Result<(), EdgeError> {
        if let Some(delivery) = self.delivery(&report.transaction).await? {
            self.callers.lock().unwrap_or_else(PoisonError::into_inner).insert(delivery.destination);
        }
        self.take(report).await
    }

    /// Notes what a peer says of a transaction. On return it is durable; a transaction that is not ours, or not the last of its delivery, changes nothing.
    ///
    /// # Errors
    /// The database failed.
    pub async fn take(&self, report: &CommitmentReport) -> Result<(), EdgeError> {
        let Some(delivery) = self.delivery(&report.transaction).await? else {
            tracing::warn!("a peer reported on a storage commitment that was not asked for, or not any more");
            return Ok(());
        };
        let kept: HashSet<&Uid> = report.committed.iter().map(|(_, instance)| instance).collect();
        let documents = delivery.documents(&self.database).await?;
        let missing = documents.iter().filter(|d| !kept.contains(&d.sop_instance)).count();
        let became = if missing == 0 { "committed" } else { "uncommitted" };
        let now = self.clock.now();
        let mut tx = self.database.begin().await?;
        let turned = sqlx::query("UPDATE deliveries SET state = $1, committed_at = $2 WHERE commitment = $3 AND state = 'delivered'")
            .bind(became)
            .bind((missing == 0).then_some(now.0))
            .bind(report.transaction.to_string())
            .execute(&mut *tx)
            .await
            .map_err(EdgeError::query("noting a report on storage commitment"))?;
        if turned.rows_affected() == 0 {
            return Ok(());
        }
        // It looks at what became of it: nothing more to do, or to be sent again.
        delivery.ask_commitment(&mut tx, now, now).await?;
        let reasons: BTreeSet<String> = report.failed.iter().map(|f| format!("{:04X}", f.reason)).collect();
        let (destination, documents) = (&delivery.destination, documents.len());
        if missing == 0 {
            tracing::info!(result = delivery.result, destination, documents, "storage was committed to");
        } else {
            tracing::warn!(
                result = delivery.result,
                destination,
                documents,
                missing,
                ?reasons,
                "storage was not committed to"
            );
        }
        let detail = serde_json::json!({ "documents": documents, "missing": missing, "reasons": reasons });
        delivery.record(&mut tx, &self.clock, became, detail).await?;
        Database::commit(tx).await?;
        self.wake.notify_waiters();
        Ok(())
    }

    /// The delivery that a transaction is about.
    async fn delivery(&self, transaction: &Uid) -> Result<Option<Delivery>, EdgeError> {
        let query = || EdgeError::query("looking for a storage commitment");
        let mut conn = self.database.read().await?;
        let row = sqlx::query("SELECT result, destination FROM deliveries WHERE commitment = $1")
            .bind(transaction.to_string())
            .fetch_optional(&mut *conn)
            .await
            .map_err(query())?;
        let Some(row) = row else { return Ok(None) };
        let delivery = || -> Result<Delivery, sqlx::Error> {
            Ok(Delivery { result: row.try_get(0)?, destination: row.try_get(1)? })
        };
        delivery().map(Some).map_err(query())
    }
}

impl Commit {
    async fn commit(&self, job: &Job) -> Result<(), Trouble> {
        let delivery = Delivery::of(job)?;
        match self.standing(&delivery).await? {
            Some(standing) if standing.state == "delivered" => self.ask(job, &delivery, &standing).await,
            Some(standing) if standing.state == "uncommitted" => {
                self.send_again(job, &delivery, &standing).await
            }
            _ => self.finish(job).await,
        }
    }

    async fn standing(&self, delivery: &Delivery) -> Result<Option<Standing>, EdgeError> {
        let query = || EdgeError::query("reading a delivery");
        let mut conn = self.reports.database.read().await?;
        let row = sqlx::query(
            "SELECT state, requests, resent FROM deliveries WHERE result = $1 AND destination = $2",
        )
        .bind(delivery.result.clone())
        .bind(delivery.destination.clone())
        .fetch_optional(&mut *conn)
        .await
        .map_err(query())?;
        let Some(row) = row else { return Ok(None) };
        let standing = || -> Result<Standing, sqlx::Error> {
            Ok(Standing { state: row.try_get(0)?, requests: row.try_get(1)?, resent: row.try_get(2)? })
        };
        standing().map(Some).map_err(query())
    }

    async fn finish(&self, job: &Job) -> Result<(), Trouble> {
        let mut tx = self.reports.database.begin().await?;
        jobs::finish(&mut tx, job).await?;
        Ok(Database::commit(tx).await?)
    }

    async fn ask(&self, job: &Job, delivery: &Delivery, standing: &Standing) -> Result<(), Trouble> {
        let name = &delivery.destination;
        let Some(destination) = self.config.destinations.get(name) else {
            return Err(Trouble::Never { why: format!("there is no [edge.destination.{name}] any more") });
        };
        if !matches!(destination, Destination::Dimse { storage_commitment: true, .. }) {
            return self.finish(job).await;
        }
        if standing.requests >= REQUESTS {
            // Counted from the start again if a person requeues the job.
            self.note(delivery, "requests = 0", None).await?;
            let why = format!("{name} took {REQUESTS} requests for storage commitment and reported on none");
            return Err(Trouble::Never { why });
        }
        let peer = peer_of(destination, &self.config.dimse.ae_title)?;
        let documents = delivery.documents(&self.reports.database).await?;
        let objects: Vec<_> = documents.into_iter().map(|d| (d.sop_class, d.sop_instance)).collect();
        let transaction = Uid::from_hash(rand::random());
        self.note(delivery, "commitment = $3", Some(&transaction)).await?;
        let asked = transaction.clone();
        let calls = self.reports.callers.lock().unwrap_or_else(PoisonError::into_inner).contains(name);
        let wait = if calls { Duration::ZERO } else { WAIT };
        let answer =
            tokio::task::spawn_blocking(move || request_commitment(&peer, &asked, &objects, wait)).await;
        match answer.map_err(|_| Trouble::Failed { why: "the requestor panicked".into() })? {
            Ok(CommitmentAnswer::ReportedNow(report)) => {
                self.reports.take(&report).await?;
                self.finish(job).await
            }
            Ok(CommitmentAnswer::Requested) => self.wait_for_report(job, delivery, &transaction).await,
            Err(e) if is_not_offered(&e) => self.not_offered(job, delivery).await,
            Err(e) => Err(dimse_trouble(&e)),
        }
    }

    async fn note(
        &self,
        delivery: &Delivery,
        what: &str,
        transaction: Option<&Uid>,
    ) -> Result<(), EdgeError> {
        let sql = format!(
            "UPDATE deliveries SET {what} WHERE result = $1 AND destination = $2 AND state = 'delivered'"
        );
        let mut query = sqlx::query(sqlx::AssertSqlSafe(sql))
            .bind(delivery.result.clone())
            .bind(delivery.destination.clone());
        if let Some(transaction) = transaction {
            query = query.bind(transaction.to_string());
        }
        let mut tx = self.reports.database.begin().await?;
        query.execute(&mut *tx).await.map_err(EdgeError::query("noting a storage commitment request"))?;
        Ok(Database::commit(tx).await?)
    }

    /// The peer took the request: unless its report is here already, it is asked again after a while.
    async fn wait_for_report(
        &self,
        job: &Job,
        delivery: &Delivery,
        transaction: &Uid,
    ) -> Result<(), Trouble> {
        let now = self.reports.clock.now();
        let mut tx = self.reports.database.begin().await?;
        let waits = sqlx::query(
            "UPDATE deliveries SET requests = requests + 1 WHERE commitment = $1 AND state = 'delivered'",
        )
        .bind(transaction.to_string())
        .execute(&mut *tx)
        .await
        .map_err(EdgeError::query("noting a storage commitment request"))?;
        if waits.rows_affected() == 1 {
            delivery.ask_commitment(&mut tx, now.plus(ASK_AGAIN), now).await?;
        }
        jobs::finish(&mut tx, job).await?;
        Ok(Database::commit(tx).await?)
    }

    async fn not_offered(&self, job: &Job, delivery: &Delivery) -> Result<(), Trouble> {
        let mut tx = self.reports.database.begin().await?;
        let turned = delivery.turn(&mut tx, "delivered", "not-offered").await?;
        jobs::finish(&mut tx, job).await?;
        if turned {
            tracing::info!(
                result = delivery.result,
                destination = delivery.destination,
                "the destination does not offer storage commitment; it is not asked again for this result"
            );
            delivery.record(&mut tx, &self.reports.clock, "not-offered", serde_json::json!({})).await?;
        }
        Ok(Database::commit(tx).await?)
    }

    /// The peer said that it does not keep all of it: it gets it once more, unless a later version has replaced it there.
    async fn send_again(&self, job: &Job, delivery: &Delivery, standing: &Standing) -> Result<(), Trouble> {
        let (now, database) = (self.reports.clock.now(), &self.reports.database);
        let (case, replaced) = self.case(delivery).await?;
        let mut tx = database.begin().await?;
        if !replaced && standing.resent >= RESENT {
            sqlx::query("UPDATE deliveries SET resent = 0 WHERE result = $1 AND destination = $2")
                .bind(delivery.result.clone())
                .bind(delivery.destination.clone())
                .execute(&mut *tx)
                .await
                .map_err(EdgeError::query("noting a delivery"))?;
            Database::commit(tx).await?;
            let why = format!(
                "{} was sent the documents {} times and does not keep all of them; the audit log has its reasons (result.uncommitted)",
                delivery.destination,
                RESENT + 1
            );
            return Err(Trouble::Never { why });
        }
        if replaced {
            delivery.turn(&mut tx, "uncommitted", "withdrawn").await?;
        } else {
            sqlx::query("UPDATE deliveries SET state = 'waiting', resent = resent + 1, requests = 0 WHERE result = $1 AND destination = $2 AND state = 'uncommitted'")
                .bind(delivery.result.clone())
                .bind(delivery.destination.clone())
                .execute(&mut *tx)
                .await
                .map_err(EdgeError::query("noting a delivery"))?;
            case.ask(&mut tx, now).await?;
        }
        jobs::finish(&mut tx, job).await?;
        Database::commit(tx).await?;
        self.reports.wake.notify_waiters();
        Ok(())
    }

    /// The case of a delivery, and whether a later version of it was sent there.
    async fn case(&self, delivery: &Delivery) -> Result<(Case, bool), EdgeError> {
        let query = || EdgeError::query("reading a delivery's case");
        let mut conn = self.reports.database.read().await?;
        let row = sqlx::query(
            "SELECT s.id, r.study_uid, r.program, (SELECT COUNT(*) FROM results l JOIN deliveries d ON d.result = l.id AND d.destination = $2
               WHERE l.study_uid = r.study_uid AND l.program = r.program AND l.case_version > r.case_version AND d.attempted_at IS NOT NULL)
             FROM results r JOIN studies s ON s.study_uid = r.study_uid WHERE r.id = $1",
        )
        .bind(delivery.result.clone())
        .bind(delivery.destination.clone())
        .fetch_one(&mut *conn)
        .await
        .map_err(query())?;
        let read = || -> Result<(Case, bool), sqlx::Error> {
            let case = Case {
                study: row.try_get(0)?,
                study_uid: row.try_get(1)?,
                program: row.try_get(2)?,
                destination: delivery.destination.clone(),
            };
            Ok((case, row.try_get::<i64, _>(3)? > 0))
        };
        read().map_err(query())
    }
}

/// Whether a peer that takes our objects says that it does not know the service: it accepts no presentation context, rejects for good an association that
/// proposes nothing else, or does not know class or operation.
fn is_not_offered(error: &DimseError) -> bool {
    match error {
        DimseError::NoContext { .. } => true,
        DimseError::Rejected { rejection, .. } => {
            matches!(rejection, Rejection::Other { result: 1, source: 1, reason: 1 })
        }
        DimseError::Status { status, .. } => matches!(status, 0x0122 | 0x0211),
        _ => false,
    }
}
