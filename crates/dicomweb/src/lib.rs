//! DICOMweb over an archive that the role provides: STOW-RS, QIDO-RS and WADO-RS of the Studies Service
//! (PS3.18 chapter 10, edition 2025c) as one axum router.
//!
//! In reading order: [`Archive`] is what the role provides, [`Config`] and [`router`] make the door. [`Query`] is a
//! search with its [`matching`]; `qido` answers searches, `wado` retrieves (`instance` as files, `frames`, `bulk` data,
//! `metadata` as DICOM JSON, `render` as pictures), `stow` and `receive` store. Beneath: `accept` chooses media types,
//! `multipart` reads and `body` writes multipart bodies, `json` is the DICOM JSON model, `decoders` bounds decoding,
//! `problem` says what went wrong without saying of whom.
//!
//! It knows no database and no rule of a role, and it does not ask who calls: that is the outer door's.

mod accept;
mod archive;
mod body;
mod bulk;
mod decoders;
mod frames;
mod instance;
mod json;
pub mod matching;
mod metadata;
mod multipart;
mod problem;
mod qido;
mod query;
mod receive;
mod render;
mod stow;
mod wado;

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::routing::get;
use overread_dicom::read::CodecHost;

pub use archive::{
    Archive, ArchiveError, FailureReason, InstanceEntry, Level, Limits, OpenedFile, Page, ReceivedFile,
    Scope, StoreOutcome,
};
pub use query::{AttributeMatch, Include, Query, QueryError};

use decoders::Decoders;

/// Makes a host for the codecs' child process.
pub type CodecFactory = Arc<dyn Fn() -> CodecHost + Send + Sync>;

/// How the door is set up.
#[derive(Clone)]
pub struct Config {
    /// Where the services lie, such as `/dicom-web`.
    pub base: String,
    /// How the outside names this server (`https://pacs.example.org`), for the URLs in answers. Without it they are made of the
    /// request's `X-Forwarded-Proto` and `Host`.
    pub public_url: Option<String>,
    /// Makes a host for the codecs' child process; called once for each frame that is decoded at the same time as others.
    pub codec: CodecFactory,
    /// How many frames are decoded at the same time.
    pub decoders: usize,
    /// What a file that is opened may cost.
    pub read: overread_dicom::read::Limits,
}

/// What every handler shares.
#[derive(Clone)]
pub(crate) struct Shared {
    pub(crate) archive: Arc<dyn Archive>,
    pub(crate) decoders: Arc<Decoders>,
    pub(crate) config: Arc<Config>,
}

/// The services under `config.base`, over an archive.
pub fn router(archive: Arc<dyn Archive>, config: Config) -> Router {
    let base = format!("/{}", config.base.trim_matches('/'));
    let decoders = Arc::new(Decoders::new(config.codec.clone(), config.decoders));
    let shared = Shared { archive, decoders, config: Arc::new(Config { base: base.clone(), ..config }) };
    let services = Router::new()
        .route("/studies", get(qido::studies).post(stow::store))
        .route("/series", get(qido::all_series))
        .route("/instances", get(qido::all_instances))
        .merge(study_routes())
        .merge(instance_routes())
        .fallback(problem::not_here)
        .method_not_allowed_fallback(problem::wrong_method)
        // Bodies are bounded by the archive's own limits.
        .layer(DefaultBodyLimit::disable())
        .with_state(shared);
    if base == "/" { services } else { Router::new().nest(&base, services) }
}

fn study_routes() -> Router<Shared> {
    Router::new()
        .route("/studies/{study}", get(instance::retrieve).post(stow::store_in))
        .route("/studies/{study}/metadata", get(metadata::retrieve))
        .route("/studies/{study}/rendered", get(render::rendered))
        .route("/studies/{study}/thumbnail", get(render::thumbnail))
        .route("/studies/{study}/series", get(qido::series))
        .route("/studies/{study}/instances", get(qido::study_instances))
        .route("/studies/{study}/series/{series}", get(instance::retrieve))
        .route("/studies/{study}/series/{series}/metadata", get(metadata::retrieve))
        .route("/studies/{study}/series/{series}/rendered", get(render::rendered))
        .route("/studies/{study}/series/{series}/thumbnail", get(render::thumbnail))
        .route("/studies/{study}/series/{series}/instances", get(qido::instances))
}

fn instance_routes() -> Router<Shared> {
    const INSTANCE: &str = "/studies/{study}/series/{series}/instances/{instance}";
    let under = |rest: &str| format!("{INSTANCE}{rest}");
    Router::new()
        .route(INSTANCE, get(instance::retrieve))
        .route(&under("/metadata"), get(metadata::retrieve))
        .route(&under("/rendered"), get(render::rendered))
        .route(&under("/thumbnail"), get(render::thumbnail))
        .route(&under("/frames/{frames}"), get(frames::retrieve))
        .route(&under("/frames/{frames}/rendered"), get(render::rendered_frames))
        .route(&under("/frames/{frames}/thumbnail"), get(render::rendered_thumbnail))
        .route(&under("/bulkdata/{path}"), get(bulk::retrieve))
}
