//! Two eyes in one study are one case with findings for each side.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod support;

use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use support::{changed, classified, dciodvfy_errors, overread, peer, python, run, text};

/// Photographs of one study, a line each: `name side grey part`. A side is R, L, B, U, `-` (none), `mR` (by Anatomic Region Modifier), or `xR` (its pixel
/// data cannot be decoded). Upper and lower half are one grey value below and above the image's.
const STUDY: &str = r"
import sys, pydicom
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import OphthalmicPhotography8BitImageStorage, ExplicitVRLittleEndian, JPEG2000Lossless, generate_uid
folder, plan = sys.argv[1:]
study, series = generate_uid(), generate_uid()
def code(value):
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, 'SCT', 'side'
    return item
for line in plan.splitlines():
    name, side, grey, part = line.split()
    meta = FileMetaDataset()
    meta.TransferSyntaxUID, meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = ExplicitVRLittleEndian, OphthalmicPhotography8BitImageStorage, generate_uid()
    data = FileDataset(None, {}, file_meta=meta, preamble=b'\0' * 128)
    data.SOPClassUID, data.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    data.StudyInstanceUID, data.SeriesInstanceUID, data.Modality = study, series, 'OP'
    data.StudyDate, data.StudyTime, data.PatientID, data.PatientName = '20240301', '120000', 'P1', 'Test'
    data.AccessionNumber, data.PatientBirthDate, data.PatientSex, data.StudyID, data.ReferringPhysicianName = '', '', '', '', ''
    if part != '-':
        data.BodyPartExamined = part
    if side[0] == 'm':
        region = code('81745001')
        region.AnatomicRegionModifierSequence = [code({'R': '24028007', 'L': '7771000'}[side[1]])]
        data.AnatomicRegionSequence = [region]
    elif side != '-':
        data.ImageLaterality = side[-1]
    data.Rows = data.Columns = 96
    data.SamplesPerPixel, data.PhotometricInterpretation = 1, 'MONOCHROME2'
    data.BitsAllocated = data.BitsStored = 8
    data.HighBit, data.PixelRepresentation = 7, 0
    data.PixelData = bytes([int(grey) - 1]) * (96 * 48) + bytes([int(grey) + 1]) * (96 * 48)
    if side[0] == 'x':
        data.file_meta.TransferSyntaxUID = JPEG2000Lossless
        data.PixelData = pydicom.encaps.encapsulate([b'\xff\x4f\xff\x51 no codestream at all'])
        data['PixelData'].is_undefined_length = True
    data.save_as(f'{folder}/{name}.dcm')
";

struct Desk {
    images: tempfile::TempDir,
    packs: tempfile::TempDir,
}

impl Desk {
    /// `brightness`, whose logit of a picture is 6 × grey ÷ 255 − 3: `absent` up to grey 68, `present` from 187, a stranger below 17 and above 238.
    fn with(plan: &str) -> Self {
        let desk = Self { images: tempfile::tempdir().unwrap(), packs: tempfile::tempdir().unwrap() };
        python(STUDY, &[desk.images.path().as_os_str(), plan.as_ref()]);
        changed("brightness", desk.packs.path(), |m| {
            m["intended_use"]["modalities"] = json!(["OP"]);
            m["findings"][0]["site"] = json!({"scheme": "SCT", "value": "81745001", "meaning": "Eye"});
        });
        desk
    }

    fn pack(&self) -> PathBuf {
        self.packs.path().join("brightness")
    }

    fn answer(&self) -> Value {
        let answers = classified(&self.pack(), self.images.path(), &[]);
        assert_eq!(answers.len(), 1, "one study");
        answers[0].clone()
    }
}

/// Side and decision of each finding.
fn decided(plan: &str) -> Vec<(String, String)> {
    let answer = Desk::with(plan).answer();
    let findings = answer["results"][0]["findings"].as_array().unwrap();
    let word = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    findings.iter().map(|f| (word(&f["laterality"]), word(&f["decision"]))).collect()
}

fn of(expected: &[(&str, &str)]) -> Vec<(String, String)> {
    expected.iter().map(|(side, decision)| ((*side).to_owned(), (*decision).to_owned())).collect()
}

#[test]
fn two_eyes_have_findings_of_their_own() {
    let desk = Desk::with("a L 200 EYE\nb R 40 EYE\nc R 60 EYE");
    let answer = desk.answer();
    let program = &answer["results"][0];
    let p = |f: usize| program["findings"][f]["probability"].as_f64().unwrap();
    let logit = |p: f64| (p / (1.0 - p)).ln();
    // The right eye's brighter picture, and the left eye's only one.
    assert!((logit(p(0)) - (6.0 * 60.0 / 255.0 - 3.0)).abs() < 0.001, "{program}");
    assert!((logit(p(1)) - (6.0 * 200.0 / 255.0 - 3.0)).abs() < 0.001, "{program}");
    let about = |list: &str, n: usize, key: &str| {
        let path = if list == "findings" {
            &program[list][n]["key_frames"][0]["image"]
        } else {
            &program[list][n][key]
        };
        (
            program[list][n]["laterality"].clone(),
            Path::new(path.as_str().unwrap()).file_stem().unwrap().to_owned(),
        )
    };
    for list in ["findings", "explanations"] {
        assert_eq!(about(list, 0, "image"), (json!("right"), "c".into()), "{list}");
        assert_eq!(about(list, 1, "image"), (json!("left"), "a".into()), "{list}");
    }
    assert_eq!(answer["warnings"], json!([]));
}

#[test]
fn what_images_say_of_their_side_decides() {
    let (absent, present) = ("absent", "present");
    // One eye, by each of the attributes.
    assert_eq!(decided("a R 60 EYE"), of(&[("right", absent)]));
    assert_eq!(decided("a mL 200 -\nb mL 60 -"), of(&[("left", present)]));
    assert_eq!(decided("a mR 60 EYE\nb L 200 EYE"), of(&[("right", absent), ("left", present)]));
    // Both, unpaired or nothing is no side; nor is that of a part that has none.
    for side in ["B", "U", "-"] {
        assert_eq!(decided(&format!("a {side} 60 EYE")), of(&[("-", absent)]), "{side}");
    }
    assert_eq!(decided("a L 60 CHEST\nb R 200 CHEST"), of(&[("-", present)]));
    // An image without a side may be of the other eye.
    assert_eq!(decided("a R 60 EYE\nb - 200 EYE"), of(&[("-", present)]));
}

#[test]
fn what_was_not_seen_of_one_side_is_not_ruled_out_there() {
    let absent = "absent";
    assert_eq!(
        decided("a R 60 EYE\nb xR 60 EYE\nc L 60 EYE"),
        of(&[("right", "indeterminate"), ("left", absent)])
    );
    // An image that does not say its side may show either.
    let unsaid = "a R 60 EYE\nb L 60 EYE\nc - 200 EYE";
    assert_eq!(
        decided(unsaid),
        of(&[("right", "indeterminate"), ("left", "indeterminate"), ("-", "present")])
    );
    assert_eq!(
        decided("a R 60 EYE\nb L 60 EYE\nc - 50 EYE"),
        of(&[("right", absent), ("left", absent), ("-", absent)])
    );
}

#[test]
fn an_eye_that_cannot_be_assessed_says_why_and_the_other_is_answered_for() {
    for (plan, code) in
        [("a R 3 EYE\nb L 60 EYE", "out-of-distribution"), ("a xR 60 EYE\nb L 60 EYE", "undecodable")]
    {
        let answer = Desk::with(plan).answer();
        let program = &answer["results"][0];
        assert_eq!((&answer["status"], &program["status"]), (&json!("classified"), &json!("classified")));
        let (right, left) = (&program["findings"][0], &program["findings"][1]);
        assert_eq!((&right["decision"], &right["reason"]["code"]), (&json!("not-assessed"), &json!(code)));
        assert_eq!((&right["probability"], &left["decision"]), (&Value::Null, &json!("absent")), "{code}");
        assert!(left["reason"].is_null());
    }
    // Neither of two: the study as a whole is not assessed.
    let answer = Desk::with("a R 3 EYE\nb L 3 EYE").answer();
    assert_eq!(
        (&answer["status"], &answer["reason"]["code"]),
        (&json!("not-assessed"), &json!("out-of-distribution"))
    );
}

#[test]
fn people_and_archives_are_told_the_side() {
    let desk = Desk::with("a R 3 EYE\nb L 200 EYE\nc R 40 EYE\nd L 60 EYE");
    let out = desk.images.path().join("out");
    let answer = &classified(&desk.pack(), desk.images.path(), &["--out", out.to_str().unwrap()])[0];
    let path = |a: &Value| PathBuf::from(a["path"].as_str().unwrap());
    let artifacts = answer["artifacts"].as_array().unwrap();
    let objects: Vec<PathBuf> = artifacts.iter().filter(|a| a["kind"] != "overlay-png").map(path).collect();
    assert_eq!(objects.len(), 3, "a picture of each eye and the report");
    for object in &objects {
        assert_eq!(dciodvfy_errors(object), Vec::<String>::new(), "{}", object.display());
    }
    let mut args: Vec<&Path> = objects.iter().map(PathBuf::as_path).collect();
    args.push(Path::new("--json"));
    let read: Value = serde_json::from_str(&peer("check_results.py", &args)).unwrap();
    let findings = &read["reports"][0]["findings"];
    for (n, side, sources) in [(0, "Right", 2), (1, "Left", 2)] {
        assert_eq!(findings[n]["laterality"], json!([side]));
        assert_eq!(findings[n]["explanations"].as_array().unwrap().len(), 1);
        assert_eq!(findings[n]["source_images"].as_array().unwrap().len(), sources);
    }
    assert_ne!(findings[0]["tracking_uid"], findings[1]["tracking_uid"]);
    assert_ne!(findings[0]["explanations"], findings[1]["explanations"]);
    assert_ne!(findings[0]["source_images"], findings[1]["source_images"]);
    let page = std::fs::read_to_string(out.join("index.html")).unwrap();
    assert!(page.contains("bright (right)") && page.contains("bright (left)"));
    let mut command = overread();
    command.arg("classify").arg(desk.images.path()).arg("--pack").arg(desk.pack()).arg("--allow-untrusted");
    let table = text(&run(&mut command).stdout);
    assert!(table.contains("bright (right)") && table.contains("bright (left)"), "{table}");
}
