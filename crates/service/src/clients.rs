//! Clients and their edges: who may come over the link, and how an edge becomes one of them.

use overread_domain::{ContentHash, Millis};
use overread_store::{Database, StoreError, Tx, audit};
use overread_wire::EnrolmentCode;
use serde::Serialize;
use sha2::{Digest, Sha256};
use sqlx::Row;
use sqlx::any::AnyRow;

use crate::authority::Authority;
use crate::error::db;

/// The client and the edge that show the link's token: the two roles on one machine.
pub const DEFAULT: &str = "default";

/// Why a client was not made, or no code for it.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// A name that cannot be.
    #[error("a client's name has 1 to 32 lower-case letters, digits and hyphens, and begins with a letter")]
    Name,
    /// There is one already.
    #[error("there is a client {0} already")]
    Known(String),
    /// There is none.
    #[error(
        "there is no client {0}; `overread client add` makes it, `overread client ls` lists those there are"
    )]
    Unknown(String),
    /// A time that cannot be.
    #[error("a code is valid for 1 to 720 hours")]
    Hours,
    /// The database.
    #[error("the table of clients failed")]
    Store(#[from] StoreError),
}

/// A client as lists show it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ClientRow {
    /// Its name.
    pub client: String,
    /// Since when, in milliseconds since 1970.
    pub created_at: i64,
    /// Its edges, oldest first.
    pub edges: Vec<EdgeRow>,
}

/// An edge as lists show it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct EdgeRow {
    /// Its id: what `overread client revoke` takes.
    pub id: String,
    /// How its people call it.
    pub name: String,
    /// SHA-256 of its newest certificate.
    pub fingerprint: String,
    /// Since when, in milliseconds since 1970.
    pub enrolled_at: i64,
    /// When it was revoked; none if it may come in.
    pub revoked_at: Option<i64>,
    /// Results that were released for it and that it has not taken.
    pub unsent: i64,
}

/// Who asks over the link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Caller {
    /// The client: it owns objects and studies.
    pub(crate) client: String,
    /// The edge: it gets the results of what it sent.
    pub(crate) edge: String,
}

impl Caller {
    /// Whoever shows the link's token.
    pub(crate) fn local() -> Self {
        Self { client: DEFAULT.into(), edge: DEFAULT.into() }
    }
}

/// Makes a client.
///
/// # Errors
/// [`ClientError`].
pub async fn add(database: &Database, now: Millis, by: &str, name: &str) -> Result<(), ClientError> {
    let plain = |b: u8| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-');
    if !name.starts_with(|c: char| c.is_ascii_lowercase()) || name.len() > 32 || !name.bytes().all(plain) {
        return Err(ClientError::Name);
    }
    let mut tx = database.begin().await?;
    let made =
        sqlx::query("INSERT INTO clients (id, created_at) VALUES ($1, $2) ON CONFLICT (id) DO NOTHING")
            .bind(name.to_owned())
            .bind(now.0)
            .execute(&mut *tx)
            .await
            .map_err(db("making a client"))?;
    if made.rows_affected() == 0 {
        return Err(ClientError::Known(name.to_owned()));
    }
    note(&mut tx, now, by, "client.add", name, serde_json::json!({})).await?;
    Ok(Database::commit(tx).await?)
}

/// All clients with their edges.
///
/// # Errors
/// The database failed.
pub async fn list(database: &Database) -> Result<Vec<ClientRow>, StoreError> {
    let doing = db("listing clients");
    let mut conn = database.read().await?;
    let rows = sqlx::query("SELECT id, created_at FROM clients ORDER BY created_at, id")
        .fetch_all(&mut *conn)
        .await
        .map_err(&doing)?;
    let client = |r: &AnyRow| -> Result<ClientRow, sqlx::Error> {
        Ok(ClientRow { client: r.try_get(0)?, created_at: r.try_get(1)?, edges: vec![] })
    };
    let mut clients: Vec<ClientRow> = rows.iter().map(client).collect::<Result<_, _>>().map_err(&doing)?;
    let rows = sqlx::query(
        "SELECT client, id, name, fingerprint, enrolled_at, revoked_at, last - safe FROM edges ORDER BY enrolled_at, id",
    )
    .fetch_all(&mut *conn)
    .await
    .map_err(&doing)?;
    for row in &rows {
        let owner: String = row.try_get(0).map_err(&doing)?;
        let edge = edge(row).map_err(&doing)?;
        clients.iter_mut().filter(|c| c.client == owner).for_each(|c| c.edges.push(edge.clone()));
    }
    Ok(clients)
}

fn edge(row: &AnyRow) -> Result<EdgeRow, sqlx::Error> {
    Ok(EdgeRow {
        id: row.try_get(1)?,
        name: row.try_get(2)?,
        fingerprint: row.try_get(3)?,
        enrolled_at: row.try_get(4)?,
        revoked_at: row.try_get(5)?,
        unsent: row.try_get(6)?,
    })
}

/// Makes a one-time code with which one edge of a client can enrol, valid for so many hours. The database holds its hash.
///
/// # Errors
/// [`ClientError`].
pub async fn code(
    database: &Database,
    authority: &Authority,
    (now, by): (Millis, &str),
    client: &str,
    hours: u32,
) -> Result<EnrolmentCode, ClientError> {
    if !(1..=720).contains(&hours) {
        return Err(ClientError::Hours);
    }
    let secret = overread_http::tokens::Secret::random();
    let (id, secret) = (hex(&secret, 0, 12), hex(&secret, 12, 44));
    let code = EnrolmentCode { id, secret, authority: authority.fingerprint() };
    let mut tx = database.begin().await?;
    let known = sqlx::query("SELECT id FROM clients WHERE id = $1")
        .bind(client.to_owned())
        .fetch_optional(&mut *tx)
        .await
        .map_err(db("looking for a client"))?;
    if known.is_none() {
        return Err(ClientError::Unknown(client.to_owned()));
    }
    sqlx::query(
        "INSERT INTO enrolment_codes (id, client, hash, created_at, created_by, expires_at) VALUES ($1, $2, $3, $4, $5, $6)",
    )
    .bind(code.id.clone())
    .bind(client.to_owned())
    .bind(digest(&code.secret))
    .bind(now.0)
    .bind(by.to_owned())
    .bind(now.plus(i64::from(hours) * 3_600_000).0)
    .execute(&mut *tx)
    .await
    .map_err(db("writing an enrolment code"))?;
    let detail = serde_json::json!({ "code": code.id, "hours": hours });
    note(&mut tx, now, by, "client.code", client, detail).await?;
    Database::commit(tx).await?;
    Ok(code)
}

/// A part of a secret's 64 random digits.
fn hex(secret: &overread_http::tokens::Secret, from: usize, to: usize) -> String {
    secret.reveal().get(from..to).unwrap_or_default().to_owned()
}

/// What the database holds of a code's secret. 128 random bits need no slow hash.
pub(crate) fn digest(secret: &str) -> String {
    ContentHash::from_bytes(Sha256::digest(secret.as_bytes()).into()).to_string()
}

/// Revokes an edge from its next request on. False if there is none of that id, or it was revoked before.
///
/// # Errors
/// The database failed.
pub async fn revoke(database: &Database, now: Millis, by: &str, edge: &str) -> Result<bool, StoreError> {
    let mut tx = database.begin().await?;
    let done =
        sqlx::query("UPDATE edges SET revoked_at = $1 WHERE id = $2 AND revoked_at IS NULL AND id <> $3")
            .bind(now.0)
            .bind(edge.to_owned())
            .bind(DEFAULT)
            .execute(&mut *tx)
            .await
            .map_err(db("revoking an edge"))?;
    if done.rows_affected() == 0 {
        return Ok(false);
    }
    note(&mut tx, now, by, "edge.revoked", edge, serde_json::json!({})).await?;
    Database::commit(tx).await?;
    Ok(true)
}

/// The edge that holds a certificate; none if it is unknown or was revoked.
pub(crate) async fn of_certificate(
    database: &Database,
    fingerprint: &ContentHash,
) -> Result<Option<Caller>, StoreError> {
    let doing = db("looking for an edge");
    let mut conn = database.read().await?;
    let row = sqlx::query(
        "SELECT e.client, e.id FROM edge_certificates c JOIN edges e ON e.id = c.edge WHERE c.fingerprint = $1 AND e.revoked_at IS NULL",
    )
    .bind(fingerprint.to_string())
    .fetch_optional(&mut *conn)
    .await
    .map_err(&doing)?;
    let Some(row) = row else { return Ok(None) };
    Ok(Some(Caller { client: row.try_get(0).map_err(&doing)?, edge: row.try_get(1).map_err(&doing)? }))
}

/// Locks a client's row until the commit, before any other row: what is put, read and forgotten of one client happens one after another. Answers how
/// often it had something forgotten.
pub(crate) async fn lock(tx: &mut Tx, client: &str) -> Result<i64, StoreError> {
    sqlx::query("UPDATE clients SET epoch = epoch WHERE id = $1 RETURNING epoch")
        .bind(client.to_owned())
        .fetch_one(&mut **tx)
        .await
        .and_then(|row| row.try_get(0))
        .map_err(db("locking a client"))
}

/// How often a client had something forgotten.
pub(crate) async fn epoch(database: &Database, client: &str) -> Result<i64, StoreError> {
    let mut conn = database.read().await?;
    sqlx::query("SELECT epoch FROM clients WHERE id = $1")
        .bind(client.to_owned())
        .fetch_one(&mut *conn)
        .await
        .and_then(|row| row.try_get(0))
        .map_err(db("reading a client"))
}

/// Writes an entry of the audit log.
pub(crate) async fn note(
    tx: &mut Tx,
    at: Millis,
    actor: &str,
    action: &str,
    subject: &str,
    detail: serde_json::Value,
) -> Result<(), StoreError> {
    audit::append(tx, &audit::Event { at, actor, action, subject, detail }).await
}
