//! STOW-RS to a destination (PS3.18 §10.5).

use std::path::Path;
use std::time::Duration;

use overread_store::Trouble;

use crate::config::Destination;
use overread_domain::sentence;

fn failed(what: &str, e: &dyn std::error::Error) -> Trouble {
    Trouble::Failed { why: format!("{what}: {}", sentence(e)) }
}

/// A client that trusts the destination's authority besides the public ones.
pub(crate) fn client(authority: Option<&Path>) -> Result<reqwest::Client, Trouble> {
    let mut builder = reqwest::Client::builder()
        .connect_timeout(Duration::from_secs(10))
        .read_timeout(Duration::from_secs(60));
    if let Some(path) = authority {
        let pem = std::fs::read(path).map_err(|e| failed("reading the destination's authority", &e))?;
        let certificate =
            reqwest::Certificate::from_pem(&pem).map_err(|e| failed("the destination's authority", &e))?;
        builder = builder.tls_certs_merge([certificate]);
    }
    builder.build().map_err(|e| failed("setting up the request", &e))
}

/// Sends files in one request.
pub(crate) async fn send(destination: &Destination, files: &[&Path]) -> Result<(), Trouble> {
    let Destination::Stow { url, token_file, authority } = destination else {
        return Err(Trouble::Never { why: "this destination is not reached by STOW-RS".into() });
    };
    let client = client(authority.as_deref())?;
    let boundary = format!("overread-{:032x}", rand::random::<u128>());
    let mut body = Vec::new();
    for file in files {
        let bytes = std::fs::read(file).map_err(|e| failed("reading a document", &e))?;
        body.extend(format!("--{boundary}\r\nContent-Type: application/dicom\r\n\r\n").into_bytes());
        body.extend(bytes);
        body.extend(b"\r\n");
    }
    body.extend(format!("--{boundary}--\r\n").into_bytes());
    let mut request = client
        .post(format!("{}/studies", url.trim_end_matches('/')))
        .header("content-type", format!("multipart/related; type=\"application/dicom\"; boundary={boundary}"))
        .header("accept", "application/dicom+json")
        .body(body);
    if let Some(path) = token_file {
        let token =
            std::fs::read_to_string(path).map_err(|e| failed("reading the destination's token", &e))?;
        request = request.bearer_auth(token.trim());
    }
    let answer = request.send().await.map_err(|e| Trouble::Later { why: sentence(&e.without_url()) })?;
    let status = answer.status();
    let why = format!("the destination answered {status}");
    match status.as_u16() {
        200 => Ok(()),
        408 | 429 | 500..=599 => Err(Trouble::Later { why }),
        // 202: some were not stored.
        _ => Err(Trouble::Failed { why }),
    }
}
