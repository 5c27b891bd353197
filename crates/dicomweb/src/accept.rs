//! What a client accepts: media ranges of the `Accept` header or the `accept` parameter (PS3.18 §8.3.3, edition 2025c).

use axum::http::{HeaderMap, header};

use crate::problem::Problem;

/// Explicit VR Little Endian.
pub(crate) const EXPLICIT: &str = "1.2.840.10008.1.2.1";
/// Implicit VR Little Endian; its frames are those of [`EXPLICIT`].
pub(crate) const IMPLICIT: &str = "1.2.840.10008.1.2";

/// One media range.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Range {
    /// `type/subtype`, lower case; of `multipart/related` the type of its parts, `*/*` if it does not say.
    pub(crate) media: String,
    /// Parts of a `multipart/related` body.
    pub(crate) multipart: bool,
    /// The `transfer-syntax` parameter: a UID or `*`.
    pub(crate) syntax: Option<String>,
    quality: f32,
}

impl Range {
    /// Whether a media type is within the range.
    pub(crate) fn covers(&self, media: &str) -> bool {
        match self.media.split_once('/') {
            Some(("*", _)) => true,
            // One client of the field writes `image/` for `image/*`.
            Some((main, "*" | "")) => media.split_once('/').is_some_and(|(m, _)| m == main),
            _ => self.media == media,
        }
    }

    /// Whether it is `*/*`, in parts or not.
    pub(crate) fn anything(&self) -> bool {
        self.media == "*/*"
    }
}

/// What the client accepts, what it likes best first; `*/*` if it says nothing.
pub(crate) fn ranges(headers: &HeaderMap, parameter: Option<&str>) -> Vec<Range> {
    let header = headers.get_all(header::ACCEPT).iter().filter_map(|v| v.to_str().ok());
    let mut ranges: Vec<Range> = match parameter {
        Some(text) => parse(text),
        None => header.flat_map(parse).collect(),
    };
    if ranges.is_empty() && parameter.is_none() {
        ranges = parse("*/*");
    }
    ranges.retain(|r| r.quality > 0.0);
    ranges.sort_by(|a, b| b.quality.total_cmp(&a.quality));
    ranges
}

fn parse(text: &str) -> Vec<Range> {
    split(text, ',').into_iter().take(64).filter_map(range).collect()
}

fn range(text: &str) -> Option<Range> {
    let mut fields = split(text, ';').into_iter();
    let media = fields.next()?.trim().to_ascii_lowercase();
    // Java's clients of old say `*; q=.2`.
    let media = if media == "*" { "*/*".to_owned() } else { media };
    if !media.contains('/') {
        return None;
    }
    let multipart = media == "multipart/related" || media == "multipart/*";
    let mut range = Range { media, multipart, syntax: None, quality: 1.0 };
    if multipart {
        range.media = "*/*".to_owned();
    }
    for field in fields {
        let Some((name, value)) = field.split_once('=') else { continue };
        let value = value.trim().trim_matches('"');
        match name.trim().to_ascii_lowercase().as_str() {
            "type" if multipart => range.media = value.to_ascii_lowercase(),
            "transfer-syntax" => range.syntax = Some(value.to_owned()),
            "q" => range.quality = value.parse().unwrap_or(1.0),
            _ => {}
        }
    }
    Some(range)
}

/// Parts of a text at a separator outside quotes.
pub(crate) fn split(text: &str, separator: char) -> Vec<&str> {
    let (mut quoted, mut start, mut parts) = (false, 0, Vec::new());
    for (i, c) in text.char_indices() {
        if c == '"' {
            quoted = !quoted;
        } else if c == separator && !quoted {
            parts.push(&text[start..i]);
            start = i + c.len_utf8();
        }
    }
    parts.push(&text[start..]);
    parts
}

/// Refuses a client that takes no DICOM JSON (PS3.18 table 8.7.2-1; XML is not made).
pub(crate) fn must_take_json(ranges: &[Range]) -> Result<(), Problem> {
    let takes = |r: &Range| {
        !r.multipart && (r.covers("application/dicom+json") || r.covers("application/json"))
            || r.multipart && r.anything()
    };
    if ranges.iter().any(takes) {
        Ok(())
    } else {
        Err(Problem::not_acceptable("the answer is made as application/dicom+json alone"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_viewers_send_is_understood() {
        let ohif = parse("multipart/related; type=application/octet-stream; transfer-syntax=*");
        assert_eq!((ohif[0].media.as_str(), ohif[0].multipart), ("application/octet-stream", true));
        assert_eq!(ohif[0].syntax.as_deref(), Some("*"));
        let mut headers = HeaderMap::new();
        let text = r#"image/png; q=0.5, multipart/related; type="image/jls"; q=0.9, text/plain; q=0"#;
        headers.insert(header::ACCEPT, text.parse().unwrap());
        let got: Vec<String> = ranges(&headers, None).into_iter().map(|r| r.media).collect();
        assert_eq!(got, ["image/jls", "image/png"]);
        assert!(ranges(&HeaderMap::new(), None)[0].anything());
        assert!(parse("image/*")[0].covers("image/png") && !parse("image/*")[0].covers("text/plain"));
    }

    #[test]
    fn a_separator_in_quotes_parts_nothing() {
        assert_eq!(split(r#"a; b="x,;y", c"#, ','), [r#"a; b="x,;y""#, " c"]);
    }
}
