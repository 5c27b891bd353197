//! Who is at the other end of a connection.

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::extract::{ConnectInfo, FromRequestParts};
use axum::http::request::Parts;
use axum_server::tls::TlsInfo;
use overread_domain::ContentHash;
use sha2::{Digest, Sha256};

/// The other end of a request's connection, as an extractor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Its address; none in tests without a socket.
    pub address: Option<IpAddr>,
    /// SHA-256 of the certificate (DER) that it proved to hold; none if it showed none. TLS checked who signed it, and its dates.
    pub fingerprint: Option<ContentHash>,
}

impl<S: Send + Sync> FromRequestParts<S> for Peer {
    type Rejection = Infallible;
    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        let address = parts.extensions.get::<ConnectInfo<SocketAddr>>().map(|c| c.0.ip().to_canonical());
        let shown = parts.extensions.get::<Arc<TlsInfo>>().and_then(|tls| tls.peer_certificates.first());
        let fingerprint = shown.map(|der| ContentHash::from_bytes(Sha256::digest(der).into()));
        Ok(Self { address, fingerprint })
    }
}
