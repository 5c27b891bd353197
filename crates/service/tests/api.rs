//! The API: who may, what is refused, what the document says.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod support;

use overread_domain::Millis;
use overread_http::openapi::guarded_operations;
use overread_http::{Auth, Scope, tokens};
use overread_service::{Config, ProgramConfig, Programs, ServiceError};
use reqwest::Method;
use serde_json::{Value, json};
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
