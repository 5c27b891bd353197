//! A plain, blocking HTTP client that may be used from asynchronous tests too, and DICOMweb's multipart bodies.

use std::time::Duration;

use serde_json::Value;

/// What a server answered.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Status code.
    pub status: u16,
    /// Header names in lower case, and values.
    pub headers: Vec<(String, String)>,
    /// The whole body.
    pub body: Vec<u8>,
}

/// One part of a multipart body: its header lines, and its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// Header names in lower case, and values.
    pub headers: Vec<(String, String)>,
    /// Content.
    pub body: Vec<u8>,
}

/// Sends a request and reads the whole answer, whatever its status.
///
/// # Errors
/// No answer: the peer is away, closes early, or takes more than a minute.
pub fn request(method: &str, url: &str, headers: &[(&str, &str)], body: &[u8]) -> Result<Answer, String> {
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .allow_non_standard_methods(true)
        .timeout_global(Some(Duration::from_secs(60)))
        .max_idle_connections(0)
        .build()
        .into();
    let mut builder = ureq::http::Request::builder().method(method).uri(url);
    for (name, value) in headers {
        builder = builder.header(*name, *value);
    }
    let wrong = |e: &dyn std::fmt::Display| format!("{method} {url}: {e}");
    let mut answer = if body.is_empty() && matches!(method, "GET" | "HEAD" | "DELETE" | "OPTIONS") {
        agent.run(builder.body(()).map_err(|e| wrong(&e))?)
    } else {
        agent.run(builder.body(body).map_err(|e| wrong(&e))?)
    }
    .map_err(|e| wrong(&e))?;
    let text = |value: &ureq::http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    Ok(Answer {
        status: answer.status().as_u16(),
        headers: answer.headers().iter().map(|(n, v)| (n.as_str().to_owned(), text(v))).collect(),
        body: answer.body_mut().with_config().limit(u64::MAX).read_to_vec().map_err(|e| wrong(&e))?,
    })
}

/// A GET without headers.
///
/// # Errors
/// As [`request`].
pub fn get(url: &str) -> Result<Answer, String> {
    request("GET", url, &[], &[])
}

impl Answer {
    /// Itself, where the status is of the 200s.
    ///
    /// # Panics
    /// It is another; the panic shows the body's beginning.
    pub fn ok(self) -> Self {
        let shown = String::from_utf8_lossy(&self.body[..self.body.len().min(2000)]).into_owned();
        assert!((200..300).contains(&self.status), "status {}: {shown}", self.status);
        self
    }

    /// The body as JSON.
    ///
    /// # Panics
    /// It is none.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{e}: {}", self.text()))
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The value of a header; its name in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    /// The parts of a `multipart/related` body (RFC 2387).
    ///
    /// # Panics
    /// It is none, or its boundaries are not as announced.
    pub fn parts(&self) -> Vec<Part> {
        let kind = self.header("content-type").expect("a content type");
        assert!(kind.starts_with("multipart/related"), "{kind} is not multipart/related");
        let boundary = kind.split(';').find_map(|p| p.trim().strip_prefix("boundary=")).expect("a boundary");
        split(&self.body, boundary.trim_matches('"')).expect("a well-formed multipart body")
    }
}

/// The parts between boundaries; none where the body is not well formed.
fn split(body: &[u8], boundary: &str) -> Option<Vec<Part>> {
    let delimiter = format!("--{boundary}");
    let mut rest = &body[find(body, delimiter.as_bytes())? + delimiter.len()..];
    let (delimiter, mut parts) = (format!("\r\n{delimiter}"), vec![]);
    while !rest.starts_with(b"--") {
        rest = rest.strip_prefix(b"\r\n")?;
        // A part without header lines begins with the empty line.
        let (head, from) = match rest.strip_prefix(b"\r\n") {
            Some(_) => (&rest[..0], 2),
            None => find(rest, b"\r\n\r\n").map(|at| (&rest[..at], at + 4))?,
        };
        let end = from + find(&rest[from..], delimiter.as_bytes())?;
        let lines = String::from_utf8_lossy(head).into_owned();
        let headers = lines
            .lines()
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.trim().to_lowercase(), value.trim().to_owned()))
            .collect();
        parts.push(Part { headers, body: rest[from..end].to_vec() });
        rest = &rest[end + delimiter.len()..];
    }
    Some(parts)
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    // The first byte is looked for apart, because bodies are large.
    let first = *needle.first()?;
    let mut from = 0;
    while let Some(at) = haystack.get(from..)?.iter().position(|b| *b == first) {
        if haystack[from + at..].starts_with(needle) {
            return Some(from + at);
        }
        from += at + 1;
    }
    None
}

/// What a STOW-RS server said of each instance it was sent (PS3.18 §10.5.3).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stowed {
    /// SOP Instance UIDs that it keeps: (0008,1199) Referenced SOP Sequence.
    pub kept: Vec<String>,
    /// SOP Instance UIDs that it refused, with the reason: (0008,1198) Failed SOP Sequence, (0008,1197) Failure Reason.
    pub refused: Vec<(String, u16)>,
}

/// Stores files by STOW-RS in one request.
///
/// # Errors
/// As [`request`]; and an answer that is not of STOW-RS, such as 503.
pub fn stow(studies_url: &str, headers: &[(&str, &str)], files: &[Vec<u8>]) -> Result<Stowed, String> {
    // Pixels do not hold it: it would have to be random otherwise.
    const BOUNDARY: &str = "8f2c4d5e-overread-testkit-boundary";
    let mut body = vec![];
    for file in files {
        body.extend_from_slice(format!("--{BOUNDARY}\r\nContent-Type: application/dicom\r\n\r\n").as_bytes());
        body.extend_from_slice(file);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(format!("--{BOUNDARY}--\r\n").as_bytes());
    let kind = format!("multipart/related; type=\"application/dicom\"; boundary={BOUNDARY}");
    let mut all = vec![("Content-Type", kind.as_str()), ("Accept", "application/dicom+json")];
    all.extend_from_slice(headers);
    let answer = request("POST", studies_url, &all, &body)?;
    if !matches!(answer.status, 200 | 202 | 409) {
        return Err(format!("STOW-RS answered {}", answer.status));
    }
    let json: Value =
        serde_json::from_slice(&answer.body).map_err(|e| format!("STOW-RS answered no JSON: {e}"))?;
    let items = |tag: &str| json[tag]["Value"].as_array().cloned().unwrap_or_default();
    let uid = |item: &Value| item["00081155"]["Value"][0].as_str().unwrap_or_default().to_owned();
    let reason =
        |item: &Value| item["00081197"]["Value"][0].as_u64().and_then(|v| u16::try_from(v).ok()).unwrap_or(0);
    Ok(Stowed {
        kept: items("00081199").iter().map(&uid).collect(),
        refused: items("00081198").iter().map(|item| (uid(item), reason(item))).collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(headers: &[(&str, &str)], body: &[u8]) -> Part {
        let headers = headers.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
        Part { headers, body: body.to_vec() }
    }

    #[test]
    fn parts_keep_their_bytes() {
        let body = b"preamble\r\n--b\r\nContent-Type: text/plain\r\n\r\n-\r\n-bytes\r\n\r\n--b\r\n\r\n\0\xff\r\n--b--\r\nepilogue";
        let expected =
            vec![part(&[("content-type", "text/plain")], b"-\r\n-bytes\r\n"), part(&[], b"\0\xff")];
        assert_eq!(split(body, "b"), Some(expected));
        assert_eq!(split(b"--b--", "b"), Some(vec![]));
    }

    #[test]
    fn a_body_without_its_last_boundary_is_refused() {
        assert_eq!(split(b"--b\r\n\r\nhalf", "b"), None);
        assert_eq!(split(b"--b\r\n\r\nwhole\r\n--b", "b"), None);
        assert_eq!(split(b"", "b"), None);
    }
}
