//! A result becomes documents beside the original headers: secondary captures, a structured report and, where it amends one, a rejection note of what it
//! replaces; all with the patient they belong to.

use std::collections::BTreeSet;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use overread_dicom::read::{self, Limits, Opened};
use overread_dicom::write::{
    Algorithm, FiledCapture, InstanceReference, Release, ResultIdentity, SourceContext, Stamp, filing,
    rejection_note, to_part10,
};
use overread_domain::{Clock, ContentHash, GridSize, Uid};
use overread_store::audit::{self, Event};
use overread_store::jobs::{self, Job};
use overread_store::{Conn, Database, Handler, ObjectKey, Trouble, Tx};
use overread_wire::{CaptureReference, Link, LinkError, ResultMessage};
use sha2::{Digest, Sha256};
use sqlx::Row;
use tokio::sync::Notify;

use crate::config::Config;
use crate::deliveries::Case;
use crate::describe::{Description, describe};
use crate::error::{EdgeError, sentence};
use crate::vault::{Patient, SealedObjects, erasure};

/// Does the `file` jobs.
pub struct Filing<L> {
    /// The edge's database.
    pub database: Database,
    /// The edge's objects.
    pub objects: SealedObjects,
    /// The time.
    pub clock: Clock,
    /// The link, for the pictures.
    pub link: L,
    /// What a file may cost.
    pub limits: Limits,
    /// Destinations.
    pub config: Arc<Config>,
    /// Minutes that the site's clock is ahead of UTC.
    pub utc_offset_minutes: i16,
    /// Wakes the jobs.
    pub wake: Arc<Notify>,
}

/// A document that is ready to be kept.
struct Document {
    reference: InstanceReference,
    kind: &'static str,
    bytes: Vec<u8>,
}

impl<L: Link + 'static> Handler for Filing<L> {
    fn run<'a>(&'a self, job: &'a Job) -> Pin<Box<dyn Future<Output = Result<(), Trouble>> + Send + 'a>> {
        Box::pin(self.file(job))
    }
}

/// An object of the version before.
struct Predecessor {
    reference: InstanceReference,
    is_report: bool,
}

/// A document that was put.
struct Kept {
    key: ObjectKey,
    patient: Patient,
    hash: ContentHash,
    bytes: usize,
    described: Description,
}

/// What cannot be right however often it is tried, or must be looked at.
fn failed(doing: &str, error: &dyn std::error::Error) -> Trouble {
    Trouble::Failed { why: format!("{doing}: {}", sentence(error)) }
}

pub(crate) fn link_trouble(error: &LinkError) -> Trouble {
    let why = sentence(error);
    if error.is_passing() { Trouble::Later { why } } else { Trouble::Failed { why } }
}

impl<L: Link> Filing<L> {
    async fn file(&self, job: &Job) -> Result<(), Trouble> {
        let row = self.result(&job.key).await?;
        let Some((study_uid, message)) = row else {
            let mut tx = self.database.begin().await?;
            jobs::finish(&mut tx, job).await?;
            return Ok(Database::commit(tx).await?);
        };
        let source = self.source(&study_uid, &message).await?;
        let pictures = self.pictures(&message).await?;
        let predecessors = self.predecessors(&study_uid, &message).await?;
        let documents = self.documents(&source, &message, pictures, &predecessors)?;
        self.keep(job, &study_uid, &message, documents).await
    }

    async fn result(&self, id: &str) -> Result<Option<(String, ResultMessage)>, Trouble> {
        let doing = "reading a result";
        let mut conn = self.database.read().await?;
        let row = sqlx::query("SELECT study_uid, message FROM results WHERE id = $1 AND state = 'received'")
            .bind(id.to_owned())
            .fetch_optional(&mut *conn)
            .await
            .map_err(EdgeError::query(doing))?;
        let Some(row) = row else { return Ok(None) };
        let study: String = row.try_get(0).map_err(EdgeError::query(doing))?;
        let text: String = row.try_get(1).map_err(EdgeError::query(doing))?;
        drop(conn);
        let text = self.objects.vault().open_text("results.message", id, text).await?;
        let message =
            serde_json::from_str(&text).map_err(|e| Trouble::Never { why: format!("{doing}: {e}") })?;
        Ok(Some((study, message)))
    }

    /// The original headers of the images that were looked at.
    async fn source(&self, study_uid: &str, message: &ResultMessage) -> Result<SourceContext, Trouble> {
        let doing = "reading the images of a result";
        let mut context: Option<SourceContext> = None;
        for pseudonym in &message.images {
            let mut conn = self.database.read().await?;
            let row = sqlx::query("SELECT object FROM instances WHERE pseudonym = $1 AND study_uid = $2")
                .bind(pseudonym.to_string())
                .bind(study_uid.to_owned())
                .fetch_optional(&mut *conn)
                .await
                .map_err(EdgeError::query(doing))?;
            drop(conn);
            let Some(row) = row else {
                return Err(Trouble::Never {
                    why: "the result names an image that its study does not have; it is filed to nobody"
                        .into(),
                });
            };
            let key: String = row.try_get(0).map_err(EdgeError::query(doing))?;
            let local = self.objects.local(&ObjectKey::parse(&key)?).await?;
            let opened = read::open(local.path(), &self.limits).map_err(|e| failed(doing, &e))?;
            let Opened::Dicom(opened) = opened else { continue };
            match &mut context {
                None => {
                    context =
                        Some(SourceContext::from_image(opened.dataset()).map_err(|e| failed(doing, &e))?)
                }
                Some(context) => context.add_image(opened.dataset()).map_err(|e| failed(doing, &e))?,
            }
        }
        match context {
            Some(context) => Ok(context),
            None => {
                let study = Uid::parse(study_uid).map_err(|e| failed(doing, &e))?;
                Ok(SourceContext::for_study(study))
            }
        }
    }

    async fn pictures(&self, message: &ResultMessage) -> Result<Vec<(GridSize, Vec<u8>)>, Trouble> {
        let mut pictures = Vec::with_capacity(message.captures.len());
        for capture in &message.captures {
            let png = self.link.object(&capture.sha256).await.map_err(|e| link_trouble(&e))?;
            if hash_of(&png) != capture.sha256 {
                return Err(Trouble::Failed { why: "a picture is not the one that the result names".into() });
            }
            let picture = image::load_from_memory_with_format(&png, image::ImageFormat::Png)
                .map_err(|e| failed("reading a picture", &e))?
                .to_rgb8();
            pictures.push((GridSize::new(picture.width(), picture.height()), picture.into_raw()));
        }
        Ok(pictures)
    }

    /// The objects of the version before, which this one replaces: captures and report, and which is which.
    async fn predecessors(
        &self,
        study_uid: &str,
        message: &ResultMessage,
    ) -> Result<Vec<Predecessor>, Trouble> {
        let doing = "reading the version before";
        let mut conn = self.database.read().await?;
        let rows = sqlx::query(
            "SELECT i.series_uid, i.sop_class, i.sop_uid, o.kind FROM results r JOIN result_objects o ON o.result = r.id JOIN instances i ON i.sop_uid = o.sop_uid
             WHERE r.study_uid = $1 AND r.program = $2 AND r.case_version = $3 AND o.kind <> 'rejection' ORDER BY o.position",
        )
        .bind(study_uid.to_owned())
        .bind(message.program.clone())
        .bind(i64::from(message.case_version) - 1)
        .fetch_all(&mut *conn)
        .await
        .map_err(EdgeError::query(doing))?;
        if rows.is_empty()
            && message.case_version > 1
            && !self.begins_anew(&mut conn, study_uid, message).await?
        {
            // Its job runs before or beside this one: a report never misses its predecessor.
            return Err(Trouble::Later { why: "the version before is not filed yet".into() });
        }
        let mut references = Vec::with_capacity(rows.len());
        for row in rows {
            let text = |n: usize| -> Result<Uid, Trouble> {
                let text: String = row.try_get(n).map_err(EdgeError::query(doing))?;
                Uid::parse(&text).map_err(|e| failed(doing, &e))
            };
            let kind: String = row.try_get(3).map_err(EdgeError::query(doing))?;
            let reference = InstanceReference { series: text(0)?, class: text(1)?, instance: text(2)? };
            references.push(Predecessor { reference, is_report: kind == "report" });
        }
        Ok(references)
    }

    /// Whether there is no version before because it was erased.
    async fn begins_anew(
        &self,
        conn: &mut Conn,
        study_uid: &str,
        message: &ResultMessage,
    ) -> Result<bool, Trouble> {
        let row = sqlx::query(
            "SELECT (SELECT COUNT(*) FROM results WHERE study_uid = $1 AND program = $2 AND case_version = $3), (SELECT COUNT(*) FROM erased WHERE pseudonym = $4)",
        )
        .bind(study_uid.to_owned())
        .bind(message.program.clone())
        .bind(i64::from(message.case_version) - 1)
        .bind(message.study.to_string())
        .fetch_one(&mut **conn)
        .await
        .and_then(|row| Ok((row.try_get::<i64, _>(0)?, row.try_get::<i64, _>(1)?)));
        let (before, erased) = row.map_err(EdgeError::query("looking for the version before"))?;
        Ok(before == 0 && erased > 0)
    }

    fn documents(
        &self,
        source: &SourceContext,
        message: &ResultMessage,
        pictures: Vec<(GridSize, Vec<u8>)>,
        before: &[Predecessor],
    ) -> Result<Vec<Document>, Trouble> {
        let algorithm = Algorithm {
            name: message.algorithm.name.clone(),
            version: message.algorithm.version.clone(),
            edition: message.algorithm.edition.clone(),
            manufacturer: message.algorithm.manufacturer.clone(),
        };
        let identity =
            ResultIdentity { program: message.program.clone(), case_version: message.case_version };
        // The reading's own time: made again, it is the same document.
        let stamp = Stamp::new(message.read_at.0 / 1000, self.utc_offset_minutes);
        let write = |e: overread_dicom::write::WriteError| failed("making a document", &e);
        let replaced: Vec<_> = before.iter().filter(|p| p.is_report).map(|p| p.reference.clone()).collect();
        let captures: Vec<FiledCapture> =
            message.captures.iter().zip(pictures).map(|(told, (size, rgb))| filed(told, size, rgb)).collect();
        let caveats: Vec<&str> = message.algorithm.caveats.iter().map(String::as_str).collect();
        let filing = filing::Filing {
            findings: &message.findings,
            not_assessed: message.not_assessed.as_ref(),
            captures: &captures,
            predecessors: &replaced,
            release: Release::Preliminary,
            caveats: &caveats,
        };
        let made = filing::documents(source, &algorithm, &identity, stamp, &filing).map_err(write)?;
        // The report comes after its captures.
        let kind = |n: usize| if n < captures.len() { "capture" } else { "report" };
        let mut documents: Vec<Document> = made
            .into_iter()
            .enumerate()
            .map(|(n, (reference, bytes))| Document { reference, kind: kind(n), bytes })
            .collect();
        // Last, so that whoever hides the old result has the new one already (IHE IOCM).
        if !before.is_empty() {
            let withdrawn: Vec<_> = before.iter().map(|p| p.reference.clone()).collect();
            let object = rejection_note(
                source,
                &algorithm,
                &identity,
                stamp,
                &withdrawn,
                "Replaced by an amended result",
            )
            .map_err(write)?;
            let reference = InstanceReference::to(&object).map_err(write)?;
            documents.push(Document {
                reference,
                kind: "rejection",
                bytes: to_part10(&object).map_err(write)?,
            });
        }
        Ok(documents)
    }

    /// Puts a document, sealed under the key of the patient whom it names.
    async fn put(&self, folder: &str, position: usize, document: &[u8]) -> Result<Kept, Trouble> {
        let key = SealedObjects::key(folder, &position.to_string())?;
        let file = self.objects.stage(document)?;
        let described = describe(&file, "overread", &self.limits);
        let described =
            described.map_err(|why| Trouble::Failed { why: format!("reading a document of ours: {why}") })?;
        let patient = self.objects.vault().patient(&described.who).await?;
        self.objects.put_file(&key, &patient, file.to_path_buf()).await?;
        Ok(Kept { key, patient, hash: hash_of(document), bytes: document.len(), described })
    }

    /// Keeps the documents and asks for their delivery: objects first, then one transaction.
    async fn keep(
        &self,
        job: &Job,
        study_uid: &str,
        message: &ResultMessage,
        documents: Vec<Document>,
    ) -> Result<(), Trouble> {
        let now = self.clock.now();
        let mut rows = Vec::with_capacity(documents.len());
        for (position, document) in documents.into_iter().enumerate() {
            let kept = self.put(&format!("out/{}", job.key), position, &document.bytes).await?;
            rows.push((position, document.reference, document.kind, kept));
        }
        let mut tx = self.database.begin().await?;
        let patients: BTreeSet<_> = rows.iter().map(|(_, _, _, kept)| kept.patient.id).collect();
        for patient in patients {
            if !erasure::enter(&mut tx, patient).await? {
                drop(tx);
                self.objects.vault().let_go(patient);
                let keys = rows.into_iter().map(|(_, _, _, kept)| kept.key).collect();
                self.objects.remove_all(keys).await?;
                return Err(EdgeError::Erased.into());
            }
        }
        for (position, reference, kind, kept) in rows {
            insert_document(&mut tx, study_uid, &reference, &kept, now.0).await?;
            sqlx::query("INSERT INTO result_objects (sop_uid, result, position, kind) VALUES ($1, $2, $3, $4) ON CONFLICT (sop_uid) DO NOTHING")
                .bind(reference.instance.to_string())
                .bind(job.key.clone())
                .bind(i64::try_from(position).unwrap_or(i64::MAX))
                .bind(kind)
                .execute(&mut *tx)
                .await
                .map_err(EdgeError::query("noting a document"))?;
        }
        sqlx::query("UPDATE results SET state = 'filed', filed_at = $1 WHERE id = $2")
            .bind(now.0)
            .bind(job.key.clone())
            .execute(&mut *tx)
            .await
            .map_err(EdgeError::query("filing a result"))?;
        let study_id = job.payload["study"].as_str().unwrap_or("").to_owned();
        for destination in self.config.destinations_of(&message.program) {
            sqlx::query("INSERT INTO deliveries (result, destination, state) VALUES ($1, $2, 'waiting') ON CONFLICT (result, destination) DO NOTHING")
                .bind(job.key.clone())
                .bind(destination.clone())
                .execute(&mut *tx)
                .await
                .map_err(EdgeError::query("asking for a delivery"))?;
            let case = Case {
                study: study_id.clone(),
                study_uid: study_uid.to_owned(),
                program: message.program.clone(),
                destination,
            };
            case.ask(&mut tx, now).await?;
        }
        jobs::finish(&mut tx, job).await?;
        audit::append(
            &mut tx,
            &Event {
                at: now,
                actor: "edge",
                action: "result.filed",
                subject: &job.key,
                detail: serde_json::json!({ "study": study_id }),
            },
        )
        .await?;
        Database::commit(tx).await?;
        self.wake.notify_waiters();
        Ok(())
    }
}

fn filed(told: &CaptureReference, size: GridSize, rgb: Vec<u8>) -> FiledCapture {
    FiledCapture {
        label: told.label.clone(),
        explains: told.explains.then(|| told.label.clone()),
        description: told.description.clone(),
        size,
        rgb,
    }
}

fn hash_of(bytes: &[u8]) -> ContentHash {
    ContentHash::from_bytes(Sha256::digest(bytes).into())
}

async fn insert_document(
    tx: &mut Tx,
    study_uid: &str,
    reference: &InstanceReference,
    kept: &Kept,
    now: i64,
) -> Result<(), EdgeError> {
    let Kept { key, patient, hash, bytes, described } = kept;
    let attributes = serde_json::to_string(&described.attributes).unwrap_or_else(|_| "{}".into());
    let attributes = patient.seal_text("instances.attributes", reference.instance.as_str(), &attributes)?;
    sqlx::query(
        "INSERT INTO instances (sop_uid, study_uid, series_uid, sop_class, transfer_syntax, origin, source, object, bytes, sha256, frames, attributes, received_at, patient)
         VALUES ($1, $2, $3, $4, $5, 'result', 'overread', $6, $7, $8, $9, $10, $11, $12) ON CONFLICT (sop_uid) DO NOTHING",
    )
    .bind(reference.instance.to_string())
    .bind(study_uid.to_owned())
    .bind(reference.series.to_string())
    .bind(reference.class.to_string())
    .bind(described.transfer_syntax.clone())
    .bind(key.to_string())
    .bind(i64::try_from(*bytes).unwrap_or(i64::MAX))
    .bind(hash.to_string())
    .bind(i64::from(described.frames))
    .bind(attributes)
    .bind(now)
    .bind(patient.id.to_string())
    .execute(&mut **tx)
    .await
    .map_err(EdgeError::query("keeping a document"))?;
    Ok(())
}
