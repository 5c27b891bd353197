//! What can go wrong at the edge. Nothing here holds identity: messages name our own rows, tags and peers.

pub(crate) use overread_domain::sentence;
use overread_store::StoreError;

/// Why the edge did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum EdgeError {
    /// The configuration contradicts itself.
    #[error("the configuration does not work")]
    Config(#[from] crate::config::ConfigError),
    /// The database or the objects failed.
    #[error("{doing}")]
    Store {
        /// What was tried.
        doing: &'static str,
        /// Why.
        source: StoreError,
    },
    /// A query failed.
    #[error("{doing}: the database failed")]
    Query {
        /// What was tried.
        doing: &'static str,
        /// Why.
        source: sqlx::Error,
    },
    /// A row holds what we would not have written.
    #[error("{what} in the database is not as we write it")]
    Row {
        /// What the row is about.
        what: &'static str,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A door could not be opened.
    #[error("{what} cannot be opened at {address}")]
    Door {
        /// Which.
        what: &'static str,
        /// Where.
        address: String,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Something this process needs at its start.
    #[error("{doing}")]
    Start {
        /// What was tried.
        doing: &'static str,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl From<StoreError> for EdgeError {
    fn from(source: StoreError) -> Self {
        Self::Store { doing: "the edge's store failed", source }
    }
}

impl EdgeError {
    pub(crate) fn query(doing: &'static str) -> impl FnOnce(sqlx::Error) -> Self {
        move |source| Self::Query { doing, source }
    }

    /// Whether trying again later can help.
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Store { source, .. } => source.is_passing(),
            Self::Query { source, .. } => matches!(source, sqlx::Error::Io(_) | sqlx::Error::PoolTimedOut),
            _ => false,
        }
    }
}

impl From<EdgeError> for overread_store::Trouble {
    fn from(error: EdgeError) -> Self {
        let why = sentence(&error);
        if error.is_passing() { Self::Later { why } } else { Self::Failed { why } }
    }
}
