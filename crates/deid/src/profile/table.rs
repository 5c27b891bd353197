//! Table E.1-1 of DICOM PS3.15 2026d: what the Basic Profile does with each attribute, and what the options do instead.
//!
//! The rows lie in `e1-1.tsv`, which `tools/deid_tables.py` writes from the standard.

use std::sync::LazyLock;

use dicom_core::Tag;

use super::{ProfileOption, ProfileOptions};

/// The edition of PS3.15 whose Table E.1-1 is used.
pub const EDITION: &str = "2026d";

const ROWS: &str = include_str!("e1-1.tsv");

/// An action of Table E.1-1a.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// D: a dummy value.
    Dummy,
    /// Z: zero length.
    Empty,
    /// X: remove.
    Remove,
    /// K: keep; a sequence's items are still looked at.
    Keep,
    /// C: clean.
    Clean,
    /// U: another UID, the same for the same original.
    Uid,
    /// Z/D.
    EmptyOrDummy,
    /// X/Z.
    RemoveOrEmpty,
    /// X/D.
    RemoveOrDummy,
    /// X/Z/D.
    RemoveEmptyOrDummy,
    /// X/Z/U*.
    RemoveEmptyOrUids,
}

impl Action {
    /// The action of a code, such as `X/Z/D`.
    pub fn parse(code: &str) -> Option<Self> {
        Some(match code {
            "D" => Self::Dummy,
            "Z" => Self::Empty,
            "X" => Self::Remove,
            "K" => Self::Keep,
            "C" => Self::Clean,
            "U" => Self::Uid,
            "Z/D" => Self::EmptyOrDummy,
            "X/Z" => Self::RemoveOrEmpty,
            "X/D" => Self::RemoveOrDummy,
            "X/Z/D" => Self::RemoveEmptyOrDummy,
            "X/Z/U*" => Self::RemoveEmptyOrUids,
            _ => return None,
        })
    }
}

/// One row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// The Basic Profile's action.
    pub basic: Action,
    /// The option columns, in the order of [`ProfileOption::COLUMNS`].
    options: [Option<Action>; ProfileOption::COLUMNS.len()],
    /// The attribute's name.
    pub name: &'static str,
}

impl Row {
    /// The action under options. Where two of them differ, cleaning goes before keeping.
    pub fn action(&self, options: ProfileOptions) -> Action {
        let chosen = || {
            ProfileOption::COLUMNS
                .iter()
                .zip(self.options)
                .filter(|(o, _)| options.has(**o))
                .filter_map(|(_, a)| a)
        };
        if chosen().any(|a| a == Action::Clean) {
            return Action::Clean;
        }
        chosen().next().unwrap_or(self.basic)
    }

    pub(super) fn parse_columns(text: &str) -> Option<[Option<Action>; ProfileOption::COLUMNS.len()]> {
        let mut columns = [None; ProfileOption::COLUMNS.len()];
        let mut letters = text.chars();
        for column in &mut columns {
            *column = match letters.next()? {
                '-' => None,
                'K' => Some(Action::Keep),
                'C' => Some(Action::Clean),
                _ => return None,
            };
        }
        letters.next().is_none().then_some(columns)
    }

    pub(super) fn new(
        basic: Action,
        options: [Option<Action>; ProfileOption::COLUMNS.len()],
        name: &'static str,
    ) -> Self {
        Self { basic, options, name }
    }
}

struct Table {
    /// Sorted by tag.
    rows: Vec<(Tag, Row)>,
    private: Row,
    curve: Row,
    overlay: Row,
}

static TABLE: LazyLock<Table> = LazyLock::new(|| {
    let table = parse(ROWS);
    // A test reads every line; a table without its four kinds of rows cannot be compiled in unnoticed.
    table.unwrap_or(Table { rows: Vec::new(), private: NOTHING, curve: NOTHING, overlay: NOTHING })
});

/// Stands in for a row of a table that cannot be read, and removes.
const NOTHING: Row = Row { basic: Action::Remove, options: [None; ProfileOption::COLUMNS.len()], name: "" };

fn parse(text: &'static str) -> Option<Table> {
    let (mut rows, mut private, mut curve, mut overlay) = (Vec::new(), None, None, None);
    for line in text.lines().filter(|l| !l.starts_with('#')) {
        let mut cells = line.split('\t');
        let (tag, basic) = (cells.next()?, Action::parse(cells.next()?)?);
        let row = Row::new(basic, Row::parse_columns(cells.next()?)?, cells.next()?);
        match tag {
            "private" => private = Some(row),
            "50xxxxxx" => curve = Some(row),
            "60xx3000" => overlay = Some(row),
            // The comments of an overlay go with its data.
            "60xx4000" => {}
            _ => {
                let (group, element) = tag.split_at_checked(4)?;
                let hex = |t| u16::from_str_radix(t, 16).ok();
                rows.push((Tag(hex(group)?, hex(element)?), row));
            }
        }
    }
    rows.sort_by_key(|(tag, _)| *tag);
    Some(Table { rows, private: private?, curve: curve?, overlay: overlay? })
}

/// The row of an attribute; none if Table E.1-1 does not list it. All of a repeating group 60xx is an overlay: what
/// describes the plane means nothing without its data.
pub fn row(tag: Tag) -> Option<&'static Row> {
    let table = &*TABLE;
    match tag.group() {
        odd if odd % 2 == 1 => Some(&table.private),
        0x5000..=0x50FF => Some(&table.curve),
        0x6000..=0x60FF => Some(&table.overlay),
        _ => table.rows.binary_search_by_key(&tag, |(tag, _)| *tag).ok().map(|at| &table.rows[at].1),
    }
}

#[cfg(test)]
mod tests {
    use dicom_core::dictionary::DataDictionary;
    use dicom_dictionary_std::{StandardDataDictionary, tags as t};

    use super::*;

    fn options(list: &[ProfileOption]) -> ProfileOptions {
        list.iter().copied().collect()
    }

    #[test]
    fn every_row_is_read() {
        let lines = ROWS.lines().filter(|l| !l.starts_with('#')).count();
        // 2026d: 653 attributes, private ones, curves, and overlay data and comments.
        assert_eq!((lines, TABLE.rows.len()), (657, 653));
        assert!(TABLE.rows.windows(2).all(|w| w[0].0 < w[1].0), "an attribute twice");
    }

    #[test]
    fn rows_say_what_the_standard_says() {
        use Action::*;
        use ProfileOption as O;
        // Read from PS3.15 2026d, Table E.1-1, one by one.
        let basic = [
            (t::ACCESSION_NUMBER, Empty),
            (t::PATIENT_NAME, Empty),
            (t::PATIENT_ID, EmptyOrDummy),
            (t::PATIENT_BIRTH_DATE, Empty),
            (t::PATIENT_AGE, Remove),
            (t::STUDY_INSTANCE_UID, Uid),
            (t::STUDY_DATE, Empty),
            (t::STUDY_DESCRIPTION, Remove),
            (t::SERIES_DATE, RemoveOrDummy),
            (t::ACQUISITION_DATE, RemoveOrEmpty),
            (t::ACQUISITION_DATE_TIME, RemoveEmptyOrDummy),
            (t::CONTENT_DATE, EmptyOrDummy),
            (t::REFERENCED_IMAGE_SEQUENCE, RemoveEmptyOrUids),
            (t::CONTENT_SEQUENCE, Dummy),
            (t::INSTITUTION_NAME, RemoveEmptyOrDummy),
            (t::ICON_IMAGE_SEQUENCE, Remove),
            (Tag(0x0009, 0x1001), Remove),
            (Tag(0x5002, 0x3000), Remove),
            (Tag(0x6004, 0x3000), Remove),
        ];
        for (tag, action) in basic {
            assert_eq!(row(tag).map(|r| r.action(options(&[]))), Some(action), "{tag}");
        }
        for tag in [t::MODALITY, t::ROWS, t::SOP_CLASS_UID, t::MANUFACTURER, t::CODE_MEANING] {
            assert_eq!(row(tag), None, "{tag}");
        }
        let optional = [
            (t::PATIENT_AGE, O::RetainPatientCharacteristics, Keep),
            (t::STUDY_DATE, O::RetainDatesFull, Keep),
            (t::STUDY_DATE, O::RetainDatesModified, Clean),
            (t::STUDY_DESCRIPTION, O::CleanDescriptors, Clean),
            (t::CONTENT_SEQUENCE, O::CleanStructuredContent, Clean),
            (t::GRAPHIC_ANNOTATION_SEQUENCE, O::CleanGraphics, Clean),
            (t::STATION_NAME, O::RetainDeviceIdentity, Keep),
            (t::INSTITUTION_NAME, O::RetainInstitutionIdentity, Keep),
            (t::SOP_INSTANCE_UID, O::RetainUids, Keep),
            (Tag(0x0009, 0x1001), O::RetainSafePrivate, Clean),
        ];
        for (tag, option, action) in optional {
            let row = row(tag).unwrap();
            assert_eq!(row.action(options(&[option])), action, "{tag}");
            assert_eq!(row.action(options(&[O::CleanPixelData])), row.basic, "{tag}");
        }
        let both = options(&[O::RetainDeviceIdentity, O::RetainDatesModified]);
        assert_eq!(row(t::CALIBRATION_DATE).unwrap().action(both), Clean, "cleaning goes first");
    }

    #[test]
    fn uids_and_dates_of_the_table_have_the_values_representation_for_it() {
        for (tag, row) in &TABLE.rows {
            let Some(entry) = StandardDataDictionary.by_tag(*tag) else { continue };
            if row.basic == Action::Uid {
                assert_eq!(entry.vr.relaxed(), dicom_core::VR::UI, "{tag} {}", row.name);
            }
        }
    }
}
