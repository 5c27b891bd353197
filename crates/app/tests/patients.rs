//! Files of two patients under one Study Instance UID are not joined into one answer.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod support;

use std::collections::BTreeMap;

use serde_json::{Value, json};
use support::{classified, overread, python, run, synthetic, text};

/// Images of 96 × 96 pixels, a line each: `name study id patient's name`; `-` is an empty one.
const FOLDER: &str = r"
import sys, pydicom
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import DigitalXRayImageStorageForPresentation, ExplicitVRLittleEndian, generate_uid
folder, plan = sys.argv[1:]
studies = {}
for line in plan.splitlines():
    name, study, number, patient = line.split()
    meta = FileMetaDataset()
    meta.TransferSyntaxUID, meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = ExplicitVRLittleEndian, DigitalXRayImageStorageForPresentation, generate_uid()
    data = FileDataset(None, {}, file_meta=meta, preamble=b'\0' * 128)
    data.SOPClassUID, data.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    data.StudyInstanceUID, data.SeriesInstanceUID, data.Modality = studies.setdefault(study, generate_uid()), generate_uid(), 'DX'
    data.PatientID, data.PatientName = number.strip('-'), patient.strip('-')
    data.Rows = data.Columns = 96
    data.SamplesPerPixel, data.PhotometricInterpretation = 1, 'MONOCHROME2'
    data.BitsAllocated = data.BitsStored = 8
    data.HighBit, data.PixelRepresentation = 7, 0
    data.PixelData = bytes([50]) * (96 * 48) + bytes([52]) * (96 * 48)
    data.save_as(f'{folder}/{name}.dcm')
";

#[test]
fn two_patients_are_not_one_answer_and_others_are_not_touched() {
    let folder = tempfile::tempdir().unwrap();
    let plan = "a1 mixed CANARY-1 Canary^Jane\na2 mixed CANARY-2 Canary^Jane\nb1 one CANARY-3 Canary^Ann\nb2 one CANARY-3 CANARY^ANN^^\n\
        c1 named - Canary^Eve\nc2 named - Canary^Iris\nd1 unsaid - -\nd2 unsaid CANARY-4 Canary^Una";
    python(FOLDER, &[folder.path().as_os_str(), plan.as_ref()]);
    let answers = classified(&synthetic("brightness"), folder.path(), &[]);
    let said = |answer: &Value| {
        let source = answer["source"].as_str().unwrap();
        let first = source.rsplit('/').next().unwrap().chars().next().unwrap();
        (first, (answer["status"].clone(), answer["reason"]["code"].clone()))
    };
    let said: BTreeMap<char, (Value, Value)> = answers.iter().map(said).collect();
    let (refused, read) =
        ((json!("not-assessed"), json!("two-patients")), (json!("classified"), Value::Null));
    assert_eq!(said, [('a', refused.clone()), ('b', read.clone()), ('c', refused), ('d', read)].into());
    // Nothing was read of it, nothing is filed with either patient, and neither is named.
    let out = folder.path().join("out");
    let answers = classified(&synthetic("brightness"), folder.path(), &["--out", out.to_str().unwrap()]);
    assert_eq!(answers[0]["results"][0]["images"], json!([]));
    assert!(!serde_json::to_string(&answers).unwrap().to_uppercase().contains("CANARY"));
    let report =
        answers[0]["artifacts"].as_array().unwrap().iter().find(|a| a["kind"] == "structured-report");
    let report = std::fs::read(report.unwrap()["path"].as_str().unwrap()).unwrap();
    assert!(!report.to_ascii_uppercase().windows(6).any(|w| w == b"CANARY"));
    // It is told also where no program reads such studies.
    let output =
        run(overread().arg("classify").arg(folder.path().join("a1.dcm")).arg(folder.path().join("a2.dcm")));
    assert!(text(&output.stdout).contains("state different patients"), "{}", text(&output.stdout));
}
