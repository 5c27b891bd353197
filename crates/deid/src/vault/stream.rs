//! Sealed files: STREAM (Hoang, Reyhanitabar, Rogaway, Vizár 2015) over AES-256-GCM, chunks of 64 KiB.
//!
//! A file is: `OVRSEAL1`, the patient's key id (16 bytes), a random salt (32 bytes), then chunks, each followed by its tag. The file's own key is derived of
//! the patient's key, the place that it is bound to, key id and salt. Position and last-flag are in each chunk's nonce, so that a file which is cut short,
//! put in another order or continued does not open. Every chunk but the last is full, and the last is not.

use std::io::{self, Read, Write};

use aead_stream::{DecryptorBE32, EncryptorBE32};
use aes_gcm::Aes256Gcm;
use zeroize::Zeroizing;

use super::gcm::random;
use super::{DataKey, KeyId, VaultError};

const MAGIC: [u8; 8] = *b"OVRSEAL1";
const CHUNK: usize = 64 << 10;
const TAG: usize = 16;
const SALT: usize = 32;
/// Each file has a key of its own: its nonces may begin alike.
const NONCE: [u8; 7] = [0; 7];
const WHAT: &str = "a sealed object";

/// What stands before a sealed file's chunks.
pub struct Head {
    key: KeyId,
    salt: [u8; SALT],
}

/// The file's key: it opens nothing under another name or in another place.
fn file_key(key: &DataKey, head: &Head, place: &str) -> Zeroizing<[u8; 32]> {
    key.derived(&["overread vault file 1", place, &head.key.to_string()], &head.salt)
}

/// Reads until the buffer holds a whole chunk, or to the end.
fn fill(from: &mut impl Read, buffer: &mut Vec<u8>, most: usize) -> Result<(), VaultError> {
    buffer.clear();
    from.take(most as u64).read_to_end(buffer).map_err(VaultError::Read)?;
    Ok(())
}

/// Seals a file for one place, such as an object's key.
///
/// # Errors
/// [`VaultError::Read`], [`VaultError::Write`], or no random bytes. What was written until then is nothing.
pub fn seal(
    key: &DataKey,
    id: KeyId,
    place: &str,
    mut from: impl Read,
    mut to: impl Write,
) -> Result<(), VaultError> {
    let head = Head { key: id, salt: *random()? };
    for part in [&MAGIC[..], id.as_bytes(), &head.salt] {
        to.write_all(part).map_err(VaultError::Write)?;
    }
    let own = file_key(key, &head, place);
    let mut stream = EncryptorBE32::<Aes256Gcm>::new((&*own).into(), (&NONCE).into());
    let mut buffer = Zeroizing::new(Vec::with_capacity(CHUNK + TAG));
    let too_long = |_| VaultError::Seal { what: "an object that is too long" };
    loop {
        fill(&mut from, &mut buffer, CHUNK)?;
        if buffer.len() < CHUNK {
            stream.encrypt_last_in_place(&[], &mut *buffer).map_err(too_long)?;
            return to.write_all(&buffer).map_err(VaultError::Write);
        }
        stream.encrypt_next_in_place(&[], &mut *buffer).map_err(too_long)?;
        to.write_all(&buffer).map_err(VaultError::Write)?;
    }
}

impl Head {
    /// Reads the head of a sealed file.
    ///
    /// # Errors
    /// [`VaultError::Seal`]: it has none.
    pub fn read(from: &mut impl Read) -> Result<Self, VaultError> {
        let (mut magic, mut key, mut salt) = ([0; MAGIC.len()], [0; 16], [0; SALT]);
        for part in [&mut magic[..], &mut key, &mut salt] {
            from.read_exact(part).map_err(|e| match e.kind() {
                io::ErrorKind::UnexpectedEof => VaultError::Seal { what: WHAT },
                _ => VaultError::Read(e),
            })?;
        }
        if magic != MAGIC {
            return Err(VaultError::Seal { what: WHAT });
        }
        Ok(Self { key: KeyId::from_bytes(key), salt })
    }

    /// Whose key opens it.
    pub const fn key(&self) -> KeyId {
        self.key
    }

    /// Opens the chunks that follow.
    ///
    /// # Errors
    /// [`VaultError::Seal`] if it was changed, cut short, or sealed for another place. What was written until then must be thrown away.
    pub fn open(
        &self,
        key: &DataKey,
        place: &str,
        mut from: impl Read,
        mut to: impl Write,
    ) -> Result<(), VaultError> {
        let own = file_key(key, self, place);
        let mut stream = DecryptorBE32::<Aes256Gcm>::new((&*own).into(), (&NONCE).into());
        let mut buffer = Zeroizing::new(Vec::with_capacity(CHUNK + TAG));
        let broken = |_| VaultError::Seal { what: WHAT };
        loop {
            fill(&mut from, &mut buffer, CHUNK + TAG)?;
            if buffer.len() < CHUNK + TAG {
                stream.decrypt_last_in_place(&[], &mut *buffer).map_err(broken)?;
                return to.write_all(&buffer).map_err(VaultError::Write);
            }
            stream.decrypt_next_in_place(&[], &mut *buffer).map_err(broken)?;
            to.write_all(&buffer).map_err(VaultError::Write)?;
        }
    }
}
