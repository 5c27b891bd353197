//! A door on a free port of this machine, with a database in a temporary folder.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]
#![allow(dead_code, reason = "each test file uses a part of it")]

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use overread_domain::Clock;
use overread_http::{Auth, Common, Door, HttpConfig, HttpError, Scope, bind, serve, tokens};
use overread_store::Database;
use tokio::sync::{Notify, oneshot};
use tokio::task::JoinHandle;
use utoipa::openapi::OpenApi;

/// A door that answers.
pub struct Open {
    pub address: SocketAddr,
    pub api: OpenApi,
    pub common: Common,
    stop: Option<oneshot::Sender<()>>,
    server: JoinHandle<Result<(), HttpError>>,
    _folder: tempfile::TempDir,
}

impl Open {
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub async fn token(&self, name: &str, scopes: &[Scope]) -> (String, String) {
        let made =
            tokens::create(&self.common.db, self.common.clock.now(), "cli", name, scopes).await.unwrap();
        (made.id, made.text.reveal().to_owned())
    }

    /// Asks the door to shut; it may still be finishing.
    pub fn shut(&mut self) {
        let _ = self.stop.take().unwrap().send(());
    }

    pub async fn finished(self) -> Result<(), HttpError> {
        tokio::time::timeout(Duration::from_secs(60), self.server).await.unwrap().unwrap()
    }
}

pub fn config(auth: Auth) -> HttpConfig {
    HttpConfig { auth, ..HttpConfig::at_port(0) }
}

/// Opens a door after `fit` added a test's own routes.
pub async fn open(config: HttpConfig, fit: impl FnOnce(Door) -> Door) -> Open {
    // Another test of this process may have installed it already.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}", folder.path().join("test.db").display());
    let db = Database::open(&url, "test", &[tokens::migration(1)]).await.unwrap();
    let common = Common::new(db, Clock::machine(), Arc::new(Notify::new()));
    let door = fit(Door::new("Test", "1.2.3", config.clone(), common.clone()));
    let events = door.events();
    let (router, api) = door.build().unwrap();
    config.check("test.http").unwrap();
    let listener = bind(&config).unwrap();
    let address = listener.address();
    assert_ne!(address.port(), 0);
    let (stop, stopped) = oneshot::channel::<()>();
    let server = tokio::spawn(async move {
        serve(listener, router, &config, events, async move {
            let _ = stopped.await;
        })
        .await
    });
    Open { address, api, common, stop: Some(stop), server, _folder: folder }
}

pub fn client() -> reqwest::Client {
    reqwest::Client::builder().timeout(Duration::from_secs(60)).build().unwrap()
}

/// The JSON of a problem document, after its media type and status were checked.
pub async fn problem(answer: reqwest::Response, status: u16) -> serde_json::Value {
    assert_eq!(answer.status().as_u16(), status);
    assert_eq!(answer.headers()["content-type"], "application/problem+json");
    assert!(answer.headers().contains_key("x-request-id"));
    let document: serde_json::Value = answer.json().await.unwrap();
    assert_eq!(document["status"], status);
    assert!(document["title"].is_string());
    document
}

/// Waits until something is so.
pub async fn until<F: Future<Output = bool>>(what: &str, mut so: impl FnMut() -> F) {
    for _ in 0..600 {
        if so().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("never: {what}");
}
