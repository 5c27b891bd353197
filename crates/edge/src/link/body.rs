//! Bodies of requests that tell how far they are.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures::{Stream, StreamExt};
use reqwest::{Body, RequestBuilder};

/// How long nothing may be taken of a body, or after it. A dead line is noticed sooner by its unacknowledged bytes: this is for a peer that is there and
/// does not read, and longer than a slow line needs to empty the system's buffers.
const STALL: Duration = Duration::from_secs(600);
/// Bytes of one piece of a message.
const PIECE: usize = 16 << 10;

/// How many pieces of a body were taken.
#[derive(Clone, Default)]
pub(super) struct Progress(Arc<AtomicU64>);

impl Progress {
    /// A request with these bytes.
    pub(super) fn body(&self, request: RequestBuilder, bytes: Vec<u8>) -> RequestBuilder {
        let length = bytes.len();
        let bytes = Bytes::from(bytes);
        let pieces = (0..length)
            .step_by(PIECE)
            .map(move |from| Ok::<_, std::io::Error>(bytes.slice(from..length.min(from + PIECE))));
        self.stream(request, futures::stream::iter(pieces)).header("content-length", length)
    }

    /// A request with a stream.
    pub(super) fn stream<S>(&self, request: RequestBuilder, pieces: S) -> RequestBuilder
    where
        S: Stream<Item = std::io::Result<Bytes>> + Send + 'static,
    {
        let count = Arc::clone(&self.0);
        let counted = pieces.inspect(move |_| {
            count.fetch_add(1, Ordering::Relaxed);
        });
        request.body(Body::wrap_stream(counted))
    }

    /// Done when nothing was taken for long.
    pub(super) async fn stalled(&self) {
        let mut last = self.0.load(Ordering::Relaxed);
        loop {
            tokio::time::sleep(STALL).await;
            let now = self.0.load(Ordering::Relaxed);
            if now == last {
                return;
            }
            last = now;
        }
    }
}
