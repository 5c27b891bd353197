//! What is set for a service. Every key has a default but who may come over the link.

use std::net::SocketAddr;
use std::path::PathBuf;

use overread_http::HttpConfig;
use serde::{Deserialize, Serialize};

/// Fewest characters of the link's token: 128 random bits in hexadecimal.
const TOKEN: usize = 32;

/// The `[service]` section.
#[derive(Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Folder of the database and the objects.
    pub data: PathBuf,
    /// Database: `sqlite://…` in the data folder if empty, or `postgres://…`.
    pub database: String,
    /// Objects: `file://…` in the data folder if empty, or `s3://bucket/prefix?endpoint=…`.
    pub objects: String,
    /// Name of this process among others on the same database.
    pub node: String,
    /// The HTTP door: link, API, health, metrics. Port 8081 unless set; the edge has 8080.
    pub http: HttpConfig,
    /// The token that edge and service share, 32 characters or more: for an edge on the same machine, or where the HTTP door has TLS. Without it only enrolled
    /// edges come in, at `link.bind`.
    #[serde(skip_serializing)]
    pub link_token: String,
    /// The door for edges on other machines.
    pub link: LinkDoor,
    /// Studies that are read at once; 0 for one a core.
    pub workers: usize,
    /// Failed attempts, crashes included, after which a study waits for a person; 1 to 10.
    pub max_attempts: i64,
    /// What an object may cost.
    pub limits: Limits,
    /// The programs; with none, one for each trusted pack that is not for research only.
    #[serde(rename = "program")]
    pub programs: Vec<ProgramConfig>,
}

/// The `[service.link]` section: a door of its own for enrolled edges, with TLS 1.3 and a certificate on either side.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct LinkDoor {
    /// Address and port, such as `0.0.0.0:8443`; without it there is no such door.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bind: Option<SocketAddr>,
    /// The names and addresses by which edges reach it: they go into the service's certificate.
    pub names: Vec<String>,
}

impl LinkDoor {
    /// What goes into the certificate: what is set, else this machine.
    pub fn all_names(&self) -> Vec<String> {
        if self.names.is_empty() {
            vec!["localhost".into(), "127.0.0.1".into(), "::1".into()]
        } else {
            self.names.clone()
        }
    }
}

/// The `[service.limits]` section.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Bytes of one object.
    pub object_bytes: u64,
    /// Bytes that stay free on the data folder's disk: below it, objects are refused (507) until there is room again.
    pub reserve_bytes: u64,
}

/// One `[[service.program]]`. Its release mode is not here: it lives in the database, starts as `shadow`, and a person changes it.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ProgramConfig {
    /// Its name: up to 64 of a-z, 0-9, `.`, `_` and `-`. The edge's hints say this.
    pub name: String,
    /// Id of the pack that reads for it.
    pub pack: String,
    /// The prevalence that probabilities are stated for, above 0 and below 1; the pack's reference prevalence if none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prevalence: Option<f64>,
}

/// A key whose value does not work, and what would.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{key}: {problem}")]
pub struct ConfigError {
    /// The key, from its section on.
    pub key: String,
    /// What is wrong and what to write.
    pub problem: String,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            data: PathBuf::from("overread-data/service"),
            database: String::new(),
            objects: String::new(),
            node: "service-1".into(),
            http: HttpConfig::at_port(8081),
            link_token: String::new(),
            link: LinkDoor::default(),
            workers: 0,
            max_attempts: 3,
            limits: Limits::default(),
            programs: vec![],
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self { object_bytes: 4 << 30, reserve_bytes: 1 << 30 }
    }
}

impl std::fmt::Debug for Config {
    /// Without addresses and token: both may hold secrets.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Config")
            .field("data", &self.data)
            .field("node", &self.node)
            .field("http", &self.http)
            .field("link", &self.link)
            .field("workers", &self.workers)
            .field("max_attempts", &self.max_attempts)
            .field("limits", &self.limits)
            .field("programs", &self.programs)
            .finish_non_exhaustive()
    }
}

impl Config {
    /// Checks what one key alone cannot tell.
    ///
    /// # Errors
    /// [`ConfigError`] names the key and says what to write.
    pub fn check(&self) -> Result<(), ConfigError> {
        let wrong = |key: &str, problem: String| Err(ConfigError { key: key.into(), problem });
        self.http
            .check("service.http")
            .map_err(|e| ConfigError { key: "service.http".into(), problem: e.to_string() })?;
        self.check_link()?;
        if !(1..=10).contains(&self.max_attempts) {
            return wrong("service.max_attempts", format!("{} is not between 1 and 10", self.max_attempts));
        }
        if self.workers > 1024 {
            return wrong("service.workers", format!("{} is not between 0 and 1024", self.workers));
        }
        for (index, program) in self.programs.iter().enumerate() {
            let key = |name: &str| format!("service.program[{index}].{name}");
            if !is_program_name(&program.name) {
                let problem = "a program's name has 1 to 64 of a-z, 0-9, '.', '_' and '-'".to_owned();
                return wrong(&key("name"), problem);
            }
            if self.programs[..index].iter().any(|p| p.name == program.name) {
                return wrong(&key("name"), format!("there are two programs {}", program.name));
            }
            if program.prevalence.is_some_and(|p| p <= 0.0 || p >= 1.0 || p.is_nan()) {
                return wrong(&key("prevalence"), "a prevalence lies above 0 and below 1".into());
            }
        }
        Ok(())
    }

    /// Who may come over the link, and how.
    fn check_link(&self) -> Result<(), ConfigError> {
        let wrong = |key: &str, problem: String| Err(ConfigError { key: key.into(), problem });
        if self.link_token.is_empty() && self.link.bind.is_none() {
            let problem = format!(
                "no edge can come in: for edges on other machines write bind = \"0.0.0.0:8443\" and names = [\"host.example\"] below [service.link] and enrol them; \
                 for one on this machine share a token of {TOKEN} characters or more, made with `openssl rand -hex 32`: service.link_token here, link.token there"
            );
            return wrong("service.link_token", problem);
        }
        if !self.link_token.is_empty() && self.link_token.len() < TOKEN {
            return wrong(
                "service.link_token",
                format!("it needs {TOKEN} characters; make one with `openssl rand -hex 32`"),
            );
        }
        if !self.link_token.is_empty() && !self.http.is_loopback() && self.http.tls.is_none() {
            let problem = format!(
                "the link's token would cross the network unencrypted at {}; bind service.http to 127.0.0.1, or give it service.http.tls, and let edges of other \
                 machines enrol at service.link.bind",
                self.http.bind
            );
            return wrong("service.link_token", problem);
        }
        let open = self.link.bind.is_some_and(|bind| !bind.ip().to_canonical().is_loopback());
        if open && self.link.names.is_empty() {
            let problem = "list the names and addresses by which edges reach this service, such as [\"reader.example\"]: its certificate is made for them";
            return wrong("service.link.names", problem.into());
        }
        Ok(())
    }

    /// Where the link's authority lies.
    pub fn link_folder(&self) -> PathBuf {
        self.data.join("link")
    }

    /// The database's address: the one that is set, else a file in the data folder.
    pub fn database_url(&self) -> String {
        if self.database.is_empty() {
            format!("sqlite://{}", self.data.join("service.db").display())
        } else {
            self.database.clone()
        }
    }

    /// The objects' address: the one that is set, else a folder in the data folder.
    pub fn objects_url(&self) -> String {
        if self.objects.is_empty() {
            format!("file://{}", self.data.join("objects").display())
        } else {
            self.objects.clone()
        }
    }
}

/// Whether a text can be a program's name. It becomes a label of metrics and a part of addresses.
pub(crate) fn is_program_name(text: &str) -> bool {
    let plain = |b: u8| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'_' | b'-');
    (1..=64).contains(&text.len()) && text.bytes().all(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> Config {
        Config { link_token: "0123456789abcdef".repeat(4), ..Config::default() }
    }

    #[test]
    fn the_default_wants_nothing_but_a_token() {
        config().check().unwrap();
        assert_eq!(config().http.bind.to_string(), "127.0.0.1:8081");
        assert_eq!(Config::default().check().unwrap_err().key, "service.link_token");
    }

    #[test]
    fn a_token_does_not_cross_a_network_in_the_clear() {
        let mut open = config();
        open.http.bind = "192.0.2.1:8081".parse().unwrap();
        open.http.auth = overread_http::Auth::Token;
        let error = open.check().unwrap_err();
        assert!(error.key == "service.link_token" && error.problem.contains("service.link.bind"), "{error}");
        // Enrolled edges need no token.
        open.link_token.clear();
        open.link.bind = Some("0.0.0.0:8443".parse().unwrap());
        assert_eq!(open.check().unwrap_err().key, "service.link.names");
        open.link.names = vec!["reader.example".into()];
        open.check().unwrap();
    }

    #[test]
    fn unknown_keys_and_wrong_programs_are_named() {
        let unknown = serde_json::from_str::<Config>(r#"{"worker": 2}"#).unwrap_err().to_string();
        assert!(unknown.contains("worker"), "{unknown}");
        // A mode in the file would switch a program without anybody's name to it.
        let mode = r#"{"name": "a", "pack": "a", "mode": "review-all"}"#;
        assert!(serde_json::from_str::<ProgramConfig>(mode).is_err());
        let program =
            |name: &str, prevalence| ProgramConfig { name: name.into(), pack: "a".into(), prevalence };
        for (programs, key) in [
            (vec![program("a b", None)], "service.program[0].name"),
            (vec![program("a", None), program("a", None)], "service.program[1].name"),
            (vec![program("a", Some(1.0))], "service.program[0].prevalence"),
            (vec![program("a", Some(f64::NAN))], "service.program[0].prevalence"),
        ] {
            assert_eq!(Config { programs, ..config() }.check().unwrap_err().key, key);
        }
    }

    #[test]
    fn secrets_are_neither_shown_nor_written() {
        let config = config();
        let shown = format!("{config:?}{}", serde_json::to_string(&config).unwrap());
        assert!(!shown.contains(&config.link_token));
    }
}
