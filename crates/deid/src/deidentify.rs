//! An original file → a de-identified one by a profile, streamed, and looked at a second time.

use std::io::Write;
use std::path::Path;

use dicom_core::{DataElement, Tag, VR};
use dicom_dictionary_std::tags as t;
use dicom_object::InMemDicomObject;
use dicom_transfer_syntax_registry::entries::EXPLICIT_VR_LITTLE_ENDIAN;
use overread_dicom::read::{DicomFile, Limits, Opened, PixelExtent, ReadError, open};
use overread_domain::Uid;

use crate::engine::Engine;
use crate::engine::statement::{self, Pixels};
use crate::identity::{self, Fact, Words};
use crate::look::{self, Lookout, Search};
use crate::part10;
use crate::profile::{Action, Override, Profile, Step, row};
use crate::report::Written;
use crate::values::{is_standard_uid, texts};
use crate::{DeidError, PseudonymKey, repeats, risk};

/// De-identifies objects by a profile, under one key.
///
/// The same original, profile and key give the same bytes. UIDs are mapped one by one, so that references meet their
/// targets across objects; dates of a patient move by the same number of days everywhere.
pub struct Deidentifier {
    profile: Profile,
    key: PseudonymKey,
    lookout: Lookout,
}

/// What became of an original.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The object was written.
    Written(Written),
    /// It must not leave: the reasons. What was written must be thrown away.
    Quarantined(Vec<String>),
}

impl Deidentifier {
    /// Takes profile and key.
    pub fn new(profile: Profile, key: PseudonymKey) -> Self {
        Self { profile, key, lookout: Lookout::default() }
    }

    /// The key.
    pub(crate) fn key(&self) -> &PseudonymKey {
        &self.key
    }

    /// The profile.
    pub fn profile(&self) -> &Profile {
        &self.profile
    }

    /// Writes the de-identified object of an original file: a DICOM Part 10 file, explicit VR little endian, text in UTF-8,
    /// compressed pixel data as they were. Memory does not grow with the pixel data: they go through 64 KiB at a time.
    ///
    /// # Errors
    /// [`DeidError`]: the original cannot be read, lacks a UID, or the output cannot be written.
    pub fn write(
        &self,
        original: &Path,
        pixels: Pixels,
        limits: &Limits,
        out: &mut impl Write,
    ) -> Result<Verdict, DeidError> {
        match open(original, limits)? {
            Opened::Dicom(file) => self.write_opened(&file, pixels, out),
            Opened::Photograph(_) | Opened::Slide(_) => Err(DeidError::Photograph),
        }
    }

    /// As [`Self::write`], of a file that is open already.
    ///
    /// # Errors
    /// As [`Self::write`].
    pub fn write_opened(
        &self,
        file: &DicomFile,
        pixels: Pixels,
        out: &mut impl Write,
    ) -> Result<Verdict, DeidError> {
        let original = file.dataset().reveal();
        let extent = match file.opaque_pixel_data_extent() {
            Ok(extent) => Some(extent),
            Err(ReadError::NoPixels) => None,
            Err(other) => return Err(other.into()),
        };
        let class = required(original, t::SOP_CLASS_UID, "SOP Class UID")?;
        if !is_standard_uid(class.as_str()) {
            return Err(DeidError::PrivateClass);
        }
        if extent.is_some() && pixels == Pixels::Unseen {
            let reasons = risk::of_pixels(original, class.as_str(), self.profile.burned_in);
            if !reasons.is_empty() {
                return Ok(Verdict::Quarantined(reasons));
            }
        }
        let facts = identity::facts(original, &|tag| self.retains(tag));
        let words = Words::of(&facts);
        let mut engine = Engine::new(&self.profile, &self.key, &words, original);
        let mut object = engine.whole(original, class.as_str());
        let compressed = extent.as_ref().is_some_and(|e| e.length.is_none());
        let faces = extent.is_some() && risk::shows_face(original, class.as_str());
        statement::put(&mut object, &self.profile, extent.is_some().then_some(pixels), compressed, faces);
        put_character_set(&mut object, original);
        let mut reasons = repeats::reasons(&object, &words);
        let Engine { changes, dates, .. } = engine;
        let written = Outgoing { file, object: &object, class: &class, extent: extent.as_ref() };
        let (mut written, found) = self.stream(&written, original, &facts, &dates, out)?;
        reasons.extend(found);
        if !reasons.is_empty() {
            return Ok(Verdict::Quarantined(reasons));
        }
        written.changes = changes.list();
        Ok(Verdict::Written(written))
    }

    /// Writes the object and looks at what is written.
    fn stream(
        &self,
        outgoing: &Outgoing<'_>,
        original: &InMemDicomObject,
        facts: &[Fact],
        meant: &std::collections::HashSet<String>,
        out: &mut impl Write,
    ) -> Result<(Written, Vec<String>), DeidError> {
        let Outgoing { file, object, class, extent } = outgoing;
        let study = required(object, t::STUDY_INSTANCE_UID, "Study Instance UID")?;
        let series = required(object, t::SERIES_INSTANCE_UID, "Series Instance UID")?;
        let instance = required(object, t::SOP_INSTANCE_UID, "SOP Instance UID")?;
        let syntax = extent.map_or(EXPLICIT_VR_LITTLE_ENDIAN.uid(), |e| e.transfer_syntax.as_str());
        let mut head = part10::meta(class, &instance, syntax)?;
        object
            .write_dataset_with_ts(&mut head, &EXPLICIT_VR_LITTLE_ENDIAN.erased())
            .map_err(|e| DeidError::Encode(Box::new(e)))?;
        let own = statement::own_texts(object);
        let mut look = self.lookout.look(facts, look::charset(original), &own, meant);
        let mut bytes = 0;
        let mut put = |piece: &[u8], look: &mut Search| {
            look.take(piece);
            bytes += piece.len() as u64;
            out.write_all(piece).map_err(DeidError::Write)
        };
        put(&head, &mut look)?;
        if let Some(extent) = extent {
            put(&part10::pixel_header(extent), &mut look)?;
            look.pixels_start(extent.length.unwrap_or(u64::from(extent.frames) << 20));
            file.copy_pixel_data(|piece| put(piece, &mut look))?;
        }
        out.flush().map_err(DeidError::Write)?;
        let found = look.finish().iter().map(ToString::to_string).collect();
        Ok((Written { study, series, instance, bytes, changes: Vec::new() }, found))
    }

    /// Whether an attribute stays by the profile's word: then its value is no find.
    pub(crate) fn retains(&self, tag: Tag) -> bool {
        match self.profile.overrides.get(&tag) {
            Some(exception) => *exception == Override::Step(Step::Keep),
            None => row(tag).is_some_and(|row| row.action(self.profile.options) == Action::Keep),
        }
    }
}

struct Outgoing<'a> {
    file: &'a DicomFile,
    object: &'a InMemDicomObject,
    class: &'a Uid,
    extent: Option<&'a PixelExtent>,
}

fn required(object: &InMemDicomObject, tag: Tag, name: &'static str) -> Result<Uid, DeidError> {
    let value = texts(object, tag).and_then(|t| Uid::parse(t.first()?).ok());
    value.ok_or(DeidError::Uid { name, tag })
}

/// Text is written as UTF-8 where the original named a character set or has more than ASCII.
fn put_character_set(object: &mut InMemDicomObject, original: &InMemDicomObject) {
    if original.get(t::SPECIFIC_CHARACTER_SET).is_some() || repeats::is_beyond_ascii(object) {
        object.put(DataElement::new(t::SPECIFIC_CHARACTER_SET, VR::CS, "ISO_IR 192"));
    }
}
