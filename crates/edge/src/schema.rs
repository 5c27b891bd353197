//! The edge's tables. They know patients; the service has none like them.

use overread_store::Migration;

/// In order; a released one is never changed.
pub const MIGRATIONS: &[Migration] =
    &[FIRST, COMMITMENT, overread_http::tokens::migration(3), VAULT, crate::departures::migration(5)];

const FIRST: Migration = Migration {
    version: 1,
    name: "studies, instances, results, deliveries",
    sql: "\
CREATE TABLE studies (
  id TEXT PRIMARY KEY,
  study_uid TEXT NOT NULL UNIQUE,
  pseudonym TEXT NOT NULL UNIQUE,
  state TEXT NOT NULL,
  version BIGINT NOT NULL,
  program TEXT,
  expected BIGINT,
  first_at BIGINT NOT NULL,
  last_at BIGINT NOT NULL,
  sent_at BIGINT
);
CREATE INDEX studies_last ON studies (last_at);
CREATE TABLE instances (
  sop_uid TEXT PRIMARY KEY,
  study_uid TEXT NOT NULL,
  series_uid TEXT NOT NULL,
  sop_class TEXT NOT NULL,
  transfer_syntax TEXT NOT NULL,
  origin TEXT NOT NULL,
  source TEXT NOT NULL,
  object TEXT NOT NULL,
  bytes BIGINT NOT NULL,
  sha256 TEXT NOT NULL,
  frames BIGINT NOT NULL,
  pseudonym TEXT,
  attributes TEXT NOT NULL,
  received_at BIGINT NOT NULL
);
CREATE INDEX instances_study ON instances (study_uid, series_uid);
CREATE INDEX instances_pseudonym ON instances (pseudonym);
CREATE TABLE conflicts (
  object TEXT PRIMARY KEY,
  sop_uid TEXT NOT NULL,
  source TEXT NOT NULL,
  bytes BIGINT NOT NULL,
  sha256 TEXT NOT NULL,
  received_at BIGINT NOT NULL
);
CREATE INDEX conflicts_instance ON conflicts (sop_uid, sha256);
CREATE TABLE results (
  id TEXT PRIMARY KEY,
  study_uid TEXT NOT NULL,
  program TEXT NOT NULL,
  case_version BIGINT NOT NULL,
  message TEXT NOT NULL,
  state TEXT NOT NULL,
  received_at BIGINT NOT NULL,
  filed_at BIGINT,
  UNIQUE (study_uid, program, case_version)
);
CREATE TABLE result_objects (
  sop_uid TEXT PRIMARY KEY,
  result TEXT NOT NULL,
  position BIGINT NOT NULL,
  kind TEXT NOT NULL
);
CREATE INDEX result_objects_result ON result_objects (result);
CREATE TABLE deliveries (
  result TEXT NOT NULL,
  destination TEXT NOT NULL,
  state TEXT NOT NULL,
  attempted_at BIGINT,
  delivered_at BIGINT,
  committed_at BIGINT,
  commitment TEXT,
  PRIMARY KEY (result, destination)
);
CREATE INDEX deliveries_commitment ON deliveries (commitment);
CREATE TABLE cursors (
  name TEXT PRIMARY KEY,
  position BIGINT NOT NULL
)",
};

const COMMITMENT: Migration = Migration {
    version: 2,
    name: "storage commitment, studies that are held",
    sql: "\
ALTER TABLE deliveries ADD COLUMN requests BIGINT NOT NULL DEFAULT 0;
ALTER TABLE deliveries ADD COLUMN resent BIGINT NOT NULL DEFAULT 0;
ALTER TABLE studies ADD COLUMN reason TEXT",
};

/// `patients` says who was erased, so that nothing is written for them any more; `erased` which version of a study was the last before; `removals` are objects
/// that no row names any more and that are to be removed.
const VAULT: Migration = Migration {
    version: 4,
    name: "patients' keys, erasure",
    sql: "\
ALTER TABLE instances ADD COLUMN patient TEXT;
ALTER TABLE conflicts ADD COLUMN patient TEXT;
CREATE INDEX instances_patient ON instances (patient);
CREATE INDEX conflicts_patient ON conflicts (patient);
CREATE TABLE patients (
  id TEXT PRIMARY KEY,
  erased BIGINT NOT NULL
);
CREATE TABLE erased (
  pseudonym TEXT PRIMARY KEY,
  version BIGINT NOT NULL
);
CREATE TABLE removals (
  object TEXT PRIMARY KEY
)",
};
