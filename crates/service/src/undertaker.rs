//! Cases whose job is dead are dead too: a process that was killed cannot write that down itself. And what was given up is removed.

use std::sync::Arc;
use std::time::{Duration, Instant};

use overread_domain::{CaseEvent, CaseState, sentence};
use overread_store::{Database, StoreError, audit, jobs};
use tokio::sync::watch;

use crate::error::db;
use crate::read_job::READ;
use crate::service::{Service, Told};
use crate::{cases, clients, forget, intake, meter, outbox};

/// How often it looks.
const LOOK: Duration = Duration::from_secs(2);
/// How often it tidies.
const TIDY: Duration = Duration::from_secs(3600);
/// Dead jobs a page.
const PAGE: i64 = 200;

/// Buries and counts until the service stops.
pub(crate) async fn watch(service: Arc<Service>, mut stopped: watch::Receiver<bool>) {
    let mut tidied: Option<Instant> = None;
    while !*stopped.borrow() {
        if tidied.is_none_or(|at| at.elapsed() > TIDY) {
            tidied = Some(Instant::now());
            if let Err(e) = tidy(&service).await {
                tracing::warn!("what was given up could not be removed: {}", sentence(&e));
            }
        }
        if let Err(e) = round(&service).await {
            tracing::debug!("dead jobs were not looked through: {}", sentence(&e));
        }
        tokio::select! {
            () = tokio::time::sleep(LOOK) => {}
            _ = stopped.changed() => {}
        }
    }
}

/// Removes uploads that were given up, and objects that no study named.
async fn tidy(service: &Service) -> Result<(), StoreError> {
    let clients: Vec<String> =
        clients::list(&service.database).await?.into_iter().map(|c| c.client).collect();
    service.uploads.sweep(&clients).await?;
    for client in &clients {
        forget::release_unused(&service.database, client, service.clock.now()).await?;
    }
    service.common.wake.notify_waiters();
    Ok(())
}

/// One look at the queues.
pub(crate) async fn round(service: &Service) -> Result<(), StoreError> {
    let counts = jobs::counts(&service.database).await?;
    let of = |state: &str| counts.iter().find(|c| c.kind == READ && c.state == state).map_or(0, |c| c.count);
    let (released, safe) = outbox::progress(&service.database).await?;
    meter::queues(of("waiting"), of("running"), of("dead"), released - safe);
    if of("dead") == 0 {
        return Ok(());
    }
    let mut after = 0;
    loop {
        let page = jobs::list(&service.database, Some("dead"), after, PAGE).await?;
        let Some(last) = page.last() else { return Ok(()) };
        after = last.id;
        for job in page.iter().filter(|j| j.kind == READ) {
            if let Ok(study) = job.key.parse()
                && is_open(service, study).await?
            {
                bury(service, job.id, study, job.error.as_deref().unwrap_or("")).await?;
            }
        }
    }
}

/// Whether a case of the study still waits to be read.
async fn is_open(service: &Service, study: i64) -> Result<bool, StoreError> {
    let mut conn = service.database.read().await?;
    let found = sqlx::query("SELECT id FROM cases WHERE study_id = $1 AND state IN ('received', 'reading')")
        .bind(study)
        .fetch_optional(&mut *conn)
        .await
        .map_err(db("looking for open cases"))?;
    Ok(found.is_some())
}

/// Marks the cases of a study whose job is dead.
async fn bury(service: &Service, job: i64, study: i64, why: &str) -> Result<(), StoreError> {
    let now = service.clock.now();
    let mut tx = service.database.begin().await?;
    // With the lock no new version comes in between; one that came before made the job live again.
    if intake::lock(&mut tx, study).await?.is_none() {
        return Ok(());
    }
    let still = jobs::list(&service.database, Some("dead"), job - 1, 1).await?;
    if still.first().is_none_or(|j| j.id != job) {
        return Ok(());
    }
    let mut buried = false;
    for mut case in cases::of_study(&mut tx, study).await? {
        if matches!(case.state, CaseState::Received | CaseState::Reading) {
            cases::advance(&mut tx, &mut case, CaseEvent::Died, why, now).await?;
            buried = true;
        }
    }
    if !buried {
        return Ok(());
    }
    let subject = format!("study {study}");
    let detail = serde_json::json!({ "job": job });
    let event = audit::Event { at: now, actor: "service", action: "study.dead", subject: &subject, detail };
    audit::append(&mut tx, &event).await?;
    Database::commit(tx).await?;
    service.tell(Told::Dead { job, study });
    Ok(())
}
