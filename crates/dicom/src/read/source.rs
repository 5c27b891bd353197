//! Bytes by position, from a file, from memory, or from what a deflated data set inflates to.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::sync::{Arc, Mutex, PoisonError};

use flate2::read::DeflateDecoder;

/// Where the bytes of an object are. Reading at a position needs no exclusive access.
pub(crate) enum Source {
    /// A file; only what is asked for is read.
    File { file: File, len: u64 },
    /// A whole object in memory.
    Memory(Arc<[u8]>),
    /// The data set of Deflated Explicit VR Little Endian; nothing is kept of it.
    Inflated(Inflated),
}

impl Source {
    /// Reads into `out` from `offset`; fewer bytes than asked for mean the end.
    pub(crate) fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Memory(bytes) => {
                let from = usize::try_from(offset).unwrap_or(usize::MAX).min(bytes.len());
                let n = out.len().min(bytes.len() - from);
                out[..n].copy_from_slice(&bytes[from..from + n]);
                Ok(n)
            }
            Self::File { file, .. } => {
                let mut done = 0;
                while done < out.len() {
                    match file.read_at(&mut out[done..], offset.saturating_add(done as u64)) {
                        Ok(0) => break,
                        Ok(n) => done += n,
                        Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                        Err(e) => return Err(e),
                    }
                }
                Ok(done)
            }
            Self::Inflated(inflated) => inflated.read_at(offset, out),
        }
    }

    /// How many bytes there are from `offset` on, at most `want`; inflates to find out where it must.
    pub(crate) fn available(&self, offset: u64, want: u64) -> io::Result<u64> {
        let len = match self {
            Self::File { len, .. } => *len,
            Self::Memory(bytes) => bytes.len() as u64,
            Self::Inflated(inflated) => inflated.len(offset.saturating_add(want))?,
        };
        Ok(len.saturating_sub(offset).min(want))
    }
}

/// A deflated stream that is inflated forward and started anew for a step back.
pub(crate) struct Inflated {
    from: Arc<Source>,
    start: u64,
    limit: u64,
    state: Mutex<Option<State>>,
}

struct State {
    decoder: DeflateDecoder<Cursor>,
    position: u64,
}

struct Cursor {
    source: Arc<Source>,
    position: u64,
}

impl Read for Cursor {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let n = self.source.read_at(self.position, out)?;
        self.position += n as u64;
        Ok(n)
    }
}

impl Inflated {
    /// What the deflated bytes of `from`, from `start` on, inflate to; never more than `limit`.
    pub(crate) fn new(from: Arc<Source>, start: u64, limit: u64) -> Self {
        Self { from, start, limit, state: Mutex::new(None) }
    }

    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<usize> {
        let mut guard = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let restart = guard.as_ref().is_none_or(|s| s.position > offset);
        if restart {
            let cursor = Cursor { source: Arc::clone(&self.from), position: self.start };
            *guard = Some(State { decoder: DeflateDecoder::new(cursor), position: 0 });
        }
        let Some(state) = guard.as_mut() else { return Ok(0) };
        let result = state.read_from(offset, out, self.limit);
        if result.is_err() {
            *guard = None;
        }
        result
    }

    fn len(&self, up_to: u64) -> io::Result<u64> {
        let Some(last) = up_to.checked_sub(1) else { return Ok(0) };
        let mut byte = [0];
        if self.read_at(last, &mut byte)? == 1 {
            return Ok(up_to);
        }
        let guard = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(guard.as_ref().map_or(0, |s| s.position))
    }
}

impl State {
    fn read_from(&mut self, offset: u64, out: &mut [u8], limit: u64) -> io::Result<usize> {
        let mut scratch = [0u8; 32 * 1024];
        while self.position < offset {
            let step = (offset - self.position).min(scratch.len() as u64) as usize;
            let n = self.inflate(&mut scratch[..step])?;
            if n == 0 {
                return Ok(0);
            }
            self.advance(n, limit)?;
        }
        let mut done = 0;
        while done < out.len() {
            let n = self.inflate(&mut out[done..])?;
            if n == 0 {
                break;
            }
            self.advance(n, limit)?;
            done += n;
        }
        Ok(done)
    }

    /// A stream that was cut ends where it was cut: whoever reads compares lengths anyway, and can say of which element it was.
    fn inflate(&mut self, out: &mut [u8]) -> io::Result<usize> {
        match self.decoder.read(out) {
            Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => Ok(0),
            other => other,
        }
    }

    fn advance(&mut self, n: usize, limit: u64) -> io::Result<()> {
        self.position += n as u64;
        if self.position > limit {
            return Err(io::Error::new(
                io::ErrorKind::FileTooLarge,
                "inflates beyond the limit `file_bytes`",
            ));
        }
        Ok(())
    }
}
