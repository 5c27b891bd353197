//! What all parts of a service share.

use std::sync::Arc;

use overread_domain::Clock;
use overread_http::{Common, Problem};
use overread_infer::Pack;
use overread_store::{Database, Objects};
use tokio::sync::{Notify, watch};

use crate::authority::Authority;
use crate::config::{Config, Limits};
use crate::enrolment::Attempts;
use crate::error::ServiceError;
use crate::forget;
use crate::meter;
use crate::programs::Programs;
use crate::schema::MIGRATIONS;
use crate::upload::Uploads;

/// Something that happened, for whoever looks on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    /// A case was read and kept.
    Read { case: i64, program: String },
    /// A case's result was released.
    Released { case: i64, program: String, case_version: i64 },
    /// A job is dead.
    Dead { job: i64, study: i64 },
    /// A program's release mode was changed.
    Mode { program: String, mode: &'static str },
}

/// What those who wait for results watch.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Bell {
    /// How many results this process has released.
    pub(crate) rung: u64,
    /// The service ends: nobody waits any longer.
    pub(crate) closing: bool,
}

/// An open service: its stores, its programs, and who is to be told.
pub struct Service {
    /// Rows.
    pub database: Database,
    /// Bytes.
    pub objects: Objects,
    /// The time.
    pub clock: Clock,
    /// What reads.
    pub programs: Programs,
    /// What an object may cost.
    pub limits: Limits,
    /// What the shared routes work on: events, metrics, the runner's wake-up.
    pub common: Common,
    /// Wakes whoever waits for results.
    pub(crate) bell: watch::Sender<Bell>,
    /// Objects that are on their way in.
    pub(crate) uploads: Uploads,
    /// Attempts to enrol.
    pub(crate) attempts: Attempts,
    /// Signs certificates; none where no door for enrolled edges is configured.
    pub(crate) authority: Option<Authority>,
}

impl Service {
    /// Opens the stores, brings the tables up to date and puts new programs down in shadow.
    ///
    /// # Errors
    /// [`ServiceError`] names the key of the configuration, or what cannot be opened.
    pub async fn open(config: &Config, packs: &[Arc<Pack>], clock: Clock) -> Result<Self, ServiceError> {
        config.check()?;
        let programs = Programs::configured(&config.programs, packs)?;
        let database = Database::open(&config.database_url(), "service", MIGRATIONS).await?;
        let objects = Objects::open(&config.objects_url(), &config.data.join("staging")).await?;
        programs.register(&database, clock.now()).await?;
        forget::index(&database).await?;
        let authority =
            config.link.bind.map(|_| Authority::load_or_create(&config.link_folder())).transpose()?;
        let uploads = Uploads::new(objects.staging());
        let common = Common::new(database.clone(), clock.clone(), Arc::new(Notify::new()));
        Ok(Self {
            database,
            objects,
            clock,
            programs,
            limits: config.limits,
            common,
            bell: watch::Sender::new(Bell::default()),
            uploads,
            attempts: Attempts::default(),
            authority,
        })
    }

    /// The authority of the door for enrolled edges.
    pub(crate) fn authority(&self) -> Result<&Authority, Problem> {
        let none = std::io::Error::other("there is no authority: service.link.bind is not set");
        self.authority.as_ref().ok_or_else(|| Problem::internal(&none))
    }

    /// Answers whoever waits for results, because the service ends.
    pub fn close(&self) {
        self.bell.send_modify(|bell| bell.closing = true);
    }

    /// Tells whoever looks on, and whoever waits for results.
    pub(crate) fn tell(&self, told: Told) {
        match &told {
            Told::Released { program, .. } => {
                meter::released(program);
                self.bell.send_modify(|bell| bell.rung += 1);
            }
            Told::Dead { .. } => meter::dead(),
            Told::Read { .. } | Told::Mode { .. } => {}
        }
        let (name, data) = told.event();
        self.common.events.tell(name, self.clock.now(), data);
    }
}

impl Told {
    /// The event's name and what it says: our own numbers.
    fn event(self) -> (&'static str, serde_json::Value) {
        use serde_json::json;
        match self {
            Self::Read { case, program } => ("case.read", json!({ "case": case, "program": program })),
            Self::Released { case, program, case_version } => {
                let data = json!({ "case": case, "program": program, "case_version": case_version });
                ("case.released", data)
            }
            Self::Dead { job, study } => ("job.dead", json!({ "job": job, "kind": "read", "study": study })),
            Self::Mode { program, mode } => ("program.mode", json!({ "program": program, "mode": mode })),
        }
    }
}
