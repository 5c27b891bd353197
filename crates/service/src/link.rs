//! The link's HTTP door: what [`overread_wire::Link`] asks for, at [`overread_wire::paths`].
//!
//! An answer of 2xx means that it is durable. Every call may be repeated. Whoever asks is a [`Caller`], and gets to nothing of another client.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post, put};
use overread_domain::{ContentHash, Uid};
use overread_http::extract::{Json, Path, Query};
use overread_http::{Peer, Problem, compressed};
use overread_store::Database;
use overread_wire::{Cursor, EnrolAnswer, EnrolRequest, RenewRequest, ResultPage, StudyManifest, paths};
use serde::Deserialize;

use crate::clients::{self, Caller};
use crate::config::is_program_name;
use crate::enrolment::{self, EnrolError};
use crate::forget;
use crate::intake::{self, IntakeError, ObjectKind, object_key};
use crate::meter;
use crate::outbox::{self, OutboxError};
use crate::service::Service;
use crate::upload::{Plan, Upload, too_large};

/// Bytes of the largest manifest: [`StudyManifest::INSTANCES`] entries of some 300 bytes.
const MANIFEST: usize = 80 << 20;
/// Hashes of one question for missing objects.
const HASHES: usize = 50_000;
/// Bytes of a request for a certificate.
const ENROLMENT: usize = 64 << 10;
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

/// The routes of the door that edges of other machines come to: each shows the certificate that it got when it enrolled.
pub(crate) fn mutual_router(service: Arc<Service>) -> Router {
    let limit = DefaultBodyLimit::max(ENROLMENT);
    let renewal =
        Router::new().route(paths::RENEW, post(renew).layer(limit)).with_state(Arc::clone(&service));
    let known = router(Arc::clone(&service)).merge(renewal);
    let guard = axum::middleware::from_fn_with_state(Arc::clone(&service), admitted);
    let enrolment = Router::new().route(paths::ENROL, post(enrol).layer(limit)).with_state(service);
    known.route_layer(guard).merge(enrolment)
}

/// Lets in whoever holds the certificate of an edge that was not revoked.
async fn admitted(
    State(service): State<Arc<Service>>,
    peer: Peer,
    mut request: Request,
    next: Next,
) -> Response {
    let Some(fingerprint) = peer.fingerprint else {
        let detail = "show the certificate of an enrolled edge; `overread enrol` gets one";
        return Problem::new(StatusCode::UNAUTHORIZED, detail).into_response();
    };
    match clients::of_certificate(&service.database, &fingerprint).await {
        Ok(Some(caller)) => {
            request.extensions_mut().insert(caller);
            next.run(request).await
        }
        Ok(None) => {
            let detail =
                "this edge was revoked, or is unknown here; `overread enrol` with a new code enrols it";
            Problem::new(StatusCode::FORBIDDEN, detail).into_response()
        }
        Err(e) => Problem::from(e).into_response(),
    }
}

impl<S: Send + Sync> axum::extract::FromRequestParts<S> for Caller {
    type Rejection = Problem;
    async fn from_request_parts(parts: &mut axum::http::request::Parts, _: &S) -> Result<Self, Problem> {
        // A route without a guard is a mistake of ours: it fails closed.
        let missing = std::io::Error::other("a route of the link has no guard");
        parts.extensions.get::<Self>().cloned().ok_or_else(|| Problem::internal(&missing))
    }
}

async fn enrol(
    State(service): State<Arc<Service>>,
    peer: Peer,
    Json(request): Json<EnrolRequest>,
) -> Result<Json<EnrolAnswer>, Problem> {
    let authority = service.authority()?;
    if !service.attempts.admit(peer.address) {
        tracing::warn!("too many attempts to enrol from one address");
        return Err(Problem::new(StatusCode::TOO_MANY_REQUESTS, "too many attempts; wait a minute"));
    }
    let now = service.clock.now();
    let answer = enrolment::enrol(&service.database, authority, &request, now).await;
    answer.map(Json).map_err(|e| {
        if matches!(e, EnrolError::Code) {
            tracing::warn!("an enrolment code was refused");
        }
        e.into()
    })
}

async fn renew(
    State(service): State<Arc<Service>>,
    caller: Caller,
    peer: Peer,
    Json(RenewRequest { csr }): Json<RenewRequest>,
) -> Result<Json<EnrolAnswer>, Problem> {
    let shown = peer.fingerprint.map(|f| f.to_string()).unwrap_or_default();
    let now = service.clock.now();
    let who = (&caller, shown.as_str());
    Ok(Json(enrolment::renew(&service.database, service.authority()?, who, &csr, now).await?))
}

impl From<EnrolError> for Problem {
    fn from(error: EnrolError) -> Self {
        match error {
            EnrolError::Store(e) => e.into(),
            EnrolError::Authority(e) => Self::internal(&e),
            EnrolError::Code => Self::new(StatusCode::FORBIDDEN, error.to_string()),
            EnrolError::Request | EnrolError::Name => Self::unprocessable(error.to_string()),
        }
    }
}

async fn missing(
    State(service): State<Arc<Service>>,
    caller: Caller,
    Json(hashes): Json<Vec<ContentHash>>,
) -> Result<Json<Vec<ContentHash>>, Problem> {
    if hashes.len() > HASHES {
        return Err(Problem::bad_request(format!("ask for {HASHES} objects at most at once")));
    }
    Ok(Json(intake::missing(&service.database, &caller.client, ObjectKind::Image, &hashes).await?))
}

/// How many bytes of an object are here: of one that is complete, all.
async fn object_offset(
    State(service): State<Arc<Service>>,
    caller: Caller,
    Path(hash): Path<ContentHash>,
) -> Result<Response, Problem> {
    let bytes = match intake::size(&service.database, &caller.client, &hash).await? {
        Some(bytes) => bytes,
        None => service.uploads.turn(&caller.client, &hash).await.offset().await,
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
    if intake::size(&service.database, &caller.client, &hash).await?.is_some() {
        return Ok(StatusCode::OK);
    }
    let most = service.limits.object_bytes.saturating_mul(2);
    service.uploads.make_room(&caller.client, announced, most).await?;
    let upload = service.uploads.turn(&caller.client, &hash).await;
    upload.receive(body, &plan).await?;
    keep(&service, &caller, &hash, &upload).await
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
        forget::erase_unless_used(&mut tx, (client, ObjectKind::Image), hash, epoch).await?;
        forget::enqueue(&mut tx, client, service.clock.now()).await?;
        Database::commit(tx).await?;
        return Err(Problem::busy("something of this client was forgotten meanwhile; send the object again"));
    }
    let now = service.clock.now();
    intake::record_object(&mut tx, client, ObjectKind::Image, hash, (bytes, epoch), now).await?;
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
    if !intake::shows_study_of(&service.database, &caller, &hash).await? {
        return Err(none());
    }
    let hashes = std::slice::from_ref(&hash);
    let places = intake::places(&service.database, &caller.client, ObjectKind::Capture, hashes).await?;
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
