//! The edge's REST interface: what came in and what became of it. Hospital-side: it still names studies by our own ids.

use axum::extract::State;
use overread_http::extract::{Json, Query};
use overread_http::{Need, Problem, Scope};
use overread_store::{Database, jobs};
use serde::{Deserialize, Serialize};
use sqlx::Row;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::error::EdgeError;

/// Looking needs `read`, sending images needs `store`.
pub fn images() -> Need {
    Need::by_method(Scope::Read, Scope::Store)
}

/// The routes.
pub fn routes(database: Database) -> OpenApiRouter {
    OpenApiRouter::new()
        .routes(routes!(status))
        .routes(routes!(studies))
        .routes(routes!(deliveries))
        .with_state(database)
}

/// How the edge is.
#[derive(Serialize, ToSchema)]
pub struct Status {
    /// `edge`.
    role: &'static str,
    /// Version of the software.
    version: &'static str,
    /// Studies by state.
    studies: Vec<Count>,
    /// Jobs by kind and state, as `kind/state`.
    jobs: Vec<Count>,
    /// Objects that came under a SOP Instance UID that was taken.
    conflicts: i64,
}

/// So many of something.
#[derive(Serialize, ToSchema)]
pub struct Count {
    /// Of what.
    name: String,
    /// How many.
    count: i64,
}

fn failed(doing: &'static str) -> impl FnOnce(sqlx::Error) -> Problem {
    move |e| Problem::internal(&EdgeError::query(doing)(e))
}

/// How the edge is.
#[utoipa::path(get, path = "/api/v1/status", responses((status = 200, body = Status)), tag = "status")]
async fn status(State(database): State<Database>) -> Result<Json<Status>, Problem> {
    let mut conn = database.read().await.map_err(Problem::from)?;
    let rows = sqlx::query("SELECT state, COUNT(*) FROM studies GROUP BY state ORDER BY state")
        .fetch_all(&mut *conn)
        .await
        .map_err(failed("counting studies"))?;
    let mut studies = Vec::new();
    for row in rows {
        studies.push(Count {
            name: row.try_get(0).map_err(failed("counting studies"))?,
            count: row.try_get(1).map_err(failed("counting studies"))?,
        });
    }
    let row = sqlx::query("SELECT COUNT(*) FROM conflicts")
        .fetch_one(&mut *conn)
        .await
        .map_err(failed("counting conflicts"))?;
    drop(conn);
    let counts = jobs::counts(&database).await.map_err(Problem::from)?;
    let jobs = counts
        .into_iter()
        .map(|c| Count { name: format!("{}/{}", c.kind, c.state), count: c.count })
        .collect();
    Ok(Json(Status {
        role: "edge",
        version: env!("CARGO_PKG_VERSION"),
        studies,
        jobs,
        conflicts: row.try_get(0).map_err(failed("counting conflicts"))?,
    }))
}

/// Which of them.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct Which {
    /// Only those in this state.
    state: Option<String>,
    /// At most so many, the latest first; 1 to 1000.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<i64>,
}

fn limit_of(which: &Which) -> Result<i64, Problem> {
    let limit = which.limit.unwrap_or(100);
    if (1..=1000).contains(&limit) {
        Ok(limit)
    } else {
        Err(Problem::bad_request("limit is between 1 and 1000"))
    }
}

/// A study.
#[derive(Serialize, ToSchema)]
pub struct StudyView {
    /// Our own id.
    id: String,
    /// `receiving`, `complete`, `sent`, `held`, `quarantined`, `no-program` or `no-images`.
    state: String,
    /// Why it is held or quarantined.
    reason: Option<String>,
    /// How often it was complete.
    version: i64,
    /// The program that the rules chose.
    program: Option<String>,
    /// When its last image came, in milliseconds since 1970.
    last_at: i64,
    /// Results that were filed.
    results: i64,
}

/// Studies, the latest first.
#[utoipa::path(get, path = "/api/v1/studies", params(Which), responses((status = 200, body = Vec<StudyView>)), tag = "studies")]
async fn studies(
    State(database): State<Database>,
    Query(which): Query<Which>,
) -> Result<Json<Vec<StudyView>>, Problem> {
    let limit = limit_of(&which)?;
    let mut conn = database.read().await.map_err(Problem::from)?;
    let rows = sqlx::query(
        "SELECT s.id, s.state, s.version, s.program, s.last_at, CASE WHEN s.state IN ('held', 'quarantined') THEN s.reason END, (SELECT COUNT(*) FROM results r WHERE r.study_uid = s.study_uid AND r.state = 'filed')
         FROM studies s WHERE ($1 = '' OR s.state = $1) ORDER BY s.last_at DESC, s.id LIMIT $2",
    )
    .bind(which.state.unwrap_or_default())
    .bind(limit)
    .fetch_all(&mut *conn)
    .await
    .map_err(failed("listing studies"))?;
    let view = |row: &sqlx::any::AnyRow| -> Result<StudyView, sqlx::Error> {
        Ok(StudyView {
            id: row.try_get(0)?,
            state: row.try_get(1)?,
            version: row.try_get(2)?,
            program: row.try_get(3)?,
            last_at: row.try_get(4)?,
            reason: row.try_get(5)?,
            results: row.try_get(6)?,
        })
    };
    rows.iter().map(view).collect::<Result<_, _>>().map(Json).map_err(failed("listing studies"))
}

/// A result at a destination.
#[derive(Serialize, ToSchema)]
pub struct DeliveryView {
    /// Our own id of the result.
    result: String,
    /// Our own id of its study.
    study: String,
    /// The destination's name in the configuration.
    destination: String,
    /// `waiting`, `delivered`, `committed` (the peer keeps it: storage commitment), `not-offered` (delivered; the peer knows no storage commitment),
    /// `uncommitted` (the peer does not keep all of it: it is sent again), `superseded` (a later version went out before the first attempt) or `withdrawn`
    /// (the peer does not keep it, and a later version withdraws it).
    state: String,
    /// When it was first tried, in milliseconds since 1970.
    attempted_at: Option<i64>,
    /// When the destination last had all of it.
    delivered_at: Option<i64>,
    /// When the destination committed to keeping it.
    committed_at: Option<i64>,
}

/// What became of results at their destinations, the latest results first.
#[utoipa::path(get, path = "/api/v1/deliveries", params(Which), responses((status = 200, body = Vec<DeliveryView>)), tag = "deliveries")]
async fn deliveries(
    State(database): State<Database>,
    Query(which): Query<Which>,
) -> Result<Json<Vec<DeliveryView>>, Problem> {
    let limit = limit_of(&which)?;
    let mut conn = database.read().await.map_err(Problem::from)?;
    let rows = sqlx::query(
        "SELECT d.result, s.id, d.destination, d.state, d.attempted_at, d.delivered_at, d.committed_at
         FROM deliveries d JOIN results r ON r.id = d.result JOIN studies s ON s.study_uid = r.study_uid
         WHERE ($1 = '' OR d.state = $1) ORDER BY r.received_at DESC, d.result, d.destination LIMIT $2",
    )
    .bind(which.state.unwrap_or_default())
    .bind(limit)
    .fetch_all(&mut *conn)
    .await
    .map_err(failed("listing deliveries"))?;
    let view = |row: &sqlx::any::AnyRow| -> Result<DeliveryView, sqlx::Error> {
        Ok(DeliveryView {
            result: row.try_get(0)?,
            study: row.try_get(1)?,
            destination: row.try_get(2)?,
            state: row.try_get(3)?,
            attempted_at: row.try_get(4)?,
            delivered_at: row.try_get(5)?,
            committed_at: row.try_get(6)?,
        })
    };
    rows.iter().map(view).collect::<Result<_, _>>().map(Json).map_err(failed("listing deliveries"))
}
