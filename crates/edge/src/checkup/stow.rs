//! DICOMweb destinations: address, token, certificate, clock.

use std::time::Duration;

use chrono::{DateTime, Utc};
use overread_domain::{Check, Side};

use super::SKEW;
use crate::config::Destination;
use crate::deliver::stow;
use overread_domain::sentence;

/// A STOW-RS destination: asked for one study by QIDO-RS, which changes nothing there.
pub async fn destination(name: &str, destination: &Destination, store: bool) -> Vec<Check> {
    let Destination::Stow { url, token_file, authority } = destination else { return vec![] };
    let section = format!("edge.destination.{name}");
    let label = |what: &str| format!("destination {name}: {what}");
    let client = match stow::client(authority.as_deref()) {
        Ok(client) => client,
        Err(t) => {
            return vec![
                Check::failed(label("authority"), t.why().to_owned(), Side::Ours)
                    .at(format!("{section}.authority")),
            ];
        }
    };
    let mut request = client
        .get(format!("{}/studies?limit=1", url.trim_end_matches('/')))
        .header("accept", "application/dicom+json")
        .timeout(Duration::from_secs(20));
    if let Some(file) = token_file {
        match std::fs::read_to_string(file) {
            Ok(token) => request = request.bearer_auth(token.trim()),
            Err(e) => {
                let found = format!("{} cannot be read: {e}", file.display());
                return vec![
                    Check::failed(label("token"), found, Side::Ours).at(format!("{section}.token_file")),
                ];
            }
        }
    }
    let answer = match request.send().await {
        Ok(answer) => answer,
        Err(e) => {
            let found = sentence(&e.without_url());
            let (key, change) = if found.contains("certificate") {
                ("authority", "name the authority that signed the server's certificate")
            } else {
                ("url", "start the server, correct the address, or look at the network between")
            };
            return vec![
                Check::failed(label("DICOMweb"), found, Side::Either)
                    .at(format!("{section}.{key}"))
                    .change(change),
            ];
        }
    };
    let mut checks: Vec<Check> = clock(label("clock"), answer.headers()).into_iter().collect();
    checks.push(answered(label("DICOMweb"), &section, answer.status().as_u16()));
    if store && checks.iter().all(|c| c.verdict != overread_domain::Verdict::Failed) {
        checks.push(test_object(label("test object"), &section, destination).await);
    }
    checks
}

/// What an answer to the question for one study means.
fn answered(label: String, section: &str, status: u16) -> Check {
    let found = format!("QIDO-RS answers {status}");
    match status {
        200 | 204 => Check::ok(label, found),
        401 | 403 => Check::failed(label, found, Side::Ours)
            .at(format!("{section}.token_file"))
            .change("name a file with a bearer token that the server accepts for reading and storing"),
        404 | 405 => Check::failed(label, found, Side::Ours).at(format!("{section}.url")).change(
            "write the base address of its DICOMweb services, such as https://pacs.example/dicom-web",
        ),
        _ => Check::failed(label, found, Side::Peers).change("look in the server's log"),
    }
}

async fn test_object(label: String, section: &str, destination: &Destination) -> Check {
    let Some(file) = super::dimse::test_file() else {
        return Check::failed(label, "the test object cannot be made", Side::Ours);
    };
    match stow::send(destination, &[file.path()]).await {
        Ok(()) => Check::ok(label, "stored; delete it there"),
        Err(t) => Check::failed(label, t.why().to_owned(), Side::Peers)
            .at(format!("{section}.url"))
            .change("at the server: allow this client to store"),
    }
}

/// Compares clocks by the answer's `Date` header.
fn clock(label: String, headers: &reqwest::header::HeaderMap) -> Option<Check> {
    let theirs = DateTime::parse_from_rfc2822(headers.get("date")?.to_str().ok()?).ok()?;
    let apart = (Utc::now() - theirs.to_utc()).num_seconds().unsigned_abs();
    Some(if apart > SKEW {
        let found = format!("our clock and the server's are {apart} s apart");
        Check::warning(label, found, Side::Either).change("keep both clocks by NTP")
    } else {
        Check::ok(label, format!("our clock and the server's agree within {SKEW} s"))
    })
}
