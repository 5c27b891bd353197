//! DICOM peers: are they there, do they know us, do they take what we make?

use std::path::Path;
use std::time::Duration;

use dicom_dictionary_std::uids;
use overread_dicom::write::wrap::wrap_radiograph;
use overread_dicom::write::{ContentUids, GreyPixels, Stamp, WrapHeader};
use overread_dimse::{AeTitle, DimseError, Peer, Rejection, Sender, contexts_of, echo, speaks_tls};
use overread_domain::image::GridSize;
use overread_domain::{Check, Identified, Side, Uid};

use crate::config::{Config, Destination};
use crate::deliver::peer_of;
use overread_domain::sentence;

/// What a destination has to take, and in words.
const DOCUMENTS: [(&str, &str); 3] = [
    (uids::COMPREHENSIVE3_DSR_STORAGE, "Comprehensive 3D SR"),
    (uids::SECONDARY_CAPTURE_IMAGE_STORAGE, "Secondary Capture"),
    (uids::KEY_OBJECT_SELECTION_DOCUMENT_STORAGE, "Key Object Selection (rejection notes)"),
];

/// Runs a question to a peer beside the runtime: the association blocks.
async fn ask<T: Send + 'static>(
    question: impl FnOnce() -> Result<T, DimseError> + Send + 'static,
) -> Result<T, DimseError> {
    let lost = |_| Err(DimseError::Setting("the question to the peer was lost"));
    tokio::task::spawn_blocking(question).await.unwrap_or_else(lost)
}

/// Our own DICOM door: certificate and key, and who answers at the address.
pub async fn own_door(config: &Config) -> Vec<Check> {
    const NAME: &str = "edge: DICOM door";
    let dimse = &config.dimse;
    let key = "edge.dimse.bind";
    if let Err(e) = crate::door::tls(dimse) {
        let change = "name a PEM certificate with its chain, and the private key that belongs to it";
        return vec![Check::failed(NAME, sentence(&e), Side::Ours).at("edge.dimse.tls").change(change)];
    }
    if tokio::net::TcpStream::connect(dimse.bind).await.is_err() {
        return vec![match std::net::TcpListener::bind(dimse.bind) {
            Ok(_) => Check::warning(
                NAME,
                format!("nobody listens on {}: the edge is not running", dimse.bind),
                Side::Ours,
            )
            .change("start it: overread all"),
            Err(e) => Check::failed(NAME, format!("{} cannot be listened on: {e}", dimse.bind), Side::Ours)
                .at(key)
                .change("choose an address of this machine and a port that is free and allowed"),
        }];
    }
    if dimse.tls.is_some() {
        return vec![Check::ok(NAME, format!("somebody listens on {}; certificate and key fit", dimse.bind))];
    }
    let calling = dimse.calling.first().unwrap_or(&dimse.ae_title);
    let (Ok(ae_title), Ok(our_ae_title)) = (AeTitle::parse(&dimse.ae_title), AeTitle::parse(calling)) else {
        let found = "1 to 16 characters, no backslash".to_owned();
        return vec![Check::failed(NAME, found, Side::Ours).at("edge.dimse.ae_title")];
    };
    let (host, port) = (dimse.bind.ip().to_string(), dimse.bind.port());
    let patience = Duration::from_secs(10);
    let peer = Peer { ae_title, our_ae_title, host, port, tls: None, connect: patience, answer: patience };
    vec![match ask(move || echo(&peer)).await {
        Ok(answer)
            if answer
                .implementation_version
                .as_deref()
                .is_some_and(|v| v.starts_with(overread_dimse::IMPLEMENTATION_VERSION_NAME)) =>
        {
            Check::ok(NAME, format!("C-ECHO as {calling} to {} at {}", dimse.ae_title, dimse.bind))
        }
        Ok(_) | Err(DimseError::Rejected { .. }) => Check::failed(
            NAME,
            format!("another DICOM program, or another edge, answers on {}", dimse.bind),
            Side::Ours,
        )
        .at(key)
        .change("end that program, or choose another port"),
        Err(e) => Check::failed(NAME, sentence(&e), Side::Ours)
            .at(key)
            .change("another program may have this port; choose another"),
    }]
}

/// A C-STORE destination.
pub async fn destination(config: &Config, name: &str, destination: &Destination, store: bool) -> Vec<Check> {
    let section = format!("edge.destination.{name}");
    let label = |what: &str| format!("destination {name}: {what}");
    let peer = match peer_of(destination, &config.dimse.ae_title) {
        Ok(peer) => Peer { answer: Duration::from_secs(15), ..peer },
        Err(trouble) => {
            let key = if matches!(destination, Destination::Dimse { tls: Some(_), .. }) {
                "tls"
            } else {
                "ae_title"
            };
            let found = trouble.why().to_owned();
            return vec![Check::failed(label("settings"), found, Side::Ours).at(format!("{section}.{key}"))];
        }
    };
    let mut checks = Vec::new();
    let asked = peer.clone();
    match ask(move || echo(&asked)).await {
        Ok(_) => checks
            .push(Check::ok(label("C-ECHO"), format!("{} answers as {}", peer.ae_title, peer.our_ae_title))),
        // Some peers offer storage and no verification: what follows tells.
        Err(DimseError::NoContext { .. }) => {}
        Err(e) => {
            checks.push(
                hangs_up(&label("C-ECHO"), &section, &peer, &e)
                    .await
                    .unwrap_or_else(|| told(label("C-ECHO"), &section, &peer, &e)),
            );
            return checks;
        }
    }
    checks.push(documents(label("documents"), &section, &peer).await);
    if store {
        checks.push(test_object(label("test object"), &section, &peer).await);
    }
    checks.extend(way_back(config, name, &peer));
    checks
}

/// A peer that hangs up on a plain association may be one that speaks TLS.
async fn hangs_up(label: &str, section: &str, peer: &Peer, error: &DimseError) -> Option<Check> {
    if peer.tls.is_some()
        || !matches!(
            error,
            DimseError::Broken { .. } | DimseError::Aborted { .. } | DimseError::Protocol { .. }
        )
    {
        return None;
    }
    let asked = peer.clone();
    if !ask(move || Ok(speaks_tls(&asked))).await.unwrap_or(false) {
        return None;
    }
    let found = format!("{} speaks TLS on port {}, and we spoke plainly", peer.ae_title, peer.port);
    let change = "add tls = { authority = \"…\" } with the authority that signed its certificate, or take its plain port";
    Some(Check::failed(label, found, Side::Ours).at(format!("{section}.tls")).change(change))
}

/// Whether the peer takes what we make.
async fn documents(label: String, section: &str, peer: &Peer) -> Check {
    let contexts: Vec<(Uid, Vec<String>)> = DOCUMENTS
        .iter()
        .filter_map(|(class, _)| {
            Some((Uid::parse(class).ok()?, vec![uids::EXPLICIT_VR_LITTLE_ENDIAN.to_owned()]))
        })
        .collect();
    let asked = peer.clone();
    let taken = ask(move || {
        let sender = Sender::connect(&asked, &contexts)?;
        let taken: Vec<String> = sender.accepted().map(str::to_owned).collect();
        sender.release()?;
        Ok(taken)
    });
    let taken = match taken.await {
        Ok(taken) => taken,
        Err(DimseError::NoContext { .. }) => vec![],
        Err(e) => return told(label, section, peer, &e),
    };
    let missing: Vec<&str> = DOCUMENTS
        .iter()
        .filter(|(class, _)| !taken.iter().any(|t| t == class))
        .map(|(_, word)| *word)
        .collect();
    if missing.is_empty() {
        return Check::ok(label, "structured reports, secondary captures and rejection notes are taken");
    }
    let found = format!("{} does not take {}", peer.ae_title, missing.join(", "));
    let change = format!(
        "at {}: allow these storage SOP classes in Explicit VR Little Endian for {}",
        peer.ae_title, peer.our_ae_title
    );
    // Without reports there are no results; without notes a withdrawn report only stays visible.
    if missing.iter().any(|m| m.contains("SR") || m.contains("Capture")) {
        Check::failed(label, found, Side::Peers).change(change)
    } else {
        Check::warning(label, found, Side::Peers).change(change)
    }
}

/// Sends a picture that says in every field that it is a test.
async fn test_object(label: String, section: &str, peer: &Peer) -> Check {
    let asked = peer.clone();
    let sent = ask(move || {
        let file = test_file().ok_or(DimseError::Setting("the test object cannot be made"))?;
        let paths: [&Path; 1] = [file.path()];
        let mut sender = Sender::connect(&asked, &contexts_of(&paths)?)?;
        let status = sender.store(file.path())?;
        sender.release()?;
        Ok(status)
    });
    match sent.await {
        Ok(status) if status == 0 || status >> 12 == 0xB => Check::ok(
            label,
            format!("stored (status {status:04X}) under Patient ID {TEST_PATIENT}; delete it there"),
        ),
        Ok(status) => Check::failed(
            label,
            format!("{} refused it with status {status:04X}", peer.ae_title),
            Side::Peers,
        )
        .change(format!(
            "at {}: look in its log why it refuses objects of {}",
            peer.ae_title, peer.our_ae_title
        )),
        Err(e) => told(label, section, peer, &e),
    }
}

/// The patient of test objects.
const TEST_PATIENT: &str = "OVERREAD-TEST";

/// A grey square as a Computed Radiography Image, which every archive takes, under UIDs of its own.
pub(super) fn test_file() -> Option<tempfile::NamedTempFile> {
    let uid = || Uid::parse(&format!("2.25.{}", rand::random::<u128>())).ok();
    let uids = ContentUids { study: uid()?, series: uid()?, instance: uid()? };
    let mut header = WrapHeader::new(uids, Stamp::new(chrono::Utc::now().timestamp(), 0));
    header.patient_id = Some(Identified::new(TEST_PATIENT.to_owned()));
    header.patient_name = Some(Identified::new("TEST^OVERREAD".to_owned()));
    header.description = Some("Test of a connection: not a patient".to_owned());
    header.burned_in = Some(false);
    let size = GridSize { columns: 16, rows: 16 };
    let object = wrap_radiograph(&header, size, GreyPixels::U8(&[128; 16 * 16]), None).ok()?;
    let file = tempfile::NamedTempFile::new().ok()?;
    object.write_to_file(file.path()).ok()?;
    Some(file)
}

/// Whether the peer's own images would be let in.
fn way_back(config: &Config, name: &str, peer: &Peer) -> Option<Check> {
    let dimse = &config.dimse;
    if dimse.calling.is_empty() || dimse.calling.iter().any(|title| title.trim() == peer.ae_title.as_str()) {
        return None;
    }
    let found = format!(
        "images that {} sends are refused: its AE title is not among those that may call",
        peer.ae_title
    );
    let change = format!("add \"{}\" to calling, if images come from there", peer.ae_title);
    Some(
        Check::warning(format!("destination {name}: way back"), found, Side::Ours)
            .at("edge.dimse.calling")
            .change(change),
    )
}

/// An error as a check: the side, the key, and what to change.
fn told(label: String, section: &str, peer: &Peer, error: &DimseError) -> Check {
    let at = |key: &str| format!("{section}.{key}");
    let (them, us) = (&peer.ae_title, &peer.our_ae_title);
    let (key, change) = match error {
        DimseError::Resolve { .. } => (at("host"), "correct the host name, or the name service".to_owned()),
        DimseError::Refused { .. } => (at("port"), format!("nobody listens there: start {them}, or correct host and port")),
        DimseError::Rejected { rejection: Rejection::CalledAeTitle, .. } => {
            (at("ae_title"), format!("the peer is not called {them}: write the AE title that it has"))
        }
        DimseError::Rejected { rejection: Rejection::CallingAeTitle, .. } => (
            at("our_ae_title"),
            format!("at the peer: register AE title {us} with this machine's address and port; or set our_ae_title to one that it knows"),
        ),
        DimseError::Tls { .. } if peer.tls.is_some() => (
            at("tls"),
            "authority is to hold the certificate that signed the peer's; certificate and key are to be ones the peer trusts; if the peer \
             speaks no TLS on this port, take its TLS port or remove tls"
                .to_owned(),
        ),
        DimseError::Tls { .. } => (at("tls"), "the peer speaks TLS: add tls = { authority = \"…\" }".to_owned()),
        DimseError::NoContext { .. } => (section.to_owned(), format!("at {them}: allow these SOP classes for {us}")),
        _ => (at("host"), format!("look at {them} and at the network between: host, port, firewall")),
    };
    Check::failed(label, sentence(error), error.side()).at(key).change(change)
}
