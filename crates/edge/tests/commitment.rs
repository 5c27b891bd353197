//! Storage commitment: a delivery is committed when the peer says so, and only then.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod support;

use std::time::Duration;

use overread_testkit::dcmtk::Storescp;
use overread_testkit::{Orthanc, free_port, wait_until};
use serde_json::json;
use support::keeper::Keeper;
use support::{Bench, HOUR, PATIENCE, pacs};

/// An edge with one destination.
fn bench(port: u16, ae_title: &str, dimse: u16) -> Bench {
    Bench::start(|config| {
        config.dimse.bind.set_port(dimse);
        config.destinations.insert("pacs".into(), pacs(port, ae_title, true));
    })
}

#[test]
fn orthanc_commits_on_an_association_of_its_own() {
    let orthanc = Orthanc::start();
    let bench = bench(orthanc.dicom_port(), &orthanc.title(), free_port());
    orthanc.modality("overread", "OVERREAD", bench.dimse, &json!({}));
    bench.send(&bench.ct("orthanc", 1, 2));
    bench.until_deliveries("pacs", &["committed"]);
    let delivery = &bench.get("/api/v1/deliveries?state=committed")[0];
    assert!(delivery["committed_at"].as_i64() >= delivery["delivered_at"].as_i64(), "{delivery}");
    bench.until_idle();
}

#[test]
fn a_report_on_the_association_that_asked_counts() {
    let keeper = Keeper::start("all", None);
    let bench = bench(keeper.port, "KEEPER", free_port());
    bench.send(&bench.ct("same", 1, 1));
    bench.until_deliveries("pacs", &["committed"]);
    bench.until_idle();
    assert_eq!((keeper.count("asked"), keeper.count("stored")), (1, 1));
}

#[test]
fn a_report_about_a_transaction_of_nobodys_is_answered_and_changes_nothing() {
    let dimse = free_port();
    let keeper = Keeper::start("all", Some(dimse));
    let bench = bench(keeper.port, "KEEPER", dimse);
    bench.send(&bench.ct("stranger", 1, 1));
    bench.until_deliveries("pacs", &["committed"]);
    // The first, about something else, said that the report was lost.
    wait_until("both reports are answered", PATIENCE, || keeper.count("reported, answer 0") == 2);
    bench.until_idle();
    assert_eq!(keeper.count("stored"), 1, "it was sent again");
}

#[test]
fn a_report_that_comes_after_a_crash_still_counts() {
    let dimse = free_port();
    let mut keeper = Keeper::start("told", Some(dimse));
    let mut bench = bench(keeper.port, "KEEPER", dimse);
    bench.send(&bench.ct("crash", 1, 1));
    wait_until("the keeper is asked", PATIENCE, || keeper.count("asked") == 1);
    bench.crash();
    bench.again();
    // A crash while it waited on the association lets it ask again: the report on the last request counts.
    wait_until("it waits for the report", PATIENCE, || {
        bench.jobs("waiting").iter().any(|j| j["run_at"].as_i64().unwrap() > bench.now() + HOUR)
    });
    assert_eq!(bench.deliveries("pacs"), ["delivered"]);
    keeper.tell();
    bench.until_deliveries("pacs", &["committed"]);
    bench.until_idle();
    assert_eq!(keeper.count("stored"), 1, "it was sent again");
}

#[test]
fn a_commitment_survives_a_crash_at_any_moment() {
    let dimse = free_port();
    let keeper = Keeper::start("all", Some(dimse));
    let mut bench = bench(keeper.port, "KEEPER", dimse);
    let studies = bench.ct("moments", 5, 1);
    for study in &studies {
        bench.send(std::slice::from_ref(study));
        std::thread::sleep(Duration::from_millis(rand::random_range(0..1500)));
        bench.crash();
        bench.again();
    }
    wait_until("everything is committed", PATIENCE, || {
        // A report that came while the edge was down is asked for anew after hours.
        if bench.jobs("running").is_empty() {
            bench.pass(HOUR);
        }
        bench.deliveries("pacs") == ["committed"; 5]
    });
    wait_until("no job is left", PATIENCE, || bench.jobs("waiting").is_empty());
    assert!(bench.jobs("dead").is_empty());
}

#[test]
fn a_peer_that_never_reports_is_asked_a_few_times_and_then_a_person_is() {
    let dimse = free_port();
    let mut keeper = Keeper::start("told", Some(dimse));
    let bench = bench(keeper.port, "KEEPER", dimse);
    bench.send(&bench.ct("silent", 1, 1));
    for times in 1..=4 {
        wait_until("the keeper is asked", PATIENCE, || keeper.count("asked") == times);
        wait_until("it waits for the report", PATIENCE, || bench.jobs("running").is_empty());
        assert_eq!(bench.jobs("dead").len(), 0);
        bench.pass(6 * HOUR);
    }
    let dead = bench.dead_letter();
    assert_eq!(dead["kind"], "commit:pacs");
    assert!(dead["error"].as_str().unwrap().contains("reported on none"), "{dead}");
    assert_eq!(bench.deliveries("pacs"), ["delivered"]);
    // Late, but it says so: then nobody need look any more.
    keeper.tell();
    bench.until_deliveries("pacs", &["committed"]);
    wait_until("the dead letter is gone", PATIENCE, || bench.jobs("dead").is_empty());
    assert_eq!(keeper.count("asked"), 4);
}

#[test]
fn what_the_peer_does_not_keep_is_sent_again() {
    let keeper = Keeper::start("second", None);
    let bench = bench(keeper.port, "KEEPER", free_port());
    bench.send(&bench.ct("again", 1, 1));
    bench.until_deliveries("pacs", &["committed"]);
    assert_eq!((keeper.count("asked"), keeper.count("stored")), (2, 2));
    bench.until_idle();
}

#[test]
fn what_the_peer_never_keeps_is_a_dead_letter_and_a_person_can_try_again() {
    let keeper = Keeper::start("some", None);
    let bench = bench(keeper.port, "KEEPER", free_port());
    bench.send(&bench.ct("never", 1, 1));
    let dead = bench.dead_letter();
    assert!(dead["error"].as_str().unwrap().contains("does not keep"), "{dead}");
    assert_eq!((keeper.count("asked"), keeper.count("stored")), (4, 4));
    assert_eq!(bench.deliveries("pacs"), ["uncommitted"]);
    let audit = bench.get("/api/v1/audit?limit=1000").to_string();
    assert!(audit.contains("result.uncommitted") && audit.contains("0112"), "{audit}");
    bench.post(&format!("/api/v1/jobs/{}/requeue", dead["id"])).ok();
    wait_until("it is sent again", PATIENCE, || keeper.count("stored") == 5);
}

#[test]
fn a_peer_without_the_service_is_not_asked_again() {
    let scp = Storescp::start("KEEPER", &[]);
    let bench = bench(scp.port(), "KEEPER", free_port());
    bench.send(&bench.ct("unoffered", 1, 1));
    bench.until_deliveries("pacs", &["not-offered"]);
    bench.until_idle();
    assert!(bench.jobs("dead").is_empty());
    assert_eq!(scp.files().len(), 1);
}
