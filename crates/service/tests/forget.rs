//! A study that its edge wants forgotten is gone, all of it, and stays gone.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod support;

use std::path::PathBuf;
use std::sync::Arc;

use futures::future::BoxFuture;
use overread_service::ReaderPool;
use overread_service::reading::{Answers, ReadFailure, ReadStudy, StudyToRead};
use overread_testkit::Postgres;
use overread_wire::paths;
use serde_json::Value;
use support::edges::{Edge, bench};
use support::{Bench, files, hash, packs, pool, program, study, until};
use tokio::sync::Semaphore;

fn objects(bench: &Bench) -> Vec<PathBuf> {
    files(&bench.folder.path().join("objects"))
}

/// Rows that a study has anywhere.
async fn rows(bench: &Bench) -> Vec<(&'static str, i64)> {
    let mut found = vec![];
    let mut conn = bench.service.database.read().await.unwrap();
    for table in
        ["studies", "study_versions", "cases", "readings", "outbox", "objects", "object_uses", "erasing"]
    {
        let sql = format!("SELECT COUNT(*) FROM {table}");
        let row = sqlx::query(sqlx::AssertSqlSafe(sql)).fetch_one(&mut *conn).await.unwrap();
        let count: i64 = sqlx::Row::try_get(&row, 0).unwrap();
        if count > 0 {
            found.push((table, count));
        }
    }
    found
}

async fn gone(bench: &Bench) {
    until(
        || async { objects(bench).is_empty() && rows(bench).await.is_empty() },
        || "nothing to be left".into(),
    )
    .await;
    until(|| async { bench.get("/api/v1/jobs").await["jobs"] == Value::Array(vec![]) }, || "jobs".into())
        .await;
}

async fn all_of_it_goes(mut bench: Bench) {
    let door = bench.open_door();
    bench.start(pool(), 2).await;
    bench.set_mode("brightness", "review-all").await;
    let edge = bench.enrolled(&door, "clinic").await;
    let (first, second) = (study("gone", 1, 1, Some("brightness")), study("gone", 2, 2, Some("brightness")));
    edge.send(&first).await;
    edge.results(0, 30).await;
    edge.send(&second).await;
    assert_eq!(edge.results(1, 30).await.results.len(), 1);
    assert_eq!(edge.forget(&second.0, 2).await.status(), 204);
    assert!(edge.results(0, 0).await.results.is_empty());
    gone(&bench).await;
    // Late messages are told so; an object that comes late is wanted by nobody.
    for late in [&first, &second] {
        assert_eq!(edge.put_study(&late.0).await.status(), 410);
    }
    assert_eq!(edge.forget(&second.0, 2).await.status(), 204);
    assert_eq!(edge.forget(&second.0, 1).await.status(), 204);
    let audit = bench.get("/api/v1/audit?limit=1000").await;
    let forgotten = audit["entries"].as_array().unwrap().iter().filter(|e| e["action"] == "study.forgotten");
    assert_eq!(forgotten.count(), 1, "a repetition is none");
    assert_eq!(bench.get("/api/v1/audit/verify").await["holds"], Value::Bool(true));
    // The next version is a study like any other, with the same images.
    let third = study("gone", 3, 2, Some("brightness"));
    edge.send(&third).await;
    let page = edge.results(2, 30).await;
    assert_eq!((page.results.len(), page.results[0].case_version), (1, 1));
    assert_eq!(edge.object(&page.results[0].captures[0].sha256).await.status(), 200);
    bench.crash().await;
}

fn configured(config: &mut overread_service::Config) {
    config.programs = vec![program("brightness")];
    config.link.bind = Some("127.0.0.1:0".parse().unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_left_of_a_study() {
    all_of_it_goes(Bench::with(packs(), configured).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nor_on_postgresql() {
    let postgres = Postgres::start();
    let database = postgres.database("service");
    let bench = Bench::with(packs(), |config| {
        configured(config);
        config.database = database;
    })
    .await;
    all_of_it_goes(bench).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_another_study_needs_stays() {
    let (mut bench, door) = bench().await;
    bench.start(pool(), 2).await;
    let edge = bench.enrolled(&door, "clinic").await;
    let first = study("first", 1, 1, Some("brightness"));
    let mut second = study("second", 1, 1, Some("brightness"));
    // The same bytes in two studies, and one image of its own.
    second.0.instances[0].sha256 = hash(&first.1[0]);
    second.1[0].clone_from(&first.1[0]);
    edge.send(&first).await;
    edge.send(&second).await;
    bench.until_states(&["read", "read"]).await;
    assert_eq!(edge.forget(&first.0, 1).await.status(), 204);
    bench.until_states(&["read"]).await;
    until(|| async { bench.get("/api/v1/jobs").await["jobs"] == Value::Array(vec![]) }, || "jobs".into())
        .await;
    assert_eq!(edge.missing(&[hash(&first.1[0])]).await.text().await.unwrap(), "[]");
    assert!(objects(&bench).iter().any(|file| std::fs::read(file).unwrap() == first.1[0]));
    assert_eq!(edge.forget(&second.0, 1).await.status(), 204);
    gone(&bench).await;
    bench.crash().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_newer_version_keeps_what_it_needs() {
    let (mut bench, door) = bench().await;
    bench.start(pool(), 2).await;
    bench.set_mode("brightness", "review-all").await;
    let edge = bench.enrolled(&door, "clinic").await;
    let (first, mut second) =
        (study("newer", 1, 2, Some("brightness")), study("newer", 2, 2, Some("brightness")));
    // The second version leaves the first image out.
    let dropped = second.0.instances.remove(0).sha256;
    edge.send(&first).await;
    edge.results(0, 30).await;
    edge.send(&second).await;
    edge.results(1, 30).await;
    assert_eq!(edge.forget(&first.0, 1).await.status(), 204);
    let page = edge.results(0, 0).await;
    assert_eq!((page.results.len(), page.results[0].study_version), (1, 2));
    until(
        || async { edge.missing(std::slice::from_ref(&dropped)).await.text().await.unwrap() != "[]" },
        || "it to go".into(),
    )
    .await;
    assert_eq!(
        edge.missing(std::slice::from_ref(&second.0.instances[0].sha256)).await.text().await.unwrap(),
        "[]"
    );
    assert_eq!(edge.put_study(&first.0).await.status(), 410);
    assert_eq!(edge.put_study(&second.0).await.status(), 200, "known");
    bench.crash().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_in_between_loses_no_erasure() {
    let (mut bench, door) = bench().await;
    let edge = bench.enrolled(&door, "clinic").await;
    let sent = study("crash", 1, 3, Some("brightness"));
    edge.send(&sent).await;
    // No job runs yet: what is to be erased is written down, and erased by whoever starts next.
    assert_eq!(edge.forget(&sent.0, 1).await.status(), 204);
    assert_eq!(rows(&bench).await, [("erasing", 3)]);
    assert_eq!(objects(&bench).len(), 3);
    // Sent again before that, under the next version, the bytes are others' than those that go.
    let next = study("crash", 2, 1, Some("brightness"));
    edge.send(&next).await;
    bench.start(pool(), 2).await;
    bench.until_states(&["read"]).await;
    until(|| async { bench.get("/api/v1/jobs").await["jobs"] == Value::Array(vec![]) }, || "jobs".into())
        .await;
    let images = objects(&bench).into_iter().filter(|file| file.to_string_lossy().contains("/image/"));
    assert_eq!(images.map(|file| std::fs::read(file).unwrap()).collect::<Vec<_>>(), next.1);
    bench.crash().await;
}

/// Reads when it is let.
struct Held {
    gate: Arc<Semaphore>,
    pool: Arc<ReaderPool>,
}

impl ReadStudy for Held {
    fn read(&self, study: StudyToRead) -> BoxFuture<'_, Result<Answers, ReadFailure>> {
        Box::pin(async move {
            let _pass = self.gate.acquire().await.unwrap();
            self.pool.read(study).await
        })
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_being_read_when_it_is_forgotten_leaves_no_picture() {
    let (mut bench, door) = bench().await;
    let gate = Arc::new(Semaphore::new(0));
    bench.start(Arc::new(Held { gate: Arc::clone(&gate), pool: pool() }), 2).await;
    bench.set_mode("brightness", "review-all").await;
    let edge = bench.enrolled(&door, "clinic").await;
    let sent = study("being read", 1, 1, Some("brightness"));
    edge.send(&sent).await;
    bench.until_states(&["reading"]).await;
    assert_eq!(edge.forget(&sent.0, 1).await.status(), 204);
    gate.add_permits(8);
    gone(&bench).await;
    assert!(edge.results(0, 0).await.results.is_empty());
    bench.crash().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_study_that_never_came_is_forgotten_too() {
    let (bench, door) = bench().await;
    let edge: Edge = bench.enrolled(&door, "clinic").await;
    let late = study("late", 1, 1, None);
    assert_eq!(edge.forget(&late.0, 1).await.status(), 204);
    let path = paths::forget(&late.0.study, 0);
    assert_eq!(edge.request(reqwest::Method::DELETE, &path).send().await.unwrap().status(), 400);
    assert_eq!(edge.put_object(&late.1[0]).await.status(), 201);
    assert_eq!(edge.put_study(&late.0).await.status(), 410);
}
