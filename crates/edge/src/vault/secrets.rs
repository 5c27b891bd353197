//! Secrets of the site that lie in the vault's database, wrapped by the master key: the fingerprints' key and the pseudonyms'.

use std::path::Path;

use overread_deid::PseudonymKey;
use overread_deid::vault::{DataKey, Masters, VaultError, Wrapped};
use overread_store::Database;
use sqlx::Row;
use zeroize::Zeroizing;

use crate::error::EdgeError;

/// Name of the fingerprints' key.
pub(super) const FINGERPRINTS: &str = "fingerprints";
const PSEUDONYMS: &str = "pseudonyms";

fn sealed<T>(outcome: Result<T, VaultError>) -> Result<T, EdgeError> {
    outcome.map_err(EdgeError::vault("opening a secret of the vault"))
}

/// The name that a secret is bound to; no patient's id is like it.
pub(super) fn bound(name: &str) -> String {
    format!("secret {name}")
}

async fn read(database: &Database, name: &str) -> Result<Option<Wrapped>, EdgeError> {
    let doing = || EdgeError::query("reading a secret of the vault");
    let mut conn = database.read().await?;
    let row = sqlx::query("SELECT master, wrapped FROM vault_secrets WHERE name = $1")
        .bind(name.to_owned())
        .fetch_optional(&mut *conn)
        .await
        .map_err(doing())?;
    let Some(row) = row else { return Ok(None) };
    Ok(Some(Wrapped { master: row.try_get(0).map_err(doing())?, bytes: row.try_get(1).map_err(doing())? }))
}

/// The secret of a name; the first time, the one that is given. Of several processes that start at once, all get the same.
async fn kept(
    database: &Database,
    masters: &Masters,
    name: &str,
    first: &[u8],
) -> Result<Zeroizing<Vec<u8>>, EdgeError> {
    let wrapped = sealed(masters.wrap_secret(&bound(name), first))?;
    let mut tx = database.begin().await?;
    sqlx::query(
        "INSERT INTO vault_secrets (name, master, wrapped) VALUES ($1, $2, $3) ON CONFLICT (name) DO NOTHING",
    )
    .bind(name.to_owned())
    .bind(wrapped.master.clone())
    .bind(wrapped.bytes.clone())
    .execute(&mut *tx)
    .await
    .map_err(EdgeError::query("keeping a secret in the vault"))?;
    Database::commit(tx).await?;
    let wrapped = read(database, name).await?.unwrap_or(wrapped);
    sealed(masters.unwrap_secret(&bound(name), &wrapped))
}

/// The key of fingerprints.
pub(super) async fn fingerprints(database: &Database, masters: &Masters) -> Result<DataKey, EdgeError> {
    let bytes = match read(database, FINGERPRINTS).await? {
        Some(wrapped) => return sealed(masters.unwrap(&bound(FINGERPRINTS), &wrapped)),
        None => sealed(DataKey::random_bytes())?,
    };
    let kept = kept(database, masters, FINGERPRINTS, &*bytes).await?;
    let broken = || VaultError::Seal { what: "the key of fingerprints" };
    sealed(DataKey::from_bytes(&kept).ok_or_else(broken))
}

/// The key of pseudonyms. One that an older edge left as a file is taken over, and the file removed once the vault has it.
pub(super) async fn pseudonyms(
    database: &Database,
    masters: &Masters,
    older: &Path,
) -> Result<PseudonymKey, EdgeError> {
    let start = |doing| move |e: overread_deid::DeidError| EdgeError::Start { doing, source: e.into() };
    let file = PseudonymKey::load_if_there(older).map_err(start("opening the pseudonym key"))?;
    let bytes = match (read(database, PSEUDONYMS).await?, &file) {
        (Some(wrapped), _) => sealed(masters.unwrap_secret(&bound(PSEUDONYMS), &wrapped))?,
        (None, Some(file)) => kept(database, masters, PSEUDONYMS, file.as_bytes()).await?,
        (None, None) => {
            let new = PseudonymKey::random().map_err(start("making the pseudonym key"))?;
            kept(database, masters, PSEUDONYMS, new.as_bytes()).await?
        }
    };
    let bytes: [u8; 32] = bytes[..].try_into().map_err(|_| {
        EdgeError::vault("opening the pseudonym key")(VaultError::Seal { what: "the pseudonym key" })
    })?;
    let bytes = Zeroizing::new(bytes);
    if let Some(file) = file {
        if *file.as_bytes() != *bytes {
            return Err(EdgeError::Start {
                doing: "taking over the pseudonym key",
                source: "pseudonym.key in the data folder is another key than the one in the vault; if it was put there by mistake, move it away".into(),
            });
        }
        let removed = std::fs::remove_file(older)
            .and_then(|()| std::fs::File::open(older.parent().unwrap_or(Path::new(".")))?.sync_all());
        removed.map_err(|e| EdgeError::Start {
            doing: "removing pseudonym.key, which the vault has now",
            source: e.into(),
        })?;
        tracing::info!("the pseudonym key was taken over into the vault");
    }
    Ok(PseudonymKey::from_bytes(*bytes))
}
