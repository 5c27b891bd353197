//! What can go wrong with keys and what they seal. No message holds a key, a name or a path of a patient's.

use std::io;

/// Why something was not sealed or opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VaultError {
    /// The operating system gave no random bytes.
    #[error("the operating system gives no random bytes for a key")]
    Random(#[source] getrandom::Error),
    /// The key file could not be read or written.
    #[error("the file of the vault's master key cannot be {doing}; check its folder, owner and rights")]
    KeyFile {
        /// What was being done.
        doing: &'static str,
        /// The operating system's answer.
        source: io::Error,
    },
    /// Others than the owner may read or change the key file.
    #[error(
        "the file of the vault's master key has mode {mode:03o}; others may read or change it. Run chmod 600 on it"
    )]
    KeyExposed {
        /// The permission bits.
        mode: u32,
    },
    /// What should be a key is none.
    #[error(
        "key {number} of {place} is no key: write 32 random bytes as 64 hexadecimal digits or as base64, such as `openssl rand -base64 32` prints"
    )]
    NotAKey {
        /// Where it was read.
        place: &'static str,
        /// Which one, from 1.
        number: usize,
    },
    /// There is no key at all where there should be one.
    #[error("{place} holds no key; restore it from a backup")]
    NoKey {
        /// Where.
        place: &'static str,
    },
    /// It is wrapped under a master key that nobody gave us.
    #[error(
        "the vault is sealed under the master key {wanted}, and the keys that were given are {known}. Give the right one: in the file edge.vault.key_file, in \
         OVERREAD_VAULT_KEY or in the token; a backup has it. Nothing was changed"
    )]
    UnknownMaster {
        /// The id of the one that is needed.
        wanted: String,
        /// The ids of those that there are.
        known: String,
    },
    /// The seal does not hold.
    #[error(
        "{what} cannot be opened: it was changed, was cut short, or belongs to another place; restore it from a backup"
    )]
    Seal {
        /// What was to be opened.
        what: &'static str,
    },
    /// Bytes could not be read.
    #[error("reading what is to be sealed or opened")]
    Read(#[source] io::Error),
    /// Bytes could not be written.
    #[error("writing what was sealed or opened")]
    Write(#[source] io::Error),
    /// The token failed.
    #[error("the PKCS#11 token: {doing}")]
    Token {
        /// What was tried, and what to look at.
        doing: &'static str,
        /// What it said.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl VaultError {
    /// Whether trying again later can help: the disk or the token was away.
    pub const fn is_passing(&self) -> bool {
        matches!(self, Self::Read(_) | Self::Write(_) | Self::Random(_) | Self::Token { .. })
    }

    /// Whether the disk was full.
    pub fn is_full(&self) -> bool {
        use io::ErrorKind::{QuotaExceeded, StorageFull};
        matches!(self, Self::Write(e) if matches!(e.kind(), StorageFull | QuotaExceeded))
    }
}
