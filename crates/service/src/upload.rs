//! Objects that come in pieces: what was decoded before a connection broke is kept, for each client apart, and the next request goes on there.
//!
//! What is kept is worth nothing before the whole has its SHA-256, and is not synced: whatever a power failure leaves of it, the hash tells.

use std::collections::HashMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use axum::body::Body;
use axum::http::{HeaderName, HeaderValue, StatusCode};
use futures::StreamExt;
use overread_domain::ContentHash;
use overread_http::Problem;
use overread_store::StoreError;
use overread_wire::paths;
use sha2::{Digest, Sha256};
use tokio::fs::File;
use tokio::io::AsyncWriteExt;
use tokio::sync::{Notify, OwnedMutexGuard};

use crate::error;
use crate::inflate::Decoder;

/// Most unfinished objects of one client; the oldest goes.
const COUNT: usize = 64;
/// How long an unfinished object is kept since its last byte.
const AGE: Duration = Duration::from_secs(7 * 24 * 3600);
/// Uploads that are remembered before those that have ended are looked for.
const REMEMBERED: usize = 256;

/// The unfinished objects.
pub(crate) struct Uploads {
    folder: PathBuf,
    turns: Mutex<HashMap<PathBuf, Arc<Turns>>>,
}

/// Who writes to an unfinished object: one at a time, and whoever comes later has the better connection.
#[derive(Default)]
struct Turns {
    writing: Arc<tokio::sync::Mutex<()>>,
    waiting: AtomicUsize,
    called: Notify,
}

/// The right to write to an unfinished object.
pub(crate) struct Upload {
    path: PathBuf,
    turns: Arc<Turns>,
    _turn: OwnedMutexGuard<()>,
}

/// What a request says of the bytes it brings.
pub(crate) struct Plan {
    /// From which byte on, decoded.
    pub(crate) offset: u64,
    /// Bytes of the whole, where it is said.
    pub(crate) length: Option<u64>,
    /// Most bytes of the whole.
    pub(crate) limit: u64,
    /// Whether they are compressed.
    pub(crate) zstd: bool,
}

impl Uploads {
    /// Below the staging folder.
    pub(crate) fn new(staging: &Path) -> Self {
        Self { folder: staging.join("unfinished"), turns: Mutex::default() }
    }

    /// The right to write to an object; a request that is writing to it ends.
    pub(crate) async fn turn(&self, client: &str, hash: &ContentHash) -> Upload {
        let path = self.folder.join(client).join(hash.as_str());
        let turns = self.turns_of(&path);
        turns.waiting.fetch_add(1, Ordering::SeqCst);
        turns.called.notify_waiters();
        let turn = Arc::clone(&turns.writing).lock_owned().await;
        turns.waiting.fetch_sub(1, Ordering::SeqCst);
        Upload { path, turns, _turn: turn }
    }

    fn turns_of(&self, path: &Path) -> Arc<Turns> {
        let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
        if turns.len() >= REMEMBERED {
            turns.retain(|_, one| Arc::strong_count(one) > 1);
        }
        Arc::clone(turns.entry(path.to_owned()).or_default())
    }

    /// Removes the oldest unfinished objects of a client until another one of so many bytes fits among them.
    pub(crate) async fn make_room(&self, client: &str, length: u64, most: u64) -> Result<(), StoreError> {
        let folder = self.folder.join(client);
        let mut found = listed(folder.clone()).await?;
        found.sort_by_key(|(_, written, _)| *written);
        let mut bytes: u64 = found.iter().map(|(.., bytes)| bytes).sum();
        let mut count = found.len();
        for (path, _, size) in found {
            if count < COUNT && bytes.saturating_add(length) <= most {
                break;
            }
            if !self.is_active(&path) {
                remove(&path).await?;
                (count, bytes) = (count - 1, bytes - size);
            }
        }
        tokio::fs::create_dir_all(folder).await.map_err(error::file("making a folder for uploads"))
    }

    fn is_active(&self, path: &Path) -> bool {
        let turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
        turns.get(path).is_some_and(|one| Arc::strong_count(one) > 1)
    }

    /// Removes what was given up.
    pub(crate) async fn sweep(&self, clients: &[String]) -> Result<(), StoreError> {
        let old = SystemTime::now() - AGE;
        for client in clients {
            for (path, written, _) in listed(self.folder.join(client)).await? {
                if written < old && !self.is_active(&path) {
                    remove(&path).await?;
                }
            }
        }
        Ok(())
    }
}

/// The files of a folder, with when they were last written to, and their bytes.
async fn listed(folder: PathBuf) -> Result<Vec<(PathBuf, SystemTime, u64)>, StoreError> {
    let doing = "looking through uploads";
    let list = move || {
        let entries = match std::fs::read_dir(folder) {
            Ok(entries) => entries,
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(vec![]),
            Err(e) => return Err(e),
        };
        let mut found = vec![];
        for entry in entries.flatten() {
            if let Ok(about) = entry.metadata() {
                found.push((entry.path(), about.modified().unwrap_or(SystemTime::UNIX_EPOCH), about.len()));
            }
        }
        Ok(found)
    };
    let lost = |_| std::io::Error::other("the thread was lost");
    tokio::task::spawn_blocking(list).await.map_err(lost).flatten().map_err(error::file(doing))
}

async fn remove(path: &Path) -> Result<(), StoreError> {
    match tokio::fs::remove_file(path).await {
        Err(e) if e.kind() != ErrorKind::NotFound => Err(error::file("removing an upload")(e)),
        _ => Ok(()),
    }
}

impl Upload {
    /// How many bytes are here.
    pub(crate) async fn offset(&self) -> u64 {
        tokio::fs::metadata(&self.path).await.map_or(0, |about| about.len())
    }

    /// Where they are.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Takes a body. What came of it is kept even if it breaks off; what cannot be a part of the object is not.
    pub(crate) async fn receive(&self, body: Body, plan: &Plan) -> Result<(), Problem> {
        let here = self.offset().await;
        if plan.offset != 0 && plan.offset != here {
            return Err(elsewhere(here));
        }
        let opened = File::options().create(true).append(true).open(&self.path).await.map_err(staging)?;
        opened.set_len(plan.offset).await.map_err(staging)?;
        let mut sink = Sink { file: opened, bytes: plan.offset, most: plan.length.unwrap_or(plan.limit) };
        let taken = self.take(body, plan.zstd, &mut sink).await;
        sink.file.flush().await.map_err(staging)?;
        if let Err(Taking::Wrong(problem)) = taken {
            remove(&self.path).await?;
            return Err(problem);
        }
        taken.map_err(Taking::into_problem)?;
        match plan.length {
            Some(length) if sink.bytes < length => Err(elsewhere(sink.bytes)),
            _ => Ok(()),
        }
    }

    async fn take(&self, body: Body, zstd: bool, sink: &mut Sink) -> Result<(), Taking> {
        let mut parts = body.into_data_stream();
        let mut decoder = zstd.then(Decoder::new).transpose().map_err(|e| Taking::Broken(staging(e)))?;
        loop {
            // Listened for before looking, so that a call in between is heard.
            let mut called = std::pin::pin!(self.turns.called.notified());
            called.as_mut().enable();
            if self.turns.waiting.load(Ordering::SeqCst) > 0 {
                return Err(taken_over());
            }
            let part = tokio::select! {
                part = parts.next() => part,
                () = called => return Err(taken_over()),
            };
            let Some(part) = part else { break };
            let part = part.map_err(|e| Taking::Broken(Problem::of_body(&e)))?;
            match &mut decoder {
                None => sink.write(&part).await?,
                Some(decoder) => {
                    let mut rest = &part[..];
                    while let Some(decoded) = decoder.next(&mut rest).map_err(|_| not_zstd())? {
                        sink.write(decoded).await?;
                    }
                }
            }
        }
        Ok(())
    }

    /// SHA-256 and length of what is here.
    pub(crate) async fn digest(&self) -> Result<(ContentHash, u64), Problem> {
        let path = self.path.clone();
        let hash = move || {
            let mut hash = Sha256::new();
            let bytes = std::io::copy(&mut std::fs::File::open(path)?, &mut hash)?;
            Ok((ContentHash::from_bytes(hash.finalize().into()), bytes))
        };
        let done = tokio::task::spawn_blocking(hash).await.map_err(|e| Problem::internal(&e))?;
        done.map_err(staging)
    }

    /// Forgets what is here.
    pub(crate) async fn discard(&self) -> Result<(), Problem> {
        Ok(remove(&self.path).await?)
    }
}

/// Where decoded bytes go, and how many may.
struct Sink {
    file: File,
    bytes: u64,
    most: u64,
}

impl Sink {
    async fn write(&mut self, bytes: &[u8]) -> Result<(), Taking> {
        if self.bytes + bytes.len() as u64 > self.most {
            return Err(Taking::Wrong(too_large(self.most)));
        }
        self.file.write_all(bytes).await.map_err(|e| Taking::Broken(staging(e)))?;
        self.bytes += bytes.len() as u64;
        Ok(())
    }
}

/// Why a body was not taken to its end.
enum Taking {
    /// It broke off: what came is kept.
    Broken(Problem),
    /// It is no part of the object.
    Wrong(Problem),
}

impl Taking {
    fn into_problem(self) -> Problem {
        match self {
            Self::Broken(problem) | Self::Wrong(problem) => problem,
        }
    }
}

fn taken_over() -> Taking {
    Taking::Broken(Problem::busy("another request goes on with this object"))
}

fn not_zstd() -> Taking {
    Taking::Wrong(Problem::bad_request(
        "the body is no Zstandard frame, or needs more than 8 MiB to be decoded",
    ))
}

/// 409 with the offset to go on from.
fn elsewhere(here: u64) -> Problem {
    let detail = format!("{here} bytes of the object are here; send those after them");
    Problem::conflict(detail)
        .with_header(HeaderName::from_static(paths::UPLOAD_OFFSET), HeaderValue::from(here))
}

pub(crate) fn staging(source: std::io::Error) -> Problem {
    StoreError::File { doing: "receiving an object", source }.into()
}

pub(crate) fn too_large(limit: u64) -> Problem {
    let detail = format!(
        "the object has {limit} bytes at most, by what was announced or by service.limits.object_bytes; raise that if it is too few"
    );
    Problem::new(StatusCode::PAYLOAD_TOO_LARGE, detail)
}
