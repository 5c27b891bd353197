//! A patient is erased, whatever happens meanwhile: nothing of them is left, copies from before do not open, and everybody else's is as it was.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod support;

use std::path::Path;
use std::process::Command;

use overread_testkit::dcmtk::Storescp;
use overread_testkit::ledger::data_set;
use overread_testkit::samples::Sample;
use overread_testkit::wait_until;
use sqlx::{AssertSqlSafe, Connection, Row};
use support::search::{below, marks, search};
use support::{Bench, PATIENCE, pacs};

/// A copy of a sample with other values; UIDs stay as they are.
fn changed(sample: &Sample, name: &str, changes: &[&str]) -> Sample {
    let path = sample.path.with_file_name(name);
    std::fs::copy(&sample.path, &path).unwrap();
    let mut command = Command::new("dcmodify");
    command.args(["-q", "-nb", "-imt"]);
    for change in changes {
        command.args(["-i", change]);
    }
    assert!(command.arg(&path).status().unwrap().success(), "dcmodify; run ./x setup");
    Sample { path, ..sample.clone() }
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    // What was killed may still be closing its files: a copy from which one vanished is made again, from nothing.
    wait_until("the data is copied", PATIENCE, || {
        std::fs::remove_dir_all(to).unwrap();
        std::fs::create_dir(to).unwrap();
        Command::new("cp").arg("-a").arg(from.join(".")).arg(to).status().unwrap().success()
    });
}

/// What a statement answers, the first column of each row; run beside the edge, or while it is closed.
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

/// Waits until so many results were delivered and nothing is left to do.
fn settled(bench: &Bench, results: usize) {
    bench.until_deliveries("pacs", &vec!["delivered"; results]);
    bench.until_idle();
}

/// Sends images, and lets the quiet period pass once all are there.
fn arrive(bench: &Bench, samples: &[Sample]) {
    bench.send(samples);
    bench.pass(31_000);
}

fn with_pacs(scp: &Storescp) -> Bench {
    Bench::start(|config| {
        config.completion.quiet_seconds = 30.0;
        config.destinations.insert("pacs".into(), pacs(scp.port(), "PACS", false));
    })
}

fn pseudonyms(bench: &Bench) -> Vec<String> {
    bench.service.studies().iter().map(|s| s.study.to_string()).collect()
}

fn same(bench: &Bench, sample: &Sample) -> bool {
    let sent = std::fs::read(&sample.path).unwrap();
    bench.fetch(sample).is_ok_and(|kept| data_set(&kept) == data_set(&sent))
}

#[test]
fn nothing_is_left_of_an_erased_patient_and_a_copy_from_before_does_not_open() {
    let scp = Storescp::start("PACS", &[]);
    let mut bench = with_pacs(&scp);
    let gone = bench.ct("gone", 2, 2);
    let (gone, stays) = (gone[..2].to_vec(), gone[2..].to_vec());
    // Another object under a UID of theirs comes too.
    let other = changed(&gone[0], "other.dcm", &["(0010,4000)=another"]);
    arrive(&bench, &[gone.clone(), vec![other]].concat());
    settled(&bench, 1);
    arrive(&bench, &stays);
    settled(&bench, 2);
    assert_eq!(bench.get("/api/v1/status")["conflicts"], 1);
    let (mut texts, others) = (marks(&gone[0]), marks(&stays[0]));
    // The search finds what is there, and names and dates are nowhere to begin with.
    let found = search(gone[0].path.parent().unwrap(), &texts);
    assert!(texts.iter().all(|text| found.iter().any(|(_, t)| t == text)), "{found:?}");
    let plain: Vec<_> = texts
        .iter()
        .chain(&others)
        .filter(|t| !t.starts_with("1.") && !t.starts_with("2."))
        .cloned()
        .collect();
    assert_eq!(search(bench.data(), &plain), []);

    bench.crash();
    let before = tempfile::tempdir().unwrap();
    copy(bench.data(), before.path());
    // The wrapped key itself, and where it was found.
    let keys = sql(&bench.data().join("vault.db"), "SELECT wrapped FROM vault_patients ORDER BY created_at");
    assert_eq!(keys.len(), 2);
    assert_eq!(search(bench.data(), &keys[..1]).len(), 1);
    texts.push(keys[0].clone());
    bench.again();
    let answer = bench.erase(&gone[0].patient_id, "");
    assert_eq!((answer.status, answer.json()["studies"].as_i64()), (202, Some(1)), "{}", answer.text());
    bench.until_idle();
    assert_eq!(bench.fetch(&gone[0]), Err(404));
    assert_eq!(bench.get("/api/v1/status")["conflicts"], 0);
    assert_eq!(search(bench.data(), &texts), [], "while it runs");
    assert!(stays.iter().all(|s| same(&bench, s)));
    assert_eq!(bench.deliveries("pacs"), ["delivered"]);
    // Of received objects and documents, the other patient's alone are left.
    let of_stays = sql(&bench.data().join("edge.db"), "SELECT object FROM instances");
    assert_eq!(below(&bench.data().join("objects")).len(), of_stays.len());
    // The service was told of the right study and no other; twice is the same.
    let first = pseudonyms(&bench)[0].clone();
    assert!(bench.service.forgotten().iter().all(|f| *f == (first.clone(), 1)));
    assert!(!bench.service.forgotten().is_empty());
    assert_eq!(bench.erase(&gone[0].patient_id, "").status, 404);
    bench.crash();
    assert_eq!(search(bench.data(), &texts), [], "after it ended");

    // A copy without the vault is refused; beside the vault of now it opens for the others alone.
    for file in ["vault.db", "vault.db-wal", "vault.db-shm"] {
        let _ = std::fs::remove_file(before.path().join(file));
    }
    let mut config = bench.config.clone();
    config.data = before.path().to_owned();
    let said = bench.refusal(&config).unwrap();
    assert!(said.contains("Restore vault.db"), "{said}");
    for file in ["vault.db", "vault.db-wal", "vault.db-shm"] {
        let _ = std::fs::copy(bench.data().join(file), before.path().join(file));
    }
    bench.config = config;
    bench.again();
    assert_eq!(bench.fetch(&gone[0]), Err(404));
    assert_eq!(bench.fetch(&gone[1]), Err(404));
    assert!(same(&bench, &stays[0]));
}

#[test]
fn of_a_study_with_images_of_two_patients_the_rest_goes_out_once_one_is_erased() {
    let scp = Storescp::start("PACS", &[]);
    let bench = with_pacs(&scp);
    let mut slices = bench.ct("mixed", 1, 3);
    slices[1] = changed(&slices[1], "mixed.dcm", &["(0010,0020)=CANARY-OTHER", "(0010,0021)=HOSP"]);
    arrive(&bench, &slices);
    wait_until("two patients are held back", PATIENCE, || bench.studies() == ["quarantined"]);
    assert!(bench.service.studies().is_empty());
    // Under no issuer, or as somebody else, nobody is erased.
    let answer = bench.erase("CANARY-OTHER", "");
    assert!(answer.status == 404 && answer.text().contains("another issuer"), "{}", answer.text());
    assert_eq!(bench.erase("CANARY-OTHER", "HOSP").status, 202);
    wait_until("the rest is sent", PATIENCE, || bench.service.studies().len() == 1);
    settled(&bench, 1);
    assert_eq!(
        (bench.fetch(&slices[1]), same(&bench, &slices[0]), same(&bench, &slices[2])),
        (Err(404), true, true)
    );
    let sent = bench.service.studies();
    assert_eq!((sent[0].version, sent[0].instances.len()), (2, 2));
    assert_eq!(bench.service.forgotten(), [(sent[0].study.to_string(), 1)]);
    // The rest is erased too, and comes again: versions go on, and the new result is filed though the one before is gone.
    assert_eq!(bench.erase(&slices[0].patient_id, "").status, 202);
    bench.until_idle();
    assert!(bench.studies().is_empty());
    arrive(&bench, &slices[..1]);
    wait_until("it is sent again", PATIENCE, || bench.service.studies().len() == 2);
    settled(&bench, 1);
    assert_eq!(bench.service.studies()[1].version, 3);
    assert_eq!(bench.service.forgotten(), [(sent[0].study.to_string(), 1), (sent[0].study.to_string(), 2)]);
}

#[test]
fn an_erasure_that_is_broken_off_anywhere_is_completed() {
    let scp = Storescp::start("PACS", &[]);
    let mut bench = with_pacs(&scp);
    let all = bench.ct("broken", 6, 1);
    arrive(&bench, &all);
    settled(&bench, all.len());
    let pseudonyms = pseudonyms(&bench);
    // Killed before the key is destroyed: the durable job is all there is.
    bench.crash();
    let edge = bench.data().join("edge.db");
    let found = format!("SELECT patient FROM instances WHERE sop_uid = '{}'", all[0].sop);
    let patient = sql(&edge, &found).remove(0);
    sql(&edge, &format!("UPDATE patients SET erased = 1 WHERE id = '{patient}'"));
    sql(
        &edge,
        &format!(
            "INSERT INTO jobs (kind, key, payload, priority, state, run_at, attempts, delays, created_at, changed_at)
             VALUES ('erase', '{patient}', '{{}}', 0, 'waiting', 0, 0, 0, 0, 0)"
        ),
    );
    bench.again();
    bench.until_idle();
    assert_eq!(search(bench.data(), &marks(&all[0])), []);
    // Killed at whatever it does next.
    for (round, sample) in all[1..4].iter().enumerate() {
        assert_eq!(bench.erase(&sample.patient_id, "").status, 202);
        std::thread::sleep(std::time::Duration::from_millis(3 * round as u64));
        bench.crash();
        bench.again();
        bench.until_idle();
        assert_eq!(search(bench.data(), &marks(sample)), [], "round {round}");
    }
    // While the service is away the rest is done, and it is told once it is back.
    bench.service.be_busy(true);
    assert_eq!(bench.erase(&all[4].patient_id, "").status, 202);
    wait_until("the objects are gone", PATIENCE, || search(bench.data(), &marks(&all[4])).is_empty());
    bench.crash();
    bench.service.be_busy(false);
    bench.again();
    bench.pass(300_000);
    bench.until_idle();
    let told: std::collections::BTreeSet<String> =
        bench.service.forgotten().into_iter().map(|(study, _)| study).collect();
    assert_eq!(told.len(), 5);
    assert!(told.iter().all(|study| pseudonyms.contains(study)));
    assert!(same(&bench, &all[5]));
    assert_eq!(bench.studies().len(), 1);
}

#[test]
fn who_asks_for_an_erasure_is_told_what_is_wrong_and_leaves_no_name() {
    let bench = Bench::start(|_| {});
    let sample = &bench.ct("asked", 1, 1)[0];
    bench.send(std::slice::from_ref(sample));
    bench.until_idle();
    assert_eq!(bench.erase("NOBODY-AT-ALL", "").status, 404);
    assert_eq!(bench.erase("", "").status, 422);
    assert_eq!(bench.erase(&"x".repeat(65), "").status, 422);
    let url = format!("{}/api/v1/patients/erase", bench.url);
    let post = |body: serde_json::Value| {
        let headers = [("content-type", "application/json")];
        overread_testkit::http::request("POST", &url, &headers, body.to_string().as_bytes()).unwrap()
    };
    let id = sample.patient_id.to_lowercase();
    let named =
        post(serde_json::json!({ "patient_id": sample.patient_id, "reason": format!("{id} asked for it") }));
    assert_eq!(named.status, 409, "{}", named.text());
    assert_eq!(post(serde_json::json!({ "patient_id": sample.patient_id })).status, 422);
    assert!(same(&bench, sample));
    assert_eq!(bench.erase(&format!(" {} ", sample.patient_id), "").status, 202);
    bench.until_idle();
    let entries = bench.get("/api/v1/audit?limit=1000").to_string();
    assert!(entries.contains("patient.erase") && entries.contains("asked for it"), "{entries}");
    assert!(!entries.contains("CANARY") && !entries.contains(&sample.study));
}
