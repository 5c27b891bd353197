//! Numbers in words, as page and terminal print them.

use overread_domain::ContentHash;

use crate::figures::PointName;
use crate::share::{Predictive, Share};

/// A share in percent, without its interval.
pub fn percent(value: Option<f64>) -> String {
    value.map_or("–".into(), |v| format!("{:.1}%", v * 100.0))
}

/// A share in percent with its interval.
pub fn share(share: &Share) -> String {
    match (share.low, share.high) {
        (Some(low), Some(high)) => {
            format!(
                "{} ({:.1}–{:.1}; {} of {})",
                percent(share.value),
                low * 100.0,
                high * 100.0,
                share.count,
                share.of
            )
        }
        _ => "no such cases".into(),
    }
}

/// A share in percent with its interval and without counts, for tables that have them elsewhere.
pub fn share_alone(share: &Share) -> String {
    match (share.low, share.high) {
        (Some(low), Some(high)) => {
            format!("{} ({:.1}–{:.1})", percent(share.value), low * 100.0, high * 100.0)
        }
        _ => "–".into(),
    }
}

/// A predictive value in percent with its interval.
pub fn predictive(value: &Predictive) -> String {
    match (value.low, value.high) {
        (Some(low), Some(high)) => {
            format!("{} ({:.1}–{:.1})", percent(value.value), low * 100.0, high * 100.0)
        }
        _ => "–".into(),
    }
}

/// A number with its interval.
pub fn interval(value: Option<f64>, low: Option<f64>, high: Option<f64>, digits: usize) -> String {
    match (value, low, high) {
        (Some(v), Some(low), Some(high)) => format!("{v:.digits$} ({low:.digits$}–{high:.digits$})"),
        (Some(v), ..) => format!("{v:.digits$}"),
        _ => "not defined".into(),
    }
}

/// A p value.
pub fn p_value(p: Option<f64>) -> String {
    match p {
        None => "–".into(),
        Some(p) if p < 0.001 => "< 0.001".into(),
        Some(p) => format!("{p:.3}"),
    }
}

/// An operating point in words.
pub fn name_of(point: PointName) -> &'static str {
    match point {
        PointName::RuleOut => "rule-out",
        PointName::RuleIn => "rule-in",
        PointName::Chosen => "chosen",
    }
}

/// The first characters of a digest, by which people tell editions apart.
pub fn short(edition: &str) -> String {
    edition.chars().take(12).collect()
}

/// The first characters of a file's digest.
pub fn short_hash(hash: &ContentHash) -> String {
    short(hash.as_str())
}

/// A day, YYYY-MM-DD in UTC, of milliseconds since 1970.
pub fn day(millis: i64) -> String {
    chrono::DateTime::from_timestamp_millis(millis)
        .map_or("–".into(), |moment| moment.date_naive().to_string())
}
