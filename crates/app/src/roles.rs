//! `overread edge` and `overread service`: one role in this process.

use std::process::ExitCode;

use anyhow::{Context, Result};
use overread_deid::Detection;
use overread_domain::{Clock, sentence};
use overread_edge::{Edge, LinkConfig};

use crate::cli::{RoleArgs, Shared};
use crate::config::Config;
use crate::{children, library};

/// Runs the hospital's role until it is told to end.
pub fn edge(shared: &Shared, args: &RoleArgs) -> Result<ExitCode> {
    let config = Config::read(args.config.as_deref())?;
    let (edge, link): (overread_edge::Config, LinkConfig) =
        (config.section("edge")?, config.section("link")?);
    let offset = i16::try_from(chrono::Local::now().offset().local_minus_utc() / 60).unwrap_or(0);
    let codec = children::hosts()?;
    let detection = detection(shared, &config, &edge)?;
    runtime()?.block_on(async move {
        let shutdown = shutdown()?;
        let edge = Edge::open(edge, &link, codec, detection, offset, Clock::machine()).await?;
        edge.serve(shutdown).await?;
        Ok(ExitCode::SUCCESS)
    })
}

/// The text detector, if the edge is to remove text from pixels.
fn detection(shared: &Shared, config: &Config, edge: &overread_edge::Config) -> Result<Option<Detection>> {
    if !edge.cleans_pixels().map_err(|e| config.refuse(&e.key, &e.problem))? {
        return Ok(None);
    }
    // Two studies are sent at once.
    let threads = std::thread::available_parallelism().map_or(1, |n| n.get().div_ceil(2));
    let loaded = Detection::load(&library::onnxruntime(shared)?, threads);
    loaded.map(Some).map_err(|e| {
        let change =
            "name ONNX Runtime with --onnxruntime, or set pixels = \"keep\" to send pixels as they are";
        config.refuse(
            "edge.deid.pixels",
            &format!("text cannot be removed from pixels: {}; {change}", sentence(&e)),
        )
    })
}

/// Runs the reader's role until it is told to end.
pub fn service(shared: &Shared, args: &RoleArgs) -> Result<ExitCode> {
    let config = Config::read(args.config.as_deref())?;
    let service: overread_service::Config = config.section("service")?;
    let trust = library::trust(shared)?;
    let mut packs = Vec::new();
    for entry in library::entries(shared) {
        match library::open(&entry.folder, &trust, args.allow_untrusted) {
            Ok(pack) => packs.push(pack),
            Err(e) => tracing::warn!("pack left out: {e:#}"),
        }
    }
    let onnxruntime = library::runtime(shared)?;
    let codec = children::hosts()?;
    runtime()?.block_on(async move {
        overread_service::run(service, packs, onnxruntime, codec, shutdown()?).await?;
        Ok(ExitCode::SUCCESS)
    })
}

/// Runs one command to its end.
pub fn block_on(command: impl Future<Output = Result<ExitCode>>) -> Result<ExitCode> {
    runtime()?.block_on(command)
}

pub fn runtime() -> Result<tokio::runtime::Runtime> {
    // Several TLS providers are compiled in; this is the one that is meant.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    tokio::runtime::Builder::new_multi_thread().enable_all().build().context("starting the runtime")
}

/// Done when the process is asked to end, or when the supervisor that started it is gone.
fn shutdown() -> Result<impl Future<Output = ()> + Send + 'static> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut term = signal(SignalKind::terminate()).context("listening for SIGTERM")?;
    let mut int = signal(SignalKind::interrupt()).context("listening for SIGINT")?;
    Ok(async move {
        tokio::select! {
            _ = term.recv() => {}
            _ = int.recv() => {}
        }
        tracing::info!("asked to end");
    })
}
