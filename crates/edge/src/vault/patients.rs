//! Patients' keys: made once for each patient, wrapped in the vault's database, unwrapped in memory while they are used.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use overread_deid::PseudonymKey;
use overread_deid::vault::{DataKey, KeyId, Masters, VaultError, Wrapped};
use overread_domain::Clock;
use overread_store::Database;
use sqlx::Row;
use sqlx::any::AnyRow;
use tokio::sync::{mpsc, oneshot};
use zeroize::Zeroizing;

use super::make::{Ask, GROUP, make_all};
use super::schema::MIGRATIONS;
use super::{Who, keys, secrets};
use crate::config::Config;
use crate::error::EdgeError;

/// Keys that are held in memory; beyond it they are unwrapped again.
const HELD: usize = 50_000;
/// How sealed texts begin. What begins otherwise is plain, of an older edge.
const MARK: &str = "sealed.1.";

/// A patient's key and its name.
#[derive(Clone)]
pub struct Patient {
    /// The key's name: random, the same in all rows and objects of the patient.
    pub id: KeyId,
    pub(super) key: Arc<DataKey>,
}

impl Patient {
    /// Seals a text for a column of a row.
    ///
    /// # Errors
    /// No random bytes.
    pub fn seal_text(&self, column: &str, row: &str, text: &str) -> Result<String, EdgeError> {
        let sealed = self.key.seal_text(&[column, row], text).map_err(EdgeError::vault("sealing a row"))?;
        Ok(format!("{MARK}{}.{sealed}", self.id))
    }
}

/// The vault. Clones share it.
#[derive(Clone)]
pub struct Vault(pub(super) Arc<Inner>);

pub(super) struct Inner {
    pub(super) database: Database,
    config: Config,
    pub(super) clock: Clock,
    masters: RwLock<Masters>,
    fingerprints: DataKey,
    held: Mutex<Held>,
    new: mpsc::Sender<Ask>,
}

#[derive(Default)]
struct Held {
    keys: HashMap<KeyId, Arc<DataKey>>,
    patients: HashMap<String, KeyId>,
}

pub(super) fn row_failed(e: sqlx::Error) -> EdgeError {
    EdgeError::query("reading a patient's key")(e)
}

pub(super) const KEY_OF: &str = "SELECT id, master, wrapped FROM vault_patients WHERE";

/// Id and wrapped key of a row; no key once it was destroyed.
pub(super) fn row_of(row: &AnyRow) -> Result<(KeyId, Option<Wrapped>), EdgeError> {
    let id: String = row.try_get(0).map_err(row_failed)?;
    let wrapped: Option<String> = row.try_get(2).map_err(row_failed)?;
    let master: String = row.try_get(1).map_err(row_failed)?;
    let id = KeyId::parse(&id)
        .ok_or_else(|| EdgeError::Row { what: "a patient", source: "its id is none".into() })?;
    Ok((id, wrapped.map(|bytes| Wrapped { master, bytes })))
}

/// Ids of the master keys that something in the vault hangs on.
pub(super) async fn used_masters(database: &Database) -> Result<Vec<String>, EdgeError> {
    let mut conn = database.read().await?;
    let rows = sqlx::query(
        "SELECT master FROM vault_patients WHERE wrapped IS NOT NULL UNION SELECT master FROM vault_secrets",
    )
    .fetch_all(&mut *conn)
    .await
    .map_err(EdgeError::query("looking for master keys"))?;
    rows.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>().map_err(row_failed)
}

/// Opens the vault's database and the keys, and checks that these open it. Only where nothing is sealed yet, a missing key file is made.
pub(super) async fn unlock(config: &Config) -> Result<(Database, keys::Found), EdgeError> {
    let doing = "opening the vault";
    let database = Database::open(&config.vault.database_url(&config.data), "vault", MIGRATIONS).await?;
    let used = used_masters(&database).await?;
    let mut found = keys::load(config).map_err(EdgeError::vault(doing))?;
    if found.is_none() && used.is_empty() {
        keys::file(config).create().map_err(EdgeError::vault(doing))?;
        tracing::info!(
            "a master key was made for the vault: back it up apart from the data, or nothing opens again"
        );
        found = keys::load(config).map_err(EdgeError::vault(doing))?;
    }
    let unknown =
        |wanted: &str| VaultError::UnknownMaster { wanted: wanted.to_owned(), known: "none".into() };
    let Some(found) = found else {
        let wanted = used.first().map_or("", String::as_str);
        return Err(EdgeError::vault(doing)(unknown(wanted)));
    };
    if let Some(wanted) = used.iter().find(|id| !found.masters.knows(id)) {
        return Err(EdgeError::vault(doing)(found.masters.unknown(wanted)));
    }
    Ok((database, found))
}

impl Vault {
    /// Opens it for an edge's database.
    ///
    /// # Errors
    /// The database or the master key is not there, the key is not the one that the vault is sealed under, or the vault is not the one that the edge's
    /// rows are sealed with. Nothing was changed then.
    pub async fn open(config: &Config, edge: &Database, clock: Clock) -> Result<Self, EdgeError> {
        let (database, found) = unlock(config).await?;
        if used_masters(&database).await?.is_empty() && super::erasure::has_patients(edge).await? {
            // Whoever reads the error puts another file in its place: then nothing of this one must be written any more.
            database.close().await;
            return Err(EdgeError::Start {
                doing: "opening the vault",
                source: "the edge's rows are sealed and the vault holds no key at all: it is not the vault they were sealed with. Restore vault.db from its backup"
                    .into(),
            });
        }
        let fingerprints = secrets::fingerprints(&database, &found.masters).await?;
        let mut tx = database.begin().await?;
        // Whoever starts with it wraps with it.
        sqlx::query(
            "INSERT INTO vault_masters (id) VALUES ($1) ON CONFLICT (id) DO UPDATE SET retired_at = NULL",
        )
        .bind(found.masters.newest().to_owned())
        .execute(&mut *tx)
        .await
        .map_err(EdgeError::query("noting the master key"))?;
        Database::commit(tx).await?;
        let (new, asked) = mpsc::channel(GROUP);
        let vault = Self(Arc::new(Inner {
            database,
            config: config.clone(),
            clock,
            masters: RwLock::new(found.masters),
            fingerprints,
            held: Mutex::default(),
            new,
        }));
        // It ends when the vault is dropped: it must not keep it.
        tokio::spawn(make_all(Arc::downgrade(&vault.0), asked));
        Ok(vault)
    }

    /// The key of pseudonyms.
    ///
    /// # Errors
    /// The vault does not open, or a file of an older edge holds another key.
    pub async fn pseudonym_key(&self, older: &Path) -> Result<PseudonymKey, EdgeError> {
        let masters = self.masters();
        secrets::pseudonyms(&self.0.database, &masters, older).await
    }

    pub(super) fn masters(&self) -> Masters {
        self.0.masters.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Reads the master keys again: a rotation may have replaced them meanwhile.
    pub(super) fn reload(&self) -> Result<Masters, VaultError> {
        let masters = self.masters();
        let found = keys::load(&self.0.config)?.map_or(masters, |found| found.masters);
        *self.0.masters.write().unwrap_or_else(PoisonError::into_inner) = found.clone();
        Ok(found)
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.0.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) async fn unwrap(&self, id: KeyId, wrapped: Wrapped) -> Result<Patient, EdgeError> {
        let this = self.clone();
        let work = move || {
            let unwrapped = match this.masters().unwrap(&id.to_string(), &wrapped) {
                Err(VaultError::UnknownMaster { .. }) => this.reload()?.unwrap(&id.to_string(), &wrapped),
                other => other,
            };
            unwrapped.map(|key| Patient { id, key: Arc::new(key) })
        };
        // A token may take its time.
        let unwrapped =
            tokio::task::spawn_blocking(work).await.map_err(|_| EdgeError::lost("unwrapping a key"))?;
        unwrapped.map_err(EdgeError::vault("unwrapping a patient's key"))
    }

    fn hold(&self, patient: &Patient, fingerprint: Option<&str>) {
        let mut held = self.held();
        if held.keys.len() >= HELD {
            *held = Held::default();
        }
        held.keys.insert(patient.id, Arc::clone(&patient.key));
        if let Some(fingerprint) = fingerprint {
            held.patients.insert(fingerprint.to_owned(), patient.id);
        }
    }

    /// The patient of an object, made durable if they are new.
    ///
    /// # Errors
    /// The vault is away.
    pub async fn patient(&self, who: &Who) -> Result<Patient, EdgeError> {
        let fingerprint = self.0.fingerprints.fingerprint(&who.parts());
        {
            let held = self.held();
            let id = held.patients.get(&fingerprint);
            if let Some((id, key)) = id.and_then(|id| held.keys.get_key_value(id)) {
                return Ok(Patient { id: *id, key: Arc::clone(key) });
            }
        }
        if let Some((id, Some(wrapped))) = self.row_of_fingerprint(&fingerprint).await? {
            let patient = self.unwrap(id, wrapped).await?;
            self.hold(&patient, Some(&fingerprint));
            return Ok(patient);
        }
        let number = who.number().map(|parts| self.0.fingerprints.fingerprint(&parts));
        let (answer, answered) = oneshot::channel();
        let lost = || EdgeError::lost("making a patient's key");
        let ask = Ask { fingerprint: fingerprint.clone(), number, answer };
        self.0.new.send(ask).await.map_err(|_| lost())?;
        let patient = answered.await.map_err(|_| lost())??;
        self.hold(&patient, Some(&fingerprint));
        Ok(patient)
    }

    async fn row_of_fingerprint(
        &self,
        fingerprint: &str,
    ) -> Result<Option<(KeyId, Option<Wrapped>)>, EdgeError> {
        let mut conn = self.0.database.read().await?;
        let row = sqlx::query(sqlx::AssertSqlSafe(format!("{KEY_OF} fingerprint = $1")))
            .bind(fingerprint.to_owned())
            .fetch_optional(&mut *conn)
            .await
            .map_err(row_failed)?;
        row.as_ref().map(row_of).transpose()
    }

    /// The patient of an id.
    ///
    /// # Errors
    /// [`EdgeError::Erased`], or the vault is away.
    pub async fn known(&self, id: KeyId) -> Result<Patient, EdgeError> {
        if let Some(key) = self.held().keys.get(&id) {
            return Ok(Patient { id, key: Arc::clone(key) });
        }
        let mut conn = self.0.database.read().await?;
        let row = sqlx::query(sqlx::AssertSqlSafe(format!("{KEY_OF} id = $1")))
            .bind(id.to_string())
            .fetch_optional(&mut *conn)
            .await
            .map_err(row_failed)?;
        drop(conn);
        let Some((id, Some(wrapped))) = row.as_ref().map(row_of).transpose()? else {
            return Err(EdgeError::Erased);
        };
        let patient = self.unwrap(id, wrapped).await?;
        self.hold(&patient, None);
        Ok(patient)
    }

    /// Opens the text of a column of a row; a plain one of an older edge is what it is.
    ///
    /// # Errors
    /// [`EdgeError::Erased`], the seal does not hold, or the vault is away.
    pub async fn open_text(
        &self,
        column: &str,
        row: &str,
        text: String,
    ) -> Result<Zeroizing<String>, EdgeError> {
        let Some(rest) = text.strip_prefix(MARK) else { return Ok(Zeroizing::new(text)) };
        let doing = "opening a sealed row";
        let broken = || EdgeError::vault(doing)(VaultError::Seal { what: "a sealed row" });
        let (id, sealed) = rest.split_once('.').ok_or_else(broken)?;
        let patient = self.known(KeyId::parse(id).ok_or_else(broken)?).await?;
        patient.key.open_text(&[column, row], sealed).map_err(EdgeError::vault(doing))
    }

    /// The id of a patient who is named, if there is one; and how many others have the same Patient ID under another issuer.
    pub(super) async fn find(&self, who: &Who) -> Result<(Option<KeyId>, i64), EdgeError> {
        let found = self.row_of_fingerprint(&self.0.fingerprints.fingerprint(&who.parts())).await?;
        let number = who.number().map(|parts| self.0.fingerprints.fingerprint(&parts)).unwrap_or_default();
        let mut conn = self.0.database.read().await?;
        let row = sqlx::query("SELECT COUNT(*) FROM vault_patients WHERE number = $1")
            .bind(number)
            .fetch_one(&mut *conn)
            .await
            .map_err(row_failed)?;
        let alike: i64 = row.try_get(0).map_err(row_failed)?;
        let found = found.map(|(id, _)| id);
        Ok((found, alike - i64::from(found.is_some())))
    }

    /// Destroys a patient's key. On return it is durable, and nothing that it sealed opens any more, here or in any copy.
    pub(super) async fn destroy(&self, id: KeyId) -> Result<(), EdgeError> {
        let mut tx = self.0.database.begin().await?;
        sqlx::query("UPDATE vault_patients SET wrapped = NULL, fingerprint = NULL, number = NULL, erased_at = COALESCE(erased_at, $1) WHERE id = $2")
            .bind(self.0.clock.now().0)
            .bind(id.to_string())
            .execute(&mut *tx)
            .await
            .map_err(EdgeError::query("destroying a patient's key"))?;
        Database::commit(tx).await?;
        self.let_go(id);
        Ok(())
    }

    /// Lets no part of the database's files hold what was destroyed; they are small.
    pub(super) async fn scrub(&self) -> Result<(), EdgeError> {
        Ok(self.0.database.rewrite().await?)
    }

    /// Forgets a key that is held in memory.
    pub(crate) fn let_go(&self, id: KeyId) {
        let mut held = self.held();
        held.keys.remove(&id);
        held.patients.retain(|_, held| *held != id);
    }
}
