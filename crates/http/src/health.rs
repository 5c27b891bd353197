//! Whether the process lives, and whether it can work.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use futures::future::join_all;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::access::Access;
use crate::extract::Json;

/// A check's answer: why it fails, in words for whoever operates the system.
pub type CheckResult = Result<(), String>;

type Checking = Pin<Box<dyn Future<Output = CheckResult> + Send>>;

struct Check {
    name: &'static str,
    patience: Duration,
    run: Box<dyn Fn() -> Checking + Send + Sync>,
}

/// The checks that `/readyz` runs, side by side.
#[derive(Default)]
pub struct Health {
    checks: Vec<Check>,
}

impl Health {
    /// Adds a check that fails if it takes longer than `patience`.
    #[must_use]
    pub fn check<F, C>(mut self, name: &'static str, patience: Duration, run: F) -> Self
    where
        F: Fn() -> C + Send + Sync + 'static,
        C: Future<Output = CheckResult> + Send + 'static,
    {
        self.checks.push(Check { name, patience, run: Box::new(move || Box::pin(run())) });
        self
    }

    async fn run(&self) -> Vec<CheckView> {
        join_all(self.checks.iter().map(|check| async move {
            let outcome = match tokio::time::timeout(check.patience, (check.run)()).await {
                Ok(outcome) => outcome,
                Err(_) => Err(format!("no answer within {} ms", check.patience.as_millis())),
            };
            CheckView { name: check.name.to_owned(), ok: outcome.is_ok(), why: outcome.err() }
        }))
        .await
    }
}

/// Whether it can work.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Readiness {
    /// Whether all checks passed.
    pub ready: bool,
    /// Each check.
    pub checks: Vec<CheckView>,
}

/// One check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CheckView {
    /// What was checked.
    pub name: String,
    /// Whether it passed.
    pub ok: bool,
    /// Why not; told to those with the scope `read` only, since it may name machines.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub why: Option<String>,
}

/// Both are open to all: whoever restarts or balances has no token.
pub(crate) fn routes(health: Health, access: Access) -> OpenApiRouter {
    let state = (Arc::new(health), access);
    OpenApiRouter::new().routes(routes!(alive)).routes(routes!(ready)).with_state(state)
}

/// Whether the process lives.
#[utoipa::path(get, path = "/healthz", tag = "health", operation_id = "healthz", security(()),
    responses((status = 200, description = "It lives.", body = String, content_type = "text/plain")))]
async fn alive() -> &'static str {
    "alive\n"
}

/// Whether it can work: database, objects, and what the role needs.
#[utoipa::path(get, path = "/readyz", tag = "health", operation_id = "readyz", security(()),
    responses((status = 200, description = "It can.", body = Readiness),
              (status = 503, description = "A check failed.", body = Readiness)))]
async fn ready(State((health, access)): State<(Arc<Health>, Access)>, headers: HeaderMap) -> Response {
    let mut checks = health.run().await;
    let ready = checks.iter().all(|check| check.ok);
    let trusted = access.actor(&headers).await.is_ok_and(|actor| actor.may(crate::Scope::Read));
    if !trusted {
        for check in &mut checks {
            check.why = None;
        }
    }
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(Readiness { ready, checks })).into_response()
}
