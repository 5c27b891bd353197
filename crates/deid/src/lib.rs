//! What leaves the hospital: pixels and what reading needs, without the patient.
//!
//! The first cut is an allow list, which is stricter than a profile of PS3.15 Annex E: a new object holds the attributes of [`allowed`] and no others, at any depth;
//! UIDs are mapped by a keyed function; what follows the pixel data is left out. The pixels themselves are not looked at: text that is burned into them goes out, and
//! (0012,0063) says so.
//!
//! In reading order: [`PseudonymKey`] is the secret, [`Pseudonymiser`] writes objects.

mod allowed;
mod key;

use std::io::Write;
use std::path::Path;

use dicom_core::value::{DataSetSequence, Value};
use dicom_core::{DataElement, PrimitiveValue, Tag, VR};
use dicom_dictionary_std::tags;
use dicom_object::meta::FileMetaTableBuilder;
use dicom_object::{InMemDicomObject, mem::InMemElement};
use hmac::{Hmac, Mac};
use overread_dicom::read::{self, Limits, Opened, ReadError};
use overread_domain::{ContentHash, Uid};
use sha2::{Digest, Sha256};

pub use allowed::allowed;
pub use key::PseudonymKey;

/// Why an object was not written. Messages hold no value of the original.
#[derive(Debug, thiserror::Error)]
pub enum DeidError {
    /// The original cannot be read.
    #[error("the original cannot be read")]
    Read(#[from] ReadError),
    /// A UID that must be mapped is missing or is none.
    #[error("the original has no valid {name} {tag}")]
    Uid {
        /// Its name.
        name: &'static str,
        /// Its tag.
        tag: Tag,
    },
    /// A picture is no DICOM object.
    #[error("the original is no DICOM object")]
    NotDicom,
    /// The header cannot be encoded.
    #[error("the header cannot be encoded")]
    Encode(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The key's file.
    #[error("{doing} {path}")]
    Key {
        /// What was tried.
        doing: &'static str,
        /// The file.
        path: std::path::PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Writing failed.
    #[error("the pseudonymous object cannot be written")]
    Write(#[source] std::io::Error),
}

/// What was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pseudonymous {
    /// Study Instance UID.
    pub study: Uid,
    /// Series Instance UID.
    pub series: Uid,
    /// SOP Instance UID.
    pub instance: Uid,
    /// SHA-256 of the bytes.
    pub sha256: ContentHash,
    /// How many bytes.
    pub bytes: u64,
}

/// Writes pseudonymous objects. The same original makes the same object.
pub struct Pseudonymiser {
    key: PseudonymKey,
}

const METHOD: &str = "Overread minimal object: attributes of an allow list; pixels not cleaned";

impl Pseudonymiser {
    /// With a site's key.
    pub const fn new(key: PseudonymKey) -> Self {
        Self { key }
    }

    /// The pseudonym of a UID: another key, another pseudonym; without the key there is no way back and no way to try.
    pub fn uid(&self, uid: &Uid) -> Uid {
        // HMAC takes keys of any length.
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(self.key.bytes()) else { return Uid::from_hash([0; 16]) };
        mac.update(b"overread pseudonym 1");
        mac.update(uid.as_str().as_bytes());
        let digest = mac.finalize().into_bytes();
        let mut bits = [0; 16];
        bits.copy_from_slice(&digest[..16]);
        Uid::from_hash(bits)
    }

    /// Writes the pseudonymous object of a file. Memory stays flat, whatever the size of the pixels.
    ///
    /// # Errors
    /// [`DeidError`]: nothing of what was written must be sent.
    pub fn write(&self, original: &Path, out: impl Write, limits: &Limits) -> Result<Pseudonymous, DeidError> {
        let Opened::Dicom(file) = read::open(original, limits)? else { return Err(DeidError::NotDicom) };
        let object = file.dataset().reveal();
        let mapped = |tag, name| uid_of(object, tag).map(|uid| self.uid(&uid)).ok_or(DeidError::Uid { name, tag });
        let study = mapped(tags::STUDY_INSTANCE_UID, "Study Instance UID")?;
        let series = mapped(tags::SERIES_INSTANCE_UID, "Series Instance UID")?;
        let instance = mapped(tags::SOP_INSTANCE_UID, "SOP Instance UID")?;
        let class = uid_of(object, tags::SOP_CLASS_UID).ok_or(DeidError::Uid { name: "SOP Class UID", tag: tags::SOP_CLASS_UID })?;
        let mut small = self.reduced(object);
        let mut put = |tag, vr, value: &str| small.put(DataElement::new(tag, vr, PrimitiveValue::from(value)));
        put(tags::STUDY_INSTANCE_UID, VR::UI, study.as_str());
        put(tags::SERIES_INSTANCE_UID, VR::UI, series.as_str());
        put(tags::SOP_INSTANCE_UID, VR::UI, instance.as_str());
        put(tags::PATIENT_IDENTITY_REMOVED, VR::CS, "YES");
        // No code of CID 7050 in (0012,0064): none of its profiles and options is what was done.
        put(tags::DEIDENTIFICATION_METHOD, VR::LO, METHOD);
        let mut out = Counting { out: std::io::BufWriter::with_capacity(1 << 18, out), hash: Sha256::new(), bytes: 0 };
        let encode = |e: Box<dyn std::error::Error + Send + Sync>| DeidError::Encode(e);
        let meta = FileMetaTableBuilder::new()
            .transfer_syntax(file.copied_syntax())
            .media_storage_sop_class_uid(class.as_str())
            .media_storage_sop_instance_uid(instance.as_str())
            .implementation_class_uid("2.25.80302813137786398554742050926734630921")
            .build()
            .map_err(|e| encode(e.into()))?;
        out.write_all(&[0; 128]).and_then(|()| out.write_all(b"DICM")).map_err(DeidError::Write)?;
        meta.write(&mut out).map_err(|e| encode(e.into()))?;
        let explicit = dicom_transfer_syntax_registry::entries::EXPLICIT_VR_LITTLE_ENDIAN.erased();
        small.write_dataset_with_ts(&mut out, &explicit).map_err(|e| encode(e.into()))?;
        file.copy_pixels(&mut out)?;
        out.out.flush().map_err(DeidError::Write)?;
        Ok(Pseudonymous { study, series, instance, sha256: ContentHash::from_bytes(out.hash.finalize().into()), bytes: out.bytes })
    }

    /// The attributes of the allow list, at every depth.
    fn reduced(&self, object: &InMemDicomObject) -> InMemDicomObject {
        let mut small = InMemDicomObject::new_empty();
        for element in object.iter().filter(|e| allowed(e.header().tag)) {
            if let Some(kept) = self.element(element) {
                small.put(kept);
            }
        }
        small
    }

    fn element(&self, element: &InMemElement) -> Option<InMemElement> {
        let tag = element.header().tag;
        match element.value() {
            Value::Sequence(sequence) => {
                let items: Vec<InMemDicomObject> = sequence.items().iter().map(|item| self.reduced(item)).collect();
                Some(DataElement::new(tag, VR::SQ, DataSetSequence::from(items)))
            }
            Value::Primitive(_) if tag == tags::FRAME_OF_REFERENCE_UID => {
                let uid = Uid::parse(&element.value().to_str().ok()?).ok()?;
                Some(DataElement::new(tag, VR::UI, PrimitiveValue::from(self.uid(&uid).as_str())))
            }
            // Text that anybody could have typed is not on the list; code strings hold what the standard's terms hold, or nothing.
            Value::Primitive(value) if element.vr() == VR::CS => {
                let plain = |t: &str| t.len() <= 16 && t.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || matches!(b, b' ' | b'_'));
                value.to_multi_str().iter().all(|t| plain(t.trim_end_matches(['\0', ' ']))).then(|| element.clone())
            }
            Value::Primitive(_) => Some(element.clone()),
            Value::PixelSequence(_) => None,
        }
    }
}

fn uid_of(object: &InMemDicomObject, tag: Tag) -> Option<Uid> {
    Uid::parse(&object.get(tag)?.value().to_str().ok()?).ok()
}

/// Hashes and counts what goes through.
struct Counting<W: Write> {
    out: std::io::BufWriter<W>,
    hash: Sha256,
    bytes: u64,
}

impl<W: Write> Write for Counting<W> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let n = self.out.write(bytes)?;
        self.hash.update(&bytes[..n]);
        self.bytes += n as u64;
        Ok(n)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.out.flush()
    }
}
