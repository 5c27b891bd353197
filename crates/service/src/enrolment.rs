//! An edge enrols: its one-time code against a certificate, and later one certificate against the next.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use overread_domain::Millis;
use overread_store::{Database, StoreError, Tx};
use overread_wire::{EnrolAnswer, EnrolRequest};
use sqlx::Row;

use crate::authority::{Authority, AuthorityError, Issued, SigningRequest};
use crate::clients::{Caller, digest, note};
use crate::error::db;

/// Attempts of one address within [`WINDOW`].
const ATTEMPTS: u32 = 10;
/// See [`ATTEMPTS`].
const WINDOW: Duration = Duration::from_secs(60);
/// Addresses that are remembered; more are counted together.
const ADDRESSES: usize = 4096;

/// Why an edge was not enrolled.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EnrolError {
    /// The code is unknown, was used, or is too old: the same words for each.
    #[error(
        "the code is not valid: each is good for one edge and for a limited time; ask the service for another one"
    )]
    Code,
    /// The request for a certificate.
    #[error("csr: it is no PKCS #10 request in PEM that its own key signed")]
    Request,
    /// The edge's name.
    #[error("name: 1 to 64 letters, digits, spaces and any of . _ -")]
    Name,
    /// The authority.
    #[error("the certificate could not be signed")]
    Authority(#[from] AuthorityError),
    /// The database.
    #[error("the edge could not be written down")]
    Store(#[from] StoreError),
}

/// Counts attempts to enrol, by address.
#[derive(Default)]
pub(crate) struct Attempts(Mutex<HashMap<Option<IpAddr>, (Instant, u32)>>);

impl Attempts {
    /// Whether an address may try once more.
    pub(crate) fn admit(&self, address: Option<IpAddr>) -> bool {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.len() >= ADDRESSES {
            seen.retain(|_, (since, _)| since.elapsed() < WINDOW);
        }
        let key = if seen.len() < ADDRESSES || seen.contains_key(&address) { address } else { None };
        let (since, count) = seen.entry(key).or_insert((Instant::now(), 0));
        if since.elapsed() >= WINDOW {
            (*since, *count) = (Instant::now(), 0);
        }
        *count += 1;
        *count <= ATTEMPTS
    }
}

/// Enrols an edge. The same code with the same key is answered the same again: an answer may be lost on its way.
pub(crate) async fn enrol(
    database: &Database,
    authority: &Authority,
    request: &EnrolRequest,
    now: Millis,
) -> Result<EnrolAnswer, EnrolError> {
    let letter = |c: char| c.is_ascii_alphanumeric() || " ._-".contains(c);
    let name = request.name.trim();
    if name.is_empty() || name.len() > 64 || !name.chars().all(letter) {
        return Err(EnrolError::Name);
    }
    if ![&request.code, &request.secret]
        .iter()
        .all(|t| t.len() <= 64 && t.bytes().all(|b| b.is_ascii_hexdigit()))
    {
        return Err(EnrolError::Code);
    }
    let csr = SigningRequest::parse(&request.csr).ok_or(EnrolError::Request)?;
    let edge = new_id();
    let mut tx = database.begin().await?;
    let Some(client) = take_code(&mut tx, request, &edge, now).await? else {
        let known = answered(&mut tx, request, &csr, now).await?;
        let known = known.ok_or(EnrolError::Code)?;
        return Ok(EnrolAnswer { authority: authority.pem().to_owned(), ..known });
    };
    let issued = authority.sign(&csr, &client, &edge, now)?;
    sqlx::query(
        "INSERT INTO edges (id, client, name, fingerprint, enrolled_at, last, safe, changed_at) VALUES ($1, $2, $3, $4, $5, 0, 0, $5)",
    )
    .bind(edge.clone())
    .bind(client.clone())
    .bind(name.to_owned())
    .bind(issued.fingerprint.to_string())
    .bind(now.0)
    .execute(&mut *tx)
    .await
    .map_err(db("writing down an edge"))?;
    keep_certificate(&mut tx, &edge, &csr, &issued, now).await?;
    let detail =
        serde_json::json!({ "client": client, "code": request.code, "fingerprint": issued.fingerprint });
    note(&mut tx, now, "link", "edge.enrolled", &edge, detail).await?;
    Database::commit(tx).await?;
    Ok(EnrolAnswer { edge, client, certificate: issued.certificate, authority: authority.pem().to_owned() })
}

/// An id that no other edge has.
fn new_id() -> String {
    let random = overread_http::tokens::Secret::random();
    random.reveal().get(..16).unwrap_or_default().to_owned()
}

/// Uses a code up: of two at once one gets its client.
async fn take_code(
    tx: &mut Tx,
    request: &EnrolRequest,
    edge: &str,
    now: Millis,
) -> Result<Option<String>, StoreError> {
    let doing = db("using an enrolment code");
    let row = sqlx::query(
        "UPDATE enrolment_codes SET used_at = $1, edge = $2 WHERE id = $3 AND hash = $4 AND used_at IS NULL AND expires_at > $1 RETURNING client",
    )
    .bind(now.0)
    .bind(edge.to_owned())
    .bind(request.code.clone())
    .bind(digest(&request.secret))
    .fetch_optional(&mut **tx)
    .await
    .map_err(&doing)?;
    row.map(|row| row.try_get(0)).transpose().map_err(&doing)
}

/// What this key got for this code before; without the authority.
async fn answered(
    tx: &mut Tx,
    request: &EnrolRequest,
    csr: &SigningRequest,
    now: Millis,
) -> Result<Option<EnrolAnswer>, StoreError> {
    let doing = db("looking for an enrolment");
    let row = sqlx::query(
        "SELECT e.id, e.client, c.certificate FROM enrolment_codes k JOIN edges e ON e.id = k.edge JOIN edge_certificates c ON c.edge = e.id
         WHERE k.id = $1 AND k.hash = $2 AND k.expires_at > $3 AND c.public_key = $4 AND e.revoked_at IS NULL",
    )
    .bind(request.code.clone())
    .bind(digest(&request.secret))
    .bind(now.0)
    .bind(csr.public_key().to_string())
    .fetch_optional(&mut **tx)
    .await
    .map_err(&doing)?;
    let Some(row) = row else { return Ok(None) };
    Ok(Some(EnrolAnswer {
        edge: row.try_get(0).map_err(&doing)?,
        client: row.try_get(1).map_err(&doing)?,
        certificate: row.try_get(2).map_err(&doing)?,
        authority: String::new(),
    }))
}

async fn keep_certificate(
    tx: &mut Tx,
    edge: &str,
    csr: &SigningRequest,
    issued: &Issued,
    now: Millis,
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO edge_certificates (fingerprint, edge, public_key, certificate, made_at) VALUES ($1, $2, $3, $4, $5)",
    )
    .bind(issued.fingerprint.to_string())
    .bind(edge.to_owned())
    .bind(csr.public_key().to_string())
    .bind(issued.certificate.clone())
    .bind(now.0)
    .execute(&mut **tx)
    .await
    .map_err(db("writing down a certificate"))?;
    Ok(())
}

/// Signs the next certificate of an edge. The one it showed stays good until its date: the answer may be lost. Any other one goes.
pub(crate) async fn renew(
    database: &Database,
    authority: &Authority,
    (caller, shown): (&Caller, &str),
    csr: &str,
    now: Millis,
) -> Result<EnrolAnswer, EnrolError> {
    let csr = SigningRequest::parse(csr).ok_or(EnrolError::Request)?;
    let issued = authority.sign(&csr, &caller.client, &caller.edge, now)?;
    let mut tx = database.begin().await?;
    sqlx::query("UPDATE edges SET fingerprint = $1, changed_at = $2 WHERE id = $3")
        .bind(issued.fingerprint.to_string())
        .bind(now.0)
        .bind(caller.edge.clone())
        .execute(&mut *tx)
        .await
        .map_err(db("renewing a certificate"))?;
    sqlx::query("DELETE FROM edge_certificates WHERE edge = $1 AND fingerprint <> $2")
        .bind(caller.edge.clone())
        .bind(shown.to_owned())
        .execute(&mut *tx)
        .await
        .map_err(db("renewing a certificate"))?;
    keep_certificate(&mut tx, &caller.edge, &csr, &issued, now).await?;
    let detail = serde_json::json!({ "fingerprint": issued.fingerprint });
    note(&mut tx, now, "link", "edge.renewed", &caller.edge, detail).await?;
    Database::commit(tx).await?;
    Ok(EnrolAnswer {
        edge: caller.edge.clone(),
        client: caller.client.clone(),
        certificate: issued.certificate,
        authority: authority.pem().to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_tries_too_often_waits_and_others_do_not() {
        let attempts = Attempts::default();
        let address = |n: u8| Some(IpAddr::from([10, 0, 0, n]));
        assert!((0..ATTEMPTS).all(|_| attempts.admit(address(1))));
        assert!(!attempts.admit(address(1)));
        assert!(attempts.admit(address(2)));
    }
}
