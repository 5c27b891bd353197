//! The one way out: original file → an object that may leave, or the reasons why it must not.
//!
//! In reading order: a [`Policy`] says what is done about pixels, [`Looks`] which images of a study they are looked at in, a
//! [`Gate`] does it all with one file: header risks, text out of the pixels, the object by the minimal list or by a profile, a look
//! at its bytes, and Tesseract's look at its pixels. What comes back is [`Left`] or a list of reasons. `workers` keeps what takes time
//! to open.

mod error;
mod left;
mod looks;
mod pixels;
mod policy;
mod workers;

use std::fs::File;
use std::path::Path;

use dicom_dictionary_std::tags as t;
use dicom_object::InMemDicomObject;
use overread_dicom::read::{DicomFile, Limits, Opened, ReadError, open};
use overread_domain::Uid;

pub use error::GateError;
use left::Counted;
pub use left::{Leaving, Left, PixelWork};
pub use looks::{Look, Looks};
pub use policy::Policy;
pub use workers::{Codec, Detection};
use workers::{Worker, Workers};

use crate::engine::mapped_uid;
use crate::engine::statement::Pixels;
use crate::identity::{self, Fact};
use crate::pixels::second_look::SecondLook;
use crate::profile::{BurnedIn, Profile, ProfileOption};
use crate::report::Change;
use crate::values::texts;
use crate::{DeidError, Deidentifier, PseudonymKey, Pseudonymiser, UidKind, Verdict, risk};

/// How the header is made.
enum Way {
    Minimal(Pseudonymiser),
    Profile(Box<Deidentifier>),
}

/// The one function through which everything goes that leaves. It may be used by several threads at once.
pub struct Gate {
    way: Way,
    policy: Policy,
    limits: Limits,
    workers: Workers,
    second_look: Option<SecondLook>,
}

/// What a gate looks at pixels with.
pub struct Eyes {
    /// Finds text; needed to clean pixels.
    pub detection: Option<Detection>,
    /// Tesseract; needed where the policy asks for a second look.
    pub second_look: Option<SecondLook>,
    /// Decodes compressed pixels.
    pub codec: Codec,
}

impl Gate {
    /// A gate for minimal objects.
    ///
    /// # Errors
    /// [`GateError::Missing`]: the policy asks for eyes that are not there.
    pub fn minimal(key: PseudonymKey, policy: Policy, eyes: Eyes, limits: Limits) -> Result<Self, GateError> {
        Self::new(Way::Minimal(Pseudonymiser::new(key)), policy, eyes, limits)
    }

    /// A gate for objects by a profile of PS3.15 Annex E. What the policy says of pixels holds, whatever the profile says.
    ///
    /// # Errors
    /// [`GateError::Missing`]: the policy asks for eyes that are not there.
    pub fn by_profile(
        profile: Profile,
        key: PseudonymKey,
        policy: Policy,
        eyes: Eyes,
        limits: Limits,
    ) -> Result<Self, GateError> {
        let profile = Profile { burned_in: policy.pixels, recognizable: policy.recognizable, ..profile };
        Self::new(Way::Profile(Box::new(Deidentifier::new(profile, key))), policy, eyes, limits)
    }

    fn new(way: Way, policy: Policy, eyes: Eyes, limits: Limits) -> Result<Self, GateError> {
        let policy = if policy.cleaned_elsewhere { Policy { second_look: false, ..policy } } else { policy };
        let cleans = policy.pixels == BurnedIn::Clean && !policy.cleaned_elsewhere;
        if cleans && eyes.detection.is_none() {
            return Err(GateError::Missing { what: "ONNX Runtime, which runs the text detector," });
        }
        if policy.second_look && eyes.second_look.is_none() {
            return Err(GateError::Missing { what: "Tesseract, the second look at pixels," });
        }
        let second_look = eyes.second_look.filter(|_| policy.second_look);
        let detection = eyes.detection.filter(|_| cleans);
        Ok(Self { way, policy, limits, workers: Workers::new(detection, eyes.codec), second_look })
    }

    /// What it does about pixels.
    pub const fn policy(&self) -> Policy {
        self.policy
    }

    /// The UID under which a study leaves.
    pub fn study(&self, original: &Uid) -> Uid {
        self.uid(UidKind::Study, original)
    }

    /// The UID under which something leaves; its own where the profile retains UIDs.
    pub fn uid(&self, kind: UidKind, original: &Uid) -> Uid {
        match &self.way {
            Way::Minimal(pseudonymiser) => pseudonymiser.uid(kind, original),
            Way::Profile(it) if it.profile().options().has(ProfileOption::RetainUids) => original.clone(),
            Way::Profile(it) => Uid::parse(&mapped_uid(it.key(), kind, original.as_str()))
                .unwrap_or_else(|_| it.key().uid(kind, original)),
        }
    }

    /// The series of an original whose pixels are looked at only in a sample of it ([`Look::Sampled`]); none if they are looked at in
    /// any case, or if nothing looks at pixels.
    ///
    /// # Errors
    /// [`DeidError`]: the original cannot be read.
    pub fn sampled_series(&self, original: &Path) -> Result<Option<String>, DeidError> {
        if self.policy.cleaned_elsewhere
            || self.second_look.is_none() && self.policy.pixels != BurnedIn::Clean
        {
            return Ok(None);
        }
        let Opened::Dicom(file) = open(original, &self.limits)? else { return Ok(None) };
        let original = file.dataset().reveal();
        let class = texts(original, t::SOP_CLASS_UID).unwrap_or_default().concat();
        let series = texts(original, t::SERIES_INSTANCE_UID).and_then(|uids| uids.into_iter().next());
        Ok(series.filter(|_| risk::is_plain_slice(original, &class)))
    }

    /// Makes the object of an original file that may leave, in the file `out`; beside it lies for a while what is cleaned. The
    /// same original, key, policy and look give the same bytes.
    ///
    /// # Errors
    /// [`GateError`]: the original cannot be read or lacks a UID, or something of this machine failed. Then, and when it is
    /// quarantined, what lies in `out` must be thrown away.
    pub fn pass(&self, original: &Path, look: Look, out: &Path) -> Result<Leaving, GateError> {
        match open(original, &self.limits)? {
            Opened::Dicom(file) => self.pass_opened(&file, look, out),
            Opened::Photograph(_) | Opened::Slide(_) => Err(DeidError::Photograph.into()),
        }
    }

    fn pass_opened(&self, file: &DicomFile, look: Look, out: &Path) -> Result<Leaving, GateError> {
        let original = file.dataset().reveal();
        let class = texts(original, t::SOP_CLASS_UID).unwrap_or_default().concat();
        let has_pixels = match file.opaque_pixel_data_extent() {
            Ok(_) => true,
            Err(ReadError::NoPixels) => false,
            Err(other) => return Err(DeidError::from(other).into()),
        };
        if !has_pixels {
            return self.write(file, original, None, PixelWork::none(), out);
        }
        let reasons = self.refusals(original, &class);
        if !reasons.is_empty() {
            return Ok(Leaving::Quarantined(reasons));
        }
        if self.policy.cleaned_elsewhere {
            let work = PixelWork { frames: file.header().frames, ..PixelWork::default() };
            return self.write(file, original, Some(Pixels::Cleaned), work, out);
        }
        let facts = identity::facts(original, &|tag| self.retains(tag));
        let looked = look == Look::Closely || !risk::is_plain_slice(original, &class);
        self.workers.with(|worker| self.through(worker, file, &facts, looked, out))
    }

    /// An object with pixels that nothing in the header forbids.
    fn through(
        &self,
        worker: &mut Worker,
        file: &DicomFile,
        facts: &[Fact],
        looked: bool,
        out: &Path,
    ) -> Result<Leaving, GateError> {
        let original = file.dataset().reveal();
        let cleaned = match worker.clean(file, looked, out)? {
            pixels::Step::Done(cleaned) => cleaned,
            pixels::Step::Quarantined(reasons) => return Ok(Leaving::Quarantined(reasons)),
        };
        let file = cleaned.file.as_ref().unwrap_or(file);
        let mut leaving = self.write(file, original, Some(cleaned.state), cleaned.work, out)?;
        let (Leaving::Clean(left), Some(tesseract), true) = (&mut leaving, &self.second_look, looked) else {
            return Ok(leaving);
        };
        let read = worker.read_again(tesseract, out, &identity::readable(facts))?;
        left.pixels.read_again = read.frames;
        if read.reasons.is_empty() { Ok(leaving) } else { Ok(Leaving::Quarantined(read.reasons)) }
    }

    /// What the header alone forbids.
    fn refusals(&self, original: &InMemDicomObject, class: &str) -> Vec<String> {
        let mut reasons = Vec::new();
        match self.policy.pixels {
            _ if self.policy.cleaned_elsewhere => {}
            BurnedIn::Keep => {}
            BurnedIn::Clean => reasons.extend(risk::of_label(original, class)),
            BurnedIn::Quarantine => reasons.extend(risk::of_pixels(original, class, BurnedIn::Quarantine)),
        }
        reasons.extend(risk::of_face(original, class, self.policy.recognizable));
        reasons
    }

    /// The object of what may be cleaned, and what was done on the way from the original.
    fn write(
        &self,
        file: &DicomFile,
        original: &InMemDicomObject,
        pixels: Option<Pixels>,
        work: PixelWork,
        out: &Path,
    ) -> Result<Leaving, GateError> {
        let mut to = Counted::new(File::create(out).map_err(DeidError::Write)?);
        let state = pixels.unwrap_or_default();
        let (study, series, instance, changes, found) = match &self.way {
            Way::Minimal(pseudonymiser) => {
                let (it, found) = pseudonymiser.write_seen(file, state, &mut to)?;
                (it.study, it.series, it.instance, None, found)
            }
            Way::Profile(deidentifier) => match deidentifier.write_opened(file, state, &mut to)? {
                Verdict::Written(it) => (it.study, it.series, it.instance, Some(it.changes), Vec::new()),
                Verdict::Quarantined(reasons) => return Ok(Leaving::Quarantined(reasons)),
            },
        };
        if !found.is_empty() {
            return Ok(Leaving::Quarantined(found));
        }
        let (sha256, bytes) = to.finish()?;
        let changes = match changes {
            Some(changes) => changes,
            None => compared(original, out)?,
        };
        let residual_risks = residual(original, pixels);
        let left = Left { study, series, instance, sha256, bytes, changes, pixels: work, residual_risks };
        Ok(Leaving::Clean(Box::new(left)))
    }

    fn retains(&self, tag: dicom_core::Tag) -> bool {
        match &self.way {
            Way::Minimal(_) => false,
            Way::Profile(deidentifier) => deidentifier.retains(tag),
        }
    }
}

/// What of an original that has pixels still tells something of the patient.
fn residual(original: &InMemDicomObject, pixels: Option<Pixels>) -> Vec<&'static str> {
    let Some(pixels) = pixels else { return Vec::new() };
    let class = texts(original, t::SOP_CLASS_UID).unwrap_or_default().concat();
    let seen = match pixels {
        Pixels::Unseen => Some(left::UNSEEN),
        Pixels::Sampled => Some(left::SAMPLED),
        Pixels::Cleaned => None,
    };
    seen.into_iter().chain(risk::shows_face(original, &class).then_some(left::FACE)).collect()
}

/// What became of the attributes of an original on the way into a minimal object.
fn compared(original: &InMemDicomObject, out: &Path) -> Result<Vec<Change>, GateError> {
    match open(out, &pixels::ours())? {
        Opened::Dicom(file) => Ok(left::changes(original, file.dataset().reveal())),
        Opened::Photograph(_) | Opened::Slide(_) => Ok(Vec::new()),
    }
}
