//! What a store promises, held against SQLite with files and against PostgreSQL with an S3 server.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod place;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use overread_domain::{Clock, Millis};
use overread_store::audit::{self, Event};
use overread_store::jobs::{self, Job};
use overread_store::{Database, Migration, ObjectKey, Runner, RunnerConfig, StoreError, Trouble};
use place::{Noting, Place, ROOM, Seen, ask, job, runner, until};
use sqlx::{Executor, Row};
use tokio::sync::Notify;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sqlite_and_files_keep_the_promises() {
    all(Place::files()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgresql_and_s3_keep_the_promises() {
    all(Place::servers().await).await;
}

async fn all(place: Place) {
    migrations(&place).await;
    a_row_and_its_job_live_or_die_together(&place).await;
    a_name_has_one_job(&place).await;
    every_job_is_run_once(&place).await;
    crashes_are_counted_and_outages_are_not(&place).await;
    a_clock_that_is_turned_back_strands_nothing(&place).await;
    tampering_shows(&place).await;
    objects_come_back(&place).await;
}

async fn migrations(place: &Place) {
    let address = place.address("migrations");
    let database = Database::open(&address, "room", ROOM).await.unwrap();
    Database::open(&address, "room", ROOM).await.unwrap().ping().await.unwrap();
    let two =
        [ROOM[0], Migration { version: 2, name: "more", sql: "ALTER TABLE things ADD COLUMN more TEXT" }];
    Database::open(&address, "room", &two).await.unwrap();
    let mut conn = database.read().await.unwrap();
    conn.execute("SELECT more FROM things").await.unwrap();
    let older = Database::open(&address, "room", ROOM).await;
    assert!(
        matches!(older, Err(StoreError::Newer { found: 2, known: 1, .. })),
        "an older program took a newer database"
    );
}

async fn a_row_and_its_job_live_or_die_together(place: &Place) {
    let database = place.database("together").await;
    let mut tx = database.begin().await.unwrap();
    tx.execute("INSERT INTO things (name, n) VALUES ('a', 1)").await.unwrap();
    jobs::enqueue(&mut tx, &job("kind", "a", 1, 0), Millis(1)).await.unwrap();
    drop(tx);
    assert!(jobs::list(&database, None, 0, 10).await.unwrap().is_empty());
    let mut conn = database.read().await.unwrap();
    assert!(sqlx::query("SELECT n FROM things").fetch_all(&mut *conn).await.unwrap().is_empty());
    ask(&database, &job("kind", "a", 1, 0)).await;
    assert_eq!(jobs::list(&database, Some("waiting"), 0, 10).await.unwrap().len(), 1);
}

async fn a_name_has_one_job(place: &Place) {
    let database = place.database("names").await;
    // Waiting: the later request replaces the earlier one.
    ask(&database, &job("kind", "a", 1, 0)).await;
    ask(&database, &job("kind", "a", 2, 0)).await;
    let seen = Seen::default();
    let (gate, opened) = (Arc::new(Notify::new()), Arc::new(AtomicUsize::new(0)));
    let (wait, started) = (Arc::clone(&gate), Arc::clone(&opened));
    let answer = move |_: &Job| {
        let (wait, first) = (Arc::clone(&wait), started.fetch_add(1, Ordering::SeqCst) == 0);
        async move {
            if first {
                wait.notified().await;
            }
            Ok(())
        }
    };
    let handler = Noting { database: database.clone(), seen: Arc::clone(&seen), answer };
    let handle = runner(&database, "one").handle("kind", 2, Arc::new(handler)).start().await.unwrap();
    until(async || opened.load(Ordering::SeqCst) == 1).await;
    // Running: it is run again afterwards, never beside itself.
    ask(&database, &job("kind", "a", 3, 0)).await;
    tokio::time::sleep(Duration::from_millis(150)).await;
    assert_eq!(seen.lock().unwrap().len(), 1, "a name ran twice at once");
    gate.notify_one();
    until(async || jobs::list(&database, None, 0, 10).await.unwrap().is_empty()).await;
    handle.stop(Duration::from_secs(5)).await;
    assert_eq!(*seen.lock().unwrap(), [("a".to_owned(), 2, 1), ("a".to_owned(), 3, 1)]);
}

async fn every_job_is_run_once(place: &Place) {
    let database = place.database("once").await;
    for n in 0..60 {
        ask(&database, &job("kind", &format!("{n:02}"), n, 0)).await;
    }
    let seen = Seen::default();
    let mut handles = vec![];
    for owner in ["one", "two"] {
        let handler = Noting {
            database: database.clone(),
            seen: Arc::clone(&seen),
            answer: |_: &Job| async { Ok(()) },
        };
        handles.push(runner(&database, owner).handle("kind", 3, Arc::new(handler)).start().await.unwrap());
    }
    until(async || jobs::list(&database, None, 0, 10).await.unwrap().is_empty()).await;
    for handle in handles {
        handle.stop(Duration::from_secs(5)).await;
    }
    let mut counts: HashMap<String, usize> = HashMap::new();
    for (key, _, _) in seen.lock().unwrap().iter() {
        *counts.entry(key.clone()).or_default() += 1;
    }
    assert_eq!(counts.len(), 60);
    assert!(counts.values().all(|n| *n == 1), "{counts:?}");
}

async fn crashes_are_counted_and_outages_are_not(place: &Place) {
    let database = place.database("crashes").await;
    ask(&database, &job("crash", "a", 1, 0)).await;
    for life in 1..=3 {
        let seen = Seen::default();
        let handler = Noting {
            database: database.clone(),
            seen: Arc::clone(&seen),
            answer: |_: &Job| std::future::pending(),
        };
        let handle = runner(&database, "one").handle("crash", 1, Arc::new(handler)).start().await.unwrap();
        until(async || !seen.lock().unwrap().is_empty()).await;
        assert_eq!(seen.lock().unwrap()[0].2, life);
        // As a killed process does: it ends without a word.
        handle.stop(Duration::ZERO).await;
    }
    let handle = runner(&database, "one").start().await.unwrap();
    let dead = jobs::list(&database, Some("dead"), 0, 10).await.unwrap();
    assert_eq!(dead.len(), 1, "three crashes make a dead letter");
    handle.stop(Duration::from_secs(5)).await;
    let mut tx = database.begin().await.unwrap();
    assert_eq!(jobs::requeue(&mut tx, Some(dead[0].id), Millis(1)).await.unwrap(), 1);
    Database::commit(tx).await.unwrap();

    // A peer that is away twice, then a refusal for ever, then a panic.
    let tries = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&tries);
    let answer = move |_: &Job| {
        let n = counter.fetch_add(1, Ordering::SeqCst);
        async move {
            if n == 0 {
                Err(Trouble::Later { why: "away".into() })
            } else {
                Err(Trouble::Never { why: "refused".into() })
            }
        }
    };
    let seen = Seen::default();
    let handler = Noting { database: database.clone(), seen: Arc::clone(&seen), answer };
    let handle = runner(&database, "one").handle("crash", 1, Arc::new(handler)).start().await.unwrap();
    until(async || jobs::list(&database, Some("dead"), 0, 10).await.unwrap().len() == 1).await;
    handle.stop(Duration::from_secs(5)).await;
    let attempts: Vec<i64> = seen.lock().unwrap().iter().map(|s| s.2).collect();
    assert_eq!(attempts, [1, 1], "an outage was counted");
    assert_eq!(
        jobs::list(&database, Some("dead"), 0, 10).await.unwrap()[0].error.as_deref(),
        Some("refused")
    );
}

async fn a_clock_that_is_turned_back_strands_nothing(place: &Place) {
    let database = place.database("clock").await;
    ask(&database, &job("kind", "a", 1, 0)).await;
    let seen = Seen::default();
    let late = Clock::standing_at(Millis(10_000_000_000));
    let handler = Noting {
        database: database.clone(),
        seen: Arc::clone(&seen),
        answer: |_: &Job| std::future::pending(),
    };
    let config = RunnerConfig { poll: Duration::from_millis(30), ..RunnerConfig::new("gone") };
    let crashing = Runner::new(database.clone(), late, config.clone(), Arc::new(Notify::new()));
    let handle = crashing.handle("kind", 1, Arc::new(handler)).start().await.unwrap();
    until(async || !seen.lock().unwrap().is_empty()).await;
    handle.stop(Duration::ZERO).await;
    // Another process, months earlier by its clock: the lease lies further ahead than any lease can.
    let early = Clock::standing_at(Millis(1_000_000));
    let handler =
        Noting { database: database.clone(), seen: Arc::clone(&seen), answer: |_: &Job| async { Ok(()) } };
    let config = RunnerConfig { lease: Duration::from_millis(200), owner: "new".into(), ..config };
    let working = Runner::new(database.clone(), early, config, Arc::new(Notify::new()));
    let handle = working.handle("kind", 1, Arc::new(handler)).start().await.unwrap();
    until(async || jobs::list(&database, None, 0, 10).await.unwrap().is_empty()).await;
    handle.stop(Duration::from_secs(5)).await;
}

async fn tampering_shows(place: &Place) {
    for (what, sql) in [
        ("alter", "UPDATE audit SET actor = 'mallory' WHERE sequence = 3"),
        ("remove", "DELETE FROM audit WHERE sequence = 3"),
        ("cut", "DELETE FROM audit WHERE sequence >= 3"),
        (
            "swap",
            "UPDATE audit SET sequence = CASE sequence WHEN 3 THEN -4 ELSE -3 END WHERE sequence IN (3, 4)",
        ),
    ] {
        let database = place.database(&format!("audit_{what}")).await;
        for n in 0..5 {
            let mut tx = database.begin().await.unwrap();
            let event = Event {
                at: Millis(n),
                actor: "test",
                action: "count",
                subject: "n",
                detail: serde_json::json!({"n": n}),
            };
            audit::append(&mut tx, &event).await.unwrap();
            Database::commit(tx).await.unwrap();
        }
        assert_eq!(audit::verify(&database).await.unwrap().entries, 5);
        let mut tx = database.begin().await.unwrap();
        tx.execute(sql).await.unwrap();
        if what == "swap" {
            tx.execute("UPDATE audit SET sequence = -sequence WHERE sequence < 0").await.unwrap();
        }
        Database::commit(tx).await.unwrap();
        let broken = audit::verify(&database).await;
        assert!(matches!(broken, Err(StoreError::Broken { sequence: 3, .. })), "{what}: {broken:?}");
    }
    for (number, found) in [(9, 1), (0, 0), (-7, -7)] {
        let database = place.database(&format!("audit_outside_{}", number + 10)).await;
        assert_eq!(audit::verify(&database).await.unwrap().entries, 0);
        let mut tx = database.begin().await.unwrap();
        let forged = format!("INSERT INTO audit VALUES ({number}, 0, 'mallory', 'a', 's', '{{}}', 'h')");
        tx.execute(sqlx::AssertSqlSafe(forged)).await.unwrap();
        Database::commit(tx).await.unwrap();
        let broken = audit::verify(&database).await;
        assert!(
            matches!(broken, Err(StoreError::Broken { sequence, .. }) if sequence == found),
            "{number}: {broken:?}"
        );
    }
}

async fn objects_come_back(place: &Place) {
    let objects = place.objects("objects").await;
    let key = |text: &str| ObjectKey::parse(text).unwrap();
    objects.put_bytes(&key("a/b/small"), b"bytes".as_slice().into()).await.unwrap();
    assert_eq!(&objects.get(&key("a/b/small")).await.unwrap()[..], b"bytes");
    let mut group = vec![];
    for n in 0..12_u32 {
        let file = objects.staging().join(format!("in-{n}"));
        // The last one is larger than one part of an upload.
        std::fs::write(&file, vec![n as u8; if n == 11 { 20_000_001 } else { 1000 }]).unwrap();
        group.push((key(&format!("group/{}/{n}", n % 3)), file));
    }
    group.push((key("group/gone"), objects.staging().join("nobody-wrote-this")));
    let outcomes = objects.put_files(group).await;
    assert!(outcomes[..12].iter().all(Result::is_ok) && outcomes[12].is_err(), "{outcomes:?}");
    for n in 0..12_u32 {
        let found = objects.local(&key(&format!("group/{}/{n}", n % 3))).await.unwrap();
        let bytes = std::fs::read(found.path()).unwrap();
        assert_eq!((bytes.len(), bytes[0]), (if n == 11 { 20_000_001 } else { 1000 }, n as u8));
    }
    assert!(std::fs::read_dir(objects.staging()).unwrap().next().is_none(), "staging is not empty");
    assert!(!objects.exists(&key("group/gone")).await.unwrap());
    assert!(matches!(objects.get(&key("group/gone")).await, Err(StoreError::NoObject { .. })));
    objects.put_bytes(&key("a/b/small"), b"newer".as_slice().into()).await.unwrap();
    assert_eq!(&objects.get(&key("a/b/small")).await.unwrap()[..], b"newer");
    objects.delete(&key("a/b/small")).await.unwrap();
    objects.delete(&key("a/b/small")).await.unwrap();
    assert!(!objects.exists(&key("a/b/small")).await.unwrap());
    assert!(objects.free_bytes().unwrap() > 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_goes_away_comes_back() {
    let place = Place::servers().await;
    let database = place.database("outage").await;
    let server = place.postgres.as_ref().unwrap();
    server.stop();
    let away = database.ping().await.unwrap_err();
    assert!(away.is_passing(), "{away:?}");
    server.again();
    until(async || database.ping().await.is_ok()).await;
    let mut conn = database.read().await.unwrap();
    let row = sqlx::query("SELECT COUNT(*) FROM things").fetch_one(&mut *conn).await.unwrap();
    assert_eq!(row.get::<i64, _>(0), 0);
}

#[tokio::test]
async fn what_holds_identity_is_the_owners_alone() {
    use std::os::unix::fs::PermissionsExt;
    let place = Place::files();
    let path = place.folder.path().join("deep/er/edge.db");
    let _database = Database::open(&format!("sqlite://{}", path.display()), "room", ROOM).await.unwrap();
    let mode = |p: &std::path::Path| std::fs::metadata(p).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o600, 0o700));
    let secret = Database::open("postgres://user:s3cret@[bad", "room", ROOM).await.err().unwrap();
    assert!(!format!("{secret} {secret:?}").contains("s3cret"));
}
