//! How many objects a disk can take durably: files are put in groups, each with one transaction that names them.
//!
//! `cargo run --release -p overread-store --example group_commit -- [FOLDER]`; without a folder, one for temporary files. The files are written before the
//! clock runs, as an intake writes them while they arrive: what is measured is what a sender waits for at the end.
#![allow(clippy::print_stdout, reason = "it is what the example is for")]

use std::error::Error;
use std::path::Path;
use std::time::{Duration, Instant};

use overread_store::{Database, Migration, ObjectKey, Objects};

const TABLES: &[Migration] = &[Migration {
    version: 1,
    name: "files",
    sql: "CREATE TABLE files (name TEXT PRIMARY KEY, length BIGINT NOT NULL)",
}];
/// Bytes of a file: a slice of a tomography.
const LENGTH: usize = 512 << 10;
/// How long each size of group is measured.
const LONG: Duration = Duration::from_secs(3);

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let parent = std::env::args_os().nth(1).unwrap_or_else(|| std::env::temp_dir().into());
    let folder = tempfile::tempdir_in(parent)?;
    let database =
        Database::open(&format!("sqlite://{}", folder.path().join("a.db").display()), "example", TABLES)
            .await?;
    let objects = Objects::open(
        &format!("file://{}", folder.path().join("objects").display()),
        &folder.path().join("staging"),
    )
    .await?;
    for size in [1, 4, 32] {
        measure(&database, &objects, size).await?;
    }
    Ok(())
}

async fn measure(database: &Database, objects: &Objects, size: usize) -> Result<(), Box<dyn Error>> {
    let (mut groups, mut spent) = (0_u32, Duration::ZERO);
    while spent < LONG {
        let mut files = vec![];
        for n in 0..size {
            let file = objects.staging().join(format!("{n}"));
            write(&file, groups)?;
            files.push((ObjectKey::parse(&format!("s{size}/{groups}/{n}"))?, file));
        }
        let keys: Vec<String> = files.iter().map(|(key, _)| key.to_string()).collect();
        let began = Instant::now();
        for put in objects.put_files(files).await {
            put?;
        }
        let mut tx = database.begin().await?;
        for key in keys {
            sqlx::query("INSERT INTO files (name, length) VALUES ($1, $2)")
                .bind(key)
                .bind(i64::try_from(LENGTH)?)
                .execute(&mut *tx)
                .await?;
        }
        Database::commit(tx).await?;
        spent += began.elapsed();
        groups += 1;
    }
    let a_second = f64::from(groups) / spent.as_secs_f64();
    let files = f64::from(groups * u32::try_from(size)?) / spent.as_secs_f64();
    println!("groups of {size:2}: {a_second:7.1} groups a second, {files:7.1} files a second");
    Ok(())
}

fn write(file: &Path, group: u32) -> std::io::Result<()> {
    std::fs::write(file, vec![group.to_le_bytes()[0]; LENGTH])
}
