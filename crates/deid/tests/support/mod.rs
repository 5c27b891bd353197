//! What the tests share: real originals, a codec host, and originals built by hand.

#![allow(dead_code, reason = "each test file uses its own part of it")]

use std::path::{Path, PathBuf};
use std::time::Duration;

use overread_deid::{DeidError, PseudonymKey, Pseudonymiser, Pseudonymous};
use overread_dicom::read::{CodecHost, CodecLimits, Limits};

/// The folder that `./x setup` fills.
pub fn tools() -> PathBuf {
    let default = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.tools");
    std::env::var_os("OVERREAD_TOOLS").map_or(default, PathBuf::from)
}

/// Every file of pydicom's tests and of pydicom-data.
pub fn originals() -> Vec<PathBuf> {
    let lib = tools().join("venv/lib");
    let pythons = std::fs::read_dir(&lib).unwrap_or_else(|e| panic!("{}: {e}; run ./x setup", lib.display()));
    let pydicom = pythons
        .map(|p| p.unwrap().path().join("site-packages/pydicom/data/test_files"))
        .find(|p| p.is_dir())
        .unwrap_or_else(|| panic!("no pydicom under {}; run ./x setup", lib.display()));
    let mut files = Vec::new();
    for folder in [pydicom, tools().join("samples/data_store/data")] {
        let entries = std::fs::read_dir(&folder);
        let entries = entries.unwrap_or_else(|e| panic!("{}: {e}; run ./x setup", folder.display()));
        files.extend(entries.map(|e| e.unwrap().path()).filter(|p| p.is_file()));
    }
    files.sort();
    files
}

/// The example beside the tests that runs the codecs.
pub fn host() -> CodecHost {
    let program = std::env::current_exe().unwrap().parent().unwrap().join("../examples/codec");
    let wall = Duration::from_secs(60);
    CodecHost::new(program, Vec::new(), CodecLimits { memory_bytes: 2 << 30, cpu_seconds: 30, wall })
}

pub fn pseudonymiser(seed: u8) -> Pseudonymiser {
    Pseudonymiser::new(PseudonymKey::from_bytes([seed; 32]))
}

/// The pseudonymous object of an original, in memory.
pub fn write(seed: u8, original: &Path) -> Result<(Pseudonymous, Vec<u8>), DeidError> {
    let mut bytes = Vec::new();
    let about = pseudonymiser(seed).write(original, &mut bytes, &Limits::default())?;
    Ok((about, bytes))
}

/// The same of an original that is in memory.
pub fn write_bytes(original: &[u8]) -> Result<(Pseudonymous, Vec<u8>), DeidError> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("original");
    std::fs::write(&path, original).unwrap();
    write(1, &path)
}

/// Whether `needle` occurs in `bytes`.
pub fn holds(bytes: &[u8], needle: &[u8]) -> bool {
    bytes.windows(needle.len()).any(|w| w == needle)
}

pub const EXPLICIT: &str = "1.2.840.10008.1.2.1";
pub const RLE: &str = "1.2.840.10008.1.2.5";

/// A DICOM file in the making, in explicit VR little endian.
pub struct Dicom(pub Vec<u8>);

impl Dicom {
    /// Preamble and meta group.
    pub fn new(transfer_syntax: &str) -> Self {
        let mut file = Self(vec![0; 128]);
        file.0.extend_from_slice(b"DICM");
        file.put(0x0002_0010, b"UI", transfer_syntax.as_bytes());
        file
    }

    /// The UIDs of an object of the standard's MR class.
    pub fn uids(&mut self) -> &mut Self {
        self.put(0x0008_0016, b"UI", b"1.2.840.10008.5.1.4.1.1.4").put(0x0008_0018, b"UI", b"1.9.3")
    }

    /// Study and series.
    pub fn study(&mut self) -> &mut Self {
        self.put(0x0020_000D, b"UI", b"1.9.1").put(0x0020_000E, b"UI", b"1.9.2")
    }

    /// Appends an element; an odd value is padded.
    pub fn put(&mut self, tag: u32, vr: &[u8; 2], value: &[u8]) -> &mut Self {
        let mut value = value.to_vec();
        if value.len() % 2 == 1 {
            value.push(if vr == b"UI" || vr == b"OB" { 0 } else { b' ' });
        }
        self.head(tag, vr, value.len() as u32);
        self.0.extend_from_slice(&value);
        self
    }

    /// Appends a header alone.
    pub fn head(&mut self, tag: u32, vr: &[u8; 2], length: u32) -> &mut Self {
        self.0.extend_from_slice(&((tag >> 16) as u16).to_le_bytes());
        self.0.extend_from_slice(&(tag as u16).to_le_bytes());
        self.0.extend_from_slice(vr);
        if matches!(vr, b"OB" | b"OW" | b"SQ" | b"UN" | b"UT") {
            self.0.extend_from_slice(&[0, 0]);
            self.0.extend_from_slice(&length.to_le_bytes());
        } else {
            self.0.extend_from_slice(&(length as u16).to_le_bytes());
        }
        self
    }

    /// Appends an unsigned short.
    pub fn us(&mut self, tag: u32, value: u16) -> &mut Self {
        self.put(tag, b"US", &value.to_le_bytes())
    }

    /// Appends a sequence of one item.
    pub fn item(&mut self, tag: u32, fill: impl FnOnce(&mut Dicom)) -> &mut Self {
        let mut inside = Dicom(Vec::new());
        fill(&mut inside);
        let mut item = vec![0xFE, 0xFF, 0x00, 0xE0];
        item.extend_from_slice(&(inside.0.len() as u32).to_le_bytes());
        item.extend_from_slice(&inside.0);
        self.put(tag, b"SQ", &item)
    }

    /// Appends a greyscale Image Pixel module.
    pub fn grey(&mut self, columns: u16, rows: u16, allocated: u16, stored: u16) -> &mut Self {
        self.us(0x0028_0002, 1).put(0x0028_0004, b"CS", b"MONOCHROME2");
        self.us(0x0028_0010, rows).us(0x0028_0011, columns);
        self.us(0x0028_0100, allocated).us(0x0028_0101, stored).us(0x0028_0102, stored - 1).us(0x0028_0103, 0)
    }

    /// Appends the items of encapsulated pixel data, without a delimiter.
    pub fn fragments(&mut self, items: &[&[u8]]) -> &mut Self {
        self.head(0x7FE0_0010, b"OB", u32::MAX);
        for value in items {
            self.0.extend_from_slice(&[0xFE, 0xFF, 0x00, 0xE0]);
            self.0.extend_from_slice(&(value.len() as u32).to_le_bytes());
            self.0.extend_from_slice(value);
        }
        self
    }
}
