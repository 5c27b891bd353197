//! Real peers for tests: PostgreSQL, an S3 server. Never part of the product.
#![allow(clippy::expect_used, reason = "a panic is how a test fails")]

mod postgres;
mod s3;

pub use postgres::Postgres;
pub use s3::S3;

/// A port that is free now.
pub fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("its address").port()
}
