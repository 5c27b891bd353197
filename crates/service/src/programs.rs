//! Programs: which pack reads for which name, and how its results are released.
//!
//! Name, pack and prevalence come from the configuration; the release mode lives in the database alone, starts as `shadow`, and changes only by a
//! person whose name goes into the audit log.

use std::sync::Arc;

use overread_domain::{Millis, Probability, ReleaseMode};
use overread_infer::{Pack, Standing};
use overread_read::Program;
use overread_store::{Database, StoreError, Tx, audit};
use sqlx::Row;

use crate::config::ProgramConfig;
use crate::error::{ServiceError, db};

/// The programs of a service, in the order of the configuration.
#[derive(Clone)]
pub struct Programs {
    list: Arc<[Program]>,
}

/// How a program's results are released, and who said so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModeRow {
    /// The mode.
    pub mode: ReleaseMode,
    /// When it was set.
    pub changed_at: Millis,
    /// By whom.
    pub changed_by: String,
    /// Why.
    pub reason: String,
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
         this site; none is recorded. Use review-all: a person reads every study"
    )]
    NotValidated {
        /// The program.
        program: String,
        /// The first characters of the edition that reads for it.
        edition: String,
    },
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
            let before = mode_of(&mut tx, &program.name).await?;
            if program.pack.manifest.terms.research_only && before != ReleaseMode::Shadow {
                let reason = "its pack is for research only";
                write_mode(&mut tx, &program.name, before, ReleaseMode::Shadow, reason, "service", now)
                    .await?;
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
        mode: ReleaseMode,
        reason: &str,
        actor: &str,
        now: Millis,
    ) -> Result<ModeRow, ModeError> {
        let program = self.get(name).ok_or(ModeError::NoProgram)?;
        let manifest = &program.pack.manifest;
        if manifest.terms.research_only && mode != ReleaseMode::Shadow {
            return Err(ModeError::ResearchOnly { pack: manifest.id.clone() });
        }
        // A validation cannot be recorded yet, so there is none to be looked up.
        if mode == ReleaseMode::ReviewUncertain {
            let edition = program.pack.edition.short().to_owned();
            return Err(ModeError::NotValidated { program: name.to_owned(), edition });
        }
        let mut tx = database.begin().await?;
        let before = mode_of(&mut tx, name).await?;
        if before != mode {
            write_mode(&mut tx, name, before, mode, reason, actor, now).await?;
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

async fn write_mode(
    tx: &mut Tx,
    name: &str,
    before: ReleaseMode,
    mode: ReleaseMode,
    reason: &str,
    actor: &str,
    now: Millis,
) -> Result<(), StoreError> {
    sqlx::query(
        "UPDATE programs SET mode = $1, changed_at = $2, changed_by = $3, reason = $4 WHERE name = $5",
    )
    .bind(mode.as_str())
    .bind(now.0)
    .bind(actor.to_owned())
    .bind(reason.to_owned())
    .bind(name.to_owned())
    .execute(&mut **tx)
    .await
    .map_err(db("setting a program's mode"))?;
    let detail =
        serde_json::json!({ "from": before.as_str(), "to": mode.as_str(), "reason": reason.to_owned() });
    let event = audit::Event { at: now, actor, action: "program.mode", subject: name, detail };
    audit::append(tx, &event).await
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
    let doing = db("reading a program's mode");
    let mut conn = database.read().await?;
    let row = sqlx::query("SELECT mode, changed_at, changed_by, reason FROM programs WHERE name = $1")
        .bind(name.to_owned())
        .fetch_one(&mut *conn)
        .await
        .map_err(&doing)?;
    let read = || -> Result<ModeRow, sqlx::Error> {
        let word: String = row.try_get(0)?;
        Ok(ModeRow {
            mode: ReleaseMode::parse(&word).unwrap_or_default(),
            changed_at: Millis(row.try_get(1)?),
            changed_by: row.try_get(2)?,
            reason: row.try_get(3)?,
        })
    };
    read().map_err(&doing)
}
