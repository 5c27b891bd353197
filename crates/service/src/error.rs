//! Why a service does not start, or ends.

use overread_http::HttpError;
use overread_store::StoreError;

use crate::authority::AuthorityError;
use crate::config::ConfigError;

/// Why a service does not start, or ends.
#[derive(Debug, thiserror::Error)]
pub enum ServiceError {
    /// A key of the configuration.
    #[error("the configuration does not work")]
    Config(#[from] ConfigError),
    /// A program whose pack is not there.
    #[error(
        "program {program} wants pack {pack}, which is not there; packs found: {found}; put the pack into the pack folder or correct \
         [[service.program]] pack"
    )]
    NoPack {
        /// The program.
        program: String,
        /// The pack it wants.
        pack: String,
        /// The packs there are.
        found: String,
    },
    /// Nothing to read with.
    #[error(
        "there is no program: no pack was found that is trusted and not for research only; install one, or name one by [[service.program]]"
    )]
    NoProgram,
    /// Database or objects.
    #[error("the service's store cannot be used")]
    Store(#[from] StoreError),
    /// The link's authority.
    #[error("the door for enrolled edges cannot be opened")]
    Authority(#[from] AuthorityError),
    /// The HTTP door.
    #[error("the service's door cannot be opened")]
    Http(#[from] HttpError),
    /// The OpenAPI document.
    #[error("the OpenAPI document cannot be written")]
    Document(#[source] serde_json::Error),
    /// The threads that read.
    #[error("the threads that read cannot be started")]
    Threads(#[source] std::io::Error),
}

/// A database error with what was being done.
pub(crate) fn db(doing: &'static str) -> impl Fn(sqlx::Error) -> StoreError {
    move |source| StoreError::Database { doing, source }
}

/// A document of a row that does not parse.
pub(crate) fn document(what: &'static str) -> impl Fn(serde_json::Error) -> StoreError {
    move |source| StoreError::Document { what, source }
}

/// An error of a file with what was being done.
pub(crate) fn file(doing: &'static str) -> impl Fn(std::io::Error) -> StoreError {
    move |source| StoreError::File { doing, source }
}
