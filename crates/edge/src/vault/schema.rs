//! The vault's tables. Their names differ from the edge's, so that both may lie in one PostgreSQL database.

use overread_store::Migration;

/// In order; a released one is never changed.
pub(super) const MIGRATIONS: &[Migration] = &[Migration {
    version: 1,
    name: "patients' wrapped keys",
    sql: "\
CREATE TABLE vault_patients (
  id TEXT PRIMARY KEY,
  fingerprint TEXT UNIQUE,
  number TEXT,
  wrapped TEXT,
  master TEXT NOT NULL,
  created_at BIGINT NOT NULL,
  erased_at BIGINT
);
CREATE INDEX vault_patients_master ON vault_patients (master);
CREATE INDEX vault_patients_number ON vault_patients (number);
CREATE TABLE vault_secrets (
  name TEXT PRIMARY KEY,
  wrapped TEXT NOT NULL,
  master TEXT NOT NULL
);
CREATE TABLE vault_masters (
  id TEXT PRIMARY KEY,
  retired_at BIGINT
)",
}];
