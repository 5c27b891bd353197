//! What a store does when something goes wrong, on SQLite with files and on PostgreSQL with an S3 server.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod place;

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use overread_domain::{Clock, Millis};
use overread_store::jobs::{self, Job, JobRow, NewJob};
use overread_store::{
    Database, Handler, ObjectKey, Objects, Runner, RunnerConfig, RunnerHandle, StoreError, Trouble,
};
use place::{Noting, Place, Seen, ask, job, runner, until};
use sqlx::Executor;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::Notify;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sqlite_and_files_survive() {
    let place = Place::files();
    all(&place).await;
    a_full_database_says_so(&place).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgresql_and_s3_survive() {
    let place = Place::servers().await;
    all(&place).await;
    requests_do_not_wait_for_each_other(&place).await;
}

async fn all(place: &Place) {
    a_job_that_nobody_finishes_is_dead_in_the_end(place).await;
    a_long_job_stays_its_own(place).await;
    stopping_ends_handlers(place).await;
    a_new_request_counts(place).await;
    a_later_request_keeps_its_time(place).await;
    a_clock_that_is_turned_back_delays_as_long_as_meant(place).await;
    a_clock_that_is_turned_ahead_lets_nothing_happen_early(place).await;
    failures_and_panics_are_counted(place).await;
    what_is_urgent_comes_first(place).await;
    what_cannot_be_synced_is_no_object(place).await;
    errors_hold_no_values(place).await;
}

async fn jobs_of(database: &Database, state: &str) -> Vec<JobRow> {
    jobs::list(database, Some(state), 0, 1000).await.unwrap()
}

/// A runner of one kind whose leases are short.
async fn short(database: &Database, clock: Clock, kind: &str, handler: Arc<dyn Handler>) -> RunnerHandle {
    let config = RunnerConfig {
        poll: Duration::from_millis(30),
        lease: Duration::from_millis(600),
        ..RunnerConfig::new("short")
    };
    let runner = Runner::new(database.clone(), clock, config, Arc::new(Notify::new()));
    runner.handle(kind, 1, handler).start().await.unwrap()
}

/// Says that all is well and finishes nothing.
struct Forgetting(AtomicUsize);

impl Handler for Forgetting {
    fn run<'a>(
        &'a self,
        _: &'a Job,
    ) -> std::pin::Pin<Box<dyn Future<Output = Result<(), Trouble>> + Send + 'a>> {
        self.0.fetch_add(1, Ordering::SeqCst);
        Box::pin(async { Ok(()) })
    }
}

async fn a_job_that_nobody_finishes_is_dead_in_the_end(place: &Place) {
    let database = place.database("forgotten").await;
    ask(&database, &job("kind", "a", 1, 0)).await;
    let handler = Arc::new(Forgetting(AtomicUsize::new(0)));
    let handle = short(&database, Clock::machine(), "kind", Arc::clone(&handler) as Arc<dyn Handler>).await;
    until(async || jobs_of(&database, "dead").await.len() == 1).await;
    handle.stop(Duration::from_secs(5)).await;
    assert_eq!(handler.0.load(Ordering::SeqCst), 3);
}

async fn a_long_job_stays_its_own(place: &Place) {
    let database = place.database("long").await;
    ask(&database, &job("kind", "a", 1, 0)).await;
    let seen = Seen::default();
    let wait = |_: &Job| async {
        tokio::time::sleep(Duration::from_secs(3)).await;
        Ok(())
    };
    let handler = Noting { database: database.clone(), seen: Arc::clone(&seen), answer: wait };
    let handle = short(&database, Clock::machine(), "kind", Arc::new(handler)).await;
    until(async || !seen.lock().unwrap().is_empty()).await;
    let other =
        Noting { database: database.clone(), seen: Arc::clone(&seen), answer: |_: &Job| async { Ok(()) } };
    let config = RunnerConfig {
        poll: Duration::from_millis(30),
        lease: Duration::from_millis(600),
        ..RunnerConfig::new("other")
    };
    let others = Runner::new(database.clone(), Clock::machine(), config, Arc::new(Notify::new()));
    let others = others.handle("kind", 1, Arc::new(other)).start().await.unwrap();
    // Stopping takes as long as the job runs; its lease is extended until then.
    handle.stop(Duration::from_secs(30)).await;
    others.stop(Duration::from_secs(5)).await;
    assert_eq!(*seen.lock().unwrap(), [("a".to_owned(), 1, 1)]);
    assert!(jobs::list(&database, None, 0, 10).await.unwrap().is_empty());
}

async fn stopping_ends_handlers(place: &Place) {
    struct Ended(Arc<AtomicBool>);
    impl Drop for Ended {
        fn drop(&mut self) {
            self.0.store(true, Ordering::SeqCst);
        }
    }
    let database = place.database("stopping").await;
    ask(&database, &job("kind", "a", 1, 0)).await;
    let ended = Arc::new(AtomicBool::new(false));
    let mark = Arc::clone(&ended);
    let answer = move |_: &Job| {
        let mark = Ended(Arc::clone(&mark));
        async move {
            std::future::pending::<()>().await;
            drop(mark);
            Ok(())
        }
    };
    let seen = Seen::default();
    let handler = Noting { database: database.clone(), seen: Arc::clone(&seen), answer };
    let handle = runner(&database, "one").handle("kind", 1, Arc::new(handler)).start().await.unwrap();
    until(async || !seen.lock().unwrap().is_empty()).await;
    assert!(!ended.load(Ordering::SeqCst));
    handle.stop(Duration::ZERO).await;
    assert!(ended.load(Ordering::SeqCst), "a handler outlived its runner");
}

async fn a_new_request_counts(place: &Place) {
    let database = place.database("anew").await;
    ask(&database, &job("kind", "a", 1, 0)).await;
    let refuse = |_: &Job| async { Err(Trouble::Never { why: "refused".into() }) };
    let handler = Noting { database: database.clone(), seen: Seen::default(), answer: refuse };
    let handle = runner(&database, "one").handle("kind", 1, Arc::new(handler)).start().await.unwrap();
    until(async || jobs_of(&database, "dead").await.len() == 1).await;
    handle.stop(Duration::from_secs(5)).await;
    // A dead one lives again, and nothing of the past makes its time come sooner.
    let far = Clock::machine().now().plus(86_400_000);
    let mut tx = database.begin().await.unwrap();
    jobs::enqueue(&mut tx, &job("kind", "a", 2, far.0), Clock::machine().now()).await.unwrap();
    Database::commit(tx).await.unwrap();
    runner(&database, "one").start().await.unwrap().stop(Duration::from_secs(5)).await;
    let waiting = jobs_of(&database, "waiting").await;
    assert_eq!((waiting[0].run_at, waiting[0].attempts, &waiting[0].error), (far.0, 0, &None));
}

async fn a_later_request_keeps_its_time(place: &Place) {
    let database = place.database("later").await;
    ask(&database, &job("kind", "a", 1, 0)).await;
    let seen = Seen::default();
    let handler = Noting {
        database: database.clone(),
        seen: Arc::clone(&seen),
        answer: |_: &Job| std::future::pending(),
    };
    let handle = runner(&database, "one").handle("kind", 1, Arc::new(handler)).start().await.unwrap();
    until(async || !seen.lock().unwrap().is_empty()).await;
    let far = Clock::machine().now().plus(86_400_000);
    ask(&database, &job("kind", "a", 2, far.0)).await;
    handle.stop(Duration::ZERO).await;
    for _ in 0..2 {
        runner(&database, "one").start().await.unwrap().stop(Duration::from_secs(5)).await;
    }
    let waiting = jobs_of(&database, "waiting").await;
    assert_eq!((waiting[0].run_at, waiting[0].attempts, &waiting[0].error), (far.0, 0, &None));
}

async fn a_clock_that_is_turned_back_delays_as_long_as_meant(place: &Place) {
    let database = place.database("turned").await;
    let (late, early) = (Millis(10_000_000_000), Millis(1_000_000));
    let mut tx = database.begin().await.unwrap();
    for (key, wait) in [("quiet", 120_000), ("due", 0), ("weekly", 7 * 86_400_000)] {
        jobs::enqueue(&mut tx, &job("kind", key, 1, late.plus(wait).0), late).await.unwrap();
    }
    // Asked for by a clock that is right: however far ahead, its time stands.
    jobs::enqueue(&mut tx, &job("kind", "right", 1, late.plus(5).0), early).await.unwrap();
    Database::commit(tx).await.unwrap();
    let config = RunnerConfig::new("one");
    let runner = Runner::new(database.clone(), Clock::standing_at(early), config, Arc::new(Notify::new()));
    runner.start().await.unwrap().stop(Duration::from_secs(5)).await;
    let times: Vec<i64> = jobs_of(&database, "waiting").await.iter().map(|j| j.run_at).collect();
    assert_eq!(times, [1_120_000, 1_000_000, 1_000_000 + 7 * 86_400_000, late.plus(5).0]);
}

/// Turned ahead while jobs wait and run: none is early, and no lease is over.
async fn a_clock_that_is_turned_ahead_lets_nothing_happen_early(place: &Place) {
    let database = place.database("ahead").await;
    let clock = Clock::standing_at(Millis(1_000_000));
    let mut tx = database.begin().await.unwrap();
    for (key, wait) in [("running", 0), ("soon", 20_000), ("later", 60_000)] {
        jobs::enqueue(&mut tx, &job("kind", key, 1, clock.now().plus(wait).0), clock.now()).await.unwrap();
    }
    Database::commit(tx).await.unwrap();
    let (seen, go) = (Seen::default(), Arc::new(Notify::new()));
    let gate = Arc::clone(&go);
    let answer = move |job: &Job| {
        let (gate, waits) = (Arc::clone(&gate), job.key == "running");
        async move {
            if waits {
                gate.notified().await;
            }
            Ok(())
        }
    };
    let handler = Arc::new(Noting { database: database.clone(), seen: Arc::clone(&seen), answer });
    let quick = |owner: &str| {
        let config = RunnerConfig {
            poll: Duration::from_millis(30),
            lease: Duration::from_millis(400),
            ..RunnerConfig::new(owner)
        };
        Runner::new(database.clone(), clock.clone(), config, Arc::new(Notify::new()))
    };
    let one = quick("one").handle("kind", 2, handler.clone()).start().await.unwrap();
    until(async || seen.lock().unwrap().len() == 1).await;
    // Another process beside it, which would take over what runs if its lease were over.
    let two = quick("two").handle("kind", 2, handler).start().await.unwrap();
    clock.turn(5 * 3_600_000);
    let due = async || {
        let waiting = jobs_of(&database, "waiting").await;
        waiting.iter().map(|j| j.run_at - clock.now().0).collect::<Vec<_>>()
    };
    until(async || due().await == [20_000, 60_000]).await;
    // Several looks at leases and jobs later, nothing was early.
    tokio::time::sleep(Duration::from_millis(1_000)).await;
    assert_eq!(due().await, [20_000, 60_000]);
    assert_eq!(jobs_of(&database, "running").await.len(), 1);
    assert_eq!(seen.lock().unwrap().len(), 1, "{:?}", seen.lock().unwrap());
    go.notify_one();
    until(async || jobs_of(&database, "running").await.is_empty()).await;
    clock.pass(20_000);
    until(async || seen.lock().unwrap().len() == 2).await;
    assert_eq!(due().await, [40_000]);
    one.stop(Duration::from_secs(5)).await;
    two.stop(Duration::from_secs(5)).await;
}

async fn failures_and_panics_are_counted(place: &Place) {
    let database = place.database("failures").await;
    ask(&database, &job("fails", "a", 1, 0)).await;
    ask(&database, &job("panics", "a", 1, 0)).await;
    let seen = Seen::default();
    let fail = |_: &Job| async { Err(Trouble::Failed { why: "no".into() }) };
    let fails = Noting { database: database.clone(), seen: Arc::clone(&seen), answer: fail };
    let cry = |job: &Job| {
        let attempt = job.attempts;
        async move { if attempt > 0 { panic!("as a test wants") } else { Ok(()) } }
    };
    let panics = Noting { database: database.clone(), seen: Seen::default(), answer: cry };
    let handle = runner(&database, "one")
        .handle("fails", 1, Arc::new(fails))
        .handle("panics", 1, Arc::new(panics))
        .start()
        .await
        .unwrap();
    until(async || jobs_of(&database, "dead").await.len() == 2).await;
    handle.stop(Duration::from_secs(5)).await;
    assert_eq!(seen.lock().unwrap().iter().map(|s| s.2).collect::<Vec<_>>(), [1, 2, 3]);
    let told: Vec<(i64, String)> =
        jobs_of(&database, "dead").await.into_iter().map(|j| (j.attempts, j.error.unwrap())).collect();
    assert_eq!(told, [(3, "no".to_owned()), (3, "the handler panicked".to_owned())]);
}

async fn what_is_urgent_comes_first(place: &Place) {
    let database = place.database("urgent").await;
    for (key, priority) in [("c", 2), ("a", 0), ("b", 1), ("d", 2)] {
        ask(&database, &NewJob { priority, ..job("kind", key, 1, 0) }).await;
    }
    let seen = Seen::default();
    let handler =
        Noting { database: database.clone(), seen: Arc::clone(&seen), answer: |_: &Job| async { Ok(()) } };
    let handle = runner(&database, "one").handle("kind", 1, Arc::new(handler)).start().await.unwrap();
    until(async || jobs::list(&database, None, 0, 10).await.unwrap().is_empty()).await;
    handle.stop(Duration::from_secs(5)).await;
    let order: Vec<String> = seen.lock().unwrap().iter().map(|s| s.0.clone()).collect();
    assert_eq!(order, ["a", "b", "c", "d"]);
}

/// Two transactions that ask for different jobs, in opposite orders of what is common to them.
async fn requests_do_not_wait_for_each_other(place: &Place) {
    let database = place.database("beside").await;
    let (mut one, mut two) = (database.begin().await.unwrap(), database.begin().await.unwrap());
    let both = async {
        for (a, b) in [("a", "b"), ("c", "d")] {
            jobs::enqueue(&mut one, &job("kind", a, 1, 0), Millis(1)).await.unwrap();
            jobs::enqueue(&mut two, &job("kind", b, 1, 0), Millis(1)).await.unwrap();
        }
    };
    tokio::time::timeout(Duration::from_secs(20), both).await.unwrap();
    Database::commit(two).await.unwrap();
    Database::commit(one).await.unwrap();
    // Pages follow each other by number.
    let first = jobs::list(&database, None, 0, 3).await.unwrap();
    let rest = jobs::list(&database, None, first[2].id, 3).await.unwrap();
    let keys: Vec<&str> = first.iter().chain(&rest).map(|j| j.key.as_str()).collect();
    assert_eq!(keys, ["a", "b", "c", "d"]);
}

async fn what_cannot_be_synced_is_no_object(place: &Place) {
    let objects = place.objects("unsynced").await;
    let (good, bad) = (ObjectKey::parse("x/good").unwrap(), ObjectKey::parse("x/bad").unwrap());
    objects.put_bytes(&bad, b"before".as_slice().into()).await.unwrap();
    let (file, socket) = (objects.staging().join("file"), objects.staging().join("socket"));
    std::fs::write(&file, "good").unwrap();
    // A socket has a name and cannot be opened, let alone synced.
    let _bound = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    let put = objects.put_files(vec![(bad.clone(), socket), (good.clone(), file)]).await;
    assert!(put[0].is_err() && put[1].is_ok(), "{put:?}");
    assert_eq!(&objects.get(&bad).await.unwrap()[..], b"before");
    assert_eq!(&objects.get(&good).await.unwrap()[..], b"good");
}

async fn errors_hold_no_values(place: &Place) {
    let database = place.database("values").await;
    let mut tx = database.begin().await.unwrap();
    let twice = "INSERT INTO things (name, n) VALUES ('1.2.276.0.99', 1), ('1.2.276.0.99', 2)";
    let source = tx.execute(twice).await.unwrap_err();
    let error = StoreError::Database { doing: "writing twice", source };
    assert!(!format!("{error} {error:?}").contains("276"), "{error:?}");
    assert!(format!("{error:?}").contains("writing twice"), "{error:?}");
}

async fn a_full_database_says_so(place: &Place) {
    let database = place.database("full").await;
    let mut tx = database.begin().await.unwrap();
    tx.execute("PRAGMA max_page_count = 60").await.unwrap();
    let error = loop {
        let row = sqlx::query("INSERT INTO things (name, n) VALUES ($1, 1)")
            .bind(format!("{:0>5000}", rand::random::<u64>()));
        if let Err(source) = row.execute(&mut *tx).await {
            break StoreError::Database { doing: "filling it", source };
        }
    };
    assert!(error.is_full() && error.is_passing(), "{error:?}");
}

#[test]
fn a_full_disk_is_full_whoever_says_it() {
    for number in [28, 122] {
        let source = std::io::Error::from_raw_os_error(number);
        assert!(StoreError::File { doing: "writing", source }.is_full(), "{number}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_outage_in_the_middle_of_a_job_is_not_counted() {
    let place = Place::servers().await;
    let database = place.database("outage").await;
    let server = place.postgres.as_ref().unwrap();
    ask(&database, &job("kind", "a", 1, 0)).await;
    let (gate, first) = (Arc::new(Notify::new()), Arc::new(AtomicBool::new(true)));
    let wait = Arc::clone(&gate);
    let answer = move |_: &Job| {
        let (wait, first) = (Arc::clone(&wait), first.swap(false, Ordering::SeqCst));
        async move {
            if first {
                wait.notified().await;
                return Err(Trouble::Later { why: "the database is away".into() });
            }
            Ok(())
        }
    };
    let seen = Seen::default();
    let handler = Noting { database: database.clone(), seen: Arc::clone(&seen), answer };
    let handle = runner(&database, "one").handle("kind", 1, Arc::new(handler)).start().await.unwrap();
    until(async || !seen.lock().unwrap().is_empty()).await;
    server.stop();
    gate.notify_one();
    tokio::time::sleep(Duration::from_secs(2)).await;
    server.again();
    until(async || jobs::list(&database, None, 0, 10).await.is_ok_and(|all| all.is_empty())).await;
    handle.stop(Duration::from_secs(5)).await;
    assert_eq!(seen.lock().unwrap().iter().map(|s| s.2).collect::<Vec<_>>(), [1, 1]);
}

/// Nobody listens; somebody listens and never answers.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_object_server_that_is_away_is_passing_and_soon_known() {
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let credentials = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(credentials.path(), "key\nsecret\n").unwrap();
    let staging = tempfile::tempdir().unwrap();
    for port in [overread_testkit::free_port(), silent.local_addr().unwrap().port()] {
        let file = credentials.path().display();
        let address =
            format!("s3://b/p?endpoint=http://127.0.0.1:{port}&region=us-east-1&credentials={file}");
        let objects = Objects::open(&address, staging.path()).await.unwrap();
        let key = ObjectKey::parse("key").unwrap();
        // Far longer than it takes, far shorter than it once took.
        let put = objects.put_bytes(&key, b"x".as_slice().into());
        let error = tokio::time::timeout(Duration::from_secs(60), put).await.unwrap().unwrap_err();
        assert!(error.is_passing(), "{error:?}");
    }
}

/// An S3 server that begins an upload and then refuses each part; it notes what it is asked.
async fn refusing(listener: tokio::net::TcpListener, asked: Arc<Mutex<Vec<String>>>) {
    while let Ok((mut socket, _)) = listener.accept().await {
        let asked = Arc::clone(&asked);
        tokio::spawn(async move {
            let (mut request, mut bytes) = (Vec::new(), [0; 65536]);
            let (line, body, length) = loop {
                let n = socket.read(&mut bytes).await.unwrap();
                assert!(n > 0, "the request ended in the middle");
                request.extend_from_slice(&bytes[..n]);
                let Some(end) = request.windows(4).position(|w| w == b"\r\n\r\n") else { continue };
                let head = String::from_utf8_lossy(&request[..end]).to_lowercase();
                let length = head.lines().find_map(|l| l.strip_prefix("content-length: "));
                let length: usize = length.map_or(0, |l| l.trim().parse().unwrap());
                break (head.lines().next().unwrap().to_owned(), request.len() - end - 4, length);
            };
            let mut body = body;
            while body < length {
                body += socket.read(&mut bytes).await.unwrap();
            }
            let (status, text) = match line.split(' ').next() {
                Some("post") => (
                    "200 OK",
                    "<InitiateMultipartUploadResult><UploadId>u7</UploadId></InitiateMultipartUploadResult>",
                ),
                Some("delete") => ("204 No Content", ""),
                _ => ("403 Forbidden", ""),
            };
            asked.lock().unwrap().push(line);
            let answer = format!(
                "HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{text}",
                text.len()
            );
            socket.write_all(answer.as_bytes()).await.unwrap();
        });
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failed_upload_leaves_no_parts_on_the_server() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let asked = Arc::new(Mutex::new(vec![]));
    let server = tokio::spawn(refusing(listener, Arc::clone(&asked)));
    let credentials = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(credentials.path(), "key\nsecret\n").unwrap();
    let staging = tempfile::tempdir().unwrap();
    let file = credentials.path().display();
    let address = format!("s3://b/p?endpoint=http://127.0.0.1:{port}&region=us-east-1&credentials={file}");
    let objects = Objects::open(&address, staging.path()).await.unwrap();
    let large = staging.path().join("large");
    std::fs::write(&large, vec![7; 20 << 20]).unwrap();
    let put = objects.put_file(&ObjectKey::parse("key").unwrap(), large.clone()).await;
    server.abort();
    assert!(put.is_err() && large.exists(), "{put:?}");
    let asked = asked.lock().unwrap();
    assert!(asked.iter().any(|l| l.starts_with("delete") && l.contains("uploadid=u7")), "{asked:?}");
}
