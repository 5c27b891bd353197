//! Packs of every kind: series of slices, research packs, plain images of every colour model.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod support;

use std::path::Path;

use serde_json::Value;
use support::{changed, children, overread, python, results, run, text};

/// A study of three images of grey, each nearly even; their mean values are 51, 102 and 153 of 255.
const SERIES: &str = r"
import sys, pydicom
from pydicom.uid import generate_uid
source, folder = sys.argv[1:]
study = generate_uid()
for number, grey in enumerate((51, 102, 153), 1):
    data = pydicom.dcmread(source)
    data.StudyInstanceUID, data.SOPInstanceUID = study, generate_uid()
    data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID
    for key in ('WindowCenter', 'WindowWidth'):
        data.pop(key, None)
    half = data.Rows * data.Columns // 2
    data.PixelData = bytes([grey - 1]) * half + bytes([grey + 1]) * (data.Rows * data.Columns - half)
    data.save_as(f'{folder}/{number}.dcm')
";

fn series(folder: &Path) {
    let source = folder.join(".source");
    let mut wrap = overread();
    wrap.arg("wrap").arg(&children()[0]).arg("--out").arg(&source).args(["--imager-pixel-spacing", "0.143"]);
    assert!(run(&mut wrap).status.success());
    python(SERIES, &[source.as_os_str(), folder.as_os_str()]);
}

fn classified(pack: &Path, input: &Path) -> Vec<Value> {
    let mut command = overread();
    command.arg("classify").arg(input).arg("--pack").arg(pack).args([
        "--allow-untrusted",
        "--format",
        "jsonl",
    ]);
    let output = run(&mut command);
    assert!(output.status.success(), "{}", text(&output.stderr));
    results(&output)
}

#[test]
fn a_series_is_answered_by_its_highest_slices_and_names_them() {
    let folder = tempfile::tempdir().unwrap();
    series(folder.path());
    let packs = tempfile::tempdir().unwrap();
    let answer = |aggregation: Value| {
        let pack = changed("brightness", &packs.path().join(aggregation["method"].as_str().unwrap()), |m| {
            m["aggregation"] = aggregation;
        });
        let answers = classified(&pack, folder.path());
        assert_eq!(answers.len(), 1);
        answers[0]["results"][0].clone()
    };
    // The logit of a slice is 6 × mean ÷ 255 − 3: -1.8, -0.6 and 0.6.
    let logit = |result: &Value| {
        let p = result["findings"][0]["probability"].as_f64().unwrap();
        (p / (1.0 - p)).ln()
    };
    let keys = |result: &Value| {
        let frames = result["findings"][0]["key_frames"].as_array().unwrap().iter();
        frames
            .map(|k| Path::new(k["image"].as_str().unwrap()).file_name().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    let top = answer(serde_json::json!({"method": "top-mean-logit", "top": 2}));
    assert!(logit(&top).abs() < 0.01, "(0.6 - 0.6) / 2: {top}");
    assert_eq!(keys(&top), ["3.dcm", "2.dcm"]);
    assert!((top["findings"][0]["key_frames"][1]["logit"].as_f64().unwrap() + 0.6).abs() < 0.01);
    // The map lies over the slice that spoke loudest.
    assert!(top["explanations"][0]["image"].as_str().unwrap().ends_with("3.dcm"));

    let most = answer(serde_json::json!({"method": "max-probability"}));
    assert!((logit(&most) - 0.6).abs() < 0.01 && keys(&most) == ["3.dcm"]);
    let mean = answer(serde_json::json!({"method": "mean-logit"}));
    assert!((logit(&mean) + 0.6).abs() < 0.01 && keys(&mean).is_empty());
}
