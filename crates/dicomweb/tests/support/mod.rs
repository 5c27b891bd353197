//! An archive in a folder, real samples, and requests without a socket.
#![allow(dead_code, reason = "each test file uses a part of it")]

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Request, StatusCode, header};
use dicom_core::value::PrimitiveValue;
use dicom_core::{Tag, VR};
use dicom_dictionary_std::tags;
use dicom_object::InMemDicomObject;
use dicom_object::mem::InMemElement;
use overread_dicom::read::{CodecHost, CodecLimits};
use overread_dicomweb::{
    Archive, ArchiveError, Config, InstanceEntry, Level, Limits, OpenedFile, Page, Query, ReceivedFile,
    Scope, StoreOutcome, router,
};
use overread_domain::{ContentHash, Identified, Uid};
use tempfile::TempDir;
use tower::ServiceExt;

/// What `./x setup` fetched; a test without it fails and says so.
pub fn tools() -> PathBuf {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap();
    let tools = std::env::var_os("OVERREAD_TOOLS").map_or_else(|| workspace.join(".tools"), PathBuf::from);
    assert!(tools.join("samples").is_dir(), "{} is not complete; run ./x setup", tools.display());
    tools
}

pub fn sample(name: &str) -> PathBuf {
    tools().join("samples/data_store/data").join(name)
}

pub fn bytes_of(name: &str) -> Vec<u8> {
    std::fs::read(sample(name)).unwrap()
}

struct Kept {
    entry: InstanceEntry,
    path: PathBuf,
    hash: ContentHash,
    data: InMemDicomObject,
}

/// What stands in for a role.
pub struct Folder {
    pub home: TempDir,
    staging: PathBuf,
    limits: Limits,
    kept: Mutex<Vec<Kept>>,
    /// What the next files are answered with, whatever they are.
    pub forced: Mutex<Vec<StoreOutcome>>,
    /// How many files each call of `store` brought.
    pub batches: Mutex<Vec<usize>>,
}

impl Folder {
    pub fn new(limits: Limits) -> Arc<Self> {
        let home = tempfile::tempdir().unwrap();
        let staging = home.path().join("staging");
        std::fs::create_dir(&staging).unwrap();
        Arc::new(Self {
            home,
            staging,
            limits,
            kept: Mutex::default(),
            forced: Mutex::default(),
            batches: Mutex::default(),
        })
    }

    pub fn router(self: &Arc<Self>) -> Router {
        router(self.clone(), config())
    }

    /// Names of files that lie in the staging folder.
    pub fn staged(&self) -> usize {
        std::fs::read_dir(&self.staging).unwrap().count()
    }

    pub fn count(&self) -> usize {
        self.kept.lock().unwrap().len()
    }

    pub fn entries(&self) -> Vec<InstanceEntry> {
        self.kept.lock().unwrap().iter().map(|k| k.entry.clone()).collect()
    }

    fn keep(&self, file: ReceivedFile) -> StoreOutcome {
        let mut kept = self.kept.lock().unwrap();
        if let Some(old) = kept.iter().find(|k| k.entry.instance == file.instance) {
            let same = old.hash == file.hash;
            return if same {
                StoreOutcome::Duplicate
            } else {
                StoreOutcome::Failed(overread_dicomweb::FailureReason::DuplicateInstance)
            };
        }
        let path = self.home.path().join(format!("{}.dcm", kept.len()));
        let entry = InstanceEntry {
            id: kept.len() as i64,
            study: file.study,
            series: file.series,
            instance: file.instance,
            sop_class: file.sop_class,
            transfer_syntax: file.transfer_syntax,
            frames: file.object.header().frames,
            bytes: file.bytes,
        };
        file.file.persist(&path).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().len(), entry.bytes);
        let data = file.object.dataset().reveal().clone();
        kept.push(Kept { entry, path, hash: file.hash, data });
        StoreOutcome::Stored
    }
}

fn key(kept: &Kept, level: Level) -> &Uid {
    match level {
        Level::Study => &kept.entry.study,
        Level::Series => &kept.entry.series,
        Level::Instance => &kept.entry.instance,
    }
}

#[async_trait]
impl Archive for Folder {
    async fn search(&self, level: Level, query: &Query) -> Result<Page, ArchiveError> {
        if query.criterion(tags::OPERATORS_NAME).is_some() {
            return Err(ArchiveError::Unmatchable(tags::OPERATORS_NAME));
        }
        let kept = self.kept.lock().unwrap();
        let mut groups: Vec<Vec<&Kept>> = Vec::new();
        for one in kept.iter() {
            match groups.iter_mut().find(|g| key(g[0], level) == key(one, level)) {
                Some(group) => group.push(one),
                None => groups.push(vec![one]),
            }
        }
        let mut rows = Vec::new();
        for group in groups {
            let mut row = group[0].data.clone();
            let mut put = |tag: Tag, vr, value| row.put(InMemElement::new(tag, vr, value));
            let mut modalities: Vec<String> = group
                .iter()
                .filter_map(|k| Some(k.data.get(tags::MODALITY)?.to_str().ok()?.into()))
                .collect();
            modalities.dedup();
            put(tags::MODALITIES_IN_STUDY, VR::CS, PrimitiveValue::Strs(modalities.into()));
            let number = |n: usize| PrimitiveValue::from(n.to_string());
            put(tags::NUMBER_OF_STUDY_RELATED_INSTANCES, VR::IS, number(group.len()));
            put(tags::NUMBER_OF_SERIES_RELATED_INSTANCES, VR::IS, number(group.len()));
            if query.admits(&row) {
                rows.push(Identified::new(row));
            }
        }
        let (from, most) = (query.offset as usize, query.limit as usize);
        let more = rows.len() > from + most;
        let rows = rows.into_iter().skip(from).take(most).collect();
        Ok(Page { rows, more, fuzzy: false })
    }

    async fn instances(&self, scope: &Scope) -> Result<Vec<InstanceEntry>, ArchiveError> {
        let fits = |e: &InstanceEntry| {
            e.study == scope.study
                && scope.series.as_ref().is_none_or(|s| *s == e.series)
                && scope.instance.as_ref().is_none_or(|i| *i == e.instance)
        };
        Ok(self.entries().into_iter().filter(fits).collect())
    }

    async fn open(&self, instance: &InstanceEntry) -> Result<OpenedFile, ArchiveError> {
        let kept = self.kept.lock().unwrap();
        let path = kept[instance.id as usize].path.clone();
        if path.exists() { Ok(OpenedFile { path, keep: None }) } else { Err(ArchiveError::Gone) }
    }

    async fn store(&self, files: Vec<ReceivedFile>, _: Option<&Uid>) -> Vec<StoreOutcome> {
        self.batches.lock().unwrap().push(files.len());
        let forced = |file: &ReceivedFile| {
            assert!(file.file.starts_with(&self.staging));
            self.forced.lock().unwrap().pop()
        };
        files.into_iter().map(|f| forced(&f).unwrap_or_else(|| self.keep(f))).collect()
    }

    fn staging(&self) -> &Path {
        &self.staging
    }

    fn limits(&self) -> &Limits {
        &self.limits
    }
}

pub fn config() -> Config {
    let deps = std::env::current_exe().unwrap();
    let codec = deps.parent().unwrap().parent().unwrap().join("examples/codec");
    assert!(codec.is_file(), "{} is missing; run cargo test without --test", codec.display());
    Config {
        base: "/dicom-web".to_owned(),
        public_url: None,
        codec: Arc::new(move || CodecHost::new(codec.clone(), Vec::new(), CodecLimits::default())),
        decoders: 2,
        read: overread_dicom::read::Limits::default(),
    }
}

/// An answer, whole.
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|e| panic!("{e}: {}", String::from_utf8_lossy(&self.body)))
    }

    pub fn kind(&self) -> &str {
        self.headers[header::CONTENT_TYPE].to_str().unwrap()
    }

    /// The parts of a multipart body: their headers, their content.
    pub fn parts(&self) -> Vec<(String, Vec<u8>)> {
        let boundary = self.kind().split("boundary=").nth(1).unwrap();
        let delimiter = format!("\r\n--{boundary}");
        let whole = [b"\r\n".as_slice(), &self.body].concat();
        let mut starts: Vec<usize> = memchr::memmem::find_iter(&whole, &delimiter).collect();
        assert!(whole[starts.pop().unwrap()..].ends_with(b"--\r\n"), "not closed");
        let ends: Vec<usize> = memchr::memmem::find_iter(&whole, &delimiter).skip(1).collect();
        let part = |(start, end): (&usize, &usize)| {
            let part = &whole[start + delimiter.len() + 2..*end];
            let split = memchr::memmem::find(part, b"\r\n\r\n").unwrap();
            (String::from_utf8(part[..split].to_vec()).unwrap(), part[split + 4..].to_vec())
        };
        starts.iter().zip(&ends).map(part).collect()
    }
}

pub async fn send(router: &Router, request: Request<Body>) -> Answer {
    let response = router.clone().oneshot(request).await.unwrap();
    let (parts, body) = response.into_parts();
    let body = axum::body::to_bytes(body, usize::MAX).await.unwrap().to_vec();
    Answer { status: parts.status, headers: parts.headers, body }
}

pub async fn get(router: &Router, path: &str, accept: &str) -> Answer {
    let mut request = Request::get(format!("/dicom-web{path}")).header(header::HOST, "pacs.test:8042");
    if !accept.is_empty() {
        request = request.header(header::ACCEPT, accept);
    }
    send(router, request.body(Body::empty()).unwrap()).await
}

/// A body of parts.
pub fn form(parts: &[Vec<u8>]) -> Vec<u8> {
    let mut body = Vec::new();
    for part in parts {
        body.extend_from_slice(b"--edge\r\nContent-Type: application/dicom\r\n\r\n");
        body.extend_from_slice(part);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(b"--edge--\r\n");
    body
}

pub const FORM: &str = "multipart/related; type=\"application/dicom\"; boundary=edge";

pub async fn post(router: &Router, path: &str, kind: &str, body: impl Into<Body>) -> Answer {
    let request = Request::post(format!("/dicom-web{path}"))
        .header(header::CONTENT_TYPE, kind)
        .header(header::HOST, "pacs.test:8042");
    send(router, request.body(body.into()).unwrap()).await
}

/// An archive that holds samples.
pub async fn holding(names: &[&str]) -> (Arc<Folder>, Router) {
    let folder = Folder::new(Limits::default());
    let router = folder.router();
    for name in names {
        let answer = post(&router, "/studies", "application/dicom", bytes_of(name)).await;
        assert_eq!(answer.status, StatusCode::OK, "{name}: {}", String::from_utf8_lossy(&answer.body));
    }
    (folder, router)
}

/// The path of an instance.
pub fn path(entry: &InstanceEntry) -> String {
    format!("/studies/{}/series/{}/instances/{}", entry.study, entry.series, entry.instance)
}
