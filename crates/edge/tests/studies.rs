//! What comes in and when it goes out: burned-in text, clocks that are turned, objects that contradict each other, hostile senders.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod support;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use overread_deid::Detection;
use overread_dicom::read::{CodecHost, CodecLimits};
use overread_domain::{Clock, sentence};
use overread_edge::{Config, Edge, LinkConfig};
use overread_testkit::http;
use overread_testkit::ledger::data_set;
use overread_testkit::samples::Sample;
use overread_testkit::tools::onnxruntime;
use overread_testkit::wait_until;
use support::{Bench, HOUR, PATIENCE};

/// A copy of a sample with other values, as `dcmodify` writes it; UIDs stay as they are.
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

/// Files below a folder.
fn below(folder: &Path) -> Vec<PathBuf> {
    let mut found = vec![];
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.path().is_dir() { found.extend(below(&entry.path())) } else { found.push(entry.path()) }
    }
    found
}

#[test]
fn a_study_whose_pixels_are_doubtful_is_quarantined_until_the_site_decides() {
    let mut bench = Bench::start(|_| {});
    bench.crash();
    bench.detection = Some(Detection::load(&onnxruntime(), 2).unwrap());
    bench.config.allow_burned_in = false;
    bench.again();
    let mut slices = bench.ct("burned", 1, 3);
    // It says that there is text, and there is none that anything could remove.
    slices[2] = changed(&slices[2], "burned.dcm", &["(0028,0301)=YES"]);
    bench.send(&slices);
    wait_until("the study is quarantined", PATIENCE, || bench.studies() == ["quarantined"]);
    let study = &bench.get("/api/v1/studies?state=quarantined")[0];
    let reason = study["reason"].as_str().unwrap();
    assert!(reason.starts_with("image ") && reason.contains("a person must look"), "{study}");
    let actions = bench.get("/api/v1/audit").to_string();
    assert!(actions.contains("study.quarantined"), "{actions}");
    // It is not in the way of others, and nothing of it left.
    bench.send(&bench.ct("innocent", 1, 1));
    wait_until("the other study is sent", PATIENCE, || bench.studies() == ["sent", "quarantined"]);
    assert_eq!((bench.service.studies().len(), bench.service.objects()), (1, 1));
    // Nothing changes while the settings stay.
    bench.crash();
    bench.again();
    assert_eq!(bench.studies(), ["sent", "quarantined"]);
    bench.crash();
    bench.config.allow_burned_in = true;
    bench.again();
    wait_until("both studies are sent", PATIENCE, || bench.studies() == ["sent", "sent"]);
    assert_eq!(bench.service.studies()[1].instances.len(), 3);
    assert_eq!(bench.get("/api/v1/studies")[1]["reason"], serde_json::Value::Null);
}

#[test]
fn images_of_two_patients_do_not_leave_as_one_study() {
    let bench = Bench::start(|_| {});
    let mut slices = bench.ct("two", 1, 3);
    slices[1] = changed(&slices[1], "unnamed.dcm", &["(0010,0020)="]);
    slices[2] = changed(&slices[2], "another.dcm", &["(0010,0020)=CANARY-2"]);
    bench.send(&slices);
    wait_until("the study is quarantined", PATIENCE, || bench.studies() == ["quarantined"]);
    let study = &bench.get("/api/v1/studies?state=quarantined")[0];
    let reason = study["reason"].as_str().unwrap();
    assert!(reason.contains("another patient") && !reason.contains("CANARY"), "{study}");
    assert_eq!((bench.service.studies().len(), bench.service.objects()), (0, 0));
    // Another study is not touched.
    bench.send(&bench.ct("other", 1, 2));
    wait_until("the other study is sent", PATIENCE, || bench.studies() == ["sent", "quarantined"]);
}

#[test]
fn an_edge_that_cannot_see_does_not_start() {
    let mut config = Config { data: tempfile::tempdir().unwrap().path().join("data"), ..Config::default() };
    let refused = |config: &Config| {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let link =
            LinkConfig { url: "http://127.0.0.1:1".into(), token: "token".into(), ..LinkConfig::default() };
        let codec = Arc::new(|| CodecHost::new("/nonexistent".into(), vec![], CodecLimits::default()));
        let opened = Edge::open(config.clone(), &link, codec, None, 0, Clock::machine());
        sentence(&runtime.block_on(opened).err().unwrap())
    };
    let why = refused(&config);
    assert!(
        why.contains("edge.deid") && why.contains("ONNX Runtime") && why.contains("pixels = \"keep\""),
        "{why}"
    );
    config.deid.profile = "radiolgy".into();
    let why = refused(&config);
    assert!(
        why.contains("edge.deid.profile") && why.contains("radiolgy") && why.contains("minimal"),
        "{why}"
    );
}

#[test]
fn a_clock_that_is_turned_neither_stalls_a_study_nor_sends_it_early() {
    let bench = Bench::start(|config| config.completion.quiet_seconds = 60.0);
    bench.send(&bench.ct("back", 1, 1));
    bench.turn(-5 * HOUR);
    // Not before the quiet period is over, however often it is looked at: the job is due within it, by the new time.
    wait_until("the job has the new time", PATIENCE, || {
        let jobs = bench.jobs("waiting");
        jobs.iter().all(|j| j["run_at"].as_i64().unwrap() - bench.now() <= 60_000)
    });
    assert_eq!(bench.studies(), ["receiving"]);
    bench.pass(60_000);
    wait_until("the study is sent", PATIENCE, || bench.studies() == ["sent"]);

    bench.send(&bench.ct("ahead", 1, 1));
    bench.turn(5 * HOUR);
    wait_until("the job has the new time", PATIENCE, || {
        let jobs = bench.jobs("waiting");
        jobs.iter().all(|j| j["run_at"].as_i64().unwrap() > bench.now())
    });
    // In the order of their last images by the clocks of then: the first came later.
    assert_eq!(bench.studies(), ["sent", "receiving"]);
    bench.pass(60_000);
    wait_until("the study is sent", PATIENCE, || bench.studies() == ["sent", "sent"]);
    let versions: Vec<u32> = bench.service.studies().iter().map(|s| s.version).collect();
    assert_eq!(versions, [1, 1], "a study went out before it was whole");
}

#[test]
fn one_uid_with_two_contents_is_kept_twice_and_told_and_the_first_counts() {
    // The study is still being received at the end: a result beside the image would be a second instance.
    let bench = Bench::start(|config| config.completion.quiet_seconds = 3600.0);
    let first = &bench.ct("conflict", 1, 1)[0];
    let other = changed(first, "other.dcm", &["(0010,4000)=another"]);
    let stored = |folder: &str| below(&bench.data().join("objects").join(folder)).len();
    // The same bytes, however often, are one object.
    for _ in 0..3 {
        bench.send(std::slice::from_ref(first));
    }
    assert_eq!((stored("in"), bench.get("/api/v1/status")["conflicts"].as_i64()), (1, Some(0)));
    for _ in 0..2 {
        bench.send(std::slice::from_ref(&other));
    }
    assert_eq!((stored("in"), bench.get("/api/v1/status")["conflicts"].as_i64()), (2, Some(1)));
    let url = format!("{}/dicom-web/studies/{}", bench.url, first.study);
    let accept = "multipart/related; type=\"application/dicom\"; transfer-syntax=*";
    let kept = http::request("GET", &url, &[("accept", accept)], &[]).unwrap().ok().parts();
    assert_eq!(kept.len(), 1);
    let sent = std::fs::read(&first.path).unwrap();
    assert_eq!(data_set(&kept[0].body), data_set(&sent), "it was overwritten");
}

#[test]
fn uids_that_try_to_be_paths_are_refused_at_every_door() {
    let bench = Bench::start(|_| {});
    let slice = &bench.ct("paths", 1, 1)[0];
    for (number, tag) in ["(0008,0018)", "(0020,000d)", "(0020,000e)"].iter().enumerate() {
        let evil = changed(slice, &format!("evil-{number}.dcm"), &[&format!("{tag}=../../x")]);
        let sent = bench.try_send(std::slice::from_ref(&evil));
        assert!(sent.acknowledged.is_empty(), "{tag}: {}", sent.log);
        let stow = http::stow(
            &format!("{}/dicom-web/studies", bench.url),
            &[],
            &[std::fs::read(&evil.path).unwrap()],
        );
        assert!(stow.is_err() || stow.unwrap().kept.is_empty(), "{tag}");
    }
    assert!(below(&bench.data().join("objects")).is_empty());
    assert!(below(&bench.data().join("staging")).is_empty(), "something was left behind");
    assert!(bench.studies().is_empty());
}
