//! SQLite or PostgreSQL behind one set of queries.
//!
//! The dialect that both understand: `$1` placeholders, `BIGINT`, `TEXT`, `DOUBLE PRECISION`, `ON CONFLICT`, `RETURNING`; truth is 0 or 1, documents are
//! `TEXT`, moments are milliseconds.

use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use sqlx::any::{AnyConnectOptions, AnyPoolOptions};
use sqlx::{Any, AnyPool, AssertSqlSafe, Connection, Executor, Row};

use crate::StoreError;

/// A change of a room's tables.
#[derive(Clone, Copy, Debug)]
pub struct Migration {
    /// Counts from 1.
    pub version: i64,
    /// What it does, in a few words.
    pub name: &'static str,
    /// Statements, separated by `;` at the end of a line. `{NUMBER}` is the type of a primary key that counts by itself.
    pub sql: &'static str,
}

/// A transaction: committed, it is durable; dropped, it never was.
pub type Tx = sqlx::Transaction<'static, Any>;

/// A connection to read from.
pub type Conn = sqlx::pool::PoolConnection<Any>;

/// The tables that every room has.
const OWN: &[Migration] = &[Migration {
    version: 1,
    name: "jobs and audit",
    sql: "\
CREATE TABLE jobs (
  id {NUMBER},
  kind TEXT NOT NULL,
  key TEXT NOT NULL,
  payload TEXT NOT NULL,
  priority BIGINT NOT NULL,
  state TEXT NOT NULL,
  run_at BIGINT NOT NULL,
  attempts BIGINT NOT NULL,
  delays BIGINT NOT NULL,
  owner TEXT,
  token TEXT,
  leased_until BIGINT,
  again TEXT,
  again_at BIGINT,
  error TEXT,
  created_at BIGINT NOT NULL,
  changed_at BIGINT NOT NULL,
  UNIQUE (kind, key)
);
CREATE INDEX jobs_next ON jobs (state, kind, priority, run_at);
CREATE INDEX jobs_due ON jobs (state, kind, run_at);
CREATE TABLE audit (
  sequence BIGINT PRIMARY KEY,
  at BIGINT NOT NULL,
  actor TEXT NOT NULL,
  action TEXT NOT NULL,
  subject TEXT NOT NULL,
  detail TEXT NOT NULL,
  hash TEXT NOT NULL
);
CREATE TABLE audit_head (id BIGINT PRIMARY KEY, sequence BIGINT NOT NULL, hash TEXT NOT NULL);
INSERT INTO audit_head (id, sequence, hash) VALUES (1, 0, '')",
}];

/// A database. Clones share its connections.
#[derive(Clone)]
pub struct Database {
    readers: AnyPool,
    writers: AnyPool,
    sqlite: bool,
}

impl Database {
    /// Opens a database and brings its tables up to date: `sqlite:///absolute/path.db`, which is made if it is not there, or `postgres://…`.
    ///
    /// # Errors
    /// [`StoreError::Address`], [`StoreError::Newer`], or the database cannot be opened.
    pub async fn open(url: &str, room: &str, migrations: &[Migration]) -> Result<Self, StoreError> {
        sqlx::any::install_default_drivers();
        let database = if let Some(path) = url.strip_prefix("sqlite://") {
            Self::sqlite(Path::new(path)).await?
        } else if url.starts_with("postgres://") || url.starts_with("postgresql://") {
            Self::postgres(url).await?
        } else {
            let problem = "write sqlite:///path/to/file.db or postgres://user@host/database".to_owned();
            return Err(StoreError::Address { what: "database", problem });
        };
        database.migrate("store", OWN).await?;
        database.migrate(room, migrations).await?;
        Ok(database)
    }

    async fn sqlite(path: &Path) -> Result<Self, StoreError> {
        make_private(path)?;
        let url: String = url::Url::from_file_path(
            std::path::absolute(path).map_err(StoreError::file("finding the database"))?,
        )
        .map(|u| u.path().to_owned())
        .map_err(|()| StoreError::Address { what: "database", problem: "the path is no path".into() })?;
        let options = AnyConnectOptions::from_str(&format!("sqlite://{url}?mode=rwc"))
            .map_err(StoreError::database("opening it"))?;
        let pool = |connections| {
            AnyPoolOptions::new()
                .max_connections(connections)
                .acquire_timeout(Duration::from_secs(30))
                // FULL: a commit is synced before it is told. WAL: readers never wait for the writer.
                // A full disk makes SQLite roll back by itself. sqlx's own ROLLBACK then fails, and it believes itself in that transaction for ever: such
                // a connection is replaced.
                .before_acquire(|connection, _| {
                    Box::pin(async move { Ok(!connection.is_in_transaction()) })
                })
                .after_connect(|connection, _| {
                    Box::pin(async move {
                        connection
                            .execute(
                                "PRAGMA busy_timeout = 20000; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; \
                                 PRAGMA foreign_keys = ON; PRAGMA secure_delete = ON; PRAGMA wal_autocheckpoint = 4000;",
                            )
                            .await?;
                        Ok(())
                    })
                })
                .connect_lazy_with(options.clone())
        };
        Ok(Self { readers: pool(4), writers: pool(1), sqlite: true })
    }

    async fn postgres(url: &str) -> Result<Self, StoreError> {
        // The address may hold a password: the library's message about it is not repeated.
        let options = AnyConnectOptions::from_str(url).map_err(|_| StoreError::Address {
            what: "database",
            problem: "this is no address of a PostgreSQL database: postgres://user:password@host:5432/name"
                .into(),
        })?;
        let pool = AnyPoolOptions::new()
            .max_connections(12)
            .acquire_timeout(Duration::from_secs(10))
            .test_before_acquire(true)
            .after_connect(|connection, _| {
                Box::pin(async move {
                    connection.execute("SET synchronous_commit = on").await?;
                    Ok(())
                })
            })
            .connect_lazy_with(options);
        Ok(Self { readers: pool.clone(), writers: pool, sqlite: false })
    }

    /// A connection for reading.
    ///
    /// # Errors
    /// The database is away.
    pub async fn read(&self) -> Result<Conn, StoreError> {
        self.readers.acquire().await.map_err(StoreError::database("reading"))
    }

    /// A transaction for writing. SQLite has one at a time: it waits for its turn, and takes the lock at once, so that it never fails half-way.
    ///
    /// # Errors
    /// The database is away.
    pub async fn begin(&self) -> Result<Tx, StoreError> {
        let statement = if self.sqlite { "BEGIN IMMEDIATE" } else { "BEGIN" };
        self.writers.begin_with(statement).await.map_err(StoreError::database("beginning a transaction"))
    }

    /// Commits: on return it is durable.
    ///
    /// # Errors
    /// It was not committed, or nobody knows.
    pub async fn commit(tx: Tx) -> Result<(), StoreError> {
        tx.commit().await.map_err(StoreError::database("committing"))
    }

    /// Writes SQLite's whole database anew, and empties its log: unused parts of pages, in which `secure_delete` leaves copies when pages are split and joined, go too.
    /// Nothing else is written meanwhile. On PostgreSQL it does nothing, as [`Self::checkpoint`].
    ///
    /// # Errors
    /// As [`Self::checkpoint`]; there is no room for a second copy.
    pub async fn rewrite(&self) -> Result<(), StoreError> {
        if !self.sqlite {
            return Ok(());
        }
        let doing = "writing the database anew";
        let mut conn = self.writers.acquire().await.map_err(StoreError::database(doing))?;
        sqlx::query("VACUUM").execute(&mut *conn).await.map_err(StoreError::database(doing))?;
        drop(conn);
        self.checkpoint().await
    }

    /// Writes what SQLite holds in its log into the database and empties the log: what was deleted before is in neither any more. PostgreSQL has its own ways,
    /// which its administrator sets (VACUUM, archives of its log); there it does nothing.
    ///
    /// # Errors
    /// The database failed, or readers held the log for too long.
    pub async fn checkpoint(&self) -> Result<(), StoreError> {
        if !self.sqlite {
            return Ok(());
        }
        let doing = StoreError::database("emptying the log");
        let mut conn = self.writers.acquire().await.map_err(StoreError::database("emptying the log"))?;
        let row =
            sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)").fetch_one(&mut *conn).await.map_err(doing)?;
        let busy: i64 = row.try_get(0).map_err(StoreError::database("emptying the log"))?;
        if busy == 0 { Ok(()) } else { Err(StoreError::Busy { doing: "emptying the database's log" }) }
    }

    /// Whether the database answers.
    ///
    /// # Errors
    /// It does not.
    pub async fn ping(&self) -> Result<(), StoreError> {
        let mut conn = self.read().await?;
        sqlx::query("SELECT 1")
            .execute(&mut *conn)
            .await
            .map_err(StoreError::database("asking whether it is there"))?;
        Ok(())
    }

    /// Closes all connections, after those that are in use.
    pub async fn close(&self) {
        self.writers.close().await;
        self.readers.close().await;
    }

    /// What a SELECT ends with whose rows are about to be changed: several processes skip each other's. SQLite has one writer anyway.
    pub(crate) const fn skipping_locked(&self) -> &'static str {
        if self.sqlite { "" } else { " FOR UPDATE SKIP LOCKED" }
    }

    /// Type of a column that numbers rows by itself, each higher than all before, without a lock that lasts until the transaction ends.
    const fn number(&self) -> &'static str {
        if self.sqlite {
            "INTEGER PRIMARY KEY AUTOINCREMENT"
        } else {
            "BIGINT GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY"
        }
    }

    async fn migrate(&self, room: &str, migrations: &[Migration]) -> Result<(), StoreError> {
        let doing = "bringing its tables up to date";
        let mut tx = self.begin().await?;
        if !self.sqlite {
            // Two processes may start at once; the second waits here.
            sqlx::query("SELECT pg_advisory_xact_lock(7020250)")
                .execute(&mut *tx)
                .await
                .map_err(StoreError::database(doing))?;
        }
        tx.execute(
            "CREATE TABLE IF NOT EXISTS schema_versions (room TEXT PRIMARY KEY, version BIGINT NOT NULL)",
        )
        .await
        .map_err(StoreError::database(doing))?;
        let row = sqlx::query("SELECT version FROM schema_versions WHERE room = $1")
            .bind(room)
            .fetch_optional(&mut *tx)
            .await
            .map_err(StoreError::database(doing))?;
        let found: i64 = row.map_or(Ok(0), |r| r.try_get(0)).map_err(StoreError::database(doing))?;
        let known = migrations.last().map_or(0, |m| m.version);
        if found > known {
            return Err(StoreError::Newer { room: room.to_owned(), found, known });
        }
        for migration in migrations.iter().filter(|m| m.version > found) {
            for statement in migration.sql.split(";\n") {
                // The text is this program's own.
                tx.execute(AssertSqlSafe(statement.replace("{NUMBER}", self.number())))
                    .await
                    .map_err(StoreError::database(doing))?;
            }
            tracing::info!(
                room,
                version = migration.version,
                name = migration.name,
                "tables brought up to date"
            );
        }
        sqlx::query(
            "INSERT INTO schema_versions (room, version) VALUES ($1, $2) ON CONFLICT (room) DO UPDATE SET version = excluded.version",
        )
        .bind(room)
        .bind(known)
        .execute(&mut *tx)
        .await
        .map_err(StoreError::database(doing))?;
        Self::commit(tx).await
    }
}

/// Makes the folder and the file, for the owner alone: identity may lie in it.
fn make_private(path: &Path) -> Result<(), StoreError> {
    use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
    let doing = StoreError::file("making the database's folder");
    let folder = path
        .parent()
        .filter(|p| !p.as_os_str().is_empty())
        .map_or_else(|| PathBuf::from("."), Path::to_owned);
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder).map_err(doing)?;
    let made = std::fs::OpenOptions::new().create_new(true).write(true).mode(0o600).open(path);
    match made {
        Ok(file) => {
            file.sync_all().map_err(StoreError::file("making the database"))?;
            crate::files::sync_folder(&folder)
        }
        Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
        Err(e) => Err(StoreError::File { doing: "making the database", source: e }),
    }
}
