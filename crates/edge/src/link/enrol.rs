//! Enrolment: a one-time code against a certificate. The key is made here and never leaves.

use std::io::ErrorKind;
use std::path::Path;
use std::sync::{Arc, PoisonError};

use overread_domain::{ContentHash, Millis};
use overread_wire::{EnrolAnswer, EnrolRequest, EnrolmentCode, LinkError, RenewRequest, paths};
use rcgen::{CertificateParams, KeyPair};
use reqwest::Client;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use sha2::{Digest, Sha256};

use super::identity::{FILE, Identity, PENDING, write};
use super::{HttpLink, finish, here};
use crate::config::LinkConfig;

/// What became of an enrolment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Enrolled {
    /// The edge's id at the service.
    pub edge: String,
    /// The client it belongs to.
    pub client: String,
}

/// Enrols this edge under a name at the service of the configured address. What came before is replaced. Broken off, it can be repeated with the same code.
///
/// # Errors
/// The service cannot be reached or is not the one of the code, or refuses the code.
pub async fn enrol(
    config: &LinkConfig,
    data: &Path,
    code: &EnrolmentCode,
    name: &str,
) -> Result<Enrolled, LinkError> {
    let folder = config.folder(data);
    let key = pending_key(&folder)?;
    let csr = request(&key)?;
    let link = HttpLink::with_client(config, &folder, pinned_client(&code.authority)?);
    let message =
        EnrolRequest { code: code.id.clone(), secret: code.secret.clone(), name: name.to_owned(), csr };
    let answer = link.send_json(link.client().post(link.url(paths::ENROL)), &message).await?;
    let answer: EnrolAnswer = link.json(answer).await?;
    let authority = CertificateDer::from_pem_slice(answer.authority.as_bytes());
    if !authority.is_ok_and(|a| fingerprint(&a) == code.authority) {
        let address = config.url.clone();
        let reason = "its answer names another authority than the code does".to_owned();
        return Err(LinkError::Refused { address, reason });
    }
    keep(&folder, &key, &answer)?;
    let _ = std::fs::remove_file(folder.join(PENDING));
    Ok(Enrolled { edge: answer.edge, client: answer.client })
}

/// The key of this enrolment: kept until it is answered, so that an answer that was lost can be asked for again.
fn pending_key(folder: &Path) -> Result<KeyPair, LinkError> {
    let doing = "making this edge's key";
    match std::fs::read_to_string(folder.join(PENDING)) {
        Ok(text) => return KeyPair::from_pem(&text).map_err(here("reading the key of an earlier enrolment")),
        Err(e) if e.kind() != ErrorKind::NotFound => return Err(here(doing)(e)),
        Err(_) => {}
    }
    let key = KeyPair::generate().map_err(here(doing))?;
    write(folder, PENDING, &key.serialize_pem()).map_err(here(doing))?;
    Ok(key)
}

fn request(key: &KeyPair) -> Result<String, LinkError> {
    let doing = "making a request for a certificate";
    let request = CertificateParams::default().serialize_request(key).map_err(here(doing))?;
    request.pem().map_err(here(doing))
}

fn keep(folder: &Path, key: &KeyPair, answer: &EnrolAnswer) -> Result<(), LinkError> {
    let text = format!("{}{}{}", key.serialize_pem(), answer.certificate, answer.authority);
    write(folder, FILE, &text).map_err(here("keeping this edge's certificate"))
}

impl HttpLink {
    /// Without a token, by the certificate that a client shows, if any.
    fn with_client(config: &LinkConfig, folder: &Path, client: Client) -> Self {
        let base = config.url.trim_end_matches('/').to_owned();
        let client = std::sync::RwLock::new(client);
        Self { inner: Arc::new(super::Inner { client, base, token: None, folder: folder.to_owned() }) }
    }

    /// Gets the next certificate if a third of this one's time is left; whether it did.
    ///
    /// # Errors
    /// The service cannot be reached, or refuses.
    pub async fn renew_if_due(&self, now: Millis) -> Result<bool, LinkError> {
        let folder = &self.inner.folder;
        let identity = Identity::read(folder).map_err(here("reading this edge's certificate"))?;
        if !identity.is_some_and(|identity| identity.is_due(now)) {
            return Ok(false);
        }
        let key = KeyPair::generate().map_err(here("making this edge's next key"))?;
        let message = RenewRequest { csr: request(&key)? };
        let answer = self.send_json(self.client().post(self.url(paths::RENEW)), &message).await?;
        let answer: EnrolAnswer = self.json(answer).await?;
        keep(folder, &key, &answer)?;
        let next = Identity::read(folder).map_err(here("reading this edge's certificate"))?;
        if let Some(next) = next {
            *self.inner.client.write().unwrap_or_else(PoisonError::into_inner) = next.client()?;
        }
        Ok(true)
    }
}

/// A client that trusts the service whose authority has this fingerprint, and shows nothing.
fn pinned_client(authority: &ContentHash) -> Result<Client, LinkError> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let pinned = Pinned { authority: authority.clone(), provider: Arc::clone(&provider) };
    let tls = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(here("setting up TLS of the link"))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(pinned))
        .with_no_client_auth();
    finish(Client::builder().tls_backend_preconfigured(tls).https_only(true))
}

fn fingerprint(der: &[u8]) -> ContentHash {
    ContentHash::from_bytes(Sha256::digest(der).into())
}

/// Trusts the one authority whose certificate has this SHA-256; the service sends it along. All else is checked as usual: signature, dates, names.
#[derive(Debug)]
struct Pinned {
    authority: ContentHash,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let authority = intermediates.iter().find(|c| fingerprint(c) == self.authority);
        let authority =
            authority.ok_or(rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer))?;
        let mut roots = RootCertStore::empty();
        roots.add(authority.clone().into_owned())?;
        let verifier =
            WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&self.provider));
        let verifier = verifier.build().map_err(|e| rustls::Error::General(e.to_string()))?;
        verifier.verify_server_cert(end_entity, &[], server_name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(rustls::Error::General("the link speaks TLS 1.3".into()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
