//! Extractors of requests whose refusals are problem documents that name the field.

use axum::extract::rejection::{JsonRejection, PathRejection, QueryRejection};
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::Problem;

/// A JSON body, in and out. In: 400 for broken JSON, 422 for a wrong field, 415 for another media type, 413 for too much.
#[derive(Clone, Copy, Debug)]
pub struct Json<T>(pub T);

/// The parameters after the question mark: 400 names the one that is wrong.
#[derive(Clone, Copy, Debug)]
pub struct Query<T>(pub T);

/// The parts of the path: 400 names the one that is wrong.
#[derive(Clone, Copy, Debug)]
pub struct Path<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Json<T> {
    type Rejection = Problem;
    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let axum::Json(value) = axum::Json::from_request(request, state).await?;
        Ok(Self(value))
    }
}

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Query<T> {
    type Rejection = Problem;
    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let axum::extract::Query(value) = axum::extract::Query::from_request_parts(parts, state).await?;
        Ok(Self(value))
    }
}

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for Path<T> {
    type Rejection = Problem;
    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let axum::extract::Path(value) = axum::extract::Path::from_request_parts(parts, state).await?;
        Ok(Self(value))
    }
}

impl<T: Serialize> IntoResponse for Json<T> {
    fn into_response(self) -> Response {
        axum::Json(self.0).into_response()
    }
}

impl From<JsonRejection> for Problem {
    fn from(rejection: JsonRejection) -> Self {
        match rejection {
            // The texts name the field, line and column, and what was expected of it.
            JsonRejection::JsonDataError(error) => Self::unprocessable(reasons(&error)),
            JsonRejection::JsonSyntaxError(error) => {
                Self::bad_request(format!("the body is no JSON: {}", reasons(&error)))
            }
            JsonRejection::MissingJsonContentType(_) => {
                Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "send `Content-Type: application/json`")
            }
            JsonRejection::BytesRejection(error) if error.status() == StatusCode::PAYLOAD_TOO_LARGE => {
                Self::bare(StatusCode::PAYLOAD_TOO_LARGE)
            }
            JsonRejection::BytesRejection(error) => Self::of_body(&error),
            other => Self::new(other.status(), "the body cannot be read as JSON"),
        }
    }
}

impl From<QueryRejection> for Problem {
    fn from(rejection: QueryRejection) -> Self {
        Self::bad_request(format!("the query cannot be read: {}", reasons(&rejection)))
    }
}

impl From<PathRejection> for Problem {
    fn from(rejection: PathRejection) -> Self {
        match rejection {
            PathRejection::FailedToDeserializePathParams(error) => Self::bad_request(error.body_text()),
            // The route has other parameters than its handler: ours to mend.
            other => Self::internal(&other),
        }
    }
}

/// What the parser itself said: the causes without axum's own sentence.
fn reasons(error: &(dyn std::error::Error + 'static)) -> String {
    let mut parts = Vec::new();
    let mut cause = error.source();
    while let Some(error) = cause {
        let text = error.to_string();
        if !parts.iter().any(|p: &String| p.contains(&text)) {
            parts.push(text);
        }
        cause = error.source();
    }
    // Some of axum's errors wrap themselves: the first cause says the sentence again.
    if parts.len() > 1 && parts[0].starts_with("Failed to") {
        parts.remove(0);
    }
    if parts.is_empty() { error.to_string() } else { parts.join(": ") }
}
