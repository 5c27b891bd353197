//! The parts of a DICOM file around a data set (PS3.10 §7.1), without the sender's names.

use std::io::{self, Write};

use dicom_core::VR;
use dicom_object::meta::FileMetaTableBuilder;
use overread_dicom::read::PixelExtent;
use overread_domain::{ContentHash, Uid};
use sha2::{Digest, Sha256};

use crate::DeidError;

/// Preamble of zeros and File Meta Information. Source AE titles and private information of the original are not in it.
pub(crate) fn meta(class: &Uid, instance: &Uid, transfer_syntax: &str) -> Result<Vec<u8>, DeidError> {
    let failed = |e| DeidError::Meta(Box::new(e));
    let table = FileMetaTableBuilder::new()
        .media_storage_sop_class_uid(class.as_str())
        .media_storage_sop_instance_uid(instance.as_str())
        .transfer_syntax(transfer_syntax)
        .implementation_class_uid(implementation().as_str())
        .implementation_version_name(concat!("OVERREAD_", env!("CARGO_PKG_VERSION")))
        .build()
        .map_err(failed)?;
    let mut bytes = vec![0; 128];
    bytes.extend_from_slice(b"DICM");
    table.write(&mut bytes).map_err(failed)?;
    Ok(bytes)
}

fn implementation() -> Uid {
    let mut bits = [0; 16];
    bits.copy_from_slice(&Sha256::digest(b"overread-deid implementation")[..16]);
    Uid::from_hash(bits)
}

/// The header of the pixel data: explicit VR, 32-bit length (PS3.5 §7.1.2); undefined for encapsulated ones.
pub(crate) fn pixel_header(extent: &PixelExtent) -> [u8; 12] {
    debug_assert!(matches!(extent.vr, VR::OB | VR::OW | VR::OF | VR::OD));
    let mut header = [0; 12];
    header[..2].copy_from_slice(&extent.tag.group().to_le_bytes());
    header[2..4].copy_from_slice(&extent.tag.element().to_le_bytes());
    header[4..6].copy_from_slice(extent.vr.to_string().as_bytes());
    // A native value's length came from 32 bits.
    let length = extent.length.and_then(|n| u32::try_from(n).ok()).unwrap_or(u32::MAX);
    header[8..].copy_from_slice(&length.to_le_bytes());
    header
}

/// Writes, counts and hashes.
pub(crate) struct Hashed<'a, W> {
    out: &'a mut W,
    hash: Sha256,
    bytes: u64,
}

impl<'a, W: Write> Hashed<'a, W> {
    pub(crate) fn new(out: &'a mut W) -> Self {
        Self { out, hash: Sha256::new(), bytes: 0 }
    }

    pub(crate) fn put(&mut self, bytes: &[u8]) -> Result<(), DeidError> {
        let written: io::Result<()> = self.out.write_all(bytes);
        written.map_err(DeidError::Write)?;
        self.hash.update(bytes);
        self.bytes += bytes.len() as u64;
        Ok(())
    }

    /// Hash and number of the bytes, all handed to the operating system.
    pub(crate) fn finish(self) -> Result<(ContentHash, u64), DeidError> {
        self.out.flush().map_err(DeidError::Write)?;
        Ok((ContentHash::from_bytes(self.hash.finalize().into()), self.bytes))
    }
}
