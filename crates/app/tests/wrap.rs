//! Several photographs become one study: two eyes, three pictures of one lesion.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod support;

use std::path::{Path, PathBuf};
use std::process::Output;

use serde_json::json;
use support::{changed, classified, dciodvfy_errors, overread, python, run, text};

/// Pictures in colour of 120 × 100, the left half darker than the right by 4: `name grey …`.
const PICTURES: &str = r"
import sys
from PIL import Image
folder, *pairs = sys.argv[1:]
for name, grey in zip(pairs[::2], pairs[1::2]):
    picture = Image.new('RGB', (120, 100), (int(grey) - 2,) * 3)
    picture.paste((int(grey) + 2,) * 3, (60, 0, 120, 100))
    picture.save(f'{folder}/{name}')
";

fn pictures(folder: &Path, pairs: &[&str]) {
    let args: Vec<&std::ffi::OsStr> =
        std::iter::once(folder.as_os_str()).chain(pairs.iter().map(|p| (*p).as_ref())).collect();
    python(PICTURES, &args);
}

fn wrap(pictures: &[PathBuf], out: &Path, flags: &[&str]) -> Output {
    run(overread().arg("wrap").args(pictures).arg("--out").arg(out).args(flags))
}

#[test]
fn two_eyes_are_one_study_with_findings_of_each() {
    let folder = tempfile::tempdir().unwrap();
    pictures(folder.path(), &["right.png", "60", "left.png", "200"]);
    let files = ["right.png", "left.png"].map(|name| folder.path().join(name));
    let out = folder.path().join("study");
    let output = wrap(&files, &out, &["--kind", "eye", "--laterality", "R,L"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    for n in ["1.dcm", "2.dcm"] {
        assert_eq!(dciodvfy_errors(&out.join(n)), Vec::<String>::new(), "{n}");
    }
    let pack = changed("brightness", folder.path(), |m| m["intended_use"]["modalities"] = json!(["OP"]));
    let answers = classified(&pack, &out, &["--no-explain"]);
    assert_eq!(answers.len(), 1, "one study");
    let said = |n: usize| {
        let finding = &answers[0]["results"][0]["findings"][n];
        (finding["laterality"].as_str().unwrap(), finding["decision"].as_str().unwrap())
    };
    assert_eq!((said(0), said(1)), (("right", "absent"), ("left", "present")));
}

#[test]
fn pictures_of_one_lesion_are_one_study_with_one_finding() {
    let folder = tempfile::tempdir().unwrap();
    pictures(folder.path(), &["a.png", "40", "b.jpg", "150", "c.webp", "60"]);
    let files = ["a.png", "b.jpg", "c.webp"].map(|name| folder.path().join(name));
    let out = folder.path().join("study");
    let flags = ["--kind", "skin", "--body-part", "HAND", "--laterality", "l"];
    let output = wrap(&files, &out, &flags);
    assert!(output.status.success(), "{}", text(&output.stderr));
    for n in ["1.dcm", "2.dcm", "3.dcm"] {
        assert_eq!(dciodvfy_errors(&out.join(n)), Vec::<String>::new(), "{n}");
    }
    let pack = changed("brightness", folder.path(), |m| m["intended_use"]["modalities"] = json!(["XC"]));
    let answers = classified(&pack, &out, &["--no-explain"]);
    let findings = answers[0]["results"][0]["findings"].as_array().unwrap();
    assert_eq!((answers.len(), findings.len(), &findings[0]["laterality"]), (1, 1, &json!("left")));
    assert!(findings[0]["key_frames"][0]["image"].as_str().unwrap().ends_with("2.dcm"));
    // The same again is the same study; another side is another.
    let uid =
        |out: &Path| classified(&pack, out, &["--no-explain"])[0]["study"]["study_instance_uid"].clone();
    let (again, other) = (folder.path().join("again"), folder.path().join("other"));
    assert!(wrap(&files, &again, &flags).status.success());
    assert!(
        wrap(&files, &other, &["--kind", "skin", "--body-part", "HAND", "--laterality", "R"])
            .status
            .success()
    );
    assert_eq!(uid(&again), uid(&out));
    assert_ne!(uid(&other), uid(&out));
}

#[test]
fn what_does_not_fit_together_is_told() {
    let folder = tempfile::tempdir().unwrap();
    pictures(folder.path(), &["a.png", "40", "b.png", "60"]);
    let files = ["a.png", "b.png"].map(|name| folder.path().join(name));
    let refusals: [(&[&str], &str); 3] = [
        (&["--kind", "eye"], "needs its side"),
        (&["--kind", "eye", "--laterality", "R,L,R"], "names 3 sides for 2 pictures"),
        (&["--imager-pixel-spacing", "0.1"], "one radiograph alone"),
    ];
    for (flags, why) in refusals {
        let output = wrap(&files, &folder.path().join("out"), flags);
        assert!(!output.status.success() && text(&output.stderr).contains(why), "{}", text(&output.stderr));
    }
}
