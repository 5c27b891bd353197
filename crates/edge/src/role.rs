//! The edge as a running role: everything is opened, wired, and closed again in order.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use overread_deid::Detection;
use overread_dicom::read::Limits;
use overread_dimse::ScpHandle;
use overread_domain::Clock;
use overread_http::{Common, Door, Listener};
use overread_store::{Database, Objects, Runner, RunnerConfig, RunnerHandle, jobs};
use tokio::sync::{Notify, watch};

use crate::archive::EdgeArchive;
use crate::assemble::Assemble;
use crate::commitment::{Commit, Reports};
use crate::config::{Config, LinkConfig};
use crate::deliver::Deliver;
use crate::deliveries::{COMMIT, DELIVER};
use crate::error::EdgeError;
use crate::filing::Filing;
use crate::inbox::Inbox;
use crate::intake::{Committer, Intake};
use crate::link::HttpLink;
use crate::rules::Matcher;
use crate::schema::MIGRATIONS;
use crate::vault::{self, SealedObjects, Vault};
use crate::{api, deid, door, manifest_api, photographs, send};

/// How long running jobs are waited for at the end.
const GRACE: Duration = Duration::from_secs(10);

/// An edge whose doors are open.
pub struct Edge {
    listener: Listener,
    router: axum::Router,
    config: Arc<Config>,
    events: overread_http::Events,
    dimse: ScpHandle,
    runner: RunnerHandle,
    stop: watch::Sender<bool>,
}

fn start<E: Into<Box<dyn std::error::Error + Send + Sync>>>(
    doing: &'static str,
) -> impl FnOnce(E) -> EdgeError {
    move |e| EdgeError::Start { doing, source: e.into() }
}

/// The handlers of deliveries and of their storage commitment, those of each destination apart. Jobs for a destination that the configuration does not
/// name any more have theirs too: it tells a person.
async fn deliveries(
    mut runner: Runner,
    config: &Arc<Config>,
    objects: &SealedObjects,
    reports: &Reports,
) -> Result<Runner, EdgeError> {
    let deliver = Arc::new(Deliver {
        database: reports.database.clone(),
        objects: objects.clone(),
        clock: reports.clock.clone(),
        config: Arc::clone(config),
        wake: Arc::clone(&reports.wake),
    });
    let commit = Arc::new(Commit { reports: reports.clone(), config: Arc::clone(config) });
    let mut kinds = BTreeSet::new();
    for name in config.destinations.keys() {
        kinds.extend([format!("{DELIVER}{name}"), format!("{COMMIT}{name}")]);
    }
    kinds.extend(jobs::counts(&reports.database).await?.into_iter().map(|count| count.kind));
    for kind in &kinds {
        if kind.starts_with(DELIVER) {
            runner = runner.handle(kind, 2, deliver.clone());
        } else if kind.starts_with(COMMIT) {
            // Each waits a while for its report.
            runner = runner.handle(kind, 4, commit.clone());
        }
    }
    Ok(runner)
}

/// The handlers of erasures and what follows from them, and of what an older edge left plain.
async fn vault_jobs(
    runner: Runner,
    erasure: &vault::erasure::Erasure,
    link: &HttpLink,
    limits: &Limits,
) -> Result<Runner, EdgeError> {
    let vault::erasure::Erasure { database, objects, clock, wake } = erasure.clone();
    vault::older::ask(&database, clock.now()).await?;
    let older = vault::older::Older { database: database.clone(), objects, limits: limits.clone() };
    let forget = vault::forget::Forget { database, clock, link: link.clone(), wake };
    Ok(runner
        .handle(vault::erasure::ERASE, 1, Arc::new(erasure.clone()))
        .handle(vault::forget::FORGET, 1, Arc::new(forget))
        .handle(vault::older::SEAL, 1, Arc::new(older)))
}

impl Edge {
    /// Opens database, objects, key and doors, recovers jobs, and starts to work. `detection` finds text in pixels; without it an edge that is to remove
    /// text ([`Config::cleans_pixels`]) does not start.
    ///
    /// # Errors
    /// What could not be opened.
    pub async fn open(
        config: Config,
        link: &LinkConfig,
        codec: overread_dicomweb::CodecFactory,
        detection: Option<Detection>,
        utc_offset_minutes: i16,
        clock: Clock,
    ) -> Result<Self, EdgeError> {
        config.check()?;
        link.check()?;
        let config = Arc::new(config);
        let database = Database::open(&config.database_url(), "edge", MIGRATIONS).await?;
        // Before anything is touched: without its key nothing is done.
        let vault = Vault::open(&config, &database, clock.clone()).await?;
        let key = vault.pseudonym_key(&config.data.join("pseudonym.key")).await?;
        let objects = Objects::open(&config.objects_url(), &config.data.join("staging")).await?;
        let objects = SealedObjects::new(objects, vault.clone());
        let limits = Limits { file_bytes: config.limits.object_bytes, ..Limits::default() };
        let gate = Arc::new(deid::gate(&config, key, detection, Arc::clone(&codec), limits.clone())?);
        let link = HttpLink::open(link, &config.data).map_err(start("setting up the link"))?;
        deid::release(&database, &config, clock.now()).await?;
        let wake = Arc::new(Notify::new());
        let quiet_ms = (config.completion.quiet_seconds * 1000.0) as i64;
        let pseudonym = Arc::clone(&gate);
        let committer = Committer {
            database: database.clone(),
            objects: objects.clone(),
            clock: clock.clone(),
            quiet_ms,
            trust_expected: config.completion.trust_expected_count,
            wake: Arc::clone(&wake),
            pseudonym: Box::new(move |uid| pseudonym.study(uid)),
        };
        let intake = Intake::start(committer, limits.clone(), config.limits.reserve_bytes);
        let offset = config.utc_offset_minutes.unwrap_or(utc_offset_minutes);
        let reports = Reports {
            database: database.clone(),
            clock: clock.clone(),
            wake: Arc::clone(&wake),
            callers: Arc::default(),
        };
        let runner = RunnerConfig { max_attempts: config.max_attempts, ..RunnerConfig::new(&config.node) };
        let runner = Runner::new(database.clone(), clock.clone(), runner, Arc::clone(&wake))
            .handle(
                "complete",
                1,
                Arc::new(Assemble {
                    database: database.clone(),
                    clock: clock.clone(),
                    rules: Matcher::new(&config.programs),
                    quiet_ms,
                    vault: vault.clone(),
                    wake: Arc::clone(&wake),
                }),
            )
            .handle(
                "send",
                2,
                Arc::new(send::Send {
                    database: database.clone(),
                    objects: objects.clone(),
                    clock: clock.clone(),
                    link: link.clone(),
                    gate,
                }),
            )
            .handle(
                "file",
                2,
                Arc::new(Filing {
                    database: database.clone(),
                    objects: objects.clone(),
                    clock: clock.clone(),
                    link: link.clone(),
                    limits: limits.clone(),
                    config: Arc::clone(&config),
                    utc_offset_minutes: offset,
                    wake: Arc::clone(&wake),
                }),
            );
        let erasure = vault::erasure::Erasure {
            database: database.clone(),
            objects: objects.clone(),
            clock: clock.clone(),
            wake: Arc::clone(&wake),
        };
        let runner = vault_jobs(runner, &erasure, &link, &limits).await?;
        let runner = deliveries(runner, &config, &objects, &reports).await?.start().await?;
        let (stop, stopped) = watch::channel(false);
        tokio::spawn(link.clone().keep_certificate(stopped.clone()));
        tokio::spawn(
            Inbox {
                database: database.clone(),
                clock: clock.clone(),
                link,
                vault: vault.clone(),
                wake: Arc::clone(&wake),
            }
            .run(stopped),
        );
        let dimse = door::open(&config, intake.clone(), reports)?;
        let listener = overread_http::bind(&config.http).map_err(|e| EdgeError::Door {
            what: "the HTTP door",
            address: config.http.bind.to_string(),
            source: e.into(),
        })?;
        let photographs = photographs::Photographs {
            database: database.clone(),
            intake: intake.clone(),
            codec: Arc::clone(&codec),
            clock: clock.clone(),
            utc_offset_minutes: offset,
        };
        let common = Common::new(database.clone(), clock, wake);
        let archive = Arc::new(EdgeArchive {
            database: database.clone(),
            objects,
            intake,
            limits: overread_dicomweb::Limits::default(),
        });
        let web = overread_dicomweb::Config {
            base: "/dicom-web".into(),
            public_url: config.public_url.clone(),
            codec,
            decoders: 2,
            read: limits,
        };
        let catalog = manifest_api::Catalog { database: database.clone(), vault };
        let door = Door::new("Overread edge", env!("CARGO_PKG_VERSION"), config.http.clone(), common)
            .add(overread_http::Scope::Read, manifest_api::routes(catalog))
            .add(overread_http::Scope::Read, api::routes(database))
            .add(overread_http::Scope::Operate, vault::api::routes(erasure))
            .add(overread_http::Scope::Store, photographs::routes(photographs))
            .add(api::images(), overread_dicomweb::router(archive, web));
        let events = door.events();
        let (router, _) = door.build().map_err(start("describing the API"))?;
        tracing::info!(dimse = %dimse.address(), http = %listener.address(), "the edge is open");
        Ok(Self { listener, router, config, events, dimse, runner, stop })
    }

    /// Where the HTTP door is.
    pub const fn http_address(&self) -> std::net::SocketAddr {
        self.listener.address()
    }

    /// Works until `shutdown` is done; then takes nothing new, finishes what runs, and ends.
    ///
    /// # Errors
    /// The HTTP door broke.
    pub async fn serve(self, shutdown: impl Future<Output = ()> + Send + 'static) -> Result<(), EdgeError> {
        let served =
            overread_http::serve(self.listener, self.router, &self.config.http, self.events, shutdown).await;
        let dimse = self.dimse;
        let _ = tokio::task::spawn_blocking(move || dimse.stop(GRACE)).await;
        let _ = self.stop.send(true);
        self.runner.stop(GRACE).await;
        served.map_err(|e| EdgeError::Door {
            what: "the HTTP door",
            address: self.config.http.bind.to_string(),
            source: e.into(),
        })
    }
}
