//! The secret that pseudonyms hang on, and the mapping of UIDs under it.
//!
//! The key is a file of 32 random bytes. Whoever has it can tell which pseudonymous study belongs to a study whose UID
//! they know, so it stays with the edge. Whoever loses it cannot: studies that were sent before cannot be matched by
//! computing again (the edge's database still holds what it stored), and the same study sent again gets other UIDs,
//! so it is read and filed anew. It belongs in the hospital's backup, apart from the service's.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use hmac::digest::{FixedOutput, KeyInit, Update};
use hmac::{Hmac, digest::Key};
use overread_domain::Uid;
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::DeidError;

const BYTES: usize = 32;

/// What a UID names. The same UID gets another pseudonym in each role.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum UidKind {
    /// Study Instance UID (0020,000D).
    Study,
    /// Series Instance UID (0020,000E).
    Series,
    /// SOP Instance UID (0008,0018).
    Instance,
    /// Frame of Reference UID (0020,0052).
    FrameOfReference,
    /// Any other, such as Irradiation Event UID (0008,3010).
    Other,
}

impl UidKind {
    const fn word(self) -> &'static str {
        match self {
            Self::Study => "study",
            Self::Series => "series",
            Self::Instance => "instance",
            Self::FrameOfReference => "frame-of-reference",
            Self::Other => "other",
        }
    }
}

/// A secret key. It has no `Debug`, and its memory is cleared when it is dropped.
pub struct PseudonymKey(Zeroizing<[u8; BYTES]>);

impl PseudonymKey {
    /// A key of bytes that are kept elsewhere.
    pub fn from_bytes(bytes: [u8; BYTES]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// Its bytes, to be sealed.
    pub fn as_bytes(&self) -> &[u8; BYTES] {
        &self.0
    }

    /// A key that nobody has, not even later.
    ///
    /// # Errors
    /// The operating system gives no random bytes.
    pub fn random() -> Result<Self, DeidError> {
        let mut key = Zeroizing::new([0; BYTES]);
        getrandom::fill(&mut *key).map_err(DeidError::Random)?;
        Ok(Self(key))
    }

    /// The key of a file; where there is no file, a new random key, durable in a file of mode 0600 before this returns.
    /// Of several processes that start at once, all get the same key.
    ///
    /// # Errors
    /// The file cannot be read or made, is no key, or may be read by others than its owner. An existing file is never
    /// replaced.
    pub fn load_or_create(path: &Path) -> Result<Self, DeidError> {
        match Self::load(path) {
            Err(DeidError::KeyFile { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                Self::create(path)?;
                Self::load(path)
            }
            other => other,
        }
    }

    /// The key of a file; none where there is no file.
    ///
    /// # Errors
    /// As [`Self::load_or_create`].
    pub fn load_if_there(path: &Path) -> Result<Option<Self>, DeidError> {
        match Self::load(path) {
            Err(DeidError::KeyFile { source, .. }) if source.kind() == io::ErrorKind::NotFound => Ok(None),
            other => other.map(Some),
        }
    }

    fn load(path: &Path) -> Result<Self, DeidError> {
        let failed = |source| DeidError::KeyFile { doing: "read", source };
        // A FIFO would block, so the kind is asked before opening.
        if !fs::metadata(path).map_err(failed)?.is_file() {
            return Err(failed(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file")));
        }
        let mut file = File::open(path).map_err(failed)?;
        let about = file.metadata().map_err(failed)?;
        let mode = about.mode() & 0o777;
        if mode & 0o077 != 0 {
            return Err(DeidError::KeyExposed { mode });
        }
        if about.len() != BYTES as u64 {
            return Err(DeidError::NotAKey { bytes: about.len() });
        }
        let mut key = Zeroizing::new([0; BYTES]);
        file.read_exact(&mut *key).map_err(failed)?;
        Ok(Self(key))
    }

    /// Makes a whole key file under a name of its own and links it to its place, so that no one sees half a key and no
    /// one's key is replaced.
    fn create(path: &Path) -> Result<(), DeidError> {
        let failed = |source| DeidError::KeyFile { doing: "created", source };
        let mut key = Zeroizing::new([0; BYTES]);
        getrandom::fill(&mut *key).map_err(DeidError::Random)?;
        let mut mark = [0; 8];
        getrandom::fill(&mut mark).map_err(DeidError::Random)?;
        let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let draft = folder.join(format!(".pseudonym-key-{:016x}", u64::from_be_bytes(mark)));
        let written = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&draft)
            .and_then(|mut file| file.write_all(&*key).and_then(|()| file.sync_all()));
        let linked = written.and_then(|()| match fs::hard_link(&draft, path) {
            // Another process was first; its key holds.
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            other => other,
        });
        let removed = fs::remove_file(&draft);
        linked.and(removed).and_then(|()| File::open(folder)?.sync_all()).map_err(failed)
    }

    /// The pseudonym of a UID: the first 128 bits of HMAC-SHA-256 over its kind and itself, as a UID under `2.25`.
    pub fn uid(&self, kind: UidKind, original: &Uid) -> Uid {
        self.uid_of_text(kind, original.as_str())
    }

    /// As [`Self::uid`], of a text that should be a UID and may not be one.
    pub(crate) fn uid_of_text(&self, kind: UidKind, original: &str) -> Uid {
        let digest = self.mac(b"overread-pseudonym-1", kind.word(), original);
        let mut bits = [0; 16];
        bits.copy_from_slice(&digest[..16]);
        Uid::from_hash(bits)
    }

    /// The pseudonym of a patient: twenty digits. Digits, because letters might spell somebody's name.
    pub(crate) fn subject(&self, patient: &str) -> String {
        format!("{:020}", self.number(b"overread-subject-1", patient))
    }

    /// By how many days a patient's dates are moved into the past: 1 to 3650.
    pub(crate) fn days(&self, patient: &str) -> u16 {
        (self.number(b"overread-date-shift-1", patient) % 3650) as u16 + 1
    }

    fn number(&self, context: &[u8], text: &str) -> u64 {
        let digest = self.mac(context, "patient", text);
        digest[..8].iter().fold(0, |n, byte| n << 8 | u64::from(*byte))
    }

    /// HMAC-SHA-256 over a context, what a text names, and the text.
    fn mac(&self, context: &[u8], what: &str, text: &str) -> [u8; 32] {
        // HMAC pads a key that is shorter than its block with zeros (RFC 2104 §2).
        let mut block = Zeroizing::new([0; 64]);
        block[..BYTES].copy_from_slice(&*self.0);
        let mut mac = Hmac::<Sha256>::new(Key::<Hmac<Sha256>>::from_slice(&*block));
        mac.update(context);
        mac.update(b"\0");
        mac.update(what.as_bytes());
        mac.update(b"\0");
        mac.update(text.as_bytes());
        mac.finalize_fixed().into()
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn uid(text: &str) -> Uid {
        Uid::parse(text).unwrap()
    }

    #[test]
    fn a_pseudonym_is_a_function_of_key_kind_and_uid() {
        let (one, other) = (PseudonymKey::from_bytes([1; 32]), PseudonymKey::from_bytes([2; 32]));
        let base = one.uid(UidKind::Study, &uid("1.2.3"));
        assert_eq!(base, PseudonymKey::from_bytes([1; 32]).uid(UidKind::Study, &uid("1.2.3")));
        let different = [
            base,
            other.uid(UidKind::Study, &uid("1.2.3")),
            one.uid(UidKind::Study, &uid("1.2.4")),
            one.uid(UidKind::Series, &uid("1.2.3")),
            one.uid(UidKind::Instance, &uid("1.2.3")),
            one.uid(UidKind::FrameOfReference, &uid("1.2.3")),
        ];
        assert_eq!(different.iter().collect::<std::collections::BTreeSet<_>>().len(), different.len());
    }

    #[test]
    fn the_mapping_never_changes() {
        // A study that is sent again must be the same study: this value is a promise.
        let key = PseudonymKey::from_bytes(*b"0123456789abcdef0123456789abcdef");
        assert_eq!(key.uid(UidKind::Study, &uid("1.2.840.1")).as_str(), PROMISED);
    }

    // Computed with Python's hmac module.
    const PROMISED: &str = "2.25.245759491298613438369491695070009522591";

    #[test]
    fn a_key_is_made_once_and_read_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pseudonym.key");
        let first = PseudonymKey::load_or_create(&path).unwrap();
        let again = PseudonymKey::load_or_create(&path).unwrap();
        assert!(*first.0 == *again.0 && *first.0 != [0; 32]);
        let about = fs::metadata(&path).unwrap();
        assert_eq!((about.len(), about.permissions().mode() & 0o777), (32, 0o600));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "the draft is gone");
    }

    #[test]
    fn processes_that_start_at_once_get_one_key() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pseudonym.key");
        let keys: Vec<[u8; 32]> = std::thread::scope(|scope| {
            let start = || scope.spawn(|| *PseudonymKey::load_or_create(&path).unwrap().0);
            let threads: Vec<_> = (0..8).map(|_| start()).collect();
            threads.into_iter().map(|t| t.join().unwrap()).collect()
        });
        assert!(keys.iter().all(|k| *k == keys[0]));
    }

    #[test]
    fn a_file_that_is_no_key_or_is_open_to_others_is_refused_and_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pseudonym.key");
        fs::write(&path, b"short").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        assert!(matches!(PseudonymKey::load_or_create(&path), Err(DeidError::NotAKey { bytes: 5 })));
        assert_eq!(fs::read(&path).unwrap(), b"short");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(matches!(PseudonymKey::load_or_create(&path), Err(DeidError::KeyExposed { mode: 0o640 })));
        let nowhere = folder.path().join("missing/pseudonym.key");
        assert!(matches!(PseudonymKey::load_or_create(&nowhere), Err(DeidError::KeyFile { .. })));
        assert!(matches!(PseudonymKey::load_or_create(folder.path()), Err(DeidError::KeyFile { .. })));
    }
}
