//! The job `read`: a study's newest version → its programs → readings, and results where the program's mode releases them.

use std::collections::HashSet;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use overread_domain::CaseEvent;
use overread_read::{Overrides, Program};
use overread_store::jobs::{self, Job};
use overread_store::{Database, Handler, LocalObject, StoreError, Trouble};
use overread_wire::StudyManifest;
use sqlx::Row;

use crate::cases;
use crate::error::db;
use crate::gate::Gate;
use crate::intake::{self, ObjectKind};
use crate::reading::{Answers, ReadFailure, ReadStudy, StudyToRead};
use crate::release::{Conclusion, conclude};
use crate::service::Service;

/// The kind of the job that reads a study. Its key is the study's number.
pub const READ: &str = "read";

/// How soon a job comes back whose turn has not come.
const TURN: Duration = Duration::from_millis(250);

/// Reads studies.
pub(crate) struct ReadJob {
    service: Arc<Service>,
    reader: Arc<dyn ReadStudy>,
    gate: Gate,
}

impl Handler for ReadJob {
    fn run<'a>(&'a self, job: &'a Job) -> Pin<Box<dyn Future<Output = Result<(), Trouble>> + Send + 'a>> {
        Box::pin(self.attempt(job))
    }
}

impl ReadJob {
    pub(crate) fn new(service: Arc<Service>, reader: Arc<dyn ReadStudy>) -> Self {
        Self { service, reader, gate: Gate::default() }
    }

    async fn attempt(&self, job: &Job) -> Result<(), Trouble> {
        let Some(_pass) = self.gate.enter(job.id, job.attempts > 1) else {
            return Err(Trouble::NotNow { wait: TURN });
        };
        let never = |why: &str| Trouble::Never { why: why.into() };
        let study: i64 = job.key.parse().map_err(|_| never("the job's key is no number of a study"))?;
        let newest = intake::newest(&self.service.database, study).await?;
        let Some((client, manifest)) = newest else {
            // It was forgotten.
            let mut tx = self.service.database.begin().await?;
            jobs::finish(&mut tx, job).await?;
            return Ok(Database::commit(tx).await?);
        };
        let chosen = self.choose(&manifest)?;
        let programs = self.begin(study, &manifest, chosen).await?;
        let answers = if programs.is_empty() {
            Answers { answers: vec![], lost: vec![] }
        } else {
            self.read(&client, &manifest, programs).await?
        };
        let conclusion = Conclusion { client: &client, study, manifest: &manifest, answers };
        conclude(&self.service, job, conclusion).await
    }

    /// The program that the edge names, else all.
    fn choose(&self, manifest: &StudyManifest) -> Result<Vec<Program>, Trouble> {
        let Some(hint) = &manifest.program_hint else { return Ok(self.service.programs.all().to_vec()) };
        let program = self.service.programs.get(hint).cloned();
        program.map(|p| vec![p]).ok_or_else(|| Trouble::Never {
            why: format!(
                "the edge asks for program {hint}, which this service does not have; add [[service.program]] with name = \"{hint}\" and its pack, \
                 restart, and requeue this job; or correct the edge's rule"
            ),
        })
    }

    /// Leaves out the programs whose edition has read this version already, and writes down that the others read.
    async fn begin(
        &self,
        study: i64,
        manifest: &StudyManifest,
        mut programs: Vec<Program>,
    ) -> Result<Vec<Program>, StoreError> {
        let doing = db("looking for readings");
        let now = self.service.clock.now();
        let mut tx = self.service.database.begin().await?;
        let rows = sqlx::query(
            "SELECT c.program, r.edition FROM readings r JOIN cases c ON c.id = r.case_id WHERE c.study_id = $1 AND r.study_version = $2",
        )
        .bind(study)
        .bind(i64::from(manifest.version))
        .fetch_all(&mut *tx)
        .await
        .map_err(&doing)?;
        let read = |row: &sqlx::any::AnyRow| Ok((row.try_get(0)?, row.try_get(1)?));
        let done: HashSet<(String, String)> =
            rows.iter().map(read).collect::<Result<_, sqlx::Error>>().map_err(&doing)?;
        let is_done = |p: &Program| done.contains(&(p.name.clone(), p.pack.edition.0.clone()));
        let finished: HashSet<String> =
            programs.iter().filter(|p| is_done(p)).map(|p| p.name.clone()).collect();
        programs.retain(|p| !is_done(p));
        if !programs.is_empty() {
            for case in &mut cases::of_study(&mut tx, study).await? {
                if !finished.contains(&case.program) {
                    cases::advance(&mut tx, case, CaseEvent::Started, "", now).await?;
                }
            }
        }
        Database::commit(tx).await?;
        Ok(programs)
    }

    async fn read(
        &self,
        client: &str,
        manifest: &StudyManifest,
        programs: Vec<Program>,
    ) -> Result<Answers, Trouble> {
        let mut files: Vec<LocalObject> = Vec::with_capacity(manifest.instances.len());
        let hashes: Vec<_> = manifest.instances.iter().map(|i| i.sha256.clone()).collect();
        let places = intake::places(&self.service.database, client, ObjectKind::Image, &hashes).await?;
        for hash in &hashes {
            // One that is not here was forgotten this moment: the next attempt finds no study.
            let gone = || Trouble::Failed { why: "an object of the study is not here".into() };
            files.push(self.service.objects.local(places.get(hash.as_str()).ok_or_else(gone)?).await?);
        }
        let study = StudyToRead {
            uid: manifest.study.clone(),
            files: files.iter().map(|f| f.path().to_owned()).collect(),
            overrides: overrides(manifest),
            programs,
            named: manifest.program_hint.is_some(),
        };
        self.reader.read(study).await.map_err(|failure| match failure {
            ReadFailure::Closed => Trouble::Later { why: failure.to_string() },
            ReadFailure::Panicked => Trouble::Failed { why: failure.to_string() },
        })
    }
}

fn overrides(manifest: &StudyManifest) -> Overrides {
    use overread_domain::Laterality::{Both, Left, Right, Unpaired};
    let side = |l| match l {
        Left => "L",
        Right => "R",
        Both => "B",
        Unpaired => "U",
    };
    Overrides {
        age_years: manifest.age_band.map(|band| band.middle_years()),
        sex: manifest.sex,
        view: manifest.view.clone(),
        laterality: manifest.laterality.map(|l| side(l).to_owned()),
    }
}
