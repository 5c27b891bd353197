//! The master keys that a site gives: token, variable, file.

use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;

use overread_deid::vault::{KeyFile, Master, Masters, Place, SoftMaster, Token, VaultError, of_text};
use zeroize::Zeroizing;

use super::config::Pkcs11;
use crate::config::Config;

/// Master keys, base64 or hexadecimal, the newest first and commas between.
pub const VARIABLE: &str = "OVERREAD_VAULT_KEY";

/// Where the newest key lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    Token,
    Variable,
    File,
}

/// What was found.
pub(super) struct Found {
    pub(super) masters: Masters,
    pub(super) newest: Source,
}

/// The file of the configuration.
pub(super) fn file(config: &Config) -> KeyFile {
    KeyFile::at(&config.vault.key_file(&config.data))
}

/// All keys that are given now; none if there is none.
pub(super) fn load(config: &Config) -> Result<Option<Found>, VaultError> {
    let mut all: Vec<Arc<dyn Master>> = Vec::new();
    let mut newest = None;
    if let Some(pkcs11) = &config.vault.pkcs11 {
        for key in std::iter::once(&pkcs11.key).chain(&pkcs11.previous) {
            all.push(Arc::new(Token::open(&place(pkcs11, key)?)?));
        }
        newest = Some(Source::Token);
    }
    if let Ok(text) = std::env::var(VARIABLE).map(Zeroizing::new) {
        all.extend(of_text(&text, VARIABLE)?.into_iter().map(shared));
        newest = newest.or(Some(Source::Variable));
    }
    if let Some(keys) = file(config).load()? {
        all.extend(keys.into_iter().map(shared));
        newest = newest.or(Some(Source::File));
    }
    Ok(Masters::new(all).zip(newest).map(|(masters, newest)| Found { masters, newest }))
}

fn shared(key: SoftMaster) -> Arc<dyn Master> {
    Arc::new(key)
}

fn place(pkcs11: &Pkcs11, key: &str) -> Result<Place, VaultError> {
    let failed = |source| VaultError::KeyFile { doing: "read: edge.vault.pkcs11.pin_file", source };
    let mode = std::fs::metadata(&pkcs11.pin_file).map_err(failed)?.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(VaultError::KeyExposed { mode });
    }
    let pin = std::fs::read_to_string(&pkcs11.pin_file).map(Zeroizing::new).map_err(failed)?;
    Ok(Place {
        module: pkcs11.module.clone(),
        token: pkcs11.token.clone(),
        pin: Zeroizing::new(pin.trim().to_owned()),
        key: key.to_owned(),
    })
}
