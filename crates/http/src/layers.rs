//! What every request passes: a number, a line in the log, a count, limits, and that every refusal is a problem document.

use std::any::Any;
use std::time::Instant;

use axum::Router;
use axum::extract::{DefaultBodyLimit, MatchedPath, Request};
use axum::http::{HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::compression::CompressionLayer;
use tower_http::decompression::RequestDecompressionLayer;
use tower_http::limit::RequestBodyLimitLayer;
use tower_http::timeout::{RequestBodyTimeoutLayer, TimeoutLayer};
use tracing::Instrument;

use crate::config::{Auth, HttpConfig};
use crate::{Problem, access, problem};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Puts the layers around a door's routes; the last one here is the first that a request meets.
pub fn around(router: Router, config: &HttpConfig) -> Router {
    let router = router
        .layer(DefaultBodyLimit::max(config.max_body_bytes))
        .layer(RequestBodyLimitLayer::new(config.max_upload_bytes))
        .layer(RequestBodyTimeoutLayer::new(config.body_wait()));
    let router = if config.auth == Auth::None {
        router.layer(middleware::from_fn(access::local_only))
    } else {
        router
    };
    router
        .layer(CatchPanicLayer::custom(panicked))
        .layer(middleware::from_fn(word_refusals))
        .layer(middleware::from_fn(note))
}

/// Takes request bodies that are compressed with Zstandard, and answers so where the client can. A limit of a body counts what comes out.
pub fn compressed<S: Clone + Send + Sync + 'static>(router: Router<S>) -> Router<S> {
    router.layer(CompressionLayer::new()).layer(RequestDecompressionLayer::new())
}

/// Gives up answers that take too long, with 503.
pub(crate) fn patience(config: &HttpConfig) -> TimeoutLayer {
    TimeoutLayer::with_status_code(StatusCode::SERVICE_UNAVAILABLE, config.answer_wait())
}

/// Numbers a request, counts it and tells the log of it. Of its address only the pattern of the route is kept: paths and queries hold UIDs.
async fn note(request: Request, next: Next) -> Response {
    let id = problem::mark();
    let begun = Instant::now();
    let route = request.extensions().get::<MatchedPath>().map_or("unmatched", MatchedPath::as_str).to_owned();
    let method = method_word(request.method());
    let span =
        tracing::info_span!("request", id = %id, method, route = %route, status = tracing::field::Empty);
    let mut answer = next.run(request).instrument(span.clone()).await;
    span.record("status", answer.status().as_u16());
    let (status, seconds) = (answer.status().as_u16(), begun.elapsed().as_secs_f64());
    tracing::debug!(request = %id, method, route = %route, status, seconds, "answered");
    metrics::counter!("overread_http_requests_total", "method" => method, "route" => route.clone(), "status" => status.to_string())
        .increment(1);
    metrics::histogram!("overread_http_request_seconds", "method" => method, "route" => route, "status" => status.to_string())
        .record(seconds);
    if let Ok(value) = HeaderValue::from_str(&id) {
        answer.headers_mut().insert(REQUEST_ID, value);
    }
    answer
}

/// A method as a label: a client that makes up methods must not make up metrics.
fn method_word(method: &Method) -> &'static str {
    match method.as_str() {
        "GET" => "GET",
        "HEAD" => "HEAD",
        "POST" => "POST",
        "PUT" => "PUT",
        "DELETE" => "DELETE",
        "PATCH" => "PATCH",
        "OPTIONS" => "OPTIONS",
        _ => "other",
    }
}

/// Refusals that axum and its layers make have no body, or a line of text: they become problem documents like ours.
async fn word_refusals(request: Request, next: Next) -> Response {
    let answer = next.run(request).await;
    let status = answer.status();
    let bare = !answer.headers().contains_key(header::CONTENT_TYPE)
        || (status == StatusCode::PAYLOAD_TOO_LARGE && is_text(&answer));
    if !(status.is_client_error() || status.is_server_error()) || !bare {
        return answer;
    }
    let allow = answer.headers().get(header::ALLOW).cloned();
    let problem = match status {
        StatusCode::NOT_FOUND => Problem::not_found("there is nothing at this address"),
        StatusCode::METHOD_NOT_ALLOWED => Problem::new(status, "this address knows other methods"),
        StatusCode::PAYLOAD_TOO_LARGE => Problem::new(status, "the body is larger than this door takes"),
        StatusCode::SERVICE_UNAVAILABLE => Problem::busy("no answer in time; try again later"),
        _ => Problem::bare(status),
    };
    match allow {
        Some(allow) => problem.with_header(header::ALLOW, allow).into_response(),
        None => problem.into_response(),
    }
}

fn is_text(answer: &Response) -> bool {
    let kind = answer.headers().get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok());
    kind.is_some_and(|kind| kind.starts_with("text/plain"))
}

/// A handler that panicked: the panic's own words go nowhere, since nobody has checked what they hold; the panic hook tells file and line.
fn panicked(_: Box<dyn Any + Send>) -> Response {
    let mark = problem::mark();
    tracing::error!(error_id = %mark, "a request's handler panicked");
    Problem::marked(&mark).into_response()
}
