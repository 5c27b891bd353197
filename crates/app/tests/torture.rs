//! Kills at random moments while DCMTK and STOW-RS clients send: nothing acknowledged is lost, and each study has one current result at the PACS.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a panic is how a test fails; --nocapture shows how many kills there were"
)]

mod support;

use std::collections::HashSet;
use std::time::Duration;

use overread_testkit::dcmtk::{self, storescu};
use overread_testkit::http::{get, request, stow};
use overread_testkit::ledger::{Entry, Ledger};
use overread_testkit::samples::{self, Sample};
use overread_testkit::{Postgres, S3, wait_until};
use serde_json::Value;
use support::site::{PATIENCE, Site};

/// Films of a study: the first comes by C-STORE, the second by STOW-RS, at once.
const FILMS: usize = 2;

/// Kills: 20 unless `OVERREAD_TORTURE` says more.
fn kills() -> usize {
    std::env::var("OVERREAD_TORTURE").ok().and_then(|n| n.parse().ok()).unwrap_or(20)
}

#[test]
fn what_was_acknowledged_survives_kills_with_sqlite_and_files() {
    survives(&mut Site::start(|_| String::new()), kills());
}

/// The roles are killed, not their stores: those are others' to keep. A quarter of the kills, since the way is the same.
#[test]
fn what_was_acknowledged_survives_kills_with_postgresql_and_s3() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let s3 = runtime.block_on(S3::start());
    let postgres = Postgres::start();
    let stores = |role: &str| {
        format!("database = \"{}\"\nobjects = \"{}\"", postgres.database(role), s3.address(role))
    };
    survives(&mut Site::start(stores), kills().div_ceil(4));
}

fn survives(site: &mut Site, kills: usize) {
    site.mode("review-all");
    let all = samples::films(site.files.path(), "torture", kills, FILMS);
    let ledger = Ledger::new();
    let peer = dcmtk::Peer::new(site.dimse, "OVERREAD");
    for (n, study) in all.chunks(FILMS).enumerate() {
        send_and_kill(site, &peer, n, study, &ledger);
    }
    wait_until("both roles are ready", PATIENCE, || {
        [&site.edge, &site.service]
            .iter()
            .all(|url| get(&format!("{url}/readyz")).is_ok_and(|a| a.status == 200))
    });
    println!(
        "{kills} kills; {} of {} instances were acknowledged meanwhile",
        ledger.entries().len(),
        all.len()
    );
    // Before anything is sent again: that would repair what was lost.
    let losses = ledger.losses(|entry| fetch(site, entry));
    assert!(losses.is_empty(), "{losses:?}");
    for sample in &all {
        wait_until("everything is sent at last", PATIENCE, || storescu(&peer, &[], &[&sample.path]).complete);
        ledger.acknowledged(sample);
    }
    let studies: Vec<&str> = all.chunks(FILMS).map(|films| films[0].study.as_str()).collect();
    for study in &studies {
        wait_until("each study has its result", PATIENCE * 4, || current(site, study, "SR").len() == 1);
    }
    wait_until("no job is left", PATIENCE, || idle(site));
    // Amended or not: one report and one picture of each study stand, whatever was withdrawn on the way.
    for study in &studies {
        for modality in ["SR", "OT"] {
            let standing = current(site, study, modality);
            assert_eq!(standing.len(), 1, "{modality}: {standing:?}\n{}", site.state_of_all());
        }
    }
    assert!(ledger.losses(|entry| fetch(site, entry)).is_empty());
    for role in [&site.edge, &site.service] {
        let verified = get(&format!("{role}/api/v1/audit/verify")).unwrap().ok().json();
        assert_eq!(verified["holds"], true, "{verified}");
    }
}

/// Two senders, and a kill before, within or after what they do: of everything, of the edge, of the service.
fn send_and_kill(site: &mut Site, peer: &dcmtk::Peer, n: usize, study: &[Sample], ledger: &Ledger) {
    let moment = Duration::from_millis(rand::random_range(0..400));
    let url = format!("{}/dicom-web/studies", site.edge);
    std::thread::scope(|scope| {
        let by_store =
            scope.spawn(|| storescu(peer, &[], &[&study[0].path]).acknowledged.contains(&study[0].path));
        let by_stow = scope.spawn(|| {
            let file = std::fs::read(&study[1].path).unwrap();
            stow(&url, &[], &[file]).is_ok_and(|answer| answer.kept.contains(&study[1].sop))
        });
        std::thread::sleep(moment);
        match n % 3 {
            0 => site.overread.kill(),
            1 => drop(site.overread.kill_role("edge")),
            _ => drop(site.overread.kill_role("service")),
        }
        for (sender, sample) in [(by_store, &study[0]), (by_stow, &study[1])] {
            if sender.join().unwrap() {
                ledger.acknowledged(sample);
            }
        }
    });
    if n.is_multiple_of(3) {
        site.overread.again();
    }
}

fn fetch(site: &Site, entry: &Entry) -> Result<Vec<u8>, String> {
    let Entry { study, series, sop, .. } = entry;
    let url = format!("{}/dicom-web/studies/{study}/series/{series}/instances/{sop}", site.edge);
    let accept = "multipart/related; type=\"application/dicom\"; transfer-syntax=*";
    let answer = request("GET", &url, &[("accept", accept)], &[])?;
    if answer.status != 200 {
        return Err(format!("WADO-RS answered {}", answer.status));
    }
    answer.parts().into_iter().next().map(|p| p.body).ok_or_else(|| "no part".to_owned())
}

/// What stands in the PACS of a study: neither withdrawn by a rejection note nor named as predecessor by a later one.
fn current(site: &Site, study: &str, modality: &str) -> Vec<String> {
    let withdrawn: HashSet<String> = site
        .of_modality(study, "KO")
        .iter()
        .flat_map(|note| uids(&note["CurrentRequestedProcedureEvidenceSequence"]))
        .chain(
            site.of_modality(study, "SR")
                .iter()
                .flat_map(|report| uids(&report["PredecessorDocumentsSequence"])),
        )
        .collect();
    let of_modality = site.of_modality(study, modality);
    let uid = |tags: &Value| tags["SOPInstanceUID"].as_str().unwrap().to_owned();
    of_modality.iter().map(uid).filter(|uid| !withdrawn.contains(uid)).collect()
}

/// Every Referenced SOP Instance UID below.
fn uids(value: &Value) -> Vec<String> {
    match value {
        Value::Array(items) => items.iter().flat_map(uids).collect(),
        Value::Object(members) => members
            .iter()
            .flat_map(|(name, value)| match value.as_str() {
                Some(uid) if name == "ReferencedSOPInstanceUID" => vec![uid.to_owned()],
                _ => uids(value),
            })
            .collect(),
        _ => vec![],
    }
}

/// No role has a job that waits or runs, and none is dead.
fn idle(site: &Site) -> bool {
    [&site.edge, &site.service].iter().all(|role| {
        get(&format!("{role}/api/v1/jobs"))
            .is_ok_and(|a| a.status == 200 && a.json()["jobs"] == Value::Array(vec![]))
    })
}
