//! A profile as a short TOML file.
//!
//! ```toml
//! [profile]
//! name = "radiology"
//! options = ["clean-descriptors", "retain-dates-modified"]
//! burned_in = "clean"
//! recognizable_features = "quarantine"
//!
//! [tags]
//! keep = ["SeriesNumber"]
//! remove = ["(0018,1030)"]
//! empty = []
//! replace = { StationName = "SCANNER" }
//! ```

use std::collections::BTreeMap;

use dicom_core::Tag;
use dicom_core::dictionary::DataDictionary;
use dicom_dictionary_std::StandardDataDictionary;
use serde::{Deserialize, Serialize};

use super::{ProfileOption, ProfileOptions, Step, row};

/// What happens with objects whose pixels may show text about the patient.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum BurnedIn {
    /// Text is removed from them; where that cannot be done, or nothing looks at pixels, they are quarantined.
    Clean,
    /// Those that may show text are quarantined.
    #[default]
    Quarantine,
    /// They leave as they are. Patient Identity Removed (0012,0062) is NO where the original admits to such text.
    Keep,
}

/// What happens with volumes of the head, from which a face can be rendered, and with objects whose Recognizable Visual Features (0028,0302) is YES.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Recognizable {
    /// They are quarantined.
    #[default]
    Quarantine,
    /// They leave as they are, and say so: nothing here removes a face.
    Keep,
}

/// What stands for the patient.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Subject {
    /// A number that hangs on key and Patient ID, in Patient's Name and Patient ID: studies of one patient stay together.
    #[default]
    Pseudonym,
    /// Nothing.
    Empty,
}

/// What happens with text in attributes that Table E.1-1 does not list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Unlisted {
    /// It stays where it looks like a term: no word of the patient's identity, no address, no long number.
    #[default]
    Check,
    /// It is replaced, but for coded values of the standard's coding schemes.
    Remove,
}

/// What a site does with an attribute, whatever the table says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Override {
    /// It is kept, removed or emptied.
    Step(Step),
    /// It gets this value.
    Replace(String),
}

/// A profile: what is done with every attribute of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Profile {
    pub(crate) name: String,
    pub(crate) options: ProfileOptions,
    pub(crate) burned_in: BurnedIn,
    pub(crate) recognizable: Recognizable,
    pub(crate) subject: Subject,
    pub(crate) unlisted: Unlisted,
    pub(crate) overrides: BTreeMap<Tag, Override>,
}

/// Why a text is no profile.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProfileError {
    /// Not TOML, or with a key or value that no profile has.
    #[error("the profile cannot be read")]
    Toml(#[source] Box<toml::de::Error>),
    /// An attribute that PS3.6 does not know.
    #[error("`{name}` in [tags] {list} is no attribute of the standard; write its keyword or (gggg,eeee)")]
    Attribute {
        /// As it was written.
        name: String,
        /// The list it stands in.
        list: &'static str,
    },
    /// An attribute that stands in two lists.
    #[error("{tag} stands twice in [tags]; say once what is done with it")]
    Twice {
        /// The attribute.
        tag: Tag,
    },
    /// Dates cannot be kept and shifted at once.
    #[error("options has both retain-dates-full and retain-dates-modified; PS3.15 §E.3.6 allows one of them")]
    BothDates,
    /// A UID cannot be replaced by a text.
    #[error("{tag} is needed to tell objects apart; [tags] cannot change it")]
    Fixed {
        /// The attribute.
        tag: Tag,
    },
    /// No profile of this name is built in.
    #[error("there is no profile `{name}`; built in are {known}, anything else is read as a file")]
    Unknown {
        /// As it was written.
        name: String,
        /// Those that there are.
        known: String,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    profile: Head,
    #[serde(default)]
    tags: Tags,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Head {
    name: String,
    #[serde(default)]
    options: Vec<ProfileOption>,
    #[serde(default)]
    burned_in: BurnedIn,
    #[serde(default)]
    recognizable_features: Recognizable,
    #[serde(default)]
    subject: Subject,
    #[serde(default)]
    unlisted_text: Unlisted,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Tags {
    keep: Vec<String>,
    remove: Vec<String>,
    empty: Vec<String>,
    replace: BTreeMap<String, String>,
}

/// The profiles that are built in.
const SHIPPED: [(&str, &str); 7] = [
    ("strict", include_str!("../../profiles/strict.toml")),
    ("radiology", include_str!("../../profiles/radiology.toml")),
    ("ct-mr-head", include_str!("../../profiles/ct-mr-head.toml")),
    ("pathology", include_str!("../../profiles/pathology.toml")),
    ("ophthalmology", include_str!("../../profiles/ophthalmology.toml")),
    ("dermatology", include_str!("../../profiles/dermatology.toml")),
    ("cardiology", include_str!("../../profiles/cardiology.toml")),
];

impl Profile {
    /// A profile that is built in.
    ///
    /// # Errors
    /// There is none of that name; the error lists those that there are.
    pub fn shipped(name: &str) -> Result<Self, ProfileError> {
        match SHIPPED.iter().find(|(known, _)| *known == name) {
            Some((_, text)) => Self::parse(text),
            None => {
                let known = Self::shipped_names().collect::<Vec<_>>().join(", ");
                Err(ProfileError::Unknown { name: name.to_owned(), known })
            }
        }
    }

    /// The names of the profiles that are built in.
    pub fn shipped_names() -> impl Iterator<Item = &'static str> {
        SHIPPED.iter().map(|(name, _)| *name)
    }

    /// The profile of a TOML text.
    ///
    /// # Errors
    /// A key that no profile has, an attribute that the standard does not know, or what contradicts itself.
    pub fn parse(text: &str) -> Result<Self, ProfileError> {
        let File { profile, tags } = toml::from_str(text).map_err(|e| ProfileError::Toml(Box::new(e)))?;
        let options: ProfileOptions = profile.options.into_iter().collect();
        if options.has(ProfileOption::RetainDatesFull) && options.has(ProfileOption::RetainDatesModified) {
            return Err(ProfileError::BothDates);
        }
        Ok(Self {
            name: profile.name,
            options,
            burned_in: profile.burned_in,
            recognizable: profile.recognizable_features,
            subject: profile.subject,
            unlisted: profile.unlisted_text,
            overrides: overrides(tags)?,
        })
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it does with text in pixels.
    pub const fn burned_in(&self) -> BurnedIn {
        self.burned_in
    }

    /// What it does with faces.
    pub const fn recognizable(&self) -> Recognizable {
        self.recognizable
    }

    /// The options that it takes.
    pub fn options(&self) -> ProfileOptions {
        self.options
    }

    /// Whether the site keeps an attribute that the Basic Profile and the options would not: then no object may claim
    /// the profile.
    pub(crate) fn keeps_too_much(&self) -> bool {
        let kept = |(tag, what): (&Tag, &Override)| {
            *what == Override::Step(Step::Keep)
                && row(*tag).is_some_and(|r| r.action(self.options) != super::Action::Keep)
        };
        self.overrides.iter().any(kept)
    }
}

fn overrides(tags: Tags) -> Result<BTreeMap<Tag, Override>, ProfileError> {
    let steps = [
        ("keep", tags.keep, Step::Keep),
        ("remove", tags.remove, Step::Remove),
        ("empty", tags.empty, Step::Empty),
    ];
    let steps = steps.into_iter().flat_map(|(list, names, step)| {
        names.into_iter().map(move |name| (list, name, Override::Step(step)))
    });
    let replaced = tags.replace.into_iter().map(|(name, value)| ("replace", name, Override::Replace(value)));
    let mut overrides = BTreeMap::new();
    for (list, name, what) in steps.chain(replaced) {
        let Some(tag) = attribute(&name) else { return Err(ProfileError::Attribute { name, list }) };
        if FIXED.contains(&tag) {
            return Err(ProfileError::Fixed { tag });
        }
        if overrides.insert(tag, what).is_some() {
            return Err(ProfileError::Twice { tag });
        }
    }
    Ok(overrides)
}

/// Attributes that tell objects apart, or what was done with them.
const FIXED: [Tag; 9] = [
    dicom_dictionary_std::tags::SPECIFIC_CHARACTER_SET,
    dicom_dictionary_std::tags::SOP_CLASS_UID,
    dicom_dictionary_std::tags::SOP_INSTANCE_UID,
    dicom_dictionary_std::tags::STUDY_INSTANCE_UID,
    dicom_dictionary_std::tags::SERIES_INSTANCE_UID,
    dicom_dictionary_std::tags::PATIENT_IDENTITY_REMOVED,
    dicom_dictionary_std::tags::DEIDENTIFICATION_METHOD,
    dicom_dictionary_std::tags::DEIDENTIFICATION_METHOD_CODE_SEQUENCE,
    dicom_dictionary_std::tags::LONGITUDINAL_TEMPORAL_INFORMATION_MODIFIED,
];

/// An attribute of the standard by its keyword or its tag.
fn attribute(name: &str) -> Option<Tag> {
    let tag = StandardDataDictionary.parse_tag(name)?;
    StandardDataDictionary.by_tag(tag).map(|_| tag)
}

#[cfg(test)]
mod tests {
    use dicom_dictionary_std::tags as t;

    use super::*;

    fn sentence(text: &str) -> String {
        let error = Profile::parse(text).unwrap_err();
        let source = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
        format!("{error}: {source}")
    }

    #[test]
    fn the_shipped_profiles_are_profiles_and_bear_their_names() {
        for name in Profile::shipped_names() {
            let profile = Profile::shipped(name).unwrap();
            assert_eq!(profile.name(), name);
            assert!(!profile.keeps_too_much(), "{name} could not claim the Basic Profile");
        }
        let error = Profile::shipped("radiolgy").unwrap_err().to_string();
        assert!(error.contains("radiolgy") && error.contains("ct-mr-head"), "{error}");
    }

    #[test]
    fn a_site_writes_its_exceptions() {
        let text = "[profile]\nname = 'a'\noptions = ['retain-uids']\n[tags]\nkeep = ['StudyDescription']\n\
                    remove = ['(0018,1030)']\nempty = ['0008,0070']\nreplace = { StationName = 'X' }";
        let profile = Profile::parse(text).unwrap();
        assert!(profile.options.has(ProfileOption::RetainUids));
        assert_eq!(profile.overrides[&t::STUDY_DESCRIPTION], Override::Step(Step::Keep));
        assert_eq!(profile.overrides[&t::PROTOCOL_NAME], Override::Step(Step::Remove));
        assert_eq!(profile.overrides[&t::MANUFACTURER], Override::Step(Step::Empty));
        assert_eq!(profile.overrides[&t::STATION_NAME], Override::Replace("X".into()));
        assert!(profile.keeps_too_much());
    }

    #[test]
    fn what_is_wrong_is_named() {
        let head = "[profile]\nname = 'a'\n";
        for (text, named) in [
            (format!("{head}burnt_in = 'keep'"), "burnt_in"),
            (format!("{head}burned_in = 'maybe'"), "maybe"),
            (format!("{head}options = ['retain-everything']"), "retain-everything"),
            (format!("{head}[tag]"), "tag"),
            (format!("{head}[tags]\nkeep = ['PatientNmae']"), "PatientNmae"),
            (format!("{head}[tags]\nkeep = ['(0009,1001)']"), "(0009,1001)"),
            (format!("{head}[tags]\nkeep = ['PatientName']\nempty = ['(0010,0010)']"), "(0010,0010)"),
            (format!("{head}[tags]\nremove = ['StudyInstanceUID']"), "(0020,000D)"),
            (format!("{head}options = ['retain-dates-full', 'retain-dates-modified']"), "retain-dates-full"),
            ("[profile]".into(), "name"),
        ] {
            assert!(sentence(&text).contains(named), "{text}: {}", sentence(&text));
        }
    }
}
