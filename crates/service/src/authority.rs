//! The authority of the link: it signs the service's own certificate and those of edges. Made at the first start; its key never leaves the data folder.

use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use overread_domain::{ContentHash, Millis};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DnType, ExtendedKeyUsagePurpose,
    IsCa, Issuer, KeyPair, KeyUsagePurpose, PublicKeyData,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use sha2::{Digest, Sha256};
use time::{Duration, OffsetDateTime};

/// Days that the authority's own certificate holds.
const AUTHORITY_DAYS: i64 = 20 * 365;
/// Days that an edge's certificate holds; the edge renews it when a third of them is left.
const EDGE_DAYS: i64 = 2 * 365;
/// Days that the service's certificate holds; another one is made at each start.
const SERVICE_DAYS: i64 = 5 * 365;
/// Certificates hold since so long before they were made: clocks differ.
const SKEW: Duration = Duration::hours(24);

/// Why the authority cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// Its file.
    #[error("{doing} failed ({})", file.display())]
    File {
        /// What was tried.
        doing: &'static str,
        /// The file.
        file: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// What is in its file.
    #[error(
        "{} holds no key and certificate of an authority; put it back from a copy, or remove it and enrol every edge again", file.display()
    )]
    Damaged {
        /// The file.
        file: PathBuf,
    },
    /// A certificate could not be made.
    #[error("{doing} failed")]
    Certificate {
        /// What was tried.
        doing: &'static str,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// A request for a certificate whose sender holds the key in it. Its names do not count.
pub(crate) struct SigningRequest(CertificateSigningRequestParams);

impl SigningRequest {
    /// Parses a PKCS #10 request in PEM and checks its signature; none if it is none.
    pub(crate) fn parse(pem: &str) -> Option<Self> {
        CertificateSigningRequestParams::from_pem(pem).ok().map(Self)
    }

    /// SHA-256 of the public key.
    pub(crate) fn public_key(&self) -> ContentHash {
        ContentHash::from_bytes(Sha256::digest(self.0.public_key.der_bytes()).into())
    }
}

/// A certificate that was signed.
pub(crate) struct Issued {
    /// PEM.
    pub(crate) certificate: String,
    /// SHA-256 of its DER.
    pub(crate) fingerprint: ContentHash,
}

/// The authority.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: CertificateDer<'static>,
    pem: String,
}

impl Authority {
    /// Reads the authority from `authority.pem` in a folder, or makes it there, for the owner alone. Of two who make it at once one wins, and both have that one.
    ///
    /// # Errors
    /// [`AuthorityError`].
    pub fn load_or_create(folder: &Path) -> Result<Self, AuthorityError> {
        let file = folder.join("authority.pem");
        if !file.exists() {
            create(folder, &file)?;
        }
        let failed = |source| AuthorityError::File {
            doing: "reading the link's authority",
            file: file.clone(),
            source,
        };
        let text = std::fs::read_to_string(&file).map_err(failed)?;
        Self::parse(&text).ok_or(AuthorityError::Damaged { file })
    }

    fn parse(text: &str) -> Option<Self> {
        let certificate = CertificateDer::from_pem_slice(text.as_bytes()).ok()?;
        let key = PrivateKeyDer::from_pem_slice(text.as_bytes()).ok()?;
        let key = KeyPair::try_from(&key).ok()?;
        let issuer = Issuer::from_ca_cert_der(&certificate, key).ok()?;
        let pem = text.split_inclusive("-----END CERTIFICATE-----").next()?.trim().to_owned() + "\n";
        Some(Self { issuer, certificate, pem })
    }

    /// SHA-256 of its certificate: what an enrolment code tells the edge to trust.
    pub fn fingerprint(&self) -> ContentHash {
        fingerprint(&self.certificate)
    }

    /// Its certificate in PEM.
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// Signs an edge's certificate.
    pub(crate) fn sign(
        &self,
        request: &SigningRequest,
        client: &str,
        edge: &str,
        now: Millis,
    ) -> Result<Issued, AuthorityError> {
        let mut params = params(now, EDGE_DAYS);
        params.distinguished_name.push(DnType::OrganizationName, client);
        params.distinguished_name.push(DnType::CommonName, edge);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let signed = params.signed_by(&request.0.public_key, &self.issuer);
        let signed = signed.map_err(certificate("signing an edge's certificate"))?;
        Ok(Issued { fingerprint: fingerprint(signed.der()), certificate: signed.pem() })
    }

    /// TLS 1.3 for these names. A client may come without a certificate, to enrol; one that it shows must be ours.
    ///
    /// # Errors
    /// A name that is none, or TLS cannot be set up.
    pub fn server_config(&self, names: &[String], now: Millis) -> Result<ServerConfig, AuthorityError> {
        let doing = "making the service's certificate";
        let mut params = params(now, SERVICE_DAYS);
        let of_names = CertificateParams::new(names.to_vec()).map_err(certificate(doing))?;
        params.subject_alt_names = of_names.subject_alt_names;
        params.distinguished_name.push(DnType::CommonName, "Overread service");
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let key = KeyPair::generate().map_err(certificate(doing))?;
        let own = params.signed_by(&key, &self.issuer).map_err(certificate(doing))?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate.clone()).map_err(certificate(doing))?;
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
            .allow_unauthenticated()
            .build()
            .map_err(certificate(doing))?;
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(certificate(doing))?
            .with_client_cert_verifier(verifier)
            // The authority goes with it: an edge that enrols knows its hash alone.
            .with_single_cert(vec![own.der().clone(), self.certificate.clone()], key)
            .map_err(certificate(doing))?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(config)
    }
}

/// What all our certificates have in common.
fn params(now: Millis, days: i64) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    let now =
        OffsetDateTime::from_unix_timestamp(now.0.div_euclid(1000)).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    params.not_before = now - SKEW;
    params.not_after = now + Duration::days(days);
    params.use_authority_key_identifier_extension = true;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params
}

fn create(folder: &Path, file: &Path) -> Result<(), AuthorityError> {
    let doing = "making the link's authority";
    let mut params = params(overread_domain::Clock::machine().now(), AUTHORITY_DAYS);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.distinguished_name.push(DnType::CommonName, "Overread link");
    let key = KeyPair::generate().map_err(certificate(doing))?;
    let own = params.self_signed(&key).map_err(certificate(doing))?;
    let text = format!("{}{}", own.pem(), key.serialize_pem());
    let failed = |source| AuthorityError::File { doing, file: file.to_owned(), source };
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(failed)?;
    let mut new = tempfile::NamedTempFile::new_in(folder).map_err(failed)?;
    new.as_file().set_permissions(std::fs::Permissions::from_mode(0o600)).map_err(failed)?;
    new.write_all(text.as_bytes()).map_err(failed)?;
    new.as_file().sync_all().map_err(failed)?;
    match new.persist_noclobber(file) {
        Ok(_) => {}
        Err(e) if e.error.kind() == std::io::ErrorKind::AlreadyExists => return Ok(()),
        Err(e) => return Err(failed(e.error)),
    }
    std::fs::File::open(folder).and_then(|f| f.sync_all()).map_err(failed)
}

fn fingerprint(der: &[u8]) -> ContentHash {
    ContentHash::from_bytes(Sha256::digest(der).into())
}

fn certificate<E: Into<Box<dyn std::error::Error + Send + Sync>>>(
    doing: &'static str,
) -> impl Fn(E) -> AuthorityError {
    move |e| AuthorityError::Certificate { doing, source: e.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_made_once_and_for_its_owner_alone() {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join("link");
        let first = Authority::load_or_create(&place).unwrap();
        let again = Authority::load_or_create(&place).unwrap();
        assert_eq!(first.fingerprint(), again.fingerprint());
        assert_eq!(first.pem(), again.pem());
        assert!(!first.pem().contains("PRIVATE"), "{}", first.pem());
        let mode = std::fs::metadata(place.join("authority.pem")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        std::fs::write(place.join("authority.pem"), "cut off").unwrap();
        assert!(matches!(Authority::load_or_create(&place), Err(AuthorityError::Damaged { .. })));
    }

    #[test]
    fn a_request_that_was_not_signed_by_its_key_is_none() {
        let (key, other) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
        let good = CertificateParams::default().serialize_request(&key).unwrap();
        let of_other = CertificateParams::default().serialize_request(&other).unwrap();
        let good_pem = good.pem().unwrap();
        assert!(SigningRequest::parse(&good_pem).is_some());
        assert_ne!(
            SigningRequest::parse(&good_pem).unwrap().public_key(),
            SigningRequest::parse(&of_other.pem().unwrap()).unwrap().public_key()
        );
        let cut = good_pem.replacen("MI", "MA", 1);
        assert!(SigningRequest::parse(&cut).is_none() && SigningRequest::parse("").is_none());
    }
}
