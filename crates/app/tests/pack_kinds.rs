//! Packs of every kind: series of slices, research packs, plain images of every colour model.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod support;

use std::path::Path;

use serde_json::Value;
use support::{changed, children, classified, overread, python, results, run, text};

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

#[test]
fn a_series_is_answered_by_its_highest_slices_and_names_them() {
    let folder = tempfile::tempdir().unwrap();
    series(folder.path());
    let packs = tempfile::tempdir().unwrap();
    let answer = |aggregation: Value| {
        let pack = changed("brightness", &packs.path().join(aggregation["method"].as_str().unwrap()), |m| {
            m["aggregation"] = aggregation;
        });
        let answers = classified(&pack, folder.path(), &[]);
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

/// A shelf with `centre`, and `brightness` among the packs for research alone.
fn shelf(folder: &Path) {
    changed("centre", folder, |_| ());
    changed("brightness", &folder.join("research"), |m| m["terms"]["research_only"] = true.into());
}

#[test]
fn research_packs_live_apart_and_read_only_where_they_are_named() {
    let folder = tempfile::tempdir().unwrap();
    shelf(folder.path());
    let from_shelf = |args: &[&str]| {
        let output = run(overread().args(args).env("OVERREAD_PACKS", folder.path()));
        assert!(output.status.success(), "{}", text(&output.stderr));
        output
    };
    let listed = text(&from_shelf(&["pack", "ls"]).stdout);
    assert!(listed.contains("research only") && listed.contains("Apache-2.0"), "{listed}");
    let film = children()[0].display().to_string();
    let programs = |named: &[&str]| {
        let classify = ["classify", &film, "--allow-untrusted", "--format", "jsonl"];
        let answers = results(&from_shelf(&[&classify, named].concat()));
        let programs = answers[0]["results"].as_array().unwrap().iter();
        programs.map(|p| p["program"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(programs(&[]), ["centre"]);
    assert_eq!(programs(&["--program", "brightness"]), ["brightness"]);
}

#[test]
fn whatever_a_research_pack_leaves_behind_says_so() {
    let folder = tempfile::tempdir().unwrap();
    shelf(folder.path());
    let out = folder.path().join("out");
    let mut command = overread();
    command.env("OVERREAD_PACKS", folder.path()).arg("classify").arg(&children()[0]).arg("--out").arg(&out);
    let output = run(command.args(["--program", "brightness", "--allow-untrusted"]));
    assert!(output.status.success(), "{}", text(&output.stderr));
    let words = "Research use only: not for the care of any patient.";
    assert!(text(&output.stdout).contains(words), "{}", text(&output.stdout));
    for file in
        ["index.html", "results.jsonl", "00001/brightness.report.dcm", "00001/brightness.1.capture.dcm"]
    {
        let bytes = std::fs::read(out.join(file)).unwrap();
        assert!(bytes.windows(words.len()).any(|w| w == words.as_bytes()), "{file}");
    }
}

/// Pictures of the same two shades in every colour model and format, and labels beside them. The mean of each is grey 102 or the
/// colour (200, 64, 20); `turned.jpg` is bright at the top left of its samples and says that it is to be turned by 90°.
const PICTURES: &str = r"
import sys
import numpy as np
from PIL import Image
folder = sys.argv[1]
def halves(low, high):
    return np.concatenate([np.full((100, 160, len(low)), low), np.full((100, 160, len(low)), high)]).astype(np.uint8)
grey = Image.fromarray(halves([100], [104])[:, :, 0])
colour = Image.fromarray(halves([200, 60, 20], [200, 68, 20]))
grey.save(folder + '/grey.png'); grey.save(folder + '/grey.jpg', quality=95); grey.save(folder + '/grey.tif')
grey.save(folder + '/grey.webp', lossless=True)
Image.fromarray(np.asarray(grey).astype(np.uint16) * 257).save(folder + '/grey16.png')
for name in ('png', 'tif'):
    colour.save(folder + '/colour.' + name)
colour.save(folder + '/colour.webp', lossless=True)
colour.save(folder + '/colour.jpg', quality=95)
colour.convert('RGBA').save(folder + '/colour-alpha.png')
colour.convert('CMYK').save(folder + '/colour-cmyk.jpg', quality=95)
turned = Image.new('L', (160, 160), 20)
turned.paste(250, (0, 0, 40, 40))
exif = turned.getexif(); exif[0x0112] = 6
turned.save(folder + '/turned.jpg', quality=95, exif=exif)
open(folder + '/labels.csv', 'w').write('file,label\n')
";

fn named(answers: &[Value]) -> Vec<(String, &Value)> {
    let name = |a: &Value| {
        Path::new(a["source"].as_str().unwrap()).file_name().unwrap().to_str().unwrap().to_owned()
    };
    answers.iter().map(|a| (name(a), &a["results"][0])).collect()
}

#[test]
fn plain_pictures_of_every_kind_are_read_by_a_grey_pack() {
    let folder = tempfile::tempdir().unwrap();
    python(PICTURES, &[folder.path().as_os_str()]);
    let packs = tempfile::tempdir().unwrap();
    // Whatever modality the pack was made for, it reads photographs where it says so.
    let pack = changed("brightness", packs.path(), |m| {
        m["intended_use"]["modalities"] = serde_json::json!(["CT", "MR", "SM", "OP", "XC", "US"]);
        // Pictures hold no Hounsfield units; a window must not be laid over them.
        m["preprocessing"]["voi"] = serde_json::json!({"windows": [{"center": 40, "width": 80}]});
    });
    let answers = classified(&pack, folder.path(), &[]);
    let answers = named(&answers);
    let mut sorted: Vec<&str> = answers.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(sorted.len(), 12, "labels.csv is no study: {sorted:?}");
    sorted.sort_unstable();
    assert!(sorted.iter().zip(&answers).all(|(s, (name, _))| s == name), "in the order of their names");
    for (name, result) in &answers {
        let logit = result["images"][0]["logits"][0].as_f64().unwrap();
        // BT.601 luma of (200, 64, 20) is 99.65.
        let luma =
            if name.starts_with("colour") { 0.299 * 200.0 + 0.587 * 64.0 + 0.114 * 20.0 } else { 102.0 };
        if name == "turned.jpg" {
            let peak: Vec<f64> = result["explanations"][0]["peak"]
                .as_array()
                .unwrap()
                .iter()
                .map(|v| v.as_f64().unwrap())
                .collect();
            assert!(peak[0] > 0.75 && peak[1] < 0.25, "turned to the right: {peak:?}");
        } else {
            assert!((logit - (6.0 * luma / 255.0 - 3.0)).abs() < 0.05, "{name}: {logit}");
        }
    }
}

#[test]
fn plain_pictures_of_every_kind_are_read_by_a_colour_pack() {
    let folder = tempfile::tempdir().unwrap();
    python(PICTURES, &[folder.path().as_os_str()]);
    let packs = tempfile::tempdir().unwrap();
    let pack = support::imports::colours(packs.path());
    for (name, result) in named(&classified(&pack, folder.path(), &[])) {
        let mut scores = result["findings"].as_array().unwrap().iter().map(|f| f["score"].as_f64().unwrap());
        let (red, green, blue) = (scores.next().unwrap(), scores.next().unwrap(), scores.next().unwrap());
        let exponents = [200.0, 64.0, 20.0].map(|mean: f64| (8.0 * mean / 255.0).exp());
        let wanted =
            if name.starts_with("colour") { exponents[0] / exponents.iter().sum::<f64>() } else { 1.0 / 3.0 };
        assert!((red - wanted).abs() < 0.01, "{name}: {red} for {wanted}");
        assert!(
            (red + green + blue - 1.0).abs() < 1e-6
                && (name.starts_with("colour") || (green - blue).abs() < 1e-6)
        );
    }
}
