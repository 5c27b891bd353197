//! The API: who may, what is refused, what the document says.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod support;

use overread_domain::Millis;
use overread_http::openapi::guarded_operations;
use overread_http::{Auth, Scope, tokens};
use overread_service::{Config, ProgramConfig, Programs, ServiceError};
use reqwest::Method;
use serde_json::{Value, json};
use sha2::Digest;
use support::{Bench, packs, pool, program, research_pack, study};

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_open_but_what_must_be() {
    let bench = Bench::with(packs(), |config| {
        config.programs = vec![program("brightness")];
        config.http.auth = Auth::Token;
    })
    .await;
    let operations = guarded_operations(&bench.api);
    assert!(operations.len() >= 10, "{operations:?}");
    for (method, path) in &operations {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let answer =
            bench.http.request(method.clone(), format!("{}{path}", bench.base)).send().await.unwrap();
        assert_eq!(answer.status(), 401, "{method} {path}");
        assert_eq!(answer.headers()["content-type"], "application/problem+json");
    }
    let mut open: Vec<&str> =
        bench.api.paths.paths.keys().map(String::as_str).filter(|p| !p.starts_with("/api/")).collect();
    open.retain(|p| *p != "/metrics");
    assert_eq!(open, ["/healthz", "/readyz"], "the list of what is open can only shrink");
    // The link's token opens nothing here, and a token to look changes nothing.
    let mode = format!("{}/api/v1/programs/brightness/mode", bench.base);
    let body = json!({ "mode": "review-all", "reason": "a test" });
    let put = |token: &str| bench.http.put(&mode).bearer_auth(token).json(&body).send();
    assert_eq!(put(support::TOKEN).await.unwrap().status(), 401);
    let look =
        tokens::create(&bench.service.database, Millis(1), "test", "look", &[Scope::Read]).await.unwrap();
    assert_eq!(put(look.text.reveal()).await.unwrap().status(), 403);
    let operate =
        tokens::create(&bench.service.database, Millis(1), "test", "ops", &[Scope::Operate]).await.unwrap();
    let answer = put(operate.text.reveal()).await.unwrap();
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.json::<Value>().await.unwrap()["changed_by"], "token:ops");
}

#[tokio::test(flavor = "multi_thread")]
async fn modes_are_a_persons_matter() {
    let folder = tempfile::tempdir().unwrap();
    let mut all = packs();
    all.push(research_pack(folder.path()));
    let mut bench = Bench::with(all, |config| {
        config.programs = vec![program("brightness"), program("research")];
    })
    .await;
    bench.start(pool(), 1).await;
    let list = bench.get("/api/v1/programs").await;
    let modes: Vec<_> = list["programs"].as_array().unwrap().iter().map(|p| &p["mode"]).collect();
    assert_eq!(modes, ["shadow", "shadow"]);
    let refused = |answer: reqwest::Response, what: &'static str| async move {
        assert_eq!(answer.status(), 409);
        let text = answer.text().await.unwrap();
        assert!(text.contains(what), "{text}");
    };
    refused(bench.set_mode("brightness", "review-uncertain").await, "local validation").await;
    refused(bench.set_mode("research", "review-all").await, "research only").await;
    assert_eq!(bench.set_mode("research", "shadow").await.status(), 200);
    assert_eq!(bench.set_mode("nobody", "shadow").await.status(), 404);
    assert_eq!(bench.set_mode("brightness", "live").await.status(), 422);
    let path = format!("{}/api/v1/programs/brightness/mode", bench.base);
    let silent =
        bench.http.put(&path).json(&json!({ "mode": "shadow", "reason": " " })).send().await.unwrap();
    assert_eq!(silent.status(), 422);
    assert_eq!(bench.set_mode("brightness", "review-all").await.status(), 200);
    assert_eq!(bench.set_mode("brightness", "review-all").await.status(), 200);
    // There and back: what was read in shadow is kept for ever.
    assert_eq!(bench.set_mode("brightness", "shadow").await.status(), 200);
    bench.send(&study("kept", 1, 1, Some("brightness"))).await;
    bench.until_states(&["read"]).await;
    bench.set_mode("brightness", "review-all").await;
    assert!(bench.results(0, 0).await.results.is_empty());
    let audit = bench.get("/api/v1/audit").await;
    let entries = audit["entries"].as_array().unwrap();
    let changes: Vec<_> = entries.iter().filter(|e| e["action"] == "program.mode").collect();
    assert_eq!(changes.len(), 3, "a change that changes nothing is none: {changes:?}");
    assert!(changes[0]["detail"].as_str().unwrap().contains("a test"));
    assert_eq!(bench.get("/api/v1/audit/verify").await["holds"], true);
    bench.crash().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_parameters_are_problems_and_never_failures() {
    let bench = Bench::new().await;
    for (path, status) in [
        ("/api/v1/cases?limit=0", 400),
        ("/api/v1/cases?limit=x", 400),
        ("/api/v1/cases?after=-1", 400),
        ("/api/v1/cases?state=lost", 400),
        ("/api/v1/cases?program=%00", 400),
        ("/api/v1/cases?who=me", 400),
        ("/api/v1/cases/x", 400),
        ("/api/v1/cases/9223372036854775807", 404),
        ("/api/v1/cases/-1", 404),
        ("/api/v1/cases/1/readings/1/captures/0", 404),
        ("/api/v1/cases/1/readings/1/captures/99999999999", 400),
        ("/api/v1/nothing", 404),
    ] {
        let answer = bench.http.get(format!("{}{path}", bench.base)).send().await.unwrap();
        assert_eq!(answer.status(), status, "{path}");
        assert_eq!(answer.headers()["content-type"], "application/problem+json", "{path}");
    }
    let put = bench.http.put(format!("{}/api/v1/programs/%00/mode", bench.base));
    assert_eq!(put.json(&json!({ "mode": "shadow", "reason": "x" })).send().await.unwrap().status(), 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_cases_follow_each_other() {
    let bench = Bench::new().await;
    for name in ["a", "b", "c"] {
        bench.send(&study(name, 1, 1, Some("brightness"))).await;
    }
    let first = bench.get("/api/v1/cases?limit=2&state=received&program=brightness").await;
    assert_eq!((first["cases"].as_array().unwrap().len(), &first["next"]), (2, &json!(2)));
    let second = bench.get("/api/v1/cases?limit=2&after=2").await;
    assert_eq!((second["cases"].as_array().unwrap().len(), &second["next"]), (1, &Value::Null));
    let status = bench.get("/api/v1/status").await;
    assert_eq!(status["waiting"], 3);
    assert!(status["oldest_waiting_at"].is_i64());
    assert!(bench.get("/readyz").await["ready"].as_bool().unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_case_is_told_to_whoever_looks_on() {
    let mut bench = Bench::new().await;
    bench.start(pool(), 1).await;
    bench.set_mode("brightness", "review-all").await;
    let mut events = bench.http.get(format!("{}/api/v1/events", bench.base)).send().await.unwrap();
    bench.send(&study("told", 1, 1, Some("brightness"))).await;
    let mut seen = String::new();
    while !seen.contains("case.released") {
        let part = tokio::time::timeout(std::time::Duration::from_secs(60), events.chunk()).await.unwrap();
        seen.push_str(std::str::from_utf8(&part.unwrap().unwrap()).unwrap());
    }
    let metrics = bench.http.get(format!("{}/metrics", bench.base)).send().await.unwrap();
    let metrics = metrics.text().await.unwrap();
    assert!(metrics.contains("overread_service_released_total{program=\"brightness\"}"), "{metrics}");
    bench.crash().await;
}

#[test]
fn programs_want_their_packs() {
    let missing = ProgramConfig { pack: "nowhere".into(), ..program("brightness") };
    let error = Programs::configured(&[missing], &packs()).err().unwrap();
    assert!(matches!(&error, ServiceError::NoPack { found, .. } if found == "brightness, centre"), "{error}");
    // Unsigned packs make no programs by themselves.
    assert!(matches!(
        Programs::configured(&Config::default().programs, &packs()),
        Err(ServiceError::NoProgram)
    ));
}

/// A record of a validation of the pack `brightness`, as `overread validate` writes it.
fn validation(edition: &str) -> Value {
    use overread_domain::{Decision, Probability};
    use overread_learn::record::{Cases, FindingValidation, PackReference, Refusals};
    use overread_learn::share::Share;
    use overread_learn::{Answer, FindingCases, SCHEMA, Settings, Validation};
    let answer = |truth: bool, p: f64| Answer {
        truth,
        score: p,
        probability: Probability::new(p).ok(),
        decision: Decision::Indeterminate,
    };
    let cases = vec![answer(true, 0.9), answer(true, 0.4), answer(false, 0.6), answer(false, 0.1)];
    let finding = FindingCases { label: "bright".into(), cases, ..FindingCases::default() };
    let pack = PackReference {
        id: "brightness".into(),
        version: "1".into(),
        edition: edition.into(),
        research_only: false,
    };
    let record = Validation {
        schema: SCHEMA.into(),
        made_at: 1_798_675_200_000,
        made_by: "test".into(),
        program: "brightness".into(),
        pack,
        cases: Cases {
            cases: 4,
            images: 4,
            grouped_by: None,
            labels_sha256: overread_domain::ContentHash::from_bytes([7; 32]),
        },
        confidence: 0.95,
        prevalence: None,
        studies_a_day: None,
        refusals: Refusals { cases: Share::new(0, 4), images: Share::new(0, 4), codes: vec![] },
        findings: vec![FindingValidation::of(finding, &Settings::default())],
        comparison: None,
        remarks: vec![],
    };
    serde_json::to_value(record).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mode_may_rest_on_a_local_validation_of_the_edition_that_reads() {
    let folder = tempfile::tempdir().unwrap();
    let mut all = packs();
    all.push(research_pack(folder.path()));
    let edition = all[0].edition.to_string();
    let bench = Bench::with(all, |config| {
        config.programs = vec![program("brightness"), program("research")];
    })
    .await;
    let put = |name: &'static str, mode: &'static str, record: String| {
        let path = format!("{}/api/v1/programs/{name}/mode", bench.base);
        let body = json!({ "mode": mode, "reason": "a test", "validation": record });
        bench.http.put(path).json(&body).send()
    };
    let without = bench.set_mode("brightness", "review-all").await.json::<Value>().await.unwrap();
    assert_eq!(
        (&without["validated"], &without["validation"]),
        (&"without local validation".into(), &Value::Null)
    );
    let good = validation(&edition);
    let changed = |key: &str, value: Value| {
        let mut record = good.clone();
        record[key] = value;
        record.to_string()
    };
    let another = validation(&"0".repeat(64)).to_string();
    for (record, says) in [
        ("no JSON".to_owned(), "overread.validation/1"),
        (changed("schema", "overread.result/1".into()), "its schema is overread.result/1"),
        (changed("findings", json!([])), "validates nothing"),
        (changed("program", "centre".into()), "of program centre"),
        (another, "of edition 000000000000"),
    ] {
        let answer = put("brightness", "review-uncertain", record).await.unwrap();
        assert_eq!(answer.status(), 422);
        let text = answer.text().await.unwrap();
        assert!(text.contains(says), "{text}");
    }
    // Terms stand above figures.
    let research = put("research", "review-all", good.to_string()).await.unwrap();
    assert_eq!(research.status(), 409);
    assert!(research.text().await.unwrap().contains("research only"));

    let text = serde_json::to_string_pretty(&good).unwrap();
    let taken = put("brightness", "review-uncertain", text.clone()).await.unwrap();
    assert_eq!(taken.status(), 200);
    let view = taken.json::<Value>().await.unwrap();
    assert_eq!(view["validated"], "validated locally on 4 cases, 2026-12-31");
    let sha256 = overread_domain::ContentHash::from_bytes(sha2::Sha256::digest(&text).into());
    assert_eq!(view["validation"]["sha256"], sha256.as_str(), "the hash of the file as it is");
    assert_eq!(view["validation"]["findings"][0]["auroc"], 0.75);
    let audit = bench.get("/api/v1/audit").await;
    let last = audit["entries"].as_array().unwrap().iter().rfind(|e| e["action"] == "program.mode").unwrap();
    let detail = last["detail"].as_str().unwrap();
    for part in [sha256.as_str(), "\"cases\":4", "\"auroc\":0.75", "a test"] {
        assert!(detail.contains(part), "{part} is not in {detail}");
    }
    // It stands for later changes, too.
    assert_eq!(bench.set_mode("brightness", "shadow").await.status(), 200);
    assert_eq!(bench.set_mode("brightness", "review-uncertain").await.status(), 200);
}
