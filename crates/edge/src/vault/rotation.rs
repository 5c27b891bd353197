//! Another master key: every patient's key is wrapped anew, and the old master key opens nothing in the vault any more.
//!
//! It may be killed anywhere and run again: what lies under the newest key already is left as it is, and a new key is made only where none waits to be used. A
//! running edge finds the new key in the file by itself.

use overread_deid::vault::{KeyFile, Masters, SoftMaster, Wrapped};
use overread_domain::{Clock, Millis};
use overread_store::{Database, Tx};
use sqlx::Row;
use sqlx::any::AnyRow;

use super::keys::{self, Source};
use super::patients::{unlock, used_masters};
use super::secrets;
use crate::config::Config;
use crate::error::EdgeError;

/// Keys of one transaction.
const BATCH: i64 = 200;

/// What a rotation did.
#[derive(Clone, Debug)]
pub struct Rotated {
    /// Id of the master key under which everything lies now.
    pub master: String,
    /// Keys that were wrapped anew.
    pub rewrapped: u64,
    /// What a person has to do now, if anything.
    pub remains: Option<&'static str>,
}

fn query(e: sqlx::Error) -> EdgeError {
    EdgeError::query("rotating the master key")(e)
}

/// Wraps all keys under the newest master key. Where that lies in the key file and nothing waits for it, a new one is made first.
///
/// # Errors
/// The vault does not open; what was done until then holds.
pub async fn rotate(config: &Config, clock: &Clock) -> Result<Rotated, EdgeError> {
    let sealed = |e| EdgeError::vault("rotating the master key")(e);
    let (database, mut found) = unlock(config).await?;
    let file = keys::file(config);
    let used = used_masters(&database).await?;
    let settled = used.iter().all(|id| id == found.masters.newest());
    let in_file = file.load().map_err(sealed)?.unwrap_or_default();
    if found.newest == Source::File && settled && in_file.len() == 1 {
        let mut all = vec![SoftMaster::random().map_err(sealed)?];
        all.extend(in_file);
        file.replace(&all).map_err(sealed)?;
        found = keys::load(config).map_err(sealed)?.unwrap_or(found);
    }
    let rewrapped = rewrap(&database, &found.masters, clock.now()).await?;
    database.rewrite().await?;
    let remains = tidy(&file, &found).map_err(sealed)?;
    database.close().await;
    Ok(Rotated { master: found.masters.newest().to_owned(), rewrapped, remains })
}

/// Takes old keys out of the file, where the newest one lies in it; else says what is left for a person.
fn tidy(
    file: &KeyFile,
    found: &keys::Found,
) -> Result<Option<&'static str>, overread_deid::vault::VaultError> {
    let in_file = file.load()?.unwrap_or_default();
    Ok(match found.newest {
        Source::File if in_file.len() > 1 => {
            file.replace(&in_file[..1])?;
            None
        }
        Source::File => None,
        _ if in_file.is_empty() && found.masters.ids().len() == 1 => None,
        Source::Variable => Some(
            "leave the newest key alone in OVERREAD_VAULT_KEY, remove the key file if there is one, and start the edge again",
        ),
        Source::Token => Some(
            "clear edge.vault.pkcs11.previous, remove OVERREAD_VAULT_KEY and the key file if there are any, and start the edge again",
        ),
    })
}

async fn rewrap(database: &Database, masters: &Masters, now: Millis) -> Result<u64, EdgeError> {
    let mut count = 0;
    loop {
        // Whoever makes a key for a new patient meanwhile sees that the old one wraps no more.
        retire(database, masters.newest(), now).await?;
        loop {
            let done = batch(database, masters).await?;
            if done == 0 {
                break;
            }
            count += done;
        }
        if used_masters(database).await?.iter().all(|id| id == masters.newest()) {
            return Ok(count);
        }
    }
}

async fn retire(database: &Database, newest: &str, now: Millis) -> Result<(), EdgeError> {
    let mut tx = database.begin().await?;
    sqlx::query(
        "INSERT INTO vault_masters (id) VALUES ($1) ON CONFLICT (id) DO UPDATE SET retired_at = NULL",
    )
    .bind(newest.to_owned())
    .execute(&mut *tx)
    .await
    .map_err(query)?;
    sqlx::query("UPDATE vault_masters SET retired_at = $1 WHERE id <> $2 AND retired_at IS NULL")
        .bind(now.0)
        .bind(newest.to_owned())
        .execute(&mut *tx)
        .await
        .map_err(query)?;
    Ok(Database::commit(tx).await?)
}

/// Wraps some keys anew, in one transaction; how many.
async fn batch(database: &Database, masters: &Masters) -> Result<u64, EdgeError> {
    let mut tx = database.begin().await?;
    let patients = some(
        &mut tx,
        "SELECT id, master, wrapped FROM vault_patients WHERE master <> $1 AND wrapped IS NOT NULL ORDER BY id LIMIT $2",
        masters.newest(),
    )
    .await?;
    for (id, wrapped) in &patients {
        let sql = "UPDATE vault_patients SET wrapped = $1, master = $2 WHERE id = $3 AND wrapped = $4";
        put(&mut tx, sql, masters, id, id, wrapped).await?;
    }
    let secrets = some(
        &mut tx,
        "SELECT name, master, wrapped FROM vault_secrets WHERE master <> $1 ORDER BY name LIMIT $2",
        masters.newest(),
    )
    .await?;
    for (name, wrapped) in &secrets {
        let sql = "UPDATE vault_secrets SET wrapped = $1, master = $2 WHERE name = $3 AND wrapped = $4";
        put(&mut tx, sql, masters, &secrets::bound(name), name, wrapped).await?;
    }
    Database::commit(tx).await?;
    Ok((patients.len() + secrets.len()) as u64)
}

async fn some(tx: &mut Tx, sql: &'static str, newest: &str) -> Result<Vec<(String, Wrapped)>, EdgeError> {
    let rows =
        sqlx::query(sql).bind(newest.to_owned()).bind(BATCH).fetch_all(&mut **tx).await.map_err(query)?;
    let row = |row: &AnyRow| -> Result<(String, Wrapped), sqlx::Error> {
        Ok((row.try_get(0)?, Wrapped { master: row.try_get(1)?, bytes: row.try_get(2)? }))
    };
    rows.iter().map(row).collect::<Result<_, _>>().map_err(query)
}

/// Wraps one anew, unless it was erased meanwhile.
async fn put(
    tx: &mut Tx,
    sql: &'static str,
    masters: &Masters,
    name: &str,
    row: &str,
    wrapped: &Wrapped,
) -> Result<(), EdgeError> {
    let new = masters.rewrap(name, wrapped).map_err(EdgeError::vault("wrapping a key anew"))?;
    sqlx::query(sql)
        .bind(new.bytes)
        .bind(new.master)
        .bind(row.to_owned())
        .bind(wrapped.bytes.clone())
        .execute(&mut **tx)
        .await
        .map_err(query)?;
    Ok(())
}
