//! Whether the vault opens, and whether its key file is its owner's alone.

use std::os::unix::fs::PermissionsExt;

use overread_domain::{Check, Side, sentence};

use super::keys;
use super::patients::unlock;
use crate::config::Config;

const NAME: &str = "vault";

/// Looks at it. A vault that there is not yet is made at the first start, and not by this.
pub async fn examine(config: &Config) -> Vec<Check> {
    let file = config.vault.key_file(&config.data);
    if let Ok(about) = std::fs::metadata(&file) {
        let mode = about.permissions().mode() & 0o777;
        if mode & 0o077 != 0 {
            let found =
                format!("{} has mode {mode:03o}: others may read or change the master key", file.display());
            return vec![
                Check::failed(NAME, found, Side::Ours)
                    .at("edge.vault.key_file")
                    .change(format!("chmod 600 {}", file.display())),
            ];
        }
    }
    if config.vault.database.is_empty() && !config.data.join("vault.db").exists() {
        return vec![Check::ok(NAME, "there is none yet: the edge makes it at its first start")];
    }
    if matches!(keys::load(config), Ok(None)) {
        let found = "there is a vault, and no master key: the edge makes one where nothing is sealed yet, and does not start where something is";
        return vec![
            Check::warning(NAME, found, Side::Ours)
                .at("edge.vault.key_file")
                .change("restore the key from its backup"),
        ];
    }
    let place = if file.exists() && file.starts_with(&config.data) {
        "; its key file lies in the data folder, so whoever copies that copies the key: docs/vault.md"
    } else {
        ""
    };
    vec![match unlock(config).await {
        Ok((database, found)) => {
            database.close().await;
            Check::ok(NAME, format!("it opens; the master key {} wraps{place}", found.masters.newest()))
        }
        Err(e) => Check::failed(NAME, sentence(&e), Side::Ours)
            .at("edge.vault")
            .change("give the master key that the vault is sealed under, from its backup"),
    }]
}
