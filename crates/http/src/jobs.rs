//! Durable jobs to look at, and dead letters to give another try.

use axum::extract::{FromRef, State};
use overread_store::{Database, audit, jobs};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::extract::{Json, Path, Query};
use crate::{Actor, Common, Problem};

/// Rows that are read at once while jobs of one kind are looked for.
const BATCH: i64 = 1000;
/// Batches that one request reads at most: the page's `next` goes on from there.
const BATCHES: usize = 20;

/// A job's state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum JobState {
    /// It runs when its time has come.
    Waiting,
    /// It runs.
    Running,
    /// A dead letter: it was given up, a person must look.
    Dead,
}

impl JobState {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Running => "running",
            Self::Dead => "dead",
        }
    }
}

/// A job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct JobView {
    /// Its number.
    pub id: i64,
    /// What it does, such as `send`.
    pub kind: String,
    /// What it is about: our own number of a study or a case.
    pub key: String,
    /// `waiting`, `running` or `dead`.
    pub state: String,
    /// When it runs next, in milliseconds since 1970.
    pub run_at: i64,
    /// Attempts that were begun.
    pub attempts: i64,
    /// What went wrong last.
    pub error: Option<String>,
    /// When it was made, in milliseconds since 1970.
    pub created_at: i64,
}

impl From<jobs::JobRow> for JobView {
    fn from(row: jobs::JobRow) -> Self {
        Self {
            id: row.id,
            kind: row.kind,
            key: row.key,
            state: row.state,
            run_at: row.run_at,
            attempts: row.attempts,
            error: row.error,
            created_at: row.created_at,
        }
    }
}

/// Jobs in the order of their numbers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct JobPage {
    /// The jobs.
    pub jobs: Vec<JobView>,
    /// Give it as `after` for the next page; none at the end.
    pub next: Option<i64>,
}

/// How many jobs were put back in line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Requeued {
    /// So many.
    pub requeued: u64,
}

/// Which jobs.
#[derive(Clone, Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct JobQuery {
    /// Of this state only.
    #[serde(default)]
    #[param(inline, nullable = false)]
    state: Option<JobState>,
    /// Of this kind only.
    #[serde(default)]
    #[param(nullable = false)]
    kind: Option<String>,
    /// With numbers after this one.
    #[serde(default)]
    #[param(minimum = 0, default = 0)]
    after: i64,
    /// At most so many, 1 to 1000.
    #[serde(default = "hundred")]
    #[param(minimum = 1, maximum = 1000, default = 100)]
    limit: i64,
}

const fn hundred() -> i64 {
    100
}

/// A page's bounds, checked.
pub(crate) fn bounds(after: i64, limit: i64) -> Result<(i64, i64), Problem> {
    if !(1..=1000).contains(&limit) {
        return Err(Problem::bad_request("limit: a number from 1 to 1000"));
    }
    if after < 0 {
        return Err(Problem::bad_request("after: 0 or the `next` of the page before"));
    }
    Ok((after, limit))
}

/// Looking at jobs: needs the scope `read`.
pub fn routes<S>() -> OpenApiRouter<S>
where
    S: Clone + Send + Sync + 'static,
    Common: FromRef<S>,
{
    OpenApiRouter::new().routes(routes!(list))
}

/// Giving dead letters another try: needs the scope `operate`.
pub fn operate_routes<S>() -> OpenApiRouter<S>
where
    S: Clone + Send + Sync + 'static,
    Common: FromRef<S>,
{
    OpenApiRouter::new().routes(routes!(requeue)).routes(routes!(requeue_dead))
}

/// Jobs.
#[utoipa::path(get, path = "/api/v1/jobs", tag = "jobs", operation_id = "list_jobs", params(JobQuery),
    responses((status = 200, description = "A page of jobs.", body = JobPage)))]
async fn list(State(common): State<Common>, Query(query): Query<JobQuery>) -> Result<Json<JobPage>, Problem> {
    let (mut after, limit) = bounds(query.after, query.limit)?;
    let state = query.state.map(JobState::as_str);
    let wanted = usize::try_from(limit).unwrap_or(usize::MAX);
    let batch = if query.kind.is_some() { BATCH } else { limit };
    let mut found = Vec::new();
    for _ in 0..BATCHES {
        let rows = jobs::list(&common.db, state, after, batch).await?;
        let last = rows.len() < usize::try_from(batch).unwrap_or(usize::MAX);
        for row in rows {
            after = row.id;
            if query.kind.as_ref().is_none_or(|kind| *kind == row.kind) {
                found.push(JobView::from(row));
            }
            if found.len() == wanted {
                return Ok(Json(JobPage { jobs: found, next: Some(after) }));
            }
        }
        if last {
            return Ok(Json(JobPage { jobs: found, next: None }));
        }
    }
    Ok(Json(JobPage { jobs: found, next: Some(after) }))
}

/// Gives a dead letter another try.
#[utoipa::path(post, path = "/api/v1/jobs/{id}/requeue", tag = "jobs", operation_id = "requeue_job",
    params(("id" = i64, Path, description = "The job's number.")),
    responses((status = 200, description = "It is in line again.", body = Requeued),
              (status = 404, description = "No dead letter has that number.", body = Problem, content_type = "application/problem+json")))]
async fn requeue(
    State(common): State<Common>,
    actor: Actor,
    Path(id): Path<i64>,
) -> Result<Json<Requeued>, Problem> {
    // The store takes 0 for "all", and no job has a number below 1.
    let done = if id > 0 { put_back(&common, &actor, Some(id)).await? } else { 0 };
    if done == 0 {
        return Err(Problem::not_found(format!("no dead letter has the number {id}")));
    }
    Ok(Json(Requeued { requeued: done }))
}

/// Gives all dead letters another try.
#[utoipa::path(post, path = "/api/v1/jobs/requeue-dead", tag = "jobs", operation_id = "requeue_dead_jobs",
    responses((status = 200, description = "How many are in line again.", body = Requeued)))]
async fn requeue_dead(State(common): State<Common>, actor: Actor) -> Result<Json<Requeued>, Problem> {
    Ok(Json(Requeued { requeued: put_back(&common, &actor, None).await? }))
}

async fn put_back(common: &Common, actor: &Actor, id: Option<i64>) -> Result<u64, Problem> {
    let now = common.clock.now();
    let mut tx = common.db.begin().await?;
    let done = jobs::requeue(&mut tx, id, now).await?;
    if done > 0 {
        let subject = id.map_or_else(|| "dead".to_owned(), |id| id.to_string());
        let event = audit::Event {
            at: now,
            actor: &actor.name,
            action: "jobs.requeue",
            subject: &subject,
            detail: serde_json::json!({ "jobs": done }),
        };
        audit::append(&mut tx, &event).await?;
    }
    Database::commit(tx).await?;
    common.wake.notify_one();
    Ok(done)
}
