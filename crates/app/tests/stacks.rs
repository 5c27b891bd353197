//! Studies of many pictures: which slices and which part of a picture are read, in which order, and what is said of the others.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod support;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use support::{changed, classified, python};

/// A CT study of slices: each line of a plan is `name series z grey kind`, where kind is `axial`, `sagittal`, `localiser` or `report`. Upper and lower
/// half of a slice are one grey value below and above its own.
const STUDY: &str = r"
import sys, pydicom
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, SecondaryCaptureImageStorage, ExplicitVRLittleEndian, generate_uid
folder, plan = sys.argv[1:]
study = generate_uid()
series = {}
for line in plan.splitlines():
    name, number, z, grey, kind = line.split()
    sop = SecondaryCaptureImageStorage if kind == 'report' else CTImageStorage
    meta = FileMetaDataset()
    meta.TransferSyntaxUID, meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = ExplicitVRLittleEndian, sop, generate_uid()
    data = FileDataset(None, {}, file_meta=meta, preamble=b'\0' * 128)
    data.SOPClassUID, data.SOPInstanceUID, data.StudyInstanceUID = sop, meta.MediaStorageSOPInstanceUID, study
    data.SeriesInstanceUID = series.setdefault(number, generate_uid())
    data.Modality = 'CT'
    data.ImageType = ['ORIGINAL', 'PRIMARY', 'LOCALIZER' if kind == 'localiser' else 'AXIAL']
    if kind != 'report':
        data.ImageOrientationPatient = [0, 1, 0, 0, 0, -1] if kind in ('sagittal', 'localiser') else [1, 0, 0, 0, 1, 0]
        data.ImagePositionPatient = [float(z), 0, 0] if kind in ('sagittal', 'localiser') else [0, 0, float(z)]
        data.FrameOfReferenceUID = series.setdefault('frame', generate_uid())
    data.Rows = data.Columns = 96
    data.SamplesPerPixel, data.PhotometricInterpretation = 1, 'MONOCHROME2'
    data.BitsAllocated = data.BitsStored = 8
    data.HighBit, data.PixelRepresentation = 7, 0
    data.PixelData = bytes([int(grey) - 1]) * (96 * 48) + bytes([int(grey) + 1]) * (96 * 48)
    data.save_as(f'{folder}/{name}.dcm')
";

/// A cine of four frames whose picture of the heart fills columns 40 to 199 and rows 20 to 139 of 240 × 160 and is grey 153; all else is black.
const CINE: &str = r"
import sys, pydicom
import numpy as np
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import UltrasoundMultiFrameImageStorage, ExplicitVRLittleEndian, generate_uid
meta = FileMetaDataset()
meta.TransferSyntaxUID, meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = ExplicitVRLittleEndian, UltrasoundMultiFrameImageStorage, generate_uid()
data = FileDataset(None, {}, file_meta=meta, preamble=b'\0' * 128)
data.SOPClassUID, data.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
data.StudyInstanceUID, data.SeriesInstanceUID, data.Modality = generate_uid(), generate_uid(), 'US'
def region(kind, *edges):
    item = Dataset()
    item.RegionSpatialFormat, item.RegionDataType = kind, 1
    item.RegionLocationMinX0, item.RegionLocationMinY0, item.RegionLocationMaxX1, item.RegionLocationMaxY1 = edges
    return item
# The trace below is no picture (Region Spatial Format 3), the last one is not in the frame.
data.SequenceOfUltrasoundRegions = [region(3, 0, 0, 239, 159), region(1, 40, 20, 199, 139), region(1, 60, 30, 99, 59), region(1, 0, 0, 500, 400)]
data.Rows, data.Columns, data.NumberOfFrames = 160, 240, 4
data.SamplesPerPixel, data.PhotometricInterpretation = 1, 'MONOCHROME2'
data.BitsAllocated = data.BitsStored = 8
data.HighBit, data.PixelRepresentation = 7, 0
frame = np.zeros((160, 240), np.uint8)
frame[20:140, 40:200] = 153
frame[20:50, 40:80] = 203
data.PixelData = np.stack([frame] * 4).tobytes()
data.save_as(sys.argv[1])
";

/// Reads a plan with `brightness`, whose logit of a picture is 6 × mean ÷ 255 − 3, as the mean over slices of planes.
fn reading(plan: &str, planes: &Value) -> Value {
    let (folder, packs) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    python(STUDY, &[folder.path().as_os_str(), plan.as_ref()]);
    let pack = changed("brightness", packs.path(), |m| {
        m["intended_use"]["modalities"] = json!(["CT"]);
        m["intended_use"]["planes"] = planes.clone();
        m["aggregation"] = json!({"method": "mean-logit"});
    });
    let answers = classified(&pack, folder.path(), &[]);
    assert_eq!(answers.len(), 1, "one study");
    answers[0].clone()
}

fn name(image: &Value) -> String {
    PathBuf::from(image["path"].as_str().unwrap()).file_stem().unwrap().to_str().unwrap().to_owned()
}

/// Names of what was read, in its order, and the code of what was not by name.
fn images(answer: &Value) -> (Vec<String>, BTreeMap<String, String>) {
    let images = answer["results"][0]["images"].as_array().unwrap();
    let read = images.iter().filter(|i| i["reason"].is_null()).map(name).collect();
    let code = |i: &&Value| i["reason"]["code"].as_str().map(str::to_owned);
    (read, images.iter().filter_map(|i| Some((name(i), code(&i)?))).collect())
}

fn logit(answer: &Value) -> f64 {
    let p = answer["results"][0]["findings"][0]["probability"].as_f64().unwrap();
    (p / (1.0 - p)).ln()
}

#[test]
fn a_study_with_several_series_is_answered_from_one_in_the_order_of_the_body() {
    let plan = "a 1 20 51 axial\nb 1 0 51 axial\nc 1 10 102 axial\nd 1 5 51 axial\ne 1 15 51 axial\n\
        scout 1 0 250 localiser\nside 4 0 250 sagittal\nside2 4 5 250 sagittal\n\
        other 2 10 250 axial\nother2 2 15 250 axial\ndose 3 0 250 report";
    let answer = reading(plan, &json!(["axial"]));
    let (read, refused) = images(&answer);
    assert_eq!(read, ["b", "d", "c", "e", "a"]);
    let codes = [
        "scout localiser",
        "side plane",
        "side2 plane",
        "other other-series",
        "other2 other-series",
        "dose no-geometry",
    ];
    let codes = codes.map(|line| line.split_once(' ').unwrap());
    assert_eq!(refused, codes.map(|(name, code)| (name.to_owned(), code.to_owned())).into());
    // (4 × 51 + 102) ÷ 5 = 61.2
    assert!((logit(&answer) - (6.0 * 61.2 / 255.0 - 3.0)).abs() < 0.01, "{}", logit(&answer));
    assert_eq!(answer["warnings"], json!([]));
    assert_eq!(answer["results"][0]["findings"][0]["decision"], "absent");
}

#[test]
fn nothing_is_absent_where_slices_are_missing() {
    let plan = "a 1 0 20 axial\nb 1 5 20 axial\nc 1 10 20 axial\nd 1 25 20 axial\ne 1 30 20 axial";
    let answer = reading(plan, &json!([]));
    assert_eq!(answer["results"][0]["findings"][0]["decision"], "indeterminate");
    let warning = answer["warnings"][0].as_str().unwrap();
    assert!(
        warning.contains("15.0 mm between") && warning.contains("about 2 slices are missing"),
        "{warning}"
    );
}

#[test]
fn a_study_of_localisers_alone_is_not_assessed() {
    let answer = reading("a 1 0 51 localiser\nb 1 5 51 localiser", &json!([]));
    assert_eq!(
        (answer["status"].as_str(), answer["reason"]["code"].as_str()),
        (Some("not-assessed"), Some("localiser"))
    );
}

#[test]
fn an_ultrasound_pack_reads_the_region_that_shows_the_body() {
    let (folder, packs) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let cine = folder.path().join("cine.dcm");
    python(CINE, &[cine.as_os_str()]);
    let read = |name: &str, region: &str| {
        let pack = changed(name, &packs.path().join(region), |m| {
            m["intended_use"]["modalities"] = json!(["US"]);
            m["preprocessing"]["region"] = region.into();
            m["aggregation"] = json!({"method": "mean-logit"});
        });
        classified(&pack, &cine, &[])[0].clone()
    };
    // 160 × 120 pixels of 153, of them 40 × 30 of 203; the whole frame has 240 × 160.
    let inside = (153.0 * (160.0 * 120.0 - 1200.0) + 203.0 * 1200.0) / (160.0 * 120.0);
    let within = read("brightness", "ultrasound");
    assert!((logit(&within) - (6.0 * inside / 255.0 - 3.0)).abs() < 0.01, "{}", logit(&within));
    let whole = read("brightness", "whole");
    assert!((logit(&whole) - (6.0 * inside / 2.0 / 255.0 - 3.0)).abs() < 0.01, "{}", logit(&whole));
    // The map lies over the region, and its peak over the brightest corner, in shares of the whole frame.
    let map = &within["results"][0]["explanations"][0];
    let area = [0, 1, 2, 3].map(|i| map["area"][i].as_f64().unwrap());
    let wanted = [40.0 / 240.0, 20.0 / 160.0, 200.0 / 240.0, 140.0 / 160.0];
    assert!(area.iter().zip(wanted).all(|(a, w)| (a - w).abs() < 1e-9), "{area:?}");
    let peak = [0, 1].map(|i| map["peak"][i].as_f64().unwrap());
    assert!(
        (40.0 / 240.0..80.0 / 240.0).contains(&peak[0]) && (20.0 / 160.0..50.0 / 160.0).contains(&peak[1]),
        "{peak:?}"
    );
}

#[test]
fn images_of_two_series_in_two_folders_are_one_study() {
    // What is read does not hang on where files lie or in which order they are named.
    let (folder, packs) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    python(STUDY, &[folder.path().as_os_str(), "z 1 0 51 axial\nm 1 5 51 axial\na 1 10 51 axial".as_ref()]);
    for (index, name) in ["z", "m", "a"].iter().enumerate() {
        let inner = folder.path().join(index.to_string());
        std::fs::create_dir(&inner).unwrap();
        std::fs::rename(folder.path().join(format!("{name}.dcm")), inner.join(format!("{name}.dcm")))
            .unwrap();
    }
    let pack = changed("brightness", packs.path(), |m| m["intended_use"]["modalities"] = json!(["CT"]));
    let answers = classified(&pack, Path::new(folder.path()), &[]);
    assert_eq!(answers.len(), 1);
    assert_eq!(images(&answers[0]).0, ["z", "m", "a"]);
}
