//! `overread all`: both roles as two processes, each with its own part of the configuration and nothing of the other's.

use std::ffi::OsString;
use std::path::Path;
use std::process::{ExitCode, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::io::AsyncWriteExt;
use tokio::process::{Child, Command};
use tokio::sync::watch;

use crate::cli::{RoleArgs, Shared};
use crate::config::Config;
use crate::roles;

/// First and longest wait before a child that ended is started again.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(30));
/// How long children are waited for at the end.
const GRACE: Duration = Duration::from_secs(20);

/// Says to a child that it has a parent, and which.
pub const PARENT: &str = "OVERREAD_PARENT";

pub fn all(shared: &Shared, args: &RoleArgs) -> Result<ExitCode> {
    let config = Config::read(args.config.as_deref())?;
    check(&config)?;
    let (edge, service) = parts(&config)?;
    let mut extra: Vec<OsString> = Vec::new();
    // Both need ONNX Runtime: one finds text in pixels, the other reads them.
    let library: Vec<OsString> =
        shared.onnxruntime.iter().flat_map(|file| ["--onnxruntime".into(), file.into()]).collect();
    let folders = shared.packs.iter().map(|folder| ("--packs", folder));
    let files = shared
        .trust
        .iter()
        .map(|file| ("--trust", file))
        .chain(shared.onnxruntime.iter().map(|file| ("--onnxruntime", file)));
    for (flag, path) in folders.chain(files) {
        extra.extend([flag.into(), path.into()]);
    }
    if args.allow_untrusted {
        extra.push("--allow-untrusted".into());
    }
    roles::runtime()?.block_on(async move {
        use tokio::signal::unix::{SignalKind, signal};
        let mut term = signal(SignalKind::terminate()).context("listening for SIGTERM")?;
        let mut int = signal(SignalKind::interrupt()).context("listening for SIGINT")?;
        let (stop, stopped) = watch::channel(false);
        let binary = std::env::current_exe().context("the binary does not know where it lies")?;
        let mut service = tokio::spawn(keep(binary.clone(), "service", extra, service, stopped.clone()));
        let mut edge = tokio::spawn(keep(binary, "edge", library, edge, stopped));
        // A role that is kept ends only when it is asked to, or when its configuration is refused.
        let refused = tokio::select! {
            _ = term.recv() => None,
            _ = int.recv() => None,
            _ = &mut service => Some("service"),
            _ = &mut edge => Some("edge"),
        };
        tracing::info!("asked to end; both roles finish what runs");
        let _ = stop.send(true);
        match refused {
            None => drop(tokio::join!(edge, service)),
            Some("service") => drop(edge.await),
            Some(_) => drop(service.await),
        }
        Ok(refused.map_or(ExitCode::SUCCESS, |_| ExitCode::from(crate::REFUSED)))
    })
}

/// What the roles would refuse is refused here, with the line it stands in.
fn check(config: &Config) -> Result<()> {
    let edge: overread_edge::Config = config.section("edge")?;
    edge.check().map_err(|e| config.refuse(&e.key, &e.problem))?;
    let mut service: overread_service::Config = config.section("service")?;
    service.link_token = new_token();
    service.check().map_err(|e| config.refuse(&e.key, &e.problem))
}

fn new_token() -> String {
    format!("{:032x}{:032x}", rand::random::<u128>(), rand::random::<u128>())
}

/// The two children's configurations: a link token that is made for this run, and the service's address.
fn parts(config: &Config) -> Result<(String, String)> {
    let token = new_token();
    let (mut edge, mut service) = (config.only(&["edge"])?, config.only(&["service"])?);
    let parsed: overread_service::Config = config.section("service")?;
    let scheme = if parsed.http.tls.is_some() { "https" } else { "http" };
    let mut link = toml::Table::new();
    link.insert("url".into(), format!("{scheme}://{}", parsed.http.bind).into());
    link.insert("token".into(), token.clone().into());
    edge.insert("link".into(), link.into());
    let section = service.entry("service").or_insert_with(|| toml::Table::new().into());
    section.as_table_mut().context("[service] is no section")?.insert("link_token".into(), token.into());
    Ok((toml::to_string(&edge)?, toml::to_string(&service)?))
}

/// Keeps a role running: started again whenever it ends, later each time it ends soon.
async fn keep(
    binary: std::path::PathBuf,
    role: &'static str,
    extra: Vec<OsString>,
    config: String,
    mut stopped: watch::Receiver<bool>,
) {
    let mut wait = BACKOFF.0;
    while !*stopped.borrow() {
        let started = std::time::Instant::now();
        match start(&binary, role, &extra, &config).await {
            Ok(mut child) => {
                tokio::select! {
                    status = child.wait() => match status {
                        Ok(status) if status.code() == Some(crate::REFUSED.into()) => {
                            tracing::error!(role, "a role refuses its configuration; it is not started again");
                            return;
                        }
                        Ok(status) => tracing::error!(role, %status, "a role ended; it is started again"),
                        Err(e) => tracing::error!(role, "a role cannot be waited for: {e}"),
                    },
                    _ = stopped.changed() => {
                        end(role, &mut child).await;
                        return;
                    }
                }
            }
            Err(e) => tracing::error!(role, "a role cannot be started: {e:#}"),
        }
        if started.elapsed() > BACKOFF.1 {
            wait = BACKOFF.0;
        }
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            _ = stopped.changed() => return,
        }
        wait = (wait * 2).min(BACKOFF.1);
    }
}

async fn start(binary: &Path, role: &str, extra: &[OsString], config: &str) -> Result<Child> {
    let other = if role == "edge" { "OVERREAD_SERVICE__" } else { "OVERREAD_EDGE__" };
    let mut command = Command::new(binary);
    command.arg(role).args(["--config", "-"]).args(extra).stdin(Stdio::piped()).kill_on_drop(true);
    command.env(PARENT, std::process::id().to_string());
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        // The configuration that is handed over holds these already; the other role's are not this one's business.
        if text.starts_with(other)
            || text.starts_with("OVERREAD_LINK__")
            || (text.starts_with("OVERREAD_") && text.contains("__"))
        {
            command.env_remove(&name);
        }
    }
    if role != "edge" {
        // Whoever reads images without the patient has nothing that could open who that is.
        command.env_remove(overread_edge::vault::VARIABLE);
    }
    let mut child = command.spawn().with_context(|| format!("starting the {role}"))?;
    let mut stdin = child.stdin.take().context("no pipe to the child")?;
    stdin.write_all(config.as_bytes()).await.context("handing over the configuration")?;
    drop(stdin);
    Ok(child)
}

async fn end(role: &str, child: &mut Child) {
    let asked = child.id().and_then(|id| i32::try_from(id).ok()).and_then(rustix::process::Pid::from_raw);
    if let Some(pid) = asked {
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
    }
    if tokio::time::timeout(GRACE, child.wait()).await.is_err() {
        tracing::warn!(role, "a role did not end in time and was killed; what it had acknowledged is safe");
        let _ = child.kill().await;
    }
}

/// A role ends with its supervisor, however that ends.
pub fn die_with_parent() {
    let Some(parent) = std::env::var(PARENT).ok().and_then(|id| id.parse::<i32>().ok()) else { return };
    let _ = rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::TERM));
    let now = rustix::process::getppid().map(|pid| pid.as_raw_nonzero().get());
    if now != Some(parent) {
        // It was gone before the signal was asked for.
        std::process::exit(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_service_is_not_told_where_keys_and_patients_are() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("overread.toml");
        let text = "[edge]\ndata = \"/canary-data\"\n[edge.vault]\nkey_file = \"/canary-key\"\ndatabase = \"sqlite:///canary-vault\"\n\
                    [service]\ndata = \"/elsewhere\"\n";
        std::fs::write(&file, text).unwrap();
        let (edge, service) = parts(&Config::read(Some(&file)).unwrap()).unwrap();
        assert!(edge.contains("/canary-key") && edge.contains("/canary-data"));
        assert!(!service.contains("canary") && !service.contains("vault"), "{service}");
    }
}
