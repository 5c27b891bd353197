//! One object on its way in: into a file of the staging folder and a hash, then opened and checked.

use std::io::Write;
use std::path::{Path, PathBuf};

use bytes::{Bytes, BytesMut};
use overread_dicom::read::{self, Opened};
use overread_domain::{ContentHash, Uid, sentence};
use sha2::{Digest, Sha256};
use tempfile::NamedTempFile;

use crate::archive::{FailureReason, ReceivedFile};

/// Bytes that are kept in memory before they go to the file.
const AHEAD: usize = 1024 * 1024;

/// Why an object could not be taken in.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReceiveError {
    #[error("an object is larger than the limit of {0} bytes")]
    TooLarge(u64),
    #[error("the staging folder cannot be written")]
    Staging(#[source] std::io::Error),
    #[error("the work stopped")]
    Stopped(#[source] tokio::task::JoinError),
}

impl ReceiveError {
    /// The disk, or the share of it that this process may use, is full.
    pub(crate) fn is_full(&self) -> bool {
        use std::io::ErrorKind::{QuotaExceeded, StorageFull};
        matches!(self, Self::Staging(e) if matches!(e.kind(), StorageFull | QuotaExceeded))
    }
}

/// An object that arrived whole.
pub(crate) enum Arrived {
    /// It may be stored.
    Good(Box<ReceivedFile>),
    /// It may not; the UIDs that could be read, SOP class first.
    Refused(Option<(Uid, Uid)>, FailureReason),
}

/// Takes in one object. Dropped before [`Self::finish`], it leaves nothing behind.
pub(crate) struct Receiver {
    staging: PathBuf,
    limit: u64,
    bytes: u64,
    buffer: BytesMut,
    spool: Option<Spool>,
}

struct Spool {
    file: NamedTempFile,
    hash: Sha256,
}

impl Spool {
    /// Nothing of the sender's goes into the name.
    fn new(staging: &Path) -> std::io::Result<Self> {
        let file = tempfile::Builder::new().prefix("stow-").suffix(".part").tempfile_in(staging)?;
        Ok(Self { file, hash: Sha256::new() })
    }

    fn write(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.hash.update(bytes);
        self.file.as_file_mut().write_all(bytes)
    }
}

impl Receiver {
    pub(crate) fn new(staging: &Path, limit: u64) -> Self {
        Self { staging: staging.to_owned(), limit, bytes: 0, buffer: BytesMut::new(), spool: None }
    }

    /// Takes some of the object's bytes.
    pub(crate) async fn data(&mut self, bytes: Bytes) -> Result<(), ReceiveError> {
        self.bytes += bytes.len() as u64;
        if self.bytes > self.limit {
            return Err(ReceiveError::TooLarge(self.limit));
        }
        self.buffer.extend_from_slice(&bytes);
        if self.buffer.len() < AHEAD {
            return Ok(());
        }
        let (spool, staging, bytes) = (self.spool.take(), self.staging.clone(), self.buffer.split());
        let written = tokio::task::spawn_blocking(move || spooled(spool, &staging, &bytes));
        self.spool = Some(written.await.map_err(ReceiveError::Stopped)?.map_err(ReceiveError::Staging)?);
        Ok(())
    }

    /// The object is complete: opens it and checks that it can be named.
    pub(crate) async fn finish(
        self,
        study: Option<Uid>,
        limits: read::Limits,
    ) -> Result<Arrived, ReceiveError> {
        let checked = tokio::task::spawn_blocking(move || {
            let spool = spooled(self.spool, &self.staging, &self.buffer)?;
            let hash = ContentHash::from_bytes(spool.hash.finalize().into());
            Ok(check(spool.file, self.bytes, hash, study.as_ref(), &limits))
        });
        checked.await.map_err(ReceiveError::Stopped)?.map_err(ReceiveError::Staging)
    }
}

fn spooled(spool: Option<Spool>, staging: &Path, bytes: &[u8]) -> std::io::Result<Spool> {
    let mut spool = spool.map_or_else(|| Spool::new(staging), Ok)?;
    spool.write(bytes)?;
    Ok(spool)
}

fn check(
    file: NamedTempFile,
    bytes: u64,
    hash: ContentHash,
    study: Option<&Uid>,
    limits: &read::Limits,
) -> Arrived {
    let object = match read::open(file.path(), limits) {
        Ok(Opened::Dicom(object)) => object,
        Ok(Opened::Photograph(_) | Opened::Slide(_)) => {
            return Arrived::Refused(None, FailureReason::CannotUnderstand);
        }
        Err(error) => {
            tracing::info!(error = %sentence(&error), "STOW-RS: a part was refused");
            return Arrived::Refused(None, FailureReason::CannotUnderstand);
        }
    };
    let header = object.header();
    let uids = (header.sop_class_uid.clone(), header.sop_instance_uid.clone());
    let (Some(sop_class), Some(instance)) = uids else {
        return Arrived::Refused(None, FailureReason::CannotUnderstand);
    };
    let refused = |reason| Arrived::Refused(Some((sop_class.clone(), instance.clone())), reason);
    let above = (header.study_instance_uid.clone(), header.series_instance_uid.clone());
    let (Some(its_study), Some(series)) = above else { return refused(FailureReason::DataSetMismatch) };
    if study.is_some_and(|s| *s != its_study) {
        return refused(FailureReason::DataSetMismatch);
    }
    let Ok(transfer_syntax) = Uid::parse(&header.transfer_syntax) else {
        return refused(FailureReason::TransferSyntaxNotSupported);
    };
    if let Err(error) = object.check_whole() {
        tracing::info!(error = %overread_domain::sentence(&error), "STOW-RS: an object was refused");
        return refused(FailureReason::CannotUnderstand);
    }
    let file = file.into_temp_path();
    let study = its_study;
    let received =
        ReceivedFile { file, bytes, hash, study, series, instance, sop_class, transfer_syntax, object };
    Arrived::Good(Box::new(received))
}
