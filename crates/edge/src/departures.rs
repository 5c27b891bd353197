//! What left, version by version: the manifest and its digest, by which an answer is known to be one, and what was done to the images before they went.

use std::collections::BTreeMap;

use overread_deid::Left;
use overread_deid::pixels::Region;
use overread_domain::Millis;
use overread_store::{Migration, Tx};
use overread_wire::{ResultMessage, StudyManifest};
use sqlx::Row;

use crate::error::EdgeError;

pub(crate) const fn migration(version: i64) -> Migration {
    Migration {
        version,
        name: "what left",
        sql: "\
CREATE TABLE departures (
  study TEXT NOT NULL,
  version BIGINT NOT NULL,
  digest TEXT NOT NULL,
  manifest TEXT NOT NULL,
  changes TEXT NOT NULL,
  noted_at BIGINT NOT NULL,
  PRIMARY KEY (study, version)
)",
    }
}

/// Notes what is about to leave, so that an answer finds it whenever it comes. Said again for the same version, the last word counts.
pub(crate) async fn note(
    tx: &mut Tx,
    study: &str,
    manifest: &StudyManifest,
    changes: &serde_json::Value,
    now: Millis,
) -> Result<(), EdgeError> {
    sqlx::query(
        "INSERT INTO departures (study, version, digest, manifest, changes, noted_at) VALUES ($1, $2, $3, $4, $5, $6)
         ON CONFLICT (study, version) DO UPDATE SET digest = excluded.digest, manifest = excluded.manifest, changes = excluded.changes, noted_at = excluded.noted_at",
    )
    .bind(study.to_owned())
    .bind(i64::from(manifest.version))
    .bind(manifest.digest().to_string())
    .bind(serde_json::to_string(manifest).unwrap_or_default())
    .bind(changes.to_string())
    .bind(now.0)
    .execute(&mut **tx)
    .await
    .map_err(EdgeError::query("noting what leaves"))?;
    Ok(())
}

/// Why a result cannot be the answer to what was sent of a study; none if it can.
///
/// A service that confuses two studies, or somebody who exchanges two results, must not bring a finding to the wrong patient: the answer names the manifest
/// that was read, and each image that was looked at.
pub(crate) async fn contradiction(
    tx: &mut Tx,
    study: &str,
    study_uid: &str,
    message: &ResultMessage,
) -> Result<Option<String>, EdgeError> {
    let sent = digest(tx, study, message.study_version).await?;
    if let (Some(sent), Some(read)) = (&sent, &message.manifest)
        && sent != read.as_str()
    {
        return Ok(Some(format!(
            "it answers the manifest {read}, and version {} of this study left with the manifest {sent}",
            message.study_version
        )));
    }
    // A study that left before departures were noted has none; of any other, what never left has no answer.
    if sent.is_none() && has_left(tx, study).await? {
        return Ok(Some(format!("version {} of this study never left", message.study_version)));
    }
    let ours = pseudonyms(tx, study_uid).await?;
    let strangers = message.images.iter().filter(|image| !ours.contains(image.as_str())).count();
    Ok((strangers > 0).then(|| {
        format!("{strangers} of the {} images that it looked at are not of this study", message.images.len())
    }))
}

async fn digest(tx: &mut Tx, study: &str, version: u32) -> Result<Option<String>, EdgeError> {
    let doing = || EdgeError::query("looking for what left");
    let row = sqlx::query("SELECT digest FROM departures WHERE study = $1 AND version = $2")
        .bind(study.to_owned())
        .bind(i64::from(version))
        .fetch_optional(&mut **tx)
        .await
        .map_err(doing())?;
    row.map(|row| row.try_get(0).map_err(doing())).transpose()
}

async fn has_left(tx: &mut Tx, study: &str) -> Result<bool, EdgeError> {
    let row = sqlx::query("SELECT COUNT(*) FROM departures WHERE study = $1")
        .bind(study.to_owned())
        .fetch_one(&mut **tx)
        .await
        .and_then(|row| row.try_get::<i64, _>(0));
    Ok(row.map_err(EdgeError::query("looking for what left"))? > 0)
}

async fn pseudonyms(tx: &mut Tx, study_uid: &str) -> Result<std::collections::HashSet<String>, EdgeError> {
    let doing = || EdgeError::query("looking for a study's images");
    let rows = sqlx::query("SELECT pseudonym FROM instances WHERE study_uid = $1 AND pseudonym IS NOT NULL")
        .bind(study_uid.to_owned())
        .fetch_all(&mut **tx)
        .await
        .map_err(doing())?;
    rows.iter().map(|row| row.try_get(0).map_err(doing())).collect()
}

/// How a thing of ours is written.
fn word(thing: impl serde::Serialize) -> String {
    serde_json::to_value(thing).ok().and_then(|v| v.as_str().map(|s| s.replace('_', " "))).unwrap_or_default()
}

/// What was done to a study's images, in one list: each attribute and what became of it, each region that was blackened, each risk that stays; and in how many
/// images.
pub(crate) fn changes<'a>(images: impl Iterator<Item = &'a Left>) -> serde_json::Value {
    let mut counts = BTreeMap::<(String, String), u64>::new();
    let mut count = |what: String, action: String| *counts.entry((what, action)).or_default() += 1;
    for image in images {
        for change in &image.changes {
            let what = format!("{} {}", change.keyword, change.tag);
            count(what.trim().to_owned(), word(change.done));
        }
        for region in &image.pixels.regions {
            let Region { left, top, right, bottom, why } = region;
            count(
                "pixels".into(),
                format!("columns {left}..{right}, rows {top}..{bottom} painted over: {}", word(why)),
            );
        }
        for risk in &image.residual_risks {
            count("risk".into(), (*risk).to_owned());
        }
    }
    let row =
        |((what, action), images)| serde_json::json!({ "what": what, "action": action, "images": images });
    counts.into_iter().map(row).collect()
}
