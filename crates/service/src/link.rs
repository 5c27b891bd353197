//! The link's HTTP door: what [`overread_wire::Link`] asks for, at [`overread_wire::paths`].
//!
//! An answer of 2xx means that it is durable. Every call may be repeated.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post, put};
use futures::StreamExt;
use overread_domain::{ContentHash, Uid};
use overread_http::Problem;
use overread_http::extract::{Json, Path, Query};
use overread_store::{Database, StoreError};
use overread_wire::{Cursor, ResultPage, StudyManifest, paths};
use serde::Deserialize;
use sha2::{Digest, Sha256};
use tokio::io::AsyncWriteExt;

use crate::config::is_program_name;
use crate::intake::{self, CLIENT, IntakeError, ObjectKind, object_key};
use crate::meter;
use crate::outbox::{self, OutboxError};
use crate::service::Service;

/// Bytes of the largest manifest: [`StudyManifest::INSTANCES`] entries of some 300 bytes.
const MANIFEST: usize = 80 << 20;
/// Hashes of one question for missing objects.
const HASHES: usize = 50_000;
/// The longest wait for results.
const WAIT: Duration = Duration::from_secs(30);

/// The link's routes, to be put behind the link's token.
pub(crate) fn router(service: Arc<Service>) -> Router {
    Router::new()
        .route(paths::MISSING, post(missing).layer(DefaultBodyLimit::max(8 << 20)))
        .route(paths::OBJECT, put(put_object).get(get_object).layer(DefaultBodyLimit::disable()))
        .route(paths::STUDY, put(put_study).layer(DefaultBodyLimit::max(MANIFEST)))
        .route(paths::RESULTS, get(results))
        .with_state(service)
}

async fn missing(
    State(service): State<Arc<Service>>,
    Json(hashes): Json<Vec<ContentHash>>,
) -> Result<Json<Vec<ContentHash>>, Problem> {
    if hashes.len() > HASHES {
        return Err(Problem::bad_request(format!("ask for {HASHES} objects at most at once")));
    }
    Ok(Json(intake::missing(&service.database, CLIENT, ObjectKind::Image, &hashes).await?))
}

async fn put_object(
    State(service): State<Arc<Service>>,
    Path(hash): Path<ContentHash>,
    headers: HeaderMap,
    body: Body,
) -> Result<StatusCode, Problem> {
    let limit = service.limits.object_bytes;
    let announced = headers
        .get(header::CONTENT_LENGTH)
        .and_then(|v| v.to_str().ok())
        .and_then(|v| v.parse::<u64>().ok())
        .unwrap_or(0);
    if announced > limit {
        return Err(too_large(limit));
    }
    let free = service.objects.free_bytes();
    if free.is_some_and(|free| free < service.limits.reserve_bytes.saturating_add(announced)) {
        return Err(Problem::new(
            StatusCode::INSUFFICIENT_STORAGE,
            "the service's disk is nearly full; it takes objects again by itself once there is space",
        ));
    }
    let here = intake::missing(&service.database, CLIENT, ObjectKind::Image, std::slice::from_ref(&hash))
        .await?
        .is_empty();
    let (file, digest, bytes) = receive(&service, body, limit).await?;
    if digest != hash {
        return Err(Problem::conflict(
            "the bytes have another SHA-256 than the address says; send them again",
        ));
    }
    if here {
        return Ok(StatusCode::OK);
    }
    let key = object_key(CLIENT, ObjectKind::Image, &hash)?;
    let path = file.keep().map_err(|e| staging(e.error))?;
    if let Err(e) = service.objects.put_file(&key, path.clone()).await {
        let _ = tokio::fs::remove_file(path).await;
        return Err(e.into());
    }
    let mut tx = service.database.begin().await?;
    intake::record_object(&mut tx, CLIENT, ObjectKind::Image, &hash, bytes, service.clock.now()).await?;
    Database::commit(tx).await?;
    meter::object();
    Ok(StatusCode::CREATED)
}

/// Writes a body into the staging folder, hashing it on the way; the file goes if nobody keeps it.
async fn receive(
    service: &Service,
    body: Body,
    limit: u64,
) -> Result<(tempfile::TempPath, ContentHash, u64), Problem> {
    let folder = service.objects.staging().to_owned();
    let made = tokio::task::spawn_blocking(move || tempfile::NamedTempFile::new_in(folder)).await;
    let made = made.map_err(|e| Problem::internal(&e))?.map_err(staging)?;
    let (file, path) = made.into_parts();
    let mut file = tokio::fs::File::from_std(file);
    let (mut hash, mut bytes) = (Sha256::new(), 0u64);
    let mut parts = body.into_data_stream();
    while let Some(part) = parts.next().await {
        let part = part.map_err(|e| Problem::of_body(&e))?;
        bytes += part.len() as u64;
        if bytes > limit {
            return Err(too_large(limit));
        }
        hash.update(&part);
        file.write_all(&part).await.map_err(staging)?;
    }
    file.flush().await.map_err(staging)?;
    Ok((path, ContentHash::from_bytes(hash.finalize().into()), bytes))
}

fn staging(source: std::io::Error) -> Problem {
    StoreError::File { doing: "receiving an object", source }.into()
}

fn too_large(limit: u64) -> Problem {
    let detail =
        format!("an object has {limit} bytes at most; raise service.limits.object_bytes if that is too few");
    Problem::new(StatusCode::PAYLOAD_TOO_LARGE, detail)
}

async fn get_object(
    State(service): State<Arc<Service>>,
    Path(hash): Path<ContentHash>,
) -> Result<Response, Problem> {
    // Images are the edge's own: they are never given back.
    let missing =
        intake::missing(&service.database, CLIENT, ObjectKind::Capture, std::slice::from_ref(&hash)).await?;
    if !missing.is_empty() {
        return Err(Problem::not_found("there is no capture of that hash"));
    }
    let png = service.objects.get(&object_key(CLIENT, ObjectKind::Capture, &hash)?).await?;
    Ok(([(header::CONTENT_TYPE, "image/png")], png).into_response())
}

async fn put_study(
    State(service): State<Arc<Service>>,
    Path((study, version)): Path<(Uid, u32)>,
    Json(manifest): Json<StudyManifest>,
) -> Result<StatusCode, Problem> {
    manifest.check().map_err(|e| Problem::unprocessable(e.to_string()))?;
    if manifest.study != study || manifest.version != version {
        return Err(Problem::bad_request("address and manifest name different studies or versions"));
    }
    if let Some(hint) = &manifest.program_hint
        && !is_program_name(hint)
    {
        return Err(Problem::unprocessable("program_hint: a program's name has a-z, 0-9, '.', '_' and '-'"));
    }
    let taken = intake::put_study(&service.database, CLIENT, &manifest, service.clock.now()).await?;
    if taken == intake::Taken::New {
        meter::study();
        service.common.wake.notify_waiters();
    }
    Ok(StatusCode::OK)
}

impl From<IntakeError> for Problem {
    fn from(error: IntakeError) -> Self {
        match error {
            IntakeError::Store(e) => e.into(),
            refused => Self::conflict(refused.to_string()),
        }
    }
}

/// How far the edge has come, and how long it waits.
#[derive(Deserialize)]
struct ResultsQuery {
    #[serde(default)]
    after: i64,
    #[serde(default)]
    wait: u32,
}

async fn results(
    State(service): State<Arc<Service>>,
    Query(ResultsQuery { after, wait }): Query<ResultsQuery>,
) -> Result<Json<ResultPage>, Problem> {
    if after < 0 {
        return Err(Problem::bad_request("after: a cursor counts from 0"));
    }
    let wait = Duration::from_secs(wait.into()).min(WAIT);
    let mut bell = service.bell.subscribe();
    let now = service.clock.now();
    let page = outbox::results(&service.database, CLIENT, Cursor(after), wait, &mut bell, now).await;
    page.map(Json).map_err(|e| match e {
        OutboxError::Store(e) => e.into(),
        ahead @ OutboxError::Ahead { .. } => Problem::conflict(ahead.to_string()),
    })
}
