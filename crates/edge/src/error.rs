//! What can go wrong at the edge. Nothing here holds identity: messages name our own rows, tags and peers.

use overread_deid::vault::VaultError;
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
    /// The vault failed.
    #[error("{doing}")]
    Vault {
        /// What was tried.
        doing: &'static str,
        /// Why.
        source: VaultError,
    },
    /// What is asked for was sealed with a key that was destroyed.
    #[error("the patient was erased: nothing opens what was sealed with their key")]
    Erased,
    /// A part of this process ended in the middle.
    #[error("{doing}: it broke off")]
    Lost {
        /// What was tried.
        doing: &'static str,
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

    pub(crate) fn vault(doing: &'static str) -> impl FnOnce(VaultError) -> Self {
        move |source| Self::Vault { doing, source }
    }

    pub(crate) const fn lost(doing: &'static str) -> Self {
        Self::Lost { doing }
    }

    /// Whether there is no room.
    pub fn is_full(&self) -> bool {
        match self {
            Self::Store { source, .. } => source.is_full(),
            Self::Vault { source, .. } => source.is_full(),
            _ => false,
        }
    }

    /// Whether trying again later can help.
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Store { source, .. } => source.is_passing(),
            Self::Vault { source, .. } => source.is_passing(),
            Self::Lost { .. } => true,
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
