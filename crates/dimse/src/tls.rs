//! Configurations for DICOM over TLS (PS3.15 §B), with the aws-lc-rs provider named: a process may
//! hold several, and the first that is installed must not decide.

use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig};

use crate::DimseError;

/// For an [`Scp`](crate::Scp): our certificate chain and key in PEM, and, where callers have to show
/// a certificate, the authorities that may have signed it.
///
/// # Errors
/// [`DimseError::TlsMaterial`] says which part cannot be used.
pub fn tls_server(
    certificate_pem: &[u8],
    key_pem: &[u8],
    client_authority_pem: Option<&[u8]>,
) -> Result<Arc<ServerConfig>, DimseError> {
    const CALLERS: &str = "the authorities of callers' certificates";
    let provider = provider();
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| material("protocol versions", &error))?;
    let builder = match client_authority_pem {
        None => builder.with_no_client_auth(),
        Some(pem) => {
            let roots = Arc::new(roots(pem, CALLERS)?);
            let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider)
                .build()
                .map_err(|error| material(CALLERS, &error))?;
            builder.with_client_cert_verifier(verifier)
        }
    };
    let config = builder
        .with_single_cert(certificates(certificate_pem, "our certificate")?, key(key_pem)?)
        .map_err(|error| material("our certificate and key", &error))?;
    Ok(Arc::new(config))
}

/// For a [`Peer`](crate::Peer): the authorities that may have signed the peer's certificate in PEM,
/// and our own certificate chain and key where the peer asks for one.
///
/// # Errors
/// [`DimseError::TlsMaterial`] says which part cannot be used.
pub fn tls_client(
    authority_pem: &[u8],
    identity_pem: Option<(&[u8], &[u8])>,
) -> Result<Arc<ClientConfig>, DimseError> {
    let builder = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(|error| material("protocol versions", &error))?
        .with_root_certificates(roots(authority_pem, "the authorities of the peer's certificate")?);
    let config = match identity_pem {
        None => builder.with_no_client_auth(),
        Some((certificate, key_pem)) => builder
            .with_client_auth_cert(certificates(certificate, "our certificate")?, key(key_pem)?)
            .map_err(|error| material("our certificate and key", &error))?,
    };
    Ok(Arc::new(config))
}

/// A client that refuses every certificate.
pub(crate) fn client_that_trusts_nobody() -> Result<Arc<ClientConfig>, DimseError> {
    let config = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(|error| material("protocol versions", &error))?
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth();
    Ok(Arc::new(config))
}

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

fn material(what: &'static str, reason: &dyn std::fmt::Display) -> DimseError {
    DimseError::TlsMaterial { what, reason: reason.to_string() }
}

fn certificates(pem: &[u8], what: &'static str) -> Result<Vec<CertificateDer<'static>>, DimseError> {
    let found = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| material(what, &error))?;
    if found.is_empty() { Err(material(what, &"no certificate in the PEM text")) } else { Ok(found) }
}

fn key(pem: &[u8]) -> Result<PrivateKeyDer<'static>, DimseError> {
    PrivateKeyDer::from_pem_slice(pem).map_err(|error| material("our private key", &error))
}

fn roots(pem: &[u8], what: &'static str) -> Result<RootCertStore, DimseError> {
    let mut store = RootCertStore::empty();
    for certificate in certificates(pem, what)? {
        store.add(certificate).map_err(|error| material(what, &error))?;
    }
    Ok(store)
}
