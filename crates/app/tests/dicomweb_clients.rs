//! The edge's DICOMweb door before the clients of the field: the Python package `dicomweb-client` and the calls of OHIF's data source, for
//! objects that came by STOW-RS and by C-STORE.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod support;

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use overread_testkit::dcmtk::storescu;
use overread_testkit::samples::{self, Sample};
use overread_testkit::tools::sample;
use serde_json::Value;
use support::edge::Edge;

/// Sends files by C-STORE, each by an association of its own because their transfer syntaxes differ.
fn receive(edge: &Edge, files: &[(PathBuf, &str)]) {
    for (file, option) in files {
        let options: &[&str] = if option.is_empty() { &[] } else { &[option] };
        let sent = storescu(&edge.dimse, options, &[file]);
        assert!(sent.complete, "{}", sent.log);
    }
}

/// A CT, a radiograph and a cine, and the option of `storescu` for their transfer syntax.
fn from_modalities(folder: &Path) -> Vec<(PathBuf, &'static str)> {
    let path = |mut made: Vec<Sample>| made.swap_remove(0).path;
    vec![
        (path(samples::ct(folder, "web", 1, 1)), ""),
        (path(samples::children(folder, "web", 1)), ""),
        (path(samples::cine(folder, "web", 1)), "-xy"),
    ]
}

/// Every kind of image and of encoding that the samples have: CT, radiographs, ultrasound, a cine, enhanced multi-frames, a palette, colour.
const STORED: [&str; 10] = [
    "693_UNCR.dcm",
    "RG1_J2KR.dcm",
    "RG3_UNCR.dcm",
    "color3d_jpeg_baseline.dcm",
    "MR2_J2KR.dcm",
    "gdcm-US-ALOKA-16_big.dcm",
    "emri_small_RLE.dcm",
    "eCT_Supplemental.dcm",
    "JPEG-LL.dcm",
    "SC_rgb.dcm",
];

#[test]
fn dicomweb_client_gets_back_what_it_stored() {
    let edge = Edge::start();
    let said = edge.run("dicomweb.py", STORED.map(sample));
    assert_eq!(said.trim(), format!("{} instances agree", STORED.len()));
    // A second time everything is there already, and is a success.
    let again: Value =
        serde_json::from_str(&edge.run("dicomweb_second_client.py", STORED.map(sample))).unwrap();
    assert_eq!(again["compared"], STORED.len());
}

#[test]
fn dicomweb_client_gets_what_modalities_sent() {
    let edge = Edge::start();
    let folder = tempfile::tempdir().unwrap();
    let mut files = from_modalities(folder.path());
    files.push((sample("RG1_UNCR.dcm"), ""));
    files.push((sample("emri_small_jpeg_2k_lossless.dcm"), "-xv"));
    files.push((sample("693_J2KR.dcm"), "-xv"));
    receive(&edge, &files);
    let paths = files.iter().map(|(path, _)| path.into());
    let args = std::iter::once(OsString::from("--foreign")).chain(paths);
    let said: Value = serde_json::from_str(&edge.run("dicomweb_second_client.py", args)).unwrap();
    assert_eq!(said["compared"], files.len());
}

#[test]
fn ohif_opens_every_study() {
    let edge = Edge::start();
    let folder = tempfile::tempdir().unwrap();
    receive(&edge, &from_modalities(folder.path()));
    edge.run("dicomweb_second_client.py", STORED.map(sample));
    let said: Value = serde_json::from_str(&edge.run("dicomweb_ohif.py", [""; 0])).unwrap();
    assert_eq!(said["complaints"], serde_json::json!([]));
    let instances = said["studies"].as_array().unwrap().iter().map(|s| s["instances"].as_u64().unwrap());
    assert_eq!(instances.sum::<u64>() as usize, STORED.len() + 3);
    assert!(said["calls"]["frames"].as_u64().unwrap() >= 26, "{}", said["calls"]);
}
