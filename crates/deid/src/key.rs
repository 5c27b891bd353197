//! The secret behind a site's pseudonyms.

use std::fs;
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use crate::DeidError;

/// 32 random bytes. It has no `Debug`: it must not be printed. Who loses it can no longer match new images to studies that were sent before.
#[derive(Clone)]
pub struct PseudonymKey([u8; 32]);

impl PseudonymKey {
    /// From bytes, for tests and for keys that are kept elsewhere.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Reads the key's file, or makes it, for its owner alone.
    ///
    /// # Errors
    /// The file cannot be read or made, or has another length.
    pub fn load_or_create(path: &Path) -> Result<Self, DeidError> {
        let wrong = |doing, source| DeidError::Key { doing, path: path.to_owned(), source };
        match fs::read(path) {
            Ok(bytes) => {
                let length = std::io::Error::new(ErrorKind::InvalidData, "a key has 32 bytes; restore the file from a backup");
                bytes.try_into().map(Self).map_err(|_| wrong("reading the key", length))
            }
            Err(e) if e.kind() == ErrorKind::NotFound => {
                let bytes: [u8; 32] = rand::random();
                let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(|e| wrong("making the key", e))?;
                file.write_all(&bytes).and_then(|()| file.sync_all()).map_err(|e| wrong("making the key", e))?;
                let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
                fs::File::open(folder).and_then(|f| f.sync_all()).map_err(|e| wrong("making the key", e))?;
                Ok(Self(bytes))
            }
            Err(e) => Err(wrong("reading the key", e)),
        }
    }

    pub(crate) const fn bytes(&self) -> &[u8] {
        &self.0
    }
}
