//! REST for people and their tools: programs, cases with their readings and pictures, status.
//!
//! Jobs, audit log, events, health and metrics come from the door itself.

pub mod cases;
pub mod programs;
pub mod status;

use std::sync::Arc;

use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::service::Service;

/// What the scope `read` may ask for.
pub(crate) fn look(service: Arc<Service>) -> OpenApiRouter {
    OpenApiRouter::new()
        .routes(routes!(programs::list))
        .routes(routes!(cases::list))
        .routes(routes!(cases::one))
        .routes(routes!(cases::capture))
        .routes(routes!(status::status))
        .with_state(service)
}

/// What the scope `operate` may do.
pub(crate) fn operate(service: Arc<Service>) -> OpenApiRouter {
    OpenApiRouter::new().routes(routes!(programs::set_mode)).with_state(service)
}
