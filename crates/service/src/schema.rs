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
