//! What crashes leave behind: jobs that start again, studies that are given up, others that are not harmed.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures::future::BoxFuture;
use overread_domain::Uid;
use overread_service::ReaderPool;
use overread_service::reading::{Answer, Answers, ReadFailure, ReadStudy, StudyToRead};
use support::{Bench, pool, study, until};

/// Never answers for one study, which is how a process that dies while it reads it looks; reads all others.
struct Deadly {
    study: Uid,
    tried: AtomicUsize,
    pool: Arc<ReaderPool>,
}

impl ReadStudy for Deadly {
    fn read(&self, study: StudyToRead) -> BoxFuture<'_, Result<Answers, ReadFailure>> {
        if study.uid != self.study {
            return self.pool.read(study);
        }
        self.tried.fetch_add(1, Ordering::SeqCst);
        Box::pin(futures::future::pending())
    }
}

/// Reads slowly and counts how many it reads at once.
#[derive(Default)]
struct Counting {
    now: AtomicUsize,
    most: AtomicUsize,
    all: AtomicUsize,
}

impl ReadStudy for Counting {
    fn read(&self, _: StudyToRead) -> BoxFuture<'_, Result<Answers, ReadFailure>> {
        Box::pin(async {
            self.all.fetch_add(1, Ordering::SeqCst);
            let now = self.now.fetch_add(1, Ordering::SeqCst) + 1;
            self.most.fetch_max(now, Ordering::SeqCst);
            tokio::time::sleep(Duration::from_millis(100)).await;
            self.now.fetch_sub(1, Ordering::SeqCst);
            Ok(Answers { answers: vec![], lost: vec![] })
        })
    }
}

struct Broken;

impl ReadStudy for Broken {
    fn read(&self, study: StudyToRead) -> BoxFuture<'_, Result<Answers, ReadFailure>> {
        let broken = |p: &overread_read::Program| Answer {
            program: p.name.clone(),
            outcome: Err("the graph does not run".into()),
        };
        let answers = study.programs.iter().map(broken).collect();
        Box::pin(async { Ok(Answers { answers, lost: vec![] }) })
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_study_that_kills_its_reader_three_times_is_given_up_and_harms_no_other() {
    let mut bench = Bench::new().await;
    let deadly = study("deadly", 1, 1, Some("brightness"));
    bench.send(&deadly).await;
    let reader = Arc::new(Deadly { study: deadly.0.study.clone(), tried: AtomicUsize::new(0), pool: pool() });
    for attempt in 1..=3 {
        bench.start(reader.clone(), 2).await;
        until(|| async { reader.tried.load(Ordering::SeqCst) == attempt }, || format!("attempt {attempt}"))
            .await;
        bench.crash().await;
    }
    bench.send(&study("harmless", 1, 2, Some("brightness"))).await;
    bench.start(reader.clone(), 2).await;
    bench.until_states(&["dead", "read"]).await;
    assert_eq!(reader.tried.load(Ordering::SeqCst), 3, "it loops");
    let dead = bench.get("/api/v1/jobs?state=dead").await;
    assert_eq!(dead["jobs"].as_array().unwrap().len(), 1);
    assert_eq!(dead["jobs"][0]["attempts"], 3);
    let case = bench.get("/api/v1/cases/1").await;
    assert!(case["case"]["detail"].as_str().unwrap().contains("process ended"), "{case}");
    // A person gives it another try, with a reader that survives it.
    bench.crash().await;
    bench.start(pool(), 2).await;
    let id = dead["jobs"][0]["id"].as_i64().unwrap();
    let path = format!("{}/api/v1/jobs/{id}/requeue", bench.base);
    assert!(bench.http.post(path).send().await.unwrap().status().is_success());
    bench.until_states(&["read", "read"]).await;
    bench.crash().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn reading_goes_on_after_a_crash_and_the_result_is_released_once() {
    let mut bench = Bench::new().await;
    bench.set_mode("brightness", "review-all").await;
    let sent = study("crashed once", 1, 1, Some("brightness"));
    bench.send(&sent).await;
    let reader = Arc::new(Deadly { study: sent.0.study.clone(), tried: AtomicUsize::new(0), pool: pool() });
    bench.start(reader.clone(), 1).await;
    until(|| async { reader.tried.load(Ordering::SeqCst) == 1 }, || "the first attempt".into()).await;
    assert_eq!(bench.states().await, ["reading"]);
    bench.crash().await;
    bench.start(pool(), 1).await;
    bench.until_states(&["released"]).await;
    assert_eq!(bench.results(0, 0).await.results.len(), 1);
    bench.crash().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_running_in_a_crash_is_read_alone() {
    let mut bench = Bench::new().await;
    let hung = Arc::new(Hanging::default());
    for name in ["a", "b", "c"] {
        bench.send(&study(name, 1, 1, Some("brightness"))).await;
    }
    bench.start(hung.clone(), 3).await;
    until(|| async { hung.0.load(Ordering::SeqCst) == 3 }, || "three readings at once".into()).await;
    bench.crash().await;
    let counting = Arc::new(Counting::default());
    bench.start(counting.clone(), 3).await;
    bench.until_states(&["no-program", "no-program", "no-program"]).await;
    assert_eq!(counting.all.load(Ordering::SeqCst), 3);
    assert_eq!(counting.most.load(Ordering::SeqCst), 1);
    bench.crash().await;
}

#[derive(Default)]
struct Hanging(AtomicUsize);

impl ReadStudy for Hanging {
    fn read(&self, _: StudyToRead) -> BoxFuture<'_, Result<Answers, ReadFailure>> {
        self.0.fetch_add(1, Ordering::SeqCst);
        Box::pin(futures::future::pending())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pack_that_fails_is_a_failed_attempt_and_then_a_dead_letter() {
    let mut bench = Bench::with(support::packs(), |config| {
        config.programs = vec![support::program("brightness")];
        config.max_attempts = 1;
    })
    .await;
    bench.start(Arc::new(Broken), 1).await;
    bench.send(&study("broken pack", 1, 1, Some("brightness"))).await;
    bench.until_states(&["dead"]).await;
    let case = bench.get("/api/v1/cases/1").await;
    let detail = case["case"]["detail"].as_str().unwrap();
    assert!(detail.contains("program brightness: the graph does not run"), "{detail}");
    // A later image gives it a new life.
    bench.crash().await;
    bench.start(pool(), 1).await;
    bench.send(&study("broken pack", 2, 2, Some("brightness"))).await;
    bench.until_states(&["read"]).await;
    bench.crash().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_hint_says_what_to_configure() {
    let mut bench = Bench::new().await;
    bench.start(pool(), 1).await;
    bench.send(&study("unknown", 1, 1, Some("mammo"))).await;
    bench.until_states(&["dead"]).await;
    let jobs = bench.get("/api/v1/jobs?state=dead").await;
    let error = jobs["jobs"][0]["error"].as_str().unwrap();
    assert!(error.contains("[[service.program]]") && error.contains("mammo"), "{error}");
    bench.crash().await;
}
