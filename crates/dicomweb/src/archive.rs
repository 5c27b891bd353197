//! What the role provides: where instances are, what is known of them, and how they are kept.

use std::any::Any;
use std::path::{Path, PathBuf};
use std::time::Duration;

use async_trait::async_trait;
use dicom_core::Tag;
use dicom_object::InMemDicomObject;
use overread_dicom::read::DicomFile;
use overread_domain::{ContentHash, Identified, Uid};
use tempfile::TempPath;

use crate::query::Query;

/// A level of the study root hierarchy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Level {
    /// Studies.
    Study,
    /// Series.
    Series,
    /// SOP instances.
    Instance,
}

/// A study, or a series or an instance of it, as a URL names it.
///
/// There is no `Debug`: UIDs of the hospital identify.
#[derive(Clone, PartialEq, Eq)]
pub struct Scope {
    /// Study Instance UID.
    pub study: Uid,
    /// Series Instance UID.
    pub series: Option<Uid>,
    /// SOP Instance UID; only with a series.
    pub instance: Option<Uid>,
}

/// What an archive says to a search.
#[derive(Default)]
pub struct Page {
    /// One data set for each match, with every attribute that the archive knows at this level and the levels above it.
    /// Counts and Modalities in Study are the archive's to fill in; Retrieve URL and Instance Availability are not.
    pub rows: Vec<Identified<InMemDicomObject>>,
    /// Whether there are more matches after these.
    pub more: bool,
    /// Whether `fuzzymatching`, where it was asked for, was done.
    pub fuzzy: bool,
}

/// An instance that the archive has.
///
/// There is no `Debug`: UIDs of the hospital identify.
#[derive(Clone)]
pub struct InstanceEntry {
    /// The archive's own name for it, safe to print.
    pub id: i64,
    /// Study Instance UID.
    pub study: Uid,
    /// Series Instance UID.
    pub series: Uid,
    /// SOP Instance UID.
    pub instance: Uid,
    /// SOP Class UID.
    pub sop_class: Uid,
    /// Transfer Syntax UID that it is stored in.
    pub transfer_syntax: Uid,
    /// Frames; zero where it holds no image.
    pub frames: u32,
    /// Bytes of the file.
    pub bytes: u64,
}

impl InstanceEntry {
    /// The instance as a URL names it.
    pub fn scope(&self) -> Scope {
        Scope {
            study: self.study.clone(),
            series: Some(self.series.clone()),
            instance: Some(self.instance.clone()),
        }
    }
}

/// A file to read from, and what keeps it there meanwhile.
pub struct OpenedFile {
    /// The file, a Part 10 file.
    pub path: PathBuf,
    /// Dropped when reading is over: a lock, a temporary copy.
    pub keep: Option<Box<dyn Any + Send + Sync>>,
}

/// An object that has arrived whole, was opened, and whose UIDs are valid.
///
/// The file lies in [`Archive::staging`] and is removed when this is dropped, unless the archive moves it away
/// ([`TempPath::keep`] or [`TempPath::persist`]). It has not been synced.
pub struct ReceivedFile {
    /// Where it is.
    pub file: TempPath,
    /// How many bytes it has.
    pub bytes: u64,
    /// SHA-256 of those bytes.
    pub hash: ContentHash,
    /// Study Instance UID.
    pub study: Uid,
    /// Series Instance UID.
    pub series: Uid,
    /// SOP Instance UID.
    pub instance: Uid,
    /// SOP Class UID.
    pub sop_class: Uid,
    /// Transfer Syntax UID.
    pub transfer_syntax: Uid,
    /// The object, opened: its header is parsed already.
    pub object: DicomFile,
}

/// What became of one received file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreOutcome {
    /// It is durable.
    Stored,
    /// The same bytes were there already; that is a success.
    Duplicate,
    /// It is durable, with a Warning Reason (0008,1196): 0xB000 coerced, 0xB006 elements discarded, 0xB007 no match to its SOP class.
    StoredWith(u16),
    /// It was refused.
    Failed(FailureReason),
    /// There is no room: answered 507 where nothing of the request was stored.
    Full,
}

/// Failure Reason (0008,1197), PS3.18 §10.5.3 and annex I.2.2 (edition 2025c).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub enum FailureReason {
    /// Out of resources.
    OutOfResources = 0xA700,
    /// The data set does not match its SOP class, or the study that the URL names.
    DataSetMismatch = 0xA900,
    /// It cannot be understood.
    CannotUnderstand = 0xC000,
    /// The transfer syntax is not supported.
    TransferSyntaxNotSupported = 0xC122,
    /// Processing failed.
    ProcessingFailure = 0x0110,
    /// The UID is taken by an object with other bytes.
    DuplicateInstance = 0x0111,
    /// The SOP class is not supported.
    SopClassNotSupported = 0x0122,
    /// Not authorised.
    NotAuthorised = 0x0124,
}

impl FailureReason {
    /// The number that goes over the wire.
    pub const fn code(self) -> u16 {
        self as u16
    }
}

/// Why an archive could not answer. Nothing in it identifies a patient: its text is logged.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ArchiveError {
    /// There is no such study, series or instance.
    #[error("it is not in the archive")]
    NotFound,
    /// It was there and has been removed.
    #[error("it has been removed from the archive")]
    Gone,
    /// The archive cannot match on this attribute; the answer would hold others' studies if it were ignored.
    #[error("the archive does not match on attribute {0}; leave it out or match on another")]
    Unmatchable(Tag),
    /// A passing outage.
    #[error("the archive cannot answer now; ask again later")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// Anything else.
    #[error("the archive failed")]
    Failed(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// What one request may take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a body that stores objects.
    pub body_bytes: u64,
    /// Bytes of one object.
    pub object_bytes: u64,
    /// Parts of a body.
    pub parts: u32,
    /// Objects that are handed to [`Archive::store`] at once, so that their syncs are shared.
    pub batch: usize,
    /// How long a sender or a reader may be silent.
    pub idle: Duration,
    /// Matches in one answer to a search.
    pub rows: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            body_bytes: 16 << 30,
            object_bytes: 4 << 30,
            parts: 20_000,
            batch: 64,
            idle: Duration::from_secs(60),
            rows: 1000,
        }
    }
}

/// An archive of DICOM instances.
#[async_trait]
pub trait Archive: Send + Sync + 'static {
    /// The matches of a query at a level, from `query.offset` on, at most `query.limit`, in an order that does not change between pages.
    ///
    /// # Errors
    /// [`ArchiveError::Unmatchable`] for an attribute that it cannot match on.
    async fn search(&self, level: Level, query: &Query) -> Result<Page, ArchiveError>;

    /// The instances of a study, series or instance, in the order of series and instance number.
    ///
    /// # Errors
    /// [`ArchiveError::NotFound`] if there is none.
    async fn instances(&self, scope: &Scope) -> Result<Vec<InstanceEntry>, ArchiveError>;

    /// The file of an instance.
    ///
    /// # Errors
    /// [`ArchiveError::NotFound`] if it has gone meanwhile.
    async fn open(&self, instance: &InstanceEntry) -> Result<OpenedFile, ArchiveError>;

    /// Keeps files; what is reported as stored is durable. One outcome for each file, in their order.
    async fn store(&self, files: Vec<ReceivedFile>, study: Option<&Uid>) -> Vec<StoreOutcome>;

    /// The folder that objects arrive in.
    fn staging(&self) -> &Path;

    /// What one request may take.
    fn limits(&self) -> &Limits;
}
