//! What a door answers: refusals, health, metrics, jobs, audit log, events, and how it shuts.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod support;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::routing::{get, post};
use overread_domain::Millis;
use overread_http::extract::{Json, Path, Query};
use overread_http::{Auth, HttpConfig, Problem, Scope};
use overread_store::jobs::{self, Job, NewJob};
use overread_store::{Database, Handler, Runner, RunnerConfig, Trouble};
use serde::Deserialize;
use support::{Open, client, config, open, problem, until};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Notify;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Order {
    #[expect(dead_code, reason = "only parsed")]
    images: u32,
}

fn routes() -> Router {
    Router::new()
        .route("/orders", post(async |Json(_): Json<Order>| "taken"))
        .route("/orders/{number}", get(async |Path(number): Path<u32>| number.to_string()))
        .route("/find", get(async |Query(_): Query<Order>| "found"))
        .route("/studies/{study}", get(async || "a study"))
        .route("/upload", post(async |body: axum::body::Body| drain(body).await))
        .route("/panic", get(async || -> &'static str { panic!("the patient's name") }))
}

async fn drain(body: axum::body::Body) -> Result<String, Problem> {
    use futures::TryStreamExt;
    let mut stream = body.into_data_stream();
    let mut bytes = 0;
    while let Some(chunk) = stream.try_next().await.map_err(|e| Problem::of_body(&e))? {
        bytes += Bytes::len(&chunk);
    }
    Ok(bytes.to_string())
}

async fn plain() -> Open {
    open(config(Auth::None), |door| door.add(Scope::Read, routes())).await
}

fn detail(problem: &serde_json::Value) -> &str {
    problem["detail"].as_str().unwrap()
}

#[tokio::test]
async fn bad_input_is_refused_with_the_field_s_name() {
    let door = plain().await;
    let order = async |body: &'static str, kind: &str| {
        client().post(door.url("/orders")).header("content-type", kind).body(body).send().await.unwrap()
    };
    let json = "application/json";
    assert_eq!(order(r#"{"images": 1}"#, json).await.text().await.unwrap(), "taken");
    for (body, status, word) in [
        (r#"{"images": "many"}"#, 422, "images"),
        (r#"{"images": 1, "imags": 2}"#, 422, "imags"),
        ("{}", 422, "images"),
        ("{", 400, "line 1"),
    ] {
        let refusal = problem(order(body, json).await, status).await;
        assert!(detail(&refusal).contains(word), "{refusal}");
    }
    problem(order("{}", "text/plain").await, 415).await;
    let find = client().get(door.url("/find?images=x")).send().await.unwrap();
    let refusal = problem(find, 400).await;
    assert!(detail(&refusal).contains("images"), "{refusal}");
    problem(client().get(door.url("/orders/x")).send().await.unwrap(), 400).await;
    for query in ["limit=0", "limit=1001", "after=-1", "state=lost", "colour=red"] {
        let answer = client().get(door.url(&format!("/api/v1/jobs?{query}"))).send().await.unwrap();
        let refusal = problem(answer, 400).await;
        let key = query.split('=').next().unwrap();
        assert!(detail(&refusal).contains(key), "{query}: {refusal}");
    }
}

#[tokio::test]
async fn unknown_addresses_wrong_methods_and_panics_are_problem_documents() {
    let door = plain().await;
    problem(client().get(door.url("/nowhere")).send().await.unwrap(), 404).await;
    let method = client().delete(door.url("/orders")).send().await.unwrap();
    assert_eq!(method.headers()["allow"], "POST");
    problem(method, 405).await;
    let text = problem(client().get(door.url("/panic")).send().await.unwrap(), 500).await.to_string();
    assert!(text.contains("urn:overread:error:") && !text.contains("patient"), "{text}");
    assert_eq!(client().get(door.url("/orders/7")).send().await.unwrap().text().await.unwrap(), "7");
}

#[tokio::test]
async fn bodies_that_are_too_large_or_never_come_are_given_up() {
    let small = HttpConfig {
        max_body_bytes: 100,
        max_upload_bytes: 1000,
        body_idle_seconds: 1,
        ..config(Auth::None)
    };
    let door = open(small, |door| door.add(Scope::Read, routes())).await;
    let post = async |path: &str, bytes: usize| {
        let request = client().post(door.url(path)).header("content-type", "application/json");
        request.body(vec![b' '; bytes]).send().await.unwrap()
    };
    problem(post("/orders", 101).await, 413).await;
    problem(post("/upload", 1001).await, 413).await;
    assert_eq!(post("/upload", 1000).await.text().await.unwrap(), "1000");

    for path in ["/upload", "/orders"] {
        let mut slow = TcpStream::connect(door.address).await.unwrap();
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 10\r\nConnection: close\r\n\r\n{{"
        );
        slow.write_all(head.as_bytes()).await.unwrap();
        let mut answer = String::new();
        slow.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 408"), "{path}: {answer}");
    }
}

#[tokio::test]
async fn readyz_names_the_check_that_fails() {
    let fit =
        |door: overread_http::Door| {
            door.check("objects", Duration::from_secs(5), async || {
                Err("no such bucket at s3.internal".to_owned())
            })
            .check("pacs", Duration::from_millis(1), async || {
                std::future::pending::<()>().await;
                Ok(())
            })
        };
    let door = open(config(Auth::Token), fit).await;
    let answer = client().get(door.url("/readyz")).send().await.unwrap();
    assert_eq!(answer.status(), 503);
    let seen: serde_json::Value = answer.json().await.unwrap();
    assert_eq!(seen["ready"], false);
    let oks: Vec<_> = seen["checks"].as_array().unwrap().iter().map(|c| (&c["name"], &c["ok"])).collect();
    assert_eq!(
        format!("{oks:?}"),
        r#"[(String("database"), Bool(true)), (String("objects"), Bool(false)), (String("pacs"), Bool(false))]"#
    );
    assert!(!seen.to_string().contains("s3.internal"), "{seen}");
    let (_, token) = door.token("a", &[Scope::Read]).await;
    let told =
        client().get(door.url("/readyz")).bearer_auth(token).send().await.unwrap().text().await.unwrap();
    assert!(told.contains("s3.internal") && told.contains("no answer within 1 ms"), "{told}");
    assert_eq!(client().get(door.url("/healthz")).send().await.unwrap().status(), 200);
}

#[tokio::test]
async fn metrics_know_routes_but_no_address() {
    let door = plain().await;
    let uid = "1.2.840.113619.2.55.3.604688119";
    client().get(door.url(&format!("/studies/{uid}?PatientName=DOE"))).send().await.unwrap();
    client().get(door.url(&format!("/nowhere/{uid}"))).send().await.unwrap();
    let made_up = reqwest::Method::from_bytes(b"DOE").unwrap();
    client().request(made_up, door.url("/orders")).send().await.unwrap();
    let text = client().get(door.url("/metrics")).send().await.unwrap().text().await.unwrap();
    assert!(
        text.contains(r#"overread_http_requests_total{method="GET",route="/studies/{study}",status="200"}"#),
        "{text}"
    );
    assert!(
        text.contains(r#"route="unmatched""#) && text.contains("overread_http_request_seconds_bucket"),
        "{text}"
    );
    for secret in [uid, "DOE", "PatientName", "nowhere"] {
        assert!(!text.contains(secret), "{secret}: {text}");
    }
    let memory = text.lines().find_map(|l| l.strip_prefix("process_resident_memory_bytes ")).unwrap();
    assert!(memory.parse::<u64>().unwrap() > 1 << 20);
    assert!(text.contains("overread_store_up 1"));
}

struct Hopeless;

impl Handler for Hopeless {
    fn run<'a>(
        &'a self,
        _: &'a Job,
    ) -> std::pin::Pin<Box<dyn Future<Output = Result<(), Trouble>> + Send + 'a>> {
        Box::pin(async { Err(Trouble::Never { why: "the object cannot be decoded".into() }) })
    }
}

/// Two dead letters of kind `send`, and a waiting job of kind `read`.
async fn with_jobs(door: &Open) {
    let (db, clock) = (&door.common.db, &door.common.clock);
    let mut tx = db.begin().await.unwrap();
    for (kind, key) in [("send", "1"), ("read", "9"), ("send", "2")] {
        let job = NewJob { kind, key, payload: serde_json::json!({}), priority: 0, run_at: Millis(0) };
        jobs::enqueue(&mut tx, &job, clock.now()).await.unwrap();
    }
    Database::commit(tx).await.unwrap();
    let runner = Runner::new(db.clone(), clock.clone(), RunnerConfig::new("test"), Arc::new(Notify::new()));
    let running = runner.handle("send", 2, Arc::new(Hopeless)).start().await.unwrap();
    until("two dead letters", async || jobs::list(db, Some("dead"), 0, 10).await.unwrap().len() == 2).await;
    running.stop(Duration::from_secs(30)).await;
}

#[tokio::test]
async fn dead_letters_are_seen_and_put_back_in_line() {
    let door = plain().await;
    with_jobs(&door).await;
    let get = async |path: &str| -> serde_json::Value {
        client().get(door.url(path)).send().await.unwrap().json().await.unwrap()
    };
    let post = async |path: &str| client().post(door.url(path)).send().await.unwrap();
    let dead = get("/api/v1/jobs?state=dead").await;
    assert_eq!(dead["jobs"][0]["error"], "the object cannot be decoded");
    let first = dead["jobs"][0]["id"].as_i64().unwrap();
    assert_eq!(get("/api/v1/jobs?kind=read").await["jobs"].as_array().unwrap().len(), 1);
    let page = get("/api/v1/jobs?kind=send&limit=1").await;
    assert_eq!(page["next"], page["jobs"][0]["id"]);
    let rest = get(&format!("/api/v1/jobs?kind=send&limit=5&after={}", page["next"])).await;
    assert_eq!((rest["jobs"].as_array().unwrap().len(), &rest["next"]), (1, &serde_json::Value::Null));
    let text = client().get(door.url("/metrics")).send().await.unwrap().text().await.unwrap();
    assert!(text.contains(r#"overread_jobs{kind="send",state="dead"} 2"#), "{text}");

    assert_eq!(
        post(&format!("/api/v1/jobs/{first}/requeue")).await.text().await.unwrap(),
        r#"{"requeued":1}"#
    );
    problem(post(&format!("/api/v1/jobs/{first}/requeue")).await, 404).await;
    problem(post("/api/v1/jobs/0/requeue").await, 404).await;
    assert_eq!(post("/api/v1/jobs/requeue-dead").await.text().await.unwrap(), r#"{"requeued":1}"#);
    assert_eq!(get("/api/v1/jobs?state=dead").await["jobs"].as_array().unwrap().len(), 0);

    let log = get("/api/v1/audit?limit=1").await;
    assert_eq!(
        (&log["entries"][0]["action"], &log["entries"][0]["actor"]),
        (&"jobs.requeue".into(), &"local".into())
    );
    assert_eq!(log["next"], 1);
    let verdict = get("/api/v1/audit/verify").await;
    assert_eq!((&verdict["holds"], &verdict["entries"]), (&true.into(), &2.into()));
    let mut tx = door.common.db.begin().await.unwrap();
    sqlx::query("UPDATE audit SET actor = 'nobody' WHERE sequence = 2").execute(&mut *tx).await.unwrap();
    Database::commit(tx).await.unwrap();
    let verdict = get("/api/v1/audit/verify").await;
    assert_eq!((&verdict["holds"], &verdict["broken_at"]), (&false.into(), &2.into()));
}

#[tokio::test]
async fn events_come_as_they_happen_and_end_when_the_door_shuts() {
    let mut door = plain().await;
    let mut stream = client().get(door.url("/api/v1/events")).send().await.unwrap();
    assert_eq!(stream.headers()["content-type"], "text/event-stream");
    door.common.events.tell("study.complete", Millis(5), serde_json::json!({ "study": 7 }));
    let first = stream.chunk().await.unwrap().unwrap();
    let text = String::from_utf8(first.to_vec()).unwrap();
    assert!(text.contains("event: study.complete"), "{text}");
    assert!(text.contains(r#"data: {"kind":"study.complete","at":5,"data":{"study":7}}"#), "{text}");
    // A burst that no client could take at once: told as a gap, not as silence.
    for n in 0..5000 {
        door.common.events.tell("noise", Millis(n), serde_json::json!({}));
    }
    let mut seen = String::new();
    while !seen.contains("event: lagged") {
        seen.push_str(std::str::from_utf8(&stream.chunk().await.unwrap().unwrap()).unwrap());
    }
    door.shut();
    while stream.chunk().await.unwrap().is_some() {}
    door.finished().await.unwrap();
}

#[tokio::test]
async fn a_shutdown_lets_a_running_request_finish() {
    let (begun, release) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (inside, waiting) = (begun.clone(), release.clone());
    let slow = Router::new().route(
        "/slow",
        get(async move || {
            inside.notify_one();
            waiting.notified().await;
            "finished"
        }),
    );
    let mut door = open(config(Auth::None), |door| door.add(Scope::Read, slow)).await;
    let request = tokio::spawn(client().get(door.url("/slow")).send());
    begun.notified().await;
    door.shut();
    let address = door.address;
    until("new connections are refused", async || TcpStream::connect(address).await.is_err()).await;
    release.notify_one();
    assert_eq!(request.await.unwrap().unwrap().text().await.unwrap(), "finished");
    door.finished().await.unwrap();
}

#[tokio::test]
async fn the_document_is_openapi_3_1_and_complete() {
    let door = plain().await;
    let document: serde_json::Value =
        client().get(door.url("/api/v1/openapi.json")).send().await.unwrap().json().await.unwrap();
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1"));
    assert_eq!((&document["info"]["title"], &document["info"]["version"]), (&"Test".into(), &"1.2.3".into()));
    // This door asks nobody for a token, and its document does not say that it does.
    assert!(document["security"].is_null() && document["components"]["securitySchemes"].is_null());
    let paths: Vec<_> = document["paths"].as_object().unwrap().keys().collect();
    assert_eq!(
        paths,
        [
            "/api/v1/audit",
            "/api/v1/audit/verify",
            "/api/v1/events",
            "/api/v1/jobs",
            "/api/v1/jobs/requeue-dead",
            "/api/v1/jobs/{id}/requeue",
            "/healthz",
            "/metrics",
            "/readyz"
        ]
    );
    let refusal = &document["paths"]["/api/v1/jobs"]["get"]["responses"]["default"]["content"];
    assert_eq!(refusal["application/problem+json"]["schema"]["$ref"], "#/components/schemas/Problem");
    assert!(document["components"]["schemas"]["Problem"]["properties"]["detail"].is_object());
}
