//! How images leave: the `[edge.deid]` section, and the gate that it asks for.

use std::path::Path;

use overread_deid::pixels::second_look::SecondLook;
use overread_deid::profile::{BurnedIn, Recognizable};
use overread_deid::{Codec, Detection, Eyes, Gate, Policy, Profile, PseudonymKey};
use overread_dicom::read::Limits;
use overread_domain::{Millis, sentence};
use overread_store::jobs::{self, NewJob};
use overread_store::{Database, Tx};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use sqlx::Row;

use crate::config::{Config, ConfigError};
use crate::error::EdgeError;

/// The `[edge.deid]` section.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Deid {
    /// What goes to the service: `minimal` (what reading needs and nothing else), or an object by a profile of PS3.15 Annex E, built in (`radiology`) or in a file
    /// (`/etc/overread/ours.toml`).
    pub profile: String,
    /// Text that is burned into pixels: `clean` (removed; needs ONNX Runtime), `quarantine` (what may show text stays here), `keep` (sent as it is). Default: what the
    /// profile says; `clean` for `minimal`.
    pub pixels: Option<BurnedIn>,
    /// CT and MR of the head, from which a face can be rendered: `quarantine`, or `keep` (sent as they are). Default: what the profile says; `quarantine` for `minimal`.
    pub recognizable_features: Option<Recognizable>,
    /// Whether Tesseract reads what would go out, and stops what still tells who the patient is. The edge does not start where Tesseract is missing.
    pub second_look: bool,
}

impl Default for Deid {
    fn default() -> Self {
        Self { profile: MINIMAL.into(), pixels: None, recognizable_features: None, second_look: true }
    }
}

const MINIMAL: &str = "minimal";

impl Deid {
    /// The profile; none for minimal objects.
    ///
    /// # Errors
    /// It cannot be read, or is no profile.
    pub fn profile(&self) -> Result<Option<Profile>, ConfigError> {
        let wrong = |problem: String| ConfigError { key: "edge.deid.profile".into(), problem };
        if self.profile == MINIMAL {
            return Ok(None);
        }
        if !self.profile.ends_with(".toml") && !self.profile.contains('/') {
            return Profile::shipped(&self.profile)
                .map(Some)
                .map_err(|e| wrong(format!("{}; or `{MINIMAL}`", sentence(&e))));
        }
        let text = std::fs::read_to_string(&self.profile)
            .map_err(|e| wrong(format!("{} cannot be read ({})", self.profile, e.kind())))?;
        Profile::parse(&text).map(Some).map_err(|e| wrong(format!("{}: {}", self.profile, sentence(&e))))
    }
}

impl Config {
    /// What is done about pixels on the way out.
    ///
    /// # Errors
    /// The profile cannot be read.
    pub fn pixel_policy(&self) -> Result<Policy, ConfigError> {
        let asked = match self.deid.profile()? {
            Some(profile) => Policy::of(&profile, self.deid.second_look),
            None => Policy { second_look: self.deid.second_look, ..Policy::default() },
        };
        let recognizable = self.deid.recognizable_features.unwrap_or(asked.recognizable);
        if self.allow_burned_in {
            return Ok(Policy { recognizable, ..Policy::AS_IS });
        }
        Ok(Policy { pixels: self.deid.pixels.unwrap_or(asked.pixels), recognizable, ..asked })
    }

    /// Whether text is removed from pixels: then [`Edge::open`](crate::Edge::open) needs a text detector.
    ///
    /// # Errors
    /// The profile cannot be read.
    pub fn cleans_pixels(&self) -> Result<bool, ConfigError> {
        Ok(self.pixel_policy()?.pixels == BurnedIn::Clean)
    }
}

/// The gate that the configuration asks for. It refuses to be made without the eyes that it needs.
pub(crate) fn gate(
    config: &Config,
    key: PseudonymKey,
    detection: Option<Detection>,
    codec: Codec,
    limits: Limits,
) -> Result<Gate, EdgeError> {
    let policy = config.pixel_policy()?;
    let second_look = if policy.second_look { SecondLook::find(Path::new("tesseract")) } else { None };
    let eyes = Eyes { detection, second_look, codec };
    let made = match config.deid.profile()? {
        None => Gate::minimal(key, policy, eyes, limits),
        Some(profile) => Gate::by_profile(profile, key, policy, eyes, limits),
    };
    made.map_err(|e| ConfigError { key: "edge.deid".into(), problem: sentence(&e) }.into())
}

/// Under what studies were quarantined, as a number: where it is another than at the last start, they are looked at again.
fn fingerprint(config: &Config) -> Result<i64, EdgeError> {
    // Another version may see more.
    let version = env!("CARGO_PKG_VERSION");
    let text = format!("{version} {:?} {:?}", config.pixel_policy()?, config.deid.profile()?);
    let mut number = [0; 8];
    number.copy_from_slice(&Sha256::digest(text.as_bytes())[..8]);
    Ok(i64::from_le_bytes(number))
}

/// Lets studies go on that were quarantined, once the site changed what is done about pixels; and those that an earlier version held.
pub(crate) async fn release(database: &Database, config: &Config, now: Millis) -> Result<(), EdgeError> {
    const NAME: &str = "deid-settings";
    let doing = || EdgeError::query("releasing studies that were quarantined");
    let settings = fingerprint(config)?;
    let mut tx = database.begin().await?;
    let before: Option<i64> = sqlx::query("SELECT position FROM cursors WHERE name = $1")
        .bind(NAME)
        .fetch_optional(&mut *tx)
        .await
        .map_err(doing())?
        .map(|row| row.try_get(0))
        .transpose()
        .map_err(doing())?;
    if before == Some(settings) {
        return Ok(());
    }
    let rows = sqlx::query(
        "UPDATE studies SET state = 'receiving', reason = NULL WHERE state IN ('held', 'quarantined') RETURNING id",
    )
    .fetch_all(&mut *tx)
    .await
    .map_err(doing())?;
    for row in rows {
        again(&mut tx, &row.try_get::<String, _>(0).map_err(doing())?, now).await?;
    }
    sqlx::query("INSERT INTO cursors (name, position) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET position = excluded.position")
        .bind(NAME)
        .bind(settings)
        .execute(&mut *tx)
        .await
        .map_err(doing())?;
    Ok(Database::commit(tx).await?)
}

/// Settles a study anew: it becomes its next version.
async fn again(tx: &mut Tx, id: &str, now: Millis) -> Result<(), EdgeError> {
    let payload = serde_json::json!({ "whole": true });
    let job = NewJob { kind: "complete", key: id, payload, priority: 1, run_at: now };
    jobs::enqueue(tx, &job, now).await?;
    Ok(())
}
