//! What a site sets for its vault.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// The `[edge.vault]` section. Master keys come from the token, then from the variable `OVERREAD_VAULT_KEY`, then from the file: the first that there is
/// wraps, all unwrap.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct VaultConfig {
    /// Database of the patients' wrapped keys: `sqlite://…` in the data folder if empty, or `postgres://…`. Apart from the edge's own, so that its backups can
    /// be kept for a shorter time.
    pub database: String,
    /// File with master keys; `vault.key` in the data folder if none, where it is made at the first start. Put it elsewhere: whoever copies the data folder
    /// copies the key with it otherwise.
    pub key_file: Option<PathBuf>,
    /// A master key in a PKCS#11 token.
    pub pkcs11: Option<Pkcs11>,
}

/// The `[edge.vault.pkcs11]` section.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Pkcs11 {
    /// The shared library of the token's maker.
    pub module: PathBuf,
    /// The token's label.
    pub token: String,
    /// Label of the AES key that wraps.
    pub key: String,
    /// Labels of keys that wrapped before, until a rotation is through.
    #[serde(default)]
    pub previous: Vec<String>,
    /// File with the user's PIN, of mode 0600.
    pub pin_file: PathBuf,
}

impl VaultConfig {
    /// The database's address: the one that is set, else a file in the data folder.
    pub fn database_url(&self, data: &Path) -> String {
        if self.database.is_empty() {
            format!("sqlite://{}", data.join("vault.db").display())
        } else {
            self.database.clone()
        }
    }

    /// The key file: the one that is set, else in the data folder.
    pub fn key_file(&self, data: &Path) -> PathBuf {
        self.key_file.clone().unwrap_or_else(|| data.join("vault.key"))
    }
}
