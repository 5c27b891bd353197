//! A complete study goes out: all its images pass the gate, then the objects are put, then the manifest that makes a study of them. A study with an image that
//! must not leave is quarantined, and nothing of it is put.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use overread_deid::facts::{Stated, facts};
use overread_deid::{Gate, Left};
use overread_domain::{Clock, Millis, Uid};
use overread_store::audit::{self, Event};
use overread_store::jobs::{self, Job};
use overread_store::{Database, Handler, Trouble};
use overread_wire::{InstanceEntry, Link, LinkError, StudyManifest};
use sqlx::Row;

use crate::assemble::Outgoing;
use crate::departures;
use crate::describe::Attributes;
use crate::error::EdgeError;
use crate::filing::link_trouble;
use crate::outgoing::{Made, Passed, Quarantined, Received, Way};
use crate::rules::{ImageFacts, Matcher};
use crate::vault::{SealedObjects, Who};

/// Objects about which the service is asked at once.
const BATCH: usize = 16;

/// Does the `send` jobs.
pub struct Send<L> {
    /// The edge's database.
    pub database: Database,
    /// The edge's objects.
    pub objects: SealedObjects,
    /// The time.
    pub clock: Clock,
    /// The link.
    pub link: L,
    /// Everything that leaves goes through it.
    pub gate: Arc<Gate>,
    /// The rules: some send only what they match.
    pub rules: Matcher,
}

/// The kind of the jobs that send small studies.
pub(crate) const SEND: &str = "send";
/// The kind of those that send large ones: a line that takes hours for one of them lets small ones pass.
pub(crate) const SEND_LARGE: &str = "send-large";
/// Bytes from which on a study is large.
const LARGE: i64 = 64 << 20;

/// The lane of a study of so many bytes.
pub(crate) const fn lane(bytes: i64) -> &'static str {
    if bytes < LARGE { SEND } else { SEND_LARGE }
}

struct Study {
    pseudonym: Uid,
    version: i64,
    last_at: i64,
    images: Vec<Image>,
}

struct Image {
    sop_uid: String,
    series: String,
    object: String,
    facts: ImageFacts,
    who: Who,
}

impl<L: Link + 'static> Handler for Send<L> {
    fn run<'a>(
        &'a self,
        job: &'a Job,
    ) -> Pin<Box<dyn Future<Output = Result<(), Trouble>> + std::marker::Send + 'a>> {
        Box::pin(self.send(job))
    }
}

/// The first image that names another patient than one before it: two patients' images are not sent as one study.
fn of_another(images: &[Image]) -> Option<Quarantined> {
    let named = images.iter().find(|image| image.who.is_named())?;
    let place = images.iter().position(|image| image.who.is_another_than(&named.who))?;
    let reasons = vec![
        "it names another patient than an image before it; give each patient's images a study of their own"
            .into(),
    ];
    Some(Quarantined { image: place + 1, reasons })
}

impl<L: Link> Send<L> {
    async fn send(&self, job: &Job) -> Result<(), Trouble> {
        let outgoing: Outgoing = serde_json::from_value(job.payload.clone())
            .map_err(|e| Trouble::Never { why: format!("the job's payload: {e}") })?;
        let study = self.study(&job.key).await?;
        let Some(mut study) = study.filter(|s| s.version == i64::from(outgoing.version)) else {
            // A later version has its own job: this one has nothing to send any more.
            let mut tx = self.database.begin().await?;
            jobs::finish(&mut tx, job).await?;
            return Ok(Database::commit(tx).await?);
        };
        study.images.retain(|image| self.rules.sends(outgoing.program.as_deref(), &image.facts));
        if let Some(stranger) = of_another(&study.images) {
            return self.quarantine(job, &study, &stranger).await;
        }
        let received: Vec<Received> =
            study.images.iter().map(|i| Received { object: &i.object, series: &i.series }).collect();
        let way = Way { gate: &self.gate, objects: &self.objects };
        let mut made = match way.all(&received).await? {
            Passed::All(made) => made,
            Passed::Quarantined(image) => return self.quarantine(job, &study, &image).await,
        };
        if made.iter().any(|m| m.left.study != study.pseudonym) {
            return Err(Trouble::Never {
                why: "an image's study has another pseudonym than its study: has the key or the profile changed?".into(),
            });
        }
        // Known before they are sent: a result can be matched whatever happens in between.
        self.note_pseudonyms(&study.images, &made).await?;
        for batch in smallest_first(made.iter().map(|m| m.left.bytes)).chunks(BATCH) {
            self.put(&way, batch, &mut made, &received).await?;
        }
        let changes = departures::changes(made.iter().map(|m| &m.left));
        let entries: Vec<_> = made.into_iter().map(|m| entry(m.left)).collect();
        let manifest = manifest(&study, &outgoing, entries);
        self.note_departure(&job.key, &manifest, &changes).await?;
        match self.link.put_study(&manifest).await {
            // Forgotten there: nothing is left to send.
            Ok(()) | Err(LinkError::Gone { .. }) => {}
            Err(e) => return Err(link_trouble(&e)),
        }
        self.note(job, &manifest, &changes).await
    }

    async fn study(&self, id: &str) -> Result<Option<Study>, Trouble> {
        let doing = "reading a study";
        let query = || EdgeError::query(doing);
        let mut conn = self.database.read().await?;
        let row = sqlx::query("SELECT study_uid, pseudonym, version, last_at FROM studies WHERE id = $1")
            .bind(id.to_owned())
            .fetch_optional(&mut *conn)
            .await
            .map_err(query())?;
        let Some(row) = row else { return Ok(None) };
        let (study_uid, pseudonym): (String, String) =
            (row.try_get(0).map_err(query())?, row.try_get(1).map_err(query())?);
        let rows = sqlx::query(
            "SELECT sop_uid, series_uid, object, attributes FROM instances WHERE study_uid = $1 AND origin = 'received' AND frames > 0 ORDER BY received_at, sop_uid",
        )
        .bind(study_uid.clone())
        .fetch_all(&mut *conn)
        .await
        .map_err(query())?;
        let mut images = Vec::with_capacity(rows.len());
        for row in rows {
            let text = |column| row.try_get::<String, _>(column).map_err(query());
            let sop_uid = text(0)?;
            let attributes =
                self.objects.vault().open_text("instances.attributes", &sop_uid, text(3)?).await?;
            let known = serde_json::from_str::<Attributes>(&attributes).ok();
            let who = known.as_ref().map_or_else(
                || Who::new("", "", &study_uid),
                |attributes| Who::of_json(&attributes.dicom, &study_uid),
            );
            let facts = known.map(|attributes| attributes.facts).unwrap_or_default();
            images.push(Image { sop_uid, series: text(1)?, object: text(2)?, facts, who });
        }
        let pseudonym = Uid::parse(&pseudonym)
            .map_err(|e| Trouble::Never { why: format!("the study's pseudonym: {e}") })?;
        Ok(Some(Study {
            pseudonym,
            version: row.try_get(2).map_err(query())?,
            last_at: row.try_get(3).map_err(query())?,
            images,
        }))
    }

    /// Puts those of a few objects, named by their places, that the service lacks.
    async fn put(
        &self,
        way: &Way<'_>,
        batch: &[usize],
        made: &mut [Made],
        images: &[Received<'_>],
    ) -> Result<(), Trouble> {
        let hashes: Vec<_> = batch.iter().map(|place| made[*place].left.sha256.clone()).collect();
        let missing = self.link.missing(&hashes).await.map_err(|e| link_trouble(&e))?;
        for place in batch {
            let made = &mut made[*place];
            if missing.contains(&made.left.sha256) {
                let file = way.file(made, &images[*place]).await?;
                self.link.put_object(&made.left.sha256, &file).await.map_err(|e| link_trouble(&e))?;
            }
        }
        Ok(())
    }

    async fn note_pseudonyms(&self, images: &[Image], made: &[Made]) -> Result<(), Trouble> {
        let mut tx = self.database.begin().await?;
        for (image, made) in images.iter().zip(made) {
            sqlx::query("UPDATE instances SET pseudonym = $1 WHERE sop_uid = $2")
                .bind(made.left.instance.to_string())
                .bind(image.sop_uid.clone())
                .execute(&mut *tx)
                .await
                .map_err(EdgeError::query("noting a pseudonym"))?;
        }
        Ok(Database::commit(tx).await?)
    }

    /// Before it leaves: the answer may be there before this side has heard that it arrived.
    async fn note_departure(
        &self,
        study: &str,
        manifest: &StudyManifest,
        changes: &serde_json::Value,
    ) -> Result<(), Trouble> {
        let mut tx = self.database.begin().await?;
        departures::note(&mut tx, study, manifest, changes, self.clock.now()).await?;
        Ok(Database::commit(tx).await?)
    }

    /// Notes that a study stays here, why, and what a person can do.
    async fn quarantine(&self, job: &Job, study: &Study, image: &Quarantined) -> Result<(), Trouble> {
        let now = self.clock.now();
        let images = study.images.len();
        let reason = format!(
            "image {} of {images}, in the order in which they came: {}",
            image.image,
            image.reasons.join("; ")
        );
        let mut tx = self.database.begin().await?;
        jobs::finish(&mut tx, job).await?;
        let noted = sqlx::query(
            "UPDATE studies SET state = 'quarantined', reason = $1 WHERE id = $2 AND version = $3 AND state = 'complete'",
        )
        .bind(reason)
        .bind(job.key.clone())
        .bind(study.version)
        .execute(&mut *tx)
        .await
        .map_err(EdgeError::query("quarantining a study"))?;
        if noted.rows_affected() > 0 {
            let detail = serde_json::json!({ "version": study.version, "image": image.image, "images": images, "reasons": image.reasons });
            let event =
                Event { at: now, actor: "edge", action: "study.quarantined", subject: &job.key, detail };
            audit::append(&mut tx, &event).await?;
            tracing::warn!(
                study = job.key,
                "a study is quarantined; GET /api/v1/studies?state=quarantined tells why"
            );
        }
        Ok(Database::commit(tx).await?)
    }

    async fn note(
        &self,
        job: &Job,
        manifest: &StudyManifest,
        changes: &serde_json::Value,
    ) -> Result<(), Trouble> {
        let bytes: u64 = manifest.instances.iter().map(|i| i.bytes).sum();
        let now = self.clock.now();
        let mut tx = self.database.begin().await?;
        jobs::finish(&mut tx, job).await?;
        sqlx::query("UPDATE studies SET state = 'sent', sent_at = $1 WHERE id = $2 AND version = $3 AND state = 'complete'")
            .bind(now.0)
            .bind(job.key.clone())
            .bind(i64::from(manifest.version))
            .execute(&mut *tx)
            .await
            .map_err(EdgeError::query("noting that a study was sent"))?;
        let detail = serde_json::json!({ "version": manifest.version, "program": manifest.program_hint, "images": manifest.instances.len(), "bytes": bytes, "manifest": manifest.digest(), "changes": changes });
        audit::append(
            &mut tx,
            &Event { at: now, actor: "edge", action: "study.sent", subject: &job.key, detail },
        )
        .await?;
        Ok(Database::commit(tx).await?)
    }
}

/// The places of objects in the order in which they go: on a poor line as many images as can be are there soon.
fn smallest_first(bytes: impl Iterator<Item = u64>) -> Vec<usize> {
    let mut places: Vec<(u64, usize)> = bytes.zip(0..).collect();
    places.sort_unstable();
    places.into_iter().map(|(_, place)| place).collect()
}

fn entry(left: Left) -> InstanceEntry {
    InstanceEntry { instance: left.instance, series: left.series, sha256: left.sha256, bytes: left.bytes }
}

/// What crosses beside the objects: coded values only.
fn manifest(study: &Study, outgoing: &Outgoing, instances: Vec<InstanceEntry>) -> StudyManifest {
    let facts = facts(study.images.iter().map(|image| Stated {
        age_years: image.facts.age_years,
        sex: image.facts.sex,
        laterality: &image.facts.laterality,
        view: &image.facts.view,
    }));
    StudyManifest {
        wire: overread_wire::VERSION,
        study: study.pseudonym.clone(),
        version: outgoing.version,
        program_hint: outgoing.program.clone(),
        priority: outgoing.priority,
        age_band: facts.age_band,
        sex: facts.sex,
        laterality: facts.laterality,
        view: facts.view,
        complete_at: Millis(study.last_at),
        instances,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_study_has_a_lane_of_its_own() {
        assert_eq!((lane(0), lane(LARGE - 1), lane(LARGE)), (SEND, SEND, SEND_LARGE));
    }

    #[test]
    fn the_smallest_go_first_and_of_two_alike_the_earlier() {
        assert_eq!(smallest_first([30, 10, 20, 10].into_iter()), [1, 3, 2, 0]);
        assert!(smallest_first(std::iter::empty()).is_empty());
    }
}
