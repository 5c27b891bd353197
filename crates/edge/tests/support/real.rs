//! The service itself, with the door for enrolled edges, and a reader that finds the same in every study.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use overread_domain::{Clock, ReleaseMode};
use overread_edge::LinkConfig;
use overread_edge::link::{Enrolled, HttpLink, enrol};
use overread_infer::{Pack, TrustList};
use overread_service::reading::{Answer, Answers, ReadFailure, ReadStudy, Reading, StudyToRead, Timings};
use overread_service::{Authority, Config, EdgeDoor, ProgramConfig, Service, Working, clients};
use overread_wire::{EnrolmentCode, ResultMessage};
use tokio::sync::watch;

/// A running one.
pub struct Real {
    pub service: Arc<Service>,
    pub address: SocketAddr,
    authority: Authority,
    runtime: Option<tokio::runtime::Runtime>,
    working: Option<Working>,
    _close: watch::Sender<bool>,
    folder: tempfile::TempDir,
}

/// Finds what the golden result finds.
struct Same;

impl ReadStudy for Same {
    fn read(&self, study: StudyToRead) -> BoxFuture<'_, Result<Answers, ReadFailure>> {
        let golden = include_str!("../../../wire/tests/golden/result-1.json");
        let golden: ResultMessage = serde_json::from_str(golden).unwrap();
        let reading = Reading {
            algorithm: golden.algorithm,
            findings: golden.findings,
            not_assessed: None,
            images: (0..study.files.len()).collect(),
            captures: vec![],
            warnings: vec![],
            timings: Timings::default(),
        };
        let answer =
            |p: &overread_read::Program| Answer { program: p.name.clone(), outcome: Ok(reading.clone()) };
        let answers = study.programs.iter().map(answer).collect();
        Box::pin(async { Ok(Answers { answers, lost: vec![] }) })
    }
}

impl Real {
    pub fn start() -> Self {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let folder = tempfile::tempdir().unwrap();
        let pack = overread_testkit::tools::workspace().join("tests/packs/brightness");
        let pack = Arc::new(Pack::open(&pack, &TrustList::default()).unwrap());
        let program =
            ProgramConfig { name: "brightness".into(), pack: "brightness".into(), prevalence: None };
        let mut config =
            Config { data: folder.path().join("service"), programs: vec![program], ..Config::default() };
        config.limits.reserve_bytes = 0;
        config.link.bind = Some("127.0.0.1:0".parse().unwrap());
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        let (service, door, working) = runtime.block_on(async {
            let service = Service::open(&config, &[pack], Clock::machine()).await.unwrap();
            let service = Arc::new(service);
            let now = service.clock.now();
            let (mode, reason, actor) = (ReleaseMode::ReviewAll, "a test", "a test");
            let order = overread_service::ModeOrder { mode, reason, actor, validation: None };
            let programs = &service.programs;
            programs.set_mode(&service.database, "brightness", &order, now).await.unwrap();
            let door = EdgeDoor::bind(&service, &config).unwrap().unwrap();
            let working = overread_service::start(&service, &config, Arc::new(Same), 2).await.unwrap();
            (service, door, working)
        });
        let (address, (close, closed)) = (door.address(), watch::channel(false));
        runtime.spawn(door.serve(closed));
        let authority = Authority::load_or_create(&config.link_folder()).unwrap();
        Self {
            service,
            address,
            authority,
            runtime: Some(runtime),
            working: Some(working),
            _close: close,
            folder,
        }
    }

    /// Waits for what the service's own runtime does.
    pub fn wait<T>(&self, what: impl Future<Output = T>) -> T {
        self.runtime.as_ref().unwrap().block_on(what)
    }

    /// A code for an edge of a client.
    pub fn code(&self, client: &str) -> EnrolmentCode {
        let (now, database) = (self.service.clock.now(), &self.service.database);
        self.wait(async {
            let _ = clients::add(database, now, "a test", client).await;
            clients::code(database, &self.authority, (now, "a test"), client, 24).await.unwrap()
        })
    }

    /// Enrols an edge over a port of this machine; answers how it is configured from then on.
    pub fn enrol(&self, port: u16, data: &Path, code: &EnrolmentCode) -> (LinkConfig, Enrolled) {
        let link = LinkConfig { url: format!("https://localhost:{port}"), ..LinkConfig::default() };
        let enrolled = self.wait(enrol(&link, data, code, "an edge")).unwrap();
        (link, enrolled)
    }

    /// A link of an edge that enrolled, whose files lie in a folder.
    pub fn link(&self, port: u16, data: &Path) -> HttpLink {
        let (link, _) = self.enrol(port, data, &self.code("clinic"));
        HttpLink::open(&link, data).unwrap()
    }

    /// Rows of one of its tables.
    pub fn rows(&self, table: &str) -> i64 {
        self.wait(async {
            let mut conn = self.service.database.read().await.unwrap();
            let sql = format!("SELECT COUNT(*) FROM {table}");
            let row = sqlx::query(sqlx::AssertSqlSafe(sql)).fetch_one(&mut *conn).await.unwrap();
            sqlx::Row::try_get(&row, 0).unwrap()
        })
    }

    /// Where it keeps its objects.
    pub fn objects(&self) -> std::path::PathBuf {
        self.folder.path().join("service/objects")
    }
}

impl Drop for Real {
    fn drop(&mut self) {
        if let (Some(runtime), Some(working)) = (self.runtime.take(), self.working.take()) {
            runtime.block_on(working.stop(Duration::ZERO));
            runtime.shutdown_timeout(Duration::from_secs(5));
        }
    }
}
