//! A Part 10 file whose compressed frames come one by one (PS3.5 §A.4): one fragment a frame, with a Basic Offset Table.
//!
//! The header tells how far the pixels were compressed, and the table where each frame lies, which is known at the end alone: room is left for
//! both, and they are written last.

use std::io::{self, Seek, SeekFrom, Write};

/// Item (FFFE,E000).
const ITEM: [u8; 4] = [0xFE, 0xFF, 0x00, 0xE0];

/// An object that is being written.
pub(super) struct Stream<W> {
    out: W,
    /// Bytes of preamble, meta group and data set before the pixel data.
    head: u64,
    /// Bytes of the table.
    table: u32,
    /// First byte of each frame's item, counted from the first item after the table.
    offsets: Vec<u32>,
    /// Bytes of the items so far.
    items: u64,
    /// Bytes of the frames so far.
    compressed: u64,
}

impl<W: Write + Seek> Stream<W> {
    /// Writes the header as it is known so far, and leaves room for the table of so many frames.
    pub(super) fn begin(mut out: W, head: &[u8], frames: u32) -> io::Result<Self> {
        let table =
            frames.checked_mul(4).ok_or_else(|| io::Error::other("too many frames for an offset table"))?;
        out.write_all(head)?;
        out.write_all(&[0xE0, 0x7F, 0x10, 0x00])?;
        out.write_all(b"OB\0\0")?;
        out.write_all(&u32::MAX.to_le_bytes())?;
        out.write_all(&ITEM)?;
        out.write_all(&table.to_le_bytes())?;
        for _ in 0..frames {
            out.write_all(&[0; 4])?;
        }
        Ok(Self { out, head: head.len() as u64, table, offsets: Vec::new(), items: 0, compressed: 0 })
    }

    /// Appends a frame.
    pub(super) fn frame(&mut self, bytes: &[u8]) -> io::Result<()> {
        let too_far = |_| io::Error::other("a frame beyond 4 GiB, which no offset table can tell");
        self.offsets.push(u32::try_from(self.items).map_err(too_far)?);
        let padded = bytes.len().next_multiple_of(2);
        self.out.write_all(&ITEM)?;
        self.out.write_all(&u32::try_from(padded).map_err(too_far)?.to_le_bytes())?;
        self.out.write_all(bytes)?;
        self.out.write_all(&[0][..padded - bytes.len()])?;
        self.items += 8 + padded as u64;
        self.compressed += bytes.len() as u64;
        Ok(())
    }

    /// Bytes of the file so far.
    pub(super) fn written(&self) -> u64 {
        self.head + 12 + 8 + u64::from(self.table) + self.items
    }

    /// Bytes of the frames so far, without items and padding.
    pub(super) const fn compressed(&self) -> u64 {
        self.compressed
    }

    /// Ends the pixel data and writes header and table anew. The header must be as long as the first one.
    pub(super) fn end(mut self, head: &[u8]) -> io::Result<W> {
        if head.len() as u64 != self.head {
            return Err(io::Error::other("the header is not as long as the room that was left for it"));
        }
        self.out.write_all(&[0xFE, 0xFF, 0xDD, 0xE0, 0, 0, 0, 0])?;
        self.out.seek(SeekFrom::Start(0))?;
        self.out.write_all(head)?;
        self.out.seek(SeekFrom::Current(12 + 8))?;
        for offset in &self.offsets {
            self.out.write_all(&offset.to_le_bytes())?;
        }
        self.out.flush()?;
        Ok(self.out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_lie_where_the_table_says() {
        let mut stream = Stream::begin(io::Cursor::new(Vec::new()), b"head?", 2).unwrap();
        stream.frame(b"odd").unwrap();
        stream.frame(b"even").unwrap();
        let written = stream.written();
        assert_eq!(stream.compressed(), 7);
        let bytes = stream.end(b"head!").unwrap().into_inner();
        let mut wanted =
            b"head!\xE0\x7F\x10\0OB\0\0\xFF\xFF\xFF\xFF\xFE\xFF\0\xE0\x08\0\0\0\0\0\0\0\x0C\0\0\0".to_vec();
        wanted.extend(b"\xFE\xFF\0\xE0\x04\0\0\0odd\0\xFE\xFF\0\xE0\x04\0\0\0even");
        assert_eq!(written, wanted.len() as u64);
        wanted.extend(b"\xFE\xFF\xDD\xE0\0\0\0\0");
        assert_eq!(bytes, wanted);
    }

    #[test]
    fn a_header_of_another_length_is_refused() {
        let stream = Stream::begin(io::Cursor::new(Vec::new()), b"head", 0).unwrap();
        assert!(stream.end(b"longer").is_err());
    }
}
