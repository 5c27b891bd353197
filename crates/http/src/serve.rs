//! Opens a door: address, TLS, and a shutdown that lets running requests finish.

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::sync::Arc;

use axum::Router;
use axum_server::Handle;
use axum_server::tls_rustls::{RustlsAcceptor, RustlsConfig};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};

use crate::config::{Auth, HttpConfig, HttpError, TlsConfig};
use crate::{Events, Meter};

/// An address that was taken; nobody is answered yet.
#[derive(Debug)]
pub struct Listener {
    listener: TcpListener,
    address: SocketAddr,
}

impl Listener {
    /// The address, with the port that was given where 0 was asked for.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }
}

/// Takes the address of a checked configuration.
///
/// # Errors
/// [`HttpError::Bind`].
pub fn bind(config: &HttpConfig) -> Result<Listener, HttpError> {
    let failed = |source| HttpError::Bind { address: config.bind, source };
    let listener = TcpListener::bind(config.bind).map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    Ok(Listener { listener, address })
}

/// Answers until `shutdown` is done; then takes no more, ends the streams of events, and waits for running requests as long as the configuration says.
///
/// # Errors
/// TLS files that cannot be used, or the door broke.
pub async fn serve(
    listener: Listener,
    router: Router,
    config: &HttpConfig,
    events: Events,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> Result<(), HttpError> {
    let address = listener.address;
    if config.auth == Auth::Token && config.tls.is_none() && !config.is_loopback() {
        tracing::warn!(%address, "tokens and images cross the network unencrypted unless a proxy adds TLS; configure `tls`");
    }
    let tls = config.tls.as_ref().map(server_config).transpose()?.map(Arc::new);
    answer(listener, router, config, tls, events, shutdown).await
}

/// As [`serve`], with TLS that was made elsewhere: [`crate::Peer`] tells the handlers who is at the other end.
///
/// # Errors
/// The door broke.
pub async fn serve_tls(
    listener: Listener,
    router: Router,
    config: &HttpConfig,
    tls: Arc<ServerConfig>,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> Result<(), HttpError> {
    answer(listener, router, config, Some(tls), Events::default(), shutdown).await
}

async fn answer(
    listener: Listener,
    router: Router,
    config: &HttpConfig,
    tls: Option<Arc<ServerConfig>>,
    events: Events,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> Result<(), HttpError> {
    let address = listener.address;
    let failed = |source| HttpError::Serve { address, source };
    let secure = tls.is_some();
    let acceptor = tls.map(|tls| {
        RustlsAcceptor::new(RustlsConfig::from_config(tls)).handshake_timeout(config.header_wait())
    });
    let handle = Handle::new();
    let mut server = axum_server::from_tcp(listener.listener)
        .map_err(failed)?
        .handle(handle.clone())
        .first_request_timeout(config.header_wait());
    server.http_builder().http1().header_read_timeout(config.header_wait());
    let service = router.into_make_service_with_connect_info::<SocketAddr>();
    let upkeep = tokio::spawn(Meter::install().upkeep());
    let grace = config.grace();
    let stopper = tokio::spawn(async move {
        shutdown.await;
        events.close();
        handle.graceful_shutdown(Some(grace));
    });
    tracing::info!(%address, tls = secure, "the HTTP door is open");
    let done = match acceptor {
        Some(acceptor) => server.acceptor(acceptor).serve(service).await,
        None => server.serve(service).await,
    };
    stopper.abort();
    upkeep.abort();
    done.map_err(failed)
}

/// rustls from PEM files; TLS 1.2 and 1.3.
///
/// # Errors
/// [`HttpError::Tls`] names the file.
pub fn server_config(tls: &TlsConfig) -> Result<ServerConfig, HttpError> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let chain = certificates(&tls.certificate)?;
    let text = read(&tls.key)?;
    let key = PrivateKeyDer::from_pem_slice(&text)
        .map_err(|e| tls_error(&tls.key, "no PEM private key without a password is in it", e))?;
    let builder = ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|e| tls_error(&tls.certificate, "TLS cannot be set up", e))?;
    let builder = match &tls.client_ca {
        None => builder.with_no_client_auth(),
        Some(file) => {
            let mut roots = RootCertStore::empty();
            for certificate in certificates(file)? {
                roots.add(certificate).map_err(|e| tls_error(file, "a certificate cannot be used", e))?;
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
                .build()
                .map_err(|e| tls_error(file, "client certificates cannot be checked with it", e))?;
            builder.with_client_cert_verifier(verifier)
        }
    };
    let mut config = builder
        .with_single_cert(chain, key)
        .map_err(|e| tls_error(&tls.certificate, "certificate and key do not fit", e))?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, HttpError> {
    let text = read(file)?;
    let found: Vec<_> = CertificateDer::pem_slice_iter(&text)
        .collect::<Result<_, _>>()
        .map_err(|e| tls_error(file, "it is no PEM file", e))?;
    if found.is_empty() {
        return Err(tls_error(file, "no PEM certificate is in it", std::io::Error::other("empty")));
    }
    Ok(found)
}

fn read(file: &Path) -> Result<Vec<u8>, HttpError> {
    fs::read(file).map_err(|e| tls_error(file, "the file cannot be read", e))
}

fn tls_error(
    file: &Path,
    problem: &'static str,
    source: impl std::error::Error + Send + Sync + 'static,
) -> HttpError {
    HttpError::Tls { file: file.to_owned(), problem, source: Box::new(source) }
}
