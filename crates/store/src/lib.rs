//! Databases, objects, durable jobs and the audit chain; knows nothing of who uses it.
//!
//! In reading order: [`Database`] is SQLite or PostgreSQL behind one set of queries, [`Objects`] keeps bytes in files or in an
//! S3 server, [`jobs`] are work that survives the process, [`audit`] is a log whose alteration shows, [`checkup`] examines a data folder.
//!
//! What these promise: a committed transaction and a put object survive `kill -9` and power loss.
//!
//! Order of locks within a transaction, so that PostgreSQL's never wait in a circle: the caller's own rows, then [`jobs::finish`] and
//! [`jobs::enqueue`], then [`audit::append`] last. Jobs have no common row; the audit log has one, its head.

pub mod audit;
pub mod checkup;
mod database;
mod error;
mod files;
pub mod jobs;
mod key;
mod leases;
mod objects;
mod runner;

pub use database::{Conn, Database, Migration, Tx};
pub use error::StoreError;
pub use key::ObjectKey;
pub use objects::{LocalObject, Objects};
pub use runner::{Handler, Runner, RunnerConfig, RunnerHandle, Trouble};
