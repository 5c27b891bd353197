//! Starting and ending: stores, threads, jobs, the door.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use axum::{Extension, Router};
use overread_domain::{Clock, sentence};
use overread_http::tokens::Secret;
use overread_http::{Auth, Door, FixedToken, HttpConfig, Listener, Scope, serve, serve_tls};
use overread_infer::{Pack, Runtime};
use overread_read::Workers;
use overread_store::{Runner, RunnerConfig, RunnerHandle};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use utoipa::openapi::OpenApi;

use crate::clients::Caller;
use crate::config::Config;
use crate::error::ServiceError;
use crate::forget::{ERASE, Erase};
use crate::pool::{CodecFactory, ReaderPool};
use crate::read_job::{READ, ReadJob};
use crate::reading::ReadStudy;
use crate::service::Service;
use crate::{api, link, meter, undertaker};

/// How long a check of readiness may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long studies that are being read are waited for when the service ends; they start again at its next start.
const GRACE: Duration = Duration::from_secs(20);

/// A service whose jobs run.
pub struct Working {
    runner: RunnerHandle,
    undertaker: JoinHandle<()>,
    stop: watch::Sender<bool>,
}

/// How many studies are read at once, and on how many cores each.
pub fn workers(config: &Config) -> Workers {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let readers = if config.workers == 0 { cores } else { config.workers };
    Workers { readers, threads_each: (cores / readers).max(1) }
}

/// Starts the jobs of an open service; `reader` reads so many studies at once.
///
/// # Errors
/// The database failed.
pub async fn start(
    service: &Arc<Service>,
    config: &Config,
    reader: Arc<dyn ReadStudy>,
    at_once: usize,
) -> Result<Working, ServiceError> {
    let settings = RunnerConfig { max_attempts: config.max_attempts, ..RunnerConfig::new(&config.node) };
    let wake = Arc::clone(&service.common.wake);
    let job = Arc::new(ReadJob::new(Arc::clone(service), reader));
    let runner = Runner::new(service.database.clone(), service.clock.clone(), settings, wake)
        .handle(READ, at_once, job)
        .handle(ERASE, 1, Arc::new(Erase { service: Arc::clone(service) }))
        .start()
        .await?;
    let (stop, stopped) = watch::channel(false);
    let undertaker = tokio::spawn(undertaker::watch(Arc::clone(service), stopped));
    Ok(Working { runner, undertaker, stop })
}

impl Working {
    /// Takes no more jobs and waits for those that run, so long.
    pub async fn stop(self, grace: Duration) {
        let _ = self.stop.send(true);
        self.runner.stop(grace).await;
        let _ = self.undertaker.await;
    }
}

/// The door's routes, and the document of what the API does.
///
/// # Errors
/// The document cannot be written.
pub fn door(service: &Arc<Service>, config: &Config) -> Result<(Router, OpenApi), ServiceError> {
    let objects = service.objects.clone();
    let version = env!("CARGO_PKG_VERSION");
    let mut door = Door::new("Overread service", version, config.http.clone(), service.common.clone());
    if !config.link_token.is_empty() {
        let token = FixedToken::new("link", &Secret::new(config.link_token.clone()));
        let router = link::router(Arc::clone(service)).layer(Extension(Caller::local()));
        door = door.add_fixed(token, router);
    }
    door.add(Scope::Read, api::look(Arc::clone(service)))
        .add(Scope::Operate, api::operate(Arc::clone(service)))
        .check("objects", PATIENCE, move || {
            let objects = objects.clone();
            async move { objects.ping().await.map_err(|e| sentence(&e)) }
        })
        .build()
        .map_err(ServiceError::Document)
}

/// The door that enrolled edges come to: its address is taken.
pub struct EdgeDoor {
    listener: Listener,
    http: HttpConfig,
    router: Router,
    tls: Arc<rustls::ServerConfig>,
}

impl EdgeDoor {
    /// Takes the address of `service.link.bind`; none where it is not set.
    ///
    /// # Errors
    /// The address cannot be had, or no certificate can be made for the names.
    pub fn bind(service: &Arc<Service>, config: &Config) -> Result<Option<Self>, ServiceError> {
        let (Some(bind), Some(authority)) = (config.link.bind, service.authority.as_ref()) else {
            return Ok(None);
        };
        // Whoever comes in shows a certificate: no page of a browser does. On a poor line a handshake takes its time.
        let http = HttpConfig { bind, auth: Auth::Token, header_seconds: 60, ..config.http.clone() };
        let http = HttpConfig { tls: None, ..http };
        let tls = Arc::new(authority.server_config(&config.link.all_names(), service.clock.now())?);
        let router = overread_http::around(link::mutual_router(Arc::clone(service)), &http);
        Ok(Some(Self { listener: overread_http::bind(&http)?, http, router, tls }))
    }

    /// Where it is.
    pub const fn address(&self) -> std::net::SocketAddr {
        self.listener.address()
    }

    /// Answers until `closed` turns true.
    pub async fn serve(self, mut closed: watch::Receiver<bool>) {
        let closed = async move { drop(closed.wait_for(|closed| *closed).await) };
        if let Err(e) = serve_tls(self.listener, self.router, &self.http, self.tls, closed).await {
            tracing::error!("the door for enrolled edges broke: {}", sentence(&e));
        }
    }
}

/// Runs a service until `shutdown` is done: then it takes no more, lets what is being read end, and leaves the rest to its next start.
///
/// # Errors
/// [`ServiceError`] says what cannot be opened, or that the door broke.
pub async fn run(
    config: Config,
    packs: Vec<Arc<Pack>>,
    runtime: Runtime,
    codec: CodecFactory,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> Result<(), ServiceError> {
    let service = Arc::new(Service::open(&config, &packs, Clock::machine()).await?);
    meter::describe();
    let workers = workers(&config);
    let pool = Arc::new(ReaderPool::start(&runtime, &codec, workers).map_err(ServiceError::Threads)?);
    let (router, _) = door(&service, &config)?;
    let listener = overread_http::bind(&config.http)?;
    let edges = EdgeDoor::bind(&service, &config)?;
    let working = start(&service, &config, pool, workers.readers).await?;
    for program in service.programs.all() {
        tracing::info!(program = program.name, edition = program.pack.edition.short(), "a program is ready");
    }
    let ending = Arc::clone(&service);
    let (ended, closed) = watch::channel(false);
    let shutdown = async move {
        shutdown.await;
        ending.close();
        let _ = ended.send(true);
    };
    let edges = edges.map(|door| tokio::spawn(door.serve(closed)));
    let served = serve(listener, router, &config.http, service.common.events.clone(), shutdown).await;
    if let Some(edges) = edges {
        let _ = edges.await;
    }
    working.stop(GRACE).await;
    service.database.close().await;
    Ok(served?)
}
