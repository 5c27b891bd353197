//! What matching a program needs to know of a study, as coded values: no date, no name, no age to the year of an adult.

use overread_dicom::read::Header;
use overread_domain::{AgeBand, Laterality, Sex};

use crate::values::code;

/// Coded values of one image, or of a study where all its images agree.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// The patient's age at the study, from Patient's Age (0010,1010), else from birth date and study date.
    pub age_band: Option<AgeBand>,
    /// Patient's Sex (0010,0040).
    pub sex: Option<Sex>,
    /// Image Laterality (0020,0062), else Laterality (0020,0060).
    pub laterality: Option<Laterality>,
    /// View Position (0018,5101), a valid code string.
    pub view: Option<String>,
    /// Modality (0008,0060), a valid code string.
    pub modality: Option<String>,
    /// Body Part Examined (0018,0015), a valid code string.
    pub body_part: Option<String>,
}

/// The facts of the originals' headers: each value where all images agree on it. No headers, no facts.
pub fn facts<'a>(headers: impl IntoIterator<Item = &'a Header>) -> Facts {
    let agree = |a: Facts, b: Facts| Facts {
        age_band: both(a.age_band, b.age_band),
        sex: both(a.sex, b.sex),
        laterality: both(a.laterality, b.laterality),
        view: both(a.view, b.view),
        modality: both(a.modality, b.modality),
        body_part: both(a.body_part, b.body_part),
    };
    headers.into_iter().map(of_image).reduce(agree).unwrap_or_default()
}

fn of_image(header: &Header) -> Facts {
    let valid = |text: &Option<String>| text.as_deref().and_then(code);
    Facts {
        age_band: header.patient_age_years.and_then(AgeBand::of_years),
        sex: header.patient_sex,
        laterality: header.laterality.as_deref().and_then(Laterality::parse),
        view: valid(&header.view_position),
        modality: valid(&header.modality),
        body_part: valid(&header.body_part_examined),
    }
}

fn both<T: PartialEq>(a: Option<T>, b: Option<T>) -> Option<T> {
    a.filter(|a| b.as_ref() == Some(a))
}
