//! An original file → a minimal pseudonymous one, streamed.

use std::io::{self, Write};
use std::path::Path;

use dicom_core::{Tag, VR};
use dicom_dictionary_std::tags;
use dicom_object::InMemDicomObject;
use dicom_object::meta::FileMetaTableBuilder;
use dicom_transfer_syntax_registry::entries::EXPLICIT_VR_LITTLE_ENDIAN;
use overread_dicom::read::{DicomFile, Limits, Opened, PixelExtent, open};
use overread_domain::{ContentHash, Uid};
use sha2::{Digest, Sha256};

use crate::minimal::{Uids, minimal};
use crate::values::texts;
use crate::{DeidError, PseudonymKey, UidKind};

/// SOP classes of the standard lie under this root (PS3.6 Annex A).
const STANDARD_ROOT: &str = "1.2.840.10008.";

/// Makes pseudonymous objects under one key.
pub struct Pseudonymiser {
    key: PseudonymKey,
    implementation: Uid,
}

/// A pseudonymous object that was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pseudonymous {
    /// Pseudonymous SOP Instance UID.
    pub instance: Uid,
    /// Pseudonymous Series Instance UID.
    pub series: Uid,
    /// Pseudonymous Study Instance UID.
    pub study: Uid,
    /// SHA-256 of the bytes that were written.
    pub sha256: ContentHash,
    /// How many bytes.
    pub bytes: u64,
    /// Burned In Annotation (0028,0301): whether the original says that its pixels tell who the patient is. None where
    /// it does not say; then nobody has looked.
    pub burned_in: Option<bool>,
}

impl Pseudonymiser {
    /// Takes the key.
    pub fn new(key: PseudonymKey) -> Self {
        let mut bits = [0; 16];
        bits.copy_from_slice(&Sha256::digest(b"overread-deid implementation")[..16]);
        Self { key, implementation: Uid::from_hash(bits) }
    }

    /// The pseudonym of a UID.
    pub fn uid(&self, kind: UidKind, original: &Uid) -> Uid {
        self.key.uid(kind, original)
    }

    /// Writes the minimal pseudonymous object of an original file: a DICOM Part 10 file, explicit VR little endian, with
    /// the pixel data in the original's transfer syntax if they are compressed. The same original and key give the same
    /// bytes. Memory does not grow with the pixel data: they go through 64 KiB at a time.
    ///
    /// Pixels are not looked at: text that is burned in, and comments inside compressed streams, leave with them.
    ///
    /// # Errors
    /// [`DeidError`]: the original cannot be read, has no pixels, is cut short (the tag is named), lacks a UID, or the
    /// output cannot be written. What was written until then is no object and must be thrown away.
    pub fn write(
        &self,
        original: &Path,
        out: &mut impl Write,
        limits: &Limits,
    ) -> Result<Pseudonymous, DeidError> {
        match open(original, limits)? {
            Opened::Dicom(file) => self.write_opened(&file, out),
            Opened::Photograph(_) => Err(DeidError::Photograph),
        }
    }

    /// As [`Self::write`], of a file that is open already.
    ///
    /// # Errors
    /// As [`Self::write`].
    pub fn write_opened(&self, file: &DicomFile, out: &mut impl Write) -> Result<Pseudonymous, DeidError> {
        let original = file.dataset().reveal();
        // All lengths are checked before the first byte is written.
        let extent = file.pixel_data_extent()?;
        let uids = self.uids(original)?;
        let object = minimal(original, &uids, extent.frames);
        let mut head = self.meta(&uids, &extent)?;
        object
            .write_dataset_with_ts(&mut head, &EXPLICIT_VR_LITTLE_ENDIAN.erased())
            .map_err(|e| DeidError::Encode(Box::new(e)))?;
        head.extend_from_slice(&pixel_header(&extent));
        let mut out = Hashed { out, hash: Sha256::new(), bytes: 0 };
        out.put(&head)?;
        file.copy_pixel_data(|bytes| out.put(bytes))?;
        out.out.flush().map_err(DeidError::Write)?;
        let burned_in = match object.get(tags::BURNED_IN_ANNOTATION).and_then(|e| e.to_str().ok()).as_deref()
        {
            Some("YES") => Some(true),
            Some("NO") => Some(false),
            _ => None,
        };
        Ok(Pseudonymous {
            instance: uids.instance,
            series: uids.series,
            study: uids.study,
            sha256: ContentHash::from_bytes(out.hash.finalize().into()),
            bytes: out.bytes,
            burned_in,
        })
    }

    fn uids(&self, original: &InMemDicomObject) -> Result<Uids, DeidError> {
        let read = |tag| texts(original, tag).and_then(|t| Uid::parse(t.first()?).ok());
        let needed = |tag: Tag, name| read(tag).ok_or(DeidError::Uid { name, tag });
        let mapped = |kind, tag, name| needed(tag, name).map(|uid| self.uid(kind, &uid));
        let class = needed(tags::SOP_CLASS_UID, "SOP Class UID")?;
        if !class.as_str().starts_with(STANDARD_ROOT) {
            return Err(DeidError::PrivateClass);
        }
        Ok(Uids {
            class,
            instance: mapped(UidKind::Instance, tags::SOP_INSTANCE_UID, "SOP Instance UID")?,
            series: mapped(UidKind::Series, tags::SERIES_INSTANCE_UID, "Series Instance UID")?,
            study: mapped(UidKind::Study, tags::STUDY_INSTANCE_UID, "Study Instance UID")?,
            frame_of_reference: read(tags::FRAME_OF_REFERENCE_UID)
                .map(|uid| self.uid(UidKind::FrameOfReference, &uid)),
        })
    }

    /// Preamble and File Meta Information (PS3.10 §7.1), without the sender's names.
    fn meta(&self, uids: &Uids, extent: &PixelExtent) -> Result<Vec<u8>, DeidError> {
        let failed = |e| DeidError::Meta(Box::new(e));
        let table = FileMetaTableBuilder::new()
            .media_storage_sop_class_uid(uids.class.as_str())
            .media_storage_sop_instance_uid(uids.instance.as_str())
            .transfer_syntax(extent.transfer_syntax.as_str())
            .implementation_class_uid(self.implementation.as_str())
            .implementation_version_name(concat!("OVERREAD_", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(failed)?;
        let mut bytes = vec![0; 128];
        bytes.extend_from_slice(b"DICM");
        table.write(&mut bytes).map_err(failed)?;
        Ok(bytes)
    }
}

/// The header of the pixel data: explicit VR, 32-bit length (PS3.5 §7.1.2); undefined for encapsulated ones.
fn pixel_header(extent: &PixelExtent) -> [u8; 12] {
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

struct Hashed<'a, W> {
    out: &'a mut W,
    hash: Sha256,
    bytes: u64,
}

impl<W: Write> Hashed<'_, W> {
    fn put(&mut self, bytes: &[u8]) -> Result<(), DeidError> {
        let written: io::Result<()> = self.out.write_all(bytes);
        written.map_err(DeidError::Write)?;
        self.hash.update(bytes);
        self.bytes += bytes.len() as u64;
        Ok(())
    }
}
