//! Who comes in: API tokens and their scopes, the link's fixed token, and what guards a door that asks nobody.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use axum::extract::{FromRequestParts, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use overread_domain::{Clock, Millis, sentence};
use overread_store::Database;

use crate::config::Auth;
use crate::tokens::{self, Scope, Secret};
use crate::{Problem, problem};

/// The actor where nobody is asked: whoever sits at this machine.
pub const LOCAL: &str = "local";

/// Who does it: the name for the audit log. As an extractor it is there on every guarded route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Actor {
    /// `local`, `token:<name>`, or the name of a fixed token such as `link`.
    pub name: String,
    scopes: Vec<Scope>,
}

impl Actor {
    /// Whether it may do that.
    pub fn may(&self, scope: Scope) -> bool {
        self.scopes.contains(&scope)
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Actor {
    type Rejection = Problem;
    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        // A handler that wants an actor on a route without a guard is a mistake of ours: it fails closed.
        parts.extensions.get::<Self>().cloned().ok_or_else(|| {
            let mark = problem::mark();
            tracing::error!(error_id = %mark, "a route that needs an actor has no guard");
            Problem::marked(&mark)
        })
    }
}

/// What a route needs of who comes in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Need {
    /// For GET and HEAD.
    look: Scope,
    /// For all other methods.
    change: Scope,
}

impl Need {
    /// One scope to look (GET, HEAD), another for all other methods.
    pub const fn by_method(look: Scope, change: Scope) -> Self {
        Self { look, change }
    }

    const fn of(self, method: &Method) -> Scope {
        match *method {
            Method::GET | Method::HEAD => self.look,
            _ => self.change,
        }
    }
}

impl From<Scope> for Need {
    fn from(scope: Scope) -> Self {
        Self::by_method(scope, scope)
    }
}

/// A token that the configuration holds, such as the link's: apart from API tokens, and asked for whatever `auth` says.
#[derive(Clone, Debug)]
pub struct FixedToken {
    name: &'static str,
    hash: String,
}

impl FixedToken {
    /// The actor that shows this secret.
    pub fn new(name: &'static str, secret: &Secret) -> Self {
        Self { name, hash: tokens::digest(secret.reveal()) }
    }
}

/// Checks who comes in. Clones share what they know.
#[derive(Clone)]
pub struct Access {
    auth: Auth,
    db: Database,
    clock: Clock,
    /// When each token's last use was last written by this process, so that a burst writes once.
    touched: Arc<Mutex<HashMap<String, Millis>>>,
}

impl Access {
    /// Access as the configuration wants it.
    pub fn new(auth: Auth, db: Database, clock: Clock) -> Self {
        Self { auth, db, clock, touched: Arc::default() }
    }

    /// Whoever sent these headers.
    ///
    /// # Errors
    /// 401 without a token that holds, 503 where the database cannot tell.
    pub async fn actor(&self, headers: &HeaderMap) -> Result<Actor, Problem> {
        if self.auth == Auth::None {
            return Ok(Actor { name: LOCAL.to_owned(), scopes: Scope::ALL.to_vec() });
        }
        let Some(text) = bearer(headers) else { return Err(unauthorized(None)) };
        let now = self.clock.now();
        let Some(token) = tokens::check(&self.db, now, text).await? else {
            return Err(unauthorized(Some("invalid_token")));
        };
        if token.stale && self.first_touch(&token.id, now) {
            // The request does not wait for this note, and does not fail with it.
            let (db, id) = (self.db.clone(), token.id.clone());
            tokio::spawn(async move {
                if let Err(error) = tokens::touch(&db, now, &id).await {
                    tracing::debug!(error = %sentence(&error), "a token's use was not noted");
                }
            });
        }
        Ok(Actor { name: format!("token:{}", token.name), scopes: token.scopes })
    }

    fn first_touch(&self, id: &str, now: Millis) -> bool {
        let mut touched = self.touched.lock().unwrap_or_else(PoisonError::into_inner);
        let first = touched.get(id).is_none_or(|last| *last != now && now.0.abs_diff(last.0) >= 60_000);
        if first {
            touched.insert(id.to_owned(), now);
        }
        first
    }
}

/// The guard of routes that need a scope.
pub(crate) async fn guard(
    State((access, need)): State<(Access, Need)>,
    mut request: Request,
    next: Next,
) -> Response {
    let scope = need.of(request.method());
    match access.actor(request.headers()).await {
        Ok(actor) if actor.may(scope) => {
            request.extensions_mut().insert(actor);
            next.run(request).await
        }
        Ok(_) => forbidden(scope).into_response(),
        Err(problem) => problem.into_response(),
    }
}

/// The guard of routes that need a fixed token.
pub(crate) async fn fixed_guard(
    State(token): State<FixedToken>,
    mut request: Request,
    next: Next,
) -> Response {
    let shown = bearer(request.headers()).map(tokens::digest);
    match shown {
        None => unauthorized(None).into_response(),
        Some(hash) if tokens::same(&hash, &token.hash) => {
            request.extensions_mut().insert(Actor { name: token.name.to_owned(), scopes: vec![] });
            next.run(request).await
        }
        Some(_) => unauthorized(Some("invalid_token")).into_response(),
    }
}

/// Guards a door that asks nobody against pages in a browser on the same machine.
///
/// A page of any site may send requests to 127.0.0.1, and a site whose name is made to point at 127.0.0.1 (DNS rebinding) may even read the
/// answers, because to the browser they come from that site. Two things give such a page away: the name in `Host` is the site's, and `Origin` of a
/// request that changes something is not ours. With tokens neither matters: the browser holds none that it would send by itself.
pub(crate) async fn local_only(request: Request, next: Next) -> Response {
    let host = host_of(request.headers(), request.uri());
    if !host.as_deref().is_some_and(is_local_name) {
        return Problem::new(
            StatusCode::FORBIDDEN,
            "this door is for this machine: use http://127.0.0.1 or http://localhost, or set `auth = \"token\"`",
        )
        .into_response();
    }
    let safe = matches!(*request.method(), Method::GET | Method::HEAD);
    if let Some(origin) = request.headers().get(header::ORIGIN)
        && !safe
        && !same_origin(origin, host.as_deref())
    {
        return Problem::new(StatusCode::FORBIDDEN, "a page of another site may not change anything here")
            .into_response();
    }
    next.run(request).await
}

fn same_origin(origin: &HeaderValue, host: Option<&str>) -> bool {
    let authority = origin.to_str().ok().and_then(|o| o.split_once("://")).map(|(_, authority)| authority);
    authority.is_some() && authority == host
}

/// Host and port: HTTP/1 has them in a header, HTTP/2 in the address.
fn host_of(headers: &HeaderMap, uri: &Uri) -> Option<String> {
    let mut hosts = headers.get_all(header::HOST).iter();
    match (hosts.next(), hosts.next()) {
        (Some(host), None) => host.to_str().ok().map(str::to_ascii_lowercase),
        (None, _) => uri.authority().map(|a| a.as_str().to_ascii_lowercase()),
        // Two names: whoever sends that wants one of them overlooked.
        (Some(_), Some(_)) => None,
    }
}

fn is_local_name(authority: &str) -> bool {
    let name = match authority.strip_prefix('[') {
        Some(rest) => rest.split_once(']').map_or("", |(name, _)| name),
        None => authority.rsplit_once(':').map_or(authority, |(name, _)| name),
    };
    name == "localhost" || name.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

fn unauthorized(error: Option<&str>) -> Problem {
    let (challenge, detail) = match error {
        None => (
            HeaderValue::from_static("Bearer realm=\"overread\""),
            "send `Authorization: Bearer <token>`, a token of this role that was not revoked",
        ),
        Some(_) => (
            HeaderValue::from_static("Bearer realm=\"overread\", error=\"invalid_token\""),
            "the token is unknown, wrong or revoked",
        ),
    };
    Problem::new(StatusCode::UNAUTHORIZED, detail).with_header(header::WWW_AUTHENTICATE, challenge)
}

fn forbidden(scope: Scope) -> Problem {
    let challenge =
        format!("Bearer realm=\"overread\", error=\"insufficient_scope\", scope=\"{scope}\"").parse();
    let problem = Problem::new(StatusCode::FORBIDDEN, format!("the token lacks the scope `{scope}`"));
    match challenge {
        Ok(challenge) => problem.with_header(header::WWW_AUTHENTICATE, challenge),
        Err(_) => problem,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_this_machine_are_local() {
        for name in ["localhost", "localhost:8080", "127.0.0.1", "127.0.0.1:1", "[::1]", "[::1]:8080"] {
            assert!(is_local_name(name), "{name}");
        }
        for name in [
            "evil.example",
            "127.0.0.1.evil.example",
            "localhost.evil.example:80",
            "[::1",
            "[2001:db8::1]:80",
            "10.0.0.1",
            "",
            "user@localhost",
            "[]:1",
        ] {
            assert!(!is_local_name(name), "{name}");
        }
    }

    #[test]
    fn an_origin_is_ours_only_with_the_same_port() {
        let origin = |text| same_origin(&HeaderValue::from_static(text), Some("127.0.0.1:8080"));
        assert!(origin("http://127.0.0.1:8080"));
        assert!(!origin("http://127.0.0.1:3000"));
        assert!(!origin("https://evil.example"));
        assert!(!origin("null"));
    }
}
