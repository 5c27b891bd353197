//! What follows from the answers of a study's programs: readings that are kept, results that are released, all in one transaction with the end of the job.

use bytes::Bytes;
use overread_domain::{CaseEvent, CaseState, ContentHash, Millis, ReleaseMode, Uid};
use overread_store::jobs::{self, Job};
use overread_store::{Database, StoreError, Trouble, Tx, audit};
use overread_wire::{CaptureReference, ResultMessage, StudyManifest, VERSION};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::cases::{self, Case};
use crate::clients::{self, Caller};
use crate::error::{db, document};
use crate::forget;
use crate::intake::{self, ObjectKind, object_key, record_object};
use crate::meter;
use crate::outbox;
use crate::programs::mode_of;
use crate::reading::{Answer, Answers, Reading};
use crate::service::{Service, Told};

/// How soon a study is read again during which its client had something forgotten.
const AGAIN: std::time::Duration = std::time::Duration::from_millis(250);

/// A study that was read.
pub(crate) struct Conclusion<'a> {
    pub client: &'a str,
    pub study: i64,
    pub manifest: &'a StudyManifest,
    pub answers: Answers,
}

/// A reading as its row keeps it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct ReadingRecord {
    /// Who read.
    pub algorithm: overread_wire::AlgorithmReference,
    /// One a label.
    pub findings: Vec<overread_domain::Finding>,
    /// Why there is no answer.
    pub not_assessed: Option<overread_domain::NotAssessed>,
    /// Pseudonymous SOP Instance UIDs of the images that were looked at.
    pub images: Vec<Uid>,
    /// What could not be read, by position.
    pub warnings: Vec<String>,
}

/// A program's reading, its pictures durable already.
struct Kept<'a> {
    program: &'a str,
    reading: &'a Reading,
    captures: Vec<CaptureReference>,
}

/// Keeps the readings, releases what is to be released, and finishes the job.
pub(crate) async fn conclude(service: &Service, job: &Job, study: Conclusion<'_>) -> Result<(), Trouble> {
    let epoch = clients::epoch(&service.database, study.client).await?;
    let mut kept = Vec::new();
    let mut failed: Vec<(&str, &str)> = Vec::new();
    for Answer { program, outcome } in &study.answers.answers {
        match outcome {
            Ok(reading) => {
                let captures = put_captures(service, (study.client, epoch), reading).await?;
                kept.push(Kept { program, reading, captures });
            }
            Err(why) => failed.push((program, why)),
        }
    }
    let now = service.clock.now();
    let mut told = Vec::new();
    let mut tx = service.database.begin().await?;
    let same_epoch = clients::lock(&mut tx, study.client).await? == epoch;
    let edge = intake::lock(&mut tx, study.study).await?;
    let forgotten = forget::forgotten(&mut tx, study.client, &study.manifest.study).await?;
    let Some(edge) = edge.filter(|_| forgotten < i64::from(study.manifest.version)) else {
        for capture in kept.iter().flat_map(|k| &k.captures) {
            let of = (study.client, ObjectKind::Capture);
            forget::erase_unless_used(&mut tx, of, &capture.sha256, epoch).await?;
        }
        forget::enqueue(&mut tx, study.client, now).await?;
        jobs::finish(&mut tx, job).await?;
        return Ok(Database::commit(tx).await?);
    };
    if !same_epoch {
        // Something was forgotten meanwhile, and the pictures may have been among it.
        return Err(Trouble::NotNow { wait: AGAIN });
    }
    let to = Caller { client: study.client.to_owned(), edge };
    let mut open = cases::of_study(&mut tx, study.study).await?;
    for kept in &kept {
        let mut case = case_for(&mut tx, &mut open, &study, kept.program, now).await?;
        if is_read(&mut tx, case.id, study.manifest, kept).await? {
            continue;
        }
        if case.state != CaseState::Reading {
            cases::advance(&mut tx, &mut case, CaseEvent::Started, "", now).await?;
        }
        told.push(keep(&mut tx, (&mut case, &to, epoch), &study, kept, now).await?);
    }
    for (program, _) in &failed {
        // It stays open, under its name, so that it is seen if no attempt succeeds.
        let mut case = case_for(&mut tx, &mut open, &study, program, now).await?;
        cases::advance(&mut tx, &mut case, CaseEvent::Started, "", now).await?;
    }
    for mut case in open.into_iter().filter(|c| c.state == CaseState::Reading) {
        let detail = not_taken(study.manifest, &study.answers.lost);
        cases::advance(&mut tx, &mut case, CaseEvent::NotTaken, &detail, now).await?;
    }
    // What one program answered stands, even if another one's pack failed and the job comes again.
    if failed.is_empty() {
        jobs::finish(&mut tx, job).await?;
    }
    Database::commit(tx).await?;
    for kept in &kept {
        meter::reading(kept.program, kept.reading);
    }
    for told in told {
        service.tell(told);
    }
    if failed.is_empty() {
        return Ok(());
    }
    let why: Vec<String> = failed.iter().map(|(program, why)| format!("program {program}: {why}")).collect();
    Err(Trouble::Failed { why: why.join("; ") })
}

/// Makes the pictures durable, before anything names them.
async fn put_captures(
    service: &Service,
    (client, epoch): (&str, i64),
    reading: &Reading,
) -> Result<Vec<CaptureReference>, StoreError> {
    let mut references = Vec::with_capacity(reading.captures.len());
    for capture in &reading.captures {
        let sha256 = ContentHash::from_bytes(Sha256::digest(&capture.png).into());
        let key = object_key(client, ObjectKind::Capture, &sha256, epoch)?;
        if !service.objects.exists(&key).await? {
            service.objects.put_bytes(&key, Bytes::copy_from_slice(&capture.png)).await?;
        }
        references.push(CaptureReference {
            label: capture.label.clone(),
            explains: capture.explains,
            description: capture.description.clone(),
            sha256,
            bytes: capture.png.len() as u64,
        });
    }
    Ok(references)
}

/// The program's case of this study: its own, else the one that has no program yet, else a new one.
async fn case_for(
    tx: &mut Tx,
    open: &mut Vec<Case>,
    study: &Conclusion<'_>,
    program: &str,
    now: Millis,
) -> Result<Case, StoreError> {
    let found = open
        .iter()
        .position(|c| c.program == program)
        .or_else(|| open.iter().position(|c| c.program.is_empty()));
    let mut case = match found {
        Some(index) => open.remove(index),
        None => {
            let priority = study.manifest.priority.rank();
            cases::insert(tx, study.client, study.study, program, priority, now).await?
        }
    };
    if case.program.is_empty() {
        cases::name(tx, &mut case, program).await?;
    }
    Ok(case)
}

/// Whether the same version was read under the same edition before: then nothing is kept or released again.
async fn is_read(
    tx: &mut Tx,
    case: i64,
    manifest: &StudyManifest,
    kept: &Kept<'_>,
) -> Result<bool, StoreError> {
    let found =
        sqlx::query("SELECT id FROM readings WHERE case_id = $1 AND study_version = $2 AND edition = $3")
            .bind(case)
            .bind(i64::from(manifest.version))
            .bind(kept.reading.algorithm.edition.0.clone())
            .fetch_optional(&mut **tx)
            .await
            .map_err(db("looking for a reading"))?;
    Ok(found.is_some())
}

/// Keeps one reading and, unless its program is in shadow, releases it.
async fn keep(
    tx: &mut Tx,
    (case, to, epoch): (&mut Case, &Caller, i64),
    study: &Conclusion<'_>,
    kept: &Kept<'_>,
    now: Millis,
) -> Result<Told, StoreError> {
    let (client, manifest) = (study.client, study.manifest);
    let mode = mode_of(tx, kept.program).await?;
    let case_version = if mode == ReleaseMode::Shadow { 0 } else { case.case_version + 1 };
    let message = message(manifest, kept, case_version, now);
    let id = cases::next(tx, "reading").await?;
    insert_reading(tx, (id, case.id), mode, &message, kept).await?;
    for capture in &kept.captures {
        let size = (capture.bytes, epoch);
        record_object(tx, client, ObjectKind::Capture, &capture.sha256, size, now).await?;
    }
    let pictures: Vec<_> = kept.captures.iter().map(|c| c.sha256.clone()).collect();
    intake::use_objects(tx, client, ObjectKind::Capture, &pictures, study.study).await?;
    let said = message.digest();
    let event = match case_version {
        0 => CaseEvent::Kept,
        1 => CaseEvent::Released,
        _ => CaseEvent::Amended,
    };
    cases::advance(tx, case, event, "", now).await?;
    if case_version > 0 {
        outbox::put(tx, to, id, &message, now).await?;
    }
    let detail = serde_json::json!({
        "program": kept.program,
        "edition": kept.reading.algorithm.edition,
        "study_version": manifest.version,
        "case_version": case_version,
        "mode": mode.as_str(),
        "manifest": message.manifest,
        "result": said,
    });
    let action = if case_version > 0 { "case.released" } else { "case.read" };
    let subject = format!("case {}", case.id);
    audit::append(tx, &audit::Event { at: now, actor: "service", action, subject: &subject, detail }).await?;
    let program = kept.program.to_owned();
    Ok(if case_version > 0 {
        Told::Released { case: case.id, program, case_version }
    } else {
        Told::Read { case: case.id, program }
    })
}

/// The message of a release. Case versions count releases, and there are never four thousand million of them.
fn message(manifest: &StudyManifest, kept: &Kept<'_>, case_version: i64, now: Millis) -> ResultMessage {
    let reading = &kept.reading;
    let image = |index: &usize| manifest.instances.get(*index).map(|i| i.instance.clone());
    ResultMessage {
        wire: VERSION,
        study: manifest.study.clone(),
        program: kept.program.to_owned(),
        case_version: u32::try_from(case_version).unwrap_or(u32::MAX),
        study_version: manifest.version,
        manifest: Some(manifest.digest()),
        algorithm: reading.algorithm.clone(),
        findings: reading.findings.clone(),
        not_assessed: reading.not_assessed.clone(),
        images: reading.images.iter().filter_map(image).collect(),
        captures: kept.captures.clone(),
        read_at: now,
    }
}

/// Writes a reading down; the message's case version is 0 where it is not released.
async fn insert_reading(
    tx: &mut Tx,
    (id, case): (i64, i64),
    mode: ReleaseMode,
    message: &ResultMessage,
    kept: &Kept<'_>,
) -> Result<(), StoreError> {
    let record = ReadingRecord {
        algorithm: message.algorithm.clone(),
        findings: message.findings.clone(),
        not_assessed: message.not_assessed.clone(),
        images: message.images.clone(),
        warnings: kept.reading.warnings.clone(),
    };
    let text = |value: Result<String, serde_json::Error>| value.map_err(document("a reading"));
    sqlx::query(
        "INSERT INTO readings (id, case_id, study_version, edition, mode, case_version, result, captures, timings, created_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
    )
    .bind(id)
    .bind(case)
    .bind(i64::from(message.study_version))
    .bind(message.algorithm.edition.0.clone())
    .bind(mode.as_str())
    .bind(i64::from(message.case_version))
    .bind(text(serde_json::to_string(&record))?)
    .bind(text(serde_json::to_string(&message.captures))?)
    .bind(text(serde_json::to_string(&kept.reading.timings))?)
    .bind(message.read_at.0)
    .execute(&mut **tx)
    .await
    .map_err(db("writing down a reading"))?;
    Ok(())
}

fn not_taken(manifest: &StudyManifest, lost: &[String]) -> String {
    if lost.len() == manifest.instances.len() && !lost.is_empty() {
        let why: String = lost.join("; ").chars().take(600).collect();
        return format!("none of the study's images can be opened, so no program can be chosen: {why}");
    }
    match &manifest.program_hint {
        Some(hint) => format!("the edge asks for program {hint} alone by now"),
        None => "no program reads studies of this kind; GET /api/v1/programs lists what there is".into(),
    }
}
