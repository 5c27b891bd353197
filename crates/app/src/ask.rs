//! Commands that ask a running role over its HTTP door.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};
use overread_http::HttpConfig;
use serde_json::Value;

use crate::config::Config;

/// One of the two roles.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Role {
    /// The hospital's.
    Edge,
    /// The reader's.
    Service,
}

impl Role {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Edge, Self::Service];

    /// Its section of the configuration.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Edge => "edge",
            Self::Service => "service",
        }
    }
}

/// How a running role is reached.
#[derive(Args)]
pub struct Reach {
    /// Configuration file, in which the doors' addresses are. Default: overread.toml here, else /etc/overread/overread.toml.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// The door's address, instead of the configuration's.
    #[arg(long, env = "OVERREAD_URL", value_name = "URL")]
    pub url: Option<String>,
    /// An API token, where the door asks for one (`overread token new`).
    #[arg(long, env = "OVERREAD_TOKEN", hide_env_values = true, value_name = "TOKEN")]
    pub token: Option<String>,
}

/// A role's door.
pub struct Door {
    role: Role,
    base: String,
    token: Option<String>,
    client: reqwest::Client,
}

impl Reach {
    /// The door of a role.
    pub fn door(&self, role: Role) -> Result<Door> {
        let mut builder = reqwest::Client::builder().timeout(std::time::Duration::from_secs(60));
        let base = match &self.url {
            Some(url) => url.trim_end_matches('/').to_owned(),
            None => {
                let http = http_of(&Config::read(self.config.as_deref())?, role)?;
                if let Some(tls) = &http.tls {
                    // The door's own certificate is as good as an authority: it is the one that is meant.
                    let pem = std::fs::read(&tls.certificate)
                        .with_context(|| format!("reading {}", tls.certificate.display()))?;
                    builder = builder.tls_certs_merge(reqwest::Certificate::from_pem_bundle(&pem)?);
                }
                address(&http)
            }
        };
        Ok(Door { role, base, token: self.token.clone(), client: builder.build()? })
    }
}

/// The HTTP door of a role as it is configured.
pub fn http_of(config: &Config, role: Role) -> Result<HttpConfig> {
    Ok(match role {
        Role::Edge => config.section::<overread_edge::Config>("edge")?.http,
        Role::Service => config.section::<overread_service::Config>("service")?.http,
    })
}

/// How this machine reaches a door.
pub fn address(http: &HttpConfig) -> String {
    let mut bind = http.bind;
    if bind.ip().is_unspecified() {
        bind.set_ip(std::net::Ipv4Addr::LOCALHOST.into());
    }
    format!("{}://{bind}", if http.tls.is_some() { "https" } else { "http" })
}

impl Door {
    /// GET of a path.
    pub async fn get(&self, path: &str) -> Result<Value> {
        self.ask(reqwest::Method::GET, path, None).await
    }

    /// Asks, and gives what was answered with success.
    pub async fn ask(&self, method: reqwest::Method, path: &str, body: Option<Value>) -> Result<Value> {
        let (base, role) = (&self.base, self.role.as_str());
        let mut request = self.client.request(method, format!("{base}{path}"));
        if let Some(token) = &self.token {
            request = request.bearer_auth(token);
        }
        if let Some(body) = body {
            request = request.json(&body);
        }
        let answer = request.send().await.with_context(|| {
            format!("asking the {role} at {base}; is it running? `overread doctor` looks closer")
        })?;
        let status = answer.status();
        let said: Value = answer.json().await.unwrap_or_default();
        if status == reqwest::StatusCode::UNAUTHORIZED {
            bail!(
                "the {role} asks for a token: make one with `overread token new NAME --role {role}` and give it as OVERREAD_TOKEN"
            );
        }
        if !status.is_success() {
            bail!("the {role} answered {status}: {}", said["detail"].as_str().unwrap_or("no reason given"));
        }
        Ok(said)
    }
}
