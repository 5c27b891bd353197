//! An edge in this process, whose clock a test turns, between real peers and a service that answers every study at once.
#![allow(dead_code, reason = "each test file uses a part of it")]

pub mod keeper;
pub mod real;
pub mod search;
pub mod service;

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use overread_deid::Detection;
use overread_deid::profile::Recognizable;
use overread_dicom::read::{CodecHost, CodecLimits};
use overread_domain::Clock;
use overread_edge::config::Destination;
use overread_edge::{Config, Edge, LinkConfig};
use overread_http::HttpConfig;
use overread_testkit::dcmtk::{Peer, Sent, storescu};
use overread_testkit::samples::{self, Sample};
use overread_testkit::{free_port, http, wait_for, wait_until};
use serde_json::Value;
use service::Service;

/// How long an edge may take for what it does by itself.
pub const PATIENCE: Duration = Duration::from_secs(120);
pub const HOUR: i64 = 3_600_000;

/// An edge that is open.
pub struct Bench {
    pub service: Service,
    pub url: String,
    pub dimse: u16,
    /// Takes effect when it is opened again.
    pub config: Config,
    /// Finds text in pixels, where the configuration asks for it.
    pub detection: Option<Detection>,
    /// Another service than `service`, from when it is opened again.
    pub link: Option<LinkConfig>,
    clock: Clock,
    ticking: Arc<AtomicBool>,
    runtime: Option<tokio::runtime::Runtime>,
    folder: tempfile::TempDir,
}

impl Bench {
    /// An edge as the configuration is changed.
    pub fn start(change: impl FnOnce(&mut Config)) -> Self {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let folder = tempfile::tempdir().unwrap();
        let web = free_port();
        let mut config = Config {
            data: folder.path().join("data"),
            http: HttpConfig::at_port(web),
            max_attempts: 3,
            ..Config::default()
        };
        config.dimse.bind = SocketAddr::from(([127, 0, 0, 1], free_port()));
        config.completion.quiet_seconds = 0.3;
        config.limits.reserve_bytes = 0;
        // Looking at pixels takes seconds an image; tests of that ask for it.
        config.allow_burned_in = true;
        config.deid.recognizable_features = Some(Recognizable::Keep);
        change(&mut config);
        let clock = Clock::standing_at(Clock::machine().now());
        let ticking = Arc::new(AtomicBool::new(true));
        tick(&clock, &ticking);
        let mut bench = Self {
            service: Service::start(),
            url: format!("http://127.0.0.1:{web}"),
            dimse: config.dimse.bind.port(),
            config,
            detection: None,
            link: None,
            clock,
            ticking,
            runtime: None,
            folder,
        };
        bench.again();
        bench
    }

    /// Opens it on the same data, and waits until it is ready.
    pub fn again(&mut self) {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        let mock = || LinkConfig { url: self.service.url(), token: "token".into(), ..LinkConfig::default() };
        let link = self.link.clone().unwrap_or_else(mock);
        // Uncompressed pixels need no codec, so its process is never started.
        let codec = Arc::new(|| CodecHost::new("/nonexistent".into(), vec![], CodecLimits::default()));
        let edge =
            Edge::open(self.config.clone(), &link, codec, self.detection.clone(), 0, self.clock.clone());
        let edge = runtime.block_on(edge).unwrap();
        runtime.spawn(edge.serve(std::future::pending()));
        self.runtime = Some(runtime);
        let ready = format!("{}/readyz", self.url);
        wait_until("the edge is ready", PATIENCE, || http::get(&ready).is_ok_and(|a| a.status == 200));
    }

    /// What it says where it is opened on a configuration, and ended at once.
    pub fn refusal(&self, config: &Config) -> Option<String> {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let link = LinkConfig { url: self.service.url(), token: "token".into(), ..LinkConfig::default() };
        let codec = Arc::new(|| CodecHost::new("/nonexistent".into(), vec![], CodecLimits::default()));
        let edge = Edge::open(config.clone(), &link, codec, self.detection.clone(), 0, self.clock.clone());
        let opened = runtime.block_on(edge);
        runtime.shutdown_timeout(Duration::from_secs(30));
        opened.err().map(|e| overread_domain::sentence(&e))
    }

    /// Asks for a patient to be erased.
    pub fn erase(&self, patient_id: &str, issuer: &str) -> http::Answer {
        let body =
            serde_json::json!({ "patient_id": patient_id, "issuer": issuer, "reason": "asked for it" });
        let headers = [("content-type", "application/json")];
        let url = format!("{}/api/v1/patients/erase", self.url);
        http::request("POST", &url, &headers, body.to_string().as_bytes()).unwrap()
    }

    /// The original of a sample, as the edge has it.
    pub fn fetch(&self, sample: &Sample) -> Result<Vec<u8>, u16> {
        let Sample { study, series, sop, .. } = sample;
        let url = format!("{}/dicom-web/studies/{study}/series/{series}/instances/{sop}", self.url);
        let accept = "multipart/related; type=\"application/dicom\"; transfer-syntax=*";
        let answer = http::request("GET", &url, &[("accept", accept)], &[]).unwrap();
        if answer.status == 200 { Ok(answer.parts().remove(0).body) } else { Err(answer.status) }
    }

    /// Ends it in the middle of whatever it does: nothing is finished, nobody gets to say goodbye.
    pub fn crash(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_timeout(Duration::from_secs(30));
        }
    }

    /// Lets so many milliseconds pass for it.
    pub fn pass(&self, milliseconds: i64) {
        self.clock.pass(milliseconds);
    }

    /// Turns its clock by so many milliseconds, as a time server does: no time passes.
    pub fn turn(&self, milliseconds: i64) {
        self.clock.turn(milliseconds);
    }

    /// What its clock shows, in milliseconds since 1970.
    pub fn now(&self) -> i64 {
        self.clock.now().0
    }

    /// CT slices: `studies` of one series of `slices`.
    pub fn ct(&self, seed: &str, studies: usize, slices: usize) -> Vec<Sample> {
        samples::ct(&self.folder.path().join("samples"), seed, studies, slices)
    }

    /// Where its data lie.
    pub fn data(&self) -> &Path {
        &self.config.data
    }

    /// How DCMTK calls it.
    pub fn peer(&self) -> Peer {
        Peer::new(self.dimse, "OVERREAD")
    }

    /// Sends files by C-STORE; all must be taken.
    pub fn send(&self, samples: &[Sample]) {
        let sent = self.try_send(samples);
        assert!(sent.complete, "{}", sent.log);
    }

    /// Sends files by C-STORE.
    pub fn try_send(&self, samples: &[Sample]) -> Sent {
        storescu(&self.peer(), &[], &samples.iter().map(|s| &s.path).collect::<Vec<_>>())
    }

    /// GET of a path of its API.
    pub fn get(&self, path: &str) -> Value {
        http::get(&format!("{}{path}", self.url)).unwrap().ok().json()
    }

    /// POST without a body.
    pub fn post(&self, path: &str) -> http::Answer {
        http::request("POST", &format!("{}{path}", self.url), &[], &[]).unwrap()
    }

    /// States of the deliveries to a destination, the latest result first.
    pub fn deliveries(&self, destination: &str) -> Vec<String> {
        let all = self.get("/api/v1/deliveries");
        let of = all.as_array().unwrap().iter().filter(|d| d["destination"] == destination);
        of.map(|d| d["state"].as_str().unwrap().to_owned()).collect()
    }

    /// Waits until the deliveries to a destination are in these states.
    pub fn until_deliveries(&self, destination: &str, states: &[&str]) {
        wait_until(&format!("{destination} is {states:?}"), PATIENCE, || {
            self.deliveries(destination) == states
        });
    }

    /// States of the studies, the latest first.
    pub fn studies(&self) -> Vec<String> {
        let all = self.get("/api/v1/studies");
        all.as_array().unwrap().iter().map(|s| s["state"].as_str().unwrap().to_owned()).collect()
    }

    /// Jobs in a state.
    pub fn jobs(&self, state: &str) -> Vec<Value> {
        let all = self.get(&format!("/api/v1/jobs?state={state}"));
        all["jobs"].as_array().unwrap().clone()
    }

    /// Waits for the one dead letter.
    pub fn dead_letter(&self) -> Value {
        wait_for("a dead letter", PATIENCE, || self.jobs("dead").pop())
    }

    /// Waits until there is no job left in any state.
    pub fn until_idle(&self) {
        wait_until("no job is left", PATIENCE, || {
            self.jobs("waiting").is_empty() && self.jobs("running").is_empty()
        });
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        self.ticking.store(false, Ordering::SeqCst);
        self.crash();
    }
}

/// Lets a standing clock go on as fast as the machine's.
fn tick(clock: &Clock, ticking: &Arc<AtomicBool>) {
    let (clock, ticking) = (clock.clone(), Arc::clone(ticking));
    std::thread::spawn(move || {
        let (begin, mut told) = (std::time::Instant::now(), 0);
        while ticking.load(Ordering::SeqCst) {
            let passed = i64::try_from(begin.elapsed().as_millis()).unwrap();
            clock.pass(passed - told);
            told = passed;
            std::thread::sleep(Duration::from_millis(5));
        }
    });
}

/// A C-STORE destination.
pub fn pacs(port: u16, ae_title: &str, storage_commitment: bool) -> Destination {
    Destination::Dimse {
        host: "127.0.0.1".into(),
        port,
        ae_title: ae_title.into(),
        our_ae_title: None,
        storage_commitment,
        tls: None,
    }
}
