//! Dates moved into the past by a number of days: intervals within a patient stay, days of the calendar do not.

use chrono::{Datelike, Days, NaiveDate};

/// A date (DA) or the date of a date time (DT), moved; what follows the day stays as it is. None if it is no date.
///
/// A date time that ends with its year or month is moved from the middle of it and cut off again, so that such a date is
/// right to about a month or year only.
pub(crate) fn moved(text: &str, days: u16) -> Option<String> {
    // ACR-NEMA wrote 1997.01.31.
    let plain = match text.as_bytes() {
        [.., b'.', _, _] if text.len() == 10 && text.as_bytes()[4] == b'.' => text.replace('.', ""),
        _ => text.to_owned(),
    };
    let digits = plain.bytes().take_while(u8::is_ascii_digit).count().min(14);
    let day = digits.min(8);
    if !matches!(day, 4 | 6 | 8) || digits % 2 == 1 || !rest_is_time(&plain[day..]) {
        return None;
    }
    let part = |from: usize, to: usize, middle: u32| {
        if to <= day { plain[from..to].parse().ok() } else { Some(middle) }
    };
    let (year, month, of_month) = (part(0, 4, 0)?, part(4, 6, 7)?, part(6, 8, 15)?);
    let date = NaiveDate::from_ymd_opt(i32::try_from(year).ok()?, month, of_month)?;
    let moved = date.checked_sub_days(Days::new(days.into()))?;
    if !(0..=9999).contains(&moved.year()) {
        return None;
    }
    let whole = format!("{:04}{:02}{:02}", moved.year(), moved.month(), moved.day());
    Some(format!("{}{}", &whole[..day], &plain[day..]))
}

/// Time, fraction and offset of a DT: digits and their signs alone.
fn rest_is_time(rest: &str) -> bool {
    rest.len() <= 18 && rest.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'.' | b'+' | b'-'))
}

/// Whether a text has the form of a DA, DT or TM.
pub(crate) fn is_time(text: &str) -> bool {
    text.len() <= 26 && text.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'.' | b'+' | b'-' | b':'))
}

/// An age (AS) as it may leave: of those above 89 years, 090Y.
pub(crate) fn age(text: &str) -> Option<String> {
    let (number, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let number: u16 = number.parse().ok()?;
    let years = match unit {
        "Y" => f32::from(number),
        "M" => f32::from(number) / 12.0,
        "W" => f32::from(number) / 52.18,
        "D" => f32::from(number) / 365.25,
        _ => return None,
    };
    Some(if years >= 90.0 { "090Y".into() } else { format!("{number:03}{unit}") })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn dates_move_and_times_stay() {
        for (text, left) in [
            ("20200301", Some("20200228")),
            ("19000101", Some("18991230")),
            ("20200301120000.123+0100", Some("20200228120000.123+0100")),
            ("202003011200", Some("202002281200")),
            ("202003", Some("202003")),
            ("2020", Some("2020")),
            ("1997.01.31", Some("19970129")),
            ("20200230", None),
            ("20200301 CANARY", None),
            ("CANARY", None),
            ("", None),
            ("203", None),
        ] {
            assert_eq!(moved(text, 2).as_deref(), left, "{text}");
        }
    }

    #[test]
    fn the_very_old_are_ninety() {
        for (text, left) in [
            ("045Y", Some("045Y")),
            ("089Y", Some("089Y")),
            ("090Y", Some("090Y")),
            ("104Y", Some("090Y")),
            ("7D", Some("007D")),
        ] {
            assert_eq!(age(text).as_deref(), left, "{text}");
        }
        assert_eq!((age("OLD"), age("")), (None, None));
    }

    fn day(text: &str) -> NaiveDate {
        NaiveDate::parse_from_str(text, "%Y%m%d").unwrap()
    }

    proptest! {
        /// Whatever the shift, two dates of one patient stay as far apart as they were.
        #[test]
        fn intervals_stay(a in 0i64..60_000, b in 0i64..60_000, days in 1u16..=3650) {
            let date = |n: i64| (NaiveDate::from_ymd_opt(1900, 1, 1).unwrap() + chrono::TimeDelta::days(n)).format("%Y%m%d").to_string();
            let (one, two) = (date(a), date(b));
            let (after_one, after_two) = (moved(&one, days).unwrap(), moved(&two, days).unwrap());
            prop_assert_eq!(day(&after_one) - day(&after_two), day(&one) - day(&two));
            prop_assert_eq!(day(&one) - day(&after_one), chrono::TimeDelta::days(days.into()));
        }
    }
}
