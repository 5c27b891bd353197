//! Reading `multipart/related` (RFC 2046 §5.1, RFC 2387) from chunks of any size, holding no part in memory.
//!
//! It does no IO: bytes are pushed, events are pulled. A line that only begins like the boundary is content.

use bytes::{Bytes, BytesMut};
use memchr::memmem;

/// Bytes of the text before the first part, and of one part's headers.
const MOST_TEXT: usize = 16 * 1024;
/// White space after a boundary.
const MOST_PADDING: usize = 256;

/// What came next in a body.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// A part begins; its content type, lower case, without parameters, if it has one.
    Part {
        /// The media type.
        media: Option<String>,
    },
    /// Some of its content.
    Data(Bytes),
    /// It is complete.
    PartEnd,
    /// The closing boundary: whatever follows is not looked at.
    End,
}

/// Why a body is not a multipart body.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(crate) enum MultipartError {
    #[error("the body does not begin with the boundary that Content-Type names")]
    NoBoundary,
    #[error("a part's headers are not headers, or are longer than 16 KiB")]
    Headers,
    #[error("the body ends before its closing boundary")]
    Unclosed,
}

enum State {
    Preamble,
    Headers,
    /// The line break that ends the headers is still before the content.
    Content {
        fresh: bool,
    },
    Done,
}

/// Reads one body.
pub(crate) struct Parser {
    /// `CR LF -- boundary`.
    finder: memmem::Finder<'static>,
    buffer: BytesMut,
    state: State,
    /// Bytes of the text before the first part that are gone already.
    skipped: usize,
}

enum Found {
    /// A boundary line from here to there; the second is after it. `true`: the closing one.
    Line(usize, usize, bool),
    /// No boundary begins before here.
    NotBefore(usize),
}

impl Parser {
    pub(crate) fn new(boundary: &str) -> Self {
        let finder = memmem::Finder::new(format!("\r\n--{boundary}").as_bytes()).into_owned();
        // The first boundary may be the first thing there is: it then lacks the line break before it.
        Self { finder, buffer: BytesMut::from(&b"\r\n"[..]), state: State::Preamble, skipped: 0 }
    }

    pub(crate) fn push(&mut self, chunk: &[u8]) {
        self.buffer.extend_from_slice(chunk);
    }

    /// The next event, or none until more is pushed. `ended` says that nothing more will be.
    pub(crate) fn next(&mut self, ended: bool) -> Result<Option<Event>, MultipartError> {
        let event = match self.state {
            State::Preamble => self.preamble(ended)?,
            State::Headers => self.headers()?,
            State::Content { fresh } => self.content(fresh, ended),
            State::Done => return Ok(None),
        };
        match event {
            None if ended => Err(match self.state {
                State::Preamble => MultipartError::NoBoundary,
                _ => MultipartError::Unclosed,
            }),
            event => Ok(event),
        }
    }

    fn preamble(&mut self, ended: bool) -> Result<Option<Event>, MultipartError> {
        match self.find(ended) {
            Found::Line(_, after, closing) => {
                let _ = self.buffer.split_to(after);
                if closing {
                    self.state = State::Done;
                    return Ok(Some(Event::End));
                }
                self.state = State::Headers;
                self.headers()
            }
            Found::NotBefore(at) => {
                let _ = self.buffer.split_to(at);
                self.skipped += at;
                if self.skipped > MOST_TEXT { Err(MultipartError::NoBoundary) } else { Ok(None) }
            }
        }
    }

    /// The buffer begins with the line break that ends the boundary's line.
    fn headers(&mut self) -> Result<Option<Event>, MultipartError> {
        let Some(end) = memmem::find(&self.buffer, b"\r\n\r\n") else {
            return if self.buffer.len() > MOST_TEXT { Err(MultipartError::Headers) } else { Ok(None) };
        };
        if end > MOST_TEXT {
            return Err(MultipartError::Headers);
        }
        let block = self.buffer.split_to(end + 2);
        let text = std::str::from_utf8(&block).map_err(|_| MultipartError::Headers)?;
        let mut media = None;
        for line in text.split("\r\n").filter(|l| !l.is_empty() && !l.starts_with([' ', '\t'])) {
            let (name, value) = line.split_once(':').ok_or(MultipartError::Headers)?;
            if name.trim().eq_ignore_ascii_case("content-type") {
                media = value.split(';').next().map(|m| m.trim().to_ascii_lowercase());
            }
        }
        // The empty line's break stays in the buffer: RFC 2046 lets it begin the boundary that ends an empty part.
        self.state = State::Content { fresh: true };
        Ok(Some(Event::Part { media }))
    }

    fn content(&mut self, fresh: bool, ended: bool) -> Option<Event> {
        let at = match self.find(ended) {
            Found::Line(0, after, closing) => {
                let _ = self.buffer.split_to(after);
                self.state = if closing { State::Done } else { State::Headers };
                return Some(Event::PartEnd);
            }
            Found::NotBefore(0) => return None,
            Found::Line(at, ..) | Found::NotBefore(at) => at,
        };
        let mut data = self.buffer.split_to(at);
        if fresh {
            let _ = data.split_to(2);
            self.state = State::Content { fresh: false };
        }
        if data.is_empty() { self.content(false, ended) } else { Some(Event::Data(data.freeze())) }
    }

    /// The closing boundary has been seen.
    pub(crate) fn is_done(&self) -> bool {
        matches!(self.state, State::Done)
    }

    fn find(&self, ended: bool) -> Found {
        let (bytes, needle) = (&self.buffer[..], self.finder.needle());
        let mut from = 0;
        while let Some(at) = self.finder.find(&bytes[from..]).map(|i| from + i) {
            let after = at + needle.len();
            let padding = bytes[after..].iter().take_while(|b| matches!(b, b' ' | b'\t')).count();
            match bytes.get(after + padding..) {
                Some([b'-', b'-', ..]) if padding == 0 => return Found::Line(at, after + 2, true),
                // The line break stays in the buffer, before the headers.
                Some([b'\r', b'\n', ..]) if padding <= MOST_PADDING => {
                    return Found::Line(at, after + padding, false);
                }
                Some([] | [b'-'] | [b'\r']) if !ended && padding <= MOST_PADDING => {
                    return Found::NotBefore(at);
                }
                _ => from = at + 2,
            }
        }
        if ended { Found::NotBefore(bytes.len()) } else { Found::NotBefore(from.max(tail(bytes, needle))) }
    }
}

/// Where the last bytes begin that may be the start of a boundary.
fn tail(bytes: &[u8], needle: &[u8]) -> usize {
    let from = bytes.len().saturating_sub(needle.len() - 1);
    (from..bytes.len()).find(|i| needle.starts_with(&bytes[*i..])).unwrap_or(bytes.len())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parts(boundary: &str, body: &[u8], step: usize) -> Result<Vec<Vec<u8>>, MultipartError> {
        let mut parser = Parser::new(boundary);
        let mut chunks = body.chunks(step.max(1));
        let (mut parts, mut current, mut ended) = (Vec::new(), None, false);
        loop {
            match parser.next(ended)? {
                Some(Event::Part { .. }) => current = Some(Vec::new()),
                Some(Event::Data(d)) => current.as_mut().unwrap().extend_from_slice(&d),
                Some(Event::PartEnd) => {
                    parts.push(current.take().unwrap());
                    if parser.is_done() {
                        return Ok(parts);
                    }
                }
                Some(Event::End) => return Ok(parts),
                None => match chunks.next() {
                    Some(chunk) => parser.push(chunk),
                    None => ended = true,
                },
            }
        }
    }

    fn body(boundary: &str, contents: &[Vec<u8>]) -> Vec<u8> {
        let mut out = b"to be skipped".to_vec();
        for content in contents {
            out.extend_from_slice(
                format!("\r\n--{boundary}  \r\nContent-Type: application/dicom\r\n\r\n").as_bytes(),
            );
            out.extend_from_slice(content);
        }
        out.extend_from_slice(format!("\r\n--{boundary}--\r\nafter").as_bytes());
        out
    }

    #[test]
    fn content_that_resembles_the_boundary_is_content() {
        let tricky: Vec<Vec<u8>> =
            ["\r\n--bx", "\r\n--b -", "--b--", "\r\n--", "\r\n\r\n--b\rq", "\r\n--b-\r\n"]
                .iter()
                .map(|t| t.as_bytes().to_vec())
                .collect();
        let body = body("b", &tricky);
        for step in 1..body.len() {
            assert_eq!(parts("b", &body, step).unwrap(), tricky, "{step}");
        }
    }

    #[test]
    fn without_headers_and_without_content() {
        assert_eq!(parts("b", b"--b\r\n\r\n\r\n--b--", 3).unwrap(), [b""]);
        assert_eq!(parts("b", b"--b\r\n\r\n--b--", 100).unwrap(), [b""]);
        assert!(parts("b", b"--b--", 2).unwrap().is_empty());
    }

    #[test]
    fn what_is_cut_is_told() {
        let whole = body("b", &[vec![1, 2, 3]]);
        let end = whole.len() - "--\r\nafter".len();
        for cut in 0..end {
            assert!(parts("b", &whole[..cut], 7).is_err(), "{cut}");
        }
        assert_eq!(parts("b", &[b'x'; 100_000], 5000), Err(MultipartError::NoBoundary));
        let mut long = b"--b\r\nX: ".to_vec();
        long.resize(100_000, b'x');
        assert_eq!(parts("b", &long, 5000), Err(MultipartError::Headers));
        assert_eq!(parts("b", b"--b\r\nno header\r\n\r\nx\r\n--b--", 5), Err(MultipartError::Headers));
    }

    proptest! {
        #[test]
        fn any_content_in_any_chunks(contents in prop::collection::vec(prop::collection::vec(prop::sample::select(b"\r\n-bq\0".to_vec()), 0..40), 1..5), step in 1usize..50) {
            prop_assume!(contents.iter().all(|c| !memmem::find(&[b"\r\n", &c[..]].concat(), b"\r\n--bq").is_some()));
            prop_assert_eq!(parts("bq", &body("bq", &contents), step).unwrap(), contents);
        }

        #[test]
        fn nonsense_never_panics(bytes in prop::collection::vec(prop::sample::select(b"\r\n-b: x".to_vec()), 0..200), step in 1usize..20) {
            let _ = parts("b", &bytes, step);
        }
    }
}
