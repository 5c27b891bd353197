//! API tokens: the keys to a door. The database holds only their hashes.

use std::fmt;
use std::str::FromStr;

use overread_domain::Millis;
use overread_store::{Database, Migration, StoreError, audit};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use sqlx::Row;
use sqlx::any::AnyRow;
use subtle::ConstantTimeEq;

const TABLE: &str = "\
CREATE TABLE api_tokens (
  id TEXT PRIMARY KEY,
  name TEXT NOT NULL,
  hash TEXT NOT NULL,
  scopes TEXT NOT NULL,
  created_at BIGINT NOT NULL,
  created_by TEXT NOT NULL,
  last_used_at BIGINT,
  revoked_at BIGINT
)";

/// `last_used_at` is not kept finer than this, in milliseconds: a write a request would cost more than it tells.
const COARSE_MS: i64 = 3_600_000;

/// The table of tokens, as the migration of that number in a role's own list.
pub const fn migration(version: i64) -> Migration {
    Migration { version, name: "API tokens", sql: TABLE }
}

/// What a token may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scope {
    /// Look: studies, results, jobs, audit log, metrics.
    Read,
    /// Change how things run: requeue jobs, release programs.
    Operate,
    /// Send images.
    Store,
}

impl Scope {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Read, Self::Operate, Self::Store];

    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Operate => "operate",
            Self::Store => "store",
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A word that is no scope.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("a scope is read, operate or store")]
pub struct NotAScope;

impl FromStr for Scope {
    type Err = NotAScope;
    fn from_str(word: &str) -> Result<Self, NotAScope> {
        Self::ALL.into_iter().find(|s| s.as_str() == word).ok_or(NotAScope)
    }
}

/// A secret that is neither shown nor logged; [`Secret::reveal`] is the one way out.
#[derive(Clone)]
pub struct Secret(String);

impl Secret {
    /// Takes a text as a secret.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// 256 random bits, in hexadecimal.
    pub fn random() -> Self {
        Self(hex(&rand::random::<[u8; 32]>()))
    }

    /// The text itself.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// A new token, told once.
#[derive(Clone, Debug)]
pub struct NewToken {
    /// Its id, which lists and the audit log show.
    pub id: String,
    /// The text that a client sends: `ovr_<id>_<secret>`.
    pub text: Secret,
}

/// A token as lists show it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TokenRow {
    /// Its id.
    pub id: String,
    /// Whose it is: the actor in the audit log.
    pub name: String,
    /// What it may do.
    pub scopes: Vec<Scope>,
    /// When it was made.
    pub created_at: Millis,
    /// Who made it.
    pub created_by: String,
    /// When it was last used, to the hour; none if never.
    pub last_used_at: Option<Millis>,
    /// When it was revoked; none if it holds.
    pub revoked_at: Option<Millis>,
}

/// Why no token was made.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// A name that cannot be.
    #[error("a token's name has 1 to 64 letters, digits, spaces and any of . _ - @")]
    Name,
    /// A token that could do nothing.
    #[error("a token needs at least one scope: read, operate, store")]
    NoScope,
    /// The database.
    #[error("the table of tokens failed")]
    Store(#[from] StoreError),
}

/// Makes a token; the audit log says who did.
///
/// # Errors
/// A name or scopes that cannot be, or the database.
pub async fn create(
    db: &Database,
    now: Millis,
    by: &str,
    name: &str,
    scopes: &[Scope],
) -> Result<NewToken, TokenError> {
    let letter = |c: char| c.is_ascii_alphanumeric() || " ._-@".contains(c);
    if name.trim().is_empty() || name.len() > 64 || !name.chars().all(letter) {
        return Err(TokenError::Name);
    }
    let mut scopes = scopes.to_vec();
    scopes.sort_unstable();
    scopes.dedup();
    if scopes.is_empty() {
        return Err(TokenError::NoScope);
    }
    let words = scopes.iter().map(|s| s.as_str()).collect::<Vec<_>>().join(" ");
    let id = hex(&rand::random::<[u8; 6]>());
    let secret = Secret::random();
    let mut tx = db.begin().await?;
    sqlx::query(
        "INSERT INTO api_tokens (id, name, hash, scopes, created_at, created_by) VALUES ($1, $2, $3, $4, $5, $6)",
    )
    .bind(id.clone())
    .bind(name.to_owned())
    .bind(digest(secret.reveal()))
    .bind(words.clone())
    .bind(now.0)
    .bind(by.to_owned())
    .execute(&mut *tx)
    .await
    .map_err(failed("writing a token"))?;
    let detail = serde_json::json!({ "name": name, "scopes": words });
    let event = audit::Event { at: now, actor: by, action: "token.create", subject: &id, detail };
    audit::append(&mut tx, &event).await?;
    Database::commit(tx).await?;
    let text = Secret(format!("ovr_{id}_{}", secret.0));
    Ok(NewToken { id, text })
}

/// All tokens, oldest first.
///
/// # Errors
/// The database.
pub async fn list(db: &Database) -> Result<Vec<TokenRow>, StoreError> {
    let mut conn = db.read().await?;
    let rows = sqlx::query(
        "SELECT id, name, scopes, created_at, created_by, last_used_at, revoked_at FROM api_tokens ORDER BY created_at, id",
    )
    .fetch_all(&mut *conn)
    .await
    .map_err(failed("listing tokens"))?;
    let row = |r: &AnyRow| -> Result<TokenRow, sqlx::Error> {
        Ok(TokenRow {
            id: r.try_get(0)?,
            name: r.try_get(1)?,
            scopes: parse_scopes(r.try_get(2)?),
            created_at: Millis(r.try_get(3)?),
            created_by: r.try_get(4)?,
            last_used_at: r.try_get::<Option<i64>, _>(5)?.map(Millis),
            revoked_at: r.try_get::<Option<i64>, _>(6)?.map(Millis),
        })
    };
    rows.iter().map(row).collect::<Result<_, _>>().map_err(failed("listing tokens"))
}

/// Revokes a token from the next request on. False if there is none of that id, or it was revoked before.
///
/// # Errors
/// The database.
pub async fn revoke(db: &Database, now: Millis, by: &str, id: &str) -> Result<bool, StoreError> {
    let mut tx = db.begin().await?;
    let done = sqlx::query("UPDATE api_tokens SET revoked_at = $1 WHERE id = $2 AND revoked_at IS NULL")
        .bind(now.0)
        .bind(id.to_owned())
        .execute(&mut *tx)
        .await
        .map_err(failed("revoking a token"))?;
    if done.rows_affected() == 0 {
        return Ok(false);
    }
    let event = audit::Event {
        at: now,
        actor: by,
        action: "token.revoke",
        subject: id,
        detail: serde_json::json!({}),
    };
    audit::append(&mut tx, &event).await?;
    Database::commit(tx).await?;
    Ok(true)
}

/// A token that holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Checked {
    pub id: String,
    pub name: String,
    pub scopes: Vec<Scope>,
    /// Whether its time of last use should be written.
    pub stale: bool,
}

/// The token that a text is; none if it is none that holds.
pub(crate) async fn check(db: &Database, now: Millis, text: &str) -> Result<Option<Checked>, StoreError> {
    let Some((id, secret)) = text.strip_prefix("ovr_").and_then(|rest| rest.split_once('_')) else {
        return Ok(None);
    };
    if id.len() != 12 || secret.len() != 64 {
        return Ok(None);
    }
    let doing = "checking a token";
    let mut conn = db.read().await?;
    let row =
        sqlx::query("SELECT name, hash, scopes, last_used_at, revoked_at FROM api_tokens WHERE id = $1")
            .bind(id.to_owned())
            .fetch_optional(&mut *conn)
            .await
            .map_err(failed(doing))?;
    let Some(row) = row else { return Ok(None) };
    let text = |column: usize| row.try_get::<String, _>(column).map_err(failed(doing));
    let moment = |column: usize| row.try_get::<Option<i64>, _>(column).map_err(failed(doing));
    let (name, hash, scopes, used, revoked) = (text(0)?, text(1)?, text(2)?, moment(3)?, moment(4)?);
    if !same(&digest(secret), &hash) || revoked.is_some() {
        return Ok(None);
    }
    let stale = used.is_none_or(|used| now.0.saturating_sub(used).saturating_abs() >= COARSE_MS);
    Ok(Some(Checked { id: id.to_owned(), name, scopes: parse_scopes(&scopes), stale }))
}

/// Writes that a token was used.
pub(crate) async fn touch(db: &Database, now: Millis, id: &str) -> Result<(), StoreError> {
    let mut tx = db.begin().await?;
    sqlx::query("UPDATE api_tokens SET last_used_at = $1 WHERE id = $2")
        .bind(now.0)
        .bind(id.to_owned())
        .execute(&mut *tx)
        .await
        .map_err(failed("noting a token's use"))?;
    Database::commit(tx).await
}

/// Compares two digests without telling by its time where they differ.
pub(crate) fn same(a: &str, b: &str) -> bool {
    a.as_bytes().ct_eq(b.as_bytes()).into()
}

/// SHA-256 in hexadecimal. A random secret of 256 bits needs no slow hash: there is nothing to guess.
pub(crate) fn digest(secret: &str) -> String {
    hex(&Sha256::digest(secret.as_bytes()))
}

fn hex(bytes: &[u8]) -> String {
    use fmt::Write;
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// Words that this release does not know give nothing.
fn parse_scopes(words: &str) -> Vec<Scope> {
    words.split(' ').filter_map(|w| w.parse().ok()).collect()
}

fn failed(doing: &'static str) -> impl FnOnce(sqlx::Error) -> StoreError {
    move |source| StoreError::Database { doing, source }
}
