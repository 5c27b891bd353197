//! Burned-in text held against peers: Pillow draws it, pydicom and Tesseract judge what is left.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod support;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use overread_deid::pixels::second_look::SecondLook;
use overread_deid::pixels::{Cleaned, PixelError, TextRemover};
use overread_dicom::read::{DicomFile, Limits, Opened, Resolution, open};
use overread_infer::Runtime;
use overread_testkit::tools::{children, dciodvfy_errors, onnxruntime, python, workspace};
use serde::Deserialize;

fn runtime() -> &'static Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| Runtime::load(&onnxruntime()).unwrap())
}

fn remover() -> TextRemover {
    TextRemover::open(runtime(), &workspace().join("models/text-detection"), 2).unwrap()
}

fn dicom(path: &Path) -> DicomFile {
    match open(path, &Limits::default()).unwrap() {
        Opened::Dicom(file) => file,
        Opened::Photograph(_) | Opened::Slide(_) => panic!("{} is a photograph", path.display()),
    }
}

/// Cleans a file and writes what came out, if anything did.
fn clean(remover: &mut TextRemover, path: &Path, to: &Path) -> Cleaned {
    let mut bytes = Vec::new();
    let cleaned = remover.clean(&dicom(path), &mut support::host(), &mut bytes).unwrap();
    assert_eq!(cleaned.regions.is_empty(), bytes.is_empty(), "{}", path.display());
    if !bytes.is_empty() {
        std::fs::write(to, bytes).unwrap();
    }
    cleaned
}

#[derive(Deserialize)]
struct Made {
    path: PathBuf,
    kind: String,
    boxes: Vec<[u32; 4]>,
}

#[derive(Deserialize)]
struct Judged {
    elsewhere: u32,
    flat: bool,
    outside_share: f64,
    frames: u32,
    transfer_syntax: String,
    burned_in: String,
    photometric: String,
    lossy: String,
}

#[test]
fn text_goes_from_every_kind_of_pixels_and_the_rest_stays() {
    let folder = tempfile::tempdir().unwrap();
    let made: Vec<Made> =
        serde_json::from_str(&python("burned_in.py", &[Path::new("make"), folder.path()])).unwrap();
    let tesseract = SecondLook::find(Path::new("tesseract")).expect("no tesseract; run ./x setup");
    let identifying = ["QUIXOTE^DULCINEA".to_owned(), "47110815".to_owned()];
    let still_read = |path: &Path| {
        let grid = dicom(path).decode(0, Resolution::Full, &mut support::host()).unwrap();
        tesseract.still_read(&grid, &identifying).unwrap()
    };
    let mut remover = remover();
    let mut pairs = Vec::new();
    let mut read_before = 0;
    for file in &made {
        let to = file.path.with_extension("cleaned");
        let cleaned = clean(&mut remover, &file.path, &to);
        let before: BTreeSet<String> = dciodvfy_errors(&file.path).into_iter().collect();
        let new: Vec<String> = dciodvfy_errors(&to).into_iter().filter(|e| !before.contains(e)).collect();
        assert!(new.is_empty(), "{}: {new:?}", file.kind);
        read_before += still_read(&file.path).len();
        assert_eq!(still_read(&to), [""; 0], "{}", file.kind);
        pairs.push(serde_json::json!({
            "original": file.path, "cleaned": to, "regions": cleaned.regions, "boxes": file.boxes,
        }));
    }
    // Tesseract can read what it no longer reads.
    assert!(read_before >= made.len(), "Tesseract read {read_before} tokens of {} originals", made.len());
    let list = folder.path().join("pairs.json");
    std::fs::write(&list, serde_json::to_vec(&pairs).unwrap()).unwrap();
    let judged: Vec<Judged> =
        serde_json::from_str(&python("burned_in.py", &[Path::new("judge"), &list])).unwrap();
    for (file, judged) in made.iter().zip(&judged) {
        let kind = &file.kind;
        assert!(judged.flat, "{kind}: text is left");
        assert!(
            judged.outside_share > 0.75,
            "{kind}: only {:.2} of the picture is left",
            judged.outside_share
        );
        // Two decoders of a lossy stream differ by rounding.
        let lossy = kind.ends_with("jpeg");
        assert!(judged.elsewhere <= if lossy { 3 } else { 0 }, "{kind}: {} elsewhere", judged.elsewhere);
        assert_eq!(judged.transfer_syntax, support::EXPLICIT, "{kind}");
        assert_eq!(judged.burned_in, "NO", "{kind}");
        assert_eq!(judged.lossy, if lossy { "01" } else { "" }, "{kind}");
        assert_eq!(judged.frames, if kind.ends_with("frames") { 3 } else { 1 }, "{kind}");
        let colour = match kind.as_str() {
            "grey16-monochrome1" => "MONOCHROME1",
            "ybr-full" => "YBR_FULL",
            "ybr-422" => "YBR_FULL_422",
            grey if grey.starts_with("grey") => "MONOCHROME2",
            _ => "RGB",
        };
        assert_eq!(judged.photometric, colour, "{kind}");
    }
    assert!(judged.len() == made.len() && made.len() >= 14);
}

#[test]
fn radiographs_of_children_lose_little() {
    let mut remover = remover();
    let mut share = Vec::new();
    for path in children().iter().take(6) {
        let Opened::Photograph(photograph) = open(path, &Limits::default()).unwrap() else { panic!() };
        let grid = photograph.decode(0, Resolution::Full, &mut support::host()).unwrap();
        let found = remover.find(&grid, 0).unwrap();
        let area: u64 = found.iter().map(|r| u64::from(r.right - r.left) * u64::from(r.bottom - r.top)).sum();
        share.push(area as f64 / grid.size.pixels() as f64);
    }
    let mean = share.iter().sum::<f64>() / share.len() as f64;
    // Side markers and the ticks of rulers are burned-in text, too; nothing reads what a text says.
    assert!(mean < 0.02, "{mean:.4} of the area goes: {share:?}");
}

#[test]
fn a_detector_that_was_not_measured_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let opened = |folder: &Path| TextRemover::open(runtime(), folder, 1).err().unwrap();
    assert!(opened(folder.path()).to_string().contains("install it again"));
    std::fs::write(folder.path().join("PP-OCRv6_det_small.onnx"), b"another graph").unwrap();
    let error = opened(folder.path());
    assert!(matches!(&error, PixelError::Model { why, .. } if why.contains("is not the file")), "{error}");
}
