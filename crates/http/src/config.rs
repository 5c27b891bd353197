//! Where a door opens, who may come in, and how long it waits.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A door's configuration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HttpConfig {
    /// Address and port; port 0 takes a free one. Default: 127.0.0.1:8080.
    pub bind: SocketAddr,
    /// Who may come in. Default: `none`, which is allowed on loopback only.
    pub auth: Auth,
    /// Certificate and key; without them the door speaks plain HTTP.
    pub tls: Option<TlsConfig>,
    /// Seconds a client may take to send a request's headers, 1 to 3600. Default: 15.
    pub header_seconds: u64,
    /// Seconds without any byte of a body after which a request is given up, 1 to 3600. Default: 60.
    pub body_idle_seconds: u64,
    /// Seconds that an answer of the API may take, 1 to 3600. Uploads and long polls are not counted. Default: 30.
    pub answer_seconds: u64,
    /// Seconds that running requests are given at shutdown, 0 to 3600. Default: 15.
    pub grace_seconds: u64,
    /// Most bytes of a body that is taken as a stream (images). Default: 16 GiB.
    pub max_upload_bytes: usize,
    /// Most bytes of a body that is held in memory (JSON, forms). Default: 8 MiB.
    pub max_body_bytes: usize,
}

/// Who may come in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Auth {
    /// Whoever can reach the address, as the actor `local`: for loopback only.
    #[default]
    None,
    /// Whoever shows an API token.
    Token,
}

/// TLS of a door.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TlsConfig {
    /// PEM file with the certificate, the intermediate ones after it.
    pub certificate: PathBuf,
    /// PEM file with the private key.
    pub key: PathBuf,
    /// PEM file with the authorities whose client certificates are wanted; with it, a client without one is turned away.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_ca: Option<PathBuf>,
}

/// Why a door does not open.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// A key of the configuration.
    #[error("{key}: {problem}")]
    Config {
        /// The key, with its section.
        key: String,
        /// What is wrong and what to write instead.
        problem: String,
    },
    /// A file for TLS.
    #[error("TLS: {problem} ({})", file.display())]
    Tls {
        /// The file.
        file: PathBuf,
        /// What is wrong.
        problem: &'static str,
        /// Why it failed.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The address cannot be had.
    #[error("cannot listen on {address}: is another program there, or the address not of this machine?")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// The door broke while open.
    #[error("the HTTP door at {address} failed")]
    Serve {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
}

impl Default for HttpConfig {
    fn default() -> Self {
        Self {
            bind: SocketAddr::from(([127, 0, 0, 1], 8080)),
            auth: Auth::None,
            tls: None,
            header_seconds: 15,
            body_idle_seconds: 60,
            answer_seconds: 30,
            grace_seconds: 15,
            max_upload_bytes: 16 << 30,
            max_body_bytes: 8 << 20,
        }
    }
}

impl HttpConfig {
    /// The default configuration at another port of loopback.
    pub fn at_port(port: u16) -> Self {
        Self { bind: SocketAddr::from(([127, 0, 0, 1], port)), ..Self::default() }
    }

    /// Whether only this machine can reach the door.
    pub fn is_loopback(&self) -> bool {
        self.bind.ip().to_canonical().is_loopback()
    }

    /// Checks what the types cannot; `section` is where this stands in the file, such as `edge.http`.
    ///
    /// # Errors
    /// [`HttpError::Config`] names the key and the line to write.
    pub fn check(&self, section: &str) -> Result<(), HttpError> {
        let wrong =
            |key: &str, problem: String| Err(HttpError::Config { key: format!("{section}.{key}"), problem });
        if !self.is_loopback() && self.auth == Auth::None {
            return wrong(
                "auth",
                format!(
                    "bind = \"{}\" opens the door to the network and nothing asks who comes in; write `auth = \"token\"` \
                     below [{section}], or bind to 127.0.0.1",
                    self.bind
                ),
            );
        }
        for (key, seconds, least) in [
            ("header_seconds", self.header_seconds, 1),
            ("body_idle_seconds", self.body_idle_seconds, 1),
            ("answer_seconds", self.answer_seconds, 1),
            ("grace_seconds", self.grace_seconds, 0),
        ] {
            if !(least..=3600).contains(&seconds) {
                return wrong(key, format!("{seconds} is not between {least} and 3600 seconds"));
            }
        }
        for (key, bytes) in
            [("max_body_bytes", self.max_body_bytes), ("max_upload_bytes", self.max_upload_bytes)]
        {
            if bytes == 0 {
                return wrong(key, "0 would refuse every body; leave the key out for the default".into());
            }
        }
        Ok(())
    }

    pub(crate) const fn header_wait(&self) -> Duration {
        Duration::from_secs(self.header_seconds)
    }

    pub(crate) const fn body_wait(&self) -> Duration {
        Duration::from_secs(self.body_idle_seconds)
    }

    pub(crate) const fn answer_wait(&self) -> Duration {
        Duration::from_secs(self.answer_seconds)
    }

    pub(crate) const fn grace(&self) -> Duration {
        Duration::from_secs(self.grace_seconds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_door_to_the_network_wants_authentication() {
        for bind in ["0.0.0.0:8080", "192.168.1.2:80", "[::]:8080", "[2001:db8::1]:443"] {
            let mut config = HttpConfig { bind: bind.parse().unwrap(), ..HttpConfig::default() };
            let error = config.check("edge.http").unwrap_err().to_string();
            assert!(error.contains("edge.http.auth") && error.contains("auth = \"token\""), "{error}");
            config.auth = Auth::Token;
            config.check("edge.http").unwrap();
        }
        for bind in ["127.0.0.1:8080", "127.9.9.9:1", "[::1]:8080", "[::ffff:127.0.0.1]:80"] {
            HttpConfig { bind: bind.parse().unwrap(), ..HttpConfig::default() }.check("x").unwrap();
        }
    }

    #[test]
    fn unknown_keys_and_endless_waits_are_refused() {
        let error = serde_json::from_str::<HttpConfig>(r#"{"binds": "127.0.0.1:1"}"#).unwrap_err();
        assert!(error.to_string().contains("binds"), "{error}");
        let endless = HttpConfig { header_seconds: 0, ..HttpConfig::default() };
        assert!(endless.check("edge.http").unwrap_err().to_string().starts_with("edge.http.header_seconds"));
    }
}
