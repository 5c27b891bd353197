//! Objects that lie sealed: the edge's originals and documents.
//!
//! A key that ends in `.sealed` names a sealed object, bound to that key; any other is a plain one, of an older edge. Opened objects lie in staging as long
//! as they are read; staging is emptied at each start.

use std::fs::File;
use std::io::{BufReader, Write};
use std::path::{Path, PathBuf};

use overread_deid::vault::{self, Head, VaultError};
use overread_store::{LocalObject, ObjectKey, Objects, StoreError};
use tempfile::TempPath;

use super::{Patient, Vault};
use crate::error::EdgeError;

const SUFFIX: &str = ".sealed";

/// The edge's objects. Clones share them.
#[derive(Clone)]
pub struct SealedObjects {
    objects: Objects,
    vault: Vault,
}

fn staged(source: std::io::Error) -> EdgeError {
    EdgeError::vault("writing to staging")(VaultError::Write(source))
}

impl SealedObjects {
    /// Objects whose originals are sealed by a vault.
    pub const fn new(objects: Objects, vault: Vault) -> Self {
        Self { objects, vault }
    }

    /// The vault.
    pub const fn vault(&self) -> &Vault {
        &self.vault
    }

    /// Where incoming files are written.
    pub fn staging(&self) -> &Path {
        self.objects.staging()
    }

    /// Bytes that are free where incoming files are written.
    pub fn free_bytes(&self) -> Option<u64> {
        self.objects.free_bytes()
    }

    /// A key of a new object below a folder.
    ///
    /// # Errors
    /// The folder is no key.
    pub fn key(folder: &str, name: &str) -> Result<ObjectKey, StoreError> {
        ObjectKey::parse(&format!("{folder}/{name}{SUFFIX}"))
    }

    /// Whether a key names a sealed object.
    pub fn is_sealed(key: &ObjectKey) -> bool {
        key.as_str().ends_with(SUFFIX)
    }

    /// Writes bytes to staging; the file goes when it is dropped.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn stage(&self, bytes: &[u8]) -> Result<TempPath, EdgeError> {
        let mut file = tempfile::NamedTempFile::new_in(self.staging()).map_err(staged)?;
        file.write_all(bytes).map_err(staged)?;
        Ok(file.into_temp_path())
    }

    /// Seals a file into another one in staging, for a key. It blocks while it works.
    ///
    /// # Errors
    /// It cannot be read or written.
    pub fn seal(&self, patient: &Patient, key: &ObjectKey, file: &Path) -> Result<TempPath, EdgeError> {
        let from =
            File::open(file).map_err(|e| EdgeError::vault("sealing an object")(VaultError::Read(e)))?;
        let to = tempfile::NamedTempFile::new_in(self.staging()).map_err(staged)?;
        vault::seal(&patient.key, patient.id, key.as_str(), from, to.as_file())
            .map_err(EdgeError::vault("sealing an object"))?;
        Ok(to.into_temp_path())
    }

    /// Seals a plain file and puts it. On return it is durable; the file stays.
    ///
    /// # Errors
    /// It is not, or nobody knows.
    pub async fn put_file(&self, key: &ObjectKey, patient: &Patient, file: PathBuf) -> Result<(), EdgeError> {
        let (this, patient, bound) = (self.clone(), patient.clone(), key.clone());
        let sealed = tokio::task::spawn_blocking(move || this.seal(&patient, &bound, &file)).await;
        let sealed = sealed.map_err(|_| EdgeError::lost("sealing an object"))??;
        Ok(self.objects.put_file(key, sealed.to_path_buf()).await?)
    }

    /// Puts files that were sealed for their keys, together: one group commit.
    pub async fn put_files(&self, list: Vec<(ObjectKey, PathBuf)>) -> Vec<Result<(), StoreError>> {
        self.objects.put_files(list).await
    }

    /// An object as a plain file to read, which goes when it is dropped.
    ///
    /// # Errors
    /// [`StoreError::NoObject`], [`EdgeError::Erased`], or the seal does not hold.
    pub async fn local(&self, key: &ObjectKey) -> Result<LocalObject, EdgeError> {
        let local = self.objects.local(key).await?;
        if !Self::is_sealed(key) {
            return Ok(local);
        }
        let doing = "opening a sealed object";
        let path = local.path().to_owned();
        let (head, mut from) = tokio::task::spawn_blocking(move || {
            let mut from = BufReader::with_capacity(1 << 16, File::open(path).map_err(VaultError::Read)?);
            Ok((Head::read(&mut from)?, from))
        })
        .await
        .map_err(|_| EdgeError::lost(doing))?
        .map_err(EdgeError::vault(doing))?;
        let patient = self.vault.known(head.key()).await?;
        let (place, staging) = (key.to_string(), self.staging().to_owned());
        let opened = tokio::task::spawn_blocking(move || {
            let file = tempfile::NamedTempFile::new_in(staging).map_err(VaultError::Write)?;
            head.open(&patient.key, &place, &mut from, file.as_file())?;
            // A copy of a remote object was needed until here.
            drop(local);
            Ok(file.into_temp_path())
        });
        let opened = opened.await.map_err(|_| EdgeError::lost(doing))?.map_err(EdgeError::vault(doing))?;
        Ok(LocalObject::of_copy(opened))
    }

    /// Removes objects; on return they are gone for good.
    ///
    /// # Errors
    /// Some may still be there.
    pub async fn remove_all(&self, keys: Vec<ObjectKey>) -> Result<(), StoreError> {
        self.objects.remove_all(keys).await
    }
}
