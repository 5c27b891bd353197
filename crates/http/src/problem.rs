//! Every refusal is a problem document (RFC 9457).

use std::error::Error;

use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use overread_domain::sentence;
use overread_store::StoreError;
use serde::Serialize;
use utoipa::ToSchema;

/// Media type of a problem document.
pub const MEDIA_TYPE: &str = "application/problem+json";

/// Seconds after which a client may ask again when something is away for a while.
const RETRY_SECONDS: u32 = 5;

/// A problem document (RFC 9457), `application/problem+json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Problem {
    /// The HTTP status, again.
    #[schema(minimum = 400, maximum = 599)]
    pub status: u16,
    /// What kind of problem it is: the same words for each status.
    pub title: String,
    /// What is wrong here and what to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub detail: Option<String>,
    /// Where the details are in the log: tell this to whoever runs the system.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub instance: Option<String>,
    #[serde(skip)]
    #[schema(ignore)]
    header: Option<Box<(HeaderName, HeaderValue)>>,
}

impl Problem {
    /// A problem with its usual title.
    pub fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self { detail: Some(detail.into()), ..Self::bare(status) }
    }

    /// A problem that its title tells.
    pub fn bare(status: StatusCode) -> Self {
        Self {
            status: status.as_u16(),
            title: status.canonical_reason().unwrap_or("Refused").to_owned(),
            detail: None,
            instance: None,
            header: None,
        }
    }

    /// 400: the request cannot be understood.
    pub fn bad_request(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, detail)
    }

    /// 404: there is nothing here.
    pub fn not_found(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, detail)
    }

    /// 409: it contradicts what is there.
    pub fn conflict(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, detail)
    }

    /// 422: understood, but a field's value cannot be.
    pub fn unprocessable(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, detail)
    }

    /// 503 with Retry-After: a passing trouble.
    pub fn busy(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, detail)
            .with_header(header::RETRY_AFTER, HeaderValue::from(RETRY_SECONDS))
    }

    /// 500: the cause goes to the log, the client gets a number that finds it there.
    pub fn internal(cause: &(dyn Error + 'static)) -> Self {
        let mark = mark();
        tracing::error!(error_id = %mark, error = %sentence(cause), "a request failed");
        Self::marked(&mark)
    }

    /// 500 with a mark that is already in the log.
    pub(crate) fn marked(mark: &str) -> Self {
        let mut problem = Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            format!("something failed here; the log has it under {mark}"),
        );
        problem.instance = Some(format!("urn:overread:error:{mark}"));
        problem
    }

    /// Adds a header to the answer.
    #[must_use]
    pub fn with_header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.header = Some(Box::new((name, value)));
        self
    }

    /// What went wrong while a body was read: too slow (408), too large (413), or broken off (400).
    pub fn of_body(error: &(dyn Error + 'static)) -> Self {
        let mut cause = Some(error);
        while let Some(error) = cause {
            if error.is::<tower_http::timeout::TimeoutError>() {
                return Self::new(StatusCode::REQUEST_TIMEOUT, "no byte of the body came for too long");
            }
            if error.is::<http_body_util::LengthLimitError>() {
                return Self::bare(StatusCode::PAYLOAD_TOO_LARGE);
            }
            cause = error.source();
        }
        Self::bad_request("the body broke off")
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        // A document of strings and numbers cannot fail to be written.
        let body = serde_json::to_vec(&self).unwrap_or_default();
        let mut answer = (status, [(header::CONTENT_TYPE, MEDIA_TYPE)], body).into_response();
        if let Some(header) = self.header {
            let (name, value) = *header;
            answer.headers_mut().insert(name, value);
        }
        answer
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        if error.is_full() {
            tracing::warn!(error = %sentence(&error), "refused a request: no space");
            return Self::new(
                StatusCode::INSUFFICIENT_STORAGE,
                "the disk is full; it goes on by itself once there is space",
            );
        }
        if error.is_passing() {
            tracing::warn!(error = %sentence(&error), "refused a request for now");
            return Self::busy("the database or the object store is away; try again later");
        }
        Self::internal(&error)
    }
}

/// A number that finds a line in the log.
pub(crate) fn mark() -> String {
    format!("{:016x}", rand::random::<u64>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("table secrets is gone")]
    struct Inner;
    #[derive(Debug, thiserror::Error)]
    #[error("a query failed")]
    struct Outer(#[source] Inner);

    #[test]
    fn what_failed_inside_stays_inside() {
        let problem = Problem::internal(&Outer(Inner));
        let text = serde_json::to_string(&problem).unwrap();
        assert_eq!(problem.status, 500);
        assert!(!text.contains("query") && !text.contains("secrets"), "{text}");
        assert!(text.contains("urn:overread:error:"), "{text}");
    }

    #[test]
    fn the_store_s_troubles_tell_whether_to_come_back() {
        let full = std::io::Error::from(std::io::ErrorKind::StorageFull);
        assert_eq!(Problem::from(StoreError::File { doing: "x", source: full }).status, 507);
        let away = StoreError::Database { doing: "x", source: sqlx::Error::PoolTimedOut };
        let answer = Problem::from(away).into_response();
        assert_eq!(
            (answer.status().as_u16(), answer.headers()[header::RETRY_AFTER].as_bytes()),
            (503, &b"5"[..])
        );
        assert_eq!(Problem::from(StoreError::Key).status, 500);
    }
}
