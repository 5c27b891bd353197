//! AES-256-GCM with a random nonce in front.

use aes_gcm::aead::{Aead, KeyInit, Payload};
use aes_gcm::{Aes256Gcm, Nonce};
use zeroize::Zeroizing;

use super::VaultError;

/// Bytes of a key.
pub(super) const KEY: usize = 32;
const NONCE: usize = 12;

/// Random bytes.
pub(super) fn random<const N: usize>() -> Result<Zeroizing<[u8; N]>, VaultError> {
    let mut bytes = Zeroizing::new([0; N]);
    getrandom::fill(&mut *bytes).map_err(VaultError::Random)?;
    Ok(bytes)
}

/// Nonce, ciphertext and tag of a secret that is bound to a place.
pub(super) fn seal(key: &[u8; KEY], bound: &[u8], secret: &[u8]) -> Result<Vec<u8>, VaultError> {
    let nonce = random::<NONCE>()?;
    let payload = Payload { msg: secret, aad: bound };
    let sealed = Aes256Gcm::new(key.into()).encrypt(&Nonce::from(*nonce), payload);
    let sealed = sealed.map_err(|_| VaultError::Seal { what: "a secret that is too long" })?;
    Ok([&nonce[..], &sealed].concat())
}

/// The secret, if it was sealed with this key for this place.
pub(super) fn open(
    key: &[u8; KEY],
    bound: &[u8],
    sealed: &[u8],
    what: &'static str,
) -> Result<Zeroizing<Vec<u8>>, VaultError> {
    let broken = || VaultError::Seal { what };
    let (nonce, sealed) = sealed.split_first_chunk::<NONCE>().ok_or_else(broken)?;
    let payload = Payload { msg: sealed, aad: bound };
    let secret = Aes256Gcm::new(key.into()).decrypt(&Nonce::from(*nonce), payload);
    secret.map(Zeroizing::new).map_err(|_| broken())
}

/// Texts, each preceded by its length, so that no two lists are the same bytes.
pub(super) fn joined(parts: &[&str]) -> Vec<u8> {
    let mut all = Vec::new();
    for part in parts {
        all.extend((part.len() as u64).to_be_bytes());
        all.extend(part.as_bytes());
    }
    all
}
