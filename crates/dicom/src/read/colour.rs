//! Colour spaces of PS3.3 §C.7.6.3.1.2 and palettes, all to RGB.

use dicom_core::Tag;
use dicom_dictionary_std::tags;
use dicom_object::InMemDicomObject;
use overread_domain::Samples;

use super::{ReadError, values};

/// YBR_FULL → RGB in place: 8-bit, interleaved.
pub(crate) fn ybr_full(pixels: &mut [u8]) {
    // Fixed point with 16 bits after the point; the rounding half is added once.
    const HALF: i32 = 1 << 15;
    for p in pixels.as_chunks_mut::<3>().0 {
        let (y, cb, cr) = (i32::from(p[0]) << 16, i32::from(p[1]) - 128, i32::from(p[2]) - 128);
        p[0] = byte((y + 91_881 * cr + HALF) >> 16);
        p[1] = byte((y - 22_554 * cb - 46_802 * cr + HALF) >> 16);
        p[2] = byte((y + 116_130 * cb + HALF) >> 16);
    }
}

/// YBR_PARTIAL (16 to 235 and 240) → RGB in place: 8-bit, interleaved.
pub(crate) fn ybr_partial(pixels: &mut [u8]) {
    const HALF: i32 = 1 << 15;
    for p in pixels.as_chunks_mut::<3>().0 {
        let (y, cb, cr) = ((i32::from(p[0]) - 16) * 76_309, i32::from(p[1]) - 128, i32::from(p[2]) - 128);
        p[0] = byte((y + 104_597 * cr + HALF) >> 16);
        p[1] = byte((y - 25_675 * cb - 53_279 * cr + HALF) >> 16);
        p[2] = byte((y + 132_201 * cb + HALF) >> 16);
    }
}

fn byte(x: i32) -> u8 {
    x.clamp(0, 255) as u8
}

/// A palette of three tables (PS3.3 §C.7.9), expanded if it is segmented.
pub(crate) struct Palette {
    first: i32,
    wide: bool,
    /// Red, green, blue of each entry.
    entries: Vec<[u16; 3]>,
}

/// A table with more entries than 16-bit indices can reach is damaged.
const MOST_ENTRIES: usize = 65_536;

impl Palette {
    /// Reads the palette of an object.
    pub(crate) fn of(object: &InMemDicomObject) -> Result<Self, ReadError> {
        let (first, entries, bits) = descriptor(object)?;
        let table = |data, segmented, name| channel(object, data, segmented, name, entries, bits);
        let red = table(
            tags::RED_PALETTE_COLOR_LOOKUP_TABLE_DATA,
            tags::SEGMENTED_RED_PALETTE_COLOR_LOOKUP_TABLE_DATA,
            "Red Palette Color Lookup Table Data",
        )?;
        let green = table(
            tags::GREEN_PALETTE_COLOR_LOOKUP_TABLE_DATA,
            tags::SEGMENTED_GREEN_PALETTE_COLOR_LOOKUP_TABLE_DATA,
            "Green Palette Color Lookup Table Data",
        )?;
        let blue = table(
            tags::BLUE_PALETTE_COLOR_LOOKUP_TABLE_DATA,
            tags::SEGMENTED_BLUE_PALETTE_COLOR_LOOKUP_TABLE_DATA,
            "Blue Palette Color Lookup Table Data",
        )?;
        let n = red.len().min(green.len()).min(blue.len());
        let entries = (0..n).map(|i| [red[i], green[i], blue[i]]).collect();
        Ok(Self { first, wide: bits > 8, entries })
    }

    /// Indices → RGB: 16-bit where the palette is, else 8-bit.
    pub(crate) fn apply(&self, indices: &Samples) -> Option<Samples> {
        let last = self.entries.len().checked_sub(1)? as i32;
        let at = |i: i32| self.entries[(i.saturating_sub(self.first)).clamp(0, last) as usize];
        let indices: Box<dyn Iterator<Item = i32>> = match indices {
            Samples::U8(v) => Box::new(v.iter().map(|x| i32::from(*x))),
            Samples::I8(v) => Box::new(v.iter().map(|x| i32::from(*x))),
            Samples::U16(v) => Box::new(v.iter().map(|x| i32::from(*x))),
            Samples::I16(v) => Box::new(v.iter().map(|x| i32::from(*x))),
            _ => return None,
        };
        Some(if self.wide {
            Samples::U16(indices.flat_map(at).collect())
        } else {
            Samples::U8(indices.flat_map(|i| at(i).map(|x| x as u8)).collect())
        })
    }

    /// Bits of a channel.
    pub(crate) const fn bits(&self) -> u16 {
        if self.wide { 16 } else { 8 }
    }
}

/// First input value, number of entries, bits of an entry.
fn descriptor(object: &InMemDicomObject) -> Result<(i32, usize, u16), ReadError> {
    let tag = tags::RED_PALETTE_COLOR_LOOKUP_TABLE_DESCRIPTOR;
    let name = "Red Palette Color Lookup Table Descriptor";
    let words = values::words(object, tag).ok_or(ReadError::Missing { tag, name })?;
    let [entries, first, bits] = words[..] else {
        return Err(ReadError::Unusable { tag, name, why: "it has not three values".into() });
    };
    let signed = values::whole(object, tags::PIXEL_REPRESENTATION) == Some(1);
    let first = if signed { i32::from(first as i16) } else { i32::from(first) };
    let entries = if entries == 0 { MOST_ENTRIES } else { usize::from(entries) };
    Ok((first, entries, bits))
}

fn channel(
    object: &InMemDicomObject,
    data: Tag,
    segmented: Tag,
    name: &'static str,
    entries: usize,
    bits: u16,
) -> Result<Vec<u16>, ReadError> {
    let (tag, words, is_segmented) = match (values::words(object, data), values::words(object, segmented)) {
        (Some(words), _) => (data, words, false),
        (None, Some(words)) => (segmented, words, true),
        (None, None) => return Err(ReadError::Missing { tag: data, name }),
    };
    let unusable = |why: &str| ReadError::Unusable { tag, name, why: why.into() };
    // 8-bit entries come two to a word (PS3.3 §C.7.6.3.1.6), or, wrongly, one to a word.
    let packed = bits <= 8 && (is_segmented || words.len() < entries);
    let values: Vec<u16> =
        if packed { words.iter().flat_map(|w| w.to_le_bytes()).map(u16::from).collect() } else { words };
    let table = if is_segmented {
        expand(&values, bits <= 8, entries).ok_or_else(|| unusable("its segments are wrong"))?
    } else {
        values
    };
    if table.len() < entries {
        return Err(unusable(&format!("it has {} entries and its descriptor says {entries}", table.len())));
    }
    let mut table = table;
    table.truncate(entries);
    // 8-bit values that a sender spread over 16-bit words keep their high byte where the low is its copy or zero.
    if bits <= 8 && table.iter().any(|v| *v > 255) {
        table.iter_mut().for_each(|v| *v >>= 8);
    }
    Ok(table)
}

/// Expands a segmented table (PS3.3 §C.7.9.2): discrete, linear and indirect segments.
fn expand(values: &[u16], narrow: bool, entries: usize) -> Option<Vec<u16>> {
    let mut out: Vec<u16> = Vec::with_capacity(entries);
    let mut starts = Vec::new();
    let mut at = 0;
    while at + 2 <= values.len() && out.len() < entries {
        starts.push(at);
        at = segment(values, at, &starts, narrow, entries, &mut out, true)?;
    }
    Some(out)
}

/// Expands the segment at `at` and returns where the next one starts.
fn segment(
    values: &[u16],
    at: usize,
    starts: &[usize],
    narrow: bool,
    entries: usize,
    out: &mut Vec<u16>,
    indirect: bool,
) -> Option<usize> {
    let (code, n) = (*values.get(at)?, usize::from(*values.get(at + 1)?));
    match code {
        0 => {
            out.extend_from_slice(values.get(at + 2..at + 2 + n)?);
            Some(at + 2 + n)
        }
        1 => {
            let (from, to) = (f64::from(*out.last()?), f64::from(*values.get(at + 2)?));
            out.extend((1..=n).map(|i| (from + (to - from) * i as f64 / n as f64).round() as u16));
            Some(at + 3)
        }
        2 if indirect => {
            let words: Vec<usize> = values
                .get(at + 2..at + if narrow { 6 } else { 4 })?
                .iter()
                .map(|v| usize::from(*v))
                .collect();
            let offset = if narrow {
                words.iter().rev().fold(0, |sum, byte| sum << 8 | byte)
            } else {
                words[0] | words[1] << 16
            };
            // An indirect segment repeats segments, never indirect ones; each names where one starts.
            let first = starts.binary_search(&offset).ok()?;
            for start in starts.get(first..first + n)? {
                if out.len() > entries {
                    break;
                }
                segment(values, *start, starts, narrow, entries, out, false)?;
            }
            Some(at + if narrow { 6 } else { 4 })
        }
        _ => None,
    }
}
