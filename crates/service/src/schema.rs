//! The service's tables. There is no column that could hold a name or a date of birth.

use overread_store::Migration;

/// In order; a released one is never changed. `counters` gives out numbers: its row is locked until the commit, so that
/// the outbox's sequence is the order of commits on every database.
pub const MIGRATIONS: &[Migration] = &[
    Migration {
        version: 1,
        name: "studies, cases, readings, programs, outbox",
        sql: "\
CREATE TABLE counters (name TEXT PRIMARY KEY, last BIGINT NOT NULL);
INSERT INTO counters (name, last) VALUES ('study', 0), ('case', 0), ('reading', 0), ('outbox', 0);
CREATE TABLE clients (id TEXT PRIMARY KEY, created_at BIGINT NOT NULL);
INSERT INTO clients (id, created_at) VALUES ('default', 0);
CREATE TABLE cursors (client TEXT PRIMARY KEY, safe BIGINT NOT NULL, changed_at BIGINT NOT NULL);
INSERT INTO cursors (client, safe, changed_at) VALUES ('default', 0, 0);
CREATE TABLE objects (
  client TEXT NOT NULL,
  kind TEXT NOT NULL,
  sha256 TEXT NOT NULL,
  bytes BIGINT NOT NULL,
  put_at BIGINT NOT NULL,
  PRIMARY KEY (client, kind, sha256)
);
CREATE TABLE studies (
  id BIGINT PRIMARY KEY,
  client TEXT NOT NULL,
  study TEXT NOT NULL,
  latest BIGINT NOT NULL,
  UNIQUE (client, study)
);
CREATE TABLE study_versions (
  study_id BIGINT NOT NULL,
  version BIGINT NOT NULL,
  manifest TEXT NOT NULL,
  received_at BIGINT NOT NULL,
  PRIMARY KEY (study_id, version)
);
CREATE TABLE cases (
  id BIGINT PRIMARY KEY,
  client TEXT NOT NULL,
  study_id BIGINT NOT NULL,
  program TEXT NOT NULL,
  case_version BIGINT NOT NULL,
  state TEXT NOT NULL,
  detail TEXT NOT NULL,
  priority BIGINT NOT NULL,
  created_at BIGINT NOT NULL,
  changed_at BIGINT NOT NULL,
  UNIQUE (study_id, program)
);
CREATE INDEX cases_state ON cases (client, state, id);
CREATE TABLE readings (
  id BIGINT PRIMARY KEY,
  case_id BIGINT NOT NULL,
  study_version BIGINT NOT NULL,
  edition TEXT NOT NULL,
  mode TEXT NOT NULL,
  case_version BIGINT NOT NULL,
  result TEXT NOT NULL,
  captures TEXT NOT NULL,
  timings TEXT NOT NULL,
  created_at BIGINT NOT NULL,
  UNIQUE (case_id, study_version, edition)
);
CREATE TABLE outbox (
  sequence BIGINT PRIMARY KEY,
  client TEXT NOT NULL,
  reading_id BIGINT NOT NULL,
  message TEXT NOT NULL,
  created_at BIGINT NOT NULL
);
CREATE INDEX outbox_client ON outbox (client, sequence);
CREATE TABLE programs (
  name TEXT PRIMARY KEY,
  mode TEXT NOT NULL,
  changed_at BIGINT NOT NULL,
  changed_by TEXT NOT NULL,
  reason TEXT NOT NULL,
  validation TEXT
)",
    },
    overread_http::tokens::migration(2),
    Migration { version: 3, name: "edges of many clients, what may be forgotten", sql: EDGES },
];

/// Results are counted for each edge apart: `edges.last` is the row that is locked until the commit now. `default` is the edge that shows the link's token.
/// `objects.epoch` is part of an object's key: bytes that are being erased are never those of an object that was put since.
const EDGES: &str = "\
CREATE TABLE edges (
  id TEXT PRIMARY KEY,
  client TEXT NOT NULL,
  name TEXT NOT NULL,
  fingerprint TEXT NOT NULL,
  enrolled_at BIGINT NOT NULL,
  revoked_at BIGINT,
  last BIGINT NOT NULL,
  safe BIGINT NOT NULL,
  changed_at BIGINT NOT NULL
);
CREATE INDEX edges_client ON edges (client, enrolled_at);
INSERT INTO edges (id, client, name, fingerprint, enrolled_at, last, safe, changed_at)
  SELECT 'default', 'default', 'default', '', 0, n.last, c.safe, c.changed_at FROM counters n, cursors c WHERE n.name = 'outbox' AND c.client = 'default';
CREATE TABLE edge_certificates (
  fingerprint TEXT PRIMARY KEY,
  edge TEXT NOT NULL,
  public_key TEXT NOT NULL,
  certificate TEXT NOT NULL,
  made_at BIGINT NOT NULL
);
CREATE INDEX edge_certificates_edge ON edge_certificates (edge);
CREATE TABLE enrolment_codes (
  id TEXT PRIMARY KEY,
  client TEXT NOT NULL,
  hash TEXT NOT NULL,
  created_at BIGINT NOT NULL,
  created_by TEXT NOT NULL,
  expires_at BIGINT NOT NULL,
  used_at BIGINT,
  edge TEXT
);
ALTER TABLE clients ADD COLUMN epoch BIGINT NOT NULL DEFAULT 0;
ALTER TABLE objects ADD COLUMN epoch BIGINT NOT NULL DEFAULT 0;
ALTER TABLE studies ADD COLUMN edge TEXT NOT NULL DEFAULT 'default';
ALTER TABLE studies ADD COLUMN indexed BIGINT NOT NULL DEFAULT 0;
ALTER TABLE outbox ADD COLUMN edge TEXT NOT NULL DEFAULT 'default';
ALTER TABLE outbox ADD COLUMN position BIGINT NOT NULL DEFAULT 0;
UPDATE outbox SET position = sequence;
CREATE UNIQUE INDEX outbox_edge ON outbox (edge, position);
CREATE INDEX outbox_reading ON outbox (reading_id);
CREATE INDEX cases_study ON cases (study_id);
CREATE TABLE object_uses (
  client TEXT NOT NULL,
  kind TEXT NOT NULL,
  sha256 TEXT NOT NULL,
  study_id BIGINT NOT NULL,
  PRIMARY KEY (client, kind, sha256, study_id)
);
CREATE INDEX object_uses_study ON object_uses (study_id);
CREATE TABLE erasing (
  client TEXT NOT NULL,
  kind TEXT NOT NULL,
  sha256 TEXT NOT NULL,
  epoch BIGINT NOT NULL,
  PRIMARY KEY (client, kind, sha256, epoch)
);
CREATE TABLE forgotten (
  client TEXT NOT NULL,
  study TEXT NOT NULL,
  version BIGINT NOT NULL,
  forgotten_at BIGINT NOT NULL,
  PRIMARY KEY (client, study)
)";

#[cfg(test)]
mod tests {
    use overread_store::Database;
    use overread_wire::{Cursor, ResultMessage, StudyManifest};
    use tokio::sync::watch;

    use super::*;
    use crate::service::Bell;
    use crate::{forget, outbox};

    /// A database as the release before left it: one study with one result that its edge has not taken.
    async fn before(address: &str) {
        let database = Database::open(address, "service", &MIGRATIONS[..2]).await.unwrap();
        let manifest: StudyManifest =
            serde_json::from_str(include_str!("../../wire/tests/golden/study-1.json")).unwrap();
        let result = include_str!("../../wire/tests/golden/result-1.json");
        let image = manifest.instances[0].sha256.to_string();
        let text = serde_json::to_string(&manifest).unwrap();
        let result: ResultMessage = serde_json::from_str(result).unwrap();
        let captures = serde_json::to_string(&result.captures).unwrap();
        let message = serde_json::to_string(&result).unwrap();
        let mut tx = database.begin().await.unwrap();
        for sql in [
            "UPDATE counters SET last = 5 WHERE name = 'outbox'".to_owned(),
            "UPDATE cursors SET safe = 4".to_owned(),
            format!("INSERT INTO objects VALUES ('default', 'image', '{image}', 12, 0)"),
            "INSERT INTO studies VALUES (1, 'default', '2.25.1', 2)".to_owned(),
            format!("INSERT INTO study_versions VALUES (1, 2, '{text}', 0)"),
            "INSERT INTO cases VALUES (1, 'default', 1, 'p', 1, 'released', '', 1, 0, 0)".to_owned(),
            format!(
                "INSERT INTO readings VALUES (1, 1, 2, 'e', 'review-all', 1, '{{}}', '{captures}', '{{}}', 0)"
            ),
            format!("INSERT INTO outbox VALUES (5, 'default', 1, '{message}', 0)"),
        ] {
            sqlx::query(sqlx::AssertSqlSafe(sql)).execute(&mut *tx).await.unwrap();
        }
        Database::commit(tx).await.unwrap();
        database.close().await;
    }

    #[tokio::test]
    async fn what_the_release_before_left_goes_on() {
        let folder = tempfile::tempdir().unwrap();
        let address = format!("sqlite://{}", folder.path().join("a.db").display());
        before(&address).await;
        let database = Database::open(&address, "service", MIGRATIONS).await.unwrap();
        forget::index(&database).await.unwrap();
        let (_keep, mut bell) = watch::channel(Bell::default());
        let wait = std::time::Duration::ZERO;
        let now = overread_domain::Millis(1);
        let page = outbox::results(&database, "default", Cursor(4), wait, &mut bell, now).await.unwrap();
        assert_eq!((page.results.len(), page.next), (1, Cursor(5)), "the edge's cursor means what it meant");
        let mut conn = database.read().await.unwrap();
        let uses = sqlx::query("SELECT kind FROM object_uses WHERE study_id = 1 ORDER BY kind");
        let uses: Vec<String> = uses
            .fetch_all(&mut *conn)
            .await
            .unwrap()
            .iter()
            .map(|row| sqlx::Row::try_get(row, 0).unwrap())
            .collect();
        assert_eq!(uses, ["capture", "image"]);
    }
}
