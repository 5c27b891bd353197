//! Bodies that are made while they are sent: multipart parts, arrays, files, in memory that does not grow with them.

use std::hash::{BuildHasher, RandomState};
use std::io;
use std::path::Path;
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderValue, header};
use axum::response::Response;
use bytes::{Bytes, BytesMut};
use tokio::io::AsyncReadExt;
use tokio::sync::mpsc;

/// Chunks on their way, besides the one that is being made.
const AHEAD: usize = 2;
/// Bytes of a chunk that is read from a file.
pub(crate) const CHUNK: usize = 256 * 1024;

/// Where a body's bytes go.
pub(crate) struct Sink {
    sender: mpsc::Sender<io::Result<Bytes>>,
    idle: Duration,
}

/// The reader has gone, or is too slow; there is nobody to tell.
#[derive(Debug)]
pub(crate) struct ReaderGone;

/// A body and where to write it. A reader that takes nothing for `idle` is let go.
pub(crate) fn channel(idle: Duration) -> (Sink, Body) {
    let (sender, receiver) = mpsc::channel(AHEAD);
    let stream =
        futures::stream::unfold(receiver, |mut r| async move { r.recv().await.map(|item| (item, r)) });
    (Sink { sender, idle }, Body::from_stream(stream))
}

impl Sink {
    pub(crate) async fn send(&self, bytes: impl Into<Bytes>) -> Result<(), ReaderGone> {
        let sent = tokio::time::timeout(self.idle, self.sender.send(Ok(bytes.into()))).await;
        match sent {
            Ok(Ok(())) => Ok(()),
            _ => Err(ReaderGone),
        }
    }

    /// Breaks the body off, so that the client sees that it is not whole.
    pub(crate) async fn fail(&self, why: &'static str) {
        let _ = tokio::time::timeout(self.idle, self.sender.send(Err(io::Error::other(why)))).await;
    }

    /// Sends a whole file.
    pub(crate) async fn file(&self, path: &Path) -> Result<(), Interrupted> {
        let mut file = tokio::fs::File::open(path).await?;
        file.set_max_buf_size(CHUNK);
        loop {
            let mut chunk = BytesMut::with_capacity(CHUNK);
            if file.read_buf(&mut chunk).await? == 0 {
                return Ok(());
            }
            self.send(chunk.freeze()).await?;
        }
    }
}

/// Why a body was not finished.
#[derive(Debug)]
pub(crate) enum Interrupted {
    /// The reader has gone.
    Gone,
    /// This side failed.
    Failed(String),
}

impl From<ReaderGone> for Interrupted {
    fn from(_: ReaderGone) -> Self {
        Self::Gone
    }
}

impl From<io::Error> for Interrupted {
    fn from(error: io::Error) -> Self {
        Self::Failed(error.to_string())
    }
}

impl From<crate::problem::Problem> for Interrupted {
    fn from(problem: crate::problem::Problem) -> Self {
        Self::Failed(problem.detail)
    }
}

/// Runs what makes a body beside the answer, and breaks the body off when that fails.
pub(crate) fn produce<F, Fut>(idle: Duration, make: F) -> Body
where
    F: FnOnce(std::sync::Arc<Sink>) -> Fut,
    Fut: Future<Output = Result<(), Interrupted>> + Send + 'static,
{
    let (sink, body) = channel(idle);
    let sink = std::sync::Arc::new(sink);
    let made = make(sink.clone());
    tokio::spawn(async move {
        match made.await {
            Ok(()) => {}
            Err(Interrupted::Gone) => tracing::debug!("DICOMweb: a reader left before the end"),
            Err(Interrupted::Failed(why)) => {
                tracing::warn!(error = %why, "DICOMweb: an answer was broken off");
                sink.fail("the answer is not whole").await;
            }
        }
    });
    body
}

/// A boundary that nobody can have put into content.
pub(crate) fn boundary() -> String {
    let random = || RandomState::new().hash_one(0u8);
    format!("{:016x}{:016x}", random(), random())
}

/// What stands before a part.
pub(crate) fn part_head(boundary: &str, first: bool, content_type: &str, location: Option<&str>) -> String {
    let lead = if first { "" } else { "\r\n" };
    let location = location.map(|l| format!("Content-Location: {l}\r\n")).unwrap_or_default();
    format!("{lead}--{boundary}\r\nContent-Type: {content_type}\r\n{location}\r\n")
}

/// What stands after the last part.
pub(crate) fn closing(boundary: &str) -> String {
    format!("\r\n--{boundary}--\r\n")
}

/// An answer of parts.
pub(crate) fn multipart(boundary: &str, media: &str, body: Body) -> Response {
    typed(&format!("multipart/related; type=\"{media}\"; boundary={boundary}"), body)
}

/// An answer of a media type.
pub(crate) fn typed(content_type: &str, body: impl Into<Body>) -> Response {
    let mut response = Response::new(body.into());
    if let Ok(value) = HeaderValue::from_str(content_type) {
        response.headers_mut().insert(header::CONTENT_TYPE, value);
    }
    response
}
