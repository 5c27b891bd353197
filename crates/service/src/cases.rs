//! Cases: the rows, and the one way in which their state changes.

use overread_domain::{CaseEvent, CaseState, Millis};
use overread_store::{StoreError, Tx};
use overread_wire::StudyManifest;
use sqlx::Row;
use sqlx::any::AnyRow;

use crate::error::db;

/// A case as a transaction sees it.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    pub id: i64,
    /// Its program; empty while none was chosen.
    pub program: String,
    /// Releases so far.
    pub case_version: i64,
    pub state: CaseState,
}

/// The next number of a kind, its counter locked until the commit.
pub(crate) async fn next(tx: &mut Tx, kind: &'static str) -> Result<i64, StoreError> {
    let doing = db("taking a number");
    sqlx::query("UPDATE counters SET last = last + 1 WHERE name = $1 RETURNING last")
        .bind(kind)
        .fetch_one(&mut **tx)
        .await
        .and_then(|row| row.try_get(0))
        .map_err(doing)
}

/// The cases of a study, in the order they were made.
pub(crate) async fn of_study(tx: &mut Tx, study: i64) -> Result<Vec<Case>, StoreError> {
    let doing = db("reading cases");
    let rows =
        sqlx::query("SELECT id, program, case_version, state FROM cases WHERE study_id = $1 ORDER BY id")
            .bind(study)
            .fetch_all(&mut **tx)
            .await
            .map_err(&doing)?;
    rows.iter().map(case).collect::<Result<_, _>>().map_err(&doing)
}

fn case(row: &AnyRow) -> Result<Case, sqlx::Error> {
    Ok(Case {
        id: row.try_get(0)?,
        program: row.try_get(1)?,
        case_version: row.try_get(2)?,
        state: state(&row.try_get::<String, _>(3)?)?,
    })
}

/// The state of a column.
pub(crate) fn state(word: &str) -> Result<CaseState, sqlx::Error> {
    CaseState::parse(word).ok_or_else(|| sqlx::Error::Decode(format!("{word} is no state of a case").into()))
}

/// Makes a case.
pub(crate) async fn insert(
    tx: &mut Tx,
    client: &str,
    study: i64,
    program: &str,
    priority: i64,
    now: Millis,
) -> Result<Case, StoreError> {
    let id = next(tx, "case").await?;
    sqlx::query(
        "INSERT INTO cases (id, client, study_id, program, case_version, state, detail, priority, created_at, changed_at)
         VALUES ($1, $2, $3, $4, 0, 'received', '', $5, $6, $6)",
    )
    .bind(id)
    .bind(client.to_owned())
    .bind(study)
    .bind(program.to_owned())
    .bind(priority)
    .bind(now.0)
    .execute(&mut **tx)
    .await
    .map_err(db("making a case"))?;
    Ok(Case { id, program: program.to_owned(), case_version: 0, state: CaseState::Received })
}

/// Lets an event happen to a case; `detail` says why, where the state alone does not.
///
/// # Errors
/// The event cannot happen in the case's state, or the database failed.
pub(crate) async fn advance(
    tx: &mut Tx,
    case: &mut Case,
    event: CaseEvent,
    detail: &str,
    now: Millis,
) -> Result<(), StoreError> {
    let doing = db("moving a case on");
    let next = case.state.after(event).map_err(|e| doing(sqlx::Error::Encode(Box::new(e))))?;
    let version = match event {
        CaseEvent::Released | CaseEvent::Amended => case.case_version + 1,
        _ => case.case_version,
    };
    sqlx::query("UPDATE cases SET state = $1, detail = $2, case_version = $3, changed_at = $4 WHERE id = $5")
        .bind(next.as_str())
        .bind(detail.to_owned())
        .bind(version)
        .bind(now.0)
        .bind(case.id)
        .execute(&mut **tx)
        .await
        .map_err(&doing)?;
    (case.state, case.case_version) = (next, version);
    Ok(())
}

/// Gives a case that has no program yet its program.
pub(crate) async fn name(tx: &mut Tx, case: &mut Case, program: &str) -> Result<(), StoreError> {
    sqlx::query("UPDATE cases SET program = $1 WHERE id = $2")
        .bind(program.to_owned())
        .bind(case.id)
        .execute(&mut **tx)
        .await
        .map_err(db("naming a case's program"))?;
    case.program = program.to_owned();
    Ok(())
}

/// A new version of a study: its cases wait again, and one is made where there is none yet, so that every study can be seen from the
/// first moment.
pub(crate) async fn reopen(
    tx: &mut Tx,
    client: &str,
    study: i64,
    manifest: &StudyManifest,
    now: Millis,
) -> Result<(), StoreError> {
    let priority = manifest.priority.rank();
    let mut known = of_study(tx, study).await?;
    for case in &mut known {
        advance(tx, case, CaseEvent::Reopened, "", now).await?;
        sqlx::query("UPDATE cases SET priority = $1 WHERE id = $2")
            .bind(priority)
            .bind(case.id)
            .execute(&mut **tx)
            .await
            .map_err(db("reopening a case"))?;
    }
    let hint = manifest.program_hint.as_deref().unwrap_or("");
    let there = if hint.is_empty() { !known.is_empty() } else { known.iter().any(|c| c.program == hint) };
    if !there {
        // The case that has no program yet becomes the hint's.
        match known.iter().find(|c| c.program.is_empty()) {
            Some(unnamed) => name(tx, &mut unnamed.clone(), hint).await?,
            None => drop(insert(tx, client, study, hint, priority, now).await?),
        }
    }
    Ok(())
}
