//! The whole way over HTTP: objects and studies in, results and captures out, with a real reader.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod support;

use overread_domain::{Decision, GridSize};
use overread_read::{Overrides, Program, Study};
use overread_testkit::{Postgres, S3};
use overread_wire::{ResultMessage, paths};
use reqwest::Method;
use serde_json::Value;
use support::{Bench, files, garbage, hash, packs, pool, program, study};

/// What the reader says of these files when nothing stands between.
fn direct(objects: &[Vec<u8>]) -> f64 {
    let folder = tempfile::tempdir().unwrap();
    let paths: Vec<_> = (0..objects.len()).map(|n| folder.path().join(format!("{n}.dcm"))).collect();
    for (path, bytes) in paths.iter().zip(objects) {
        std::fs::write(path, bytes).unwrap();
    }
    let uid = overread_domain::Uid::parse("1.2.3").unwrap();
    let limits = overread_dicom::read::Limits::default();
    let study = Study::of_files(uid, &paths, &Overrides::default(), &limits);
    let codec = overread_dicom::read::CodecHost::new(
        "/nonexistent".into(),
        vec![],
        overread_dicom::read::CodecLimits::default(),
    );
    let mut reader = overread_read::Reader::new(support::runtime(), codec, limits, 1);
    let program = Program::of_pack(packs().remove(0));
    let reading = reader.read(&study, &program, overread_read::Options::default()).unwrap();
    reading.findings[0].probability.unwrap().get()
}

async fn whole_way(mut bench: Bench) {
    bench.start(pool(), 2).await;
    // In shadow it is read, and nothing comes out.
    let first = study("whole way", 1, 1, Some("brightness"));
    let ask: Vec<_> = first.0.instances.iter().map(|i| i.sha256.clone()).collect();
    let missing = |hashes| bench.request(Method::POST, paths::MISSING).json(hashes);
    assert_eq!(
        missing(&ask).send().await.unwrap().json::<Value>().await.unwrap().as_array().unwrap().len(),
        1
    );
    bench.send(&first).await;
    assert_eq!(missing(&ask).send().await.unwrap().text().await.unwrap(), "[]");
    bench.until_states(&["read"]).await;
    assert!(bench.results(0, 0).await.results.is_empty());
    // Switched on, the old reading stays where it is, and a late image is released for the first time.
    assert_eq!(bench.set_mode("brightness", "review-all").await.status(), 200);
    assert!(bench.results(0, 0).await.results.is_empty());
    let second = study("whole way", 2, 2, Some("brightness"));
    bench.send(&second).await;
    let page = bench.results(0, 30).await;
    let [message] = &page.results[..] else { panic!("{page:?}") };
    assert_eq!((message.case_version, message.study_version), (1, 2));
    assert_eq!(message.study, second.0.study);
    assert_eq!(message.images, second.0.instances.iter().map(|i| i.instance.clone()).collect::<Vec<_>>());
    let probability = message.findings[0].probability.unwrap().get();
    assert!((probability - direct(&second.1)).abs() < 1e-6, "{probability}");
    message.check().unwrap();
    check_captures(&bench, message).await;
    // Another late image amends it.
    let third = study("whole way", 3, 3, Some("brightness"));
    bench.send(&third).await;
    let page = bench.results(page.next.0, 30).await;
    let [amended] = &page.results[..] else { panic!("{page:?}") };
    assert_eq!((amended.case_version, amended.study_version), (2, 3));
    bench.until_states(&["amended"]).await;
    // All of it again, out of order: nothing changes.
    for sent in [&third, &first, &second, &third] {
        bench.send(sent).await;
    }
    bench.until_states(&["amended"]).await;
    assert_eq!(bench.results(0, 0).await.results.len(), 2);
    assert_eq!(bench.get("/api/v1/jobs").await["jobs"], Value::Array(vec![]));
    let status = bench.get("/api/v1/status").await;
    assert_eq!((&status["released"], &status["unsent"]), (&2.into(), &1.into()));
    let case = bench.get("/api/v1/cases/1").await;
    let readings = case["readings"].as_array().unwrap();
    let versions: Vec<_> = readings.iter().map(|r| r["case_version"].as_i64()).collect();
    assert_eq!(versions, [None, Some(1), Some(2)]);
    assert_eq!(bench.get("/api/v1/audit/verify").await["holds"], Value::Bool(true));
    bench.crash().await;
}

async fn check_captures(bench: &Bench, message: &ResultMessage) {
    let [capture] = &message.captures[..] else { panic!("{:?}", message.captures) };
    assert!(capture.explains && capture.label == "bright", "{capture:?}");
    let answer = bench.request(Method::GET, &paths::object(&capture.sha256)).send().await.unwrap();
    assert_eq!(answer.headers()["content-type"], "image/png");
    let png = answer.bytes().await.unwrap();
    assert_eq!((hash(&png), png.len() as u64), (capture.sha256.clone(), capture.bytes));
    let picture = image::load_from_memory(&png).unwrap();
    assert!(GridSize::new(picture.width(), picture.height()).columns >= 720);
    let last = bench.get("/api/v1/cases/1").await["readings"][1]["id"].as_i64().unwrap();
    let address = format!("{}/api/v1/cases/1/readings/{last}/captures/1", bench.base);
    assert_eq!(bench.http.get(address).send().await.unwrap().bytes().await.unwrap(), png);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_study_goes_in_and_its_results_come_out() {
    whole_way(Bench::new().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn so_it_does_on_postgresql_and_s3() {
    let (postgres, s3) = (Postgres::start(), S3::start().await);
    let database = postgres.database("service");
    let bucket = s3.address("service");
    let bench = Bench::with(packs(), |config| {
        config.programs = vec![program("brightness")];
        (config.database, config.objects) = (database, bucket);
    })
    .await;
    whole_way(bench).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_hint_every_program_that_takes_it_reads_it() {
    let mut bench = Bench::with(packs(), |config| {
        config.programs = vec![program("brightness"), program("centre")];
    })
    .await;
    bench.start(pool(), 2).await;
    assert_eq!(bench.set_mode("centre", "review-all").await.status(), 200);
    bench.send(&study("no hint", 1, 1, None)).await;
    bench.until_states(&["read", "released"]).await;
    let page = bench.results(0, 0).await;
    let [message] = &page.results[..] else { panic!("{page:?}") };
    assert_eq!((message.program.as_str(), message.findings.len()), ("centre", 2));
    bench.crash().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_read_is_an_answer_and_never_an_absence() {
    let mut bench = Bench::new().await;
    bench.start(pool(), 2).await;
    bench.set_mode("brightness", "review-all").await;
    bench.send(&garbage("garbage", Some("brightness"))).await;
    let page = bench.results(0, 30).await;
    let [message] = &page.results[..] else { panic!("{page:?}") };
    let reason = message.not_assessed.as_ref().unwrap();
    assert_eq!(reason.code, "unreadable");
    assert!(reason.message.contains("image 1"), "{}", reason.message);
    assert!(message.findings.iter().all(|f| f.decision == Decision::NotAssessed));
    let text = serde_json::to_string(message).unwrap();
    assert!(!text.contains(bench.folder.path().to_str().unwrap()), "a path leaves: {text}");
    // Half of a study that cannot be read is said, and nothing is ruled out.
    let (mut manifest, mut objects) = study("half", 1, 2, Some("brightness"));
    objects[1] = b"no image".to_vec();
    manifest.instances[1].sha256 = hash(&objects[1]);
    bench.send(&(manifest, objects)).await;
    let page = bench.results(page.next.0, 30).await;
    assert_ne!(page.results[0].findings[0].decision, Decision::Absent);
    let case = bench.get("/api/v1/cases/2").await;
    assert!(case["readings"][0]["warnings"][0].as_str().unwrap().starts_with("image 2: "), "{case}");
    // Nobody can tell which program it is for.
    bench.send(&garbage("nobody's", None)).await;
    bench.until_states(&["released", "released", "no-program"]).await;
    let case = bench.get("/api/v1/cases/3").await;
    assert!(case["case"]["detail"].as_str().unwrap().contains("can be opened"), "{case}");
    bench.crash().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_bytes_are_refused_and_leave_nothing() {
    let bench = Bench::new().await;
    let answer = bench.put_object(&hash(b"right"), b"wrong".to_vec()).await;
    assert_eq!(answer.status(), 409);
    assert_eq!(answer.headers()["content-type"], "application/problem+json");
    assert_eq!(files(&bench.folder.path().join("objects")), Vec::<std::path::PathBuf>::new());
    assert_eq!(files(&bench.folder.path().join("staging")), Vec::<std::path::PathBuf>::new());
    // Neither is a study whose objects are not here.
    let (manifest, _) = study("absent", 1, 2, None);
    let answer = bench.put_study(&manifest).await;
    assert_eq!(answer.status(), 409);
    assert!(answer.text().await.unwrap().contains("2 of the study's 2 objects"));
    assert_eq!(bench.states().await, Vec::<String>::new());
    // A name that tries to be a path is no hash.
    let bad = bench.request(Method::PUT, "/link/v1/objects/..%2f..%2fetc").body("x").send().await.unwrap();
    assert_eq!(bad.status(), 400);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_is_never_given_back() {
    let bench = Bench::new().await;
    let (_, objects) = study("private", 1, 1, None);
    assert_eq!(bench.put_object(&hash(&objects[0]), objects[0].clone()).await.status(), 201);
    assert_eq!(bench.put_object(&hash(&objects[0]), objects[0].clone()).await.status(), 200);
    let answer = bench.request(Method::GET, &paths::object(&hash(&objects[0]))).send().await.unwrap();
    assert_eq!(answer.status(), 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_has_one_manifest() {
    let bench = Bench::new().await;
    let mut sent = study("one manifest", 2, 1, None);
    bench.send(&sent).await;
    sent.0.program_hint = Some("centre".into());
    let answer = bench.put_study(&sent.0).await;
    assert_eq!(answer.status(), 409);
    assert!(answer.text().await.unwrap().contains("next version"));
    sent.0.version = 1;
    assert_eq!(bench.put_study(&sent.0).await.status(), 409, "older, and never seen");
    let path = paths::study(&sent.0.study, 9);
    let answer = bench.request(Method::PUT, &path).json(&sent.0).send().await.unwrap();
    assert_eq!(answer.status(), 400, "address and manifest differ");
    sent.0.version = 0;
    let path = paths::study(&sent.0.study, 0);
    assert_eq!(bench.request(Method::PUT, &path).json(&sent.0).send().await.unwrap().status(), 422);
}

#[tokio::test(flavor = "multi_thread")]
async fn too_much_is_refused_before_it_is_taken() {
    let full = Bench::with(packs(), |config| {
        config.programs = vec![program("brightness")];
        config.limits.reserve_bytes = u64::MAX;
    })
    .await;
    let answer = full.put_object(&hash(b"x"), b"x".to_vec()).await;
    assert_eq!(answer.status(), 507);
    let small = Bench::with(packs(), |config| {
        config.programs = vec![program("brightness")];
        config.limits.object_bytes = 3;
    })
    .await;
    assert_eq!(small.put_object(&hash(b"long"), b"long".to_vec()).await.status(), 413);
    let chunks = futures::stream::iter(["lo", "ng"].map(Ok::<_, std::io::Error>));
    let answer = small
        .request(Method::PUT, &paths::object(&hash(b"long")))
        .body(reqwest::Body::wrap_stream(chunks))
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 413, "not announced");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_link_asks_for_its_token_always() {
    let bench = Bench::new().await;
    let (manifest, _) = study("token", 1, 1, None);
    for (method, path) in [
        (Method::POST, paths::MISSING.to_owned()),
        (Method::GET, paths::RESULTS.to_owned()),
        (Method::PUT, paths::object(&hash(b"x"))),
        (Method::GET, paths::object(&hash(b"x"))),
        (Method::PUT, paths::study(&manifest.study, 1)),
    ] {
        let address = format!("{}{path}", bench.base);
        let none = bench.http.request(method.clone(), &address).send().await.unwrap();
        let wrong = bench.http.request(method.clone(), &address).bearer_auth("0".repeat(32)).send().await;
        assert_eq!((none.status().as_u16(), wrong.unwrap().status().as_u16()), (401, 401), "{method} {path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn cursors_tell_when_the_two_sides_do_not_fit() {
    let bench = Bench::new().await;
    let ask = |query: &str| bench.request(Method::GET, &format!("{}?{query}", paths::RESULTS)).send();
    assert_eq!(ask("after=-1").await.unwrap().status(), 400);
    assert_eq!(ask("after=x").await.unwrap().status(), 400);
    let ahead = ask("after=7").await.unwrap();
    assert_eq!(ahead.status(), 409);
    assert!(ahead.text().await.unwrap().contains("older than the edge's"));
}
