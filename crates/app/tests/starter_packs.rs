//! Every starter pack: its golden answers, its fused graph, and that it leaves other specialties' images alone.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod support;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use overread_dicom::read::{self, CodecHost, CodecLimits, Limits, Resolution};
use overread_infer::manifest::Model;
use overread_infer::{Engine, Pack, Runtime, Standing, Tensor, TrustList};
use safetensors::SafeTensors;
use serde_json::Value;
use support::{overread, results, run, workspace};

fn runtime() -> Runtime {
    static RUNTIME: std::sync::OnceLock<Runtime> = std::sync::OnceLock::new();
    RUNTIME.get_or_init(|| Runtime::load(&support::onnxruntime()).unwrap()).clone()
}

/// The folders of the starter packs, those for research among them.
fn folders() -> Vec<PathBuf> {
    let models = workspace().join("models");
    let mut found: Vec<PathBuf> = [models.clone(), models.join("research")]
        .iter()
        .flat_map(|folder| std::fs::read_dir(folder).unwrap())
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.join("configs/metadata.json").is_file())
        .collect();
    found.sort();
    assert!(found.len() >= 7, "{found:?}");
    found
}

fn trusted(folder: &Path) -> Arc<Pack> {
    let keys = std::fs::read_to_string(workspace().join("models/trust.toml")).unwrap();
    let pack = Pack::open(folder, &toml::from_str::<TrustList>(&keys).unwrap()).unwrap();
    assert!(
        matches!(pack.standing, Standing::Trusted { .. }),
        "{} is not signed by a key that we trust",
        folder.display()
    );
    Arc::new(pack)
}

/// The synthetic picture of a pack, as the product reads it.
fn waves(pack: &Pack) -> Tensor {
    let binary = env!("CARGO_BIN_EXE_overread").into();
    let mut codec = CodecHost::new(binary, vec!["codec-worker".into()], CodecLimits::default());
    let opened = read::open(&pack.root.join("golden/waves.png"), &Limits::default()).unwrap();
    let grid = opened.decode(0, Resolution::Full, &mut codec).unwrap();
    let resized = pack.manifest.preprocessing.resized(&grid).unwrap();
    let bytes = pack.file("golden/golden.safetensors").unwrap();
    let theirs = SafeTensors::deserialize(&bytes).unwrap();
    let theirs = theirs.tensor("waves.png").unwrap();
    let theirs = theirs.data().chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]));
    let worst = resized.values.iter().zip(theirs).map(|(a, b)| (a - b).abs()).fold(0f32, f32::max);
    assert!(worst <= 2.0 / 255.0, "{}: preprocessing is off by {worst}", pack.manifest.id);
    pack.manifest.preprocessing.tensor(&grid).unwrap()
}

/// Logits and out-of-distribution score of the synthetic picture, as the training code found them.
fn golden(pack: &Pack) -> (Vec<f64>, f64) {
    let entries: Vec<Value> = serde_json::from_slice(&pack.file("golden/golden.json").unwrap()).unwrap();
    let entry = entries.iter().find(|e| e["file"] == "waves.png").unwrap();
    let numbers = |v: &Value| v.as_array().unwrap().iter().map(|n| n.as_f64().unwrap()).collect();
    let logits = entry.get("logits").map_or_else(|| vec![entry["logit"].as_f64().unwrap()], numbers);
    (logits, entry["ood_score"].as_f64().unwrap())
}

#[test]
fn golden_answers_are_repeated_and_the_fused_graph_says_the_same() {
    for folder in folders() {
        let pack = trusted(&folder);
        let id = pack.manifest.id.clone();
        let tensor = waves(&pack);
        let mut engine = Engine::new(&runtime(), Arc::clone(&pack), 1).unwrap();
        let output = &engine.run(std::slice::from_ref(&tensor), true).unwrap()[0];
        let (expected, strangeness) = golden(&pack);
        assert_eq!(output.logits.len(), expected.len(), "{id}");
        for (ours, theirs) in output.logits.iter().zip(&expected) {
            assert!((ours - theirs).abs() < 0.1, "{id}: {ours} against {theirs}");
        }
        let ours = output.out_of_distribution.unwrap();
        assert!((ours - strangeness).abs() < 0.02 * strangeness, "{id}: {ours} against {strangeness}");
        assert!(
            strangeness > pack.manifest.out_of_distribution.unwrap().threshold,
            "{id} takes waves for a picture"
        );
        let Model::Decomposable { fused: Some(fused), .. } = &pack.manifest.model else { panic!("{id}") };
        let logits = fused_logits(&pack, fused, &tensor);
        for (apart, fused) in output.logits.iter().zip(logits) {
            assert!((apart - fused).abs() < 1e-3, "{id}: {apart} apart, {fused} fused");
        }
    }
}

/// The fused graph as other tools would serve it: an opaque pack of its own.
fn fused_logits(pack: &Pack, fused: &str, tensor: &Tensor) -> Vec<f64> {
    let folder = tempfile::tempdir().unwrap();
    for file in [fused, "models/weights.bin"] {
        std::fs::create_dir_all(folder.path().join("models")).unwrap();
        std::fs::copy(pack.root.join(file), folder.path().join(file)).unwrap();
    }
    let mut metadata: Value = serde_json::from_slice(&pack.file("configs/metadata.json").unwrap()).unwrap();
    metadata["overread"]["model"] = serde_json::json!({
        "kind": "opaque", "graph": fused, "input": "image", "output": "logits", "activation": "logits"
    });
    std::fs::create_dir_all(folder.path().join("configs")).unwrap();
    std::fs::write(folder.path().join("configs/metadata.json"), metadata.to_string()).unwrap();
    let opaque = Arc::new(Pack::open(folder.path(), &TrustList::default()).unwrap());
    let mut engine = Engine::new(&runtime(), opaque, 1).unwrap();
    engine.run(std::slice::from_ref(tensor), false).unwrap().remove(0).logits
}

#[test]
fn no_other_pack_reads_the_radiograph_of_a_child() {
    for folder in folders() {
        let id = folder.file_name().unwrap().to_str().unwrap().to_owned();
        if id == "cxr-pneumonia" {
            continue;
        }
        let mut command = overread();
        command.args(["classify", "--format", "jsonl", "--no-explain", "--pack"]).arg(&folder);
        let output = run(command.args(support::children()));
        let answers = results(&output);
        assert_eq!(answers.len(), 16, "{id}");
        let refused = answers.iter().filter(|a| a["status"] == "not-assessed").count();
        assert_eq!(refused, 16, "{id} reads radiographs of children");
    }
}

#[test]
fn research_packs_say_so() {
    for folder in folders() {
        let pack = trusted(&folder);
        let apart = folder.parent().unwrap().ends_with("research");
        assert_eq!(pack.manifest.terms.research_only, apart, "{}", folder.display());
    }
}
