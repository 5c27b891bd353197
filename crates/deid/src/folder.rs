//! De-identified objects as files: named by their own UIDs, whole or not there.

use std::collections::HashSet;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use overread_domain::Uid;

use crate::{DeidError, Gate, GateError, Leaving, Look};

/// A folder that takes de-identified objects as `STUDY/SERIES/INSTANCE.dcm`, each name a UID of the object.
///
/// A file appears under its name when it is whole and was looked at; what is quarantined leaves nothing behind. Files are
/// not synced: a run that a power cut ends is run again, and gives the same files under the same key.
pub struct Folder {
    root: PathBuf,
    /// Instances that this run wrote.
    written: Mutex<HashSet<Uid>>,
}

impl Folder {
    /// Makes the folder where it is missing.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn new(root: &Path) -> Result<Self, DeidError> {
        fs::create_dir_all(root).map_err(DeidError::Write)?;
        Ok(Self { root: root.to_owned(), written: Mutex::default() })
    }

    /// Takes an original through a gate into the folder. The path is relative to the folder; none if the original is quarantined.
    ///
    /// # Errors
    /// [`GateError`]: the original cannot be read, lacks a UID, or its object cannot be written.
    pub fn take(
        &self,
        gate: &Gate,
        original: &Path,
        look: Look,
    ) -> Result<(Leaving, Option<PathBuf>), GateError> {
        // Readable as the user's own files are; the umask has the last word.
        let draft = tempfile::Builder::new()
            .prefix(".deid-")
            .permissions(Permissions::from_mode(0o666))
            .tempfile_in(&self.root)
            .map_err(DeidError::Write)?;
        let leaving = gate.pass(original, look, draft.path())?;
        let Leaving::Clean(left) = &leaving else { return Ok((leaving, None)) };
        let first = self.written.lock().unwrap_or_else(PoisonError::into_inner).insert(left.instance.clone());
        if !first {
            let reason = "another file of this run has the same SOP Instance UID (0008,0018)".to_owned();
            return Ok((Leaving::Quarantined(vec![reason]), None));
        }
        let place = PathBuf::from(left.study.as_str()).join(left.series.as_str());
        let name = place.join(format!("{}.dcm", left.instance));
        let kept = self.keep(draft, &place, &name);
        if kept.is_err() {
            self.written.lock().unwrap_or_else(PoisonError::into_inner).remove(&left.instance);
        }
        kept?;
        Ok((leaving, Some(name)))
    }

    fn keep(&self, draft: tempfile::NamedTempFile, place: &Path, name: &Path) -> Result<(), DeidError> {
        fs::create_dir_all(self.root.join(place)).map_err(DeidError::Write)?;
        draft.persist(self.root.join(name)).map_err(|e| DeidError::Write(e.error))?;
        Ok(())
    }
}
