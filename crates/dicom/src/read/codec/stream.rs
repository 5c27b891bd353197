//! Markers of JPEG, JPEG-LS and JPEG 2000 streams: what kind it is, and the size and depth it claims.

use overread_domain::GridSize;

/// What a compressed frame says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct StreamInfo {
    pub(crate) kind: StreamKind,
    pub(crate) size: GridSize,
    pub(crate) components: u16,
    pub(crate) precision: u16,
}

/// The kind of a stream, with what only that kind has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StreamKind {
    /// Lossy JPEG.
    Jpeg {
        /// What the stream says of its colour.
        colour: JpegColour,
    },
    /// Lossless JPEG (process 14).
    JpegLossless,
    /// JPEG-LS; planes one after the other unless interleaved.
    JpegLs { interleaved: bool },
    /// JPEG 2000 or HTJ2K.
    Jpeg2000 { levels: u32, signed: bool },
}

/// Whether a JPEG stream itself tells how colour is coded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum JpegColour {
    /// Adobe marker with transform 0, or component ids `R`, `G`, `B`.
    Rgb,
    /// Adobe marker with transform 1, or a JFIF marker.
    YCbCr,
    /// Nothing: the photometric interpretation decides.
    Unsaid,
}

/// Reads the markers of a compressed frame; the error says what is missing.
pub(crate) fn inspect(bytes: &[u8]) -> Result<StreamInfo, String> {
    match bytes {
        [0xFF, 0xD8, ..] => jpeg(bytes),
        [0xFF, 0x4F, 0xFF, 0x51, ..] => jpeg2000(bytes),
        // A JP2 file inside a fragment: against PS3.5 §8.2.4, but common.
        [0, 0, 0, 0x0C, b'j', b'P', ..] => {
            let start = bytes.windows(4).position(|w| w == [0xFF, 0x4F, 0xFF, 0x51]);
            jpeg2000(&bytes[start.ok_or("the JP2 file holds no codestream")?..])
        }
        _ => Err("the frame starts with no JPEG or JPEG 2000 marker".to_owned()),
    }
}

fn be16(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

fn be32(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn jpeg(bytes: &[u8]) -> Result<StreamInfo, String> {
    let cut = || "the JPEG header is cut short".to_owned();
    let (mut adobe, mut jfif) = (None, false);
    let mut frame: Option<(u8, &[u8])> = None;
    let mut at = 2;
    loop {
        let marker = match bytes.get(at..at + 2).ok_or_else(cut)? {
            [0xFF, 0xFF] => {
                at += 1;
                continue;
            }
            [0xFF, m] => *m,
            _ => return Err("something else than a marker in the JPEG header".to_owned()),
        };
        at += 2;
        if matches!(marker, 0x01 | 0xD0..=0xD8) {
            continue;
        }
        let length = usize::from(be16(bytes, at).ok_or_else(cut)?);
        let body = bytes.get(at + 2..at + length).ok_or_else(cut)?;
        match marker {
            0xC0..=0xC3 | 0xC5..=0xC7 | 0xC9..=0xCB | 0xCD..=0xCF | 0xF7 => frame = Some((marker, body)),
            0xEE if body.starts_with(b"Adobe") => adobe = body.get(11).copied(),
            0xE0 if body.starts_with(b"JFIF\0") => jfif = true,
            0xDA => {
                return jpeg_info(frame.ok_or("the JPEG stream has no frame header")?, body, adobe, jfif)
                    .ok_or_else(cut);
            }
            0xD9 => return Err("the JPEG stream ends before its first scan".to_owned()),
            _ => {}
        }
        at += length;
    }
}

fn jpeg_info((marker, body): (u8, &[u8]), scan: &[u8], adobe: Option<u8>, jfif: bool) -> Option<StreamInfo> {
    let precision = u16::from(*body.first()?);
    let size = GridSize::new(u32::from(be16(body, 3)?), u32::from(be16(body, 1)?));
    let components = u16::from(*body.get(5)?);
    let kind = match marker {
        0xF7 => {
            let in_scan = usize::from(*scan.first()?);
            StreamKind::JpegLs { interleaved: *scan.get(2 + in_scan * 2)? != 0 }
        }
        0xC3 => StreamKind::JpegLossless,
        _ => {
            let ids: Option<Vec<u8>> =
                (0..usize::from(components)).map(|i| body.get(6 + i * 3).copied()).collect();
            let colour = match adobe {
                Some(0) => JpegColour::Rgb,
                Some(_) => JpegColour::YCbCr,
                None if jfif => JpegColour::YCbCr,
                None if ids? == *b"RGB" => JpegColour::Rgb,
                None => JpegColour::Unsaid,
            };
            StreamKind::Jpeg { colour }
        }
    };
    Some(StreamInfo { kind, size, components, precision })
}

/// A JPEG 2000 codestream without what follows its end marker: the decoder takes padding for damage.
pub(crate) fn without_padding(bytes: &[u8]) -> &[u8] {
    let end = bytes.windows(2).rposition(|w| w == [0xFF, 0xD9]);
    end.map_or(bytes, |at| &bytes[..at + 2])
}

/// SIZ and the decomposition levels of COD and COC (ISO/IEC 15444-1 Annex A).
fn jpeg2000(bytes: &[u8]) -> Result<StreamInfo, String> {
    jpeg2000_info(bytes).ok_or_else(|| "the JPEG 2000 header is cut short or wrong".to_owned())
}

fn jpeg2000_info(bytes: &[u8]) -> Option<StreamInfo> {
    let corner = |at| be32(bytes, at);
    let columns = corner(8)?.checked_sub(corner(16)?)?;
    let rows = corner(12)?.checked_sub(corner(20)?)?;
    let components = be16(bytes, 40)?;
    let depth = *bytes.get(42)?;
    let mut levels: Option<u32> = None;
    let mut at = 4 + usize::from(be16(bytes, 4)?);
    loop {
        let marker = be16(bytes, at)?;
        if marker == 0xFF90 || marker == 0xFFD9 {
            break;
        }
        let length = usize::from(be16(bytes, at + 2)?);
        let here = match marker {
            0xFF52 => Some(*bytes.get(at + 9)?),
            0xFF53 => Some(*bytes.get(at + if components < 257 { 6 } else { 7 })?),
            _ => None,
        };
        if let Some(n) = here {
            levels = Some(levels.map_or(u32::from(n), |l| l.min(u32::from(n))));
        }
        at += 2 + length.max(2);
    }
    let kind = StreamKind::Jpeg2000 { levels: levels?.min(32), signed: depth & 0x80 != 0 };
    let precision = u16::from(depth & 0x7F) + 1;
    Some(StreamInfo { kind, size: GridSize::new(columns, rows), components, precision })
}
