//! An original file → a minimal pseudonymous one, streamed.

use std::collections::HashSet;
use std::io::Write;
use std::path::Path;

use dicom_core::Tag;
use dicom_dictionary_std::tags;
use dicom_object::InMemDicomObject;
use dicom_transfer_syntax_registry::entries::EXPLICIT_VR_LITTLE_ENDIAN;
use overread_dicom::read::{DicomFile, Limits, Opened, open};
use overread_domain::{ContentHash, Laterality, Uid};

use crate::engine::statement::{self, Pixels};
use crate::identity::{self, Words};
use crate::look::{self, Lookout};
use crate::minimal::{About, Uids, minimal};
use crate::part10::{self, Hashed};
use crate::values::{is_standard_uid, texts};
use crate::{DeidError, PseudonymKey, UidKind, repeats, risk};

/// Makes pseudonymous objects under one key.
pub struct Pseudonymiser {
    key: PseudonymKey,
    lookout: Lookout,
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
        Self { key, lookout: Lookout::default() }
    }

    /// The pseudonym of a UID.
    pub fn uid(&self, kind: UidKind, original: &Uid) -> Uid {
        self.key.uid(kind, original)
    }

    /// Writes the minimal pseudonymous object of an original file: a DICOM Part 10 file, explicit VR little endian, with
    /// the pixel data in the original's transfer syntax if they are compressed. The same original and key give the same
    /// bytes. Memory does not grow with the pixel data: they go through 64 KiB at a time.
    ///
    /// Pixels are not looked at: text that is burned in, and comments inside compressed streams, leave with them. The
    /// [`Gate`](crate::Gate) looks at them.
    ///
    /// # Errors
    /// [`DeidError`]: the original cannot be read, has no pixels, is cut short (the tag is named), lacks a UID, what was
    /// written repeats what identifies the original, or the output cannot be written. What was written until then is no object and must be thrown away.
    pub fn write(
        &self,
        original: &Path,
        out: &mut impl Write,
        limits: &Limits,
    ) -> Result<Pseudonymous, DeidError> {
        match open(original, limits)? {
            Opened::Dicom(file) => self.write_opened(&file, out),
            Opened::Photograph(_) | Opened::Slide(_) => Err(DeidError::Photograph),
        }
    }

    /// As [`Self::write`], of a file that is open already.
    ///
    /// # Errors
    /// As [`Self::write`].
    pub fn write_opened(&self, file: &DicomFile, out: &mut impl Write) -> Result<Pseudonymous, DeidError> {
        let (written, found) = self.write_seen(file, Pixels::Unseen, out)?;
        match found.into_iter().next() {
            None => Ok(written),
            Some(found) => Err(DeidError::Repeats { found }),
        }
    }

    /// Writes the object, says in it what is known of its pixels, and looks at the bytes: what of the original is found in
    /// them, as sentences. Then the object must not leave.
    pub(crate) fn write_seen(
        &self,
        file: &DicomFile,
        pixels: Pixels,
        out: &mut impl Write,
    ) -> Result<(Pseudonymous, Vec<String>), DeidError> {
        let original = file.dataset().reveal();
        // All lengths are checked before the first byte is written.
        let extent = file.pixel_data_extent()?;
        let uids = self.uids(original)?;
        let face = risk::shows_face(original, uids.class.as_str());
        let side = file.header().laterality.as_deref().and_then(Laterality::parse);
        let about = About { frames: extent.frames, compressed: extent.length.is_none(), pixels, face, side };
        let object = minimal(original, &uids, &about);
        let mut head = part10::meta(&uids.class, &uids.instance, &extent.transfer_syntax)?;
        object
            .write_dataset_with_ts(&mut head, &EXPLICIT_VR_LITTLE_ENDIAN.erased())
            .map_err(|e| DeidError::Encode(Box::new(e)))?;
        head.extend_from_slice(&part10::pixel_header(&extent));
        let facts = identity::facts(original, &|_| false);
        let own = statement::own_texts(&object);
        let mut look = self.lookout.look(&facts, look::charset(original), &own, &HashSet::new());
        let mut out = Hashed::new(out);
        look.take(&head);
        out.put(&head)?;
        look.pixels_start(extent.length.unwrap_or(u64::from(extent.frames) << 20));
        file.copy_pixel_data(|bytes| {
            look.take(bytes);
            out.put(bytes)
        })?;
        let (sha256, bytes) = out.finish()?;
        let mut found = repeats::reasons(&object, &Words::of(&facts));
        found.extend(look.finish().iter().map(ToString::to_string));
        let burned_in = match object.get(tags::BURNED_IN_ANNOTATION).and_then(|e| e.to_str().ok()).as_deref()
        {
            Some("YES") => Some(true),
            Some("NO") => Some(false),
            _ => None,
        };
        let Uids { instance, series, study, .. } = uids;
        Ok((Pseudonymous { instance, series, study, sha256, bytes, burned_in }, found))
    }

    fn uids(&self, original: &InMemDicomObject) -> Result<Uids, DeidError> {
        let read = |tag| texts(original, tag).and_then(|t| Uid::parse(t.first()?).ok());
        let needed = |tag: Tag, name| read(tag).ok_or(DeidError::Uid { name, tag });
        let mapped = |kind, tag, name| needed(tag, name).map(|uid| self.uid(kind, &uid));
        let class = needed(tags::SOP_CLASS_UID, "SOP Class UID")?;
        if !is_standard_uid(class.as_str()) {
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
}
