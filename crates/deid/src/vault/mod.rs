//! Envelope encryption: each patient has a random key, wrapped by a master key of the site. Destroying a patient's key destroys whatever was sealed
//! with it, wherever copies of that lie.
//!
//! In reading order: [`DataKey`] is a patient's key, it seals texts and, by `stream`, files; a [`Master`] wraps it; [`Masters`] are those that are known
//! at once; [`KeyFile`] and [`of_text`] are where they come from, [`Token`] is one that never leaves its PKCS#11 token.
//!
//! Pure cryptography: where wrapped keys and sealed bytes are kept is the caller's. All of it is AES-256-GCM. A random 96-bit nonce is good for 2^32
//! messages under one key (NIST SP 800-38D §8.3): a patient's texts and a site's patients are far fewer. Each file has a key of its own.

mod data_key;
mod error;
mod gcm;
mod keyfile;
mod master;
mod stream;
mod token;

pub use data_key::{DataKey, KeyId};
pub use error::VaultError;
pub use keyfile::{KeyFile, of_text};
pub use master::{Master, Masters, SoftMaster, Wrapped};
pub use stream::{Head, seal};
pub use token::{Place, Token};

#[cfg(test)]
mod tests;
