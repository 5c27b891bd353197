//! Values as their VR allows them (PS3.5 §6.2).
//!
//! Source headers are not always valid. Descriptions are cut to length; an identifier is never cut,
//! because half an identifier may be another patient's: it is written whole or not at all.

use dicom_core::VR;

/// A value of a source made valid for its VR, or none where nothing valid is left.
pub(crate) fn sanitised(vr: VR, value: &str) -> Option<String> {
    let value = value.trim_matches([' ', '\0']);
    let out = match vr {
        VR::PN => person_name(value),
        VR::DA => date(value)?,
        VR::TM => time(value)?,
        VR::AS => age(value)?,
        VR::CS => code_string(value)?,
        VR::DS => decimal(value)?,
        VR::SH => cut(&one_line(value), 16),
        VR::LO => cut(&one_line(value), 64),
        VR::ST => cut(&many_lines(value), 1024),
        VR::LT => cut(&many_lines(value), 10_240),
        VR::UC | VR::UT => many_lines(value),
        _ => return None,
    };
    (!out.is_empty()).then_some(out)
}

/// An identifier (Patient ID, Accession Number), whole or not at all.
pub(crate) fn identifier(vr: VR, value: &str) -> Option<String> {
    let value = value.trim_matches([' ', '\0']);
    let longest = if vr == VR::SH { 16 } else { 64 };
    let fits = value.chars().count() <= longest && !value.contains(|c: char| c.is_control() || c == '\\');
    (fits && !value.is_empty()).then(|| value.to_owned())
}

/// A number as VR DS: at most 16 characters.
pub(crate) fn decimal_string(value: f64) -> String {
    let shortest = format!("{value}");
    if shortest.len() <= 16 {
        return shortest;
    }
    let fixed = format!("{value:.12}");
    if fixed.len() <= 16 { fixed } else { format!("{value:.8e}") }
}

fn one_line(value: &str) -> String {
    value
        .chars()
        .map(|c| if c.is_control() || c == '\\' { ' ' } else { c })
        .collect::<String>()
        .trim()
        .to_owned()
}

fn many_lines(value: &str) -> String {
    let kept = |c: &char| !c.is_control() || matches!(c, '\r' | '\n' | '\t' | '\u{c}');
    value.chars().filter(kept).collect::<String>().trim_end().to_owned()
}

fn cut(value: &str, longest: usize) -> String {
    value.chars().take(longest).collect::<String>().trim_end().to_owned()
}

/// At most three groups of at most 64 characters, at most five components a group.
fn person_name(value: &str) -> String {
    let group = |g: &str| {
        let components: Vec<_> = g.split('^').take(5).map(one_line).collect();
        cut(&components.join("^"), 64).trim_end_matches('^').to_owned()
    };
    // A second name of a multiple value is no part of this one.
    let first = value.split('\\').next().unwrap_or_default();
    let groups: Vec<_> = first.split('=').take(3).map(group).collect();
    groups.join("=").trim_end_matches('=').to_owned()
}

fn digits(value: &str) -> bool {
    !value.is_empty() && value.bytes().all(|b| b.is_ascii_digit())
}

fn date(value: &str) -> Option<String> {
    // ACR-NEMA 2.0 wrote full stops between year, month and day.
    let plain = value.replace('.', "");
    if plain.len() != 8 || !digits(&plain) {
        return None;
    }
    let (year, month, day): (u32, u32, u32) =
        (plain[..4].parse().ok()?, plain[4..6].parse().ok()?, plain[6..].parse().ok()?);
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let last = match month {
        2 if leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    };
    ((1..=12).contains(&month) && (1..=last).contains(&day)).then_some(plain)
}

fn time(value: &str) -> Option<String> {
    let plain = value.replace(':', "");
    let (whole, fraction) = plain.split_once('.').map_or((plain.as_str(), None), |(w, f)| (w, Some(f)));
    let parts_fit = matches!(whole.len(), 2 | 4 | 6)
        && digits(whole)
        && whole
            .as_bytes()
            .chunks(2)
            .zip([23, 59, 60])
            .all(|(pair, top)| (pair[0] - b'0') * 10 + (pair[1] - b'0') <= top);
    match fraction {
        _ if !parts_fit => None,
        None => Some(whole.to_owned()),
        Some(f) if whole.len() == 6 && digits(f) => Some(format!("{whole}.{}", &f[..f.len().min(6)])),
        Some(_) => Some(whole.to_owned()),
    }
}

fn age(value: &str) -> Option<String> {
    let fits = value.len() == 4 && value.is_ascii() && digits(&value[..3]) && "DWMY".contains(&value[3..]);
    fits.then(|| value.to_owned())
}

fn code_string(value: &str) -> Option<String> {
    let upper = value.to_ascii_uppercase();
    let allowed = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == ' ' || c == '_';
    (upper.len() <= 16 && upper.chars().all(allowed)).then_some(upper)
}

fn decimal(value: &str) -> Option<String> {
    let number: f64 = value.parse().ok()?;
    number.is_finite().then(|| decimal_string(number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_keep_their_groups_and_lose_what_no_name_holds() {
        assert_eq!(
            sanitised(VR::PN, "Yamada^Tarou=山田^太郎=やまだ^たろう").unwrap(),
            "Yamada^Tarou=山田^太郎=やまだ^たろう"
        );
        assert_eq!(sanitised(VR::PN, "A^B^C^D^E^F=b=c=d").unwrap(), "A^B^C^D^E=b=c");
        assert_eq!(sanitised(VR::PN, "OB^^^^").unwrap(), "OB");
        assert_eq!(sanitised(VR::PN, &"x".repeat(80)).unwrap().len(), 64);
        assert_eq!(sanitised(VR::PN, "^^^^"), None);
        assert_eq!(sanitised(VR::PN, "Doe\u{7}^J\\Roe").unwrap(), "Doe ^J".replace("Doe ", "Doe"));
    }

    #[test]
    fn an_identifier_is_whole_or_absent() {
        assert_eq!(identifier(VR::SH, "2008050417172310").unwrap(), "2008050417172310");
        assert_eq!(identifier(VR::SH, "20080504171723101"), None);
        assert_eq!(identifier(VR::LO, "a\\b"), None);
    }

    #[test]
    fn dates_times_ages_and_numbers_are_valid_or_absent() {
        assert_eq!(sanitised(VR::DA, "1997.04.24").unwrap(), "19970424");
        for bad in ["20230229", "20231301", "2023", "ABCDEFGH", "２０２３０１０１"] {
            assert_eq!(sanitised(VR::DA, bad), None, "{bad}");
        }
        assert_eq!(sanitised(VR::TM, "10:20:30.1234567").unwrap(), "102030.123456");
        assert_eq!(sanitised(VR::TM, "256060"), None);
        assert_eq!(sanitised(VR::AS, "058Y").unwrap(), "058Y");
        assert_eq!(sanitised(VR::AS, "58 Y"), None);
        assert_eq!(sanitised(VR::CS, "m").unwrap(), "M");
        assert_eq!(sanitised(VR::DS, "0.000"), Some("0".into()));
        assert_eq!(sanitised(VR::DS, "tall"), None);
        for v in [0.123_456_789_012_345_6, 1e-9, 1e-30, 512.0, -0.333_333_333_333_333_3] {
            assert!(decimal_string(v).len() <= 16, "{v}");
        }
    }
}
