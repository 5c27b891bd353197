//! The start of a file: preamble, File Meta Information (PS3.10 §7.1), and which transfer syntax
//! the data set really has.

use dicom_core::VR;

use super::scan::{Encoding, is_short};
use super::syntax::{BIG, BIG_UID, DEFLATED_UID, EXPLICIT, EXPLICIT_UID, IMPLICIT, IMPLICIT_UID, Syntax};
use super::{ReadError, Tolerance, source::Source};

/// What the start of a file tells.
pub(crate) struct Start {
    /// Where the data set starts, before inflating.
    pub(crate) data_set: u64,
    pub(crate) syntax: Syntax,
    pub(crate) sop_class: Option<String>,
    pub(crate) sop_instance: Option<String>,
    pub(crate) tolerances: Vec<Tolerance>,
}

/// Meta groups are some hundred bytes; private information may make one longer.
const META_LIMIT: usize = 1 << 20;

/// Reads the start of a DICOM file; `None` if nothing looks like DICOM.
pub(crate) fn start(source: &Source) -> Result<Option<Start>, ReadError> {
    let mut head = vec![0; 64 * 1024];
    let n = read(source, 0, &mut head)?;
    head.truncate(n);
    let mut tolerances = Vec::new();
    let at = if head.get(128..132) == Some(b"DICM") {
        132
    } else {
        tolerances.push(Tolerance::NoPreamble);
        if head.starts_with(b"DICM") { 4 } else { 0 }
    };
    let meta = Meta::read(source, at)?;
    if !meta.found {
        tolerances.push(Tolerance::NoMetaGroup);
    }
    let mut first = [0; 16];
    let n = read(source, meta.end, &mut first)?;
    let seen = looks_like(&first[..n]);
    let named = meta.syntax.filter(|uid| uid.starts_with("1."));
    let syntax = match (named, seen) {
        (None, None) if at == 0 && !meta.found => return Ok(None),
        (None, None) => guess_deflated(source, meta.end)?,
        (None, Some(encoding)) => Some(Syntax::of(uid_of(encoding))),
        (Some(uid), seen) => {
            let mut syntax = Syntax::of(&uid);
            let plain = seen.filter(|s| *s != syntax.encoding || syntax.deflated);
            if let Some(encoding) = plain.filter(|_| n > 0) {
                tolerances.push(Tolerance::WrongTransferSyntax);
                if syntax.deflated {
                    syntax = Syntax::of(uid_of(encoding));
                }
                syntax.encoding = encoding;
            }
            return Ok(Some(meta_start(meta.end, syntax, meta.sop_class, meta.sop_instance, tolerances)));
        }
    };
    let Some(syntax) = syntax else { return Ok(None) };
    if meta.found {
        tolerances.push(Tolerance::NoTransferSyntax);
    }
    Ok(Some(meta_start(meta.end, syntax, meta.sop_class, meta.sop_instance, tolerances)))
}

fn meta_start(
    data_set: u64,
    syntax: Syntax,
    sop_class: Option<String>,
    sop_instance: Option<String>,
    tolerances: Vec<Tolerance>,
) -> Start {
    Start { data_set, syntax, sop_class, sop_instance, tolerances }
}

fn read(source: &Source, at: u64, out: &mut [u8]) -> Result<usize, ReadError> {
    source.read_at(at, out).map_err(|source| ReadError::Io { doing: "read the start of the file", source })
}

const fn uid_of(encoding: Encoding) -> &'static str {
    match encoding {
        Encoding { big: true, .. } => BIG_UID,
        Encoding { explicit: true, .. } => EXPLICIT_UID,
        Encoding { .. } => IMPLICIT_UID,
    }
}

/// How the element at the start of `bytes` seems to be written.
fn looks_like(bytes: &[u8]) -> Option<Encoding> {
    let head: [u8; 8] = bytes.get(..8)?.try_into().ok()?;
    let (little, big) = (u16::from_le_bytes([head[0], head[1]]), u16::from_be_bytes([head[0], head[1]]));
    let vr = std::str::from_utf8(&head[4..6]).ok().and_then(|t| t.parse::<VR>().ok());
    if vr.is_some() {
        // The smaller reading of the group is right: the first groups of a data set are small.
        return Some(if little <= big { EXPLICIT } else { BIG });
    }
    let length = u32::from_le_bytes([head[4], head[5], head[6], head[7]]);
    let plausible =
        matches!(little, 0x0002 | 0x0004 | 0x0008 | 0x0010 | 0x0018 | 0x0020 | 0x0028) && length < 1 << 20;
    plausible.then_some(IMPLICIT)
}

/// A data set that looks like nothing may be deflated.
fn guess_deflated(source: &Source, at: u64) -> Result<Option<Syntax>, ReadError> {
    let mut packed = [0; 4096];
    let n = read(source, at, &mut packed)?;
    let mut out = [0; 16];
    let mut decoder = flate2::read::DeflateDecoder::new(&packed[..n]);
    let inflates = std::io::Read::read_exact(&mut decoder, &mut out).is_ok();
    Ok((inflates && looks_like(&out) == Some(EXPLICIT)).then(|| Syntax::of(DEFLATED_UID)))
}

#[derive(Default)]
struct Meta {
    found: bool,
    end: u64,
    syntax: Option<String>,
    sop_class: Option<String>,
    sop_instance: Option<String>,
}

impl Meta {
    /// Reads elements of group 2 from `at` on; the group's own length is not believed.
    fn read(source: &Source, at: u64) -> Result<Self, ReadError> {
        let mut bytes = vec![0; META_LIMIT];
        let n = read(source, at, &mut bytes)?;
        bytes.truncate(n);
        let mut meta = Self { end: at, ..Self::default() };
        let mut position = 0;
        while let Some((element, value, next)) = meta_element(&bytes, position) {
            meta.found = true;
            let text = || {
                let text = String::from_utf8_lossy(value);
                text.trim_matches(['\0', ' ']).to_owned()
            };
            match element {
                0x0002 => meta.sop_class = Some(text()),
                0x0003 => meta.sop_instance = Some(text()),
                0x0010 => meta.syntax = Some(text()),
                _ => {}
            }
            position = next;
        }
        meta.end = at + position as u64;
        Ok(meta)
    }
}

/// One element of group 2: its number, its value, and where the next one starts.
fn meta_element(bytes: &[u8], at: usize) -> Option<(u16, &[u8], usize)> {
    let head = bytes.get(at..at + 8)?;
    if head[..2] != [2, 0] {
        return None;
    }
    let element = u16::from_le_bytes([head[2], head[3]]);
    let vr = [head[4], head[5]];
    let long = |four: &[u8]| Some(u32::from_le_bytes(four.try_into().ok()?) as usize);
    let (value, length) = if is_short(vr) {
        (at + 8, usize::from(u16::from_le_bytes([head[6], head[7]])))
    } else if vr.iter().all(u8::is_ascii_uppercase) {
        (at + 12, long(bytes.get(at + 8..at + 12)?)?)
    } else {
        (at + 8, long(&head[4..8])?)
    };
    let end = value.checked_add(length)?;
    Some((element, bytes.get(value..end)?, end))
}
