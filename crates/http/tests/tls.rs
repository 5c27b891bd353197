//! TLS: the door's certificate, and clients that must show theirs.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod support;

use std::path::Path;

use overread_http::{Auth, HttpConfig, HttpError, TlsConfig, serve::server_config};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use support::{client, config, open};

/// An authority's PEM, and a certificate with key that it signed.
fn certificates(folder: &Path) -> (String, TlsConfig, String) {
    let authority_key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec![]).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = params.self_signed(&authority_key).unwrap();
    let issuer = Issuer::from_params(&params, &authority_key);
    let sign = |name: &str| {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        (params.signed_by(&key, &issuer).unwrap().pem(), key.serialize_pem())
    };
    let (certificate, key) = sign("localhost");
    let (client_certificate, client_key) = sign("edge");
    let write = |name: &str, text: &str| {
        let file = folder.join(name);
        std::fs::write(&file, text).unwrap();
        file
    };
    let tls = TlsConfig {
        certificate: write("server.pem", &certificate),
        key: write("server.key", &key),
        client_ca: Some(write("ca.pem", &authority.pem())),
    };
    (authority.pem(), tls, client_certificate + &client_key)
}

#[tokio::test]
async fn a_client_must_show_a_certificate_where_that_is_configured() {
    let folder = tempfile::tempdir().unwrap();
    let (authority, tls, identity) = certificates(folder.path());
    let door = open(HttpConfig { tls: Some(tls), ..config(Auth::None) }, |door| door).await;
    let url = format!("https://localhost:{}/healthz", door.address.port());
    let trust = || {
        let root = reqwest::Certificate::from_pem(authority.as_bytes()).unwrap();
        reqwest::Client::builder().tls_certs_only([root]).resolve("localhost", door.address)
    };
    let known = trust().identity(reqwest::Identity::from_pem(identity.as_bytes()).unwrap()).build().unwrap();
    assert_eq!(known.get(&url).send().await.unwrap().status(), 200);
    assert!(
        trust().build().unwrap().get(&url).send().await.is_err(),
        "a client without a certificate came in"
    );
    assert!(client().get(door.url("/healthz")).send().await.is_err(), "plain HTTP was answered");
}

#[test]
fn a_file_that_does_not_fit_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let (_, tls, _) = certificates(folder.path());
    server_config(&tls).unwrap();
    let swapped = TlsConfig { certificate: tls.key.clone(), key: tls.certificate.clone(), client_ca: None };
    let Err(HttpError::Tls { file, .. }) = server_config(&swapped) else { panic!("taken") };
    assert_eq!(file, tls.key);
    let gone = TlsConfig { key: folder.path().join("gone.key"), ..tls };
    assert!(server_config(&gone).unwrap_err().to_string().contains("gone.key"));
}
