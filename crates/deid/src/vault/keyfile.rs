//! Master keys from a file or a variable.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use zeroize::Zeroizing;

use super::gcm::{KEY, random};
use super::{Master, SoftMaster, VaultError};

/// Longest key file that is read: some hundred keys.
const LONGEST: u64 = 16 << 10;

/// Master keys of a text, each of 64 hexadecimal digits or base64, the newest first; between them lie commas or line ends, and lines that begin with `#`
/// say something else.
///
/// # Errors
/// [`VaultError::NotAKey`] names the place and counts. [`VaultError::NoKey`].
pub fn of_text(text: &str, place: &'static str) -> Result<Vec<SoftMaster>, VaultError> {
    let lines = text.lines().filter(|line| !line.trim_start().starts_with('#'));
    let words = lines.flat_map(|line| line.split(',')).map(str::trim).filter(|word| !word.is_empty());
    let keys: Vec<SoftMaster> = words
        .enumerate()
        .map(|(index, word)| {
            key_of(word).map(SoftMaster::of).ok_or(VaultError::NotAKey { place, number: index + 1 })
        })
        .collect::<Result<_, _>>()?;
    if keys.is_empty() { Err(VaultError::NoKey { place }) } else { Ok(keys) }
}

fn key_of(word: &str) -> Option<Zeroizing<[u8; KEY]>> {
    let mut key = Zeroizing::new([0; KEY]);
    if word.len() == 2 * KEY {
        for (byte, digits) in key.iter_mut().zip(word.as_bytes().chunks(2)) {
            *byte = u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
        }
        return Some(key);
    }
    let bytes = Zeroizing::new(STANDARD_NO_PAD.decode(word.trim_end_matches('=')).ok()?);
    (bytes.len() == KEY).then(|| key.copy_from_slice(&bytes))?;
    Some(key)
}

/// A file of master keys, of mode 0600.
pub struct KeyFile {
    path: PathBuf,
}

impl KeyFile {
    /// The file at that place, whether there is one or not.
    pub fn at(path: &Path) -> Self {
        Self { path: path.to_owned() }
    }

    /// Its keys, the newest first; none if there is no file.
    ///
    /// # Errors
    /// It cannot be read, holds no key, or may be read by others.
    pub fn load(&self) -> Result<Option<Vec<SoftMaster>>, VaultError> {
        let failed = |source| VaultError::KeyFile { doing: "read", source };
        // A FIFO would block, so the kind is asked before opening.
        match fs::metadata(&self.path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(failed(e)),
            Ok(about) if !about.is_file() => {
                return Err(failed(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file")));
            }
            Ok(_) => {}
        }
        let file = File::open(&self.path).map_err(failed)?;
        let mode = file.metadata().map_err(failed)?.mode() & 0o777;
        if mode & 0o077 != 0 {
            return Err(VaultError::KeyExposed { mode });
        }
        let mut text = Zeroizing::new(String::with_capacity(4096));
        file.take(LONGEST).read_to_string(&mut text).map_err(failed)?;
        of_text(&text, "the vault's key file").map(Some)
    }

    /// Makes the file with a new key, unless there is one: then that holds.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn create(&self) -> Result<(), VaultError> {
        // With both databases elsewhere nobody has made the data folder yet.
        fs::DirBuilder::new().recursive(true).mode(0o700).create(self.folder()).map_err(created)?;
        let draft = self.draft(&[SoftMaster::random()?])?;
        let linked = match fs::hard_link(&draft, &self.path) {
            // Another process was first; its key holds.
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            other => other,
        };
        let removed = fs::remove_file(&draft);
        linked.and(removed).and_then(|()| self.sync_folder()).map_err(created)
    }

    /// Puts these keys, the newest first, in place of the file's; durable, and all or nothing.
    ///
    /// # Errors
    /// It cannot be written; then the old keys hold.
    pub fn replace(&self, keys: &[SoftMaster]) -> Result<(), VaultError> {
        let draft = self.draft(keys)?;
        fs::rename(&draft, &self.path).and_then(|()| self.sync_folder()).map_err(created)
    }

    /// A whole file under a name of its own, so that no one sees half a key.
    fn draft(&self, keys: &[SoftMaster]) -> Result<PathBuf, VaultError> {
        let mark: u64 = u64::from_be_bytes(*random()?);
        let draft = self.folder().join(format!(".vault-key-{mark:016x}"));
        let mut text = Zeroizing::new(String::with_capacity(256 + 64 * keys.len()));
        text.push_str("# Master keys of an Overread vault, the newest first. Whoever loses them loses every original.\n");
        for key in keys {
            text.push_str(&format!("# {}\n", key.id()));
            text.push_str(&Zeroizing::new(STANDARD.encode(key.bytes())));
            text.push('\n');
        }
        let mut file =
            OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft).map_err(created)?;
        file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(created)?;
        Ok(draft)
    }

    fn folder(&self) -> &Path {
        self.path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."))
    }

    fn sync_folder(&self) -> io::Result<()> {
        File::open(self.folder())?.sync_all()
    }
}

fn created(source: io::Error) -> VaultError {
    VaultError::KeyFile { doing: "written", source }
}
