//! Programs: which pack reads for which name, and how its results are released.
//!
//! Name, pack and prevalence come from the configuration; the release mode lives in the database alone, starts as `shadow`, and changes only by a
//! person whose name goes into the audit log.

use std::sync::Arc;

use overread_domain::{Millis, Probability, ReleaseMode};
use overread_infer::{Pack, Standing};
use overread_read::Program;
use overread_store::{Database, StoreError, Tx, audit};
use sqlx::{AnyConnection, Row};

use crate::config::ProgramConfig;
use crate::error::{ServiceError, db, document};
use crate::validation::{Recorded, statement};

/// The programs of a service, in the order of the configuration.
#[derive(Clone)]
pub struct Programs {
    list: Arc<[Program]>,
}

/// How a program's results are released, and who said so.
#[derive(Clone, Debug, PartialEq)]
pub struct ModeRow {
    /// The mode.
    pub mode: ReleaseMode,
    /// When it was set.
    pub changed_at: Millis,
    /// By whom.
    pub changed_by: String,
    /// Why.
    pub reason: String,
    /// The validation on local cases that was recorded last.
    pub validation: Option<Recorded>,
}

/// A person's order to change how results are released.
#[derive(Clone, Copy, Debug)]
pub struct ModeOrder<'a> {
    /// The mode to be.
    pub mode: ReleaseMode,
    /// Why.
    pub reason: &'a str,
    /// Who says so.
    pub actor: &'a str,
    /// A record of a validation on local cases (`overread.validation/1`), the file's text as it is.
    pub validation: Option<&'a str>,
}

/// Why a mode was not set.
#[derive(Debug, thiserror::Error)]
pub enum ModeError {
    /// There is no such program.
    #[error("there is no program of that name; GET /api/v1/programs lists them")]
    NoProgram,
    /// The pack's terms forbid it.
    #[error(
        "pack {pack} is for research only: its program starts and stays in shadow, and nothing that it finds leaves the service"
    )]
    ResearchOnly {
        /// The pack.
        pack: String,
    },
    /// There is no local validation.
    #[error(
        "review-uncertain lets results out that nobody reads, so it needs a recorded local validation of program {program}, edition {edition}, at \
         this site; none is recorded. Make one with overread validate and give it with --validation, or use review-all: a person reads every study"
    )]
    NotValidated {
        /// The program.
        program: String,
        /// The first characters of the edition that reads for it.
        edition: String,
    },
    /// The record of a validation does not count here.
    #[error("validation: {0}")]
    Record(String),
    /// The database failed.
    #[error("the mode could not be set")]
    Store(#[from] StoreError),
}

impl Programs {
    /// The programs of a configuration, else one for each pack that is trusted and not for research only.
    ///
    /// # Errors
    /// A program's pack is not there, or there is no program at all.
    pub fn configured(config: &[ProgramConfig], packs: &[Arc<Pack>]) -> Result<Self, ServiceError> {
        let list: Vec<Program> = if config.is_empty() {
            let usable = |p: &&Arc<Pack>| {
                matches!(p.standing, Standing::Trusted { .. }) && !p.manifest.terms.research_only
            };
            packs.iter().filter(usable).map(|p| Program::of_pack(Arc::clone(p))).collect()
        } else {
            config.iter().map(|c| configured(c, packs)).collect::<Result<_, _>>()?
        };
        if list.is_empty() { Err(ServiceError::NoProgram) } else { Ok(Self { list: list.into() }) }
    }

    /// All of them.
    pub fn all(&self) -> &[Program] {
        &self.list
    }

    /// One by its name.
    pub fn get(&self, name: &str) -> Option<&Program> {
        self.list.iter().find(|p| p.name == name)
    }

    /// Puts new programs down in shadow, and takes those back to it whose pack is by now for research only.
    pub(crate) async fn register(&self, database: &Database, now: Millis) -> Result<(), StoreError> {
        let mut tx = database.begin().await?;
        for program in self.all() {
            sqlx::query(
                "INSERT INTO programs (name, mode, changed_at, changed_by, reason) VALUES ($1, 'shadow', $2, 'service', 'every program starts in shadow')
                 ON CONFLICT (name) DO NOTHING",
            )
            .bind(program.name.clone())
            .bind(now.0)
            .execute(&mut *tx)
            .await
            .map_err(db("registering a program"))?;
            let row = row_of(&mut tx, &program.name).await?;
            if let Some(reason) = must_be_shadow(program, &row) {
                let order =
                    ModeOrder { mode: ReleaseMode::Shadow, reason, actor: "service", validation: None };
                write_mode(&mut tx, program, &row, &order, None, now).await?;
            }
        }
        Database::commit(tx).await
    }

    /// Sets a program's release mode. Readings that were made before keep theirs.
    ///
    /// # Errors
    /// [`ModeError`] says why not.
    pub async fn set_mode(
        &self,
        database: &Database,
        name: &str,
        order: &ModeOrder<'_>,
        now: Millis,
    ) -> Result<ModeRow, ModeError> {
        let program = self.get(name).ok_or(ModeError::NoProgram)?;
        let manifest = &program.pack.manifest;
        if manifest.terms.research_only && order.mode != ReleaseMode::Shadow {
            return Err(ModeError::ResearchOnly { pack: manifest.id.clone() });
        }
        let given = order.validation.map(|text| Recorded::accept(text, program)).transpose();
        let given = given.map_err(ModeError::Record)?;
        let mut tx = database.begin().await?;
        let before = row_of(&mut tx, name).await?;
        let validated = given.as_ref().or(before.validation.as_ref()).is_some_and(|r| r.is_of(program));
        if order.mode == ReleaseMode::ReviewUncertain && !validated {
            let edition = program.pack.edition.short().to_owned();
            return Err(ModeError::NotValidated { program: name.to_owned(), edition });
        }
        if before.mode != order.mode || given.is_some() {
            write_mode(&mut tx, program, &before, order, given.as_ref(), now).await?;
        }
        Database::commit(tx).await?;
        Ok(mode_row(database, name).await?)
    }
}

fn configured(config: &ProgramConfig, packs: &[Arc<Pack>]) -> Result<Program, ServiceError> {
    let pack = packs.iter().find(|p| p.manifest.id == config.pack).ok_or_else(|| {
        let found: Vec<&str> = packs.iter().map(|p| p.manifest.id.as_str()).collect();
        ServiceError::NoPack {
            program: config.name.clone(),
            pack: config.pack.clone(),
            found: if found.is_empty() { "none".into() } else { found.join(", ") },
        }
    })?;
    Ok(Program {
        name: config.name.clone(),
        pack: Arc::clone(pack),
        prevalence: config.prevalence.and_then(|p| Probability::new(p).ok()),
    })
}

/// Why a program must not release, whatever a person said before.
fn must_be_shadow(program: &Program, row: &ModeRow) -> Option<&'static str> {
    let validated = row.validation.as_ref().is_some_and(|r| r.is_of(program));
    if row.mode == ReleaseMode::Shadow {
        None
    } else if program.pack.manifest.terms.research_only {
        Some("its pack is for research only")
    } else if row.mode == ReleaseMode::ReviewUncertain && !validated {
        Some("the edition that reads by now was not validated at this site")
    } else {
        None
    }
}

/// Sets the mode, and keeps a validation that came with it.
async fn write_mode(
    tx: &mut Tx,
    program: &Program,
    before: &ModeRow,
    order: &ModeOrder<'_>,
    given: Option<&Recorded>,
    now: Millis,
) -> Result<(), StoreError> {
    let standing = given.or(before.validation.as_ref());
    let kept = standing.map(serde_json::to_string).transpose().map_err(document("a validation"))?;
    sqlx::query(
        "UPDATE programs SET mode = $1, changed_at = $2, changed_by = $3, reason = $4, validation = $5 WHERE name = $6",
    )
    .bind(order.mode.as_str())
    .bind(now.0)
    .bind(order.actor.to_owned())
    .bind(order.reason.to_owned())
    .bind(kept)
    .bind(program.name.clone())
    .execute(&mut **tx)
    .await
    .map_err(db("setting a program's mode"))?;
    let detail = serde_json::json!({
        "from": before.mode.as_str(),
        "to": order.mode.as_str(),
        "reason": order.reason,
        "standing": statement(standing, program),
        "validation": given,
    });
    let (actor, subject) = (order.actor, program.name.as_str());
    audit::append(tx, &audit::Event { at: now, actor, action: "program.mode", subject, detail }).await
}

/// The mode in force, within the transaction that acts on it; shadow for a program that was never registered.
pub(crate) async fn mode_of(tx: &mut Tx, name: &str) -> Result<ReleaseMode, StoreError> {
    let doing = db("reading a program's mode");
    let row = sqlx::query("SELECT mode FROM programs WHERE name = $1")
        .bind(name.to_owned())
        .fetch_optional(&mut **tx)
        .await
        .map_err(&doing)?;
    let word: Option<String> = row.map(|r| r.try_get(0)).transpose().map_err(&doing)?;
    // A word that this version does not know releases nothing.
    Ok(word.and_then(|w| ReleaseMode::parse(&w)).unwrap_or_default())
}

/// A program's mode and who set it.
pub(crate) async fn mode_row(database: &Database, name: &str) -> Result<ModeRow, StoreError> {
    let mut conn = database.read().await?;
    row_of(&mut conn, name).await
}

async fn row_of(conn: &mut AnyConnection, name: &str) -> Result<ModeRow, StoreError> {
    let doing = db("reading a program's mode");
    let row =
        sqlx::query("SELECT mode, changed_at, changed_by, reason, validation FROM programs WHERE name = $1")
            .bind(name.to_owned())
            .fetch_one(conn)
            .await
            .map_err(&doing)?;
    let read = || -> Result<ModeRow, sqlx::Error> {
        let word: String = row.try_get(0)?;
        let validation: Option<String> = row.try_get(4)?;
        Ok(ModeRow {
            mode: ReleaseMode::parse(&word).unwrap_or_default(),
            changed_at: Millis(row.try_get(1)?),
            changed_by: row.try_get(2)?,
            reason: row.try_get(3)?,
            // What this version cannot read validates nothing.
            validation: validation.and_then(|text| serde_json::from_str(&text).ok()),
        })
    };
    read().map_err(&doing)
}
