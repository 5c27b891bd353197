//! A service at the other end of the link: it keeps what it is given and answers every study that comes with one finding.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::routing::{delete, get, post, put};
use axum::{Json, Router};
use overread_domain::{ContentHash, Millis};
use overread_wire::{Cursor, ResultMessage, ResultPage, StudyManifest, paths};

#[derive(Clone, Default)]
struct Kept {
    objects: Arc<Mutex<HashMap<String, Bytes>>>,
    studies: Arc<Mutex<Vec<StudyManifest>>>,
    results: Arc<Mutex<Vec<ResultMessage>>>,
    hold: Arc<AtomicBool>,
    forgotten: Arc<Mutex<Vec<(String, u32)>>>,
    /// While it is set, nothing is forgotten.
    busy: Arc<AtomicBool>,
}

/// A running one.
pub struct Service {
    kept: Kept,
    port: u16,
    _runtime: tokio::runtime::Runtime,
}

impl Service {
    pub fn start() -> Self {
        let kept = Kept::default();
        let router = Router::new()
            .route(paths::MISSING, post(missing))
            .route(paths::OBJECT, put(put_object).head(offset))
            .route(paths::STUDY, put(put_study))
            .route(paths::FORGET, delete(forget))
            .route(paths::RESULTS, get(results))
            .layer(axum::extract::DefaultBodyLimit::disable())
            .with_state(kept.clone());
        // Objects and messages come compressed.
        let router = overread_http::compressed(router);
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
        let port = listener.local_addr().unwrap().port();
        runtime.spawn(async move { axum::serve(listener, router).await });
        Self { kept, port, _runtime: runtime }
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The studies that it was given, in order.
    pub fn studies(&self) -> Vec<StudyManifest> {
        self.kept.studies.lock().unwrap().clone()
    }

    /// The results that it has released, in order.
    pub fn results(&self) -> Vec<ResultMessage> {
        self.kept.results.lock().unwrap().clone()
    }

    /// Keeps results back from now on.
    pub fn hold(&self) {
        self.kept.hold.store(true, Ordering::SeqCst);
    }

    /// Lets them go, as they are after a change.
    pub fn release(&self, change: impl FnOnce(&mut Vec<ResultMessage>)) {
        change(&mut self.kept.results.lock().unwrap());
        self.kept.hold.store(false, Ordering::SeqCst);
    }

    /// The studies that it was told to forget, and up to which version, in order.
    pub fn forgotten(&self) -> Vec<(String, u32)> {
        self.kept.forgotten.lock().unwrap().clone()
    }

    /// Whether it says that it cannot forget now.
    pub fn be_busy(&self, busy: bool) {
        self.kept.busy.store(busy, Ordering::SeqCst);
    }

    /// How many objects it was given.
    pub fn objects(&self) -> usize {
        self.kept.objects.lock().unwrap().len()
    }
}

async fn missing(State(kept): State<Kept>, Json(hashes): Json<Vec<ContentHash>>) -> Json<Vec<ContentHash>> {
    let objects = kept.objects.lock().unwrap();
    Json(hashes.into_iter().filter(|h| !objects.contains_key(h.as_str())).collect())
}

async fn offset() -> [(&'static str, &'static str); 1] {
    [(paths::UPLOAD_OFFSET, "0")]
}

async fn put_object(State(kept): State<Kept>, Path(sha256): Path<String>, body: Bytes) {
    kept.objects.lock().unwrap().insert(sha256, body);
}

async fn put_study(State(kept): State<Kept>, Json(study): Json<StudyManifest>) {
    let mut results = kept.results.lock().unwrap();
    let earlier = results.iter().filter(|r| r.study == study.study);
    let mut result = golden();
    result.case_version = u32::try_from(earlier.count()).unwrap() + 1;
    result.study = study.study.clone();
    result.study_version = study.version;
    result.manifest = Some(study.digest());
    result.images = study.instances.iter().map(|i| i.instance.clone()).collect();
    result.read_at = Millis(study.complete_at.0);
    results.push(result);
    kept.studies.lock().unwrap().push(study);
}

async fn forget(
    State(kept): State<Kept>,
    Path(study): Path<String>,
    Query(query): Query<HashMap<String, u32>>,
) -> StatusCode {
    if kept.busy.load(Ordering::SeqCst) {
        return StatusCode::SERVICE_UNAVAILABLE;
    }
    kept.forgotten.lock().unwrap().push((study, query["version"]));
    StatusCode::NO_CONTENT
}

async fn results(State(kept): State<Kept>, Query(query): Query<HashMap<String, usize>>) -> Json<ResultPage> {
    let after = query["after"];
    // Whoever asks waits a little, as at a real one.
    for _ in 0..20 {
        if !kept.hold.load(Ordering::SeqCst) && kept.results.lock().unwrap().len() > after {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    if kept.hold.load(Ordering::SeqCst) {
        return Json(ResultPage { results: vec![], next: Cursor(i64::try_from(after).unwrap()) });
    }
    let results: Vec<_> = kept.results.lock().unwrap()[after..].to_vec();
    let next = Cursor(i64::try_from(after + results.len()).unwrap());
    Json(ResultPage { results, next })
}

/// The result that the link's format is fixed by, without its picture.
fn golden() -> ResultMessage {
    let file = overread_testkit::tools::workspace().join("crates/wire/tests/golden/result-1.json");
    let mut result: ResultMessage = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
    result.captures.clear();
    result
}
