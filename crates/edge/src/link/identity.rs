//! What an edge proves itself with: one file for its owner alone with key, certificate and the service's authority, replaced as a whole.

use std::io::{ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::Path;
use std::sync::Arc;

use overread_domain::Millis;
use overread_wire::LinkError;
use reqwest::Client;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};

use super::{finish, here};

/// The file's name.
pub(super) const FILE: &str = "identity.pem";
/// The key of an enrolment whose answer did not come.
pub(super) const PENDING: &str = "pending.pem";

/// An enrolled edge's key and certificates.
pub struct Identity {
    key: PrivateKeyDer<'static>,
    certificate: CertificateDer<'static>,
    authority: CertificateDer<'static>,
}

impl Identity {
    /// Reads it from the link's folder; none if this edge is not enrolled.
    ///
    /// # Errors
    /// The file cannot be read, or is damaged.
    pub fn read(folder: &Path) -> std::io::Result<Option<Self>> {
        let text = match std::fs::read(folder.join(FILE)) {
            Ok(text) => text,
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(e),
        };
        let damaged = || {
            let file = folder.join(FILE);
            std::io::Error::other(format!("{} is damaged; enrol this edge again", file.display()))
        };
        let key = PrivateKeyDer::from_pem_slice(&text).map_err(|_| damaged())?;
        let mut certificates = CertificateDer::pem_slice_iter(&text).flatten();
        let (Some(certificate), Some(authority)) = (certificates.next(), certificates.next()) else {
            return Err(damaged());
        };
        Ok(Some(Self { key, certificate, authority }))
    }

    /// From and until when the certificate holds.
    pub fn validity(&self) -> Option<(Millis, Millis)> {
        let (_, parsed) = x509_parser::parse_x509_certificate(&self.certificate).ok()?;
        let moment = |at: x509_parser::time::ASN1Time| Millis(at.timestamp().saturating_mul(1000));
        Some((moment(parsed.validity().not_before), moment(parsed.validity().not_after)))
    }

    /// The edge's id and its client, as the certificate says.
    pub fn names(&self) -> Option<(String, String)> {
        let (_, parsed) = x509_parser::parse_x509_certificate(&self.certificate).ok()?;
        let subject = parsed.subject();
        let edge = subject.iter_common_name().next()?.as_str().ok()?.to_owned();
        let client = subject.iter_organization().next()?.as_str().ok()?.to_owned();
        Some((edge, client))
    }

    /// Whether a third of its time or less is left.
    pub(super) fn is_due(&self, now: Millis) -> bool {
        self.validity().is_some_and(|(from, until)| until.0 - now.0 <= (until.0 - from.0) / 3)
    }

    /// A client that shows the certificate and trusts the authority alone.
    pub(super) fn client(&self) -> Result<Client, LinkError> {
        let doing = "setting up TLS of the link";
        let mut roots = RootCertStore::empty();
        roots.add(self.authority.clone()).map_err(here(doing))?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let tls = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(here(doing))?
            .with_root_certificates(roots)
            .with_client_auth_cert(vec![self.certificate.clone()], self.key.clone_key())
            .map_err(here(doing))?;
        finish(Client::builder().tls_backend_preconfigured(tls).https_only(true))
    }
}

/// Writes a file for its owner alone, whole or not at all, durably.
pub(super) fn write(folder: &Path, name: &str, text: &str) -> std::io::Result<()> {
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    let mut new = tempfile::NamedTempFile::new_in(folder)?;
    new.as_file().set_permissions(std::fs::Permissions::from_mode(0o600))?;
    new.write_all(text.as_bytes())?;
    new.as_file().sync_all()?;
    new.persist(folder.join(name)).map_err(|e| e.error)?;
    std::fs::File::open(folder)?.sync_all()
}
