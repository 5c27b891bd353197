//! The audit log to look at, and its chain to verify.

use axum::extract::{FromRef, State};
use overread_store::{StoreError, audit};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::extract::{Json, Query};
use crate::jobs::bounds;
use crate::{Common, Problem};

/// An entry of the audit log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AuditEntry {
    /// Its place in the chain, from 1.
    pub sequence: i64,
    /// When, in milliseconds since 1970.
    pub at: i64,
    /// Who.
    pub actor: String,
    /// What was done.
    pub action: String,
    /// To what.
    pub subject: String,
    /// More about it: the JSON text that the hash covers.
    pub detail: String,
    /// The hash over this entry and the one before.
    pub hash: String,
}

/// Entries in order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AuditPage {
    /// The entries.
    pub entries: Vec<AuditEntry>,
    /// Give it as `after` for the next page; none at the end.
    pub next: Option<i64>,
}

/// What verifying found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AuditVerdict {
    /// Whether the whole chain holds.
    pub holds: bool,
    /// Entries in it; none where it is broken.
    pub entries: Option<i64>,
    /// The last hash. Keep it elsewhere: it is what shows later that entries at the end were cut off.
    pub head: Option<String>,
    /// The first entry that does not fit.
    pub broken_at: Option<i64>,
    /// Why it does not fit.
    pub why: Option<String>,
}

/// Which entries.
#[derive(Clone, Copy, Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct AuditQuery {
    /// After this one.
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

/// Looking at the audit log: needs the scope `read`.
pub fn routes<S>() -> OpenApiRouter<S>
where
    S: Clone + Send + Sync + 'static,
    Common: FromRef<S>,
{
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(verify))
}

/// The audit log.
#[utoipa::path(get, path = "/api/v1/audit", tag = "audit", operation_id = "list_audit", params(AuditQuery),
    responses((status = 200, description = "A page of entries.", body = AuditPage)))]
async fn list(
    State(common): State<Common>,
    Query(query): Query<AuditQuery>,
) -> Result<Json<AuditPage>, Problem> {
    let (after, limit) = bounds(query.after, query.limit)?;
    let rows = audit::list(&common.db, after, limit).await?;
    let full = i64::try_from(rows.len()).is_ok_and(|n| n == limit);
    let next = rows.last().filter(|_| full).map(|last| last.sequence);
    let entry = |row: audit::Entry| AuditEntry {
        sequence: row.sequence,
        at: row.at,
        actor: row.actor,
        action: row.action,
        subject: row.subject,
        detail: row.detail,
        hash: row.hash,
    };
    Ok(Json(AuditPage { entries: rows.into_iter().map(entry).collect(), next }))
}

/// Verifies the chain from its first entry to its last.
#[utoipa::path(get, path = "/api/v1/audit/verify", tag = "audit", operation_id = "verify_audit",
    responses((status = 200, description = "Whether it holds.", body = AuditVerdict)))]
async fn verify(State(common): State<Common>) -> Result<Json<AuditVerdict>, Problem> {
    let verdict = match audit::verify(&common.db).await {
        Ok(found) => AuditVerdict {
            holds: true,
            entries: Some(found.entries),
            head: Some(found.head),
            broken_at: None,
            why: None,
        },
        Err(StoreError::Broken { sequence, why }) => AuditVerdict {
            holds: false,
            entries: None,
            head: None,
            broken_at: Some(sequence),
            why: Some(why.to_owned()),
        },
        Err(other) => return Err(other.into()),
    };
    Ok(Json(verdict))
}
