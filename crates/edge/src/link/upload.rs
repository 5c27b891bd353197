//! An object goes out, from where it broke off, compressed where that helps.

use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use futures::Stream;
use overread_domain::ContentHash;
use overread_wire::{LinkError, paths};
use tokio::fs::File;
use tokio::io::{AsyncReadExt, AsyncSeekExt};

use super::body::Progress;
use super::{HttpLink, SILENCE, here};

/// Bytes of one piece: it is a Zstandard frame of its own, so that the service can use each as soon as it has it.
const PIECE: usize = 64 << 10;
/// An object of more bytes than this is asked after before it is sent: a part of it may be there.
const SMALL: u64 = 64 << 10;
/// Attempts in a row that may get no byte further.
const STUCK: u32 = 3;
/// Before another attempt, the first time; it doubles.
const PAUSE: Duration = Duration::from_millis(200);

impl HttpLink {
    /// Sends an object: goes on as long as each attempt gets further.
    pub(super) async fn upload(&self, hash: &ContentHash, path: &Path) -> Result<(), LinkError> {
        let about = tokio::fs::metadata(path).await.map_err(here("reading an object"))?;
        let length = about.len();
        let mut offset = if length > SMALL { self.offset(hash).await?.min(length) } else { 0 };
        let (mut stuck, mut restarted) = (0, false);
        loop {
            let trouble = match self.put_from(hash, path, offset, length).await {
                Ok(()) => return Ok(()),
                // What was there before does not belong to it.
                Err(LinkError::Refused { .. }) if offset > 0 && !restarted => {
                    (offset, restarted) = (0, true);
                    continue;
                }
                Err(e) if e.is_passing() && stuck < STUCK => e,
                Err(e) => return Err(e),
            };
            tokio::time::sleep(PAUSE * 2u32.pow(stuck)).await;
            stuck += 1;
            match self.offset(hash).await {
                Ok(now) => {
                    if now > offset {
                        stuck = 0;
                    }
                    offset = now.min(length);
                }
                Err(e) if e.is_passing() => {}
                Err(_) => return Err(trouble),
            }
        }
    }

    /// How many bytes of an object are there.
    async fn offset(&self, hash: &ContentHash) -> Result<u64, LinkError> {
        let answer = self.send(self.client().head(self.url(&paths::object(hash))), SILENCE).await?;
        let header = answer.headers().get(paths::UPLOAD_OFFSET);
        Ok(header.and_then(|value| value.to_str().ok()).and_then(|text| text.parse().ok()).unwrap_or(0))
    }

    async fn put_from(
        &self,
        hash: &ContentHash,
        path: &Path,
        offset: u64,
        length: u64,
    ) -> Result<(), LinkError> {
        let mut file = File::open(path).await.map_err(here("reading an object"))?;
        let packs = packs(&mut file, offset).await.map_err(here("reading an object"))?;
        file.seek(std::io::SeekFrom::Start(offset)).await.map_err(here("reading an object"))?;
        let request = self
            .client()
            .put(self.url(&paths::object(hash)))
            .header(paths::UPLOAD_OFFSET, offset)
            .header(paths::UPLOAD_LENGTH, length);
        let request = if packs {
            request.header("content-encoding", "zstd")
        } else {
            request.header("content-length", length - offset)
        };
        let progress = Progress::default();
        self.send_body(progress.stream(request, pieces(file, packs)), &progress).await.map(|_| ())
    }
}

/// Whether compression is worth its time, by the piece in the middle of what is left: pixel data that are JPEG already are not.
async fn packs(file: &mut File, offset: u64) -> std::io::Result<bool> {
    let length = file.metadata().await?.len();
    let middle = offset + (length.saturating_sub(offset)) / 2;
    file.seek(std::io::SeekFrom::Start(middle)).await?;
    let piece = read_piece(file).await?;
    Ok(!piece.is_empty() && zstd::bulk::compress(&piece, 1)?.len() < piece.len() / 16 * 15)
}

fn pieces(file: File, packs: bool) -> impl Stream<Item = std::io::Result<Bytes>> + Send {
    futures::stream::unfold(file, move |mut file| async move {
        let piece = match read_piece(&mut file).await {
            Ok(piece) if piece.is_empty() => return None,
            Ok(piece) if packs => zstd::bulk::compress(&piece, 3),
            other => other,
        };
        Some((piece.map(Bytes::from), file))
    })
}

async fn read_piece(file: &mut File) -> std::io::Result<Vec<u8>> {
    let mut piece = Vec::with_capacity(PIECE);
    file.take(PIECE as u64).read_to_end(&mut piece).await?;
    Ok(piece)
}
