//! Table E.3.4-1 of PS3.15 2026d: what the Clean Structured Content Option does with content items, by concept name.

use std::collections::HashMap;
use std::sync::LazyLock;

use super::table::Row;
use super::{Action, ProfileOptions};

const ROWS: &str = include_str!("e3-4-1.tsv");

type Concept = (&'static str, &'static str, &'static str);

static TABLE: LazyLock<HashMap<Concept, Row>> = LazyLock::new(|| {
    let row = |line: &'static str| {
        let mut cells = line.split('\t');
        let key = (cells.next()?, cells.next()?, cells.next()?);
        let basic = Action::parse(cells.next()?)?;
        Some((key, Row::new(basic, Row::parse_columns(cells.next()?)?, cells.next()?)))
    };
    ROWS.lines().filter(|l| !l.starts_with('#')).filter_map(row).collect()
});

/// The action for a content item; none if the table does not list its concept with this value type.
pub fn action(scheme: &str, code: &str, value_type: &str, options: ProfileOptions) -> Option<Action> {
    // The map's keys are static, those of a look-up are not; there are too few rows to matter.
    TABLE
        .iter()
        .find(|((s, c, v), _)| *c == code && *s == scheme && *v == value_type)
        .map(|(_, row)| row.action(options))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::ProfileOption;

    #[test]
    fn the_list_is_the_standards() {
        assert_eq!(TABLE.len(), ROWS.lines().filter(|l| !l.starts_with('#')).count());
        let none = ProfileOptions::default();
        assert_eq!(action("DCM", "121022", "TEXT", none), Some(Action::Remove), "Accession Number");
        assert_eq!(action("DCM", "121106", "TEXT", none), Some(Action::Remove), "Comment");
        let clean = none.with(ProfileOption::CleanDescriptors);
        assert_eq!(action("DCM", "121106", "TEXT", clean), Some(Action::Clean));
        assert_eq!(action("DCM", "121106", "NUM", clean), None);
    }
}
