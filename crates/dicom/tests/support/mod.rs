//! What the reader's tests share: the tools, a codec host, and DICOM files built by hand.

#![allow(dead_code, reason = "each test file uses its own part of it")]

use std::path::{Path, PathBuf};
use std::time::Duration;

use overread_dicom::read::{CodecHost, CodecLimits};

/// The folder that `./x setup` fills.
pub fn tools() -> PathBuf {
    let default = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.tools");
    let tools = std::env::var_os("OVERREAD_TOOLS").map_or(default, PathBuf::from);
    assert!(
        tools.join("venv/bin/python").exists(),
        "{} holds no Python environment; run ./x setup, or name the folder in OVERREAD_TOOLS",
        tools.display()
    );
    tools
}

/// The codec process of this crate.
pub fn codec_program() -> PathBuf {
    PathBuf::from(env!("CARGO_BIN_EXE_overread-codec"))
}

/// A host with limits that fit tests.
pub fn host() -> CodecHost {
    let wall = Duration::from_secs(60);
    CodecHost::new(codec_program(), Vec::new(), CodecLimits { memory_bytes: 2 << 30, cpu_seconds: 30, wall })
}

/// A DICOM file in the making: explicit VR little endian, with a meta group.
pub struct Dicom {
    pub bytes: Vec<u8>,
}

impl Dicom {
    /// A file with preamble and meta group.
    pub fn new(transfer_syntax: &str) -> Self {
        let mut file = Self { bytes: vec![0; 128] };
        file.bytes.extend_from_slice(b"DICM");
        file.put(2, 0x10, b"UI", transfer_syntax.as_bytes());
        file.put(8, 0x16, b"UI", b"1.2.840.10008.5.1.4.1.1.7");
        file
    }

    /// Appends an element; text is padded.
    pub fn put(&mut self, group: u16, element: u16, vr: &[u8; 2], value: &[u8]) -> &mut Self {
        let mut value = value.to_vec();
        if value.len() % 2 == 1 {
            value.push(if vr == b"UI" || vr == b"OB" { 0 } else { b' ' });
        }
        self.head(group, element, vr, value.len() as u32);
        self.bytes.extend_from_slice(&value);
        self
    }

    /// Appends a header alone.
    pub fn head(&mut self, group: u16, element: u16, vr: &[u8; 2], length: u32) -> &mut Self {
        self.bytes.extend_from_slice(&group.to_le_bytes());
        self.bytes.extend_from_slice(&element.to_le_bytes());
        self.bytes.extend_from_slice(vr);
        if matches!(vr, b"OB" | b"OW" | b"OF" | b"OD" | b"SQ" | b"UN" | b"UT" | b"OV") {
            self.bytes.extend_from_slice(&[0, 0]);
            self.bytes.extend_from_slice(&length.to_le_bytes());
        } else {
            self.bytes.extend_from_slice(&(length as u16).to_le_bytes());
        }
        self
    }

    /// Appends an unsigned short.
    pub fn us(&mut self, group: u16, element: u16, value: u16) -> &mut Self {
        self.put(group, element, b"US", &value.to_le_bytes())
    }

    /// Appends a greyscale Image Pixel module.
    pub fn grey(&mut self, columns: u16, rows: u16, allocated: u16, stored: u16, signed: bool) -> &mut Self {
        self.us(0x28, 2, 1).put(0x28, 4, b"CS", b"MONOCHROME2").us(0x28, 0x10, rows).us(0x28, 0x11, columns);
        self.us(0x28, 0x100, allocated).us(0x28, 0x101, stored).us(0x28, 0x102, stored - 1).us(
            0x28,
            0x103,
            signed.into(),
        )
    }

    /// Appends encapsulated pixel data with an empty offset table.
    pub fn encapsulated(&mut self, fragments: &[&[u8]]) -> &mut Self {
        self.head(0x7FE0, 0x10, b"OB", u32::MAX);
        let mut item = |value: &[u8]| {
            self.bytes.extend_from_slice(&[0xFE, 0xFF, 0x00, 0xE0]);
            self.bytes.extend_from_slice(&(value.len() as u32).to_le_bytes());
            self.bytes.extend_from_slice(value);
        };
        item(&[]);
        fragments.iter().for_each(|f| item(f));
        self.bytes.extend_from_slice(&[0xFE, 0xFF, 0xDD, 0xE0, 0, 0, 0, 0]);
        self
    }
}
