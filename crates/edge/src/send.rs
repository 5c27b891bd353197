//! A complete study goes out: pseudonymous objects first, then the manifest that makes a study of them.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use overread_deid::facts::{Stated, facts};
use overread_deid::{Pseudonymiser, Pseudonymous};
use overread_dicom::read::Limits;
use overread_domain::{Clock, Millis, Uid};
use overread_store::audit::{self, Event};
use overread_store::jobs::{self, Job};
use overread_store::{Database, Handler, ObjectKey, Trouble};
use overread_wire::{InstanceEntry, Link, LinkError, StudyManifest};
use sqlx::Row;

use crate::assemble::Outgoing;
use crate::departures;
use crate::describe::Attributes;
use crate::error::{EdgeError, sentence};
use crate::filing::link_trouble;
use crate::rules::{ImageFacts, Matcher};
use crate::vault::SealedObjects;

/// Objects that are pseudonymised before the next are: what lies in staging stays bounded.
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
    /// Makes pseudonymous objects.
    pub pseudonymiser: Arc<Pseudonymiser>,
    /// What a file may cost.
    pub limits: Limits,
    /// Whether images go out that say that their pixels tell who the patient is.
    pub allow_burned_in: bool,
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
    object: String,
    facts: ImageFacts,
    bytes: i64,
    /// Its place in the order of arrival.
    arrival: usize,
}

/// Entries of the manifest as the images came, whatever the order in which they were sent.
fn by_arrival(images: &[Image], entries: Vec<InstanceEntry>) -> Vec<InstanceEntry> {
    let mut placed: Vec<_> = images.iter().map(|image| image.arrival).zip(entries).collect();
    placed.sort_by_key(|(arrival, _)| *arrival);
    placed.into_iter().map(|(_, entry)| entry).collect()
}

impl<L: Link + 'static> Handler for Send<L> {
    fn run<'a>(
        &'a self,
        job: &'a Job,
    ) -> Pin<Box<dyn Future<Output = Result<(), Trouble>> + std::marker::Send + 'a>> {
        Box::pin(self.send(job))
    }
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
        // Smallest first: on a poor line as many images as can be are there soon.
        study.images.sort_by_key(|image| image.bytes);
        let mut entries = Vec::with_capacity(study.images.len());
        for batch in study.images.chunks(BATCH) {
            entries.extend(self.put(&study, batch).await?);
        }
        let sent_bytes: u64 = entries.iter().map(|e| e.bytes).sum();
        let manifest = manifest(&study, &outgoing, by_arrival(&study.images, entries));
        self.note_departure(&job.key, &manifest).await?;
        match self.link.put_study(&manifest).await {
            // Forgotten there: nothing is left to send.
            Ok(()) | Err(LinkError::Gone { .. }) => {}
            Err(e) => return Err(link_trouble(&e)),
        }
        self.note(job, &manifest, sent_bytes).await
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
            "SELECT sop_uid, object, attributes, bytes FROM instances WHERE study_uid = $1 AND origin = 'received' AND frames > 0 ORDER BY received_at, sop_uid",
        )
        .bind(study_uid)
        .fetch_all(&mut *conn)
        .await
        .map_err(query())?;
        let mut images = Vec::with_capacity(rows.len());
        for (arrival, row) in rows.into_iter().enumerate() {
            let (sop_uid, sealed): (String, String) =
                (row.try_get(0).map_err(query())?, row.try_get(2).map_err(query())?);
            let attributes = self.objects.vault().open_text("instances.attributes", &sop_uid, sealed).await?;
            let facts = serde_json::from_str::<Attributes>(&attributes).map(|a| a.facts).unwrap_or_default();
            images.push(Image {
                sop_uid,
                object: row.try_get(1).map_err(query())?,
                facts,
                bytes: row.try_get(3).map_err(query())?,
                arrival,
            });
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

    /// Pseudonymises a few images and puts those that the service lacks.
    async fn put(&self, study: &Study, batch: &[Image]) -> Result<Vec<InstanceEntry>, Trouble> {
        let mut written: Vec<(Pseudonymous, tempfile::TempPath, &Image)> = Vec::with_capacity(batch.len());
        for image in batch {
            let local = self.objects.local(&ObjectKey::parse(&image.object)?).await?;
            let (pseudonymiser, limits, staging) =
                (Arc::clone(&self.pseudonymiser), self.limits.clone(), self.objects.staging().to_owned());
            let made = tokio::task::spawn_blocking(move || {
                let file = tempfile::NamedTempFile::new_in(staging)
                    .map_err(|e| Trouble::Later { why: format!("writing to staging: {e}") })?;
                let written = pseudonymiser.write(local.path(), &mut file.as_file(), &limits);
                let written = written.map_err(|e| Trouble::Failed {
                    why: format!("{}: {}", "an image cannot be pseudonymised", sentence(&e)),
                })?;
                Ok::<_, Trouble>((written, file.into_temp_path()))
            });
            let (pseudonymous, file) = made
                .await
                .map_err(|_| Trouble::Failed { why: "pseudonymising an image panicked".into() })??;
            if pseudonymous.study != study.pseudonym {
                return Err(Trouble::Never {
                    why: "an image's study has another pseudonym than its study: has the key changed?".into(),
                });
            }
            if pseudonymous.burned_in == Some(true) && !self.allow_burned_in {
                // Such a study is held before it comes here; whatever was settled under another setting stops at the exit.
                return Err(Trouble::Never {
                    why: "an image says that text is burned into it (0028,0301); edge.allow_burned_in = true lets it out".into(),
                });
            }
            written.push((pseudonymous, file, image));
        }
        // Known before they are sent: a result can be matched whatever happens in between.
        self.note_pseudonyms(&written).await?;
        let hashes: Vec<_> = written.iter().map(|(p, _, _)| p.sha256.clone()).collect();
        let missing = self.link.missing(&hashes).await.map_err(|e| link_trouble(&e))?;
        for (pseudonymous, file, _) in &written {
            if missing.contains(&pseudonymous.sha256) {
                self.link.put_object(&pseudonymous.sha256, file).await.map_err(|e| link_trouble(&e))?;
            }
        }
        let entry = |p: Pseudonymous| InstanceEntry {
            instance: p.instance,
            series: p.series,
            sha256: p.sha256,
            bytes: p.bytes,
        };
        Ok(written.into_iter().map(|(p, _, _)| entry(p)).collect())
    }

    async fn note_pseudonyms(
        &self,
        written: &[(Pseudonymous, tempfile::TempPath, &Image)],
    ) -> Result<(), Trouble> {
        let mut tx = self.database.begin().await?;
        for (pseudonymous, _, image) in written {
            sqlx::query("UPDATE instances SET pseudonym = $1 WHERE sop_uid = $2")
                .bind(pseudonymous.instance.to_string())
                .bind(image.sop_uid.clone())
                .execute(&mut *tx)
                .await
                .map_err(EdgeError::query("noting a pseudonym"))?;
        }
        Ok(Database::commit(tx).await?)
    }

    /// Before it leaves: the answer may be there before this side has heard that it arrived.
    async fn note_departure(&self, study: &str, manifest: &StudyManifest) -> Result<(), Trouble> {
        let mut tx = self.database.begin().await?;
        departures::note(&mut tx, study, manifest, &serde_json::json!([]), self.clock.now()).await?;
        Ok(Database::commit(tx).await?)
    }

    async fn note(&self, job: &Job, manifest: &StudyManifest, bytes: u64) -> Result<(), Trouble> {
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
        let detail = serde_json::json!({ "version": manifest.version, "program": manifest.program_hint, "images": manifest.instances.len(), "bytes": bytes, "manifest": manifest.digest() });
        audit::append(
            &mut tx,
            &Event { at: now, actor: "edge", action: "study.sent", subject: &job.key, detail },
        )
        .await?;
        Ok(Database::commit(tx).await?)
    }
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
    use overread_domain::ContentHash;

    use super::*;

    #[test]
    fn a_large_study_has_a_lane_of_its_own() {
        assert_eq!((lane(0), lane(LARGE - 1), lane(LARGE)), (SEND, SEND, SEND_LARGE));
    }

    #[test]
    fn the_manifest_keeps_the_order_of_arrival() {
        let image = |arrival: usize| Image {
            sop_uid: String::new(),
            object: String::new(),
            facts: ImageFacts::default(),
            bytes: 0,
            arrival,
        };
        let entry = |number: usize| InstanceEntry {
            instance: Uid::parse(&format!("2.25.{number}")).unwrap(),
            series: Uid::parse("2.25.9").unwrap(),
            sha256: ContentHash::from_bytes([7; 32]),
            bytes: 1,
        };
        let sent: Vec<_> = [2, 0, 1].map(image).into_iter().collect();
        let entries = by_arrival(&sent, [2, 0, 1].map(entry).to_vec());
        assert_eq!(entries, [0, 1, 2].map(entry));
    }
}
