//! A tap on the link: stands before the service, passes every message on, and keeps a copy as it was before TLS and before compression.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum_server::tls_rustls::RustlsConfig;
use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, Issuer, KeyPair};

/// What a tap needs to stand in the middle: it holds both sides' secrets, which only a test can.
pub struct TapSetup {
    /// Where it listens.
    pub bind: SocketAddr,
    /// Base address of the service, `https://…`.
    pub upstream: String,
    /// File with certificate and key of the service's authority (PEM): the tap makes itself a certificate that edges trust.
    pub authority: PathBuf,
    /// File with the edge's certificate and key (PEM), once there is one: the tap shows it to the service.
    pub identity: PathBuf,
    /// Folder for the messages.
    pub folder: PathBuf,
}

/// A running tap.
pub struct Tap {
    runtime: Option<tokio::runtime::Runtime>,
    folder: PathBuf,
}

struct Wire {
    setup: TapSetup,
    authority: String,
    count: AtomicU32,
}

impl Tap {
    /// Starts it in the network of the calling thread.
    ///
    /// # Panics
    /// The address is taken or a PEM is none.
    pub fn start(setup: TapSetup) -> Self {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        let listener = std::net::TcpListener::bind(setup.bind).expect("the tap's address");
        listener.set_nonblocking(true).expect("a socket");
        let folder = setup.folder.clone();
        let authority = std::fs::read_to_string(&setup.authority).expect("the service's authority");
        let (chain, key) = certificate(&authority, setup.bind);
        let wire = Arc::new(Wire { setup, authority, count: AtomicU32::new(0) });
        let router = axum::Router::new().fallback(pass).with_state(wire);
        runtime.spawn(async move {
            let tls = RustlsConfig::from_pem(chain, key).await.expect("certificate and key");
            let server = axum_server::from_tcp_rustls(listener, tls).expect("a socket");
            server.serve(router.into_make_service()).await.expect("a server");
        });
        Self { runtime: Some(runtime), folder }
    }

    /// The folder of the messages.
    pub fn messages(&self) -> &Path {
        &self.folder
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// A chain and its key for an address, signed by an authority.
fn certificate(authority: &str, bind: SocketAddr) -> (Vec<u8>, Vec<u8>) {
    let own = KeyPair::from_pem(authority).expect("the authority's key");
    let issuer = Issuer::from_ca_cert_pem(authority, own).expect("the authority's certificate");
    let mut params = CertificateParams::new(vec![bind.ip().to_string()]).expect("an address");
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let key = KeyPair::generate().expect("a key");
    let leaf = params.signed_by(&key, &issuer).expect("a certificate");
    (format!("{}{authority}", leaf.pem()).into_bytes(), key.serialize_pem().into_bytes())
}

async fn pass(State(wire): State<Arc<Wire>>, request: Request) -> Response {
    let number = wire.count.fetch_add(1, Ordering::SeqCst);
    let (parts, body) = request.into_parts();
    let target = parts.uri.path_and_query().map_or("/", |p| p.as_str()).to_owned();
    let Ok(body) = to_bytes(body, usize::MAX).await else { return StatusCode::BAD_REQUEST.into_response() };
    wire.keep(&format!("{number:05}-request"), &format!("{} {target}", parts.method), &parts.headers, &body);
    match wire.ask(parts.method, &target, parts.headers, body).await {
        Ok((status, headers, body)) => {
            wire.keep(&format!("{number:05}-answer"), status.as_str(), &headers, &body);
            let mut answer = Response::new(Body::from(body));
            *answer.status_mut() = status;
            *answer.headers_mut() = headers;
            answer
        }
        Err(why) => (StatusCode::BAD_GATEWAY, why).into_response(),
    }
}

impl Wire {
    async fn ask(
        &self,
        method: axum::http::Method,
        target: &str,
        mut headers: HeaderMap,
        body: Bytes,
    ) -> Result<(StatusCode, HeaderMap, Bytes), String> {
        let authority =
            reqwest::Certificate::from_pem(self.authority.as_bytes()).map_err(|e| e.to_string())?;
        let mut client = reqwest::Client::builder().tls_certs_only([authority]);
        let identity = std::fs::read(&self.setup.identity).unwrap_or_default();
        if !identity.is_empty() {
            client = client.identity(reqwest::Identity::from_pem(&identity).map_err(|e| e.to_string())?);
        }
        headers.remove(header::HOST);
        headers.remove(header::TRANSFER_ENCODING);
        headers.remove(header::CONTENT_LENGTH);
        let client = client.build().map_err(|e| e.to_string())?;
        let request =
            client.request(method, format!("{}{target}", self.setup.upstream)).headers(headers).body(body);
        let answer = request.send().await.map_err(|e| format!("{e:?}"))?;
        let (status, mut headers) = (answer.status(), answer.headers().clone());
        headers.remove(header::TRANSFER_ENCODING);
        headers.remove(header::CONTENT_LENGTH);
        Ok((status, headers, answer.bytes().await.map_err(|e| e.to_string())?))
    }

    /// Writes a message down, its body decompressed.
    fn keep(&self, name: &str, line: &str, headers: &HeaderMap, body: &[u8]) {
        let mut text = format!("{line}\n").into_bytes();
        for (key, value) in headers {
            text.extend_from_slice(&[key.as_str().as_bytes(), b": ", value.as_bytes(), b"\n"].concat());
        }
        let plain = match headers.get(header::CONTENT_ENCODING).map(|v| v.as_bytes()) {
            // What was cut off in the middle is kept as far as it goes.
            Some(b"zstd") => decompressed(body),
            Some(other) => panic!(
                "a message in an encoding that the tap cannot read: {}",
                String::from_utf8_lossy(other)
            ),
            None => body.to_vec(),
        };
        std::fs::write(self.setup.folder.join(name), [text, b"\n".to_vec(), plain].concat())
            .expect("the tap's folder");
    }
}

fn decompressed(body: &[u8]) -> Vec<u8> {
    let mut plain = vec![];
    if let Ok(mut decoder) = zstd::Decoder::new(body) {
        let _ = std::io::copy(&mut decoder, &mut plain);
    }
    plain
}
