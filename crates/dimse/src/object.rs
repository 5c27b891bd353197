//! An arriving object on its way to a file: one buffer, filled by the socket, hashed and written.

use std::io::{self, Write};
use std::path::Path;

use dicom_dictionary_std::tags;
use dicom_object::FileMetaTableBuilder;
use overread_domain::{ContentHash, Uid};
use sha2::{Digest, Sha256};
use tempfile::{NamedTempFile, TempPath};

use crate::association::{Association, Broken};
use crate::dataset::{self, HEAD, Head};
use crate::{IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME, StoreStatus};

/// The size of an association's buffer: small enough that what the socket wrote is still in the
/// processor's cache when it is hashed, and never less than a data set's head.
pub(crate) const BUFFER: usize = 256 * 1024;
const _: () = assert!(BUFFER >= HEAD + 1024, "the head of a data set has to fit the buffer");

/// An object as a peer sent it, complete, but not yet synchronised to disk.
#[derive(Debug)]
pub struct ReceivedObject {
    /// SOP class, the same in command and data set.
    pub sop_class: Uid,
    /// SOP instance, the same in command and data set. It identifies a patient: not for logs.
    pub sop_instance: Uid,
    /// The transfer syntax of the data set: the UID of one that the registry knows.
    pub transfer_syntax: String,
    /// A complete DICOM file (PS3.10): preamble, meta group, data set as received. Its name is
    /// random; it is removed on drop unless it was kept, persisted or renamed.
    pub file: TempPath,
    /// The file's size in bytes.
    pub bytes: u64,
    /// Of the whole file. The meta group depends on SOP UIDs and transfer syntax alone, so the same
    /// object sent twice is the same bytes, whoever sends it.
    pub sha256: ContentHash,
}

/// What is known of an object before its data set comes.
pub(crate) struct Announced {
    pub(crate) sop_class: Uid,
    pub(crate) sop_instance: Uid,
    pub(crate) transfer_syntax: String,
    pub(crate) context: u8,
}

/// How a data set ended.
pub(crate) enum Arrived {
    /// It is in a file.
    Whole(Box<ReceivedObject>),
    /// It was read to its end and thrown away.
    Refused(StoreStatus),
    /// It is longer than allowed; the rest was not read.
    TooLong,
}

/// Reads the data set that follows and throws it away, unless it gets longer than `limit` bytes.
pub(crate) fn discard(
    association: &mut Association,
    context: u8,
    buffer: &mut [u8],
    limit: u64,
    status: StoreStatus,
) -> Result<Arrived, Broken> {
    let mut total = 0u64;
    loop {
        let pdv = association.next_data(context)?;
        total += association.left() as u64;
        if total > limit {
            return Ok(Arrived::TooLong);
        }
        while association.left() > 0 {
            let now = association.left().min(buffer.len());
            association.read_value(buffer.get_mut(..now).unwrap_or_default())?;
        }
        if pdv.is_last {
            return Ok(Arrived::Refused(status));
        }
    }
}

/// Receives the data set that follows, of at most `limit` bytes, into a file in `staging`. A
/// connection that breaks leaves no file.
pub(crate) fn receive(
    association: &mut Association,
    announced: Announced,
    staging: &Path,
    buffer: &mut [u8],
    limit: u64,
) -> Result<Arrived, Broken> {
    let context = announced.context;
    let (file, meta) = match begin(&announced, staging, buffer) {
        Ok(begun) => begun,
        Err(error) => return discard(association, context, buffer, limit, refused_by_disk(&error)),
    };
    let mut incoming = Incoming::new(announced, file, buffer, meta);
    let mut total = 0u64;
    loop {
        let pdv = association.next_data(context)?;
        total += association.left() as u64;
        if total > limit {
            return Ok(Arrived::TooLong);
        }
        while association.left() > 0 {
            let space = incoming.space();
            let now = association.left().min(space.len());
            association.read_value(space.get_mut(..now).unwrap_or_default())?;
            incoming.used += now;
        }
        if pdv.is_last {
            return Ok(incoming.finish());
        }
    }
}

/// Makes the file, and puts preamble and meta group at the front of the buffer; gives their length.
fn begin(announced: &Announced, staging: &Path, buffer: &mut [u8]) -> io::Result<(NamedTempFile, usize)> {
    let file = tempfile::Builder::new().prefix("in-").suffix(".part").tempfile_in(staging)?;
    let mut start = vec![0u8; 128];
    start.extend(b"DICM");
    FileMetaTableBuilder::new()
        .media_storage_sop_class_uid(announced.sop_class.as_str())
        .media_storage_sop_instance_uid(announced.sop_instance.as_str())
        .transfer_syntax(announced.transfer_syntax.as_str())
        .implementation_class_uid(IMPLEMENTATION_CLASS_UID)
        .implementation_version_name(IMPLEMENTATION_VERSION_NAME)
        .build()
        .and_then(|meta| meta.write(&mut start))
        .map_err(io::Error::other)?;
    // UIDs are short: the beginning always fits.
    buffer.get_mut(..start.len()).ok_or(io::ErrorKind::InvalidInput)?.copy_from_slice(&start);
    Ok((file, start.len()))
}

/// A file that grows. Once it cannot be written, the rest passes through the buffer unwritten.
struct Incoming<'b> {
    announced: Announced,
    file: NamedTempFile,
    hash: Sha256,
    buffer: &'b mut [u8],
    /// Bytes of the buffer in use.
    used: usize,
    /// Bytes before the data set, at the front of the first buffer.
    meta: usize,
    head: Option<Head>,
    written: u64,
    failed: Option<StoreStatus>,
}

impl<'b> Incoming<'b> {
    fn new(announced: Announced, file: NamedTempFile, buffer: &'b mut [u8], meta: usize) -> Self {
        let hash = Sha256::new();
        Self { announced, file, hash, buffer, used: meta, meta, head: None, written: 0, failed: None }
    }

    /// Where the next bytes go; never empty.
    fn space(&mut self) -> &mut [u8] {
        if self.used == self.buffer.len() {
            self.flush();
        }
        self.buffer.get_mut(self.used..).unwrap_or_default()
    }

    fn flush(&mut self) {
        let bytes = self.buffer.get(..self.used).unwrap_or_default();
        if self.head.is_none() {
            let data_set = bytes.get(self.meta..).unwrap_or_default();
            self.head = Some(Head::read(data_set, &self.announced.transfer_syntax));
        }
        if self.failed.is_none() {
            self.hash.update(bytes);
            match self.file.as_file_mut().write_all(bytes) {
                Ok(()) => self.written += bytes.len() as u64,
                Err(error) => self.failed = Some(refused_by_disk(&error)),
            }
        }
        self.used = 0;
    }

    fn finish(mut self) -> Arrived {
        self.flush();
        let head = self.head.take().unwrap_or_default();
        if let Some(status) = self.failed.or_else(|| contradiction(&self.announced, &head)) {
            return Arrived::Refused(status);
        }
        Arrived::Whole(Box::new(ReceivedObject {
            sop_class: self.announced.sop_class,
            sop_instance: self.announced.sop_instance,
            transfer_syntax: self.announced.transfer_syntax,
            file: self.file.into_temp_path(),
            bytes: self.written,
            sha256: ContentHash::from_bytes(self.hash.finalize().into()),
        }))
    }
}

/// What is wrong between a command and the data set that it announced.
fn contradiction(announced: &Announced, head: &Head) -> Option<StoreStatus> {
    for (tag, found, wanted) in [
        (tags::SOP_CLASS_UID, &head.sop_class, &announced.sop_class),
        (tags::SOP_INSTANCE_UID, &head.sop_instance, &announced.sop_instance),
    ] {
        let Some(text) = found.as_deref().filter(|text| !text.is_empty()) else {
            return Some(StoreStatus::MissingAttribute(tag));
        };
        match dataset::uid(Some(text)) {
            None => return Some(StoreStatus::NotAUid(tag)),
            Some(uid) if uid != *wanted => return Some(StoreStatus::DataSetMismatch),
            Some(_) => {}
        }
    }
    None
}

fn refused_by_disk(error: &io::Error) -> StoreStatus {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
            StoreStatus::OutOfResources
        }
        _ => StoreStatus::ProcessingFailure,
    }
}
