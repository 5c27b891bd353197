//! What is the same object, and what is not kept when its first is not.

use std::path::Path;

use overread_dicom::read::Limits;
use overread_domain::ContentHash;
use overread_store::Objects;
use overread_testkit::tools::sample;
use sha2::Digest;

use super::*;
use crate::config::Config;
use crate::describe::describe;
use crate::schema::MIGRATIONS;
use crate::vault::Vault;

async fn committer(folder: &Path) -> Committer {
    let database = format!("sqlite://{}", folder.join("edge.db").display());
    let objects = format!("file://{}", folder.join("objects").display());
    let database = Database::open(&database, "edge", MIGRATIONS).await.unwrap();
    let config = Config { data: folder.to_owned(), ..Config::default() };
    let vault = Vault::open(&config, &database, Clock::machine()).await.unwrap();
    let objects = Objects::open(&objects, &folder.join("staging")).await.unwrap();
    Committer {
        database,
        objects: SealedObjects::new(objects, vault),
        clock: Clock::machine(),
        quiet_ms: 1000,
        trust_expected: false,
        wake: Arc::default(),
        pseudonym: Box::new(Uid::clone),
    }
}

/// An object in staging, with some bytes of its meta group or its pixels changed.
async fn arrived(committer: &Committer, name: &str, change: impl FnOnce(&mut Vec<u8>)) -> Waiting {
    let mut bytes = std::fs::read(sample("693_UNCR.dcm")).unwrap();
    change(&mut bytes);
    let file = committer.objects.staging().join(name);
    std::fs::write(&file, &bytes).unwrap();
    let description = describe(&file, "test", &Limits::default()).unwrap();
    let sha256 = ContentHash::from_bytes(sha2::Sha256::digest(&bytes).into());
    let arrival = Arrival { file, bytes: bytes.len() as u64, sha256, source: "test".into(), expected: None };
    let patient = committer.objects.vault().patient(&description.who).await.unwrap();
    let key = SealedObjects::key("in/1", name).unwrap();
    let sealed = Sealed {
        patient: patient.id,
        file: committer.objects.seal(&patient, &key, &arrival.file).unwrap(),
        attributes: String::new(),
        key,
    };
    Waiting { arrival, description, sealed, answer: oneshot::channel().0 }
}

/// The preamble is any writer's own.
fn preamble(bytes: &mut [u8]) {
    bytes[..8].copy_from_slice(b"WRITER 2");
}

fn pixel(bytes: &mut [u8]) {
    *bytes.last_mut().unwrap() ^= 1;
}

#[tokio::test]
async fn what_differs_before_the_data_set_alone_is_the_same_object() {
    let folder = tempfile::tempdir().unwrap();
    let committer = committer(folder.path()).await;
    let first = arrived(&committer, "a", |_| {}).await;
    let kept = first.arrival.sha256.to_string();
    let group = [
        first,
        arrived(&committer, "b", |b| preamble(b)).await,
        arrived(&committer, "c", |b| pixel(b)).await,
    ];
    let outcomes = committer.commit(&group).await.unwrap();
    assert_eq!(outcomes, [Ok(Accepted::Stored), Ok(Accepted::Duplicate), Ok(Accepted::Conflict)]);
    drop(group);
    // The same once more, now beside what is stored.
    let group = [
        arrived(&committer, "d", |b| preamble(b)).await,
        arrived(&committer, "e", |b| {
            preamble(b);
            pixel(b);
        })
        .await,
    ];
    let outcomes = committer.commit(&group).await.unwrap();
    assert_eq!(outcomes, [Ok(Accepted::Duplicate), Ok(Accepted::Duplicate)]);
    let mut conn = committer.database.read().await.unwrap();
    let rows = sqlx::query("SELECT sha256 FROM instances").fetch_all(&mut *conn).await.unwrap();
    let hashes: Vec<String> = rows.iter().map(|r| r.get(0)).collect();
    assert_eq!(hashes, [kept]);
    let conflicts = sqlx::query("SELECT object FROM conflicts").fetch_all(&mut *conn).await.unwrap();
    assert_eq!(conflicts.len(), 1);
    drop(group);
    assert_eq!(std::fs::read_dir(committer.objects.staging()).unwrap().count(), 0, "duplicates are left");
}

#[tokio::test]
async fn a_duplicate_of_what_was_not_kept_is_not_kept() {
    let folder = tempfile::tempdir().unwrap();
    let committer = committer(folder.path()).await;
    let [first, same, other] = [
        arrived(&committer, "a", |_| {}).await,
        arrived(&committer, "b", |_| {}).await,
        arrived(&committer, "c", |b| pixel(b)).await,
    ];
    std::fs::remove_file(&first.sealed.file).unwrap();
    let outcomes = committer.commit(&[first, same, other]).await.unwrap();
    assert_eq!(outcomes, [Err(Refusal::Away), Err(Refusal::Away), Err(Refusal::Away)]);
    let mut conn = committer.database.read().await.unwrap();
    let rows = sqlx::query("SELECT sop_uid FROM instances UNION ALL SELECT sop_uid FROM conflicts");
    assert!(rows.fetch_all(&mut *conn).await.unwrap().is_empty());
}
