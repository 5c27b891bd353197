//! Zstandard frames decoded piece by piece, in memory that is bounded whatever they claim.

use zstd::stream::raw::{DParameter, Operation};

/// Base-2 logarithm of the largest window: 8 MiB, what every decoder is to support by RFC 8878.
const WINDOW: u32 = 23;
/// Bytes of one decoded piece.
const PIECE: usize = 128 << 10;

/// A decoder of frames, one after another.
pub(crate) struct Decoder {
    raw: zstd::stream::raw::Decoder<'static>,
    piece: Vec<u8>,
    /// Whether the last piece was full, so that there may be more without more input.
    full: bool,
}

impl Decoder {
    /// A new one.
    pub(crate) fn new() -> std::io::Result<Self> {
        let mut raw = zstd::stream::raw::Decoder::new()?;
        raw.set_parameter(DParameter::WindowLogMax(WINDOW))?;
        Ok(Self { raw, piece: vec![0; PIECE], full: false })
    }

    /// The next decoded bytes, perhaps none, taking from `input` what they need; `None` once it is used up.
    pub(crate) fn next(&mut self, input: &mut &[u8]) -> std::io::Result<Option<&[u8]>> {
        if input.is_empty() && !self.full {
            return Ok(None);
        }
        let status = self.raw.run_on_buffers(input, &mut self.piece)?;
        *input = input.get(status.bytes_read..).unwrap_or_default();
        self.full = status.bytes_written == self.piece.len();
        if status.bytes_read == 0 && status.bytes_written == 0 {
            return if input.is_empty() { Ok(None) } else { Err(std::io::Error::other("no progress")) };
        }
        Ok(self.piece.get(..status.bytes_written))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(mut input: &[u8]) -> std::io::Result<Vec<u8>> {
        let mut decoder = Decoder::new()?;
        let mut all = vec![];
        while let Some(piece) = decoder.next(&mut input)? {
            all.extend_from_slice(piece);
        }
        Ok(all)
    }

    #[test]
    fn frames_follow_each_other_and_what_came_of_a_cut_one_is_there() {
        let text: Vec<u8> = (0..400_000u32).flat_map(|n| (n / 7).to_le_bytes()).collect();
        let frames: Vec<Vec<u8>> =
            text.chunks(256 << 10).map(|piece| zstd::bulk::compress(piece, 3).unwrap()).collect();
        assert_eq!(decode(&frames.concat()).unwrap(), text);
        let cut = [frames[0].clone(), frames[1][..frames[1].len() / 2].to_vec()].concat();
        let some = decode(&cut).unwrap();
        assert!(some.len() >= 256 << 10 && text.starts_with(&some), "{}", some.len());
        assert!(decode(b"no frame at all").is_err());
    }

    #[test]
    fn a_window_that_is_too_large_is_refused() {
        let mut encoder = zstd::stream::Encoder::new(vec![], 1).unwrap();
        encoder.window_log(27).unwrap();
        encoder.include_contentsize(false).unwrap();
        std::io::Write::write_all(&mut encoder, &vec![1; 1 << 20]).unwrap();
        assert!(decode(&encoder.finish().unwrap()).is_err());
    }
}
