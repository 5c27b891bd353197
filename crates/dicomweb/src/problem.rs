//! What a client reads when something went wrong: problem documents (RFC 9457) that name no patient and no UID.

use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use overread_dicom::read::ReadError;
use overread_domain::sentence;

use crate::archive::ArchiveError;
use crate::query::QueryError;

/// Why a request is refused. The text is for the client; causes are logged where they arise.
#[derive(Debug, thiserror::Error)]
#[error("{status}: {detail}")]
pub(crate) struct Problem {
    pub(crate) status: StatusCode,
    pub(crate) detail: String,
}

impl Problem {
    pub(crate) fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self { status, detail: detail.into() }
    }

    pub(crate) fn bad(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, detail)
    }

    pub(crate) fn not_found(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, detail)
    }

    pub(crate) fn not_acceptable(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_ACCEPTABLE, detail)
    }

    pub(crate) fn internal(what: &'static str, cause: &(dyn std::error::Error + 'static)) -> Self {
        tracing::error!(error = %sentence(cause), "DICOMweb: {what}");
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, what)
    }

    /// A frame or file that could not be read. Its text holds no value of the data set.
    pub(crate) fn read(error: &ReadError) -> Self {
        let status = match error {
            ReadError::NoSuchFrame { .. } => StatusCode::NOT_FOUND,
            ReadError::NoPixels
            | ReadError::NotAnImage
            | ReadError::TransferSyntax { .. }
            | ReadError::Unsupported { .. } => StatusCode::NOT_ACCEPTABLE,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        };
        let said = sentence(error);
        if status.is_server_error() {
            tracing::warn!(error = %said, "DICOMweb: an instance could not be read");
        }
        Self::new(status, said)
    }
}

impl From<ArchiveError> for Problem {
    fn from(error: ArchiveError) -> Self {
        let status = match &error {
            ArchiveError::NotFound => StatusCode::NOT_FOUND,
            ArchiveError::Gone => StatusCode::GONE,
            ArchiveError::Unmatchable(_) => StatusCode::BAD_REQUEST,
            ArchiveError::Unavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
            ArchiveError::Failed(_) => StatusCode::INTERNAL_SERVER_ERROR,
        };
        if status.is_server_error() {
            tracing::error!(error = %sentence(&error), "DICOMweb: the archive");
        }
        Self::new(status, error.to_string())
    }
}

impl From<QueryError> for Problem {
    fn from(error: QueryError) -> Self {
        Self::bad(sentence(&error))
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let document = serde_json::json!({
            "type": "about:blank",
            "title": self.status.canonical_reason().unwrap_or_default(),
            "status": self.status.as_u16(),
            "detail": self.detail,
        });
        let mut response = Response::new(Body::from(document.to_string()));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if self.status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("10"));
        }
        response
    }
}

/// The answer to a path that is none of ours.
pub(crate) async fn not_here() -> Problem {
    Problem::not_found("this is no resource of the Studies Service (PS3.18 chapter 10)")
}

/// The answer to a method that a resource does not take.
pub(crate) async fn wrong_method() -> Problem {
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, "the resource does not take this method")
}
