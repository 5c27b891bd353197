//! The versioned messages between edge and service.
//!
//! In reading order: a [`StudyManifest`] goes out with the study, a [`ResultMessage`] comes home, [`Link`] carries both,
//! [`paths`] are its HTTP addresses, and an [`EnrolmentCode`] lets an edge in. Everything here is pseudonymous: there is no field that could hold a name or a date of birth.
//!
//! Findings cross the wire, finished documents do not. Knows neither storage nor identity.

mod digest;
mod enrol;
mod link;
pub mod paths;
mod result;
mod study;

pub use enrol::{EnrolAnswer, EnrolRequest, EnrolmentCode, RenewRequest};
pub use link::{Cursor, Link, LinkError, ResultPage};
pub use result::{AlgorithmReference, CaptureReference, ResultMessage};
pub use study::{InstanceEntry, StudyManifest};

/// Implements `digest` of a message.
pub(crate) use digest::digest;

/// The version of the messages: the first field of each. Within a version fields are added, never renamed or removed.
pub const VERSION: u32 = 1;

/// A message of another version, or one that contradicts itself.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum MessageError {
    /// Made by a newer or older Overread.
    #[error(
        "the message is of version {found}, this side speaks {VERSION}; bring both sides to the same release"
    )]
    Version {
        /// The version it states.
        found: u32,
    },
    /// A field that the others contradict.
    #[error("{field}: {problem}")]
    Field {
        /// The field.
        field: &'static str,
        /// What is wrong.
        problem: String,
    },
}
