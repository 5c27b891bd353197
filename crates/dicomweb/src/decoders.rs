//! Decoding away from the threads that serve requests: so many at a time, each with a codec host of its own.

use std::sync::{Mutex, PoisonError};

use overread_dicom::read::CodecHost;
use tokio::sync::Semaphore;

use crate::CodecFactory;
use crate::problem::Problem;

/// Codec hosts that wait for work.
pub(crate) struct Decoders {
    make: CodecFactory,
    idle: Mutex<Vec<CodecHost>>,
    permits: Semaphore,
}

impl Decoders {
    pub(crate) fn new(make: CodecFactory, most: usize) -> Self {
        Self { make, idle: Mutex::new(Vec::new()), permits: Semaphore::new(most.max(1)) }
    }

    /// Runs work that needs a codec host; waits for its turn.
    pub(crate) async fn run<T, F>(&self, work: F) -> Result<T, Problem>
    where
        T: Send + 'static,
        F: FnOnce(&mut CodecHost) -> T + Send + 'static,
    {
        let turn =
            self.permits.acquire().await.map_err(|e| Problem::internal("the decoders are closed", &e))?;
        let host = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut host = host.unwrap_or_else(|| (self.make)());
        let done = tokio::task::spawn_blocking(move || {
            let result = work(&mut host);
            (result, host)
        });
        let (result, host) = done.await.map_err(|e| Problem::internal("decoding stopped", &e))?;
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(host);
        drop(turn);
        Ok(result)
    }
}

/// Runs work that blocks.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Problem> {
    tokio::task::spawn_blocking(work).await.map_err(|e| Problem::internal("the work stopped", &e))
}
