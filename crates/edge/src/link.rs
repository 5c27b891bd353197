//! The link over HTTP, as the edge speaks it.

use std::path::Path;
use std::time::Duration;

use overread_domain::{ContentHash, Uid};
use overread_wire::{Cursor, Link, LinkError, ResultPage, StudyManifest, paths};
use reqwest::{Client, Response, StatusCode};

use crate::config::LinkConfig;

/// Longest silence of the service while bytes move.
const SILENCE: Duration = Duration::from_secs(60);

/// The service at the other end.
#[derive(Clone)]
pub struct HttpLink {
    client: Client,
    base: String,
    token: String,
}

impl HttpLink {
    /// A link to the configured address.
    ///
    /// # Errors
    /// The address or the TLS set-up does not work.
    pub fn new(config: &LinkConfig) -> Result<Self, LinkError> {
        let client = Client::builder().connect_timeout(Duration::from_secs(10)).read_timeout(SILENCE).build();
        let client =
            client.map_err(|e| LinkError::Here { doing: "setting up the link", source: e.into() })?;
        Ok(Self { client, base: config.url.trim_end_matches('/').to_owned(), token: config.token.clone() })
    }

    fn unreachable(&self, e: reqwest::Error) -> LinkError {
        LinkError::Unreachable { address: self.base.clone(), source: e.without_url().into() }
    }

    async fn send(&self, request: reqwest::RequestBuilder) -> Result<Response, LinkError> {
        let response = request.bearer_auth(&self.token).send().await.map_err(|e| self.unreachable(e))?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let problem: serde_json::Value = response.json().await.unwrap_or_default();
        let detail = problem["detail"].as_str().or(problem["title"].as_str()).unwrap_or("");
        let reason = format!("{status} {}", detail.chars().take(500).collect::<String>());
        if status == StatusCode::GONE {
            return Err(LinkError::Gone { address: self.base.clone() });
        }
        let refused = status.is_client_error()
            && status != StatusCode::REQUEST_TIMEOUT
            && status != StatusCode::TOO_MANY_REQUESTS;
        Err(if refused {
            LinkError::Refused { address: self.base.clone(), reason }
        } else {
            LinkError::Busy { address: self.base.clone(), reason }
        })
    }
}

impl Link for HttpLink {
    async fn missing(&self, objects: &[ContentHash]) -> Result<Vec<ContentHash>, LinkError> {
        let request = self.client.post(format!("{}{}", self.base, paths::MISSING)).json(objects);
        self.send(request).await?.json().await.map_err(|e| self.unreachable(e))
    }

    async fn put_object(&self, hash: &ContentHash, file: &Path) -> Result<(), LinkError> {
        let here =
            |source: std::io::Error| LinkError::Here { doing: "reading an object", source: source.into() };
        let file = tokio::fs::File::open(file).await.map_err(here)?;
        let length = file.metadata().await.map_err(here)?.len();
        let body = reqwest::Body::wrap_stream(tokio_util::io::ReaderStream::with_capacity(file, 1 << 16));
        let request = self
            .client
            .put(format!("{}{}", self.base, paths::object(hash)))
            .header("content-length", length)
            .body(body);
        self.send(request).await.map(|_| ())
    }

    async fn put_study(&self, manifest: &StudyManifest) -> Result<(), LinkError> {
        let address = format!("{}{}", self.base, paths::study(&manifest.study, manifest.version));
        self.send(self.client.put(address).json(manifest)).await.map(|_| ())
    }

    async fn forget(&self, study: &Uid, version: u32) -> Result<(), LinkError> {
        let address = format!("{}{}", self.base, paths::forget(study, version));
        self.send(self.client.delete(address)).await.map(|_| ())
    }

    async fn results(&self, after: Cursor, wait_seconds: u32) -> Result<ResultPage, LinkError> {
        let query = [("after", after.0.to_string()), ("wait", wait_seconds.to_string())];
        let address = format!("{}{}?after={}&wait={}", self.base, paths::RESULTS, query[0].1, query[1].1);
        self.send(self.client.get(address)).await?.json().await.map_err(|e| self.unreachable(e))
    }

    async fn object(&self, hash: &ContentHash) -> Result<Vec<u8>, LinkError> {
        let response = self.send(self.client.get(format!("{}{}", self.base, paths::object(hash)))).await?;
        let bytes = response.bytes().await.map_err(|e| self.unreachable(e))?;
        Ok(bytes.to_vec())
    }
}
