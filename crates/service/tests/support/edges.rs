//! Edges that enrolled, as HTTP clients with certificates.

use overread_domain::ContentHash;
use overread_service::{Authority, EdgeDoor, clients};
use overread_wire::{EnrolAnswer, EnrolRequest, EnrolmentCode, ResultPage, StudyManifest, paths};
use reqwest::{Client, Method, RequestBuilder, Response};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::sync::watch;

use super::{Bench, hash};

/// A door for enrolled edges.
pub struct Door {
    pub base: String,
    pub authority: Authority,
    _close: watch::Sender<bool>,
}

/// An edge.
pub struct Edge {
    pub http: Client,
    pub base: String,
    pub answer: EnrolAnswer,
}

/// A client that trusts an authority and shows a certificate, if any: PEM.
pub fn client(authority: &str, shown: Option<(&str, &str)>) -> Client {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(authority.as_bytes()).unwrap()).unwrap();
    let tls = rustls::ClientConfig::builder().with_root_certificates(roots);
    let tls = match shown {
        None => tls.with_no_client_auth(),
        Some((certificate, key)) => {
            let certificate = CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap();
            let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
            tls.with_client_auth_cert(vec![certificate], key).unwrap()
        }
    };
    Client::builder().tls_backend_preconfigured(tls).build().unwrap()
}

impl Bench {
    /// Opens the door for enrolled edges; `link.bind` must be set.
    pub fn open_door(&self) -> Door {
        let door = EdgeDoor::bind(&self.service, &self.config).unwrap().expect("link.bind is set");
        let base = format!("https://localhost:{}", door.address().port());
        let (close, closed) = watch::channel(false);
        tokio::spawn(door.serve(closed));
        let authority = Authority::load_or_create(&self.config.link_folder()).unwrap();
        Door { base, authority, _close: close }
    }

    /// Makes a code for a client, and the client where there is none.
    pub async fn code(&self, door: &Door, client: &str) -> EnrolmentCode {
        let (now, database) = (self.service.clock.now(), &self.service.database);
        let _ = clients::add(database, now, "a test", client).await;
        clients::code(database, &door.authority, (now, "a test"), client, 24).await.unwrap()
    }

    /// An edge of a client that has enrolled.
    pub async fn enrolled(&self, door: &Door, client: &str) -> Edge {
        let code = self.code(door, client).await;
        let key = rcgen::KeyPair::generate().unwrap();
        let answer = door.enrol(&code, &key).await;
        assert_eq!(answer.status(), 200);
        door.edge(answer.json().await.unwrap(), &key)
    }
}

impl Door {
    /// Asks for a certificate.
    pub async fn enrol(&self, code: &EnrolmentCode, key: &rcgen::KeyPair) -> Response {
        let csr = rcgen::CertificateParams::default().serialize_request(key).unwrap().pem().unwrap();
        let request =
            EnrolRequest { code: code.id.clone(), secret: code.secret.clone(), name: "north 1".into(), csr };
        let address = format!("{}{}", self.base, paths::ENROL);
        client(self.authority.pem(), None).post(address).json(&request).send().await.unwrap()
    }

    /// The edge that got this answer.
    pub fn edge(&self, answer: EnrolAnswer, key: &rcgen::KeyPair) -> Edge {
        let shown = Some((answer.certificate.as_str(), key.serialize_pem()));
        let http = client(self.authority.pem(), shown.as_ref().map(|(c, k)| (*c, k.as_str())));
        Edge { http, base: self.base.clone(), answer }
    }
}

impl Edge {
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, format!("{}{path}", self.base))
    }

    pub async fn missing(&self, hashes: &[ContentHash]) -> Response {
        self.request(Method::POST, paths::MISSING).json(hashes).send().await.unwrap()
    }

    pub async fn put_object(&self, bytes: &[u8]) -> Response {
        self.request(Method::PUT, &paths::object(&hash(bytes))).body(bytes.to_vec()).send().await.unwrap()
    }

    pub async fn put_study(&self, manifest: &StudyManifest) -> Response {
        let path = paths::study(&manifest.study, manifest.version);
        self.request(Method::PUT, &path).json(manifest).send().await.unwrap()
    }

    /// Puts objects and study, all of which must be taken.
    pub async fn send(&self, (manifest, objects): &(StudyManifest, Vec<Vec<u8>>)) {
        for bytes in objects {
            let answer = self.put_object(bytes).await;
            assert!(answer.status().is_success(), "{}: {}", answer.status(), answer.text().await.unwrap());
        }
        let answer = self.put_study(manifest).await;
        assert!(answer.status().is_success(), "{}: {}", answer.status(), answer.text().await.unwrap());
    }

    pub async fn results(&self, after: i64, wait: u32) -> ResultPage {
        let path = format!("{}?after={after}&wait={wait}", paths::RESULTS);
        self.request(Method::GET, &path).send().await.unwrap().json().await.unwrap()
    }

    pub async fn object(&self, hash: &ContentHash) -> Response {
        self.request(Method::GET, &paths::object(hash)).send().await.unwrap()
    }

    pub async fn offset(&self, hash: &ContentHash) -> String {
        let answer = self.request(Method::HEAD, &paths::object(hash)).send().await.unwrap();
        answer.headers()[paths::UPLOAD_OFFSET].to_str().unwrap().to_owned()
    }

    pub async fn forget(&self, manifest: &StudyManifest, version: u32) -> Response {
        let path = paths::forget(&manifest.study, version);
        self.request(Method::DELETE, &path).send().await.unwrap()
    }
}

/// A bench with a door for enrolled edges.
pub async fn bench() -> (Bench, Door) {
    let bench = Bench::with(super::packs(), |config| {
        config.programs = vec![super::program("brightness")];
        config.link.bind = Some("127.0.0.1:0".parse().unwrap());
    })
    .await;
    let door = bench.open_door();
    (bench, door)
}
