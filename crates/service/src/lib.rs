//! The reader's role: takes pseudonymous studies over the link, reads them, keeps the readings, and releases results where a person said so.
//!
//! In reading order: [`config`] is what a site sets, [`Service`] what all parts share; [`clients`] and their edges come over the link, known by certificates that
//! the [`authority`] signs; [`intake`] takes objects and studies, the job `read` hands them to whatever [`reading`] is, [`pool`] in the product; readings are kept and released, an outbox holds results until the edge has them;
//! [`door`] opens the link and the [`api`], and [`run`] starts everything.
//!
//! It never knows a patient: it cannot name the crates that do.

mod admission;
pub mod api;
pub mod authority;
mod cases;
pub mod clients;
pub mod config;
mod enrolment;
mod erase;
mod error;
mod forget;
mod gate;
mod inflate;
pub mod intake;
mod link;
mod meter;
mod objects;
mod outbox;
pub mod pool;
pub mod programs;
mod read_job;
pub mod reading;
mod release;
mod run;
pub mod schema;
mod service;
mod undertaker;
mod upload;
pub mod validation;

pub use authority::{Authority, AuthorityError};
pub use config::{Config, ConfigError, LinkDoor, ProgramConfig};
pub use erase::ERASE;
pub use error::ServiceError;
pub use pool::{CodecFactory, ReaderPool};
pub use programs::{ModeError, ModeOrder, Programs};
pub use read_job::READ;
pub use run::{EdgeDoor, Working, door, run, start, workers};
pub use service::Service;
