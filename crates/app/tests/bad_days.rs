//! The whole site on a bad day.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod support;

use std::io::Read;
use std::path::Path;
use std::sync::mpsc;

use overread_testkit::process::{descendants, kill_one};
use overread_testkit::samples::{self, Sample};
use overread_testkit::{http, wait_for, wait_until};
use serde_json::Value;
use support::site::{PATIENCE, Site};

/// Damages the packets of a JPEG 2000 codestream: the file stays well formed, the codec has to notice.
fn damage(file: &Path) {
    let mut bytes = std::fs::read(file).unwrap();
    let find =
        |what: &[u8], from: usize| from + bytes[from..].windows(what.len()).position(|w| w == what).unwrap();
    // SOC and SIZ begin the codestream, SOD its packets.
    let (packets, end) = (find(&[0xff, 0x93], find(&[0xff, 0x4f, 0xff, 0x51], 0)) + 2, bytes.len() - 64);
    bytes[packets..end].fill(0xff);
    std::fs::write(file, bytes).unwrap();
}

/// Sends a study and waits for its report in the PACS.
fn read(site: &Site, sample: &Sample) -> Value {
    send(site, sample);
    report(site, sample)
}

fn send(site: &Site, sample: &Sample) {
    let id = site.orthanc.upload(&sample.path);
    site.orthanc.send(&id, "overread").unwrap();
}

fn report(site: &Site, sample: &Sample) -> Value {
    wait_for("the report is in the PACS", PATIENCE, || site.of_modality(&sample.study, "SR").pop())
}

/// The last case's reading, as the service tells it.
fn last_reading(site: &Site) -> Value {
    let cases = http::get(&format!("{}/api/v1/cases?limit=100", site.service)).unwrap().ok().json();
    let id = cases["cases"].as_array().unwrap().last().unwrap()["id"].clone();
    let case = http::get(&format!("{}/api/v1/cases/{id}", site.service)).unwrap().ok().json();
    case["readings"].as_array().unwrap().last().unwrap().clone()
}

/// What was not seen is not ruled out, and it is said which image that was.
fn must_be_open(site: &Site) {
    let reading = last_reading(site);
    let decision = &reading["findings"][0]["decision"];
    assert!(decision != "absent" && decision != "present", "{reading}");
    assert!(reading.to_string().contains("image 1"), "{reading}");
}

fn must_be_read(site: &Site) {
    let reading = last_reading(site);
    assert!(
        reading["not_assessed"].is_null() && reading["warnings"].as_array().unwrap().is_empty(),
        "{reading}"
    );
}

/// The children that decode for the service.
fn codecs(site: &Site) -> Vec<u32> {
    let service = site.overread.role_id("service").unwrap();
    let decodes = |line: &[String]| line.iter().any(|word| word.contains("codec-worker"));
    descendants(service).into_iter().filter(|(_, line)| decodes(line)).map(|(id, _)| id).collect()
}

/// Stops a process where it stands.
fn stop(id: u32) {
    assert!(std::process::Command::new("kill").args(["-STOP", &id.to_string()]).status().unwrap().success());
}

#[test]
fn an_image_that_its_codec_does_not_survive_costs_no_other_study() {
    let site = Site::start(|_| String::new());
    site.mode("review-all");
    let mut all = samples::children_j2k(site.files.path(), "codec", 12).into_iter();
    let mut next = || all.next().unwrap();
    read(&site, &next());
    must_be_read(&site);

    let damaged = next();
    damage(&damaged.path);
    read(&site, &damaged);
    must_be_open(&site);
    read(&site, &next());
    must_be_read(&site);

    // A crash in the middle of a frame: a codec is stopped, asked, and dies before it has answered.
    let (asked, was_asked) = mpsc::channel();
    for id in wait_for("a codec", PATIENCE, || Some(codecs(&site)).filter(|c| !c.is_empty())) {
        let mut input = std::fs::File::open(format!("/proc/{id}/fd/0")).unwrap();
        stop(id);
        let asked = asked.clone();
        // A byte of the question is taken from a child that will not answer any more.
        std::thread::spawn(move || input.read_exact(&mut [0]).map(|()| asked.send(id)));
    }
    // The service reads on several threads with a codec each: one of the next studies meets the one that was stopped.
    let victim = loop {
        let sample = next();
        send(&site, &sample);
        let met = wait_for("a report or a question", PATIENCE, || match was_asked.try_recv() {
            Ok(id) => Some(Some(id)),
            Err(_) => (!site.of_modality(&sample.study, "SR").is_empty()).then_some(None),
        });
        if let Some(id) = met {
            assert!(kill_one(id));
            // The others die while nobody asks them, which costs nothing.
            for other in codecs(&site) {
                kill_one(other);
            }
            break sample;
        }
    };
    report(&site, &victim);
    must_be_open(&site);
    read(&site, &next());
    must_be_read(&site);
    for role in [&site.edge, &site.service] {
        let dead = http::get(&format!("{role}/api/v1/jobs?state=dead")).unwrap().ok().json();
        assert_eq!(dead["jobs"].as_array().unwrap().len(), 0, "{dead}");
    }
}

#[test]
fn results_wait_for_a_pacs_that_is_away_and_are_committed_when_it_is_back() {
    let mut site = Site::start(|_| String::new());
    site.mode("review-all");
    let sample = &site.children("away", 1)[0];
    // The PACS goes away between the image's way out and the result's way back.
    let id = site.orthanc.upload(&sample.path);
    site.orthanc.send(&id, "overread").unwrap();
    site.orthanc.kill();
    let jobs = |state: &str| {
        let all = http::get(&format!("{}/api/v1/jobs?state={state}", site.edge)).unwrap().ok().json();
        all["jobs"].as_array().unwrap().clone()
    };
    let waits =
        || jobs("waiting").into_iter().find(|j| j["kind"] == "deliver:pacs" && j["error"].is_string());
    let job = wait_for("the delivery waits", PATIENCE, waits);
    assert!(job["error"].as_str().unwrap().contains("connection refused"), "{job}");
    assert_eq!(job["attempts"], 0, "{job}");
    let deliveries = || http::get(&format!("{}/api/v1/deliveries", site.edge)).unwrap().ok().json();
    assert_eq!(deliveries()[0]["state"], "waiting");
    site.orthanc.again();
    report(&site, sample);
    let deliveries = || http::get(&format!("{}/api/v1/deliveries", site.edge)).unwrap().ok().json();
    wait_until("the PACS commits to it", PATIENCE, || deliveries()[0]["state"] == "committed");
    assert!(!site.overread.log().contains(samples::CANARY), "identity is in the log");
}
