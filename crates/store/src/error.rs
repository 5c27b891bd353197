//! What can go wrong with databases and objects.

use overread_domain::sentence;

/// Why the store did not do what it was asked. Messages hold no secret of an address and no value of a row.
#[derive(thiserror::Error)]
pub enum StoreError {
    /// An address that is none.
    #[error("{what}: {problem}")]
    Address {
        /// Which address.
        what: &'static str,
        /// What is wrong with it and what to write.
        problem: String,
    },
    /// The database did not answer, or not as it should.
    #[error("{doing}: the database failed")]
    Database {
        /// What was tried.
        doing: &'static str,
        /// Why.
        source: sqlx::Error,
    },
    /// The database was made by a newer Overread.
    #[error(
        "the {room} database is of version {found}, this Overread knows {known}; run the newer Overread again"
    )]
    Newer {
        /// Whose tables.
        room: String,
        /// The version found.
        found: i64,
        /// The newest version known.
        known: i64,
    },
    /// A file operation failed.
    #[error("{doing}")]
    File {
        /// What was tried.
        doing: &'static str,
        /// Why.
        source: std::io::Error,
    },
    /// The object server failed.
    #[error("{doing}: the object store failed")]
    Object {
        /// What was tried.
        doing: &'static str,
        /// Why.
        source: object_store::Error,
    },
    /// Others were in the way for too long.
    #[error("{doing}: others were reading for too long")]
    Busy {
        /// What was tried.
        doing: &'static str,
    },
    /// There is no such object.
    #[error("object {key} is not there")]
    NoObject {
        /// Its key.
        key: String,
    },
    /// A text that is no key of ours.
    #[error("an object's key has parts of a-z, 0-9, '.', '_' and '-', joined by '/', 200 characters at most")]
    Key,
    /// Somebody else runs the job by now.
    #[error("job {id} is run by somebody else by now")]
    LeaseLost {
        /// The job.
        id: i64,
    },
    /// The audit chain does not hold.
    #[error("the audit chain is broken at entry {sequence}: {why}")]
    Broken {
        /// The first entry that does not fit.
        sequence: i64,
        /// How.
        why: &'static str,
    },
    /// A document in a row cannot be read.
    #[error("{what} in the database is no valid document")]
    Document {
        /// Which.
        what: &'static str,
        /// Why.
        source: serde_json::Error,
    },
}

/// As for people: a derived one would print PostgreSQL's detail of an error, which holds values of the row.
impl std::fmt::Debug for StoreError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "StoreError({})", sentence(self))
    }
}

impl StoreError {
    pub(crate) fn database(doing: &'static str) -> impl FnOnce(sqlx::Error) -> Self {
        move |source| Self::Database { doing, source }
    }

    pub(crate) fn file(doing: &'static str) -> impl FnOnce(std::io::Error) -> Self {
        move |source| Self::File { doing, source }
    }

    /// Whether there is no room: on the disk, in the quota, in the database.
    pub fn is_full(&self) -> bool {
        use std::io::ErrorKind::{QuotaExceeded, StorageFull};
        match self {
            Self::File { source, .. } => matches!(source.kind(), StorageFull | QuotaExceeded),
            Self::Database { source: sqlx::Error::Database(e), .. } => {
                // SQLITE_FULL and PostgreSQL's class 53 (insufficient resources: disk full).
                e.code().is_some_and(|c| c == "13" || c == "53100")
            }
            _ => false,
        }
    }

    /// Whether trying again later can help: the database or the object server is away, or there is no room.
    pub fn is_passing(&self) -> bool {
        if self.is_full() {
            return true;
        }
        match self {
            Self::Database { source, .. } => match source {
                sqlx::Error::Io(_)
                | sqlx::Error::Tls(_)
                | sqlx::Error::PoolTimedOut
                | sqlx::Error::PoolClosed
                | sqlx::Error::WorkerCrashed => true,
                // Busy, locked, I/O error; connection, operator intervention, serialisation.
                sqlx::Error::Database(e) => e.code().is_some_and(|c| {
                    let sqlite = c.parse::<u32>().is_ok_and(|n| matches!(n & 0xff, 5 | 6 | 10 | 14));
                    (c.len() != 5 && sqlite)
                        || ["08", "57", "40", "53", "55"]
                            .iter()
                            .any(|class| c.len() == 5 && c.starts_with(class))
                }),
                _ => false,
            },
            Self::Object { source, .. } => !matches!(
                source,
                object_store::Error::PermissionDenied { .. } | object_store::Error::Unauthenticated { .. }
            ),
            Self::Busy { .. } => true,
            Self::File { source, .. } => source.kind() == std::io::ErrorKind::Interrupted,
            _ => false,
        }
    }
}
