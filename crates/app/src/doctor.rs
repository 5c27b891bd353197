//! `overread doctor`: examines an installation, running or not, and names the side that is to change something and the line to change.

use std::process::ExitCode;

use anyhow::Result;
use overread_domain::{Check, Side, Verdict};
use overread_edge::LinkConfig;
use overread_http::HttpConfig;

use crate::ask::{Role, address};
use crate::cli::{DoctorArgs, Lines, Shared};
use crate::config::{Config, Refused};
use crate::{library, table};

/// Runs all checks and prints them. Status 0 if nothing failed, 1 otherwise.
pub async fn run(shared: &Shared, args: &DoctorArgs) -> Result<ExitCode> {
    let (config, checks) = match Config::read(args.config.as_deref()) {
        Ok(config) => {
            let checks = examine(shared, args, &config).await;
            (Some(config), checks)
        }
        Err(e) => (None, vec![refused(&e)]),
    };
    let failed = checks.iter().filter(|c| c.verdict == Verdict::Failed).count();
    let place = |check: &Check| {
        let place = config.as_ref().zip(check.key.as_ref()).map(|(config, key)| config.place(key));
        place.unwrap_or_default()
    };
    match args.format {
        Lines::Json => table::print_json(&json(&checks, place)?)?,
        Lines::Text => {
            for check in &checks {
                table::print(&lines(check, &place(check)))?;
            }
            let warnings = checks.iter().filter(|c| c.verdict == Verdict::Warning).count();
            table::print(&format!("{} checks, {failed} failed, {warnings} to look at", checks.len()))?;
        }
    }
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::from(crate::CANNOT) })
}

async fn examine(shared: &Shared, args: &DoctorArgs, config: &Config) -> Vec<Check> {
    let mut checks = Vec::new();
    if args.role != Some(Role::Service) {
        match (config.section("edge"), config.section::<LinkConfig>("link")) {
            (Ok(edge), Ok(link)) => {
                let edge: overread_edge::Config = edge;
                checks.extend(overread_edge::checkup::examine(&edge, &link, args.test_store).await);
                checks.extend(http_door(Role::Edge, &edge.http).await);
            }
            (Err(e), _) | (_, Err(e)) => checks.push(refused(&e)),
        }
    }
    if args.role != Some(Role::Edge) {
        match config.section::<overread_service::Config>("service") {
            Ok(service) => checks.extend(examine_service(shared, config, &service).await),
            Err(e) => checks.push(refused(&e)),
        }
    }
    checks
}

fn refused(error: &anyhow::Error) -> Check {
    let name = if error.is::<Refused>() { "configuration" } else { "configuration file" };
    Check::failed(name, format!("{error:#}"), Side::Ours).change("correct that line")
}

async fn examine_service(shared: &Shared, config: &Config, service: &overread_service::Config) -> Vec<Check> {
    // Under `overread all` the link's token is made for each run.
    let mut checked = service.clone();
    let alone = config.section::<LinkConfig>("link").is_ok_and(|link| !link.url.is_empty());
    if checked.link_token.is_empty() && checked.link.bind.is_none() && !alone {
        checked.link_token = "made for each run by `overread all`".into();
    }
    if let Err(e) = checked.check() {
        return vec![Check::failed("service: configuration", e.problem, Side::Ours).at(e.key)];
    }
    let mut checks = overread_store::checkup::folder("service", &service.data, service.limits.reserve_bytes);
    checks.push(runtime(shared));
    checks.extend(packs(shared, service));
    checks.extend(http_door(Role::Service, &service.http).await);
    checks.extend(edge_door(service));
    checks
}

/// The door for enrolled edges: its authority, and whether anybody listens.
fn edge_door(service: &overread_service::Config) -> Option<Check> {
    const NAME: &str = "service: link";
    let bind = service.link.bind?;
    let folder = service.link_folder();
    if !folder.join("authority.pem").exists() {
        return Some(Check::ok(NAME, "the service makes its authority when it first starts"));
    }
    if let Err(e) = overread_service::Authority::load_or_create(&folder) {
        let found = overread_domain::sentence(&e);
        return Some(Check::failed(NAME, found, Side::Ours).change("put the file back from a copy"));
    }
    let port = bind.port();
    let here = if bind.ip().is_unspecified() { ([127, 0, 0, 1], port).into() } else { bind };
    let names = service.link.all_names().join(", ");
    Some(match std::net::TcpStream::connect_timeout(&here, std::time::Duration::from_secs(5)) {
        Ok(_) => Check::ok(NAME, format!("open at {bind} for {names}")),
        Err(_) => {
            Check::warning(NAME, format!("nobody listens at {bind}: the service is not running"), Side::Ours)
                .at("service.link.bind")
                .change("start it: overread service")
        }
    })
}

fn runtime(shared: &Shared) -> Check {
    const NAME: &str = "service: ONNX Runtime";
    match library::runtime(shared) {
        Ok(_) => Check::ok(NAME, "the library loads"),
        Err(e) => Check::failed(NAME, format!("{e:#}"), Side::Ours)
            .change("put libonnxruntime.so beside the binary, or name it with --onnxruntime"),
    }
}

/// Packs that are found and trusted, and programs whose pack is none of them.
fn packs(shared: &Shared, service: &overread_service::Config) -> Vec<Check> {
    const NAME: &str = "service: packs";
    let trust = match library::trust(shared) {
        Ok(trust) => trust,
        Err(e) => {
            return vec![Check::failed(NAME, format!("{e:#}"), Side::Ours).change("correct the trust list")];
        }
    };
    let mut checks = Vec::new();
    let mut found = Vec::new();
    for entry in library::entries(shared) {
        match library::open(&entry.folder, &trust, false) {
            Ok(pack) => found.push(pack.manifest.id.clone()),
            Err(e) => checks.push(
                Check::warning(NAME, format!("{e:#}"), Side::Ours)
                    .change("repair or remove that folder, or trust its maker"),
            ),
        }
    }
    if found.is_empty() {
        let why = library::names(shared, std::iter::empty());
        checks.push(
            Check::failed(NAME, why, Side::Ours).change("name the folder with --packs or OVERREAD_PACKS"),
        );
    } else {
        checks.push(Check::ok(NAME, found.join(", ")));
    }
    for (index, program) in service.programs.iter().enumerate().filter(|(_, p)| !found.contains(&p.pack)) {
        let name = format!("service: program {}", program.name);
        checks.push(
            Check::failed(name, format!("its pack {} is not there or not trusted", program.pack), Side::Ours)
                .at(format!("service.program[{index}].pack"))
                .change(format!("there are: {}", found.join(", "))),
        );
    }
    checks
}

/// The HTTP door of a role: TLS files, and who answers there.
async fn http_door(role: Role, http: &HttpConfig) -> Vec<Check> {
    let section = role.as_str();
    let (name, key) = (format!("{section}: HTTP door"), format!("{section}.http.bind"));
    if let Err(e) = http.check(&format!("{section}.http")) {
        return vec![Check::failed(name, e.to_string(), Side::Ours).at(format!("{section}.http"))];
    }
    if let Some(tls) = &http.tls
        && let Err(e) = overread_http::serve::server_config(tls)
    {
        let change = "name a PEM certificate with its chain, and the private key that belongs to it";
        return vec![
            Check::failed(name, e.to_string(), Side::Ours).at(format!("{section}.http.tls")).change(change),
        ];
    }
    let base = address(http);
    // Who answers is what is asked here, not whether the certificate is good for this address.
    let client = reqwest::Client::builder()
        .timeout(std::time::Duration::from_secs(10))
        .tls_danger_accept_invalid_certs(true)
        .build();
    let Ok(client) = client else { return vec![] };
    let alive = match client.get(format!("{base}/healthz")).send().await {
        Ok(answer) => answer.text().await.unwrap_or_default(),
        Err(e) if e.is_connect() => {
            return vec![match std::net::TcpListener::bind(http.bind) {
                Ok(_) => Check::warning(
                    name,
                    format!("nobody answers at {base}: the {section} is not running"),
                    Side::Ours,
                )
                .change("start it: overread all"),
                Err(e) => {
                    Check::failed(name, format!("{} cannot be listened on: {e}", http.bind), Side::Ours)
                        .at(key)
                        .change("choose an address of this machine and a port that is free and allowed")
                }
            }];
        }
        Err(_) => String::new(),
    };
    if alive.trim() != "alive" {
        let found = format!("another program answers at {base}");
        return vec![
            Check::failed(name, found, Side::Ours).at(key).change("end that program, or choose another port"),
        ];
    }
    vec![ready(name, &client, &base).await]
}

/// What the running role says of itself.
async fn ready(name: String, client: &reqwest::Client, base: &str) -> Check {
    let said: serde_json::Value = match client.get(format!("{base}/readyz")).send().await {
        Ok(answer) => answer.json().await.unwrap_or_default(),
        Err(_) => serde_json::Value::Null,
    };
    if said["ready"] == true {
        return Check::ok(name, format!("{base} is alive and ready"));
    }
    let not = said["checks"].as_array().into_iter().flatten().filter(|c| c["ok"] != true);
    let not: Vec<&str> = not.filter_map(|c| c["name"].as_str()).collect();
    Check::failed(name, format!("{base} is alive but not ready: {}", not.join(", ")), Side::Ours)
        .change("look at its log")
}

fn lines(check: &Check, place: &str) -> String {
    let word = match check.verdict {
        Verdict::Ok => "ok     ",
        Verdict::Warning => "look   ",
        Verdict::Failed => "FAILED ",
    };
    let mut text = format!("{word} {}: {}", check.name, check.found);
    if check.verdict == Verdict::Ok {
        return text;
    }
    if let Some(side) = check.side {
        text.push_str(&format!("\n        side    {}", side_words(side)));
    }
    if let Some(key) = &check.key {
        text.push_str(&format!("\n        line    {place}{key}"));
    }
    if let Some(change) = &check.change {
        text.push_str(&format!("\n        change  {change}"));
    }
    text
}

const fn side_words(side: Side) -> &'static str {
    match side {
        Side::Ours => "ours",
        Side::Peers => "the peer's",
        Side::Either => "ours or the peer's: what the two say does not fit together",
        Side::Between => "what lies between: network, firewall, name service",
    }
}

fn json(checks: &[Check], place: impl Fn(&Check) -> String) -> Result<serde_json::Value> {
    let mut rows = Vec::with_capacity(checks.len());
    for check in checks {
        let mut row = serde_json::to_value(check)?;
        let place = place(check);
        if let (false, Some(row)) = (place.is_empty(), row.as_object_mut()) {
            row.insert("place".into(), place.trim_end_matches([':', ' ']).into());
        }
        rows.push(row);
    }
    Ok(serde_json::Value::Array(rows))
}
