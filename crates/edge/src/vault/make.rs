//! Keys of patients who are new: those that were asked for while the last ones were made are made in one commit.

use overread_deid::vault::{DataKey, KeyId, Masters, VaultError, Wrapped};
use overread_store::{Database, Tx};
use tokio::sync::{mpsc, oneshot};

use super::patients::{Inner, KEY_OF, row_failed, row_of};
use super::{Patient, Vault};
use crate::error::{EdgeError, sentence};

/// New patients of one commit at most.
pub(super) const GROUP: usize = 256;

/// A patient who may be new.
pub(super) struct Ask {
    pub(super) fingerprint: String,
    pub(super) number: Option<String>,
    pub(super) answer: oneshot::Sender<Result<Patient, EdgeError>>,
}

/// Makes keys for patients who are new, those that were asked for meanwhile in one commit: a burst of new patients shares a flush of the disk.
pub(super) async fn make_all(vault: std::sync::Weak<Inner>, mut asked: mpsc::Receiver<Ask>) {
    let mut group = Vec::with_capacity(GROUP);
    while asked.recv_many(&mut group, GROUP).await > 0 {
        let Some(vault) = vault.upgrade().map(Vault) else { return };
        let asks = std::mem::take(&mut group);
        let made = match vault.make(&asks).await {
            // A rotation goes on: its new key may be in the file by now.
            Ok(None) if vault.reload().is_ok() => vault.make(&asks).await,
            other => other,
        };
        match made {
            Ok(Some(patients)) => {
                for (ask, patient) in asks.into_iter().zip(patients) {
                    let _ = ask.answer.send(Ok(patient));
                }
            }
            Ok(None) => answer_all(asks, || EdgeError::vault("making a patient's key")(retired())),
            Err(e) => {
                tracing::error!("patients' keys were not made: {}", sentence(&e));
                answer_all(asks, || EdgeError::lost("making a patient's key"));
            }
        }
    }
}

fn answer_all(asks: Vec<Ask>, error: impl Fn() -> EdgeError) {
    for ask in asks {
        let _ = ask.answer.send(Err(error()));
    }
}

fn retired() -> VaultError {
    VaultError::UnknownMaster { wanted: "of the last rotation".into(), known: "older".into() }
}

impl Vault {
    /// Patients in the order that they were asked for; none if our newest master key wraps no more.
    async fn make(&self, asks: &[Ask]) -> Result<Option<Vec<Patient>>, EdgeError> {
        let masters = self.masters();
        let wrapped: Vec<(KeyId, Wrapped)> = tokio::task::spawn_blocking({
            let (masters, count) = (masters.clone(), asks.len());
            move || (0..count).map(|_| fresh(&masters)).collect::<Result<_, _>>()
        })
        .await
        .map_err(|_| EdgeError::lost("making patients' keys"))?
        .map_err(EdgeError::vault("making patients' keys"))?;
        let mut tx = self.0.database.begin().await?;
        if !still_wraps(&mut tx, masters.newest()).await? {
            return Ok(None);
        }
        let mut rows = Vec::with_capacity(asks.len());
        for (ask, (id, wrapped)) in asks.iter().zip(wrapped) {
            rows.push(self.insert(&mut tx, ask, id, &wrapped).await?);
        }
        Database::commit(tx).await?;
        let mut patients = Vec::with_capacity(rows.len());
        for (id, wrapped) in rows {
            patients.push(self.unwrap(id, wrapped.ok_or(EdgeError::Erased)?).await?);
        }
        Ok(Some(patients))
    }

    async fn insert(
        &self,
        tx: &mut Tx,
        ask: &Ask,
        id: KeyId,
        wrapped: &Wrapped,
    ) -> Result<(KeyId, Option<Wrapped>), EdgeError> {
        sqlx::query(
            "INSERT INTO vault_patients (id, fingerprint, number, wrapped, master, created_at) VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (fingerprint) DO NOTHING",
        )
        .bind(id.to_string())
        .bind(ask.fingerprint.clone())
        .bind(ask.number.clone())
        .bind(wrapped.bytes.clone())
        .bind(wrapped.master.clone())
        .bind(self.0.clock.now().0)
        .execute(&mut **tx)
        .await
        .map_err(EdgeError::query("keeping a patient's key"))?;
        // Somebody else may have been first.
        let row = sqlx::query(sqlx::AssertSqlSafe(format!("{KEY_OF} fingerprint = $1")))
            .bind(ask.fingerprint.clone())
            .fetch_one(&mut **tx)
            .await
            .map_err(row_failed)?;
        row_of(&row)
    }
}

fn fresh(masters: &Masters) -> Result<(KeyId, Wrapped), VaultError> {
    let id = KeyId::random()?;
    Ok((id, masters.wrap(&id.to_string(), &DataKey::random()?)?))
}

/// Whether a master key may wrap new keys; a rotation that begins waits until this transaction has ended.
async fn still_wraps(tx: &mut Tx, master: &str) -> Result<bool, EdgeError> {
    let held = sqlx::query("UPDATE vault_masters SET retired_at = NULL WHERE id = $1 AND retired_at IS NULL")
        .bind(master.to_owned())
        .execute(&mut **tx)
        .await
        .map_err(EdgeError::query("looking for the master key"))?;
    Ok(held.rows_affected() == 1)
}
