//! Runs jobs: claims them, calls their handlers, puts back what failed.

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use overread_domain::{Clock, Millis};
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;

use crate::jobs::{self, Job, Outcome};
use crate::{Database, StoreError};

/// Shortest and longest wait before another try, in milliseconds.
const BACKOFF: (i64, i64) = (1_000, 300_000);

/// Why an attempt did not succeed. The texts hold no identity: people read them in lists.
#[derive(Clone, Debug)]
pub enum Trouble {
    /// Somebody is away: tried again for ever, and not counted.
    Later {
        /// Who, and what they said.
        why: String,
    },
    /// Not tried, because its turn has not come: comes back after so long, is not counted and not told.
    NotNow {
        /// How long.
        wait: Duration,
    },
    /// The job failed: a dead letter after too many attempts.
    Failed {
        /// How.
        why: String,
    },
    /// No attempt can succeed: a dead letter at once.
    Never {
        /// Why.
        why: String,
    },
}

impl Trouble {
    /// The trouble that a store's error means.
    pub fn of_store(error: &StoreError) -> Self {
        let why = sentence(error);
        if error.is_passing() { Self::Later { why } } else { Self::Failed { why } }
    }
}

impl From<StoreError> for Trouble {
    fn from(error: StoreError) -> Self {
        Self::of_store(&error)
    }
}

fn sentence(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

/// Does jobs of a kind. It finishes a job itself, by [`jobs::finish`] in the transaction of its effects.
pub trait Handler: Send + Sync + 'static {
    /// One attempt.
    fn run<'a>(&'a self, job: &'a Job) -> Pin<Box<dyn Future<Output = Result<(), Trouble>> + Send + 'a>>;
}

/// How a runner works.
#[derive(Clone, Debug)]
pub struct RunnerConfig {
    /// Name of this process among those on the same database: its own running jobs are crashes when it starts.
    pub owner: String,
    /// Failed attempts, crashes included, after which a job is dead.
    pub max_attempts: i64,
    /// How long a job is another's after its process was last heard of.
    pub lease: Duration,
    /// How often other processes' requests are looked for.
    pub poll: Duration,
}

impl RunnerConfig {
    /// The usual: three attempts, a lease of a minute, a look every second.
    pub fn new(owner: &str) -> Self {
        Self {
            owner: owner.into(),
            max_attempts: 3,
            lease: Duration::from_secs(60),
            poll: Duration::from_secs(1),
        }
    }
}

/// A runner that is not started yet.
pub struct Runner {
    database: Database,
    clock: Clock,
    config: RunnerConfig,
    kinds: HashMap<String, (usize, Arc<dyn Handler>)>,
    wake: Arc<Notify>,
}

/// A started runner.
pub struct RunnerHandle {
    stop: watch::Sender<bool>,
    tasks: JoinSet<()>,
}

impl Runner {
    /// A runner without handlers. `wake` is notified by whoever asks for jobs in this process.
    pub fn new(database: Database, clock: Clock, config: RunnerConfig, wake: Arc<Notify>) -> Self {
        Self { database, clock, config, kinds: HashMap::new(), wake }
    }

    /// A handler, and how many of its jobs run at once.
    #[must_use]
    pub fn handle(mut self, kind: &str, at_once: usize, handler: Arc<dyn Handler>) -> Self {
        self.kinds.insert(kind.to_owned(), (at_once, handler));
        self
    }

    /// Recovers what the last run of this process left, and starts.
    ///
    /// # Errors
    /// The database failed.
    pub async fn start(self) -> Result<RunnerHandle, StoreError> {
        let now = self.clock.now();
        let times = (millis(self.config.lease), BACKOFF.1);
        let crashed =
            jobs::recover(&self.database, Some(&self.config.owner), self.config.max_attempts, times, now)
                .await?;
        if crashed > 0 {
            tracing::warn!(jobs = crashed, "jobs were running when this process last ended");
        }
        let (stop, stopped) = watch::channel(false);
        let mut tasks = JoinSet::new();
        tasks.spawn(watch_leases(
            self.database.clone(),
            self.clock.clone(),
            self.config.clone(),
            stopped.clone(),
        ));
        for (kind, (at_once, handler)) in self.kinds {
            for _ in 0..at_once {
                let worker = Worker {
                    database: self.database.clone(),
                    clock: self.clock.clone(),
                    config: self.config.clone(),
                    kinds: vec![kind.clone()],
                    handler: Arc::clone(&handler),
                    wake: Arc::clone(&self.wake),
                };
                tasks.spawn(worker.work(stopped.clone()));
            }
        }
        Ok(RunnerHandle { stop, tasks })
    }
}

impl RunnerHandle {
    /// Takes no more jobs and waits for those that run, so long.
    pub async fn stop(mut self, grace: Duration) {
        let _ = self.stop.send(true);
        let all = async { while self.tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(grace, all).await.is_err() {
            tracing::warn!("jobs that were still running are left to the next start");
            self.tasks.abort_all();
        }
    }
}

struct Worker {
    database: Database,
    clock: Clock,
    config: RunnerConfig,
    kinds: Vec<String>,
    handler: Arc<dyn Handler>,
    wake: Arc<Notify>,
}

impl Worker {
    async fn work(self, mut stopped: watch::Receiver<bool>) {
        let mut told = None;
        while !*stopped.borrow() {
            // Listened for before looking, so that a request in between is not slept through.
            let woken = self.wake.notified();
            let token = format!("{:032x}", rand::random::<u128>());
            let lease = millis(self.config.lease);
            match jobs::claim(
                &self.database,
                &self.kinds,
                &self.config.owner,
                &token,
                lease,
                self.clock.now(),
            )
            .await
            {
                Ok(Some(job)) => self.attempt(&job).await,
                Ok(None) => {
                    let wait = self.until_due().await;
                    tokio::select! {
                        () = woken => {}
                        () = tokio::time::sleep(wait) => {}
                        _ = stopped.changed() => {}
                    }
                }
                Err(e) => {
                    complain(&mut told, &e);
                    tokio::select! {
                        () = tokio::time::sleep(Duration::from_secs(1)) => {}
                        _ = stopped.changed() => {}
                    }
                }
            }
        }
    }

    /// Until the next job is due, at most the time between two looks.
    async fn until_due(&self) -> Duration {
        let due = jobs::next_due(&self.database).await.ok().flatten();
        let wait = due.map_or(self.config.poll, |at| {
            Duration::from_millis(u64::try_from(at.0 - self.clock.now().0).unwrap_or(0))
        });
        // A job of another kind may be due all along: no busy waiting for it.
        wait.clamp(Duration::from_millis(20), self.config.poll)
    }

    async fn attempt(&self, job: &Job) {
        let (handler, its) = (Arc::clone(&self.handler), job.clone());
        // A task of its own: a handler that panics ends itself alone.
        let ran = tokio::spawn(async move { handler.run(&its).await }).await;
        let trouble = match ran {
            Ok(Ok(())) => return,
            Ok(Err(trouble)) => trouble,
            Err(e) if e.is_cancelled() => return,
            Err(_) => Trouble::Failed { why: "the handler panicked".into() },
        };
        let now = self.clock.now();
        let (outcome, why) = match trouble {
            Trouble::NotNow { wait } => {
                let outcome = Outcome::Again { at: now.plus(millis(wait)), counts: false };
                return self.put_back(job, &outcome, "it waits for its turn", now).await;
            }
            Trouble::Later { why } => {
                (Outcome::Again { at: now.plus(backoff(job.delays)), counts: false }, why)
            }
            Trouble::Failed { why } if job.attempts < self.config.max_attempts => {
                (Outcome::Again { at: now.plus(backoff(job.attempts - 1)), counts: true }, why)
            }
            Trouble::Failed { why } | Trouble::Never { why } => (Outcome::Dead, why),
        };
        match outcome {
            Outcome::Dead => tracing::error!(
                job = job.id,
                kind = job.kind,
                why,
                "a job is dead; a person must look (overread jobs)"
            ),
            Outcome::Again { .. } => tracing::warn!(
                job = job.id,
                kind = job.kind,
                attempt = job.attempts,
                why,
                "a job did not succeed; it is tried again"
            ),
        }
        self.put_back(job, &outcome, &why, now).await;
    }

    /// If this fails, the lease ends by itself and the job is recovered.
    async fn put_back(&self, job: &Job, outcome: &Outcome, why: &str, now: Millis) {
        if let Err(e) = jobs::put_back(&self.database, job, outcome, why, now).await {
            tracing::warn!(job = job.id, "a job could not be put back: {}", sentence(&e));
        }
    }
}

/// Extends the leases of this process and recovers those of processes that are gone.
async fn watch_leases(
    database: Database,
    clock: Clock,
    config: RunnerConfig,
    mut stopped: watch::Receiver<bool>,
) {
    let mut told = None;
    while !*stopped.borrow() {
        tokio::select! {
            () = tokio::time::sleep(config.lease / 4) => {}
            _ = stopped.changed() => return,
        }
        let now = clock.now();
        let extended = jobs::extend(&database, &config.owner, now.plus(millis(config.lease))).await;
        let times = (millis(config.lease), BACKOFF.1);
        let recovered = jobs::recover(&database, None, config.max_attempts, times, now).await;
        if let Err(e) = extended.and(recovered) {
            complain(&mut told, &e);
        }
    }
}

/// Logs a database's trouble once a minute.
fn complain(told: &mut Option<std::time::Instant>, error: &StoreError) {
    if told.is_none_or(|at| at.elapsed() > Duration::from_secs(60)) {
        tracing::error!("jobs wait for the database: {}", sentence(error));
        *told = Some(std::time::Instant::now());
    }
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// Doubles from a second to five minutes; a quarter of it is chance, so that many jobs do not come back at once.
fn backoff(earlier: i64) -> i64 {
    let doubled = BACKOFF.0.saturating_mul(1 << earlier.clamp(0, 20)).min(BACKOFF.1);
    doubled - doubled / 4 + (rand::random::<u32>() as i64 % (doubled / 4 + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_five_minutes_and_a_quarter_is_chance() {
        for (earlier, longest) in [(0, 1_000), (1, 2_000), (5, 32_000), (9, 300_000), (60, 300_000)] {
            for _ in 0..50 {
                let wait = backoff(earlier);
                assert!((longest - longest / 4..=longest).contains(&wait), "{earlier}: {wait}");
            }
        }
    }
}
