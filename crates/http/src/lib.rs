//! stand-in
pub mod config;
pub use config::*;
