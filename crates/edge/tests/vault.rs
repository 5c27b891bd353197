//! Keys: the wrong one, another one, one that is lost; and what an edge without a vault left.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod support;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use overread_deid::vault::{KeyFile, Master, SoftMaster};
use overread_domain::Clock;
use overread_edge::vault::rotate;
use overread_testkit::ledger::data_set;
use overread_testkit::samples::Sample;
use overread_testkit::{Postgres, wait_until};
use sqlx::{AssertSqlSafe, Connection, Row};
use support::search::{below, marks, search};
use support::{Bench, PATIENCE};

fn sql(database: &Path, statement: &str) -> Vec<String> {
    sqlx::any::install_default_drivers();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let address = format!("sqlite://{}?mode=rw", database.display());
        let mut conn = sqlx::AnyConnection::connect(&address).await.unwrap();
        let rows = sqlx::query(AssertSqlSafe(statement.to_owned())).fetch_all(&mut conn).await.unwrap();
        let rows = rows.iter().map(|row| row.try_get::<String, _>(0).unwrap()).collect();
        conn.close().await.unwrap();
        rows
    })
}

fn whole(bench: &Bench, samples: &[Sample]) -> bool {
    samples.iter().all(|sample| {
        let sent = std::fs::read(&sample.path).unwrap();
        bench.fetch(sample).is_ok_and(|kept| data_set(&kept) == data_set(&sent))
    })
}

/// Everything that was acknowledged, byte by byte, but the logs of SQLite and what is made of them.
fn contents(data: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let kept = |path: &PathBuf| !path.to_string_lossy().contains(".db");
    below(data).into_iter().filter(kept).map(|path| (path.clone(), std::fs::read(&path).unwrap())).collect()
}

fn masters(bench: &Bench) -> Vec<String> {
    sql(
        &bench.data().join("vault.db"),
        "SELECT master FROM vault_patients UNION SELECT master FROM vault_secrets",
    )
}

#[test]
fn a_wrong_or_missing_master_key_is_refused_and_nothing_is_touched() {
    let mut bench = Bench::start(|_| {});
    let slices = bench.ct("wrong", 2, 1);
    bench.send(&slices);
    bench.until_idle();
    bench.crash();
    let file = bench.data().join("vault.key");
    let right = std::fs::read(&file).unwrap();
    let keys = "SELECT id || fingerprint || wrapped FROM vault_patients ORDER BY id";
    let (before, rows) = (contents(bench.data()), sql(&bench.data().join("vault.db"), keys));
    std::fs::remove_file(&file).unwrap();
    let said = bench.refusal(&bench.config).unwrap();
    assert!(said.contains("the keys that were given are none") && said.contains("a backup has it"), "{said}");
    assert!(!file.exists(), "another key was made");
    KeyFile::at(&file).create().unwrap();
    let said = bench.refusal(&bench.config).unwrap();
    assert!(said.contains("the vault is sealed under the master key"), "{said}");
    std::fs::write(&file, &right).unwrap();
    assert_eq!(contents(bench.data()), before);
    assert_eq!(sql(&bench.data().join("vault.db"), keys), rows);
    bench.again();
    assert!(whole(&bench, &slices));
}

#[test]
fn an_object_that_was_changed_or_moved_at_rest_is_not_shown() {
    let bench = Bench::start(|_| {});
    let slices = bench.ct("flipped", 1, 2);
    bench.send(&slices);
    bench.until_idle();
    let object = |sop: &str| {
        let found = sql(
            &bench.data().join("edge.db"),
            &format!("SELECT object FROM instances WHERE sop_uid = '{sop}'"),
        );
        bench.data().join("objects").join(&found[0])
    };
    let (one, other) = (object(&slices[0].sop), object(&slices[1].sop));
    let bytes = std::fs::read(&one).unwrap();
    for at in [0, 20, 100, bytes.len() / 2, bytes.len() - 1] {
        let mut flipped = bytes.clone();
        flipped[at] ^= 1;
        std::fs::write(&one, flipped).unwrap();
        assert!(bench.fetch(&slices[0]).is_err(), "a bit at {at}");
    }
    std::fs::write(&one, &bytes[..bytes.len() - 70_000]).unwrap();
    assert!(bench.fetch(&slices[0]).is_err(), "cut short");
    std::fs::copy(&other, &one).unwrap();
    assert!(bench.fetch(&slices[0]).is_err(), "another object of the patient");
    std::fs::write(&one, bytes).unwrap();
    assert!(whole(&bench, &slices));
    let staging = bench.data().join("staging");
    wait_until("no opened copy is left", PATIENCE, || std::fs::read_dir(&staging).unwrap().count() == 0);
}

#[test]
fn a_rotation_beside_a_running_edge_may_be_killed_and_leaves_the_old_key_nothing() {
    let mut bench = Bench::start(|_| {});
    let slices = bench.ct("rotated", 12, 1);
    bench.send(&slices[..6]);
    bench.until_idle();
    let path = bench.data().join("vault.key");
    let (file, old) = (KeyFile::at(&path), std::fs::read(&path).unwrap());
    let old_id = masters(&bench).remove(0);
    // Killed after the new key was written and one key was wrapped anew.
    let new = SoftMaster::random().unwrap();
    let new_id = new.id().to_owned();
    let mut both = vec![new];
    both.extend(file.load().unwrap().unwrap());
    file.replace(&both).unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let turn = |config: &overread_edge::Config| {
        runtime.block_on(async {
            rotate(config, &Clock::machine()).await.map_err(|e| overread_domain::sentence(&e))
        })
    };
    let rotated = turn(&bench.config).unwrap();
    // It took the key that waited, and made no other; six patients and two secrets of the site.
    assert_eq!((rotated.master.as_str(), rotated.rewrapped, rotated.remains), (new_id.as_str(), 8, None));
    assert_eq!(masters(&bench), std::slice::from_ref(&new_id));
    assert_eq!(file.load().unwrap().unwrap().len(), 1);
    // The edge, which runs all along, reads and takes what is new.
    assert!(whole(&bench, &slices[..6]));
    bench.send(&slices[6..9]);
    assert_eq!(masters(&bench), [new_id]);
    // Killed at whatever it does, again and again, while images come.
    std::thread::scope(|scope| {
        let sending = scope.spawn(|| bench.send(&slices[9..]));
        for round in 0..20 {
            let killed = tokio::runtime::Runtime::new().unwrap();
            let config = bench.config.clone();
            killed.spawn(async move { rotate(&config, &Clock::machine()).await });
            std::thread::sleep(std::time::Duration::from_millis(round));
            killed.shutdown_timeout(std::time::Duration::from_secs(10));
        }
        sending.join().unwrap();
    });
    let rotated = turn(&bench.config).unwrap();
    assert_eq!(masters(&bench), std::slice::from_ref(&rotated.master));
    assert_ne!(rotated.master, old_id);
    assert!(whole(&bench, &slices));
    bench.crash();
    let now = std::fs::read(&path).unwrap();
    std::fs::write(&path, old).unwrap();
    assert!(bench.refusal(&bench.config).unwrap().contains(&old_id));
    std::fs::write(&path, now).unwrap();
    bench.again();
    assert!(whole(&bench, &slices));
}

#[test]
fn a_vault_may_lie_in_the_edges_own_postgresql() {
    let postgres = Postgres::start();
    let mut bench = Bench::start(|config| {
        config.database = postgres.database("edge");
        config.vault.database = config.database.clone();
    });
    let slices = bench.ct("postgres", 3, 1);
    bench.send(&slices);
    bench.until_idle();
    assert_eq!(bench.erase(&slices[0].patient_id, "").status, 202);
    bench.until_idle();
    assert_eq!(bench.fetch(&slices[0]), Err(404));
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let rotated = runtime.block_on(rotate(&bench.config, &Clock::machine()));
    // Two patients and two secrets of the site.
    assert_eq!(rotated.map_err(|e| overread_domain::sentence(&e)).unwrap().rewrapped, 4);
    assert!(whole(&bench, &slices[1..]));
    bench.crash();
    bench.again();
    assert!(whole(&bench, &slices[1..]));
    assert_eq!(bench.service.forgotten().len(), 1);
}

/// Turns an edge's data into what one without a vault would have left; the pseudonym key.
fn unseal(bench: &mut Bench, samples: &[Sample]) -> Vec<u8> {
    let limits = overread_dicom::read::Limits::default();
    let mut statements =
        vec!["DELETE FROM patients".to_owned(), "UPDATE instances SET patient = NULL".to_owned()];
    for (number, sample) in samples.iter().enumerate() {
        let object = format!("in/1/{number}.dcm");
        let path = bench.data().join("objects").join(&object);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, bench.fetch(sample).unwrap()).unwrap();
        let described = overread_edge::describe::describe(&path, "OVERREAD", &limits).unwrap();
        let attributes = serde_json::to_string(&described.attributes).unwrap().replace('\'', "''");
        let sop = &sample.sop;
        statements.push(format!(
            "UPDATE instances SET object = '{object}', attributes = '{attributes}' WHERE sop_uid = '{sop}'"
        ));
    }
    for result in bench.service.results() {
        let text = serde_json::to_string(&result).unwrap().replace('\'', "''");
        let pseudonym = result.study;
        statements.push(format!("UPDATE results SET message = '{text}' WHERE study_uid = (SELECT study_uid FROM studies WHERE pseudonym = '{pseudonym}')"));
    }
    statements.push("DELETE FROM instances WHERE origin = 'result'".to_owned());
    bench.crash();
    for statement in statements {
        sql(&bench.data().join("edge.db"), &statement);
    }
    for path in below(bench.data()) {
        let name = path.to_string_lossy().into_owned();
        if name.ends_with(".sealed") || name.contains("vault.") {
            std::fs::remove_file(path).unwrap();
        }
    }
    let key = vec![7; 32];
    let path = bench.data().join("pseudonym.key");
    std::fs::write(&path, &key).unwrap();
    std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    key
}

#[test]
fn what_an_edge_without_a_vault_left_is_read_and_sealed_by_and_by() {
    let mut bench = Bench::start(|_| {});
    let slices = bench.ct("older", 3, 2);
    bench.send(&slices);
    bench.until_idle();
    let key = unseal(&mut bench, &slices);
    let texts: Vec<String> = slices
        .iter()
        .flat_map(marks)
        .filter(|t| t.starts_with("CANARY") || t.starts_with("Aolder"))
        .collect();
    assert!(!search(bench.data(), &texts).is_empty());
    bench.again();
    assert!(whole(&bench, &slices));
    bench.until_idle();
    assert_eq!(search(bench.data(), &texts), []);
    assert!(!bench.data().join("pseudonym.key").exists());
    assert_eq!(below(&bench.data().join("objects/in")).len(), slices.len());
    assert!(whole(&bench, &slices));
    // The same pseudonyms as before: the next start is under the same key, which lies nowhere in the open.
    bench.crash();
    bench.again();
    assert!(
        below(bench.data())
            .iter()
            .all(|file| { memchr::memmem::find(&std::fs::read(file).unwrap_or_default(), &key).is_none() })
    );
    assert_eq!(bench.erase(&slices[0].patient_id, "").status, 202);
    bench.until_idle();
    assert_eq!(bench.fetch(&slices[1]), Err(404));
    assert!(whole(&bench, &slices[2..]));
}
