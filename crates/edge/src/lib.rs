//! The hospital's role: it receives, assembles, sends, files and delivers, and it knows the patient.
//!
//! In reading order: [`config`] is what a site sets; [`door`], [`photographs`] and [`intake`] take images in, `commit` makes them durable, [`describe`] is what is kept beside them; [`assemble`] and
//! [`rules`] tell when a study is complete and which program it is for; [`send`] takes it through the gate that [`deid`] sets up (`outgoing`: all images or none) and gives it to the service over the [`link`]; [`inbox`] takes results
//! back, [`filing`] makes documents of them, [`deliver`] brings those to the PACS, `commitment` asks whether it keeps them; `deliveries` holds what became of
//! each. Between each two lies a durable job. [`vault`] seals what tells who a patient is, and erases patients. [`checkup`] examines all of it before it runs, or while it does.
//!
//! It never names the crates that read images or run the service.

mod api;
pub mod archive;
pub mod assemble;
pub mod checkup;
mod commit;
mod commitment;
pub mod config;
pub mod deid;
pub mod deliver;
mod deliveries;
mod departures;
pub mod describe;
pub mod door;
mod error;
pub mod filing;
pub mod inbox;
pub mod intake;
pub mod link;
mod manifest_api;
mod outgoing;
mod photograph_form;
pub mod photographs;
mod role;
pub mod rules;
mod schema;
pub mod send;
pub mod vault;

pub use config::{Config, LinkConfig};
pub use error::EdgeError;
pub use role::Edge;
pub use schema::MIGRATIONS;
