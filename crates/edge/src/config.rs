//! What a site sets for its edge. Every key has a default but the peers'.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use overread_http::HttpConfig;
use serde::{Deserialize, Serialize};

use crate::deid::Deid;
use crate::rules::Rule;
use crate::vault::VaultConfig;

/// The `[edge]` section.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Folder of the database, the objects, the keys. It knows patients: keep it on an encrypted disk.
    pub data: PathBuf,
    /// Database: `sqlite://…` in the data folder if empty, or `postgres://…`.
    pub database: String,
    /// Objects: `file://…` in the data folder if empty, or `s3://bucket/prefix?endpoint=…`.
    pub objects: String,
    /// Name of this process among others on the same database.
    pub node: String,
    /// The hospital-side HTTP door.
    pub http: HttpConfig,
    /// How others name the HTTP door, such as `https://overread.hospital.example`: the URLs in DICOMweb answers begin with it. Without it they are made of
    /// what the request says, which clients that leave the port out of `Host` do not get right.
    pub public_url: Option<String>,
    /// The DICOM door.
    pub dimse: Dimse,
    /// When a study is complete.
    pub completion: Completion,
    /// Which studies go to which program; with none, every study with images goes out and the service chooses.
    #[serde(rename = "program")]
    pub programs: Vec<Rule>,
    /// Where results are delivered to, by name.
    #[serde(rename = "destination")]
    pub destinations: BTreeMap<String, Destination>,
    /// Send pixels as they are: no text is removed from them, and nothing looks for it, not even where Burned In Annotation (0028,0301) is YES.
    pub allow_burned_in: bool,
    /// Where patients' keys lie, and what wraps them.
    pub vault: VaultConfig,
    /// How images leave.
    pub deid: Deid,
    /// What a file may cost.
    pub limits: Limits,
    /// Failed attempts after which a job waits for a person.
    pub max_attempts: i64,
    /// Minutes that the site's clock is ahead of UTC, for the dates in reports. Default: the machine's zone.
    pub utc_offset_minutes: Option<i16>,
}

/// The `[edge.dimse]` section.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Dimse {
    /// Where to listen. Beyond the loopback addresses it needs `calling` or `tls`.
    pub bind: SocketAddr,
    /// Our AE title.
    pub ae_title: String,
    /// Accept associations that call another AE title than ours.
    pub accept_any_called: bool,
    /// AE titles that may call; empty for any, which only a loopback address or TLS with a client authority may be.
    pub calling: Vec<String>,
    /// Associations at once; one more is refused for the moment.
    pub max_associations: usize,
    /// Seconds of silence after which an association is aborted.
    pub idle_seconds: u64,
    /// DICOM over TLS.
    pub tls: Option<ServerTls>,
}

/// A certificate of ours, and whose certificates we want to see.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ServerTls {
    /// PEM file with the certificate chain.
    pub certificate: PathBuf,
    /// PEM file with its private key.
    pub key: PathBuf,
    /// PEM file with the authority whose certificates peers must show; without it any peer is let in.
    pub client_authority: Option<PathBuf>,
}

/// The `[edge.completion]` section.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Completion {
    /// Seconds without a new image after which a study is complete.
    pub quiet_seconds: f64,
    /// Complete a study at once when it holds as many images as (0020,1208) Number of Study Related Instances, or the upload, announced.
    pub trust_expected_count: bool,
}

/// One `[edge.destination.NAME]` section.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Destination {
    /// C-STORE to a PACS.
    Dimse {
        /// Host name or address.
        host: String,
        /// Port.
        port: u16,
        /// Its AE title.
        ae_title: String,
        /// The AE title that we call ourselves there; ours if none.
        our_ae_title: Option<String>,
        /// Ask for storage commitment; a peer that does not offer it is told so in the log and is not asked again for that result.
        #[serde(default = "yes")]
        storage_commitment: bool,
        /// TLS towards it.
        tls: Option<ClientTls>,
    },
    /// STOW-RS to a DICOMweb server.
    Stow {
        /// Its base address, such as `https://pacs.example/dicom-web`.
        url: String,
        /// File with a bearer token.
        token_file: Option<PathBuf>,
        /// PEM file with its authority, if it is not a public one.
        authority: Option<PathBuf>,
    },
}

/// TLS towards a peer.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ClientTls {
    /// PEM file with the authority that signed the peer's certificate.
    pub authority: PathBuf,
    /// PEM file with our certificate, where the peer wants one.
    pub certificate: Option<PathBuf>,
    /// PEM file with its private key.
    pub key: Option<PathBuf>,
}

/// The `[edge.limits]` section.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Bytes of one object.
    pub object_bytes: u64,
    /// Bytes that stay free on the data folder's disk: below it, objects are refused (0xA700, 507) until there is room again.
    pub reserve_bytes: u64,
}

/// The `[link]` section, as the edge reads it.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct LinkConfig {
    /// The service's base address: `https://` of the door where this edge enrolled; with a token also `http://` of this machine.
    pub url: String,
    /// The token that both sides know, instead of a certificate.
    #[serde(skip_serializing)]
    pub token: String,
    /// Folder of this edge's key and certificate. Default: `link` in the data folder.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dir: Option<PathBuf>,
}

impl LinkConfig {
    /// Checks the address, and that nothing crosses a network in the clear.
    ///
    /// # Errors
    /// [`ConfigError`] names the key and says what to write.
    pub fn check(&self) -> Result<(), ConfigError> {
        let wrong = |problem: String| Err(ConfigError { key: "link.url".into(), problem });
        if self.url.is_empty() {
            return Ok(());
        }
        let Ok(url) = reqwest::Url::parse(&self.url) else {
            return wrong("it is no address; write https://host:8443".into());
        };
        let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
        let local =
            host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.to_canonical().is_loopback());
        match url.scheme() {
            "https" => Ok(()),
            "http" if local => Ok(()),
            "http" => wrong(format!(
                "studies and the link's token would cross the network to {host} unencrypted; enrol this edge (`overread enrol --url https://{host}:8443 CODE`) and write \
                 url = \"https://{host}:8443\" without a token"
            )),
            _ => wrong("an address of the link begins with https://".into()),
        }
    }

    /// Where this edge's key and certificate lie.
    pub fn folder(&self, data: &std::path::Path) -> PathBuf {
        self.dir.clone().unwrap_or_else(|| data.join("link"))
    }
}

const fn yes() -> bool {
    true
}

impl Default for Config {
    fn default() -> Self {
        Self {
            data: PathBuf::from("overread-data/edge"),
            database: String::new(),
            objects: String::new(),
            node: "edge-1".into(),
            http: HttpConfig::default(),
            public_url: None,
            dimse: Dimse::default(),
            completion: Completion::default(),
            programs: vec![],
            destinations: BTreeMap::new(),
            allow_burned_in: false,
            vault: VaultConfig::default(),
            deid: Deid::default(),
            limits: Limits::default(),
            max_attempts: 3,
            utc_offset_minutes: None,
        }
    }
}

impl Default for Dimse {
    fn default() -> Self {
        Self {
            bind: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 11112),
            ae_title: "OVERREAD".into(),
            accept_any_called: false,
            calling: vec![],
            max_associations: 64,
            idle_seconds: 60,
            tls: None,
        }
    }
}

impl Default for Completion {
    fn default() -> Self {
        Self { quiet_seconds: 30.0, trust_expected_count: false }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self { object_bytes: 4 << 30, reserve_bytes: 1 << 30 }
    }
}

/// A key whose value does not work, and what would.
#[derive(Debug, thiserror::Error)]
#[error("{key}: {problem}")]
pub struct ConfigError {
    /// The key, from its section on.
    pub key: String,
    /// What is wrong and what to write.
    pub problem: String,
}

impl Config {
    /// Checks what one key alone cannot tell.
    ///
    /// # Errors
    /// [`ConfigError`] names the key and says what to write.
    pub fn check(&self) -> Result<(), ConfigError> {
        let wrong = |key: &str, problem: String| Err(ConfigError { key: key.into(), problem });
        self.http
            .check("edge.http")
            .map_err(|e| ConfigError { key: "edge.http".into(), problem: e.to_string() })?;
        let known = self.dimse.tls.as_ref().is_some_and(|tls| tls.client_authority.is_some());
        if !self.dimse.bind.ip().is_loopback() && self.dimse.calling.is_empty() && !known {
            return wrong(
                "edge.dimse.bind",
                format!(
                    "{} is open to the network and anybody may call; list the AE titles that may: calling = [\"PACS\"], \
                     or set edge.dimse.tls.client_authority",
                    self.dimse.bind
                ),
            );
        }
        if !(0.0..=86_400.0).contains(&self.completion.quiet_seconds) {
            return wrong("edge.completion.quiet_seconds", "between 0 and 86400".into());
        }
        self.pixel_policy()?;
        for (index, rule) in self.programs.iter().enumerate() {
            rule.check().map_err(|problem| ConfigError { key: format!("edge.program[{index}]"), problem })?;
            let missing = rule.destinations.iter().flatten().find(|d| !self.destinations.contains_key(*d));
            if let Some(name) = missing {
                return wrong(
                    &format!("edge.program[{index}].destinations"),
                    format!("there is no [edge.destination.{name}]"),
                );
            }
        }
        for name in self.destinations.keys() {
            let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
            if name.is_empty() || name.len() > 32 || !name.chars().all(plain) {
                return wrong(
                    &format!("edge.destination.{name}"),
                    "a destination's name has up to 32 lower-case letters, digits and hyphens".into(),
                );
            }
        }
        Ok(())
    }

    /// The database's address: the one that is set, else a file in the data folder.
    pub fn database_url(&self) -> String {
        if self.database.is_empty() {
            format!("sqlite://{}", self.data.join("edge.db").display())
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

    /// Where the results of a program go: its rule's list, else every destination.
    pub fn destinations_of(&self, program: &str) -> Vec<String> {
        let listed = self.programs.iter().find(|r| r.name == program).and_then(|r| r.destinations.clone());
        listed.unwrap_or_else(|| self.destinations.keys().cloned().collect())
    }
}
