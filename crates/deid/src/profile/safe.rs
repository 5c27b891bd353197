//! Table E.3.10-1: private attributes that are known to be safe, by their private creator.

use std::collections::HashSet;
use std::sync::LazyLock;

const ROWS: &str = include_str!("e3-10-1.tsv");

static TABLE: LazyLock<HashSet<(&'static str, u16, u8)>> = LazyLock::new(|| {
    let row = |line: &'static str| {
        let mut cells = line.split('\t');
        let (creator, group, element) = (cells.next()?, cells.next()?, cells.next()?);
        Some((creator, u16::from_str_radix(group, 16).ok()?, u8::from_str_radix(element, 16).ok()?))
    };
    ROWS.lines().filter(|l| !l.starts_with('#')).filter_map(row).collect()
});

/// Whether an element of a creator's block is safe: group, and the element's last two digits.
pub fn is_safe(creator: &str, group: u16, element: u8) -> bool {
    TABLE.contains(&(creator, group, element))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_the_standards() {
        assert_eq!(TABLE.len(), ROWS.lines().filter(|l| !l.starts_with('#')).count());
        assert!(is_safe("SIEMENS MR HEADER", 0x0019, 0x0C), "B value");
        assert!(is_safe("GEMS_PARM_01", 0x0043, 0x39));
        assert!(is_safe("Philips PET Private Group", 0x7053, 0x00));
        assert!(is_safe("Philips Imaging DD 001", 0x2001, 0x03));
        assert!(!is_safe("SIEMENS MR HEADER", 0x0019, 0x0B), "not in the table");
        assert!(!is_safe("SIEMENS CSA HEADER", 0x0029, 0x10), "holds the protocol with its free text");
        assert!(!is_safe("GEMS_PARM_01", 0x0045, 0x39), "another group");
    }
}
