//! The link's HTTP door: what [`overread_wire::Link`] asks for, at [`overread_wire::paths`].
//!
//! An answer of 2xx means that it is durable. Every call may be repeated. Whoever asks is a [`Caller`], and gets to nothing of another client.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post, put};
use overread_domain::{ContentHash, Uid};
use overread_http::extract::{Json, Path, Query};
use overread_http::{Problem, compressed};
use overread_store::Database;
use overread_wire::{Cursor, ResultPage, StudyManifest, paths};
use serde::Deserialize;
use tracing::Instrument;

use crate::clients::{self, Caller};
use crate::config::is_program_name;
use crate::erase;
use crate::forget;
use crate::intake::{self, IntakeError};
use crate::meter;
use crate::objects::{self, ObjectKind, object_key};
use crate::outbox::{self, OutboxError};
use crate::service::Service;
use crate::upload::{self, Plan, Upload, too_large};

/// Bytes of the largest manifest: [`StudyManifest::INSTANCES`] entries of some 300 bytes.
const MANIFEST: usize = 80 << 20;
/// Hashes of one question for missing objects.
const HASHES: usize = 50_000;
/// The longest wait for results.
const WAIT: Duration = Duration::from_secs(30);

/// The link's routes, to be put behind what tells who asks.
pub(crate) fn router(service: Arc<Service>) -> Router {
    let messages = Router::new()
        .route(paths::MISSING, post(missing).layer(DefaultBodyLimit::max(8 << 20)))
        .route(paths::STUDY, put(put_study).layer(DefaultBodyLimit::max(MANIFEST)))
        .route(paths::FORGET, delete(forget_study))
        .route(paths::RESULTS, get(results));
    // Bodies of objects are decoded where it is known how far they came.
    let objects = Router::new().route(
        paths::OBJECT,
        put(put_object).get(get_object).head(object_offset).layer(DefaultBodyLimit::disable()),
    );
    compressed(messages).merge(objects).with_state(service)
}

async fn missing(
    State(service): State<Arc<Service>>,
    caller: Caller,
    Json(hashes): Json<Vec<ContentHash>>,
) -> Result<Json<Vec<ContentHash>>, Problem> {
    if hashes.len() > HASHES {
        return Err(Problem::bad_request(format!("ask for {HASHES} objects at most at once")));
    }
    Ok(Json(objects::missing(&service.database, &caller.client, ObjectKind::Image, &hashes).await?))
}

/// How many bytes of an object are here: of one that is complete, all.
async fn object_offset(
    State(service): State<Arc<Service>>,
    caller: Caller,
    Path(hash): Path<ContentHash>,
) -> Result<Response, Problem> {
    // Whoever is at it ends first: it may be about to complete the object.
    let upload = service.uploads.turn(&caller.client, &hash).await;
    let bytes = match objects::size(&service.database, &caller.client, &hash).await? {
        Some(bytes) => bytes,
        None => upload.offset().await,
    };
    Ok([(HeaderName::from_static(paths::UPLOAD_OFFSET), HeaderValue::from(bytes))].into_response())
}

async fn put_object(
    State(service): State<Arc<Service>>,
    caller: Caller,
    Path(hash): Path<ContentHash>,
    headers: HeaderMap,
    body: Body,
) -> Result<StatusCode, Problem> {
    let plan = plan(&headers, service.limits.object_bytes)?;
    let announced = plan.length.unwrap_or(0);
    let free = service.objects.free_bytes();
    let wanted = announced.saturating_sub(plan.offset);
    if free.is_some_and(|free| free < service.limits.reserve_bytes.saturating_add(wanted)) {
        return Err(Problem::new(
            StatusCode::INSUFFICIENT_STORAGE,
            "the service's disk is nearly full; it takes objects again by itself once there is space",
        ));
    }
    let upload = service.uploads.turn(&caller.client, &hash).await;
    if objects::size(&service.database, &caller.client, &hash).await?.is_some() {
        drop(upload);
        upload::drain(body, plan.limit).await?;
        return Ok(StatusCode::OK);
    }
    let most = service.limits.object_bytes.saturating_mul(2);
    service.uploads.make_room(&upload, announced, most).await?;
    // Not ended with the request: what came of a body that broke off is written before anybody else writes.
    let taken = async move {
        upload.receive(body, &plan).await?;
        keep(&service, &caller, &hash, &upload).await
    };
    tokio::spawn(taken.in_current_span()).await.map_err(|e| Problem::internal(&e))?
}

/// What the headers say of the body.
fn plan(headers: &HeaderMap, limit: u64) -> Result<Plan, Problem> {
    let number = |name: &str| -> Result<Option<u64>, Problem> {
        let Some(value) = headers.get(name) else { return Ok(None) };
        let value = value.to_str().ok().and_then(|v| v.parse().ok());
        value.map(Some).ok_or_else(|| Problem::bad_request(format!("{name}: a number of bytes")))
    };
    let zstd = match headers.get(header::CONTENT_ENCODING).map(HeaderValue::as_bytes) {
        None | Some(b"identity") => false,
        Some(b"zstd") => true,
        Some(_) => {
            let detail = "send an object as it is or with `Content-Encoding: zstd`";
            return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail));
        }
    };
    let offset = number(paths::UPLOAD_OFFSET)?.unwrap_or(0);
    let of_body = number(header::CONTENT_LENGTH.as_str())?.filter(|_| !zstd);
    let length = number(paths::UPLOAD_LENGTH)?.or_else(|| of_body.map(|n| n.saturating_add(offset)));
    if length.is_some_and(|length| length > limit) {
        return Err(too_large(limit));
    }
    Ok(Plan { offset, length, limit, zstd })
}

/// Makes an object that is complete durable.
async fn keep(
    service: &Service,
    caller: &Caller,
    hash: &ContentHash,
    upload: &Upload,
) -> Result<StatusCode, Problem> {
    let (digest, bytes) = upload.digest().await?;
    if digest != *hash {
        upload.discard().await?;
        return Err(Problem::conflict(
            "the bytes have another SHA-256 than the address says; send them again from the first on",
        ));
    }
    let client = caller.client.as_str();
    let epoch = clients::epoch(&service.database, client).await?;
    let key = object_key(client, ObjectKind::Image, hash, epoch)?;
    service.objects.put_file(&key, upload.path().to_owned()).await?;
    let mut tx = service.database.begin().await?;
    if clients::lock(&mut tx, client).await? != epoch {
        // What was just put may be among what is being erased.
        erase::unless_used(&mut tx, (client, ObjectKind::Image), hash, epoch).await?;
        erase::enqueue(&mut tx, client, service.clock.now()).await?;
        Database::commit(tx).await?;
        return Err(Problem::busy("something of this client was forgotten meanwhile; send the object again"));
    }
    let now = service.clock.now();
    objects::record_object(&mut tx, client, ObjectKind::Image, hash, (bytes, epoch), now).await?;
    Database::commit(tx).await?;
    meter::object();
    Ok(StatusCode::CREATED)
}

async fn get_object(
    State(service): State<Arc<Service>>,
    caller: Caller,
    Path(hash): Path<ContentHash>,
) -> Result<Response, Problem> {
    // Images are the edge's own: they are never given back. A picture is given to the edge whose study it shows.
    let none = || Problem::not_found("there is no capture of that hash");
    if !objects::shows_study_of(&service.database, &caller, &hash).await? {
        return Err(none());
    }
    let hashes = std::slice::from_ref(&hash);
    let places = objects::places(&service.database, &caller.client, ObjectKind::Capture, hashes).await?;
    let png = service.objects.get(places.values().next().ok_or_else(none)?).await?;
    Ok(([(header::CONTENT_TYPE, "image/png")], png).into_response())
}

async fn put_study(
    State(service): State<Arc<Service>>,
    caller: Caller,
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
    let taken = intake::put_study(&service.database, &caller, &manifest, service.clock.now()).await?;
    if taken == intake::Taken::New {
        meter::study();
        service.common.wake.notify_waiters();
    }
    Ok(StatusCode::OK)
}

/// Up to which version a study is forgotten.
#[derive(Deserialize)]
struct ForgetQuery {
    version: u32,
}

async fn forget_study(
    State(service): State<Arc<Service>>,
    caller: Caller,
    Path(study): Path<Uid>,
    Query(ForgetQuery { version }): Query<ForgetQuery>,
) -> Result<StatusCode, Problem> {
    if version == 0 {
        return Err(Problem::bad_request("version: versions count from 1"));
    }
    forget::forget(&service.database, &caller, &study, version, service.clock.now()).await?;
    service.common.wake.notify_waiters();
    Ok(StatusCode::NO_CONTENT)
}

impl From<IntakeError> for Problem {
    fn from(error: IntakeError) -> Self {
        match error {
            IntakeError::Store(e) => e.into(),
            forgotten @ IntakeError::Forgotten { .. } => Self::new(StatusCode::GONE, forgotten.to_string()),
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
    caller: Caller,
    Query(ResultsQuery { after, wait }): Query<ResultsQuery>,
) -> Result<Json<ResultPage>, Problem> {
    if after < 0 {
        return Err(Problem::bad_request("after: a cursor counts from 0"));
    }
    let wait = Duration::from_secs(wait.into()).min(WAIT);
    let mut bell = service.bell.subscribe();
    let now = service.clock.now();
    let page = outbox::results(&service.database, &caller.edge, Cursor(after), wait, &mut bell, now).await;
    page.map(Json).map_err(|e| match e {
        OutboxError::Store(e) => e.into(),
        ahead @ OutboxError::Ahead { .. } => Problem::conflict(ahead.to_string()),
    })
}
