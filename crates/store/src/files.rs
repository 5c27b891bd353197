//! Objects as local files: what is put is synced, and so is every folder that names it.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::{ObjectKey, StoreError};

/// Syncs of files side by side: the disk joins them into fewer flushes.
const SYNCS: usize = 8;

/// Makes what a folder names durable.
pub(crate) fn sync_folder(folder: &Path) -> Result<(), StoreError> {
    let synced = File::open(folder).and_then(|f| f.sync_all());
    synced.map_err(StoreError::file("syncing a folder of objects"))
}

/// Makes folders that are missing, for the owner alone, and syncs each parent that got a new one.
fn make_folder(folder: &Path) -> Result<(), StoreError> {
    if folder.is_dir() {
        return Ok(());
    }
    let parent = folder.parent();
    if let Some(parent) = parent {
        make_folder(parent)?;
    }
    match fs::DirBuilder::new().mode(0o700).create(folder) {
        Ok(()) => {}
        Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => return Ok(()),
        Err(e) => return Err(StoreError::File { doing: "making a folder of objects", source: e }),
    }
    parent.map_or(Ok(()), sync_folder)
}

/// Puts files that were written elsewhere on the same file system: all are named, then synced side by side, then each folder once.
///
/// A name whose file is not synced yet is no object yet: nothing refers to it before this returns. A name that is taken already is
/// replaced only by a file that was synced before.
pub(crate) fn put_all(root: &Path, files: &[(ObjectKey, PathBuf)]) -> Vec<Result<(), StoreError>> {
    let mut named: Vec<Result<PathBuf, StoreError>> =
        files.iter().map(|(key, file)| name(root, key, file)).collect();
    let next = AtomicUsize::new(0);
    let synced: Vec<std::sync::Mutex<Option<std::io::Error>>> =
        files.iter().map(|_| std::sync::Mutex::new(None)).collect();
    std::thread::scope(|scope| {
        for _ in 0..SYNCS.min(files.len()) {
            scope.spawn(|| {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    let Some(Ok(path)) = named.get(index) else {
                        if index >= named.len() {
                            return;
                        }
                        continue;
                    };
                    if let Err(e) = File::open(path).and_then(|f| f.sync_data())
                        && let Ok(mut slot) = synced[index].lock()
                    {
                        *slot = Some(e);
                    }
                }
            });
        }
    });
    for (slot, outcome) in synced.into_iter().zip(&mut named) {
        if let Ok(Some(e)) = slot.into_inner() {
            *outcome = Err(StoreError::File { doing: "syncing an object", source: e });
        }
    }
    let folders: BTreeSet<PathBuf> =
        named.iter().flatten().filter_map(|p| p.parent().map(Path::to_owned)).collect();
    let failed: BTreeSet<PathBuf> =
        folders.into_iter().filter(|folder| sync_folder(folder).is_err()).collect();
    named
        .into_iter()
        .map(|outcome| {
            let path = outcome?;
            if path.parent().is_some_and(|folder| failed.contains(folder)) {
                let source = std::io::Error::other("the folder cannot be synced");
                return Err(StoreError::File { doing: "syncing a folder of objects", source });
            }
            Ok(())
        })
        .collect()
}

fn name(root: &Path, key: &ObjectKey, file: &Path) -> Result<PathBuf, StoreError> {
    let path = root.join(key.as_str());
    if let Some(folder) = path.parent() {
        make_folder(folder)?;
    }
    let doing = "naming an object";
    if path.exists() {
        File::open(file).and_then(|f| f.sync_data()).map_err(StoreError::file(doing))?;
    }
    fs::set_permissions(file, fs::Permissions::from_mode(0o600)).map_err(StoreError::file(doing))?;
    fs::rename(file, &path).map_err(StoreError::file(doing))?;
    Ok(path)
}

/// Writes bytes to a file in staging and puts it.
pub(crate) fn put_bytes(
    root: &Path,
    staging: &Path,
    key: &ObjectKey,
    bytes: &[u8],
) -> Result<(), StoreError> {
    let doing = "writing an object";
    let mut file = tempfile::NamedTempFile::new_in(staging).map_err(StoreError::file(doing))?;
    file.write_all(bytes).map_err(StoreError::file(doing))?;
    let path = file.into_temp_path();
    put_all(root, &[(key.clone(), path.to_path_buf())]).pop().unwrap_or(Ok(()))?;
    // Renamed: there is nothing left to remove.
    let _ = path.keep();
    Ok(())
}

/// Removes what a process that ended in the middle left behind.
pub(crate) fn clear_staging(staging: &Path) -> Result<(), StoreError> {
    make_folder(staging)?;
    let entries = fs::read_dir(staging).map_err(StoreError::file("reading the staging folder"))?;
    for entry in entries.flatten() {
        if entry.path().is_file() {
            fs::remove_file(entry.path()).map_err(StoreError::file("clearing the staging folder"))?;
        }
    }
    Ok(())
}

/// Makes the root of objects.
pub(crate) fn make_root(root: &Path) -> Result<(), StoreError> {
    make_folder(root)
}
