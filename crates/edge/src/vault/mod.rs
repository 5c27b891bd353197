//! The vault at the edge: whatever tells who a patient is lies sealed under a key of that patient's own, and destroying the key erases the patient.
//!
//! In reading order: `config` is what a site sets, `keys` finds the master keys; `patients` is the database of wrapped keys, apart from the edge's own, `make` makes new ones;
//! `objects` keeps originals sealed; `older` seals what an edge without a vault left; `erasure` destroys a patient's key and removes what it
//! sealed, `forget` tells the service; `rotation` wraps all keys under another master key. [`api`] is the door to erasure, [`checkup`] looks whether it all opens.
//!
//! Study, series and SOP Instance UIDs stay readable: they are the handles by which the catalog is searched.

pub mod api;
pub mod checkup;
pub mod config;
pub(crate) mod erasure;
pub(crate) mod forget;
mod keys;
mod make;
pub(crate) mod objects;
pub(crate) mod older;
mod patients;
mod rotation;
mod schema;
mod secrets;
mod who;

pub use config::VaultConfig;
pub use keys::VARIABLE;
pub use objects::SealedObjects;
pub use patients::{Patient, Vault};
pub use rotation::{Rotated, rotate};
pub use who::Who;
