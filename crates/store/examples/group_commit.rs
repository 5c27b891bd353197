//! How many groups a second can be made durable: files put together, then one transaction that names them.
//!
//! `cargo run --release -p overread-store --example group_commit [FOLDER]`; the folder lies on the disk to be measured.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a measurement, not the product")]

use std::io::Write;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use overread_store::{Database, Migration, ObjectKey, Objects};

const ROOM: &[Migration] = &[Migration {
    version: 1,
    name: "instances",
    sql: "CREATE TABLE instances (key TEXT PRIMARY KEY, bytes BIGINT NOT NULL)",
}];

/// A CT slice of 512 × 512 16-bit samples.
const BYTES: usize = 512 << 10;

#[tokio::main]
async fn main() {
    let above = std::env::args_os().nth(1).map_or_else(std::env::temp_dir, PathBuf::from);
    let folder = tempfile::tempdir_in(above).unwrap();
    let database =
        Database::open(&format!("sqlite://{}", folder.path().join("a.db").display()), "room", ROOM)
            .await
            .unwrap();
    let objects = Objects::open(
        &format!("file://{}", folder.path().join("objects").display()),
        &folder.path().join("staging"),
    )
    .await
    .unwrap();
    for size in [1, 4, 32] {
        measure(&database, &objects, size).await;
    }
}

async fn measure(database: &Database, objects: &Objects, size: usize) {
    let mut times = Vec::new();
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(8) && times.len() < 400 {
        let group: Vec<(ObjectKey, PathBuf)> = (0..size)
            .map(|n| {
                let key = ObjectKey::parse(&format!("g{size}/s{}/{n}", times.len())).unwrap();
                (key, written(objects))
            })
            .collect();
        let keys: Vec<ObjectKey> = group.iter().map(|(key, _)| key.clone()).collect();
        // The writing is the sender's time; what is measured is the way from written to durable.
        let start = Instant::now();
        for put in objects.put_files(group).await {
            put.unwrap();
        }
        let mut tx = database.begin().await.unwrap();
        for key in &keys {
            sqlx::query("INSERT INTO instances (key, bytes) VALUES ($1, $2)")
                .bind(key.as_str().to_owned())
                .bind(BYTES as i64)
                .execute(&mut *tx)
                .await
                .unwrap();
        }
        tx.commit().await.unwrap();
        times.push(start.elapsed());
    }
    times.sort();
    let total: Duration = times.iter().sum();
    let rate = times.len() as f64 / total.as_secs_f64();
    println!(
        "groups of {size:2}: {rate:6.1} groups/s, {:7.1} files/s, median {:.2?}, slowest {:.2?}",
        rate * size as f64,
        times[times.len() / 2],
        times[times.len() - 1],
    );
}

fn written(objects: &Objects) -> PathBuf {
    let mut file = tempfile::NamedTempFile::new_in(objects.staging()).unwrap();
    file.write_all(&[7; BYTES]).unwrap();
    let (_, path) = file.keep().unwrap();
    path
}
