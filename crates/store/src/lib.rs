//! Databases, objects, durable jobs and the audit chain; knows nothing of who uses it.
//!
//! In reading order: [`Database`] is SQLite or PostgreSQL behind one set of queries, [`Objects`] keeps bytes in files or in an
//! S3 server, [`jobs`] are work that survives the process, [`audit`] is a log whose alteration shows.
//!
//! What these promise: a committed transaction and a put object survive `kill -9` and power loss.

pub mod audit;
mod database;
mod error;
mod files;
pub mod jobs;
mod key;
mod objects;
mod runner;

pub use database::{Conn, Database, Migration, Tx};
pub use error::StoreError;
pub use key::ObjectKey;
pub use objects::{LocalObject, Objects};
pub use runner::{Handler, Runner, RunnerConfig, RunnerHandle, Trouble};
