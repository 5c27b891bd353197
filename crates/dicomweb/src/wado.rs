//! What retrieval has in common: what a URL names, how answers name things, and opening files.

use std::collections::HashMap;
use std::sync::Arc;

use axum::extract::{FromRequestParts, Path, Query};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Uri, header};
use overread_dicom::read::{DicomFile, Opened};
use overread_domain::Uid;

use crate::Shared;
use crate::accept::{Range, ranges};
use crate::archive::{InstanceEntry, OpenedFile, Scope};
use crate::decoders::blocking;
use crate::problem::Problem;

/// The study, series or instance that a URL names, and the other words of its path.
pub(crate) struct Named {
    pub(crate) scope: Scope,
    pub(crate) words: HashMap<String, String>,
}

/// UIDs of the path; none is used before it has been parsed.
pub(crate) fn uid(words: &HashMap<String, String>, name: &'static str) -> Result<Option<Uid>, Problem> {
    let Some(text) = words.get(name) else { return Ok(None) };
    Uid::parse(text).map(Some).map_err(|_| Problem::bad(format!("the {name} in the URL is not a UID")))
}

impl<S: Send + Sync> FromRequestParts<S> for Named {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let path = Path::<HashMap<String, String>>::from_request_parts(parts, state).await;
        let Path(words) = path.map_err(|_| Problem::bad("the URL's path cannot be read"))?;
        let study = uid(&words, "study")?.ok_or_else(|| Problem::bad("the URL names no study"))?;
        let scope = Scope { study, series: uid(&words, "series")?, instance: uid(&words, "instance")? };
        Ok(Self { scope, words })
    }
}

/// The parameters of a URL.
pub(crate) struct Parameters(pub(crate) Vec<(String, String)>);

impl Parameters {
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Parameters {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let pairs = Query::<Vec<(String, String)>>::try_from_uri(&parts.uri);
        pairs.map(|Query(pairs)| Self(pairs)).map_err(|_| Problem::bad("the URL's query cannot be read"))
    }
}

/// What the client accepts, and how it calls this server.
pub(crate) struct Client {
    pub(crate) accepts: Vec<Range>,
    origin: String,
}

impl FromRequestParts<Shared> for Client {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, shared: &Shared) -> Result<Self, Problem> {
        let parameters = Parameters::from_request_parts(parts, shared).await?;
        let accepts = ranges(&parts.headers, parameters.get("accept"));
        let origin = match &shared.config.public_url {
            Some(url) => url.trim_end_matches('/').to_owned(),
            None => origin(&parts.headers, &parts.uri),
        };
        Ok(Self { accepts, origin: format!("{origin}{}", shared.config.base.trim_end_matches('/')) })
    }
}

/// `scheme://host` as the client sees it. What it says of itself goes back to it alone.
fn origin(headers: &HeaderMap, uri: &Uri) -> String {
    let text = |name: &str| headers.get(name).and_then(|v| v.to_str().ok());
    let allowed = |t: &&str| t.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._:[]".contains(&b));
    let host = text("x-forwarded-host").or_else(|| text(header::HOST.as_str())).filter(allowed);
    let host = host.or_else(|| uri.authority().map(|a| a.as_str())).unwrap_or("localhost");
    let scheme = if text("x-forwarded-proto") == Some("https") { "https" } else { "http" };
    format!("{scheme}://{host}")
}

impl Client {
    /// The URL of a study, series or instance.
    pub(crate) fn url(&self, scope: &Scope) -> String {
        let mut url = format!("{}/studies/{}", self.origin, scope.study);
        if let Some(series) = &scope.series {
            url = format!("{url}/series/{series}");
        }
        if let Some(instance) = &scope.instance {
            url = format!("{url}/instances/{instance}");
        }
        url
    }
}

impl Shared {
    /// The instances that a URL names; at least one.
    pub(crate) async fn instances(&self, scope: &Scope) -> Result<Vec<InstanceEntry>, Problem> {
        let entries = self.archive.instances(scope).await?;
        if entries.is_empty() {
            return Err(crate::archive::ArchiveError::NotFound.into());
        }
        Ok(entries)
    }

    /// The one instance that a URL names.
    pub(crate) async fn instance(&self, scope: &Scope) -> Result<InstanceEntry, Problem> {
        let mut entries = self.instances(scope).await?;
        Ok(entries.swap_remove(0))
    }

    /// Opens an instance: its header is parsed, its pixels are not read.
    pub(crate) async fn open(&self, entry: &InstanceEntry) -> Result<Instance, Problem> {
        let file = self.archive.open(entry).await?;
        let limits = self.config.read.clone();
        blocking(move || {
            match overread_dicom::read::open(&file.path, &limits).map_err(|e| Problem::read(&e))? {
                Opened::Dicom(object) => Ok(Instance { object: Arc::new(object), file: Arc::new(file) }),
                Opened::Photograph(_) | Opened::Slide(_) => {
                    Err(Problem::not_acceptable("the archive holds a picture that is no DICOM object"))
                }
            }
        })
        .await?
    }
}

/// An opened instance, to be shared with a decoding thread.
#[derive(Clone)]
pub(crate) struct Instance {
    pub(crate) object: Arc<DicomFile>,
    #[expect(dead_code, reason = "what keeps the file there is dropped with the last reader")]
    file: Arc<OpenedFile>,
}
