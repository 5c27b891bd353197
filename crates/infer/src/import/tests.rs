use serde_json::{Value, json};

use super::{Draft, ImportError, Source, draft};
use crate::manifest::{Layout, Metadata, Model, VoiRule};
use crate::onnx::{Interface, Port};

fn port(name: &str, shape: &[u32], operator: Option<&str>) -> Port {
    let shape = shape.iter().map(|n| Some(*n).filter(|n| *n > 0)).collect();
    Port { name: name.into(), shape: Some(shape), operator: operator.map(str::to_owned) }
}

/// 0 stands for a dimension of any size.
fn graph(input: &[u32], output: &[u32], operator: &str) -> Interface {
    Interface { inputs: vec![port("x", input, None)], outputs: vec![port("y", output, Some(operator))] }
}

fn stated() -> Value {
    let code = json!({"scheme": "SCT", "value": "404684003", "meaning": "Clinical finding"});
    json!({
        "version": "1", "id": "a", "title": "A", "terms": {"licence": "MIT", "research_only": true},
        "intended_use": {"statement": "Tests.", "modalities": [], "photographs": true},
        "preprocessing": {"fit": "stretch", "filter": "bicubic-antialias", "mean": [0, 0, 0], "std": [1, 1, 1]},
        "findings": [{"label": "a", "code": code}, {"label": "b", "code": code}],
    })
}

fn bundle() -> Value {
    json!({
        "version": "0.2.0", "name": "Some network", "intended_use": "Research.",
        "network_data_format": {
            "inputs": {"image": {"modality": "CT", "num_channels": 1, "spatial_shape": [64, 64], "value_range": [-1, 1],
                                 "channel_def": {"0": "image"}}},
            "outputs": {"pred": {"num_channels": 2, "channel_def": {"1": "bleed", "0": "none"}}},
        },
    })
}

fn run(
    interface: &Interface,
    stated: &Value,
    metadata: &Value,
    inference: &Value,
) -> Result<Draft, ImportError> {
    draft(&Source { graph: "models/model.onnx", interface, stated, metadata, inference })
}

fn parsed(draft: &Draft) -> Metadata {
    Metadata::parse(draft.metadata.to_string().as_bytes()).unwrap()
}

#[test]
fn a_bare_graph_tells_names_layout_size_and_activation() {
    let interface = graph(&[0, 240, 320, 3], &[0, 2], "Softmax");
    let draft = run(&interface, &stated(), &Value::Null, &Value::Null).unwrap();
    let manifest = parsed(&draft).overread;
    let Model::Opaque { input, output, layout, .. } = &manifest.model else { panic!("opaque") };
    assert_eq!((input.as_str(), output.as_str(), *layout), ("x", "y", Layout::Nhwc));
    let p = &manifest.preprocessing;
    assert_eq!((p.width, p.height, p.channels), (320, 240, 3));
    let derived = |key: &str| draft.derived.iter().find(|d| d.key == key).unwrap();
    assert_eq!(derived("model.activation").value, "probabilities");
    assert!(derived("model.activation").from.contains("Softmax"));
    assert!(!draft.derived.iter().any(|d| d.key == "preprocessing.fit"), "stated, not derived");
}

#[test]
fn everything_that_is_missing_is_asked_for_at_once() {
    let interface = graph(&[1, 3, 0, 0], &[1, 2], "Gemm");
    let Err(ImportError::Missing(missing)) = run(&interface, &json!({}), &Value::Null, &Value::Null) else {
        panic!("must ask")
    };
    let keys: Vec<&str> = missing.keys.iter().map(|(key, _)| key.as_str()).collect();
    let wanted = [
        "id",
        "program",
        "title",
        "intended_use.statement",
        "intended_use.modalities",
        "intended_use.photographs",
        "terms.licence",
        "terms.research_only",
        "model.activation",
        "preprocessing.width",
        "preprocessing.height",
        "preprocessing.mean",
        "preprocessing.std",
        "preprocessing.fit",
        "preprocessing.filter",
        "findings[0].label",
        "findings[0].code",
        "findings[1].label",
        "findings[1].code",
        "version",
    ];
    assert_eq!(keys, wanted);
    // The example is what makes a pack of it.
    let mut example = missing.example.clone();
    example["preprocessing"]["voi"] = "first-window-or-full-range".into();
    parsed(&run(&interface, &example, &Value::Null, &Value::Null).unwrap());
    assert!(missing.to_string().contains("--manifest"));
}

#[test]
fn a_bundle_tells_size_scale_window_and_labels() {
    let scaled = json!({"_target_": "ScaleIntensityRanged", "keys": "image", "a_min": 0, "a_max": 80, "b_min": 0, "b_max": 1, "clip": true});
    let inference = json!({"preprocessing": {"_target_": "Compose", "transforms": [scaled]}});
    let mut stated = stated();
    for key in ["version", "title", "findings"] {
        stated.as_object_mut().unwrap().remove(key);
    }
    stated["intended_use"] = json!({"photographs": false});
    stated["preprocessing"] = json!({"fit": "letterbox", "filter": "bilinear-antialias"});
    stated["model"] = json!({"activation": "softmax-logits"});
    let interface = graph(&[0, 1, 0, 0], &[0, 2], "Gemm");
    let Err(ImportError::Missing(missing)) = run(&interface, &stated, &bundle(), &inference) else {
        panic!("codes cannot be derived")
    };
    let keys: Vec<&str> = missing.keys.iter().map(|(key, _)| key.as_str()).collect();
    assert_eq!(keys, ["findings[0].code", "findings[1].code"]);
    assert!(missing.keys[1].1.contains("bleed") && missing.hints[1].contains("a_max"));

    stated["findings"] = missing.example["findings"].clone();
    let metadata = parsed(&run(&interface, &stated, &bundle(), &inference).unwrap());
    assert_eq!((metadata.version.as_str(), metadata.overread.title.as_str()), ("0.2.0", "Some network"));
    let p = &metadata.overread.preprocessing;
    assert_eq!((p.width, p.height, p.mean[0], p.std[0]), (64, 64, 0.5, 0.5));
    let VoiRule::Windows(windows) = &p.voi else { panic!("a window") };
    assert_eq!((windows[0].center, windows[0].width), (40.0, 80.0));
    assert_eq!(metadata.overread.intended_use.modalities, ["CT"]);
    assert_eq!(metadata.overread.findings[1].label, "bleed");
}

#[test]
fn models_that_fit_into_no_pack_are_told_why() {
    let why = |input: &[u32], output: &[u32]| {
        run(&graph(input, output, "Gemm"), &stated(), &Value::Null, &Value::Null).unwrap_err().to_string()
    };
    assert!(why(&[1, 1, 96, 96, 96], &[1, 2]).contains("volumes"));
    assert!(why(&[1, 3, 96, 96], &[1, 2, 96, 96]).contains("segments"));
    assert!(why(&[1, 3, 96, 96], &[1, 5]).contains("5 and 2"));
    let mut wrong = stated();
    wrong["model"] = json!({"layout": "nchw"});
    let layout = run(&graph(&[1, 96, 96, 3], &[1, 2], "Gemm"), &wrong, &Value::Null, &Value::Null);
    assert!(layout.unwrap_err().to_string().contains("model.layout"));
}

#[test]
fn a_layout_that_the_shape_leaves_open_is_asked_for() {
    let interface = graph(&[1, 3, 96, 3], &[1, 2], "Sigmoid");
    let error = run(&interface, &stated(), &Value::Null, &Value::Null).unwrap_err().to_string();
    assert!(error.contains("model.layout") && error.contains("preprocessing.width"), "{error}");
}
