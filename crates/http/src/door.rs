//! A role's HTTP door: its routes behind guards, with everything around them that both roles have.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::middleware;
use overread_domain::{Clock, sentence};
use overread_store::Database;
use tokio::sync::Notify;
use utoipa::openapi::OpenApi;
use utoipa_axum::router::OpenApiRouter;

use crate::access::{self, Access, FixedToken, Need};
use crate::config::HttpConfig;
use crate::events::Events;
use crate::health::Health;
use crate::meter::Meter;
use crate::{Scope, audit, events, health, jobs, layers, meter, openapi};

/// What the shared routes work on; a role's own state gives it by `FromRef`. Clones share everything.
#[derive(Clone)]
pub struct Common {
    /// The role's database.
    pub db: Database,
    /// The clock.
    pub clock: Clock,
    /// The bus of events.
    pub events: Events,
    /// The process's metrics.
    pub meter: Meter,
    /// Wakes the runner of jobs after a requeue.
    pub wake: Arc<Notify>,
}

impl Common {
    /// With a bus of its own; `wake` is the one that the role's runner of jobs was made with.
    pub fn new(db: Database, clock: Clock, wake: Arc<Notify>) -> Self {
        Self { db, clock, events: Events::default(), meter: Meter::install(), wake }
    }
}

/// A door being built. No route gets in without saying what it needs: there is no way to add one that nobody guards.
pub struct Door {
    title: String,
    version: String,
    config: HttpConfig,
    common: Common,
    access: Access,
    health: Health,
    routes: OpenApiRouter,
}

impl Door {
    /// A door with the shared routes; `title` and `version` are for the OpenAPI document.
    pub fn new(title: &str, version: &str, config: HttpConfig, common: Common) -> Self {
        let access = Access::new(config.auth, common.db.clone(), common.clock.clone());
        let db = common.db.clone();
        let health = Health::default().check("database", Duration::from_secs(5), move || {
            let db = db.clone();
            async move { db.ping().await.map_err(|error| sentence(&error)) }
        });
        let door = Self {
            title: title.to_owned(),
            version: version.to_owned(),
            config,
            access,
            health,
            routes: OpenApiRouter::new(),
            common: common.clone(),
        };
        let patience = layers::patience(&door.config);
        let look = OpenApiRouter::<Common>::new()
            .merge(jobs::routes())
            .merge(audit::routes())
            .merge(meter::routes())
            .layer(patience)
            .merge(events::routes());
        let operate = OpenApiRouter::<Common>::new().merge(jobs::operate_routes()).layer(patience);
        door.add(Scope::Read, look.with_state(common.clone())).add(Scope::Operate, operate.with_state(common))
    }

    /// Adds routes that need a scope, or one by method ([`Need::by_method`]).
    #[must_use]
    pub fn add(mut self, need: impl Into<Need>, routes: impl Into<OpenApiRouter>) -> Self {
        let guard = middleware::from_fn_with_state((self.access.clone(), need.into()), access::guard);
        self.routes = self.routes.merge(routes.into().route_layer(guard));
        self
    }

    /// Adds routes that need a fixed token, whatever `auth` says: the link.
    #[must_use]
    pub fn add_fixed(mut self, token: FixedToken, routes: impl Into<OpenApiRouter>) -> Self {
        let guard = middleware::from_fn_with_state(token, access::fixed_guard);
        self.routes = self.routes.merge(routes.into().route_layer(guard));
        self
    }

    /// Adds a check to `/readyz`.
    #[must_use]
    pub fn check<F, C>(mut self, name: &'static str, patience: Duration, run: F) -> Self
    where
        F: Fn() -> C + Send + Sync + 'static,
        C: Future<Output = health::CheckResult> + Send + 'static,
    {
        self.health = self.health.check(name, patience, run);
        self
    }

    /// The router to serve, and the document of what it does.
    ///
    /// # Errors
    /// The document cannot be written.
    pub fn build(self) -> Result<(Router, OpenApi), serde_json::Error> {
        let health = health::routes(self.health, self.access.clone());
        let (router, api) = self.routes.merge(health).split_for_parts();
        let api = openapi::finish(api, &self.title, &self.version, self.config.auth);
        let guard = middleware::from_fn_with_state((self.access, Need::from(Scope::Read)), access::guard);
        let router = router.merge(openapi::route(&api)?.route_layer(guard));
        Ok((layers::around(router, &self.config), api))
    }

    /// The bus, to be closed when the door shuts ([`Events::close`]).
    pub fn events(&self) -> Events {
        self.common.events.clone()
    }
}
