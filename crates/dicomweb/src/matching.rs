//! Matching as PS3.4 §C.2.2.2 describes it (edition 2025c), for archives that match in memory or by SQL.

use dicom_core::VR;

/// What a query wants of one attribute.
///
/// There is no `Debug`: a value may be a patient's name.
#[derive(Clone, PartialEq, Eq)]
pub struct Match {
    kind: MatchKind,
    ignore_case: bool,
}

/// The kinds of matching; texts are as the query has them, without padding.
#[derive(Clone, PartialEq, Eq)]
pub enum MatchKind {
    /// Anything, absent values included (§C.2.2.2.3).
    Universal,
    /// This value (§C.2.2.2.1).
    Single(String),
    /// One of these (§C.2.2.2.2 for UIDs, §C.2.2.2.8 for codes).
    OneOf(Vec<String>),
    /// `*` stands for any text, `?` for one character (§C.2.2.2.4).
    Wildcard(String),
    /// From, to, both inclusive, as [`comparable`] texts (§C.2.2.2.5).
    Range(Option<String>, Option<String>),
}

/// Why a text is not something to match on.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum MatchError {
    /// Not a date, time or range of them.
    #[error("it is not a date, a time, or a range of them as PS3.5 §6.2 writes them")]
    Moment,
    /// Not a UID.
    #[error("it is not a UID or a list of UIDs")]
    Uid,
}

impl Match {
    /// What the text of a query asks for of an attribute of this VR.
    ///
    /// # Errors
    /// [`MatchError`]: a date, time or UID that is none.
    pub fn parse(vr: VR, text: &str) -> Result<Self, MatchError> {
        let text = text.trim();
        let ignore_case = vr == VR::PN;
        let kind = match vr {
            _ if text.is_empty() || text.chars().all(|c| c == '*') => MatchKind::Universal,
            VR::DA | VR::TM | VR::DT => range(vr, text).ok_or(MatchError::Moment)?,
            VR::UI => {
                let uids: Vec<String> = list(text);
                if uids.iter().any(|u| overread_domain::Uid::parse(u).is_err()) {
                    return Err(MatchError::Uid);
                }
                one_or_more(uids)
            }
            VR::CS if text.contains([',', '\\']) => one_or_more(list(text)),
            _ if text.contains(['*', '?']) && takes_wildcards(vr) => MatchKind::Wildcard(text.to_owned()),
            _ => MatchKind::Single(text.to_owned()),
        };
        Ok(Self { kind, ignore_case })
    }

    /// A match on one value, such as a UID of a URL.
    pub fn exactly(text: &str) -> Self {
        Self { kind: MatchKind::Single(text.to_owned()), ignore_case: false }
    }

    /// The kind, for an archive that turns it into SQL.
    pub fn kind(&self) -> &MatchKind {
        &self.kind
    }

    /// Whether case does not matter (names, PS3.4 §C.2.2.2.1).
    pub fn ignores_case(&self) -> bool {
        self.ignore_case
    }

    /// Whether a value of an attribute matches; an absent or empty value is the empty text.
    pub fn matches(&self, value: &str) -> bool {
        let value = value.trim_matches(['\0', ' ']);
        let fold = |text: &str| if self.ignore_case { text.to_lowercase() } else { text.to_owned() };
        match &self.kind {
            MatchKind::Universal => true,
            MatchKind::Single(wanted) => same(&fold(wanted), &fold(value), self.ignore_case),
            MatchKind::OneOf(wanted) => {
                wanted.iter().any(|w| if w.contains(['*', '?']) { like(w, value) } else { w == value })
            }
            MatchKind::Wildcard(pattern) => like(&fold(pattern), &fold(value)),
            MatchKind::Range(from, to) => {
                let Some(value) = comparable(value) else { return false };
                from.as_ref().is_none_or(|f| f.as_str() <= value.as_str())
                    && to.as_ref().is_none_or(|t| value.as_str() <= t.as_str())
            }
        }
    }

    /// Whether one of the values of an attribute matches; no value counts as an empty one.
    pub fn matches_any<'a>(&self, values: impl IntoIterator<Item = &'a str>) -> bool {
        let mut values = values.into_iter().peekable();
        if values.peek().is_none() {
            return self.matches("");
        }
        values.any(|v| self.matches(v))
    }

    /// A wildcard as the pattern of SQL `LIKE … ESCAPE '\'`, in the case that the query has.
    pub fn sql_like(&self) -> Option<String> {
        let MatchKind::Wildcard(pattern) = &self.kind else { return None };
        let mut out = String::with_capacity(pattern.len() + 4);
        for c in pattern.chars() {
            match c {
                '*' => out.push('%'),
                '?' => out.push('_'),
                '%' | '_' | '\\' => out.extend(['\\', c]),
                c => out.push(c),
            }
        }
        Some(out)
    }
}

/// A name's trailing empty components do not count.
fn same(wanted: &str, value: &str, name: bool) -> bool {
    if name { wanted.trim_end_matches('^') == value.trim_end_matches('^') } else { wanted == value }
}

const fn takes_wildcards(vr: VR) -> bool {
    matches!(vr, VR::AE | VR::CS | VR::LO | VR::LT | VR::PN | VR::SH | VR::ST | VR::UC | VR::UR | VR::UT)
}

fn list(text: &str) -> Vec<String> {
    text.split([',', '\\']).map(str::trim).filter(|t| !t.is_empty()).map(str::to_owned).collect()
}

fn one_or_more(mut values: Vec<String>) -> MatchKind {
    match (values.len(), values.pop()) {
        (1, Some(one)) => MatchKind::Single(one),
        (_, Some(last)) => {
            values.push(last);
            MatchKind::OneOf(values)
        }
        (_, None) => MatchKind::Universal,
    }
}

/// Linear in practice: a later `*` forgets the earlier ones.
fn like(pattern: &str, text: &str) -> bool {
    let (pattern, text): (Vec<char>, Vec<char>) = (pattern.chars().collect(), text.chars().collect());
    let (mut p, mut t, mut star) = (0, 0, None);
    while t < text.len() {
        match pattern.get(p) {
            Some('*') => {
                star = Some((p, t));
                p += 1;
            }
            Some(c) if *c == '?' || *c == text[t] => (p, t) = (p + 1, t + 1),
            _ => match star {
                Some((at, from)) => {
                    star = Some((at, from + 1));
                    (p, t) = (at + 1, from + 1);
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|c| *c == '*')
}

/// A date, a time or a range of them, as PS3.5 §6.2 writes them; a single one is the range of what it may mean.
fn range(vr: VR, text: &str) -> Option<MatchKind> {
    // A date and time may end in an offset from UTC, whose `-` parts no range: it has four digits after it and something before.
    let (from, to) = match text.split_once('-') {
        None => (text, text),
        Some((from, to)) => (from.trim(), to.trim()),
    };
    let bound = |text: &str, pad: &str| match text {
        "" => Some(None),
        _ => Some(Some(padded(&digits(vr, text)?, pad, vr)?)),
    };
    let (from, to) = (bound(from, LOWEST)?, bound(to, HIGHEST)?);
    Some(MatchKind::Range(from, to))
}

const LOWEST: &str = "00000101000000000000";
const HIGHEST: &str = "99991231235959999999";

/// The digits of a date (8), a time (up to 12) or both, without punctuation and offset.
fn digits(vr: VR, text: &str) -> Option<String> {
    let text = text.split(['+']).next()?;
    let digits: String = text.chars().filter(|c| !matches!(c, '.' | ':')).collect();
    let right = match vr {
        VR::DA => digits.len() == 8,
        VR::TM => (2..=12).contains(&digits.len()),
        _ => (4..=20).contains(&digits.len()),
    };
    (right && digits.bytes().all(|b| b.is_ascii_digit())).then_some(digits)
}

fn padded(digits: &str, pad: &str, vr: VR) -> Option<String> {
    let pad = match vr {
        VR::DA => &pad[..8],
        VR::TM => &pad[8..],
        _ => pad,
    };
    Some(format!("{digits}{}", pad.get(digits.len()..)?))
}

/// A date, time or both of a data set as digits that compare as texts do: `YYYYMMDD`, `HHMMSSFFFFFF`, or one after the other;
/// none if it is none of these. Offsets from UTC are left out. An archive that keeps times in a column keeps them so.
pub fn comparable(value: &str) -> Option<String> {
    let value = value.trim_matches(['\0', ' ']);
    let body = value.split(['+', '-']).next()?;
    let date_like =
        body.split(['.', ':']).next().is_some_and(|d| d.len() >= 8) || body.matches('.').count() == 2;
    let digits: String = body.chars().filter(|c| !matches!(c, '.' | ':')).collect();
    if digits.is_empty() || digits.len() > 20 || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let vr = match digits.len() {
        8 if date_like => VR::DA,
        9.. if date_like => VR::DT,
        _ => VR::TM,
    };
    padded(&digits, LOWEST, vr)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hit(vr: VR, query: &str, value: &str) -> bool {
        Match::parse(vr, query).unwrap().matches(value)
    }

    #[test]
    fn values_lists_and_wildcards() {
        assert!(hit(VR::LO, "abc", "abc "));
        assert!(!hit(VR::LO, "abc", "ABC"));
        assert!(hit(VR::PN, "doe^jane", "Doe^Jane^^"));
        assert!(hit(VR::PN, "d?e*", "Doe^Jane"));
        assert!(!hit(VR::PN, "d?e", "Doe^Jane"));
        assert!(hit(VR::LO, "*a*b*", "xxaxxbxx"));
        assert!(!hit(VR::LO, "*a*b", "xxaxxbxx"));
        assert!(hit(VR::UI, "1.2,1.3\\1.4", "1.3\0"));
        assert!(hit(VR::CS, "CT\\MR", "MR"));
        assert!(hit(VR::CS, "", "whatever"));
        assert!(hit(VR::SH, "**", ""));
        assert!(Match::parse(VR::UI, "1.2,../etc").is_err());
    }

    #[test]
    fn dates_and_times() {
        assert!(hit(VR::DA, "20240301", "2024.03.01"));
        assert!(hit(VR::DA, "20240101-20241231", "20240301"));
        assert!(!hit(VR::DA, "20240101-20241231", "20250101"));
        assert!(hit(VR::DA, "-20241231", "20240301"));
        assert!(!hit(VR::DA, "20240302-", "20240301"));
        assert!(!hit(VR::DA, "20240302-", ""));
        assert!(hit(VR::TM, "10-1130", "113059.5"));
        assert!(!hit(VR::TM, "10-1130", "1131"));
        assert!(hit(VR::TM, "10", "1059"));
        assert!(hit(VR::DT, "20240301-20240302", "20240302235959.9+0100"));
        for wrong in ["2024", "yesterday", "20240101-x", "2024-01-01"] {
            assert!(Match::parse(VR::DA, wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn patterns_for_sql_escape_what_sql_reads() {
        assert_eq!(Match::parse(VR::LO, "50%_*?").unwrap().sql_like().unwrap(), "50\\%\\_%_");
        assert!(Match::parse(VR::LO, "plain").unwrap().sql_like().is_none());
    }
}
