//! The link over HTTP, as the edge speaks it: known to an enrolled service by a certificate, on one machine by a token.
//!
//! Nothing has a time limit as a whole, since a line may be slow for hours: what moves no byte for long is given up.

mod body;
mod enrol;
mod identity;
mod upload;

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use bytes::Bytes;
use overread_domain::{ContentHash, Uid, sentence};
use overread_wire::{Cursor, Link, LinkError, ResultPage, StudyManifest, paths};
use reqwest::{Client, RequestBuilder, Response, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::watch;

use crate::config::LinkConfig;
use body::Progress;
pub use enrol::{Enrolled, enrol};
pub use identity::Identity;

/// Longest silence of the service while an answer is waited for.
const SILENCE: Duration = Duration::from_secs(60);
/// How long sent bytes may stay unacknowledged: then the line is down.
const UNACKNOWLEDGED: Duration = Duration::from_secs(60);
/// How often it is looked whether the certificate is to be renewed.
const RENEWAL: Duration = Duration::from_secs(3600);
/// JSON from so many bytes on is compressed.
const WORTH: usize = 1024;

/// The service at the other end. Clones share its connections.
#[derive(Clone)]
pub struct HttpLink {
    inner: Arc<Inner>,
}

struct Inner {
    client: RwLock<Client>,
    base: String,
    token: Option<String>,
    folder: PathBuf,
}

impl HttpLink {
    /// A link to the configured address: by token where one is set, else by the certificate that this edge got when it enrolled. `data` is the edge's data folder.
    ///
    /// # Errors
    /// The edge is not enrolled, or its certificate or the TLS set-up does not work.
    pub fn open(config: &LinkConfig, data: &Path) -> Result<Self, LinkError> {
        let folder = config.folder(data);
        let token = Some(config.token.clone()).filter(|token| !token.is_empty());
        let client = if token.is_some() || !config.url.starts_with("https://") {
            plain_client()?
        } else {
            let identity = Identity::read(&folder).map_err(here("reading this edge's certificate"))?;
            let doing = "reading this edge's certificate (run `overread enrol` first)";
            let absent = || std::io::Error::from(std::io::ErrorKind::NotFound);
            identity.ok_or_else(absent).map_err(here(doing))?.client()?
        };
        let base = config.url.trim_end_matches('/').to_owned();
        Ok(Self { inner: Arc::new(Inner { client: RwLock::new(client), base, token, folder }) })
    }

    /// Renews the certificate when a third of its time is left, until `stopped` turns true.
    pub async fn keep_certificate(self, mut stopped: watch::Receiver<bool>) {
        while self.inner.token.is_none() && !*stopped.borrow() {
            match self.renew_if_due(overread_domain::Clock::machine().now()).await {
                Ok(true) => tracing::info!("the link's certificate was renewed"),
                Ok(false) => {}
                Err(e) => tracing::warn!("the link's certificate could not be renewed yet: {}", sentence(&e)),
            }
            tokio::select! {
                () = tokio::time::sleep(RENEWAL) => {}
                _ = stopped.changed() => return,
            }
        }
    }

    fn client(&self) -> Client {
        // A panic elsewhere leaves the client as good as it was.
        self.inner.client.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.inner.base)
    }

    fn unreachable(&self, e: reqwest::Error) -> LinkError {
        LinkError::Unreachable { address: self.inner.base.clone(), source: e.without_url().into() }
    }

    fn silent(&self, what: &str) -> LinkError {
        let source = std::io::Error::new(std::io::ErrorKind::TimedOut, what);
        LinkError::Unreachable { address: self.inner.base.clone(), source: source.into() }
    }

    /// Sends a request without a body, or with a small one, and waits for the answer's head so long.
    async fn send(&self, request: RequestBuilder, wait: Duration) -> Result<Response, LinkError> {
        let request = self.known(request).send();
        let answer = tokio::time::timeout(wait, request).await;
        let answer = answer.map_err(|_| self.silent("no answer in time"))?;
        self.judge(answer.map_err(|e| self.unreachable(e))?).await
    }

    /// Sends a request whose body reports its progress.
    async fn send_body(&self, request: RequestBuilder, progress: &Progress) -> Result<Response, LinkError> {
        tokio::select! {
            answer = self.known(request).send() => self.judge(answer.map_err(|e| self.unreachable(e))?).await,
            () = progress.stalled() => Err(self.silent("the service takes no more bytes")),
        }
    }

    async fn send_json<T: Serialize + ?Sized>(
        &self,
        request: RequestBuilder,
        message: &T,
    ) -> Result<Response, LinkError> {
        let text = serde_json::to_vec(message).map_err(here("writing a message"))?;
        let request = request.header("content-type", "application/json");
        if text.len() < WORTH {
            let progress = Progress::default();
            return self.send_body(progress.body(request, text), &progress).await;
        }
        let packed = zstd::bulk::compress(&text, 3).map_err(here("compressing a message"))?;
        let progress = Progress::default();
        let request = progress.body(request.header("content-encoding", "zstd"), packed);
        self.send_body(request, &progress).await
    }

    fn known(&self, request: RequestBuilder) -> RequestBuilder {
        match &self.inner.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        }
    }

    /// What an answer means.
    async fn judge(&self, response: Response) -> Result<Response, LinkError> {
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let address = self.inner.base.clone();
        if status == StatusCode::GONE {
            return Err(LinkError::Gone { address });
        }
        // An upload that stands elsewhere goes on from there.
        let elsewhere = response.headers().contains_key(paths::UPLOAD_OFFSET);
        let problem = self.whole(response).await.unwrap_or_default();
        let problem: serde_json::Value = serde_json::from_slice(&problem).unwrap_or_default();
        let detail = problem["detail"].as_str().or(problem["title"].as_str()).unwrap_or("");
        let reason = format!("{status} {}", detail.chars().take(500).collect::<String>());
        let refused = status.is_client_error()
            && status != StatusCode::REQUEST_TIMEOUT
            && status != StatusCode::TOO_MANY_REQUESTS
            && !elsewhere;
        Err(if refused {
            LinkError::Refused { address, reason }
        } else {
            LinkError::Busy { address, reason }
        })
    }

    /// The whole body of an answer, however slowly it comes.
    async fn whole(&self, mut response: Response) -> Result<Vec<u8>, LinkError> {
        let mut body = Vec::new();
        loop {
            let part = tokio::time::timeout(SILENCE, response.chunk()).await;
            let part: Option<Bytes> = part
                .map_err(|_| self.silent("the answer stopped in the middle"))?
                .map_err(|e| self.unreachable(e))?;
            let Some(part) = part else { return Ok(body) };
            body.extend_from_slice(&part);
        }
    }

    async fn json<T: DeserializeOwned>(&self, response: Response) -> Result<T, LinkError> {
        let body = self.whole(response).await?;
        serde_json::from_slice(&body).map_err(|e| {
            let source = std::io::Error::other(format!("the answer cannot be read: {:?}", e.classify()));
            LinkError::Unreachable { address: self.inner.base.clone(), source: source.into() }
        })
    }
}

/// A client of HTTP, and of HTTPS with the authorities that the machine trusts.
fn plain_client() -> Result<Client, LinkError> {
    finish(Client::builder())
}

/// What all our clients have in common.
fn finish(builder: reqwest::ClientBuilder) -> Result<Client, LinkError> {
    builder
        .connect_timeout(Duration::from_secs(30))
        .tcp_user_timeout(UNACKNOWLEDGED)
        .tcp_keepalive(Duration::from_secs(20))
        .build()
        .map_err(here("setting up the link"))
}

/// Something on this side.
fn here<E: Into<Box<dyn std::error::Error + Send + Sync>>>(
    doing: &'static str,
) -> impl FnOnce(E) -> LinkError {
    move |e| LinkError::Here { doing, source: e.into() }
}

impl Link for HttpLink {
    async fn missing(&self, objects: &[ContentHash]) -> Result<Vec<ContentHash>, LinkError> {
        let request = self.client().post(self.url(paths::MISSING));
        let answer = self.send_json(request, objects).await?;
        self.json(answer).await
    }

    async fn put_object(&self, hash: &ContentHash, file: &Path) -> Result<(), LinkError> {
        self.upload(hash, file).await
    }

    async fn put_study(&self, manifest: &StudyManifest) -> Result<(), LinkError> {
        let address = self.url(&paths::study(&manifest.study, manifest.version));
        self.send_json(self.client().put(address), manifest).await.map(|_| ())
    }

    async fn forget(&self, study: &Uid, version: u32) -> Result<(), LinkError> {
        let address = self.url(&paths::forget(study, version));
        self.send(self.client().delete(address), SILENCE).await.map(|_| ())
    }

    async fn results(&self, after: Cursor, wait_seconds: u32) -> Result<ResultPage, LinkError> {
        let address = format!("{}?after={}&wait={wait_seconds}", self.url(paths::RESULTS), after.0);
        let wait = SILENCE + Duration::from_secs(wait_seconds.into());
        let answer = self.send(self.client().get(address), wait).await?;
        self.json(answer).await
    }

    async fn object(&self, hash: &ContentHash) -> Result<Vec<u8>, LinkError> {
        let answer = self.send(self.client().get(self.url(&paths::object(hash))), SILENCE).await?;
        self.whole(answer).await
    }
}
