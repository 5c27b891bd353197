//! Packs whose right answers are known to the pixel: loading, running, explaining, refusing.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::path::{Path, PathBuf};
use std::sync::Arc;

use overread_domain::{Channels, Decision, GridSize, ImageGrid, ModalityTransform, Photometric, Samples};
use overread_infer::{Engine, InferError, Pack, Runtime, TrustList, explain, faithfulness};

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The library that `./x setup` fetched; a test without it fails and says so.
fn runtime() -> Runtime {
    static RUNTIME: std::sync::OnceLock<Runtime> = std::sync::OnceLock::new();
    RUNTIME
        .get_or_init(|| {
            let tools =
                std::env::var_os("OVERREAD_TOOLS").map_or_else(|| workspace().join(".tools"), PathBuf::from);
            let folder = tools.join("onnxruntime/onnxruntime/capi");
            let library = std::fs::read_dir(&folder)
                .unwrap_or_else(|e| panic!("{}: {e}; run ./x setup", folder.display()))
                .filter_map(Result::ok)
                .map(|entry| entry.path())
                .find(|path| path.to_string_lossy().contains("libonnxruntime.so."))
                .expect("no ONNX Runtime; run ./x setup");
            Runtime::load(&library).unwrap()
        })
        .clone()
}

fn pack(name: &str) -> Arc<Pack> {
    Arc::new(Pack::open(&workspace().join("tests/packs").join(name), &TrustList::default()).unwrap())
}

/// A 64×64 picture, black but for one 16×16 cell (of 4×4) at `value`.
fn picture(cell: usize, value: u8) -> ImageGrid {
    let mut samples = vec![0u8; 64 * 64];
    for y in 0..16 {
        for x in 0..16 {
            samples[(cell / 4 * 16 + y) * 64 + cell % 4 * 16 + x] = value;
        }
    }
    grid(Samples::U8(samples), Photometric::Monochrome2)
}

fn grid(samples: Samples, photometric: Photometric) -> ImageGrid {
    let size = GridSize::new(64, 64);
    ImageGrid {
        size,
        full_size: size,
        phase: 0.0,
        channels: Channels::Grey,
        samples,
        photometric,
        bits_stored: 8,
        modality: ModalityTransform::Identity,
        voi: vec![],
        padding: None,
        spacing: None,
        geometry: None,
    }
}

#[test]
fn the_logit_and_its_map_are_those_of_the_arithmetic() {
    let pack = pack("brightness");
    let mut engine = Engine::new(&runtime(), Arc::clone(&pack), 1).unwrap();
    let tensors: Vec<_> = [picture(6, 255), picture(0, 128)]
        .iter()
        .map(|g| pack.manifest.preprocessing.tensor(g).unwrap())
        .collect();
    let outputs = engine.run(&tensors, true).unwrap();
    // One cell of 16 is white: mean(features) = 2/16; logit = 3 × 0.125 − 3. The filter blurs the cell's edge by one pixel.
    assert!((outputs[0].logits[0] + 2.625).abs() < 0.02, "{:?}", outputs[0].logits);
    let map = &outputs[0].explanations[0];
    assert_eq!(map.grid, (4, 4));
    let brightest = (0..16).max_by(|a, b| map.values[*a].total_cmp(&map.values[*b])).unwrap();
    assert_eq!(brightest, 6);
    for output in &outputs {
        let sum: f64 = output.explanations[0].values.iter().map(|v| f64::from(*v)).sum();
        assert!((sum - 3.0 - output.logits[0]).abs() < 1e-5, "the map and the bias add up to the logit");
    }
}

#[test]
fn many_pictures_at_once_answer_as_each_alone() {
    let pack = pack("brightness");
    let mut engine = Engine::new(&runtime(), Arc::clone(&pack), 1).unwrap();
    let tensors: Vec<_> = (0..40)
        .map(|i| pack.manifest.preprocessing.tensor(&picture(i % 16, (i * 6) as u8)).unwrap())
        .collect();
    let together = engine.run(&tensors, true).unwrap();
    for (tensor, expected) in tensors.iter().zip(&together) {
        assert_eq!(&engine.run(std::slice::from_ref(tensor), true).unwrap()[0], expected);
    }
}

#[test]
fn monochrome1_is_turned_and_padding_stays_black() {
    let pack = pack("brightness");
    let mean = |g: &ImageGrid| {
        let t = pack.manifest.preprocessing.tensor(g).unwrap();
        t.values.iter().sum::<f32>() / t.values.len() as f32
    };
    let dark = vec![0u8; 64 * 64];
    assert!(mean(&grid(Samples::U8(dark.clone()), Photometric::Monochrome2)) < 1e-6);
    let mut white = grid(Samples::U8(dark), Photometric::Monochrome1);
    assert!((mean(&white) - 1.0).abs() < 1e-6);
    white.padding = Some((0.0, 0.0));
    assert!(mean(&white) < 1e-6);
}

#[test]
fn strangers_score_high() {
    let pack = pack("brightness");
    let mut engine = Engine::new(&runtime(), Arc::clone(&pack), 1).unwrap();
    let white = grid(Samples::U8(vec![255; 64 * 64]), Photometric::Monochrome2);
    let output = engine.run(&[pack.manifest.preprocessing.tensor(&white).unwrap()], false).unwrap();
    // Embedding 2, mean 1, variance 0.25: (2 − 1)² / 0.25 = 4.
    assert!((output[0].out_of_distribution.unwrap() - 4.0).abs() < 1e-4);
}

#[test]
fn opaque_packs_are_explained_by_occlusion_and_give_scores() {
    let pack = pack("centre");
    let mut engine = Engine::new(&runtime(), Arc::clone(&pack), 1).unwrap();
    // The cell at column 1, row 1 of 4 lies in the middle half.
    let tensor = pack.manifest.preprocessing.tensor(&picture(5, 255)).unwrap();
    let output = &engine.run(std::slice::from_ref(&tensor), true).unwrap()[0];
    // A quarter of the middle is white: logits (0, 8/4 − 4).
    assert!(
        (output.logits[1] + 2.0).abs() < 0.2 && (output.logits[0] - 2.0).abs() < 0.2,
        "{:?}",
        output.logits
    );
    let finding = pack.manifest.findings[1].finding(output.logits[1], None);
    assert_eq!((finding.probability, finding.decision), (None, Decision::Indeterminate));
    let map = &explain::occlusion(&mut engine, &tensor).unwrap()[1];
    let strongest = (0..64).max_by(|a, b| map.values[*a].total_cmp(&map.values[*b])).unwrap();
    let (column, row) = (strongest % 8, strongest / 8);
    assert!((2..4).contains(&column) && (2..4).contains(&row), "cell {column},{row}");
}

#[test]
fn a_map_that_points_at_what_matters_beats_chance() {
    let pack = pack("centre");
    let mut engine = Engine::new(&runtime(), Arc::clone(&pack), 1).unwrap();
    let tensor = pack.manifest.preprocessing.tensor(&picture(5, 255)).unwrap();
    let map = explain::occlusion(&mut engine, &tensor).unwrap().remove(1);
    let good = faithfulness::deletion(&mut engine, &tensor, &map, 1).unwrap();
    assert!(good.deletion_auc < good.random_auc, "{good:?}");
    let mut wrong = map;
    wrong.values.iter_mut().for_each(|v| *v = -*v);
    let bad = faithfulness::deletion(&mut engine, &tensor, &wrong, 1).unwrap();
    assert!(bad.deletion_auc > good.deletion_auc, "{bad:?}");
}

/// A copy of a synthetic pack that a test may spoil.
fn spoilt(name: &str, spoil: impl FnOnce(&Path)) -> Result<Pack, InferError> {
    let folder = tempfile::tempdir().unwrap();
    let source = workspace().join("tests/packs").join(name);
    for part in ["", "configs", "models", "docs"] {
        std::fs::create_dir_all(folder.path().join(part)).unwrap();
        for entry in std::fs::read_dir(source.join(part)).unwrap().map(Result::unwrap) {
            if entry.file_type().unwrap().is_file() {
                std::fs::copy(entry.path(), folder.path().join(part).join(entry.file_name())).unwrap();
            }
        }
    }
    spoil(folder.path());
    Pack::open(folder.path(), &TrustList::default())
}

/// What the complaint must name, and how the pack is spoilt.
type Spoiled = (&'static str, Box<dyn FnOnce(&Path)>);

fn edit(root: &Path, from: &str, to: &str) {
    let path = root.join("configs/metadata.json");
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text.contains(from), "{from} is in the manifest");
    std::fs::write(path, text.replace(from, to)).unwrap();
}

fn complaint(result: Result<Pack, InferError>) -> String {
    result.err().expect("the pack must be refused").to_string()
}

#[test]
fn broken_packs_are_refused_by_name() {
    let cases: [Spoiled; 7] = [
        ("head.safetensors", Box::new(|r| std::fs::remove_file(r.join("head.safetensors")).unwrap())),
        ("models/weights.bin", Box::new(|r| std::fs::remove_file(r.join("models/weights.bin")).unwrap())),
        ("findings", Box::new(|r| edit(r, "\"findings\"", "\"findins\""))),
        ("pack_format", Box::new(|r| edit(r, "\"pack_format\": 1", "\"pack_format\": 99"))),
        ("rule_out", Box::new(|r| edit(r, "\"probability\": 0.2", "\"probability\": 0.9"))),
        ("metadata.json", Box::new(|r| std::fs::write(r.join("configs/metadata.json"), "{").unwrap())),
        ("links", Box::new(|r| std::os::unix::fs::symlink("/etc/passwd", r.join("docs/x")).unwrap())),
    ];
    for (named, spoil) in cases {
        let why = complaint(spoilt("brightness", spoil));
        assert!(why.contains(named), "{named}: {why}");
    }
}

#[test]
fn a_missing_tensor_is_named() {
    let why = complaint(spoilt("brightness", |root| {
        let path = root.join("head.safetensors");
        let bytes = std::fs::read(&path).unwrap();
        // Same length, other name: the file stays well-formed.
        let at = bytes.windows(10).position(|w| w == b"\"ood.mean\"").unwrap();
        let mut changed = bytes;
        changed[at..at + 10].copy_from_slice(b"\"ood.meam\"");
        std::fs::write(path, changed).unwrap();
    }));
    assert!(why.contains("ood.mean") && why.contains("missing"), "{why}");
}

#[test]
fn a_graph_without_the_promised_output_is_refused() {
    let pack = spoilt("brightness", |r| edit(r, "\"pooled\": \"pooled\"", "\"pooled\": \"poold\"")).unwrap();
    let Err(why) = Engine::new(&runtime(), Arc::new(pack), 1) else { panic!("must be refused") };
    assert!(why.to_string().contains("poold"), "{why}");
}

#[test]
fn any_changed_byte_is_another_edition() {
    let before = pack("brightness").edition.clone();
    let after = spoilt("brightness", |r| {
        std::fs::write(r.join("docs/README.md"), "# other\n").unwrap();
    });
    assert_ne!(before, after.unwrap().edition);
}
