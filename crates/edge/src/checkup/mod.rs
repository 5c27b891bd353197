//! An examination of the edge as it is configured: doors, destinations, the link. It changes nothing, at a peer neither, unless a test object is
//! asked for.

mod dimse;
mod stow;

use overread_domain::{Check, Side};
use overread_wire::{Link, LinkError};

use crate::config::{Config, Destination, LinkConfig};
use crate::link::HttpLink;
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
    checks.extend(service(link).await);
    checks
}

/// The link: address, token, and a service that understands us.
async fn service(link: &LinkConfig) -> Vec<Check> {
    const NAME: &str = "link";
    if link.url.is_empty() {
        return vec![Check::ok(NAME, "`overread all` makes it for each run; for two machines, set [link]")];
    }
    let asked = match HttpLink::new(link) {
        Ok(client) => client.missing(&[]).await.map(|_| ()),
        Err(e) => Err(e),
    };
    vec![match asked {
        Ok(()) => Check::ok(NAME, format!("{} answers and knows our token", link.url)),
        Err(e @ LinkError::Unreachable { .. }) => Check::failed(NAME, sentence(&e), Side::Either)
            .at("link.url")
            .change("start the service there, or correct the address; look at the firewall between"),
        Err(e @ LinkError::Refused { .. }) => Check::failed(NAME, sentence(&e), Side::Ours)
            .at("link.token")
            .change("write the token that the service has below its [link] or in service.link_token"),
        Err(e @ LinkError::Busy { .. }) => Check::failed(NAME, sentence(&e), Side::Peers)
            .at("link.url")
            .change("look at the service's own log"),
        Err(e) => Check::failed(NAME, sentence(&e), Side::Ours).at("link.url").change("correct the address"),
    }]
}
