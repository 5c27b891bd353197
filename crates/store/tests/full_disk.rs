//! What SQLite and files do on a disk that is full, and after somebody has made room: a real file system of 8 MiB.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::fs;
use std::path::Path;
use std::process::Command;

use bytes::Bytes;
use overread_store::{Database, Migration, ObjectKey, Objects, StoreError};
use sqlx::Row;

const ROOM: &[Migration] = &[Migration {
    version: 1,
    name: "things",
    sql: "CREATE TABLE things (n BIGINT PRIMARY KEY, text TEXT NOT NULL)",
}];

/// A small disk, gone when dropped.
struct Disk(tempfile::TempDir);

impl Disk {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mounted =
            Command::new("mount").args(["-t", "tmpfs", "-o", "size=8m", "small"]).arg(folder.path()).status();
        assert!(mounted.unwrap().success(), "a tmpfs cannot be mounted");
        Self(folder)
    }

    fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Lazily: a connection's thread may close its file a moment later.
        let _ = Command::new("umount").arg("-l").arg(self.path()).status();
    }
}

#[test]
fn a_full_disk_is_told_and_forgotten_once_there_is_room() {
    let id = Command::new("id").arg("-u").output().unwrap().stdout;
    if id == b"0\n" {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        return runtime.block_on(full_and_free());
    }
    // Whoever is not root may mount in a namespace of their own.
    let mut alone = Command::new("unshare");
    alone.args(["--user", "--map-root-user", "--mount"]).arg(std::env::current_exe().unwrap());
    let ended = alone.status();
    assert!(
        ended.is_ok_and(|s| s.success()),
        "this test mounts a tmpfs, which takes root or user namespaces"
    );
}

async fn full_and_free() {
    let disk = Disk::new();
    let database =
        Database::open(&format!("sqlite://{}/a.db", disk.path().display()), "room", ROOM).await.unwrap();
    let objects =
        Objects::open(&format!("file://{}/objects", disk.path().display()), &disk.path().join("staging"))
            .await
            .unwrap();
    let key = ObjectKey::parse("a/b").unwrap();
    let ballast = disk.path().join("ballast");
    fs::write(&ballast, vec![1; 6 << 20]).unwrap();

    for round in 0..3 {
        // Until the disk is full, in whichever statement it shows.
        let error = loop {
            if let Err(error) = insert(&database).await {
                break error;
            }
        };
        assert!(error.is_full() && error.is_passing(), "round {round}: {error}");
        let error = objects.put_bytes(&key, Bytes::from(vec![2; 2 << 20])).await.unwrap_err();
        assert!(error.is_full() && error.is_passing(), "round {round}: {error}");
        assert!(!objects.exists(&key).await.unwrap(), "an object of which a part was written");

        // The next writer meets the same, not a connection that believes itself in a transaction.
        let error = insert(&database).await.unwrap_err();
        assert!(error.is_full(), "round {round}: {error}");
        let before = count(&database).await;

        // Somebody makes room; nobody restarts anything.
        fs::write(&ballast, vec![1; (5 - round) << 20]).unwrap();
        insert(&database).await.unwrap();
        assert_eq!(count(&database).await, before + 1);
        objects.put_bytes(&key, Bytes::from_static(b"small")).await.unwrap();
        assert_eq!(objects.get(&key).await.unwrap(), "small");
        objects.delete(&key).await.unwrap();
    }
    let left = fs::read_dir(objects.staging()).unwrap().count();
    assert_eq!(left, 0, "what could not be put was left behind");
    database.close().await;
}

async fn insert(database: &Database) -> Result<(), StoreError> {
    let failed = |source| StoreError::Database { doing: "writing", source };
    let mut tx = database.begin().await?;
    sqlx::query("INSERT INTO things (n, text) SELECT COALESCE(MAX(n), 0) + 1, $1 FROM things")
        .bind("x".repeat(20_000))
        .execute(&mut *tx)
        .await
        .map_err(failed)?;
    Database::commit(tx).await
}

async fn count(database: &Database) -> i64 {
    let mut conn = database.read().await.unwrap();
    sqlx::query("SELECT COUNT(*) FROM things").fetch_one(&mut *conn).await.unwrap().get(0)
}
