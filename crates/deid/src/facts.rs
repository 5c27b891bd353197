//! What goes beside a study's objects, as coded values: no date, no name, no age to the year of an adult.

use overread_domain::{AgeBand, Laterality, Sex};

use crate::values::code;

/// What the header of one original says.
#[derive(Clone, Copy, Debug, Default)]
pub struct Stated<'a> {
    /// Years at the study, from Patient's Age (0010,1010), else from birth date and study date.
    pub age_years: Option<f64>,
    /// Patient's Sex (0010,0040).
    pub sex: Option<Sex>,
    /// Image Laterality (0020,0062), else Laterality (0020,0060).
    pub laterality: &'a str,
    /// View Position (0018,5101).
    pub view: &'a str,
}

/// Coded values of one image, or of a study where all its images agree.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// The patient's age at the study.
    pub age_band: Option<AgeBand>,
    /// The patient's sex.
    pub sex: Option<Sex>,
    /// The side.
    pub laterality: Option<Laterality>,
    /// The view, a valid code string.
    pub view: Option<String>,
}

/// The facts of a study: each value where all images agree on it. No images, no facts.
pub fn facts<'a>(images: impl IntoIterator<Item = Stated<'a>>) -> Facts {
    let agree = |a: Facts, b: Facts| Facts {
        age_band: both(a.age_band, b.age_band),
        sex: both(a.sex, b.sex),
        laterality: both(a.laterality, b.laterality),
        view: both(a.view, b.view),
    };
    images.into_iter().map(of_image).reduce(agree).unwrap_or_default()
}

fn of_image(image: Stated<'_>) -> Facts {
    Facts {
        age_band: image.age_years.and_then(AgeBand::of_years),
        sex: image.sex,
        laterality: Laterality::parse(image.laterality),
        // A view is a code of the standard's; anything else that a technician typed stays here.
        view: code(image.view),
    }
}

fn both<T: PartialEq>(a: Option<T>, b: Option<T>) -> Option<T> {
    a.filter(|a| b.as_ref() == Some(a))
}
