//! Objects as local files: what is put is synced, and so is every folder that names it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::{ObjectKey, StoreError};

/// Syncs of files side by side: the disk joins them into fewer flushes.
const SYNCS: usize = 8;

/// Held while folders are made: whoever finds a folder knows that its name is synced.
static FOLDERS: Mutex<()> = Mutex::new(());

/// Makes what a folder names durable.
pub(crate) fn sync_folder(folder: &Path) -> Result<(), StoreError> {
    let synced = File::open(folder).and_then(|f| f.sync_all());
    synced.map_err(StoreError::file("syncing a folder of objects"))
}

/// Makes folders that are missing, for the owner alone, and syncs each parent that got a new one.
fn make_folder(folder: &Path) -> Result<(), StoreError> {
    let _alone = FOLDERS.lock().unwrap_or_else(PoisonError::into_inner);
    make_folders(folder)
}

fn make_folders(folder: &Path) -> Result<(), StoreError> {
    if folder.is_dir() {
        return Ok(());
    }
    let parent = folder.parent();
    if let Some(parent) = parent {
        make_folders(parent)?;
    }
    match fs::DirBuilder::new().mode(0o700).create(folder) {
        Ok(()) => {}
        Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => return Ok(()),
        Err(e) => return Err(StoreError::File { doing: "making a folder of objects", source: e }),
    }
    let synced = parent.map_or(Ok(()), sync_folder);
    if synced.is_err() {
        // Found by the next put, it would pass for durable.
        let _ = fs::remove_dir(folder);
    }
    synced
}

/// Puts files that were written elsewhere on the same file system: all are synced side by side, then named, then each folder is synced once.
///
/// A name never means a file that is not synced: one whose sync failed stays where it is, and what the name meant before stays too. Of two puts of one
/// name the later wins whole.
pub(crate) fn put_all(root: &Path, files: &[(ObjectKey, PathBuf)]) -> Vec<Result<(), StoreError>> {
    let named: Vec<Result<PathBuf, StoreError>> = sync_all(files)
        .into_iter()
        .zip(files)
        .map(|(synced, (key, file))| synced.and_then(|()| name(root, key, file)))
        .collect();
    let folders: BTreeSet<&Path> = named.iter().flatten().filter_map(|p| p.parent()).collect();
    let failed: BTreeMap<PathBuf, StoreError> =
        folders.into_iter().filter_map(|f| sync_folder(f).err().map(|e| (f.to_owned(), e))).collect();
    named
        .into_iter()
        .map(|outcome| {
            let path = outcome?;
            match path.parent().and_then(|folder| failed.get(folder)) {
                Some(StoreError::File { doing, source }) => {
                    Err(StoreError::File { doing, source: again(source) })
                }
                _ => Ok(()),
            }
        })
        .collect()
}

/// The same error once more: its kind tells whether the disk is full.
fn again(e: &std::io::Error) -> std::io::Error {
    e.raw_os_error().map_or_else(|| e.kind().into(), std::io::Error::from_raw_os_error)
}

/// Syncs files side by side.
fn sync_all(files: &[(ObjectKey, PathBuf)]) -> Vec<Result<(), StoreError>> {
    let next = AtomicUsize::new(0);
    // A file whose thread did not come to it counts as not synced.
    let lost = || Err(StoreError::File { doing: "syncing an object", source: std::io::Error::other("lost") });
    let outcomes: Vec<Mutex<Result<(), StoreError>>> = files.iter().map(|_| Mutex::new(lost())).collect();
    let work = || {
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let (Some((_, file)), Some(outcome)) = (files.get(index), outcomes.get(index)) else { return };
            let synced = File::open(file).and_then(|f| f.sync_data());
            *outcome.lock().unwrap_or_else(PoisonError::into_inner) =
                synced.map_err(StoreError::file("syncing an object"));
        }
    };
    std::thread::scope(|scope| {
        // This thread works too: where no other can be started, it does all.
        for _ in 1..SYNCS.min(files.len()) {
            let _ = std::thread::Builder::new().spawn_scoped(scope, work);
        }
        work();
    });
    outcomes.into_iter().map(|o| o.into_inner().unwrap_or_else(PoisonError::into_inner)).collect()
}

fn name(root: &Path, key: &ObjectKey, file: &Path) -> Result<PathBuf, StoreError> {
    let path = root.join(key.as_str());
    if let Some(folder) = path.parent() {
        make_folder(folder)?;
    }
    let doing = "naming an object";
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

/// Removes files, and syncs each folder that named one.
pub(crate) fn remove_all(root: &Path, keys: &[ObjectKey]) -> Result<(), StoreError> {
    let mut folders = BTreeSet::new();
    for key in keys {
        let path = root.join(key.as_str());
        match fs::remove_file(&path) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
            Err(e) => return Err(StoreError::File { doing: "removing an object", source: e }),
            Ok(()) => {}
        }
        folders.extend(path.parent().filter(|folder| folder.is_dir()).map(Path::to_owned));
    }
    folders.iter().try_for_each(|folder| sync_folder(folder))
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
