//! Runs jobs: claims them, calls their handlers, puts back what failed.

use std::collections::HashMap;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use overread_domain::{Clock, sentence};
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tracing::Instrument;

use crate::jobs::{self, Job, Outcome};
use crate::leases::{self, InFlight, Of, Turned};
use crate::{Database, StoreError};

/// Shortest and longest wait before another try, in milliseconds.
const BACKOFF: (i64, i64) = (1_000, 300_000);

/// How long ended handlers are waited for.
const LAST: Duration = Duration::from_secs(2);

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
    /// What went wrong, in words; none where nothing was tried.
    pub fn why(&self) -> &str {
        match self {
            Self::Later { why } | Self::Failed { why } | Self::Never { why } => why,
            Self::NotNow { .. } => "",
        }
    }

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

/// Does jobs of a kind. It finishes a job itself, by [`jobs::finish`] in the transaction of its effects.
pub trait Handler: Send + Sync + 'static {
    /// One attempt.
    fn run<'a>(&'a self, job: &'a Job) -> Pin<Box<dyn Future<Output = Result<(), Trouble>> + Send + 'a>>;
}

/// How a runner works.
#[derive(Clone, Debug)]
pub struct RunnerConfig {
    /// Name of this runner among all on the same database, in this process and in others: its running jobs are crashes when it starts, and those that it
    /// does not know of are put back while it runs.
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

/// A started runner. Dropped, it ends at once, and so do its handlers.
pub struct RunnerHandle {
    stop: watch::Sender<bool>,
    workers: JoinSet<()>,
    /// Ends when this is dropped: leases are extended as long as any handler may run.
    _leases: JoinSet<()>,
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
        let limits = (self.config.max_attempts, millis(self.config.lease));
        let of = Of::Starting(&self.config.owner);
        let crashed = leases::recover(&self.database, of, limits, self.clock.now()).await?;
        if crashed > 0 {
            tracing::warn!(jobs = crashed, "jobs were running when this process last ended");
        }
        let (stop, stopped) = watch::channel(false);
        let (mut workers, mut watcher) = (JoinSet::new(), JoinSet::new());
        let in_flight = InFlight::default();
        let turned = Arc::new(Turned::new(self.database.clone(), self.clock.clone()));
        watcher.spawn(watch_leases(
            self.database.clone(),
            self.clock.clone(),
            self.config.clone(),
            in_flight.clone(),
            Arc::clone(&turned),
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
                    in_flight: in_flight.clone(),
                    turned: Arc::clone(&turned),
                };
                workers.spawn(worker.work(stopped.clone()));
            }
        }
        Ok(RunnerHandle { stop, workers, _leases: watcher })
    }
}

impl RunnerHandle {
    /// Takes no more jobs and waits for those that run, so long; handlers that still run then are ended where they wait.
    pub async fn stop(mut self, grace: Duration) {
        let _ = self.stop.send(true);
        let mut all = async || while self.workers.join_next().await.is_some() {};
        if tokio::time::timeout(grace, all()).await.is_err() {
            tracing::warn!("jobs that were still running are left to the next start");
            self.workers.abort_all();
            let mut all = async || while self.workers.join_next().await.is_some() {};
            // One that computes and never waits cannot be ended: it is left behind.
            let _ = tokio::time::timeout(LAST, all()).await;
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
    in_flight: InFlight,
    turned: Arc<Turned>,
}

impl Worker {
    async fn work(self, mut stopped: watch::Receiver<bool>) {
        let mut told = None;
        while !*stopped.borrow() {
            // Listened for before looking, so that a request in between is not slept through.
            let woken = self.wake.notified();
            let flight = self.in_flight.begin();
            let lease = millis(self.config.lease);
            let claimed = match self.turned.heed().await {
                Ok(()) => {
                    let (owner, now) = (&self.config.owner, self.clock.now());
                    jobs::claim(&self.database, &self.kinds, owner, &flight.token, lease, now).await
                }
                Err(e) => Err(e),
            };
            match claimed {
                Ok(Some(job)) => self.attempt(&job, &mut stopped).await,
                Ok(None) => {
                    drop(flight);
                    let wait = self.until_due().await;
                    tokio::select! {
                        () = woken => {}
                        () = tokio::time::sleep(wait) => {}
                        _ = stopped.changed() => {}
                    }
                }
                Err(e) => {
                    // If the job was taken and the answer was lost, the lease watcher puts it back.
                    drop(flight);
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
        let due = jobs::next_due(&self.database, &self.kinds).await.ok().flatten();
        let wait = due.map_or(self.config.poll, |at| {
            Duration::from_millis(u64::try_from(at.0 - self.clock.now().0).unwrap_or(0))
        });
        // One that is due may be another worker's by now: no busy waiting for it.
        wait.clamp(Duration::from_millis(20), self.config.poll)
    }

    async fn attempt(&self, job: &Job, stopped: &mut watch::Receiver<bool>) {
        // A handler that panics ends its attempt alone. It is polled within this task: when that is aborted, so is the handler.
        let span =
            tracing::info_span!("job", kind = job.kind, id = job.id, attempt = job.attempts, done = false);
        let trouble =
            match AssertUnwindSafe(self.handler.run(job)).catch_unwind().instrument(span.clone()).await {
                Ok(Ok(())) => {
                    span.record("done", true);
                    return;
                }
                Ok(Err(trouble)) => trouble,
                Err(_) => Trouble::Failed { why: "the handler panicked".into() },
            };
        let now = self.clock.now();
        let (outcome, why) = match trouble {
            Trouble::NotNow { wait } => {
                let outcome = Outcome::Again { at: now.plus(millis(wait)), counts: false };
                return self.put_back(job, &outcome, "it waits for its turn", stopped).await;
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
                "a job is dead; a person must look (GET /api/v1/jobs?state=dead)"
            ),
            Outcome::Again { .. } => tracing::warn!(
                job = job.id,
                kind = job.kind,
                attempt = job.attempts,
                why,
                "a job did not succeed; it is tried again"
            ),
        }
        self.put_back(job, &outcome, &why, stopped).await;
    }

    /// Puts a job back, however long the database is away: what was no fault of the job shall not count as one.
    async fn put_back(&self, job: &Job, outcome: &Outcome, why: &str, stopped: &mut watch::Receiver<bool>) {
        let mut told = None;
        loop {
            let tried = jobs::put_back(&self.database, job, outcome, why, self.clock.now()).await;
            match tried {
                Ok(()) => return,
                Err(e) if e.is_passing() && !*stopped.borrow() => {
                    complain(&mut told, &e);
                    tokio::select! {
                        () = tokio::time::sleep(Duration::from_secs(1)) => {}
                        _ = stopped.changed() => {}
                    }
                }
                Err(e) => {
                    // The lease watcher, or the next start, recovers it.
                    tracing::warn!(job = job.id, "a job could not be put back: {}", sentence(&e));
                    return;
                }
            }
        }
    }
}

/// Extends the leases of what runs here, and recovers what no task runs any more and what processes that are gone ran.
async fn watch_leases(
    database: Database,
    clock: Clock,
    config: RunnerConfig,
    in_flight: InFlight,
    turned: Arc<Turned>,
) {
    let mut told = None;
    let limits = (config.max_attempts, millis(config.lease));
    loop {
        tokio::time::sleep(config.lease / 4).await;
        if let Err(e) = turned.heed().await {
            complain(&mut told, &e);
            continue;
        }
        let now = clock.now();
        match leases::tend(&database, &config.owner, &in_flight, limits, now).await {
            Ok(0) => {}
            Ok(jobs) => tracing::warn!(jobs, "jobs that no task ran any more were recovered"),
            Err(e) => complain(&mut told, &e),
        }
        if let Err(e) = leases::recover(&database, Of::Others(&config.owner), limits, now).await {
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
