//! Terms of the field: the words of a description that may stay.
//!
//! A description is cleaned by what is known to be harmless, not by what is known to tell: words of `terms.txt`, small
//! numbers, and numbers with a unit stay; anything else goes.

use std::collections::HashSet;
use std::sync::LazyLock;

use crate::identity::Words;

static TERMS: LazyLock<HashSet<&'static str>> = LazyLock::new(|| {
    let lines = include_str!("terms.txt").lines().filter(|l| !l.starts_with('#'));
    lines.flat_map(str::split_whitespace).collect()
});

/// Whether a word, in capitals, is a term.
pub(crate) fn is_term(word: &str) -> bool {
    TERMS.contains(word)
}

/// What may stay of a description; empty if nothing.
pub(crate) fn clean(text: &str, identity: &Words) -> String {
    // A number with a point at its end is a date in half of Europe.
    let dated = |c: &&str| c.ends_with('.') && c.trim_end_matches('.').contains('.');
    let chunks = text.split_whitespace().filter(|c| !dated(c));
    let chunks: Vec<&str> = chunks.map(|c| c.trim_matches(['.', ',', ';', ':'])).collect();
    let number = |at: usize| chunks.get(at).is_some_and(|c| is_bare(c));
    let mut kept = Vec::new();
    for (at, chunk) in chunks.iter().enumerate() {
        // Numbers in a row may be a date, a telephone or a room.
        let row = is_bare(chunk) && (number(at + 1) || at > 0 && number(at - 1));
        if !chunk.is_empty() && !row && may_stay(chunk) && !identity.repeated_by(chunk) {
            kept.push(*chunk);
        }
    }
    // Signs that held two words together mean nothing alone.
    kept.retain(|chunk| chunk.chars().any(char::is_alphanumeric));
    kept.join(" ")
}

fn may_stay(chunk: &str) -> bool {
    let parts =
        chunk.split(['_', '/', '-', '+', ',', '(', ')', '[', ']', '&', '*', ':']).filter(|p| !p.is_empty());
    let (mut numbers, mut some) = (0, false);
    for part in parts {
        some = true;
        numbers += usize::from(is_bare(part));
        if !(is_term(&part.to_uppercase()) || is_small(part)) {
            return false;
        }
    }
    some && numbers <= 1
}

/// Digits alone, perhaps with a point.
fn is_bare(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit() || b == b'.')
}

/// A number of at most three digits, perhaps with a letter before or a unit after it: T2, 5MM, B70S. Of numbers with a point
/// only such that are hardly a day and a month: 1.5, 0.75.
fn is_small(part: &str) -> bool {
    let upper = part.to_ascii_uppercase();
    let digits = upper.trim_start_matches(|c: char| c.is_ascii_uppercase());
    let before = upper.len() - digits.len();
    let number = digits.trim_end_matches(|c: char| c.is_ascii_uppercase() || c == '%');
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let counts = |t: &str, most: usize| t.len() <= most && t.bytes().all(|b| b.is_ascii_digit());
    let unit = &digits[number.len()..];
    before <= 1
        && !whole.is_empty()
        && counts(whole, 3)
        && (fraction.is_empty() || whole.len() == 1)
        && counts(fraction, 2)
        && (fraction.len() < 2 || whole == "0" || fraction > "12")
        && (unit.len() <= 1
            || matches!(
                unit,
                "MM" | "CM" | "ML" | "MS" | "KV" | "MAS" | "MIN" | "SEC" | "DEG" | "KVP" | "MA"
            ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cleaned(text: &str) -> String {
        clean(text, &Words::of(&[]))
    }

    #[test]
    fn terms_stay_and_all_else_goes() {
        for (text, left) in [
            ("CT CHEST W CONTRAST", "CT CHEST W CONTRAST"),
            ("t2_tse_sag 5mm", "t2_tse_sag 5mm"),
            ("Thorax 1.5 B70s, for Miller", "Thorax 1.5 B70s for"),
            ("MR knee for John Smith", "MR knee for"),
            ("12.03.1980", ""),
            ("seen 12.03. and 12.3", "and"),
            ("0.75mm 1.25 3.0T", "0.75mm 1.25 3.0T"),
            ("12 03 1980 chest", "chest"),
            ("03/12 chest", "chest"),
            ("tel 555-1234", ""),
            ("chest; Müller", "chest"),
            ("", ""),
        ] {
            assert_eq!(cleaned(text), left, "{text}");
        }
    }

    #[test]
    fn terms_are_in_capitals_and_none_is_a_common_first_name() {
        assert!(TERMS.len() > 400);
        assert!(TERMS.iter().all(|t| t.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit())));
        for name in [
            "MARY", "JOHN", "ANNA", "PETER", "ROSE", "MAX", "CARINA", "MARK", "GRACE", "DAWN", "IRIS", "AXEL",
        ] {
            assert!(!is_term(name), "{name}");
        }
    }
}
