//! The words of Overread as types, without IO, DICOM, HTTP or databases.
//!
//! In reading order: [`code`] and [`uid`] name things as the standards do, [`identity`] keeps a
//! patient's identity from being printed, [`image`] is a picture with everything needed to show it,
//! [`lut`] turns its stored values into modality and display values, [`finding`] is what a reader says of it, [`case`] is
//! what is known of a study that a program reads, [`digest`] names content, [`moment`] is time, [`checkup`] is what an examination of an
//! installation says, [`causes`] tells errors.

pub mod case;
pub mod causes;
pub mod checkup;
pub mod code;
pub mod digest;
pub mod finding;
pub mod identity;
pub mod image;
pub mod lut;
pub mod moment;
pub mod uid;

pub use case::{AgeBand, CaseEvent, CaseState, IllegalTransition, Laterality, Priority, ReleaseMode, Sex};
pub use causes::sentence;
pub use checkup::{Check, Side, Verdict};
pub use code::CodedConcept;
pub use digest::ContentHash;
pub use finding::{
    BodySide, Decision, EditionId, Explanation, Finding, NotAssessed, Probability, ValueKind, sided,
};
pub use identity::Identified;
pub use image::{
    Channels, GridSize, ImageGrid, Photometric, PixelSpacing, Plane, PlaneGeometry, Region, Samples,
};
pub use lut::{LookupTable, ModalityTransform, VoiTransform, WindowFunction};
pub use moment::{Clock, Millis};
pub use uid::Uid;
