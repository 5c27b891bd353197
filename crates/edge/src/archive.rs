//! The edge's instances as DICOMweb sees them: received images and the results that were filed beside them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use dicom_core::{DataElement, PrimitiveValue, VR};
use dicom_dictionary_std::tags;
use dicom_object::InMemDicomObject;
use overread_dicomweb::matching::MatchKind;
use overread_dicomweb::{
    Archive, ArchiveError, FailureReason, InstanceEntry, Level, Limits, OpenedFile, Page, Query,
    ReceivedFile, Scope, StoreOutcome,
};
use overread_domain::{Identified, Uid};
use overread_store::{Database, ObjectKey, StoreError};
use sqlx::Row;
use sqlx::any::AnyRow;

use crate::describe::Attributes;
use crate::error::EdgeError;
use crate::intake::{Accepted, Arrival, Intake, Refusal};
use crate::vault::SealedObjects;

/// The archive of an edge.
pub struct EdgeArchive {
    /// The edge's database.
    pub database: Database,
    /// The edge's objects.
    pub objects: SealedObjects,
    /// The way in.
    pub intake: Intake,
    /// What one request may take.
    pub limits: Limits,
}

const COLUMNS: &str = "SELECT study_uid, series_uid, sop_uid, sop_class, transfer_syntax, frames, bytes, sha256, object, attributes FROM instances";

fn passing(source: StoreError) -> ArchiveError {
    match source {
        StoreError::NoObject { .. } => ArchiveError::NotFound,
        e if e.is_passing() => ArchiveError::Unavailable(e.into()),
        e => ArchiveError::Failed(e.into()),
    }
}

fn not_opened(error: EdgeError) -> ArchiveError {
    match error {
        EdgeError::Store { source, .. } => passing(source),
        EdgeError::Erased => ArchiveError::NotFound,
        e if e.is_passing() => ArchiveError::Unavailable(e.into()),
        e => ArchiveError::Failed(e.into()),
    }
}

fn query_failed(source: sqlx::Error) -> ArchiveError {
    ArchiveError::Unavailable(source.into())
}

/// A row of the catalog.
struct Known {
    entry: InstanceEntry,
    object: String,
    attributes: String,
}

fn known(row: &AnyRow) -> Result<Known, ArchiveError> {
    let text = |n: usize| row.try_get::<String, _>(n).map_err(query_failed);
    let number = |n: usize| row.try_get::<i64, _>(n).map_err(query_failed);
    let uid = |n: usize| -> Result<Uid, ArchiveError> {
        Uid::parse(&text(n)?).map_err(|e| ArchiveError::Failed(e.into()))
    };
    // A name for logs: the content's hash, cut to what a number holds.
    let id = i64::from_str_radix(text(7)?.get(..15).unwrap_or("0"), 16).unwrap_or(0);
    let entry = InstanceEntry {
        id,
        study: uid(0)?,
        series: uid(1)?,
        instance: uid(2)?,
        sop_class: uid(3)?,
        transfer_syntax: uid(4)?,
        frames: u32::try_from(number(5)?).unwrap_or(0),
        bytes: u64::try_from(number(6)?).unwrap_or(0),
    };
    Ok(Known { entry, object: text(8)?, attributes: text(9)? })
}

impl EdgeArchive {
    async fn rows(
        &self,
        study: Option<&str>,
        series: Option<&str>,
        instance: Option<&str>,
    ) -> Result<Vec<Known>, ArchiveError> {
        let mut conn = self.database.read().await.map_err(passing)?;
        let sql = format!(
            "{COLUMNS} WHERE ($1 = '' OR study_uid = $1) AND ($2 = '' OR series_uid = $2) AND ($3 = '' OR sop_uid = $3) ORDER BY study_uid, series_uid, sop_uid"
        );
        let rows = sqlx::query(sqlx::AssertSqlSafe(sql))
            .bind(study.unwrap_or("").to_owned())
            .bind(series.unwrap_or("").to_owned())
            .bind(instance.unwrap_or("").to_owned())
            .fetch_all(&mut *conn)
            .await
            .map_err(query_failed)?;
        drop(conn);
        let mut opened = Vec::with_capacity(rows.len());
        for row in &rows {
            let mut known = known(row)?;
            let (instance, sealed) = (known.entry.instance.as_str(), std::mem::take(&mut known.attributes));
            match self.objects.vault().open_text("instances.attributes", instance, sealed).await {
                Ok(mut text) => known.attributes = std::mem::take(&mut *text),
                // It is about to go.
                Err(EdgeError::Erased) => continue,
                Err(e) => return Err(not_opened(e)),
            }
            opened.push(known);
        }
        Ok(opened)
    }
}

/// The one UID that a query asks for at a level, if it asks for one.
fn single(query: &Query, tag: dicom_core::Tag) -> Option<&str> {
    match query.criterion(tag)?.kind() {
        MatchKind::Single(uid) => Some(uid),
        _ => None,
    }
}

#[async_trait]
impl Archive for EdgeArchive {
    async fn search(&self, level: Level, query: &Query) -> Result<Page, ArchiveError> {
        let study = single(query, tags::STUDY_INSTANCE_UID);
        let series = single(query, tags::SERIES_INSTANCE_UID);
        let instance = single(query, tags::SOP_INSTANCE_UID);
        let rows = self.rows(study, series, instance).await?;
        let mut groups: BTreeMap<String, Vec<Known>> = BTreeMap::new();
        for row in rows {
            let e = &row.entry;
            let key = match level {
                Level::Study => e.study.to_string(),
                Level::Series => format!("{}/{}", e.study, e.series),
                Level::Instance => format!("{}/{}/{}", e.study, e.series, e.instance),
            };
            groups.entry(key).or_default().push(row);
        }
        let mut matches = groups
            .into_values()
            .map(|members| summary(&members))
            .filter(|object| query.admits(object))
            .skip(query.offset as usize);
        let page: Vec<Identified<InMemDicomObject>> =
            matches.by_ref().take(query.limit as usize).map(Identified::new).collect();
        Ok(Page { rows: page, more: matches.next().is_some(), fuzzy: false })
    }

    async fn instances(&self, scope: &Scope) -> Result<Vec<InstanceEntry>, ArchiveError> {
        let text = |uid: &Option<Uid>| uid.as_ref().map(|u| u.as_str().to_owned());
        let (series, instance) = (text(&scope.series), text(&scope.instance));
        let mut rows = self.rows(Some(scope.study.as_str()), series.as_deref(), instance.as_deref()).await?;
        if rows.is_empty() {
            return Err(ArchiveError::NotFound);
        }
        rows.sort_by_cached_key(|row| {
            let object = attributes_of(row);
            let number =
                |tag| object.get(tag).and_then(|e| e.value().to_int::<i64>().ok()).unwrap_or(i64::MAX);
            (
                number(tags::SERIES_NUMBER),
                row.entry.series.clone(),
                number(tags::INSTANCE_NUMBER),
                row.entry.instance.clone(),
            )
        });
        Ok(rows.into_iter().map(|r| r.entry).collect())
    }

    async fn open(&self, instance: &InstanceEntry) -> Result<OpenedFile, ArchiveError> {
        let row = self
            .rows(Some(instance.study.as_str()), None, Some(instance.instance.as_str()))
            .await?
            .pop()
            .ok_or(ArchiveError::NotFound)?;
        let key = ObjectKey::parse(&row.object).map_err(passing)?;
        let local = self.objects.local(&key).await.map_err(not_opened)?;
        Ok(OpenedFile { path: local.path().to_owned(), keep: Some(Box::new(Arc::new(local))) })
    }

    async fn store(&self, files: Vec<ReceivedFile>, _study: Option<&Uid>) -> Vec<StoreOutcome> {
        let accept = |file: ReceivedFile| async move {
            let arrival = Arrival {
                file: file.file.to_path_buf(),
                bytes: file.bytes,
                sha256: file.hash.clone(),
                source: "stow".into(),
                expected: None,
            };
            match self.intake.accept(arrival).await {
                Ok(Accepted::Stored | Accepted::Conflict) => StoreOutcome::Stored,
                Ok(Accepted::Duplicate) => StoreOutcome::Duplicate,
                Err(Refusal::Full) => StoreOutcome::Full,
                Err(Refusal::Away) => StoreOutcome::Failed(FailureReason::OutOfResources),
                Err(Refusal::Unreadable(_)) => StoreOutcome::Failed(FailureReason::CannotUnderstand),
            }
        };
        futures::future::join_all(files.into_iter().map(accept)).await
    }

    fn staging(&self) -> &Path {
        self.intake.staging()
    }

    fn limits(&self) -> &Limits {
        &self.limits
    }
}

fn attributes_of(row: &Known) -> InMemDicomObject {
    let attributes = serde_json::from_str::<Attributes>(&row.attributes).ok();
    attributes.and_then(|a| dicom_json::from_value(a.dicom).ok()).unwrap_or_else(InMemDicomObject::new_empty)
}

/// The attributes of a study, series or instance: those of its first member, and counts over all.
fn summary(members: &[Known]) -> InMemDicomObject {
    let Some(first) = members.first() else { return InMemDicomObject::new_empty() };
    let mut object = attributes_of(first);
    let modality = |o: &InMemDicomObject| {
        o.get(tags::MODALITY).and_then(|e| e.value().to_str().ok()).map(|m| m.trim().to_owned())
    };
    let modalities: BTreeSet<String> = members.iter().filter_map(|m| modality(&attributes_of(m))).collect();
    let series: BTreeSet<&Uid> = members.iter().map(|m| &m.entry.series).collect();
    let mut put = |tag, vr, value: PrimitiveValue| object.put(DataElement::new(tag, vr, value));
    put(tags::STUDY_INSTANCE_UID, VR::UI, first.entry.study.as_str().into());
    put(tags::SERIES_INSTANCE_UID, VR::UI, first.entry.series.as_str().into());
    put(tags::SOP_INSTANCE_UID, VR::UI, first.entry.instance.as_str().into());
    put(tags::SOP_CLASS_UID, VR::UI, first.entry.sop_class.as_str().into());
    put(tags::MODALITIES_IN_STUDY, VR::CS, PrimitiveValue::Strs(modalities.into_iter().collect()));
    put(tags::NUMBER_OF_STUDY_RELATED_SERIES, VR::IS, series.len().to_string().into());
    put(tags::NUMBER_OF_STUDY_RELATED_INSTANCES, VR::IS, members.len().to_string().into());
    put(tags::NUMBER_OF_SERIES_RELATED_INSTANCES, VR::IS, members.len().to_string().into());
    object
}
