//! Real peers for tests, and what tests share. A dev-dependency, never part of the product.
//!
//! In reading order: [`tools`] knows where `./x setup` put things and what is in the samples; [`process`] starts programs, waits for
//! conditions and ends what it started; [`http`] is a plain HTTP client. The peers: [`Orthanc`], [`dcmtk`], [`Postgres`], [`S3`]. [`Overread`]
//! runs the built binary and kills it. [`ledger`] remembers what was acknowledged; [`strace`] tells whether it was on the disk by then.
//!
//! Everything here blocks and panics where something is missing: a panic is how a test fails.
#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a panic is how a test fails")]

mod certificates;
pub mod dcmtk;
pub mod http;
pub mod ledger;
mod networks;
mod orthanc;
mod overread;
mod postgres;
pub mod process;
mod s3;
pub mod samples;
pub mod strace;
mod tap;
pub mod tools;

pub use certificates::{Certificates, certificates};
pub use networks::Network;
pub use orthanc::{Orthanc, OrthancSetup};
pub use overread::Overread;
pub use postgres::Postgres;
pub use process::{Process, wait_for, wait_until};
pub use s3::S3;
pub use tap::{Tap, TapSetup};

/// A port that is free now.
pub fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("its address").port()
}
