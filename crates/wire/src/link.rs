//! The link as the edge sees it. Every call may be repeated: what was done already is done again without effect.

use std::future::Future;
use std::path::Path;

use overread_domain::{ContentHash, Uid};
use serde::{Deserialize, Serialize};

use crate::{ResultMessage, StudyManifest};

/// How far an edge has taken results: the service's own count, from 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Cursor(pub i64);

/// Results in the order of their release.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ResultPage {
    /// The results.
    pub results: Vec<ResultMessage>,
    /// Where the next page starts: give it to [`Link::results`] once these are safe, and they are never sent again.
    pub next: Cursor,
}

/// Why the link did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// The other side was not reached, or stopped answering: try again later.
    #[error("the service at {address} cannot be reached")]
    Unreachable {
        /// Its address.
        address: String,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The other side is there but cannot take it now (disk full, database away): try again later.
    #[error("the service at {address} cannot take it now: {reason}")]
    Busy {
        /// Its address.
        address: String,
        /// What it said.
        reason: String,
    },
    /// The other side does not let this edge in: its token or certificate is unknown or was revoked. No study is at fault: all wait until a person has put it right.
    #[error("the service at {address} does not let this edge in: {reason}")]
    Barred {
        /// Its address.
        address: String,
        /// What it said.
        reason: String,
    },
    /// The other side will not take it however often it is sent: a person must look.
    #[error("the service at {address} refuses: {reason}")]
    Refused {
        /// Its address.
        address: String,
        /// What it said.
        reason: String,
    },
    /// The service was told to forget this version of the study, or a later one: there is nothing left to do about it.
    #[error("the service at {address} was told to forget this study")]
    Gone {
        /// Its address.
        address: String,
    },
    /// Something on this side.
    #[error("{doing} failed")]
    Here {
        /// What was tried.
        doing: &'static str,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl LinkError {
    /// Whether trying again later can help.
    pub const fn is_passing(&self) -> bool {
        matches!(self, Self::Unreachable { .. } | Self::Busy { .. } | Self::Barred { .. })
    }
}

/// The edge's side of the link. An answer means that the service has made durable what it was given.
pub trait Link: Send + Sync {
    /// Which of these objects the service lacks.
    fn missing(
        &self,
        objects: &[ContentHash],
    ) -> impl Future<Output = Result<Vec<ContentHash>, LinkError>> + Send;

    /// Puts an object: the bytes of a file, whose SHA-256 the service checks.
    fn put_object(
        &self,
        hash: &ContentHash,
        file: &Path,
    ) -> impl Future<Output = Result<(), LinkError>> + Send;

    /// Gives a version of a study whose objects were all put.
    fn put_study(&self, manifest: &StudyManifest) -> impl Future<Output = Result<(), LinkError>> + Send;

    /// Makes the service forget a study up to a version: its objects, readings and results. What is put of it later under such a version is
    /// [`LinkError::Gone`]; a newer version is taken. A study that the service never had is forgotten too.
    fn forget(&self, study: &Uid, version: u32) -> impl Future<Output = Result<(), LinkError>> + Send;

    /// Takes results after a cursor; waits up to `wait_seconds` for one if there is none. The cursor tells the service that all before it are safe.
    fn results(
        &self,
        after: Cursor,
        wait_seconds: u32,
    ) -> impl Future<Output = Result<ResultPage, LinkError>> + Send;

    /// Fetches a capture's PNG.
    fn object(&self, hash: &ContentHash) -> impl Future<Output = Result<Vec<u8>, LinkError>> + Send;
}
