//! Packs made of somebody else's models.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;

use serde_json::{Value, json};

use super::{overread, run, text, workspace};

pub fn code() -> Value {
    json!({"scheme": "SCT", "value": "404684003", "meaning": "Clinical finding"})
}

pub fn findings(labels: &[&str]) -> Value {
    labels.iter().map(|label| json!({"label": label, "code": code()})).collect()
}

/// Imports a model with a manifest; the pack is `pack` in the folder.
pub fn import(folder: &Path, source: &Path, manifest: &Value) -> (PathBuf, Output) {
    let (stated, out) = (folder.join("manifest.json"), folder.join("pack"));
    fs::write(&stated, manifest.to_string()).unwrap();
    let mut command = overread();
    command.args(["pack", "import"]).arg(source).arg("--manifest").arg(&stated).arg("--out").arg(&out);
    (out, run(&mut command))
}

/// A graph with channels last that takes one picture at a time: softmax(8 × mean of each colour); see `tests/packs/make.py`.
pub fn colours_graph() -> PathBuf {
    workspace().join("tests/packs/graphs/colours.onnx")
}

/// What its importer states.
pub fn colours_manifest() -> Value {
    json!({
        "version": "1.0.0", "id": "colours", "title": "Colours", "terms": {"licence": "Apache-2.0", "research_only": false},
        "intended_use": {"statement": "Tests; not for clinical use without local validation.", "modalities": [], "photographs": true},
        "preprocessing": {"fit": "letterbox", "filter": "bilinear-antialias", "mean": [0, 0, 0], "std": [1, 1, 1]},
        "findings": findings(&["red", "green", "blue"]),
    })
}

/// The pack of it, with pictures stretched to its shape.
pub fn colours(folder: &Path) -> PathBuf {
    let mut manifest = colours_manifest();
    manifest["preprocessing"]["fit"] = "stretch".into();
    let (pack, output) = import(folder, &colours_graph(), &manifest);
    assert!(output.status.success(), "{}", text(&output.stderr));
    pack
}
