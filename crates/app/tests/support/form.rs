//! The edge's form for photographs.

use overread_testkit::http::{Answer, request};

/// The body of a form of texts and pictures, the pictures under the name `picture`.
pub fn form(parts: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let mut body = Vec::new();
    for (name, content) in parts {
        let file = if *name == "picture" { "; filename=\"CANARY name.bin\"" } else { "" };
        let head = format!("--edge\r\nContent-Disposition: form-data; name=\"{name}\"{file}\r\n\r\n");
        body.extend_from_slice(head.as_bytes());
        body.extend_from_slice(content);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(b"--edge--\r\n");
    body
}

/// Sends the body of a form to an edge.
pub fn upload(edge: &str, body: &[u8]) -> Answer {
    let kind = [("content-type", "multipart/form-data; boundary=edge")];
    request("POST", &format!("{edge}/api/v1/photographs"), &kind, body).unwrap()
}
