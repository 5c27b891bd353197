//! What the HTTP doors of both roles share.
//!
//! In reading order: [`config`] says where a door opens and who may come in, [`problem`] is how every refusal is worded, [`extract`] reads
//! requests so that a mistake names its field, [`tokens`] are the keys, [`access`] checks them, [`door`] puts a role's routes behind all of
//! it together with [`health`], [`meter`], [`jobs`], [`audit`], [`events`] and the [`openapi`] document, and [`serve()`] opens it;
//! [`peer`] tells who is at the other end.
//!
//! Knows no DICOM and no role. Addresses hold UIDs, so no log line and no metric here has more of an address than the pattern of its route.

pub mod access;
pub mod audit;
pub mod config;
pub mod door;
pub mod events;
pub mod extract;
pub mod health;
pub mod jobs;
mod layers;
pub mod meter;
pub mod openapi;
pub mod peer;
pub mod problem;
pub mod serve;
pub mod tokens;

pub use access::{Access, Actor, FixedToken, Need};
pub use config::{Auth, HttpConfig, HttpError, TlsConfig};
pub use door::{Common, Door};
pub use events::{Event, Events};
pub use health::Health;
pub use layers::{around, compressed};
pub use meter::Meter;
pub use peer::Peer;
pub use problem::Problem;
pub use serve::{Listener, bind, serve, serve_tls};
pub use tokens::Scope;
