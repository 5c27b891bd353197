//! Making DICOM objects: structured reports, secondary captures, parametric maps, wrapped photographs.
//!
//! In reading order: [`source`] is the study a result belongs to, [`identity`] names the result and
//! the algorithm, [`stamp`] is its time; [`report`] makes the Comprehensive 3D SR, [`capture`] the
//! secondary capture beside it, [`filing`] makes both at once, [`rejection`] withdraws those of an earlier version;
//! [`parametric_map`] makes the map of a finding over a slide, with [`plane`] for where it lies and [`specimen`] for what it is of;
//! [`wrap`] and [`ophthalmic`] turn a plain picture into a DICOM image, [`photograph`] the file of one, [`slide`] a scanner's file into one a level. Below them:
//! `object` (what those of a result share), [`codes`], [`anatomy`], `content` and `templates` (PS3.16), `modules` (PS3.3), `elements`, `text` and `charset` (PS3.5).
//!
//! Writers are strict: what cannot be said validly is an error, or is left out where the standard
//! allows that. Everything is written as explicit VR little endian, text as UTF-8 (`ISO_IR 192`).

pub mod anatomy;
pub mod capture;
mod charset;
pub mod codes;
mod content;
mod elements;
pub mod filing;
pub mod identity;
mod modules;
mod object;
pub mod ophthalmic;
pub mod parametric_map;
pub mod photograph;
pub mod plane;
pub mod rejection;
pub mod report;
pub mod slide;
pub mod source;
pub mod specimen;
pub mod stamp;
mod templates;
mod text;
pub mod wrap;

use dicom_core::Tag;
use overread_domain::Uid;

pub use capture::Capture;
pub use elements::{DicomFile, to_part10};
pub use filing::{FiledCapture, Filing, documents};
pub use identity::{Algorithm, ResultIdentity};
pub use ophthalmic::EyeDevice;
pub use parametric_map::ParametricMap;
pub use photograph::{PhotographError, PhotographKind};
pub use plane::SlidePlane;
pub use rejection::{rejection_note, rejection_reference};
pub use report::{Release, Report, VisualExplanation};
pub use slide::{SlideError, SlideWrap, wrap_slide};
pub use source::{InstanceReference, SourceContext, SourceImage};
pub use specimen::LossyCompression;
pub use stamp::Stamp;
pub use wrap::{ContentUids, DxGeometry, GreyPixels, RgbPixels, WrapHeader};

/// Why an object was not written. No message holds a value from a patient's header.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The source lacks an attribute that the result cannot go without.
    #[error("the source has no {name} {tag}")]
    Missing {
        /// The attribute's name.
        name: &'static str,
        /// Its tag.
        tag: Tag,
    },
    /// A UID of the source is not a UID.
    #[error("the source's {name} {tag} is not a UID")]
    NotAUid {
        /// The attribute's name.
        name: &'static str,
        /// Its tag.
        tag: Tag,
        /// What is wrong with it.
        source: overread_domain::uid::UidError,
    },
    /// An image of another study was added to a source.
    #[error("image {instance} belongs to another study than the source's first image")]
    OtherStudy {
        /// SOP Instance UID of the image.
        instance: Uid,
    },
    /// The pixel buffer does not fit the size that was given for it.
    #[error("{columns}x{rows} pixels need {expected} samples, the buffer has {found}")]
    PixelCount {
        /// Columns.
        columns: u32,
        /// Rows.
        rows: u32,
        /// Samples that would fit.
        expected: u64,
        /// Samples that were given.
        found: u64,
    },
    /// Rows (0028,0010) and Columns (0028,0011) are 1 to 65535.
    #[error("a DICOM image has 1 to 65535 rows and columns, not {columns}x{rows}")]
    ImageSize {
        /// Columns.
        columns: u32,
        /// Rows.
        rows: u32,
    },
    /// A value that DICOM has no place for.
    #[error("{name} {tag}: {problem}")]
    Value {
        /// The attribute's name.
        name: &'static str,
        /// Its tag.
        tag: Tag,
        /// What is wrong.
        problem: String,
    },
    /// A report that says nothing: no finding, and no reason why nothing was assessed.
    #[error("a report needs a finding, or the reason why the study was not assessed")]
    EmptyReport,
    /// Two captures of one result under one label.
    #[error("two captures are called {label:?}; they would be one object")]
    SameLabel {
        /// The label.
        label: String,
    },
    /// A rejection note that lists nothing.
    #[error("a rejection note needs an object to withdraw")]
    NothingWithdrawn,
    /// A study that was not assessed has no finding that was.
    #[error("the study was not assessed, yet finding {label:?} has a decision")]
    Contradiction {
        /// Label of the finding.
        label: String,
    },
    /// The file meta group could not be made.
    #[error("making the file meta group of {instance}")]
    Meta {
        /// SOP Instance UID of the object.
        instance: String,
        /// The library's reason.
        source: Box<dicom_object::WithMetaError>,
    },
    /// The object could not be encoded.
    #[error("encoding {instance}")]
    Encode {
        /// SOP Instance UID of the object.
        instance: String,
        /// The library's reason.
        source: Box<dicom_object::WriteError>,
    },
}
