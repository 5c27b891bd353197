//! Certificates for TLS in tests.

/// Certificates of one authority, in PEM.
pub struct Certificates {
    /// The authority's certificate.
    pub authority: String,
    /// A certificate that it signed, for `localhost` and 127.0.0.1.
    pub certificate: String,
    /// Its private key.
    pub key: String,
}

/// An authority, and a certificate of it for this machine that serves both sides of TLS.
///
/// # Panics
/// They cannot be made.
pub fn certificates() -> Certificates {
    use rcgen::{
        BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    };
    // RSA would suit old peers better; every DCMTK that speaks TLS 1.2 takes P-256.
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.distinguished_name.push(rcgen::DnType::CommonName, "test authority");
    let authority_key = KeyPair::generate().unwrap();
    let authority = params.self_signed(&authority_key).unwrap();
    let issuer = Issuer::new(params, authority_key);
    let mut params = CertificateParams::new(vec!["localhost".to_owned(), "127.0.0.1".to_owned()]).unwrap();
    params.distinguished_name.push(rcgen::DnType::CommonName, "localhost");
    params.extended_key_usages =
        vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    let key = KeyPair::generate().unwrap();
    let certificate = params.signed_by(&key, &issuer).unwrap();
    Certificates { authority: authority.pem(), certificate: certificate.pem(), key: key.serialize_pem() }
}
