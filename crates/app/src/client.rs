//! `overread client`: who may come to this service. `overread enrol`: how an edge becomes one of them.

use std::io::Read;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use overread_domain::Clock;
use overread_edge::LinkConfig;
use overread_service::{Authority, clients};
use overread_store::Database;
use overread_wire::EnrolmentCode;
use serde_json::{Value, json};

use crate::cli::{ClientCommand, ClientPlace, EnrolArgs, Lines};
use crate::config::Config;
use crate::table;
use crate::token::actor;

/// Clients, codes and edges of a service.
pub async fn run(command: &ClientCommand) -> Result<ExitCode> {
    let now = Clock::machine().now();
    match command {
        ClientCommand::Add { name, place } => {
            clients::add(&database(&service(place)?).await?, now, &actor(), name).await?;
            table::print_line(&json!({ "added": name }))?;
        }
        ClientCommand::Ls { format, place } => list(*format, &service(place)?).await?,
        ClientCommand::Code { name, hours, place } => {
            let service = service(place)?;
            let database = database(&service).await?;
            let authority = Authority::load_or_create(&service.link_folder())?;
            let code = clients::code(&database, &authority, (now, &actor()), name, *hours).await?;
            table::remark(&format!(
                "The code is shown this once, and good for one edge within {hours} hours."
            ));
            table::print(&code.reveal())?;
        }
        ClientCommand::Revoke { edge, place } => {
            if !clients::revoke(&database(&service(place)?).await?, now, &actor(), edge).await? {
                bail!("no edge has the id {edge}, or it was revoked before; `overread client ls` lists them");
            }
            table::print_line(&json!({ "revoked": edge }))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn list(format: Lines, service: &overread_service::Config) -> Result<()> {
    let rows = serde_json::to_value(clients::list(&database(service).await?).await?)?;
    let Lines::Text = format else { return table::print_json(&rows) };
    let mut lines = Vec::new();
    for client in rows.as_array().into_iter().flatten() {
        let edges = client["edges"].as_array().cloned().unwrap_or_default();
        let mut named: Vec<Value> = if edges.is_empty() { vec![json!({})] } else { edges };
        named.iter_mut().for_each(|edge| edge["client"] = client["client"].clone());
        lines.extend(named);
    }
    let names = ["client", "id", "name", "enrolled_at", "revoked_at", "unsent", "fingerprint"];
    table::print(&table::columns(&names, &lines))
}

fn service(place: &ClientPlace) -> Result<overread_service::Config> {
    Config::read(place.config.as_deref())?.section("service")
}

async fn database(service: &overread_service::Config) -> Result<Database> {
    let migrations = overread_service::schema::MIGRATIONS;
    Ok(Database::open(&service.database_url(), "service", migrations).await?)
}

/// Enrols this edge.
pub async fn enrol(args: &EnrolArgs) -> Result<ExitCode> {
    let config = Config::read(args.config.as_deref())?;
    let edge: overread_edge::Config = config.section("edge")?;
    let mut link: LinkConfig = config.section("link")?;
    if let Some(url) = &args.url {
        link.url.clone_from(url);
    }
    if !link.url.starts_with("https://") {
        bail!(
            "an edge enrols at an address that begins with https://; give it with --url, or write it as link.url"
        );
    }
    let folder = link.folder(&edge.data);
    if !args.again && overread_edge::link::Identity::read(&folder)?.is_some() {
        bail!("this edge has a certificate already, in {}; --again replaces it", folder.display());
    }
    let code = EnrolmentCode::parse(&code(&args.code)?)?;
    let name = args.name.clone().unwrap_or_else(machine);
    let enrolled = overread_edge::link::enrol(&link, &edge.data, &code, &name).await?;
    table::print_line(&json!({ "edge": enrolled.edge, "client": enrolled.client }))?;
    table::remark(&format!("Write below [link]: url = \"{}\" and no token. Start the edge again.", link.url));
    Ok(ExitCode::SUCCESS)
}

fn code(given: &str) -> Result<String> {
    if given != "-" {
        return Ok(given.to_owned());
    }
    let mut text = String::new();
    std::io::stdin().take(4096).read_to_string(&mut text).context("reading the code from standard input")?;
    Ok(text)
}

/// The machine's name, as far as it can be one.
fn machine() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let plain = |c: &char| c.is_ascii_alphanumeric() || " ._-".contains(*c);
    let name: String = name.trim().chars().filter(plain).take(64).collect();
    if name.is_empty() { "edge".into() } else { name }
}
