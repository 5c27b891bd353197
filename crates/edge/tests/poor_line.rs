//! The edge and the service with a poor line between them: what is sent arrives, once, whatever the line does.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod support;

use std::path::{Path, PathBuf};
use std::time::Duration;

use overread_domain::ContentHash;
use overread_edge::link::{HttpLink, Identity, enrol};
use overread_edge::{Config, LinkConfig};
use overread_store::Database;
use overread_testkit::dcmtk::Storescp;
use overread_testkit::poor_line::Conditions;
use overread_testkit::{PoorLine, wait_until};
use overread_wire::{Cursor, Link, LinkError, StudyManifest};
use sha2::{Digest, Sha256};
use support::real::Real;
use support::{Bench, HOUR, PATIENCE, pacs};

/// 64 kbit/s and a fifth of the packets lost, some two hundred times as fast; connections live for some hundred milliseconds.
fn poor(seed: u64) -> Conditions {
    Conditions {
        bytes_per_second: 1_600_000,
        late_percent: 20,
        late: Duration::from_millis(2),
        life: Some(Duration::from_millis(150)..Duration::from_millis(700)),
        seed,
    }
}

/// The line without its faults.
fn good() -> Conditions {
    Conditions { bytes_per_second: 1 << 30, late_percent: 0, late: Duration::ZERO, life: None, seed: 1 }
}

/// A file whose bytes come from a text, and do not compress if `dense`.
fn object(folder: &Path, text: &str, length: usize, dense: bool) -> (PathBuf, ContentHash) {
    let mut bytes = Vec::with_capacity(length + 32);
    for number in 0u32.. {
        if bytes.len() >= length {
            break;
        }
        let block = Sha256::digest(format!("{text}{number}"));
        if dense { bytes.extend(block) } else { bytes.extend([block[0]; 32]) }
    }
    bytes.truncate(length);
    let path = folder.join(text);
    std::fs::write(&path, &bytes).unwrap();
    (path, ContentHash::from_bytes(Sha256::digest(&bytes).into()))
}

/// Sends until it is there, as jobs do: another attempt whenever one has given up.
async fn send(link: &HttpLink, hash: &ContentHash, path: &Path) {
    loop {
        match link.put_object(hash, path).await {
            Ok(()) => return,
            Err(e) => assert!(e.is_passing(), "{e:?}"),
        }
    }
}

#[test]
fn an_object_crosses_a_line_that_breaks_all_the_time() {
    const LENGTH: usize = 3 << 20;
    let service = Real::start();
    let folder = tempfile::tempdir().unwrap();
    let line = PoorLine::start(service.address, poor(7));
    let (path, hash) = object(folder.path(), "dense", LENGTH, true);
    let code = service.code("clinic");
    // Enrolment itself may need more than one attempt: the code stays good for whoever has the key.
    let config = LinkConfig { url: format!("https://localhost:{}", line.port()), ..LinkConfig::default() };
    while service.wait(enrol(&config, folder.path(), &code, "an edge")).is_err() {}
    let link = HttpLink::open(&config, folder.path()).unwrap();
    let before = line.sent();
    service.wait(send(&link, &hash, &path));
    let (sent, cuts) = (line.sent() - before, line.cuts());
    assert!(cuts >= 3, "the line was not poor: {cuts}");
    assert!(sent as usize <= LENGTH + LENGTH / 2, "{sent} bytes for {LENGTH}, {cuts} cuts");
    // It is there, as it was.
    let missing = loop {
        match service.wait(link.missing(std::slice::from_ref(&hash))) {
            Ok(missing) => break missing,
            Err(e) => assert!(e.is_passing(), "{e:?}"),
        }
    };
    assert_eq!((missing, service.rows("objects")), (vec![], 1));
}

#[test]
fn what_compresses_is_compressed() {
    let service = Real::start();
    let folder = tempfile::tempdir().unwrap();
    let line = PoorLine::start(service.address, good());
    let link = service.link(line.port(), folder.path());
    let mut sent = vec![];
    for dense in [false, true] {
        let (path, hash) = object(folder.path(), &format!("dense {dense}"), 1 << 20, dense);
        let before = line.sent();
        service.wait(link.put_object(&hash, &path)).unwrap();
        sent.push(line.sent() - before);
    }
    assert!(sent[0] < 200_000, "{sent:?}");
    assert!(sent[1] < (1 << 20) + 20_000, "{sent:?}");
}

#[test]
fn an_edge_trusts_the_service_of_its_code_and_keeps_its_key() {
    use std::os::unix::fs::PermissionsExt;
    let (service, other) = (Real::start(), Real::start());
    let folder = tempfile::tempdir().unwrap();
    // The code is of one service, the address of another.
    let wrong =
        LinkConfig { url: format!("https://localhost:{}", other.address.port()), ..LinkConfig::default() };
    let refused = service.wait(enrol(&wrong, folder.path(), &service.code("clinic"), "an edge"));
    assert!(matches!(refused, Err(LinkError::Unreachable { .. })), "{refused:?}");
    assert_eq!(other.rows("edges"), 1, "only `default`");
    // Nor does a name count that the certificate was not made for.
    let named = LinkConfig { url: format!("https://127.0.0.2:{}", service.address.port()), ..wrong };
    assert!(service.wait(enrol(&named, folder.path(), &service.code("clinic"), "an edge")).is_err());
    let code = service.code("clinic");
    let (config, enrolled) = service.enrol(service.address.port(), folder.path(), &code);
    let file = folder.path().join("link/identity.pem");
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(!folder.path().join("link/pending.pem").exists());
    let identity = Identity::read(&folder.path().join("link")).unwrap().unwrap();
    assert_eq!(identity.names(), Some((enrolled.edge, "clinic".into())));
    let link = HttpLink::open(&config, folder.path()).unwrap();
    assert_eq!(service.wait(link.missing(&[])).unwrap(), []);
    // A third of its time before its end it is renewed, and the edge goes on with the next one.
    let now = overread_domain::Clock::machine().now();
    let until = identity.validity().unwrap().1;
    assert!(!service.wait(link.renew_if_due(now)).unwrap());
    let before = std::fs::read(&file).unwrap();
    assert!(service.wait(link.renew_if_due(until.plus(-24 * HOUR))).unwrap());
    assert_ne!(std::fs::read(&file).unwrap(), before);
    assert_eq!(service.wait(link.missing(&[])).unwrap(), []);
    // Without a certificate there is no link.
    let empty = tempfile::tempdir().unwrap();
    assert!(HttpLink::open(&config, empty.path()).is_err());
}

#[test]
fn messages_that_come_twice_change_nothing() {
    let service = Real::start();
    let folder = tempfile::tempdir().unwrap();
    let link = service.link(service.address.port(), folder.path());
    let golden = include_str!("../../wire/tests/golden/study-1.json");
    let mut manifest: StudyManifest = serde_json::from_str(golden).unwrap();
    manifest.program_hint = None;
    let (path, hash) = object(folder.path(), "twice", 300_000, true);
    (manifest.version, manifest.instances[0].sha256) = (1, hash.clone());
    service.wait(async {
        for _ in 0..2 {
            link.put_object(&hash, &path).await.unwrap();
        }
        for _ in 0..2 {
            link.put_study(&manifest).await.unwrap();
        }
        let first = link.results(Cursor(0), 20).await.unwrap();
        let mut next = manifest.clone();
        next.version = 2;
        for _ in 0..2 {
            link.put_study(&next).await.unwrap();
            // The old one again, after the new one.
            link.put_study(&manifest).await.unwrap();
        }
        let second = link.results(first.next, 20).await.unwrap();
        assert_eq!((first.results.len(), second.results.len()), (1, 1));
        let all = link.results(Cursor(0), 0).await.unwrap();
        assert_eq!(all.results, [first.results, second.results].concat());
        for _ in 0..2 {
            link.forget(&manifest.study, 2).await.unwrap();
        }
        assert!(matches!(link.put_study(&next).await, Err(LinkError::Gone { .. })));
    });
    assert_eq!((service.rows("studies"), service.rows("outbox"), service.rows("forgotten")), (0, 0, 1));
}

/// Takes an edge back to before it had any result, as an old copy of its database would be.
fn forget_cursor(config: &Config) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let database =
            Database::open(&config.database_url(), "edge", overread_edge::MIGRATIONS).await.unwrap();
        let mut tx = database.begin().await.unwrap();
        sqlx::query("DELETE FROM cursors").execute(&mut *tx).await.unwrap();
        Database::commit(tx).await.unwrap();
        database.close().await;
    });
}

#[test]
fn an_outage_of_hours_loses_nothing_and_doubles_nothing() {
    let service = Real::start();
    let line = PoorLine::start(service.address, Conditions { life: None, ..poor(11) });
    let scp = Storescp::start("KEEPER", &[]);
    let mut bench = Bench::start(|config| {
        config.destinations.insert("pacs".into(), pacs(scp.port(), "KEEPER", false));
    });
    bench.crash();
    let (link, _) = service.enrol(line.port(), bench.data(), &service.code("clinic"));
    bench.link = Some(link);
    line.go_away(true);
    bench.again();
    bench.send(&bench.ct("outage", 2, 4));
    let waits = |since: i64| {
        let jobs = bench.jobs("waiting");
        jobs.len() == 2
            && jobs.iter().all(|job| {
                job["kind"] == "send" && job["attempts"] == 0 && job["run_at"].as_i64() > Some(since)
            })
            && jobs.iter().all(|job| job["error"].is_string())
    };
    for _ in 0..3 {
        wait_until("both studies wait", PATIENCE, || waits(bench.now()));
        bench.pass(HOUR);
    }
    line.go_away(false);
    bench.pass(HOUR);
    bench.until_deliveries("pacs", &["delivered"; 2]);
    assert_eq!((bench.studies(), service.rows("studies")), (vec!["sent".to_owned(); 2], 2));
    // The edge is killed, and all results come once more.
    bench.crash();
    forget_cursor(&bench.config);
    bench.again();
    wait_until("it has caught up", PATIENCE, || {
        service.wait(async {
            let rows = overread_service::clients::list(&service.service.database).await.unwrap();
            rows.iter().flat_map(|c| &c.edges).all(|edge| edge.unsent == 0)
        })
    });
    bench.until_idle();
    bench.until_deliveries("pacs", &["delivered"; 2]);
    assert_eq!((service.rows("outbox"), service.rows("studies"), scp.files().len()), (2, 2, 2));
    assert!(bench.jobs("dead").is_empty());
}

#[test]
fn a_revoked_edge_keeps_its_studies_until_it_is_let_in_again() {
    let service = Real::start();
    let mut bench = Bench::start(|_| {});
    bench.crash();
    let (link, enrolled) = service.enrol(service.address.port(), bench.data(), &service.code("clinic"));
    bench.link = Some(link);
    bench.again();
    let (database, now) = (&service.service.database, service.service.clock.now());
    let revoke = overread_service::clients::revoke(database, now, "a test", &enrolled.edge);
    assert!(service.wait(revoke).unwrap());
    bench.send(&bench.ct("revoked", 1, 1));
    let told = |job: &serde_json::Value| job["error"].as_str().is_some_and(|why| why.contains("revoked"));
    wait_until("the study waits", PATIENCE, || {
        bench.jobs("waiting").iter().any(|job| told(job) && job["attempts"] == 0)
    });
    bench.crash();
    service.enrol(service.address.port(), bench.data(), &service.code("clinic"));
    bench.again();
    bench.pass(HOUR);
    wait_until("it is sent", PATIENCE, || bench.studies() == ["sent"]);
    assert_eq!((service.rows("studies"), bench.jobs("dead").len()), (1, 0));
}

#[test]
fn a_study_crosses_a_line_that_breaks_all_the_time() {
    let service = Real::start();
    let line = PoorLine::start(service.address, poor(5));
    let scp = Storescp::start("KEEPER", &[]);
    let mut bench = Bench::start(|config| {
        config.destinations.insert("pacs".into(), pacs(scp.port(), "KEEPER", false));
    });
    bench.crash();
    let (mut link, _) = service.enrol(service.address.port(), bench.data(), &service.code("clinic"));
    link.url = format!("https://localhost:{}", line.port());
    bench.link = Some(link);
    bench.again();
    bench.send(&bench.ct("poor", 2, 6));
    bench.until_deliveries("pacs", &["delivered"; 2]);
    assert_eq!((bench.studies(), service.rows("studies")), (vec!["sent".to_owned(); 2], 2));
    assert_eq!((service.rows("outbox"), scp.files().len(), bench.jobs("dead").len()), (2, 2, 0));
    assert!(line.cuts() >= 3, "the line was not poor: {}", line.cuts());
}
