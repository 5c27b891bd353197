//! What leaves the hospital: pixels and what reading needs, without the patient.
//!
//! Everything leaves through a [`Gate`]: text goes from the pixels, the object is made, and both are looked at again. Two ways, under one secret ([`key`]):
//!
//! - [`Pseudonymiser`] makes the minimal object that goes to the service. It is an allow list and no confidentiality profile: an
//!   attribute that the list does not name is not in the result, at whatever depth. Beside it, [`facts`] are the coded values that
//!   matching gets. Inside: `allow` is the list, `values` how each value is made anew, `names` what must not be repeated.
//! - [`Deidentifier`] makes a copy for others by a [`profile`] of PS3.15 Annex E; [`Folder`] writes such copies as files, [`report`]
//!   tells the site what was done. Inside: `engine` does what the profile asks for, `identity` knows what tells who the patient is,
//!   `look` and `repeats` search what goes out for it, `risk` knows pixels by their headers.
//!
//! Beside them, [`vault`] seals what stays: each patient's originals under a key of their own, which can be destroyed.
//!
//! It knows no network and no findings.

mod allow;
mod deidentify;
mod engine;
mod error;
pub mod facts;
mod folder;
mod gate;
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
pub mod vault;

pub use deidentify::{Deidentifier, Verdict};
pub use engine::statement::Pixels;
pub use error::DeidError;
pub use facts::Facts;
pub use folder::Folder;
pub use gate::{Codec, Detection, Eyes, Gate, GateError, Leaving, Left, Look, Looks, PixelWork, Policy};
pub use key::{PseudonymKey, UidKind};
pub use profile::Profile;
pub use pseudonym::{Pseudonymiser, Pseudonymous};
