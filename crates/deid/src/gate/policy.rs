//! What is done about pixels.

use crate::Profile;
use crate::profile::{BurnedIn, Recognizable};

/// What is done about pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Text that is burned in.
    pub pixels: BurnedIn,
    /// Faces that can be rendered from a volume.
    pub recognizable: Recognizable,
    /// Whether Tesseract reads what would go out.
    pub second_look: bool,
    /// Text was removed from the originals already: the objects say so, and nothing looks at their pixels.
    pub cleaned_elsewhere: bool,
}

impl Default for Policy {
    /// Text is removed and looked for again; heads are quarantined.
    fn default() -> Self {
        Self {
            pixels: BurnedIn::Clean,
            recognizable: Recognizable::Quarantine,
            second_look: true,
            cleaned_elsewhere: false,
        }
    }
}

impl Policy {
    /// Pixels leave as they are and nothing looks at them.
    pub const AS_IS: Self = Self {
        pixels: BurnedIn::Keep,
        recognizable: Recognizable::Keep,
        second_look: false,
        cleaned_elsewhere: false,
    };

    /// What a profile asks for.
    pub const fn of(profile: &Profile, second_look: bool) -> Self {
        Self {
            pixels: profile.burned_in(),
            recognizable: profile.recognizable(),
            second_look,
            cleaned_elsewhere: false,
        }
    }
}
