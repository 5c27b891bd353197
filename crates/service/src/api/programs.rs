//! Programs to look at, and how their results are released.

use std::sync::Arc;

use axum::extract::State;
use overread_domain::ReleaseMode;
use overread_http::extract::{Json, Path};
use overread_http::{Actor, Problem};
use overread_read::Program;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::programs::{ModeError, ModeOrder, ModeRow, mode_row};
use crate::service::{Service, Told};
use crate::validation::{Recorded, statement};

/// Characters of a reason.
const REASON: usize = 500;

/// A program.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ProgramView {
    /// Its name.
    pub name: String,
    /// The pack that reads for it.
    pub pack: PackView,
    /// The prevalence that probabilities are stated for; the pack's reference prevalence if none.
    pub prevalence: Option<f64>,
    /// How its results are released.
    pub mode: Mode,
    /// When that was set, in milliseconds since 1970.
    pub changed_at: i64,
    /// By whom.
    pub changed_by: String,
    /// Why.
    pub reason: String,
    /// Whether and on what it was validated at this site, in words.
    pub validated: String,
    /// The validation on local cases that was recorded last; null if none was.
    pub validation: Option<Recorded>,
}

/// A pack.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct PackView {
    /// Its id.
    pub id: String,
    /// What it is called.
    pub title: String,
    /// Its makers' version.
    pub version: String,
    /// SHA-256 that names the edition.
    pub edition: String,
    /// Whether it may only be used for research: then nothing is ever released.
    pub research_only: bool,
}

/// All programs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ProgramList {
    /// The programs, in the order of the configuration.
    pub programs: Vec<ProgramView>,
}

/// A release mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// Results are kept; nothing is sent.
    Shadow,
    /// Every result is sent, unverified, and a person reads every study.
    ReviewAll,
    /// A person reads what the machine is unsure of.
    ReviewUncertain,
}

/// A change of mode.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ModeChange {
    /// The mode to be.
    pub mode: Mode,
    /// Why, for the audit log: 1 to 500 characters, no patient's name.
    #[schema(min_length = 1, max_length = 500)]
    pub reason: String,
    /// The record of a validation on local cases: the text of validation.json as `overread validate` wrote it, so that its SHA-256 is the file's. It must be
    /// of this program and of the edition that reads.
    #[serde(default)]
    pub validation: Option<String>,
}

impl From<Mode> for ReleaseMode {
    fn from(mode: Mode) -> Self {
        match mode {
            Mode::Shadow => Self::Shadow,
            Mode::ReviewAll => Self::ReviewAll,
            Mode::ReviewUncertain => Self::ReviewUncertain,
        }
    }
}

impl From<ReleaseMode> for Mode {
    fn from(mode: ReleaseMode) -> Self {
        match mode {
            ReleaseMode::Shadow => Self::Shadow,
            ReleaseMode::ReviewAll => Self::ReviewAll,
            ReleaseMode::ReviewUncertain => Self::ReviewUncertain,
        }
    }
}

fn view(program: &Program, row: ModeRow) -> ProgramView {
    let pack = &program.pack;
    ProgramView {
        name: program.name.clone(),
        pack: PackView {
            id: pack.manifest.id.clone(),
            title: pack.manifest.title.clone(),
            version: pack.version.clone(),
            edition: pack.edition.to_string(),
            research_only: pack.manifest.terms.research_only,
        },
        prevalence: program.prevalence.map(f64::from),
        mode: row.mode.into(),
        changed_at: row.changed_at.0,
        changed_by: row.changed_by,
        reason: row.reason,
        validated: statement(row.validation.as_ref(), program),
        validation: row.validation,
    }
}

/// The programs, and how their results are released.
#[utoipa::path(get, path = "/api/v1/programs", tag = "programs", operation_id = "list_programs",
    responses((status = 200, description = "The programs.", body = ProgramList)))]
pub async fn list(State(service): State<Arc<Service>>) -> Result<Json<ProgramList>, Problem> {
    let mut programs = Vec::new();
    for program in service.programs.all() {
        programs.push(view(program, mode_row(&service.database, &program.name).await?));
    }
    Ok(Json(ProgramList { programs }))
}

/// Sets how a program's results are released. Results that were read in shadow stay where they are.
#[utoipa::path(put, path = "/api/v1/programs/{name}/mode", tag = "programs", operation_id = "set_program_mode",
    params(("name" = String, Path, description = "The program.", max_length = 64)), request_body = ModeChange,
    responses((status = 200, description = "The program as it is now.", body = ProgramView),
              (status = 409, description = "The mode is not allowed for this program.", body = Problem, content_type = "application/problem+json")))]
pub async fn set_mode(
    State(service): State<Arc<Service>>,
    actor: Actor,
    Path(name): Path<String>,
    Json(change): Json<ModeChange>,
) -> Result<Json<ProgramView>, Problem> {
    let reason = change.reason.trim();
    if reason.is_empty() || reason.chars().count() > REASON || reason.contains('\0') {
        return Err(Problem::unprocessable(format!("reason: 1 to {REASON} characters, for the audit log")));
    }
    let program = service.programs.get(&name).ok_or_else(|| ModeError::NoProgram.into_problem())?;
    let validation = change.validation.as_deref();
    let order = ModeOrder { mode: change.mode.into(), reason, actor: &actor.name, validation };
    let set = service.programs.set_mode(&service.database, &program.name, &order, service.clock.now());
    let row = set.await.map_err(ModeError::into_problem)?;
    let mode = row.mode.as_str();
    service.tell(Told::Mode { program: program.name.clone(), mode });
    Ok(Json(view(program, row)))
}

impl ModeError {
    fn into_problem(self) -> Problem {
        match self {
            Self::Store(e) => e.into(),
            Self::NoProgram => Problem::not_found(self.to_string()),
            Self::Record(_) => Problem::unprocessable(self.to_string()),
            Self::ResearchOnly { .. } | Self::NotValidated { .. } => Problem::conflict(self.to_string()),
        }
    }
}
