//! Where the stores of tests lie, and handlers that note what they are given.
#![allow(dead_code, reason = "each test uses a part")]

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use overread_domain::{Clock, Millis};
use overread_store::jobs::{self, Job, NewJob};
use overread_store::{Database, Handler, Migration, Objects, Runner, RunnerConfig, Trouble};
use overread_testkit::{Postgres, S3};
use tokio::sync::Notify;

/// Tables of a room.
pub const ROOM: &[Migration] = &[Migration {
    version: 1,
    name: "things",
    sql: "CREATE TABLE things (name TEXT PRIMARY KEY, n BIGINT NOT NULL);\nCREATE INDEX things_n ON things (n)",
}];

/// Where one kind of store lies.
pub struct Place {
    pub folder: tempfile::TempDir,
    pub postgres: Option<Postgres>,
    pub s3: Option<S3>,
}

impl Place {
    pub fn files() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), postgres: None, s3: None }
    }

    pub async fn servers() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
            postgres: Some(Postgres::start()),
            s3: Some(S3::start().await),
        }
    }

    /// Address of a new database.
    pub fn address(&self, name: &str) -> String {
        match &self.postgres {
            Some(server) => server.database(name),
            None => format!("sqlite://{}", self.folder.path().join(format!("{name}.db")).display()),
        }
    }

    pub async fn database(&self, name: &str) -> Database {
        Database::open(&self.address(name), "room", ROOM).await.unwrap()
    }

    pub async fn objects(&self, name: &str) -> Objects {
        let staging = self.folder.path().join(format!("{name}-staging"));
        let address = match &self.s3 {
            Some(server) => server.address(name),
            None => format!("file://{}", self.folder.path().join(name).display()),
        };
        Objects::open(&address, &staging).await.unwrap()
    }
}

pub fn job<'a>(kind: &'a str, key: &'a str, payload: i64, at: i64) -> NewJob<'a> {
    NewJob { kind, key, payload: payload.into(), priority: 1, run_at: Millis(at) }
}

pub async fn ask(database: &Database, new: &NewJob<'_>) {
    let mut tx = database.begin().await.unwrap();
    jobs::enqueue(&mut tx, new, Millis(1)).await.unwrap();
    Database::commit(tx).await.unwrap();
}

/// Key, payload and attempt of each.
pub type Seen = Arc<Mutex<Vec<(String, i64, i64)>>>;

/// Notes what it is given and does what a test says.
pub struct Noting<F> {
    pub database: Database,
    pub seen: Seen,
    pub answer: F,
}

impl<F, A> Handler for Noting<F>
where
    F: Fn(&Job) -> A + Send + Sync + 'static,
    A: Future<Output = Result<(), Trouble>> + Send,
{
    fn run<'a>(&'a self, job: &'a Job) -> Pin<Box<dyn Future<Output = Result<(), Trouble>> + Send + 'a>> {
        Box::pin(async move {
            self.seen.lock().unwrap().push((
                job.key.clone(),
                job.payload.as_i64().unwrap_or(-1),
                job.attempts,
            ));
            (self.answer)(job).await?;
            let mut tx = self.database.begin().await?;
            jobs::finish(&mut tx, job).await?;
            Database::commit(tx).await?;
            Ok(())
        })
    }
}

pub fn runner(database: &Database, owner: &str) -> Runner {
    let config = RunnerConfig { poll: Duration::from_millis(30), ..RunnerConfig::new(owner) };
    Runner::new(database.clone(), Clock::machine(), config, Arc::new(Notify::new()))
}

pub async fn until(mut holds: impl AsyncFnMut() -> bool) {
    for _ in 0..1500 {
        if holds().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("it never came to hold");
}
