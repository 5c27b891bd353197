//! The starter pack's golden results: preprocessing and answers equal those of the training code.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod support;

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use overread_dicom::read::{self, CodecHost, CodecLimits, Limits, Resolution};
use overread_domain::GridSize;
use overread_infer::{Engine, Pack, Runtime, TrustList};
use safetensors::SafeTensors;
use serde_json::Value;
use sha2::{Digest, Sha256};
use support::{tools, workspace};

fn runtime() -> Runtime {
    static RUNTIME: std::sync::OnceLock<Runtime> = std::sync::OnceLock::new();
    RUNTIME.get_or_init(|| Runtime::load(&support::onnxruntime()).unwrap()).clone()
}

fn starter() -> PathBuf {
    workspace().join("models/cxr-pneumonia")
}

fn open(folder: &Path) -> Arc<Pack> {
    Arc::new(Pack::open(folder, &TrustList::default()).unwrap())
}

/// The golden entries, each with the file it is about; the files are checked by hash.
fn golden() -> Vec<(PathBuf, Value)> {
    let folder = starter().join("golden");
    let pictures = tools().join("samples/pneumonia_model_package/datasets/pneumonia-data/val");
    let entries: Vec<Value> =
        serde_json::from_slice(&std::fs::read(folder.join("golden.json")).unwrap()).unwrap();
    let with_file = |entry: Value| {
        let name = entry["file"].as_str().unwrap();
        let path = [folder.join(name), pictures.join(name)].into_iter().find(|p| p.is_file());
        let path = path.unwrap_or_else(|| panic!("{name} is missing; run ./x setup"));
        let hash = Sha256::digest(std::fs::read(&path).unwrap());
        let hash: String = hash.iter().map(|b| format!("{b:02x}")).collect();
        assert_eq!(hash, entry["sha256"], "{name} is another file than the golden one");
        (path, entry)
    };
    entries.into_iter().map(with_file).collect()
}

fn decode(path: &Path, resolution: Resolution) -> overread_domain::ImageGrid {
    let binary = env!("CARGO_BIN_EXE_overread").into();
    let mut codec = CodecHost::new(binary, vec!["codec-worker".into()], CodecLimits::default());
    read::open(path, &Limits::default()).unwrap().decode(0, resolution, &mut codec).unwrap()
}

#[test]
fn preprocessing_equals_the_training_codes() {
    let pack = open(&starter());
    let bytes = pack.file("golden/golden.safetensors").unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    for (path, entry) in golden() {
        let ours = pack.manifest.preprocessing.resized(&decode(&path, Resolution::Full)).unwrap();
        let theirs = tensors.tensor(entry["file"].as_str().unwrap()).unwrap();
        assert_eq!(theirs.shape(), &ours.shape[1..]);
        let theirs = theirs.data().chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]));
        let worst = ours.values.iter().zip(theirs).map(|(a, b)| (a - b).abs()).fold(0f32, f32::max);
        assert!(worst <= 2.0 / 255.0, "{}: {worst}", path.display());
    }
}

#[test]
fn answers_equal_the_training_codes_and_a_reduced_decode_keeps_them() {
    let pack = open(&starter());
    let mut engine = Engine::new(&runtime(), Arc::clone(&pack), 1).unwrap();
    let wanted = GridSize::new(pack.manifest.preprocessing.width, pack.manifest.preprocessing.height);
    let mut reduced = 0;
    for (path, entry) in golden() {
        let expected = entry["probability"].as_f64().unwrap();
        for (resolution, tolerance) in [(Resolution::Full, 0.01), (Resolution::AtLeast(wanted), 0.02)] {
            let grid = decode(&path, resolution);
            reduced += u32::from(grid.size != grid.full_size);
            let tensor = pack.manifest.preprocessing.tensor(&grid).unwrap();
            let output = &engine.run(&[tensor], false).unwrap()[0];
            let p = pack.manifest.findings[0].finding(output.logits[0], None).probability.unwrap().get();
            assert!((p - expected).abs() <= tolerance, "{}: {p} against {expected}", path.display());
            if tolerance < 0.02 {
                let ood = (output.out_of_distribution.unwrap(), entry["ood_score"].as_f64().unwrap());
                assert!((ood.0 - ood.1).abs() < 0.02 * ood.1, "{}: {ood:?}", path.display());
            }
        }
    }
    assert!(reduced >= 4, "the large JPEGs were decoded at a reduced resolution");
}

#[test]
fn a_reduced_jpeg_2000_keeps_the_answer() {
    let pack = open(&starter());
    let mut engine = Engine::new(&runtime(), Arc::clone(&pack), 1).unwrap();
    let wanted = GridSize::new(336, 336);
    for name in ["RG1_J2KR.dcm", "RG1_J2KI.dcm"] {
        let path = support::samples().join("data_store/data").join(name);
        let answers = [Resolution::Full, Resolution::AtLeast(wanted)].map(|resolution| {
            let grid = decode(&path, resolution);
            let tensor = pack.manifest.preprocessing.tensor(&grid).unwrap();
            let logit = engine.run(&[tensor], false).unwrap()[0].logits[0];
            (grid.size, pack.manifest.findings[0].finding(logit, None).probability.unwrap().get())
        });
        assert!(
            answers[1].0.columns < answers[0].0.columns / 2,
            "{name} was decoded at a reduced resolution"
        );
        assert!((answers[0].1 - answers[1].1).abs() <= 0.02, "{name}: {answers:?}");
    }
}

#[test]
fn the_fused_graph_equals_backbone_and_head() {
    let folder = tempfile::tempdir().unwrap();
    for file in ["models/fused.onnx", "models/weights.bin", "docs/README.md"] {
        let target = folder.path().join(file);
        std::fs::create_dir_all(target.parent().unwrap()).unwrap();
        std::fs::copy(starter().join(file), target).unwrap();
    }
    // The fused graph as an opaque pack of its own: any tool that takes an ONNX classifier can serve it.
    let text = std::fs::read(starter().join("configs/metadata.json")).unwrap();
    let mut metadata: Value = serde_json::from_slice(&text).unwrap();
    metadata["overread"]["model"] = serde_json::json!({
        "kind": "opaque", "graph": "models/fused.onnx", "input": "image", "output": "logits", "activation": "logits"
    });
    std::fs::create_dir_all(folder.path().join("configs")).unwrap();
    std::fs::write(folder.path().join("configs/metadata.json"), metadata.to_string()).unwrap();
    let mut fused = Engine::new(&runtime(), open(folder.path()), 1).unwrap();
    let mut apart = Engine::new(&runtime(), open(&starter()), 1).unwrap();
    let mut biases: Vec<f64> = vec![];
    for (path, _) in golden() {
        let tensor = apart.pack().manifest.preprocessing.tensor(&decode(&path, Resolution::Full)).unwrap();
        let a = fused.run(std::slice::from_ref(&tensor), false).unwrap()[0].logits[0];
        let output = &apart.run(&[tensor], true).unwrap()[0];
        assert!((a - output.logits[0]).abs() < 1e-4, "{a} against {}", output.logits[0]);
        // And the map is an exact decomposition: all maps differ from their logits by the same bias.
        let bias =
            output.logits[0] - output.explanations[0].values.iter().map(|v| f64::from(*v)).sum::<f64>();
        biases.push(bias);
    }
    assert!(biases.iter().all(|b| (b - biases[0]).abs() < 1e-4), "{biases:?}");
}

#[test]
fn every_golden_file_is_named_once() {
    let names: HashSet<PathBuf> = golden().into_iter().map(|(path, _)| path).collect();
    assert!(names.len() >= 5);
}
