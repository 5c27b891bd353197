//! Encapsulated pixel data (PS3.5 Annex A.4): which fragments make up which frame.

use std::ops::Range;

use dicom_core::Tag;

use super::{ReadError, scan::PixelElement, source::Source};

/// More fragments than this are an attack, not an image.
const MOST_FRAGMENTS: usize = 4 << 20;

/// Where a fragment's bytes are.
#[derive(Clone, Copy, Debug)]
struct Fragment {
    offset: u64,
    length: u32,
}

/// The fragments of all frames, found by their item headers alone.
#[derive(Debug)]
pub(crate) struct Fragments {
    tag: Tag,
    items: Vec<Fragment>,
    frames: Vec<Range<usize>>,
    /// The sequence ended with its delimiter.
    pub(crate) delimited: bool,
}

impl Fragments {
    /// Walks the items; `extended` is the Extended Offset Table (7FE0,0001), if there is one.
    pub(crate) fn find(
        source: &Source,
        pixels: &PixelElement,
        frames: u32,
        extended: Option<Vec<u64>>,
    ) -> Result<Self, ReadError> {
        let mut items = Vec::new();
        let end = walk(source, pixels, |fragment| items.push(fragment))?;
        let delimited = end.delimited;
        let mut found = Self { tag: pixels.tag, items, frames: Vec::new(), delimited };
        found.frames = found.map(source, pixels, frames as usize, extended)?;
        Ok(found)
    }

    /// Reads the compressed bytes of a frame.
    pub(crate) fn read(&self, source: &Source, frame: u32, limit: u64) -> Result<Vec<u8>, ReadError> {
        let range = self.frames.get(frame as usize).cloned();
        let range = range.ok_or(ReadError::NoSuchFrame { frame, frames: self.frames.len() as u32 })?;
        let fragments = &self.items[range];
        let bytes: u64 = fragments.iter().map(|f| u64::from(f.length)).sum();
        if bytes > limit {
            return Err(ReadError::TooLarge {
                what: "a compressed frame",
                bytes,
                limit,
                name: "frame_bytes",
            });
        }
        let mut out = vec![0; bytes as usize];
        let mut done = 0;
        for fragment in fragments {
            let end = done + fragment.length as usize;
            let read = source.read_at(fragment.offset, &mut out[done..end]);
            let read = read.map_err(|source| ReadError::Io { doing: "read the pixel data", source })?;
            if read < end - done {
                let (needed, available) = (u64::from(fragment.length), read as u64);
                return Err(ReadError::Truncated {
                    tag: self.tag,
                    offset: fragment.offset,
                    needed,
                    available,
                });
            }
            done = end;
        }
        Ok(out)
    }

    /// Where the bytes of each fragment are, and how many, in the file's order.
    pub(crate) fn pieces(&self) -> impl Iterator<Item = (u64, u32)> + '_ {
        self.items.iter().map(|f| (f.offset, f.length))
    }

    /// The first fragment of each frame, counted from 0.
    pub(crate) fn starts(&self) -> impl Iterator<Item = usize> + '_ {
        self.frames.iter().map(|f| f.start)
    }

    /// Which of the fragments (the first item is the Basic Offset Table) belong to which frame.
    fn map(
        &mut self,
        source: &Source,
        pixels: &PixelElement,
        frames: usize,
        extended: Option<Vec<u64>>,
    ) -> Result<Vec<Range<usize>>, ReadError> {
        let malformed = |why| ReadError::Malformed { tag: pixels.tag, offset: pixels.offset, why };
        if self.items.is_empty() {
            return Err(malformed("there is no Basic Offset Table item"));
        }
        let table = self.items.remove(0);
        let n = self.items.len();
        if frames > n {
            return Err(malformed("Number of Frames (0028,0008) is larger than the number of fragments"));
        }
        if frames == 1 {
            return Ok(std::iter::once(0..n).collect());
        }
        if frames == n {
            return Ok((0..n).map(|i| i..i + 1).collect());
        }
        let tables = [extended, basic_table(source, table)?];
        let by_table = tables.iter().flatten().filter(|t| t.len() == frames).find_map(|t| self.by_offsets(t));
        let ranges = match by_table {
            Some(ranges) => ranges,
            None => self.by_markers(source)?,
        };
        if ranges.len() == frames {
            Ok(ranges)
        } else {
            Err(malformed("frames cannot be told apart: no usable offset table"))
        }
    }

    fn by_offsets(&self, table: &[u64]) -> Option<Vec<Range<usize>>> {
        let base = self.items.first()?.offset;
        let start = |offset: &u64| self.items.binary_search_by_key(&(base + offset), |f| f.offset).ok();
        let starts: Vec<usize> = table.iter().map(start).collect::<Option<_>>()?;
        let rising = starts.first() == Some(&0) && starts.windows(2).all(|w| w[0] < w[1]);
        rising.then(|| ranges(&starts, self.items.len()))
    }

    /// A frame begins where a fragment begins with a JPEG or JPEG 2000 start marker.
    fn by_markers(&self, source: &Source) -> Result<Vec<Range<usize>>, ReadError> {
        let mut starts = Vec::new();
        let mut head = [0u8; 4];
        for (i, fragment) in self.items.iter().enumerate() {
            let read = source.read_at(fragment.offset, &mut head);
            let n = read.map_err(|source| ReadError::Io { doing: "read the pixel data", source })?;
            if n == 4 && matches!(head, [0xFF, 0xD8, 0xFF, _] | [0xFF, 0x4F, 0xFF, 0x51] | [0, 0, 0, 0x0C]) {
                starts.push(i);
            }
        }
        Ok(ranges(&starts, self.items.len()))
    }
}

/// Where a walk over the items ended.
pub(crate) struct End {
    /// The position of the delimiter, or of where it should be.
    pub(crate) at: u64,
    /// Whether it is there.
    pub(crate) delimited: bool,
}

/// Goes from item to item by their headers alone, the offset table first, and hands each out once its bytes are known to be there.
fn walk(source: &Source, pixels: &PixelElement, mut take: impl FnMut(Fragment)) -> Result<End, ReadError> {
    let io = |source| ReadError::Io { doing: "read the pixel data", source };
    let tag = pixels.tag;
    let malformed = |offset, why| ReadError::Malformed { tag, offset, why };
    let (mut at, mut count) = (pixels.offset, 0);
    let mut head = [0u8; 8];
    loop {
        let n = source.read_at(at, &mut head).map_err(io)?;
        match head[..4] {
            _ if n < 8 => return Ok(End { at, delimited: false }),
            [0xFE, 0xFF, 0x00, 0xE0] => {}
            [0xFE, 0xFF, 0xDD, 0xE0] => return Ok(End { at, delimited: true }),
            _ => return Err(malformed(at, "something else than a fragment between fragments")),
        }
        let length = u32::from_le_bytes([head[4], head[5], head[6], head[7]]);
        at += 8;
        let available = source.available(at, u64::from(length)).map_err(io)?;
        if available < u64::from(length) {
            return Err(ReadError::Truncated { tag, offset: at, needed: u64::from(length), available });
        }
        if count == MOST_FRAGMENTS {
            return Err(malformed(at, "more than four million fragments"));
        }
        take(Fragment { offset: at, length });
        count += 1;
        at += u64::from(length);
    }
}

/// Whether all fragments are there, and the delimiter after them.
pub(crate) fn check_whole(source: &Source, pixels: &PixelElement) -> Result<(), ReadError> {
    let end = walk(source, pixels, |_| {})?;
    if end.delimited {
        return Ok(());
    }
    Err(ReadError::Truncated { tag: pixels.tag, offset: end.at, needed: 8, available: 0 })
}

fn ranges(starts: &[usize], end: usize) -> Vec<Range<usize>> {
    let ends = starts.iter().skip(1).copied().chain(std::iter::once(end));
    starts.iter().copied().zip(ends).map(|(a, b)| a..b).collect()
}

fn basic_table(source: &Source, table: Fragment) -> Result<Option<Vec<u64>>, ReadError> {
    if table.length == 0 || table.length as usize > MOST_FRAGMENTS * 4 {
        return Ok(None);
    }
    let mut bytes = vec![0; table.length as usize];
    let read = source.read_at(table.offset, &mut bytes);
    read.map_err(|source| ReadError::Io { doing: "read the offset table", source })?;
    Ok(Some(bytes.chunks_exact(4).map(|b| u64::from(u32::from_le_bytes([b[0], b[1], b[2], b[3]]))).collect()))
}
