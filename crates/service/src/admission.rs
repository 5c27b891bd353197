//! The door that edges of other machines come to: who is let in, and how an edge gets the certificate that it shows.

use std::sync::Arc;

use axum::Router;
use axum::extract::{DefaultBodyLimit, FromRequestParts, Request, State};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use overread_http::extract::Json;
use overread_http::{Peer, Problem};
use overread_wire::{EnrolAnswer, EnrolRequest, RenewRequest, paths};

use crate::clients::{self, Caller};
use crate::enrolment::{self, EnrolError};
use crate::link;
use crate::service::Service;

/// Bytes of a request for a certificate.
const ENROLMENT: usize = 64 << 10;

/// The routes of the door that edges of other machines come to: each shows the certificate that it got when it enrolled.
pub(crate) fn router(service: Arc<Service>) -> Router {
    let limit = DefaultBodyLimit::max(ENROLMENT);
    let renewal =
        Router::new().route(paths::RENEW, post(renew).layer(limit)).with_state(Arc::clone(&service));
    let known = link::router(Arc::clone(&service)).merge(renewal);
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

impl<S: Send + Sync> FromRequestParts<S> for Caller {
    type Rejection = Problem;
    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
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
