//! Cases, their readings, and the readings' pictures.

use std::sync::Arc;

use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use overread_domain::{CaseState, Decision, Finding};
use overread_http::Problem;
use overread_http::extract::{Json, Path, Query};
use overread_store::StoreError;
use overread_wire::CaptureReference;
use serde::{Deserialize, Serialize};
use sqlx::Row;
use sqlx::any::AnyRow;
use utoipa::{IntoParams, ToSchema};

use crate::error::{db, document};
use crate::objects::{self, ObjectKind};
use crate::reading::Timings;
use crate::release::ReadingRecord;
use crate::service::Service;

/// Cases of one page.
const PAGE: i64 = 100;

/// A case: one study under one program.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CaseView {
    /// Its number.
    pub id: i64,
    /// Whose study it is.
    pub client: String,
    /// Pseudonymous Study Instance UID.
    pub study: String,
    /// Newest version of the study.
    pub study_version: i64,
    /// The program; none while none was chosen.
    pub program: Option<String>,
    /// `received`, `reading`, `read`, `released`, `amended`, `no-program` or `dead`.
    pub state: String,
    /// Why it is in that state, where the state alone does not tell.
    pub detail: Option<String>,
    /// Releases so far.
    pub case_version: i64,
    /// 0 stat, 1 urgent, 2 routine.
    pub priority: i64,
    /// When its study first came, in milliseconds since 1970.
    pub created_at: i64,
    /// When its state last changed, in milliseconds since 1970.
    pub changed_at: i64,
}

/// Cases in the order of their numbers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CasePage {
    /// The cases.
    pub cases: Vec<CaseView>,
    /// Give it as `after` for the next page; none at the end.
    pub next: Option<i64>,
}

/// Which cases.
#[derive(Clone, Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct CaseQuery {
    /// Those in one state.
    #[param(inline)]
    state: Option<WantedState>,
    /// Those of one program.
    #[param(max_length = 64)]
    program: Option<String>,
    /// Those with numbers above this one.
    #[param(minimum = 0)]
    after: Option<i64>,
    /// So many at most.
    #[param(minimum = 1, maximum = 100)]
    limit: Option<i64>,
}

/// A case's state.
#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum WantedState {
    /// Waits to be read.
    Received,
    /// Is being read.
    Reading,
    /// Read and kept.
    Read,
    /// Released.
    Released,
    /// Released again.
    Amended,
    /// No program reads it.
    NoProgram,
    /// A person must look.
    Dead,
}

impl WantedState {
    const fn state(self) -> CaseState {
        match self {
            Self::Received => CaseState::Received,
            Self::Reading => CaseState::Reading,
            Self::Read => CaseState::Read,
            Self::Released => CaseState::Released,
            Self::Amended => CaseState::Amended,
            Self::NoProgram => CaseState::NoProgram,
            Self::Dead => CaseState::Dead,
        }
    }
}

/// A case with its readings, the oldest first.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct CaseDetail {
    /// The case.
    pub case: CaseView,
    /// Its readings.
    pub readings: Vec<ReadingView>,
}

/// A reading.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ReadingView {
    /// Its number.
    pub id: i64,
    /// The version of the study that was read.
    pub study_version: i64,
    /// The pack that read, and its makers' version.
    pub pack: String,
    /// The makers' version of the pack.
    pub pack_version: String,
    /// SHA-256 that names the edition.
    pub edition: String,
    /// The program's mode at that time.
    pub mode: String,
    /// The release that it became; none if it was kept.
    pub case_version: Option<i64>,
    /// One a label.
    pub findings: Vec<FindingView>,
    /// Why there is no answer; none if there is one.
    pub not_assessed: Option<ReasonView>,
    /// What could not be read, by position.
    pub warnings: Vec<String>,
    /// Pictures: `GET /api/v1/cases/{id}/readings/{reading}/captures/{number}`, from 1.
    pub captures: Vec<CaptureView>,
    /// What whoever looks at it must know of the pack: that it is for research only, that it cannot tell strangers.
    pub caveats: Vec<String>,
    /// Where the time went.
    pub timings: Timings,
    /// When it was finished, in milliseconds since 1970.
    pub created_at: i64,
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ReasonView {
    /// A stable word.
    pub code: String,
    /// A sentence.
    pub message: String,
}

/// One label's answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct FindingView {
    /// The pack's word.
    pub label: String,
    /// Coding scheme, value and meaning.
    pub code: [String; 3],
    /// `right` or `left`, where the images tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub laterality: Option<String>,
    /// Calibrated probability at `prevalence`; none without an answer or a calibration.
    pub probability: Option<f64>,
    /// Uncalibrated output; not a probability.
    pub score: Option<f64>,
    /// `present`, `absent`, `indeterminate` or `not-assessed`.
    pub decision: String,
    /// At or below this probability: `absent`.
    pub rule_out: Option<f64>,
    /// At or above this probability: `present`.
    pub rule_in: Option<f64>,
    /// The prevalence that the numbers hold for.
    pub prevalence: Option<f64>,
    /// Fewer than 20 positive patients stand behind it.
    pub experimental: bool,
    /// Why this one was not assessed, where others were.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// A picture.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CaptureView {
    /// Its number, from 1.
    pub number: usize,
    /// The finding it explains, or `image`.
    pub label: String,
    /// Whether it shows a map of what spoke for the finding.
    pub explains: bool,
    /// How it was made.
    pub description: String,
    /// Bytes of the PNG.
    pub bytes: u64,
}

impl From<&Finding> for FindingView {
    fn from(f: &Finding) -> Self {
        let decision = match f.decision {
            Decision::Present => "present",
            Decision::Absent => "absent",
            Decision::Indeterminate => "indeterminate",
            Decision::NotAssessed => "not-assessed",
        };
        Self {
            label: f.label.clone(),
            code: [f.code.scheme.clone(), f.code.value.clone(), f.code.meaning.clone()],
            laterality: f.laterality.map(|side| side.to_string()),
            probability: f.probability.map(f64::from),
            score: f.score,
            decision: decision.to_owned(),
            rule_out: f.rule_out.map(f64::from),
            rule_in: f.rule_in.map(f64::from),
            prevalence: f.prevalence.map(f64::from),
            experimental: f.experimental,
            reason: f.reason.as_ref().map(|r| r.message.clone()),
        }
    }
}

const COLUMNS: &str = "c.id, s.study, s.latest, c.program, c.state, c.detail, c.case_version, c.priority, c.created_at, c.changed_at, c.client";

fn case(row: &AnyRow) -> Result<CaseView, sqlx::Error> {
    let some = |text: String| Some(text).filter(|t| !t.is_empty());
    Ok(CaseView {
        id: row.try_get(0)?,
        study: row.try_get(1)?,
        study_version: row.try_get(2)?,
        program: some(row.try_get(3)?),
        state: row.try_get(4)?,
        detail: some(row.try_get(5)?),
        case_version: row.try_get(6)?,
        priority: row.try_get(7)?,
        created_at: row.try_get(8)?,
        changed_at: row.try_get(9)?,
        client: row.try_get(10)?,
    })
}

/// Cases, in the order of their numbers.
#[utoipa::path(get, path = "/api/v1/cases", tag = "cases", operation_id = "list_cases", params(CaseQuery),
    responses((status = 200, description = "A page of cases.", body = CasePage)))]
pub async fn list(
    State(service): State<Arc<Service>>,
    Query(query): Query<CaseQuery>,
) -> Result<Json<CasePage>, Problem> {
    let (after, limit) = (query.after.unwrap_or(0), query.limit.unwrap_or(PAGE));
    if after < 0 || !(1..=PAGE).contains(&limit) {
        return Err(Problem::bad_request(format!("after: 0 or more; limit: 1 to {PAGE}")));
    }
    let program = query.program.unwrap_or_default();
    if program.contains('\0') || program.len() > 64 {
        return Err(Problem::bad_request("program: 64 characters at most"));
    }
    let doing = db("listing cases");
    let mut conn = service.database.read().await?;
    let sql = format!(
        "SELECT {COLUMNS} FROM cases c JOIN studies s ON s.id = c.study_id
         WHERE c.id > $1 AND ($2 = '' OR c.state = $2) AND ($3 = '' OR c.program = $3) ORDER BY c.id LIMIT $4"
    );
    let rows = sqlx::query(sqlx::AssertSqlSafe(sql))
        .bind(after)
        .bind(query.state.map_or("", |s| s.state().as_str()))
        .bind(program)
        .bind(limit)
        .fetch_all(&mut *conn)
        .await
        .map_err(&doing)?;
    let cases: Vec<CaseView> = rows.iter().map(case).collect::<Result<_, _>>().map_err(&doing)?;
    let full = i64::try_from(cases.len()).is_ok_and(|n| n == limit);
    let next = cases.last().filter(|_| full).map(|c| c.id);
    Ok(Json(CasePage { cases, next }))
}

/// One case with its readings.
#[utoipa::path(get, path = "/api/v1/cases/{id}", tag = "cases", operation_id = "get_case",
    params(("id" = i64, Path, description = "The case's number.")),
    responses((status = 200, description = "The case.", body = CaseDetail),
              (status = 404, description = "There is no such case.", body = Problem, content_type = "application/problem+json")))]
pub async fn one(
    State(service): State<Arc<Service>>,
    Path(id): Path<i64>,
) -> Result<Json<CaseDetail>, Problem> {
    let doing = db("reading a case");
    let mut conn = service.database.read().await?;
    let sql = format!("SELECT {COLUMNS} FROM cases c JOIN studies s ON s.id = c.study_id WHERE c.id = $1");
    let row = sqlx::query(sqlx::AssertSqlSafe(sql)).bind(id).fetch_optional(&mut *conn).await;
    let row = row.map_err(&doing)?.ok_or_else(|| Problem::not_found("there is no such case"))?;
    let rows = sqlx::query(
        "SELECT id, study_version, edition, mode, case_version, result, captures, timings, created_at FROM readings WHERE case_id = $1 ORDER BY id",
    )
    .bind(id)
    .fetch_all(&mut *conn)
    .await
    .map_err(&doing)?;
    let readings = rows.iter().map(reading).collect::<Result<_, _>>()?;
    Ok(Json(CaseDetail { case: case(&row).map_err(&doing)?, readings }))
}

fn reading(row: &AnyRow) -> Result<ReadingView, StoreError> {
    let doing = db("reading a reading");
    let text = |index: usize| row.try_get::<String, _>(index).map_err(&doing);
    let number = |index: usize| row.try_get::<i64, _>(index).map_err(&doing);
    let what = document("a reading");
    let record: ReadingRecord = serde_json::from_str(&text(5)?).map_err(&what)?;
    let captures: Vec<CaptureReference> = serde_json::from_str(&text(6)?).map_err(&what)?;
    let view = |(index, c): (usize, CaptureReference)| CaptureView {
        number: index + 1,
        label: c.label,
        explains: c.explains,
        description: c.description,
        bytes: c.bytes,
    };
    Ok(ReadingView {
        id: number(0)?,
        study_version: number(1)?,
        pack: record.algorithm.name,
        pack_version: record.algorithm.version,
        edition: text(2)?,
        mode: text(3)?,
        case_version: Some(number(4)?).filter(|v| *v > 0),
        findings: record.findings.iter().map(FindingView::from).collect(),
        not_assessed: record.not_assessed.map(|n| ReasonView { code: n.code, message: n.message }),
        warnings: record.warnings,
        caveats: record.algorithm.caveats,
        captures: captures.into_iter().enumerate().map(view).collect(),
        timings: serde_json::from_str(&text(7)?).map_err(&what)?,
        created_at: number(8)?,
    })
}

/// A picture of a reading.
#[utoipa::path(get, path = "/api/v1/cases/{id}/readings/{reading}/captures/{number}", tag = "cases", operation_id = "get_capture",
    params(("id" = i64, Path, description = "The case's number."), ("reading" = i64, Path, description = "The reading's number."),
           ("number" = u32, Path, description = "The picture's number, from 1.")),
    responses((status = 200, description = "The picture.", content_type = "image/png"),
              (status = 404, description = "There is no such picture.", body = Problem, content_type = "application/problem+json")))]
pub async fn capture(
    State(service): State<Arc<Service>>,
    Path((id, reading, number)): Path<(i64, i64, u32)>,
) -> Result<Response, Problem> {
    let doing = db("looking for a picture");
    let none = || Problem::not_found("there is no such picture");
    let mut conn = service.database.read().await?;
    let row = sqlx::query(
        "SELECT r.captures, c.client FROM readings r JOIN cases c ON c.id = r.case_id WHERE c.id = $1 AND r.id = $2",
    )
    .bind(id)
    .bind(reading)
    .fetch_optional(&mut *conn)
    .await
    .map_err(&doing)?
    .ok_or_else(none)?;
    drop(conn);
    let (text, client): (String, String) = (row.try_get(0).map_err(&doing)?, row.try_get(1).map_err(&doing)?);
    let captures: Vec<CaptureReference> =
        serde_json::from_str(&text).map_err(document("a reading")).map_err(Problem::from)?;
    let index = usize::try_from(number).ok().and_then(|n| n.checked_sub(1));
    let capture = index.and_then(|i| captures.get(i)).ok_or_else(none)?;
    let hash = std::slice::from_ref(&capture.sha256);
    let places = objects::places(&service.database, &client, ObjectKind::Capture, hash).await?;
    let png = service.objects.get(places.values().next().ok_or_else(none)?).await?;
    Ok(([(header::CONTENT_TYPE, "image/png")], png).into_response())
}
