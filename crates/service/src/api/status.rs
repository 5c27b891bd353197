//! How the service is: what waits, what is dead, how far the edge is.

use std::sync::Arc;

use axum::extract::State;
use overread_domain::CaseState;
use overread_http::Problem;
use overread_http::extract::Json;
use overread_store::jobs;
use serde::{Deserialize, Serialize};
use sqlx::Row;
use utoipa::ToSchema;

use crate::error::db;
use crate::outbox;
use crate::read_job::READ;
use crate::service::Service;

/// How the service is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct StatusView {
    /// The software's version.
    pub version: String,
    /// Cases by state.
    pub cases: Vec<StateCount>,
    /// Studies that wait to be read.
    pub waiting: i64,
    /// Studies that are being read.
    pub running: i64,
    /// Studies that a person must look at: see `GET /api/v1/jobs?state=dead`.
    pub dead: i64,
    /// Since when the oldest study waits, in milliseconds since 1970; none if none waits.
    pub oldest_waiting_at: Option<i64>,
    /// Results released since the service was set up.
    pub released: i64,
    /// Results that their edges have not taken yet.
    pub unsent: i64,
    /// Bytes that are free on the disk of the data folder.
    pub free_bytes: Option<u64>,
}

/// How many cases are in a state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct StateCount {
    /// `received`, `reading`, `read`, `released`, `amended`, `no-program` or `dead`.
    pub state: String,
    /// How many.
    pub count: i64,
}

/// How the service is: counts, queue, free disk.
#[utoipa::path(get, path = "/api/v1/status", tag = "status", operation_id = "status",
    responses((status = 200, description = "How it is.", body = StatusView)))]
pub async fn status(State(service): State<Arc<Service>>) -> Result<Json<StatusView>, Problem> {
    let counts = jobs::counts(&service.database).await?;
    let of = |state: &str| counts.iter().find(|c| c.kind == READ && c.state == state).map_or(0, |c| c.count);
    let (released, safe) = outbox::progress(&service.database).await?;
    let doing = db("counting cases");
    let mut conn = service.database.read().await?;
    let rows = sqlx::query("SELECT state, COUNT(*), MIN(changed_at) FROM cases GROUP BY state")
        .fetch_all(&mut *conn)
        .await
        .map_err(&doing)?;
    let mut found: Vec<(String, i64, i64)> = vec![];
    for row in rows {
        let one = || Ok((row.try_get(0)?, row.try_get(1)?, row.try_get(2)?));
        found.push(one().map_err(&doing)?);
    }
    let oldest = found.iter().find(|(state, ..)| state == CaseState::Received.as_str()).map(|(.., at)| *at);
    let count = |state: CaseState| StateCount {
        state: state.as_str().to_owned(),
        count: found.iter().find(|(word, ..)| word == state.as_str()).map_or(0, |(_, count, _)| *count),
    };
    Ok(Json(StatusView {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        cases: CaseState::ALL.map(count).to_vec(),
        waiting: of("waiting"),
        running: of("running"),
        dead: of("dead"),
        oldest_waiting_at: oldest,
        released,
        unsent: (released - safe).max(0),
        free_bytes: service.objects.free_bytes(),
    }))
}
