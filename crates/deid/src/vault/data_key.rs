//! A patient's key, and what it seals.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD as BASE64;
use hmac::digest::{FixedOutput, KeyInit, Update};
use hmac::{Hmac, digest::Key};
use sha2::Sha256;
use zeroize::Zeroizing;

use super::VaultError;
use super::gcm::{self, KEY, joined, random};

/// The name of a key: 128 random bits, which tell nothing of the patient.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyId([u8; 16]);

impl KeyId {
    /// A new one.
    ///
    /// # Errors
    /// The operating system gives no random bytes.
    pub fn random() -> Result<Self, VaultError> {
        Ok(Self(*random()?))
    }

    /// One of its bytes.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// Its bytes.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// One of its 32 lower-case hexadecimal digits.
    pub fn parse(text: &str) -> Option<Self> {
        let plain = text.len() == 32 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        let number = plain.then(|| u128::from_str_radix(text, 16).ok()).flatten()?;
        Some(Self(number.to_be_bytes()))
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

/// A patient's key: 256 random bits. It has no `Debug`, and its memory is cleared when it is dropped.
pub struct DataKey(Zeroizing<[u8; KEY]>);

impl DataKey {
    /// A new one.
    ///
    /// # Errors
    /// The operating system gives no random bytes.
    pub fn random() -> Result<Self, VaultError> {
        Ok(Self(Self::random_bytes()?))
    }

    /// The bytes of a new one, to be wrapped.
    ///
    /// # Errors
    /// The operating system gives no random bytes.
    pub fn random_bytes() -> Result<Zeroizing<[u8; 32]>, VaultError> {
        random()
    }

    /// A key of bytes that were unwrapped; none if they are not 32.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let mut key = Zeroizing::new([0; KEY]);
        (bytes.len() == KEY).then(|| key.copy_from_slice(bytes))?;
        Some(Self(key))
    }

    pub(super) fn bytes(&self) -> &[u8; KEY] {
        &self.0
    }

    /// Another key for each use and context: HMAC-SHA-256, a pseudorandom function, under this one.
    pub(super) fn derived(&self, parts: &[&str], salt: &[u8]) -> Zeroizing<[u8; KEY]> {
        // HMAC pads a key that is shorter than its block with zeros (RFC 2104 §2).
        let mut block = Zeroizing::new([0; 64]);
        block[..KEY].copy_from_slice(&*self.0);
        let mut mac = Hmac::<Sha256>::new(Key::<Hmac<Sha256>>::from_slice(&*block));
        mac.update(&joined(parts));
        mac.update(salt);
        Zeroizing::new(mac.finalize_fixed().into())
    }

    /// A fingerprint of texts, as 64 hexadecimal digits: the same for the same texts, and telling nothing of them to whoever lacks the key.
    pub fn fingerprint(&self, parts: &[&str]) -> String {
        let all: Vec<&str> =
            std::iter::once("overread vault fingerprint 1").chain(parts.iter().copied()).collect();
        self.derived(&all, &[]).iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Seals a text for one place, such as a column of a row: base64.
    ///
    /// # Errors
    /// No random bytes.
    pub fn seal_text(&self, place: &[&str], text: &str) -> Result<String, VaultError> {
        let sealed = gcm::seal(&self.text_key(), &joined(place), text.as_bytes())?;
        Ok(BASE64.encode(sealed))
    }

    /// Opens what was sealed for that place.
    ///
    /// # Errors
    /// [`VaultError::Seal`].
    pub fn open_text(&self, place: &[&str], sealed: &str) -> Result<Zeroizing<String>, VaultError> {
        let what = "a sealed text";
        let broken = |_| VaultError::Seal { what };
        let sealed = BASE64.decode(sealed).map_err(|_| VaultError::Seal { what })?;
        let mut bytes = gcm::open(&self.text_key(), &joined(place), &sealed, what)?;
        String::from_utf8(std::mem::take(&mut *bytes)).map(Zeroizing::new).map_err(|e| broken(e.utf8_error()))
    }

    fn text_key(&self) -> Zeroizing<[u8; KEY]> {
        self.derived(&["overread vault text 1"], &[])
    }
}
