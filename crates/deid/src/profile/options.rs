//! The options of PS3.15 §E.3 and the codes that say which were taken (PS3.16 CID 7050).

use serde::{Deserialize, Serialize};

/// An option beside the Basic Application Level Confidentiality Profile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ProfileOption {
    /// §E.3.1: text that is burned into pixels is removed. It is not done here: whoever did it says so.
    CleanPixelData,
    /// §E.3.3.
    CleanGraphics,
    /// §E.3.4.
    CleanStructuredContent,
    /// §E.3.5.
    CleanDescriptors,
    /// §E.3.6, full dates.
    RetainDatesFull,
    /// §E.3.6, modified dates: shifted by a number of days that hangs on key and patient.
    RetainDatesModified,
    /// §E.3.7.
    RetainPatientCharacteristics,
    /// §E.3.8.
    RetainDeviceIdentity,
    /// §E.3.9.
    RetainUids,
    /// §E.3.10: the attributes of Table E.3.10-1.
    RetainSafePrivate,
    /// §E.3.11.
    RetainInstitutionIdentity,
}

impl ProfileOption {
    /// The option columns of Tables E.1-1 and E.3.4-1, as the files beside this one have them.
    pub(super) const COLUMNS: [Self; 10] = [
        Self::RetainSafePrivate,
        Self::RetainUids,
        Self::RetainDeviceIdentity,
        Self::RetainInstitutionIdentity,
        Self::RetainPatientCharacteristics,
        Self::RetainDatesFull,
        Self::RetainDatesModified,
        Self::CleanDescriptors,
        Self::CleanStructuredContent,
        Self::CleanGraphics,
    ];

    /// Every option, in the order of their codes.
    pub const ALL: [Self; 11] = [
        Self::CleanPixelData,
        Self::CleanGraphics,
        Self::CleanStructuredContent,
        Self::CleanDescriptors,
        Self::RetainDatesFull,
        Self::RetainDatesModified,
        Self::RetainPatientCharacteristics,
        Self::RetainDeviceIdentity,
        Self::RetainUids,
        Self::RetainSafePrivate,
        Self::RetainInstitutionIdentity,
    ];

    /// Code Value and Code Meaning of CID 7050, coding scheme DCM.
    pub const fn code(self) -> (&'static str, &'static str) {
        match self {
            Self::CleanPixelData => ("113101", "Clean Pixel Data Option"),
            Self::CleanGraphics => ("113103", "Clean Graphics Option"),
            Self::CleanStructuredContent => ("113104", "Clean Structured Content Option"),
            Self::CleanDescriptors => ("113105", "Clean Descriptors Option"),
            Self::RetainDatesFull => ("113106", "Retain Longitudinal Temporal Information Full Dates Option"),
            Self::RetainDatesModified => {
                ("113107", "Retain Longitudinal Temporal Information Modified Dates Option")
            }
            Self::RetainPatientCharacteristics => ("113108", "Retain Patient Characteristics Option"),
            Self::RetainDeviceIdentity => ("113109", "Retain Device Identity Option"),
            Self::RetainUids => ("113110", "Retain UIDs Option"),
            Self::RetainSafePrivate => ("113111", "Retain Safe Private Option"),
            Self::RetainInstitutionIdentity => ("113112", "Retain Institution Identity Option"),
        }
    }
}

/// The code of the profile itself.
pub(crate) const BASIC: (&str, &str) = ("113100", "Basic Application Confidentiality Profile");

/// A set of options.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ProfileOptions(u16);

impl ProfileOptions {
    /// Whether an option was taken.
    pub const fn has(self, option: ProfileOption) -> bool {
        self.0 & (1 << option as u16) != 0
    }

    /// This set and one more.
    #[must_use]
    pub const fn with(self, option: ProfileOption) -> Self {
        Self(self.0 | (1 << option as u16))
    }

    /// The options of the set, in the order of their codes.
    pub fn iter(self) -> impl Iterator<Item = ProfileOption> {
        ProfileOption::ALL.into_iter().filter(move |o| self.has(*o))
    }
}

impl FromIterator<ProfileOption> for ProfileOptions {
    fn from_iter<I: IntoIterator<Item = ProfileOption>>(options: I) -> Self {
        options.into_iter().fold(Self::default(), Self::with)
    }
}
