//! A walk over element headers: where the data set ends and the pixel data start, whether every
//! length is honest, and how deep sequences nest.
//!
//! It runs before the parser, so that the parser only ever sees a data set whose lengths fit and
//! whose depth is bounded, and so that pixel data are found by offset without being read.

use dicom_core::dictionary::{DataDictionary, VirtualVr};
use dicom_core::{Tag, VR};
use dicom_dictionary_std::StandardDataDictionary;

use super::{Limits, ReadError, source::Source};

const UNDEFINED: u32 = u32::MAX;
const ITEM: Tag = Tag(0xFFFE, 0xE000);
const ITEM_END: Tag = Tag(0xFFFE, 0xE00D);
const SEQUENCE_END: Tag = Tag(0xFFFE, 0xE0DD);

/// How elements are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Encoding {
    pub(crate) explicit: bool,
    pub(crate) big: bool,
}

/// The element that holds pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PixelElement {
    pub(crate) tag: Tag,
    /// `OB` or another VR, where the encoding is explicit.
    pub(crate) vr: [u8; 2],
    /// Where its value starts.
    pub(crate) offset: u64,
    /// Length of its value; none for encapsulated pixel data.
    pub(crate) length: Option<u64>,
}

/// The data set before the pixel data, and where those are.
pub(crate) struct Scan {
    pub(crate) header: Vec<u8>,
    pub(crate) pixels: Option<PixelElement>,
    /// An element's length is no whole number of its values; it was kept as bytes or text.
    pub(crate) uneven: bool,
}

struct Head {
    tag: Tag,
    vr: [u8; 2],
    length: u32,
    /// Bytes of the header itself.
    size: usize,
}

struct Walker<'a> {
    source: &'a Source,
    base: u64,
    bytes: Vec<u8>,
    encoding: Encoding,
    limits: &'a Limits,
    uneven: bool,
}

/// Walks the data set that starts at `base`.
pub(crate) fn scan(
    source: &Source,
    base: u64,
    encoding: Encoding,
    limits: &Limits,
) -> Result<Scan, ReadError> {
    let mut walker = Walker { source, base, bytes: Vec::new(), encoding, limits, uneven: false };
    let mut at = 0;
    let mut pixels = None;
    while walker.have(at, 8)? {
        let head = walker.head(at)?;
        let value = at + head.size;
        if is_pixels(head.tag) {
            let length = (head.length != UNDEFINED).then_some(u64::from(head.length));
            pixels = Some(PixelElement { tag: head.tag, vr: head.vr, offset: base + value as u64, length });
            break;
        }
        if head.tag == Tag(0, 0) && head.length == 0 {
            break; // zero padding after the last element
        }
        at = walker.skip(&head, value, 0)?;
    }
    walker.bytes.truncate(at);
    Ok(Scan { header: walker.bytes, pixels, uneven: walker.uneven })
}

fn is_pixels(tag: Tag) -> bool {
    matches!(tag, Tag(0x7FE0, 0x0008..=0x0010)) && tag.1 != 0x000A
}

impl Walker<'_> {
    /// Whether `n` bytes at `at` are there; reads them if need be.
    fn have(&mut self, at: usize, n: usize) -> Result<bool, ReadError> {
        let end = at as u64 + n as u64;
        if end <= self.bytes.len() as u64 {
            return Ok(true);
        }
        if end > self.limits.header_bytes {
            let limit = self.limits.header_bytes;
            return Err(ReadError::TooLarge {
                what: "the data set before the pixel data",
                bytes: end,
                limit,
                name: "header_bytes",
            });
        }
        let from = self.bytes.len();
        let position = self.base + from as u64;
        let wanted = (end - from as u64).max(64 * 1024).min(self.limits.header_bytes - from as u64);
        let doing = "read the data set";
        let there =
            self.source.available(position, wanted).map_err(|source| ReadError::Io { doing, source })?;
        self.bytes.resize(from + there as usize, 0);
        let read = self
            .source
            .read_at(position, &mut self.bytes[from..])
            .map_err(|source| ReadError::Io { doing, source })?;
        self.bytes.truncate(from + read);
        Ok(end <= self.bytes.len() as u64)
    }

    fn u16(&self, at: usize) -> u16 {
        let pair = [self.bytes[at], self.bytes[at + 1]];
        if self.encoding.big { u16::from_be_bytes(pair) } else { u16::from_le_bytes(pair) }
    }

    fn u32(&self, at: usize) -> u32 {
        let four = [self.bytes[at], self.bytes[at + 1], self.bytes[at + 2], self.bytes[at + 3]];
        if self.encoding.big { u32::from_be_bytes(four) } else { u32::from_le_bytes(four) }
    }

    /// The header at `at`, of which 8 bytes are there.
    fn head(&mut self, at: usize) -> Result<Head, ReadError> {
        let tag = Tag(self.u16(at), self.u16(at + 2));
        if !self.encoding.explicit || tag.0 == 0xFFFE {
            return Ok(Head { tag, vr: *b"  ", length: self.u32(at + 4), size: 8 });
        }
        let vr = [self.bytes[at + 4], self.bytes[at + 5]];
        if is_short(vr) {
            return Ok(Head { tag, vr, length: u32::from(self.u16(at + 6)), size: 8 });
        }
        if !self.have(at, 12)? {
            return Err(self.truncated(tag, at, 12));
        }
        Ok(Head { tag, vr, length: self.u32(at + 8), size: 12 })
    }

    fn truncated(&self, tag: Tag, at: usize, needed: u64) -> ReadError {
        let available = self.bytes.len().saturating_sub(at) as u64;
        ReadError::Truncated { tag, offset: self.base + at as u64, needed, available }
    }

    fn malformed(&self, tag: Tag, at: usize, why: &'static str) -> ReadError {
        ReadError::Malformed { tag, offset: self.base + at as u64, why }
    }

    /// Where the element ends whose value starts at `value`.
    fn skip(&mut self, head: &Head, value: usize, depth: usize) -> Result<usize, ReadError> {
        if matches!(head.tag, ITEM | ITEM_END | SEQUENCE_END) {
            return Err(self.malformed(head.tag, value, "an item or delimiter outside a sequence"));
        }
        if head.length == UNDEFINED {
            return self.sequence(head, value, None, depth + 1);
        }
        if !self.have(value, head.length as usize)? {
            return Err(self.truncated(head.tag, value, u64::from(head.length)));
        }
        let end = value + head.length as usize;
        if self.is_sequence(head) && head.length > 0 {
            self.sequence(head, value, Some(end), depth + 1)?;
        }
        self.even_out(head, value)?;
        Ok(end)
    }

    /// The parser reads whole values and would take the rest of an uneven element for the next
    /// header; such an element becomes text or bytes, whose lengths are free.
    fn even_out(&mut self, head: &Head, value: usize) -> Result<(), ReadError> {
        let width = if self.encoding.explicit {
            std::str::from_utf8(&head.vr).ok().and_then(|t| t.parse().ok()).map_or(1, value_width)
        } else {
            StandardDataDictionary.by_tag(head.tag).map_or(1, |e| value_width(e.vr.relaxed()))
        };
        if head.length.is_multiple_of(width) {
            return Ok(());
        }
        if !self.encoding.explicit {
            return Err(self.malformed(head.tag, value, "its length is no whole number of values"));
        }
        let vr_at = value + 4 - head.size;
        self.bytes[vr_at..vr_at + 2].copy_from_slice(if head.size == 8 { b"LT" } else { b"OB" });
        self.uneven = true;
        Ok(())
    }

    fn is_sequence(&self, head: &Head) -> bool {
        if self.encoding.explicit {
            return &head.vr == b"SQ";
        }
        StandardDataDictionary.by_tag(head.tag).is_some_and(|e| e.vr == VirtualVr::Exact(VR::SQ))
    }

    /// Walks the items of a sequence, up to `end` or to its delimiter.
    fn sequence(
        &mut self,
        head: &Head,
        start: usize,
        end: Option<usize>,
        depth: usize,
    ) -> Result<usize, ReadError> {
        if depth > self.limits.nesting {
            return Err(self.malformed(head.tag, start, "sequences nest deeper than the limit `nesting`"));
        }
        // PS3.5 §6.2.2: UN of undefined length is a sequence in Implicit VR Little Endian.
        let outer = self.encoding;
        if !outer.explicit || &head.vr != b"UN" {
            return self.items(head.tag, start, end, depth);
        }
        self.encoding = Encoding { explicit: false, big: false };
        let result = self.items(head.tag, start, end, depth);
        self.encoding = outer;
        // The parser reads the inside as explicit; with a length it leaves it as bytes. An item
        // that holds it by length stays as long as it was.
        if let Ok(after) = result {
            let length = (after - start) as u32;
            let four = if outer.big { length.to_be_bytes() } else { length.to_le_bytes() };
            self.bytes[start - 4..start].copy_from_slice(&four);
        }
        result
    }

    fn items(
        &mut self,
        tag: Tag,
        start: usize,
        end: Option<usize>,
        depth: usize,
    ) -> Result<usize, ReadError> {
        let mut at = start;
        loop {
            if end.is_some_and(|e| at >= e) {
                return if end == Some(at) {
                    Ok(at)
                } else {
                    Err(self.malformed(tag, at, "an item is longer than its sequence"))
                };
            }
            if !self.have(at, 8)? {
                return Err(self.truncated(tag, at, 8));
            }
            let item = self.head(at)?;
            at += 8;
            match item.tag {
                SEQUENCE_END if end.is_none() => return Ok(at),
                SEQUENCE_END => {}
                ITEM => at = self.item(tag, at, item.length, depth)?,
                _ => return Err(self.malformed(tag, at - 8, "a sequence holds something else than items")),
            }
        }
    }

    fn item(&mut self, tag: Tag, start: usize, length: u32, depth: usize) -> Result<usize, ReadError> {
        let end = (length != UNDEFINED).then_some(start + length as usize);
        if !self.have(start, if end.is_some() { length as usize } else { 8 })? {
            return Err(self.truncated(tag, start, u64::from(length)));
        }
        let mut at = start;
        loop {
            if let Some(end) = end
                && at >= end
            {
                return if at == end {
                    Ok(at)
                } else {
                    Err(self.malformed(tag, at, "an element is longer than its item"))
                };
            }
            if !self.have(at, 8)? {
                return Err(self.truncated(tag, at, 8));
            }
            let head = self.head(at)?;
            if head.tag == ITEM_END {
                at += 8;
                if end.is_none() {
                    return Ok(at);
                }
                continue;
            }
            at = self.skip(&head, at + head.size, depth)?;
        }
    }
}

/// Bytes of one value of a binary VR; 1 for text and bytes.
const fn value_width(vr: VR) -> u32 {
    match vr {
        VR::SS | VR::US | VR::OW => 2,
        VR::AT | VR::FL | VR::OF | VR::OL | VR::SL | VR::UL => 4,
        VR::FD | VR::OD | VR::OV | VR::SV | VR::UV => 8,
        _ => 1,
    }
}

/// VRs whose length takes 16 bits (PS3.5 §7.1.2).
pub(crate) fn is_short(vr: [u8; 2]) -> bool {
    matches!(
        &vr,
        b"AE"
            | b"AS"
            | b"AT"
            | b"CS"
            | b"DA"
            | b"DS"
            | b"DT"
            | b"FL"
            | b"FD"
            | b"IS"
            | b"LO"
            | b"LT"
            | b"PN"
            | b"SH"
            | b"SL"
            | b"SS"
            | b"ST"
            | b"TM"
            | b"UI"
            | b"UL"
            | b"US"
    )
}
