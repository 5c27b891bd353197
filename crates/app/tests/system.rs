//! Both roles beside a real PACS: images go out of Orthanc, results come back into the same study.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod support;

use overread_testkit::{Postgres, S3, samples, wait_for, wait_until};
use serde_json::json;
use support::site::{PATIENCE, Site};

fn a_study_comes_home(site: &Site) {
    // In shadow, as every program starts, nothing is sent.
    let shadow = &site.children("shadow", 1)[0];
    let id = site.orthanc.upload(&shadow.path);
    site.orthanc.send(&id, "overread").unwrap();
    wait_until("the study in shadow is read", PATIENCE, || {
        let cases = overread_testkit::http::get(&format!("{}/api/v1/cases", site.service))
            .map(|a| a.text())
            .unwrap_or_default();
        cases.contains("cxr-pneumonia")
    });
    site.mode("review-all");
    let sample = &site.children("sent", 1)[0];
    let id = site.orthanc.upload(&sample.path);
    site.orthanc.send(&id, "overread").unwrap();
    let report =
        wait_for("the report is in the PACS", PATIENCE, || site.of_modality(&sample.study, "SR").pop());
    assert_eq!(report["StudyInstanceUID"], sample.study.as_str(), "{}", site.state_of_all());
    assert_eq!(report["PatientName"], sample.patient_name.as_str());
    assert_eq!(report["PatientID"], sample.patient_id.as_str());
    assert_eq!(report["AccessionNumber"], sample.accession.as_str());
    assert_eq!(report["VerificationFlag"], "UNVERIFIED");
    assert_eq!(site.of_modality(&sample.study, "OT").len(), 1, "no secondary capture");

    // A late image of the same study: the result is amended and names its predecessor.
    let replaced = json!({ "Replace": { "SOPInstanceUID": format!("{}.7", sample.sop) }, "Keep": ["StudyInstanceUID", "SeriesInstanceUID"], "Force": true });
    let late = site
        .orthanc
        .request("POST", &format!("/instances/{id}/modify"), replaced.to_string().as_bytes())
        .ok()
        .body;
    let file = site.files.path().join("late.dcm");
    std::fs::write(&file, late).unwrap();
    let id = site.orthanc.upload(&file);
    site.orthanc.send(&id, "overread").unwrap();
    let amended = wait_for("the amended report is in the PACS", PATIENCE, || {
        site.of_modality(&sample.study, "SR")
            .into_iter()
            .find(|r| r["SOPInstanceUID"] != report["SOPInstanceUID"])
    });
    let predecessor = &amended["PredecessorDocumentsSequence"][0]["ReferencedSeriesSequence"][0]["ReferencedSOPSequence"]
        [0];
    assert_eq!(predecessor["ReferencedSOPInstanceUID"], report["SOPInstanceUID"]);
    // The old report and its capture are withdrawn.
    let note = wait_for("the rejection note is in the PACS", PATIENCE, || {
        site.of_modality(&sample.study, "KO").pop()
    });
    let withdrawn = note["CurrentRequestedProcedureEvidenceSequence"].to_string();
    assert!(withdrawn.contains(report["SOPInstanceUID"].as_str().unwrap()), "{withdrawn}");
    assert!(!withdrawn.contains(amended["SOPInstanceUID"].as_str().unwrap()), "{withdrawn}");
    assert!(site.of_modality(&shadow.study, "SR").is_empty(), "a result left in shadow");
    // The names stay on the edge's side of the link, and out of the log.
    assert!(!site.overread.log().contains(samples::CANARY), "identity is in the log");
}

#[test]
fn a_study_comes_home_with_sqlite_and_files() {
    a_study_comes_home(&Site::start(|_| String::new()));
}

#[test]
fn a_study_comes_home_with_postgresql_and_s3() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let s3 = runtime.block_on(S3::start());
    let postgres = Postgres::start();
    let stores = |role: &str| {
        format!("database = \"{}\"\nobjects = \"{}\"", postgres.database(role), s3.address(role))
    };
    a_study_comes_home(&Site::start(stores));
}
