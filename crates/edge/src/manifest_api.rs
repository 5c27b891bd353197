//! What left of a study and what came back: the record that a compliance officer looks at. Holds pseudonyms and hashes of sent bytes, no value of an original.

use std::collections::BTreeMap;

use axum::extract::State;
use overread_http::Problem;
use overread_http::extract::{Json, Path};
use overread_store::Database;
use serde::Serialize;
use sqlx::Row;
use sqlx::any::AnyRow;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::error::EdgeError;
use crate::vault::Vault;

/// What the route looks into.
#[derive(Clone)]
pub(crate) struct Catalog {
    pub(crate) database: Database,
    pub(crate) vault: Vault,
}

/// The route.
pub(crate) fn routes(catalog: Catalog) -> OpenApiRouter {
    OpenApiRouter::new().routes(routes!(manifest)).with_state(catalog)
}

/// What left of a study, and what came back.
#[derive(Serialize, ToSchema)]
pub struct Record {
    /// Our own id of the study.
    study: String,
    /// What left, version by version.
    sent: Vec<Sent>,
    /// What came back.
    returned: Vec<Returned>,
}

/// A version that left.
#[derive(Serialize, ToSchema)]
pub struct Sent {
    /// Which.
    version: i64,
    /// SHA-256 of the manifest: the audit chains of both sides name it (`manifest`).
    digest: String,
    /// The message that crossed, as JSON: pseudonyms, coded values, and for each image the SHA-256 of the bytes that were sent.
    manifest: serde_json::Value,
    /// What was done to the images before: for each attribute what became of it and in how many images, and what was painted over.
    changes: serde_json::Value,
    /// When, in milliseconds since 1970.
    at: i64,
}

/// A result.
#[derive(Serialize, ToSchema)]
pub struct Returned {
    /// Our own id of the result.
    result: String,
    /// The program that read.
    program: String,
    /// Which release of the case.
    case_version: i64,
    /// Which version of the study was read.
    study_version: Option<i64>,
    /// SHA-256 of the message: the audit chains of both sides name it (`result`).
    digest: Option<String>,
    /// The edition that read.
    edition: Option<String>,
    /// Decisions by finding.
    decisions: BTreeMap<String, String>,
    /// `received` or `filed`.
    state: String,
    /// When it came, in milliseconds since 1970.
    received_at: i64,
    /// When its documents were made.
    filed_at: Option<i64>,
}

const DOING: &str = "reading what left of a study";

fn failed(e: sqlx::Error) -> Problem {
    Problem::internal(&EdgeError::query(DOING)(e))
}

/// What left of a study, and what came back.
#[utoipa::path(get, path = "/api/v1/studies/{id}/manifest", params(("id" = String, Path, description = "our own id of the study")),
    responses((status = 200, body = Record), (status = 404, body = Problem)), tag = "studies")]
async fn manifest(
    State(Catalog { database, vault }): State<Catalog>,
    Path(id): Path<String>,
) -> Result<Json<Record>, Problem> {
    let mut conn = database.read().await.map_err(Problem::from)?;
    let known = sqlx::query("SELECT study_uid FROM studies WHERE id = $1")
        .bind(id.clone())
        .fetch_optional(&mut *conn)
        .await
        .map_err(failed)?;
    let Some(known) = known else {
        return Err(Problem::not_found("there is no study of that id; GET /api/v1/studies lists them"));
    };
    let uid: String = known.try_get(0).map_err(failed)?;
    let sent = sqlx::query("SELECT version, digest, manifest, changes, noted_at FROM departures WHERE study = $1 ORDER BY version")
        .bind(id.clone())
        .fetch_all(&mut *conn)
        .await
        .map_err(failed)?;
    let returned = sqlx::query("SELECT id, program, case_version, message, state, received_at, filed_at FROM results WHERE study_uid = $1 ORDER BY received_at, id")
        .bind(uid)
        .fetch_all(&mut *conn)
        .await
        .map_err(failed)?;
    drop(conn);
    let mut answers = Vec::with_capacity(returned.len());
    for row in &returned {
        let (id, sealed): (String, String) =
            (row.try_get(0).map_err(failed)?, row.try_get(3).map_err(failed)?);
        let opened = vault.open_text("results.message", &id, sealed).await;
        let text = opened.map_err(|e| Problem::internal(&e))?;
        answers.push(returned_of(row, &text).map_err(failed)?);
    }
    Ok(Json(Record {
        study: id,
        sent: sent.iter().map(sent_of).collect::<Result<_, _>>().map_err(failed)?,
        returned: answers,
    }))
}

fn sent_of(row: &AnyRow) -> Result<Sent, sqlx::Error> {
    let json =
        |column| row.try_get::<String, _>(column).map(|text| serde_json::from_str(&text).unwrap_or_default());
    Ok(Sent {
        version: row.try_get(0)?,
        digest: row.try_get(1)?,
        manifest: json(2)?,
        changes: json(3)?,
        at: row.try_get(4)?,
    })
}

fn returned_of(row: &AnyRow, text: &str) -> Result<Returned, sqlx::Error> {
    let message: Option<overread_wire::ResultMessage> = serde_json::from_str(text).ok();
    let told = message.as_ref();
    let decision = |f: &overread_domain::Finding| (f.label.clone(), f.decision.to_string());
    Ok(Returned {
        result: row.try_get(0)?,
        program: row.try_get(1)?,
        case_version: row.try_get(2)?,
        study_version: told.map(|m| m.study_version.into()),
        digest: told.map(|m| m.digest().to_string()),
        edition: told.map(|m| m.algorithm.edition.0.clone()),
        decisions: told.map(|m| m.findings.iter().map(decision).collect()).unwrap_or_default(),
        state: row.try_get(4)?,
        received_at: row.try_get(5)?,
        filed_at: row.try_get(6)?,
    })
}
