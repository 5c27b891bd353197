//! Bytes by key, in local files or on an S3 server.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use object_store::path::Path as RemotePath;
use object_store::{
    BackoffConfig, ClientConfigKey, MultipartUpload, ObjectStore, ObjectStoreExt, RetryConfig, UploadPart,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::Semaphore;

use crate::{ObjectKey, StoreError, files};

/// Bytes of one part of an upload. S3 wants at least 5 MiB.
const PART: usize = 8 << 20;
/// Parts in memory at once, over all uploads of a store: with [`PART`] 64 MiB.
const PARTS: usize = 8;
/// Parts that one large upload holds: one on its way, one that is being read.
const PARTS_OF_ONE: u32 = 2;
/// An S3 server that is away is tried again within this time; with the longest wait for an answer, callers know after about 20 seconds.
const RETRY: RetryConfig = RetryConfig {
    backoff: BackoffConfig {
        init_backoff: Duration::from_millis(200),
        max_backoff: Duration::from_secs(2),
        base: 2.0,
    },
    max_retries: 3,
    retry_timeout: Duration::from_secs(9),
};
/// How long a connection and how long an answer, or the next bytes of one, are waited for. A whole download may take long.
const TIMEOUTS: [(ClientConfigKey, &str); 3] = [
    (ClientConfigKey::ConnectTimeout, "5 seconds"),
    (ClientConfigKey::ReadTimeout, "10 seconds"),
    (ClientConfigKey::Timeout, "1 hour"),
];

/// An object store. Clones share it.
#[derive(Clone)]
pub struct Objects {
    kind: Kind,
    staging: Arc<PathBuf>,
}

#[derive(Clone)]
enum Kind {
    Files(Arc<PathBuf>),
    Remote(Arc<dyn ObjectStore>, Arc<String>, Arc<Semaphore>),
}

/// An object as a file to read. Keep it while the file is read: a copy of a remote object goes when this does.
pub struct LocalObject {
    path: PathBuf,
    _copy: Option<tempfile::TempPath>,
}

impl LocalObject {
    /// A copy that goes with it.
    pub fn of_copy(copy: tempfile::TempPath) -> Self {
        Self { path: copy.to_path_buf(), _copy: Some(copy) }
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Objects {
    /// Opens a store: `file:///absolute/folder` or `s3://bucket/prefix?endpoint=http://host:port&region=…`; S3's credentials come from `AWS_ACCESS_KEY_ID`
    /// and `AWS_SECRET_ACCESS_KEY`, or with `&credentials=FILE` from a file's first two lines. What a process that ended in the middle left in `staging` is removed.
    ///
    /// # Errors
    /// [`StoreError::Address`], or a folder cannot be made.
    pub async fn open(address: &str, staging: &Path) -> Result<Self, StoreError> {
        let wrong = |problem: &str| StoreError::Address { what: "objects", problem: problem.to_owned() };
        let parsed = url::Url::parse(address).or_else(|_| {
            // A relative path in a file address has no base.
            let path = address.strip_prefix("file://").unwrap_or(address);
            let path = std::path::absolute(path).map_err(|_| wrong("no path"))?;
            url::Url::from_file_path(path).map_err(|()| wrong("no path"))
        })?;
        files::clear_staging(staging)?;
        let kind = match parsed.scheme() {
            "file" => {
                let path = address.strip_prefix("file://").unwrap_or(address);
                let root = std::path::absolute(path).map_err(|_| wrong("no path"))?;
                files::make_root(&root)?;
                Kind::Files(Arc::new(root))
            }
            "s3" => {
                let bucket = parsed.host_str().ok_or_else(|| wrong("s3:// wants a bucket's name"))?;
                let mut builder = AmazonS3Builder::from_env().with_bucket_name(bucket);
                for (name, value) in parsed.query_pairs() {
                    builder = match &*name {
                        "endpoint" => builder
                            .with_allow_http(value.starts_with("http://"))
                            .with_endpoint(value.into_owned()),
                        "region" => builder.with_region(value.into_owned()),
                        "credentials" => {
                            let text = std::fs::read_to_string(&*value)
                                .map_err(StoreError::file("reading the credentials of the objects"))?;
                            let mut lines = text.lines().map(str::trim);
                            let (key, secret) = (lines.next().unwrap_or(""), lines.next().unwrap_or(""));
                            builder.with_access_key_id(key).with_secret_access_key(secret)
                        }
                        _ => return Err(wrong("after ? come endpoint=, region= and credentials= alone")),
                    };
                }
                for (key, value) in TIMEOUTS {
                    builder = builder.with_config(AmazonS3ConfigKey::Client(key), value);
                }
                let store = builder.with_retry(RETRY).build().map_err(object("opening it"))?;
                let prefix = parsed.path().trim_matches('/').to_owned();
                Kind::Remote(Arc::new(store), Arc::new(prefix), Arc::new(Semaphore::new(PARTS)))
            }
            _ => return Err(wrong("write file:///path/to/folder or s3://bucket/prefix")),
        };
        Ok(Self { kind, staging: Arc::new(staging.to_owned()) })
    }

    /// Where incoming files are written; a local store's lies on the same file system.
    pub fn staging(&self) -> &Path {
        &self.staging
    }

    /// Puts bytes. On return they are durable.
    ///
    /// # Errors
    /// They are not, or nobody knows.
    pub async fn put_bytes(&self, key: &ObjectKey, bytes: Bytes) -> Result<(), StoreError> {
        match &self.kind {
            Kind::Files(root) => {
                let (root, staging, key) = (Arc::clone(root), Arc::clone(&self.staging), key.clone());
                blocking(move || files::put_bytes(&root, &staging, &key, &bytes)).await
            }
            Kind::Remote(store, prefix, _) => {
                store.put(&remote(prefix, key), bytes.into()).await.map_err(object("putting an object"))?;
                Ok(())
            }
        }
    }

    /// Puts a file, which it takes: it is renamed, or uploaded and removed. On return it is durable.
    ///
    /// # Errors
    /// It is not, or nobody knows; the file may be left.
    pub async fn put_file(&self, key: &ObjectKey, file: PathBuf) -> Result<(), StoreError> {
        self.put_files(vec![(key.clone(), file)]).await.pop().unwrap_or(Ok(()))
    }

    /// Puts files together: one group commit. One that fails does not hinder the others.
    pub async fn put_files(&self, list: Vec<(ObjectKey, PathBuf)>) -> Vec<Result<(), StoreError>> {
        match &self.kind {
            Kind::Files(root) => {
                let root = Arc::clone(root);
                let count = list.len();
                let put = tokio::task::spawn_blocking(move || files::put_all(&root, &list)).await;
                put.unwrap_or_else(|_| {
                    let lost = || StoreError::File {
                        doing: "putting objects",
                        source: std::io::Error::other("the thread was lost"),
                    };
                    (0..count).map(|_| Err(lost())).collect()
                })
            }
            Kind::Remote(store, prefix, room) => {
                let upload =
                    |(key, file): (ObjectKey, PathBuf)| upload(store, room, remote(prefix, &key), file);
                futures::stream::iter(list.into_iter().map(upload)).buffered(PARTS).collect().await
            }
        }
    }

    /// An object's bytes.
    ///
    /// # Errors
    /// [`StoreError::NoObject`], or it cannot be read.
    pub async fn get(&self, key: &ObjectKey) -> Result<Bytes, StoreError> {
        match &self.kind {
            Kind::Files(root) => {
                let path = root.join(key.as_str());
                tokio::fs::read(path).await.map(Bytes::from).map_err(|e| missing(key, e))
            }
            Kind::Remote(store, prefix, _) => {
                let found = store.get(&remote(prefix, key)).await.map_err(|e| absent(key, e))?;
                found.bytes().await.map_err(object("reading an object"))
            }
        }
    }

    /// An object as a file to read.
    ///
    /// # Errors
    /// [`StoreError::NoObject`], or it cannot be fetched.
    pub async fn local(&self, key: &ObjectKey) -> Result<LocalObject, StoreError> {
        match &self.kind {
            Kind::Files(root) => {
                let path = root.join(key.as_str());
                let there = tokio::fs::metadata(&path).await;
                there.map(|_| LocalObject { path, _copy: None }).map_err(|e| missing(key, e))
            }
            Kind::Remote(store, prefix, _) => {
                let found = store.get(&remote(prefix, key)).await.map_err(|e| absent(key, e))?;
                let doing = "copying an object";
                let copy = tempfile::NamedTempFile::new_in(&*self.staging)
                    .map_err(StoreError::file(doing))?
                    .into_temp_path();
                let mut file = tokio::fs::File::create(&copy).await.map_err(StoreError::file(doing))?;
                let mut parts = found.into_stream();
                while let Some(part) = parts.next().await {
                    file.write_all(&part.map_err(object(doing))?).await.map_err(StoreError::file(doing))?;
                }
                file.flush().await.map_err(StoreError::file(doing))?;
                Ok(LocalObject { path: copy.to_path_buf(), _copy: Some(copy) })
            }
        }
    }

    /// Whether an object is there.
    ///
    /// # Errors
    /// Nobody knows.
    pub async fn exists(&self, key: &ObjectKey) -> Result<bool, StoreError> {
        match &self.kind {
            Kind::Files(root) => tokio::fs::try_exists(root.join(key.as_str()))
                .await
                .map_err(StoreError::file("looking for an object")),
            Kind::Remote(store, prefix, _) => match store.head(&remote(prefix, key)).await {
                Ok(_) => Ok(true),
                Err(object_store::Error::NotFound { .. }) => Ok(false),
                Err(source) => Err(StoreError::Object { doing: "looking for an object", source }),
            },
        }
    }

    /// Removes an object; one that is absent is as it should be.
    ///
    /// # Errors
    /// It may still be there.
    pub async fn delete(&self, key: &ObjectKey) -> Result<(), StoreError> {
        match &self.kind {
            Kind::Files(root) => match tokio::fs::remove_file(root.join(key.as_str())).await {
                Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                    Err(StoreError::File { doing: "removing an object", source: e })
                }
                _ => Ok(()),
            },
            Kind::Remote(store, prefix, _) => match store.delete(&remote(prefix, key)).await {
                Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
                Err(source) => Err(StoreError::Object { doing: "removing an object", source }),
            },
        }
    }

    /// Removes objects; those that are absent are as they should be. On return they are gone for good: not even a power loss brings one back.
    ///
    /// # Errors
    /// Some may still be there.
    pub async fn remove_all(&self, keys: Vec<ObjectKey>) -> Result<(), StoreError> {
        if let Kind::Files(root) = &self.kind {
            let root = Arc::clone(root);
            return blocking(move || files::remove_all(&root, &keys)).await;
        }
        for key in &keys {
            self.delete(key).await?;
        }
        Ok(())
    }

    /// Bytes that are free where incoming files are written; none if nobody can tell.
    pub fn free_bytes(&self) -> Option<u64> {
        free_bytes(&self.staging)
    }

    /// Whether the store answers.
    ///
    /// # Errors
    /// It does not.
    pub async fn ping(&self) -> Result<(), StoreError> {
        let key = ObjectKey::parse("is-it-there")?;
        self.exists(&key).await.map(|_| ())
    }
}

/// Bytes that are free on the disk of a folder; none if nobody can tell.
pub(crate) fn free_bytes(folder: &Path) -> Option<u64> {
    let stat = rustix::fs::statvfs(folder).ok()?;
    Some(stat.f_bavail.saturating_mul(stat.f_frsize))
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    let lost = |_| StoreError::File {
        doing: "putting an object",
        source: std::io::Error::other("the thread was lost"),
    };
    tokio::task::spawn_blocking(work).await.map_err(lost)?
}

fn remote(prefix: &str, key: &ObjectKey) -> RemotePath {
    if prefix.is_empty() {
        RemotePath::from(key.as_str())
    } else {
        RemotePath::from(format!("{prefix}/{key}"))
    }
}

fn object(doing: &'static str) -> impl FnOnce(object_store::Error) -> StoreError {
    move |source| StoreError::Object { doing, source }
}

fn absent(key: &ObjectKey, e: object_store::Error) -> StoreError {
    match e {
        object_store::Error::NotFound { .. } => StoreError::NoObject { key: key.to_string() },
        source => StoreError::Object { doing: "reading an object", source },
    }
}

fn missing(key: &ObjectKey, e: std::io::Error) -> StoreError {
    match e.kind() {
        std::io::ErrorKind::NotFound => StoreError::NoObject { key: key.to_string() },
        _ => StoreError::File { doing: "reading an object", source: e },
    }
}

/// Uploads a file, in parts where it is large, and removes it.
async fn upload(
    store: &Arc<dyn ObjectStore>,
    room: &Semaphore,
    path: RemotePath,
    file: PathBuf,
) -> Result<(), StoreError> {
    let doing = "uploading an object";
    let mut source = tokio::fs::File::open(&file).await.map_err(StoreError::file(doing))?;
    let length = source.metadata().await.map_err(StoreError::file(doing))?.len();
    let large = length > PART as u64;
    // The semaphore is never closed; without a permit it only would be less sparing.
    let _room = room.acquire_many(if large { PARTS_OF_ONE } else { 1 }).await.ok();
    if large {
        let mut upload = store.put_multipart(&path).await.map_err(object(doing))?;
        let sent = send_parts(&mut *upload, &mut source).await;
        if let Err(e) = sent {
            // Parts of an upload that is never completed stay on the server, and are paid for.
            if let Err(left) = upload.abort().await {
                tracing::warn!("parts of an upload may be left in the object store: {left}");
            }
            return Err(e);
        }
    } else {
        let part = next_part(&mut source, length).await?;
        if part.len() as u64 != length {
            let problem = std::io::Error::other("its length changed while it was read");
            return Err(StoreError::File { doing, source: problem });
        }
        store.put(&path, part.into()).await.map_err(object(doing))?;
    }
    tokio::fs::remove_file(&file).await.map_err(StoreError::file(doing))
}

/// Sends a file's parts, each while the next is read, and completes the upload.
async fn send_parts(
    upload: &mut dyn MultipartUpload,
    source: &mut tokio::fs::File,
) -> Result<(), StoreError> {
    let doing = "uploading a part of an object";
    let mut on_its_way: Option<UploadPart> = None;
    loop {
        let sending = async {
            match on_its_way.take() {
                Some(part) => part.await.map_err(object(doing)),
                None => Ok(()),
            }
        };
        let ((), part) = futures::try_join!(sending, next_part(source, PART as u64))?;
        if part.is_empty() {
            break;
        }
        on_its_way = Some(upload.put_part(part.into()));
    }
    upload.complete().await.map_err(object("completing an object")).map(|_| ())
}

/// The next bytes of a file, so many and a part at most; empty at its end.
async fn next_part(source: &mut tokio::fs::File, most: u64) -> Result<Bytes, StoreError> {
    let most = most.min(PART as u64);
    // A little more than is read: a buffer that is full when the end is looked for doubles.
    let mut part = Vec::with_capacity(usize::try_from(most).unwrap_or(PART) + 64);
    let mut rest = source.take(most);
    rest.read_to_end(&mut part).await.map_err(StoreError::file("reading a file to upload"))?;
    Ok(part.into())
}
