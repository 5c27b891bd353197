//! An examination of the edge as it is configured: doors, destinations, the link. It changes nothing, at a peer neither, unless a test object is
//! asked for.

mod dimse;
mod stow;

use std::path::Path;

use overread_domain::{Check, Side, Verdict};
use overread_wire::{Link, LinkError};

use crate::config::{Config, Destination, LinkConfig};
use crate::link::{HttpLink, Identity};
use overread_domain::sentence;

/// Seconds that our clock and a peer's may differ.
const SKEW: u64 = 60;

/// Examines everything but the HTTP door; with `store`, a test object is sent to each destination.
pub async fn examine(config: &Config, link: &LinkConfig, store: bool) -> Vec<Check> {
    if let Err(e) = config.check() {
        return vec![Check::failed("edge: configuration", e.problem, Side::Ours).at(e.key)];
    }
    let mut checks = overread_store::checkup::folder("edge", &config.data, config.limits.reserve_bytes);
    checks.extend(crate::vault::checkup::examine(config).await);
    checks.extend(dimse::own_door(config).await);
    if config.destinations.is_empty() {
        checks.push(
            Check::warning("destinations", "there is none: results stay here", Side::Ours)
                .at("edge.destination")
                .change("add [edge.destination.pacs] with kind, host, port and ae_title"),
        );
    }
    for (name, destination) in &config.destinations {
        match destination {
            Destination::Dimse { .. } => {
                checks.extend(dimse::destination(config, name, destination, store).await)
            }
            Destination::Stow { .. } => checks.extend(stow::destination(name, destination, store).await),
        }
    }
    checks.extend(service(link, &config.data).await);
    checks
}

/// The link: address, what we show, and a service that understands us.
async fn service(link: &LinkConfig, data: &Path) -> Vec<Check> {
    const NAME: &str = "link";
    if link.url.is_empty() {
        return vec![Check::ok(NAME, "`overread all` makes it for each run; for two machines, set [link]")];
    }
    if let Err(e) = link.check() {
        return vec![Check::failed(NAME, e.problem, Side::Ours).at(e.key).change("write what is said here")];
    }
    let mutual = link.token.is_empty() && link.url.starts_with("https://");
    let mut checks = if mutual { certificate(&link.folder(data)) } else { vec![] };
    if checks.iter().any(|c| c.verdict == Verdict::Failed) {
        return checks;
    }
    let asked = match HttpLink::open(link, data) {
        Ok(client) => client.missing(&[]).await.map(|_| ()),
        Err(e) => Err(e),
    };
    let (shown, key, change) = if mutual {
        ("certificate", "link.dir", "ask the service for a code (`overread client code`) and enrol again")
    } else {
        ("token", "link.token", "write the token that the service has as service.link_token")
    };
    checks.push(match asked {
        Ok(()) => Check::ok(NAME, format!("{} answers and knows our {shown}", link.url)),
        Err(e @ LinkError::Unreachable { .. }) => Check::failed(NAME, sentence(&e), Side::Either)
            .at("link.url")
            .change("start the service there, or correct the address; look at the firewall between"),
        Err(e @ LinkError::Refused { .. }) => {
            Check::failed(NAME, sentence(&e), Side::Ours).at(key).change(change)
        }
        Err(e @ LinkError::Busy { .. }) => Check::failed(NAME, sentence(&e), Side::Peers)
            .at("link.url")
            .change("look at the service's own log"),
        Err(e) => Check::failed(NAME, sentence(&e), Side::Ours).at("link.url").change("correct the address"),
    });
    checks
}

/// The certificate with which the service knows us.
fn certificate(folder: &Path) -> Vec<Check> {
    const NAME: &str = "link: certificate";
    let change = "get a code from the service (`overread client code`), then `overread enrol --url URL CODE`";
    let identity = match Identity::read(folder) {
        Ok(Some(identity)) => identity,
        Ok(None) => {
            let found = format!("this edge is not enrolled: nothing is in {}", folder.display());
            return vec![Check::failed(NAME, found, Side::Ours).at("link.dir").change(change)];
        }
        Err(e) => return vec![Check::failed(NAME, e.to_string(), Side::Ours).at("link.dir").change(change)],
    };
    let now = overread_domain::Clock::machine().now();
    let days = identity.validity().map_or(0, |(_, until)| (until.0 - now.0) / 86_400_000);
    if days <= 0 {
        let found = "it is not valid any more";
        return vec![Check::failed(NAME, found, Side::Ours).at("link.dir").change(change)];
    }
    let (edge, client) = identity.names().unwrap_or_default();
    vec![Check::ok(NAME, format!("edge {edge} of client {client}, valid for {days} more days"))]
}
