//! What leaves the hospital: pixels and what reading needs, without the patient.
//!
//! In reading order: [`key`] is the secret that pseudonyms hang on, [`Pseudonymiser`] turns an original DICOM file
//! into a minimal pseudonymous one, [`facts`] are the coded values that matching gets beside it. Inside: `allow` is
//! the list of attributes that may leave, `values` how each value is made anew, `names` what must not be repeated.
//!
//! This is an allow list and no confidentiality profile of PS3.15: an attribute that the list does not name is not in
//! the result, at whatever depth, private or standard. It knows no network and no findings.

mod allow;
mod deidentify;
mod engine;
mod error;
pub mod facts;
mod identity;
pub mod key;
mod look;
mod minimal;
mod names;
mod part10;
pub mod pixels;
pub mod profile;
mod pseudonym;
mod repeats;
pub mod report;
mod risk;
mod values;

pub use deidentify::{Deidentifier, Verdict};
pub use engine::statement::Pixels;
pub use error::DeidError;
pub use facts::Facts;
pub use key::{PseudonymKey, UidKind};
pub use profile::Profile;
pub use pseudonym::{Pseudonymiser, Pseudonymous};
