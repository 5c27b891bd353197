//! Answers that are swapped, repeated or strange: none reaches the wrong patient, none is delivered twice.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod support;

use overread_testkit::dcmtk::{Storescp, dcmdump};
use overread_testkit::samples::Sample;
use overread_testkit::wait_until;
use overread_wire::ResultMessage;
use support::{Bench, PATIENCE, pacs};

/// A bench beside a PACS, with two patients' studies that were read and whose answers are held back.
fn two_patients(scp: &Storescp, seed: &str) -> (Bench, Vec<Sample>) {
    let bench = Bench::start(|config| {
        config.destinations.insert("pacs".into(), pacs(scp.port(), "KEEPER", false));
    });
    bench.service.hold();
    let samples = bench.ct(seed, 2, 1);
    bench.send(&samples);
    wait_until("both studies are sent", PATIENCE, || bench.studies() == ["sent", "sent"]);
    (bench, samples)
}

/// How often the audit log has an action.
fn audited(bench: &Bench, action: &str) -> usize {
    let entries = bench.get("/api/v1/audit?limit=1000");
    entries["entries"].as_array().unwrap().iter().filter(|e| e["action"] == action).count()
}

fn swap_studies(results: &mut [ResultMessage]) {
    let [first, second] = results else { panic!("{} results", results.len()) };
    std::mem::swap(&mut first.study, &mut second.study);
}

#[test]
fn two_results_that_are_swapped_reach_nobody_and_the_right_ones_still_do() {
    for (seed, names_the_manifest) in [("by-manifest", true), ("by-images", false)] {
        let scp = Storescp::start("KEEPER", &[]);
        let (bench, samples) = two_patients(&scp, seed);
        let mut right = vec![];
        bench.service.release(|results| {
            right.clone_from(results);
            swap_studies(results);
            if !names_the_manifest {
                results.iter_mut().for_each(|r| r.manifest = None);
            }
        });
        wait_until("both are refused", PATIENCE, || audited(&bench, "result.refused") == 2);
        assert_eq!(audited(&bench, "result.received"), 0);
        assert!(bench.deliveries("pacs").is_empty() && scp.files().is_empty());
        // The swapped ones stand in nobody's way.
        bench.service.release(|results| results.extend(right));
        bench.until_deliveries("pacs", &["delivered", "delivered"]);
        let reports: Vec<String> = scp.files().iter().map(|f| dcmdump(f)).collect();
        for sample in &samples {
            let of_study: Vec<_> = reports.iter().filter(|r| r.contains(&sample.study)).collect();
            assert_eq!(of_study.len(), 1, "reports of one study");
            assert!(of_study[0].contains(&sample.patient_name) && of_study[0].contains(&sample.patient_id));
        }
    }
}

#[test]
fn an_answer_to_another_version_or_another_manifest_is_refused() {
    let scp = Storescp::start("KEEPER", &[]);
    let (bench, _) = two_patients(&scp, "versions");
    bench.service.release(|results| {
        let (image, manifest) = (results[0].images[0].clone(), results[1].manifest.clone());
        results[0].manifest = manifest;
        // A version that never left has no answer, whatever it says it looked at.
        let mut never = results[1].clone();
        never.study_version = 7;
        never.images.clear();
        results[1].images.push(image);
        results.push(never);
    });
    wait_until("all are refused", PATIENCE, || audited(&bench, "result.refused") == 3);
    assert!(bench.deliveries("pacs").is_empty() && scp.files().is_empty());
}

#[test]
fn what_is_told_again_and_again_is_delivered_once() {
    let scp = Storescp::start("KEEPER", &[]);
    let (mut bench, _) = two_patients(&scp, "replay");
    bench.service.release(|results| {
        let once = results.clone();
        results.extend(once.iter().cloned());
        results.extend(once);
    });
    bench.until_deliveries("pacs", &["delivered", "delivered"]);
    // A service that was set back tells everything anew, and an edge that crashed asks anew.
    bench.crash();
    bench.again();
    bench.service.release(|results| results.extend(results.clone()));
    bench.send(&bench.ct("another", 1, 1));
    bench.until_deliveries("pacs", &["delivered", "delivered", "delivered"]);
    bench.until_idle();
    assert_eq!(scp.files().len(), 3);
    assert_eq!(audited(&bench, "result.received"), 3);
}
