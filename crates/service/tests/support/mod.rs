//! A service on a free port with stores in a temporary folder, and an edge that speaks to it over HTTP.
#![allow(dead_code, reason = "each test file uses a part of it")]

pub mod edges;

use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use overread_dicom::read::{CodecHost, CodecLimits};
use overread_dicom::write::wrap::{DxGeometry, wrap_radiograph};
use overread_dicom::write::{ContentUids, GreyPixels, Stamp, WrapHeader, to_part10};
use overread_domain::{AgeBand, Clock, ContentHash, GridSize, Millis, PixelSpacing, Priority, Uid};
use overread_http::HttpConfig;
use overread_infer::{Pack, Runtime, TrustList};
use overread_read::Workers;
use overread_service::reading::ReadStudy;
use overread_service::{CodecFactory, Config, ProgramConfig, ReaderPool, Service, Working};
use overread_wire::{InstanceEntry, ResultPage, StudyManifest, VERSION, paths};
use serde_json::Value;
use sha2::{Digest, Sha256};

pub const TOKEN: &str = "0123456789abcdef0123456789abcdef";

pub fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

fn tools() -> PathBuf {
    let tools = std::env::var_os("OVERREAD_TOOLS").map_or_else(|| workspace().join(".tools"), PathBuf::from);
    assert!(tools.join("onnxruntime").is_dir(), "{} is not complete; run ./x setup", tools.display());
    tools
}

pub fn runtime() -> Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME
        .get_or_init(|| {
            let library = std::fs::read_dir(tools().join("onnxruntime/onnxruntime/capi"))
                .unwrap()
                .map(|entry| entry.unwrap().path())
                .find(|path| path.to_string_lossy().contains("libonnxruntime.so."))
                .expect("no ONNX Runtime; run ./x setup");
            Runtime::load(&library).unwrap()
        })
        .clone()
}

pub fn packs() -> Vec<Arc<Pack>> {
    ["brightness", "centre"]
        .map(|name| workspace().join("tests/packs").join(name))
        .map(|folder| Arc::new(Pack::open(&folder, &TrustList::default()).unwrap()))
        .to_vec()
}

/// The pack `brightness` under other terms.
pub fn research_pack(folder: &Path) -> Arc<Pack> {
    let from = workspace().join("tests/packs/brightness");
    for part in ["configs", "docs", "models"] {
        std::fs::create_dir_all(folder.join(part)).unwrap();
        for entry in std::fs::read_dir(from.join(part)).unwrap() {
            let entry = entry.unwrap();
            std::fs::copy(entry.path(), folder.join(part).join(entry.file_name())).unwrap();
        }
    }
    std::fs::copy(from.join("head.safetensors"), folder.join("head.safetensors")).unwrap();
    let path = folder.join("configs/metadata.json");
    let mut metadata: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    metadata["overread"]["terms"]["research_only"] = true.into();
    metadata["overread"]["id"] = "research".into();
    std::fs::write(&path, metadata.to_string()).unwrap();
    Arc::new(Pack::open(folder, &TrustList::default()).unwrap())
}

/// Uncompressed pixels need no codec, so its process is never started.
fn codec() -> CodecFactory {
    Arc::new(|| CodecHost::new(PathBuf::from("/nonexistent"), vec![], CodecLimits::default()))
}

pub fn pool() -> Arc<ReaderPool> {
    let workers = Workers { readers: 2, threads_each: 1 };
    Arc::new(ReaderPool::start(&runtime(), &codec(), workers).unwrap())
}

/// A child's radiograph as a DX image without identity: one of the sixteen.
pub fn radiograph(study: &str, number: usize) -> (Uid, Uid, Uid, Vec<u8>) {
    let folder = tools().join("samples/pneumonia_model_package/datasets/pneumonia-data/val");
    let mut files: Vec<PathBuf> = std::fs::read_dir(&folder)
        .unwrap_or_else(|e| panic!("{}: {e}; run ./x setup", folder.display()))
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == "jpeg"))
        .collect();
    files.sort();
    let bytes = std::fs::read(&files[number]).unwrap();
    let picture = image::load_from_memory(&bytes).unwrap().thumbnail(256, 256).to_luma8();
    let uids = ContentUids::of_set(study.as_bytes(), &Sha256::digest(&bytes));
    let mut header = WrapHeader::new(uids.clone(), Stamp::new(1_700_000_000, 0));
    header.body_part = Some("CHEST".into());
    let geometry = DxGeometry {
        spacing: PixelSpacing { row_mm: 1.0, column_mm: 1.0 },
        orientation: ["L".into(), "F".into()],
    };
    let size = GridSize::new(picture.width(), picture.height());
    let pixels = GreyPixels::U8(picture.as_raw());
    let object = wrap_radiograph(&header, size, pixels, Some(&geometry)).unwrap();
    (uids.study, uids.series, uids.instance, to_part10(&object).unwrap())
}

pub fn hash(bytes: &[u8]) -> ContentHash {
    ContentHash::from_bytes(Sha256::digest(bytes).into())
}

/// A study of so many radiographs, and their bytes.
pub fn study(name: &str, version: u32, images: usize, hint: Option<&str>) -> (StudyManifest, Vec<Vec<u8>>) {
    let images: Vec<_> = (0..images).map(|n| radiograph(name, n)).collect();
    let entry = |(_, series, instance, bytes): &(Uid, Uid, Uid, Vec<u8>)| InstanceEntry {
        instance: instance.clone(),
        series: series.clone(),
        sha256: hash(bytes),
        bytes: bytes.len() as u64,
    };
    let manifest = StudyManifest {
        wire: VERSION,
        study: images[0].0.clone(),
        version,
        program_hint: hint.map(str::to_owned),
        priority: Priority::Routine,
        age_band: AgeBand::of_years(4.0),
        sex: None,
        laterality: None,
        view: Some("PA".into()),
        complete_at: Millis(1_700_000_000_000),
        instances: images.iter().map(entry).collect(),
    };
    (manifest, images.into_iter().map(|i| i.3).collect())
}

/// A study of bytes that are no image.
pub fn garbage(name: &str, hint: Option<&str>) -> (StudyManifest, Vec<Vec<u8>>) {
    let (mut manifest, _) = study(name, 1, 1, hint);
    let bytes = format!("{name} is no image").into_bytes();
    manifest.instances[0].sha256 = hash(&bytes);
    manifest.instances[0].bytes = bytes.len() as u64;
    (manifest, vec![bytes])
}

/// A service and its door.
pub struct Bench {
    pub folder: tempfile::TempDir,
    pub config: Config,
    pub service: Arc<Service>,
    pub api: utoipa::openapi::OpenApi,
    pub base: String,
    pub http: reqwest::Client,
    working: Option<Working>,
    close: Option<tokio::sync::oneshot::Sender<()>>,
}

pub fn program(name: &str) -> ProgramConfig {
    ProgramConfig { name: name.into(), pack: name.into(), prevalence: None }
}

impl Bench {
    pub async fn new() -> Self {
        Self::with(packs(), |config| config.programs = vec![program("brightness")]).await
    }

    /// A service as the configuration is changed, without jobs running yet.
    pub async fn with(packs: Vec<Arc<Pack>>, change: impl FnOnce(&mut Config)) -> Self {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let folder = tempfile::tempdir().unwrap();
        let mut config = Config {
            data: folder.path().to_owned(),
            http: HttpConfig::at_port(0),
            link_token: TOKEN.into(),
            ..Config::default()
        };
        config.limits.reserve_bytes = 0;
        change(&mut config);
        let service = Arc::new(Service::open(&config, &packs, Clock::machine()).await.unwrap());
        let (router, api) = overread_service::door(&service, &config).unwrap();
        let listener = overread_http::bind(&config.http).unwrap();
        let base = format!("http://{}", listener.address());
        let (close, closed) = tokio::sync::oneshot::channel();
        let (events, http_config) = (service.common.events.clone(), config.http.clone());
        tokio::spawn(async move {
            let shutdown = async { drop(closed.await) };
            overread_http::serve(listener, router, &http_config, events, shutdown).await.unwrap();
        });
        let http = reqwest::Client::new();
        Self { folder, config, service, api, base, http, working: None, close: Some(close) }
    }

    pub async fn start(&mut self, reader: Arc<dyn ReadStudy>, at_once: usize) {
        let working = overread_service::start(&self.service, &self.config, reader, at_once).await;
        self.working = Some(working.unwrap());
    }

    /// Ends the jobs as a crash would: what runs is not finished.
    pub async fn crash(&mut self) {
        self.working.take().unwrap().stop(Duration::ZERO).await;
    }

    pub fn request(&self, method: reqwest::Method, path: &str) -> reqwest::RequestBuilder {
        self.http.request(method, format!("{}{path}", self.base)).bearer_auth(TOKEN)
    }

    pub async fn put_object(&self, hash: &ContentHash, bytes: Vec<u8>) -> reqwest::Response {
        self.request(reqwest::Method::PUT, &paths::object(hash)).body(bytes).send().await.unwrap()
    }

    pub async fn put_study(&self, manifest: &StudyManifest) -> reqwest::Response {
        let path = paths::study(&manifest.study, manifest.version);
        self.request(reqwest::Method::PUT, &path).json(manifest).send().await.unwrap()
    }

    /// Puts objects and study, all of which must be taken.
    pub async fn send(&self, (manifest, objects): &(StudyManifest, Vec<Vec<u8>>)) {
        for bytes in objects {
            let answer = self.put_object(&hash(bytes), bytes.clone()).await;
            assert!(answer.status().is_success(), "{}: {}", answer.status(), answer.text().await.unwrap());
        }
        let answer = self.put_study(manifest).await;
        assert!(answer.status().is_success(), "{}: {}", answer.status(), answer.text().await.unwrap());
    }

    pub async fn results(&self, after: i64, wait: u32) -> ResultPage {
        let path = format!("{}?after={after}&wait={wait}", paths::RESULTS);
        self.request(reqwest::Method::GET, &path).send().await.unwrap().json().await.unwrap()
    }

    pub async fn get(&self, path: &str) -> Value {
        let answer = self.http.get(format!("{}{path}", self.base)).send().await.unwrap();
        let status = answer.status();
        let text = answer.text().await.unwrap();
        assert!(status.is_success(), "{path}: {status}: {text}");
        serde_json::from_str(&text).unwrap()
    }

    pub async fn set_mode(&self, program: &str, mode: &str) -> reqwest::Response {
        let body = serde_json::json!({ "mode": mode, "reason": "a test" });
        let path = format!("{}/api/v1/programs/{program}/mode", self.base);
        self.http.put(path).json(&body).send().await.unwrap()
    }

    /// The cases, by state.
    pub async fn states(&self) -> Vec<String> {
        let cases = self.get("/api/v1/cases").await;
        let of = |case: &Value| case["state"].as_str().unwrap().to_owned();
        cases["cases"].as_array().unwrap().iter().map(of).collect()
    }

    /// Waits until the cases are in these states.
    pub async fn until_states(&self, wanted: &[&str]) {
        until(|| async { self.states().await == wanted }, || format!("{wanted:?}")).await;
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        drop(self.close.take());
    }
}

/// Waits for a condition, for a generous while.
pub async fn until<F: Future<Output = bool>>(condition: impl Fn() -> F, what: impl Fn() -> String) {
    for _ in 0..600 {
        if condition().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("waited in vain for {}", what());
}

/// All files below a folder.
pub fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = vec![];
    for entry in std::fs::read_dir(folder).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found
}
