//! What a de-identification profile asks for: the Basic Profile of PS3.15 Annex E, its options, and a site's own
//! exceptions.
//!
//! In reading order: [`ProfileOption`] names the options, [`row`] is Table E.1-1, [`Action`] one of its actions, [`need`]
//! the Types that decide combined ones, `concepts` and `safe` the tables of two options, [`Profile`] the file that a site
//! writes.

mod concepts;
mod file;
mod options;
mod safe;
mod table;
mod types;

pub(crate) use concepts::action as concept_action;
pub(crate) use file::Override;
pub use file::{BurnedIn, Profile, ProfileError, Recognizable, Subject, Unlisted};
pub(crate) use options::BASIC;
pub use options::{ProfileOption, ProfileOptions};
pub(crate) use safe::is_safe;
pub use table::{Action, EDITION, Row, row};
pub use types::{Need, Place, Step, need};
