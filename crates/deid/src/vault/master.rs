//! Master keys: what wraps the patients' keys.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD as BASE64;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::gcm::{self, KEY, joined, random};
use super::{DataKey, VaultError};

/// A key of the site, wherever it lies.
pub trait Master: Send + Sync {
    /// Its id: hexadecimal digits of a hash, which tell nothing of it.
    fn id(&self) -> &str;

    /// Wraps a secret that is bound to a place.
    ///
    /// # Errors
    /// The key cannot be used.
    fn wrap(&self, bound: &[u8], secret: &[u8]) -> Result<Vec<u8>, VaultError>;

    /// Unwraps what it wrapped for that place.
    ///
    /// # Errors
    /// [`VaultError::Seal`], or the key cannot be used.
    fn unwrap(&self, bound: &[u8], wrapped: &[u8]) -> Result<Zeroizing<Vec<u8>>, VaultError>;
}

/// A master key in this process's memory. It has no `Debug`, and its memory is cleared when it is dropped.
pub struct SoftMaster {
    id: String,
    key: Zeroizing<[u8; KEY]>,
}

impl SoftMaster {
    /// A new one.
    ///
    /// # Errors
    /// No random bytes.
    pub fn random() -> Result<Self, VaultError> {
        Ok(Self::of(random()?))
    }

    pub(super) fn of(key: Zeroizing<[u8; KEY]>) -> Self {
        Self { id: id_of("key", &*key), key }
    }

    pub(super) fn bytes(&self) -> &[u8; KEY] {
        &self.key
    }
}

/// The first 64 bits of a hash, in hexadecimal.
pub(super) fn id_of(kind: &str, what: &[u8]) -> String {
    let hash = Sha256::new()
        .chain_update(b"overread vault master 1 ")
        .chain_update(kind)
        .chain_update(b"\0")
        .chain_update(what);
    hash.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

impl Master for SoftMaster {
    fn id(&self) -> &str {
        &self.id
    }

    fn wrap(&self, bound: &[u8], secret: &[u8]) -> Result<Vec<u8>, VaultError> {
        gcm::seal(&self.key, bound, secret)
    }

    fn unwrap(&self, bound: &[u8], wrapped: &[u8]) -> Result<Zeroizing<Vec<u8>>, VaultError> {
        gcm::open(&self.key, bound, wrapped, "a wrapped key")
    }
}

/// A wrapped key, as a row holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wrapped {
    /// Id of the master key that wrapped it.
    pub master: String,
    /// The wrapped bytes, base64.
    pub bytes: String,
}

/// Master keys that are known at once, the newest first: it wraps, all unwrap.
#[derive(Clone)]
pub struct Masters(Vec<Arc<dyn Master>>);

impl Masters {
    /// Takes them, the newest first; none if there is none.
    pub fn new(newest_first: Vec<Arc<dyn Master>>) -> Option<Self> {
        (!newest_first.is_empty()).then_some(Self(newest_first))
    }

    /// Id of the one that wraps.
    pub fn newest(&self) -> &str {
        self.0.first().map_or("", |master| master.id())
    }

    /// Ids of all, the newest first.
    pub fn ids(&self) -> Vec<&str> {
        self.0.iter().map(|master| master.id()).collect()
    }

    /// Whether one has this id.
    pub fn knows(&self, id: &str) -> bool {
        self.ids().contains(&id)
    }

    /// Wraps a key that is bound to its name.
    ///
    /// # Errors
    /// The newest master key cannot be used.
    pub fn wrap(&self, name: &str, key: &DataKey) -> Result<Wrapped, VaultError> {
        self.wrap_secret(name, key.bytes())
    }

    /// Unwraps the key of a name.
    ///
    /// # Errors
    /// [`VaultError::UnknownMaster`], [`VaultError::Seal`], or the master key cannot be used.
    pub fn unwrap(&self, name: &str, wrapped: &Wrapped) -> Result<DataKey, VaultError> {
        DataKey::from_bytes(&self.unwrap_secret(name, wrapped)?)
            .ok_or(VaultError::Seal { what: "a wrapped key" })
    }

    /// As [`Self::wrap`], of any short secret.
    ///
    /// # Errors
    /// As [`Self::wrap`].
    pub fn wrap_secret(&self, name: &str, secret: &[u8]) -> Result<Wrapped, VaultError> {
        let Some(master) = self.0.first() else { return Err(self.unknown("")) };
        let bytes = BASE64.encode(master.wrap(&bound(name, master.id()), secret)?);
        Ok(Wrapped { master: master.id().to_owned(), bytes })
    }

    /// As [`Self::unwrap`], of any short secret.
    ///
    /// # Errors
    /// As [`Self::unwrap`].
    pub fn unwrap_secret(&self, name: &str, wrapped: &Wrapped) -> Result<Zeroizing<Vec<u8>>, VaultError> {
        let master = self.0.iter().find(|master| master.id() == wrapped.master);
        let master = master.ok_or_else(|| self.unknown(&wrapped.master))?;
        let bytes = BASE64.decode(&wrapped.bytes).map_err(|_| VaultError::Seal { what: "a wrapped key" })?;
        master.unwrap(&bound(name, master.id()), &bytes)
    }

    /// The same under the newest master key.
    ///
    /// # Errors
    /// As of unwrapping and wrapping.
    pub fn rewrap(&self, name: &str, wrapped: &Wrapped) -> Result<Wrapped, VaultError> {
        self.wrap_secret(name, &self.unwrap_secret(name, wrapped)?)
    }

    /// What to say where a master key is not among these.
    pub fn unknown(&self, wanted: &str) -> VaultError {
        VaultError::UnknownMaster { wanted: wanted.to_owned(), known: self.ids().join(", ") }
    }
}

/// A wrapped key opens under its own name and master key alone.
fn bound(name: &str, master: &str) -> Vec<u8> {
    joined(&["overread vault wrap 1", name, master])
}
