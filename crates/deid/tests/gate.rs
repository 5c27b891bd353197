//! The one way out, held against drawn text, planted words and real originals.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod support;

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use overread_deid::pixels::second_look::SecondLook;
use overread_deid::profile::{BurnedIn, Recognizable};
use overread_deid::{
    Codec, Detection, Eyes, Gate, Leaving, Left, Look, Policy, Profile, PseudonymKey, UidKind,
};
use overread_dicom::read::{Limits, Opened, Resolution, open};
use overread_domain::Uid;
use overread_testkit::tools::{onnxruntime, python, sample};
use serde::Deserialize;
use support::Dicom;

fn detection() -> Detection {
    static DETECTION: OnceLock<Detection> = OnceLock::new();
    DETECTION.get_or_init(|| Detection::load(&onnxruntime(), 2).unwrap()).clone()
}

fn tesseract() -> SecondLook {
    SecondLook::find(Path::new("tesseract")).expect("no tesseract; run ./x setup")
}

fn eyes() -> Eyes {
    let codec: Codec = Arc::new(support::host);
    Eyes { detection: Some(detection()), second_look: Some(tesseract()), codec }
}

fn key() -> PseudonymKey {
    PseudonymKey::from_bytes([7; 32])
}

fn minimal(policy: Policy) -> Gate {
    Gate::minimal(key(), policy, eyes(), Limits::default()).unwrap()
}

fn by_profile(text: &str, policy: Policy) -> Gate {
    let profile = Profile::parse(&format!("[profile]\nname = 'test'\n{text}")).unwrap();
    Gate::by_profile(profile, key(), policy, eyes(), Limits::default()).unwrap()
}

fn pass(gate: &Gate, original: &Path, out: &Path) -> Leaving {
    gate.pass(original, Look::Closely, out).unwrap()
}

fn left(leaving: Leaving) -> Left {
    match leaving {
        Leaving::Clean(left) => *left,
        Leaving::Quarantined(reasons) => panic!("quarantined: {reasons:?}"),
    }
}

fn reasons(leaving: Leaving) -> String {
    match leaving {
        Leaving::Clean(left) => panic!("it left: {left:?}"),
        Leaving::Quarantined(reasons) => reasons.join("; "),
    }
}

#[derive(Deserialize)]
struct Made {
    path: PathBuf,
    kind: String,
}

/// Pictures with a name burned in, one of each kind of pixels.
fn drawn(folder: &Path) -> Vec<Made> {
    serde_json::from_str(&python("burned_in.py", &[Path::new("make"), folder])).unwrap()
}

fn still_read(path: &Path) -> Vec<String> {
    let Opened::Dicom(file) = open(path, &Limits::default()).unwrap() else { panic!() };
    let last = file.decode(file.header().frames - 1, Resolution::Full, &mut support::host()).unwrap();
    tesseract().still_read(&last, &["QUIXOTE".into(), "DULCINEA".into(), "47110815".into()]).unwrap()
}

fn text(path: &Path, keyword: &str) -> String {
    let object = dicom_object::open_file(path).unwrap();
    object.element_by_name(keyword).map(|e| e.to_str().unwrap().into_owned()).unwrap_or_default()
}

#[test]
fn a_name_in_the_pixels_is_gone_and_both_ways_give_the_same_uids() {
    let folder = tempfile::tempdir().unwrap();
    let made = drawn(folder.path());
    let out = folder.path().join("out");
    let (one, other) = (minimal(Policy::default()), by_profile("", Policy::default()));
    for kind in ["grey8", "grey8-frames", "ybr-jpeg"] {
        let original = &made.iter().find(|m| m.kind == kind).unwrap_or_else(|| panic!("no {kind}")).path;
        assert!(!still_read(original).is_empty(), "{kind}");
        let a = left(pass(&one, original, &out));
        assert_eq!(still_read(&out), [""; 0], "{kind}");
        assert!(!a.pixels.regions.is_empty() && a.pixels.share > 0.0 && a.pixels.share < 0.3, "{a:?}");
        assert_eq!(a.pixels.looked_at.len(), a.pixels.frames as usize);
        assert!(text(&out, "DeidentificationMethod").contains("Pixel data cleaned of burned-in text"));
        assert_eq!(text(&out, "PatientIdentityRemoved"), "YES");
        assert_eq!(a.bytes, std::fs::metadata(&out).unwrap().len());
        let b = left(pass(&other, original, &out));
        assert_eq!(still_read(&out), [""; 0], "{kind}");
        assert_eq!((&a.study, &a.series, &a.instance), (&b.study, &b.series, &b.instance));
        assert_eq!(a.study, one.study(&Uid::parse("2.25.4711").unwrap()));
        assert_eq!(a.study, other.study(&Uid::parse("2.25.4711").unwrap()));
        let again = left(pass(&other, original, &out));
        assert_eq!(again.sha256, b.sha256, "the same original gives the same bytes");
    }
    assert_eq!(
        std::fs::read_dir(folder.path()).unwrap().count(),
        made.len() + 1,
        "nothing else is left behind"
    );
}

#[test]
fn what_nobody_removed_is_read_by_tesseract_and_stays() {
    let folder = tempfile::tempdir().unwrap();
    let made = drawn(folder.path());
    let original = &made.iter().find(|m| m.kind == "grey8").unwrap().path;
    let policy = Policy { pixels: BurnedIn::Keep, ..Policy::default() };
    for gate in [minimal(policy), by_profile("", policy)] {
        let why = reasons(pass(&gate, original, &folder.path().join("out")));
        assert!(why.contains("Tesseract reads a value of Patient"), "{why}");
        assert!(!why.contains("QUIXOTE") && !why.contains("4711"), "{why}");
    }
    let gate = minimal(Policy::AS_IS);
    left(pass(&gate, original, &folder.path().join("out")));
    assert!(text(&folder.path().join("out"), "DeidentificationMethod").contains("not inspected"));
}

/// A CT slice of a body part, with more put in by hand.
fn slice(folder: &Path, body_part: &str, more: impl FnOnce(&mut Dicom)) -> PathBuf {
    let mut file = Dicom::new(support::EXPLICIT);
    file.put(0x0008_0008, b"CS", b"ORIGINAL\\PRIMARY\\AXIAL");
    file.put(0x0008_0016, b"UI", b"1.2.840.10008.5.1.4.1.1.2").put(0x0008_0018, b"UI", b"1.9.3");
    file.put(0x0008_0060, b"CS", b"CT");
    file.put(0x0010_0010, b"PN", b"Quixote^Dulcinea").put(0x0010_0020, b"LO", b"47110815");
    file.put(0x0018_0015, b"CS", body_part.as_bytes());
    file.study();
    file.grey(64, 64, 8, 8);
    more(&mut file);
    let path = folder.join("slice.dcm");
    std::fs::write(&path, file.0).unwrap();
    path
}

#[test]
fn heads_stay_until_the_site_says_otherwise() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    let flat = |file: &mut Dicom| {
        file.put(0x7FE0_0010, b"OB", &[9; 64 * 64]);
    };
    let chest = slice(folder.path(), "CHEST", flat);
    assert!(left(pass(&minimal(Policy::default()), &chest, &out)).residual_risks.is_empty());
    let head = slice(folder.path(), "HEAD", flat);
    let why = reasons(pass(&minimal(Policy::default()), &head, &out));
    assert!(why.contains("recognizable_features = \"keep\""), "{why}");
    let policy = Policy { recognizable: Recognizable::Keep, ..Policy::default() };
    for gate in [minimal(policy), by_profile("", policy)] {
        let risks = left(pass(&gate, &head, &out)).residual_risks;
        assert!(risks.iter().any(|risk| risk.contains("a face can be rendered")), "{risks:?}");
        assert!(text(&out, "DeidentificationMethod").contains("Recognizable visual features not removed"));
    }
}

#[test]
fn words_of_the_original_in_a_minimal_object_are_seen() {
    let folder = tempfile::tempdir().unwrap();
    // Nobody reads them off a screen, and they are there.
    let mut pixels = vec![0; 64 * 64];
    pixels[100..116].copy_from_slice(b"QUIXOTE DULCINEA");
    let planted = slice(folder.path(), "CHEST", |file| {
        file.put(0x7FE0_0010, b"OB", &pixels);
    });
    let why = reasons(pass(&minimal(Policy::AS_IS), &planted, &folder.path().join("out")));
    assert!(why.contains("PatientName (0010,0010)") && why.contains("pixel data"), "{why}");
}

#[test]
fn plain_slices_are_looked_at_in_a_sample_and_say_so() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    let path = slice(folder.path(), "CHEST", |file| {
        file.put(0x7FE0_0010, b"OB", &[9; 64 * 64]);
    });
    let gate = minimal(Policy::default());
    assert_eq!(gate.sampled_series(&path).unwrap().as_deref(), Some("1.9.2"));
    let made = gate.pass(&path, Look::Sampled, &out).unwrap();
    assert!(left(made).pixels.looked_at.is_empty());
    assert!(text(&out, "DeidentificationMethod").contains("looked for in a sample"));
    assert_eq!(left(pass(&gate, &path, &out)).pixels.looked_at, [0]);
    // People write into ultrasound images.
    let ultrasound = sample("US1_UNCI.dcm");
    assert_eq!(gate.sampled_series(&ultrasound).unwrap(), None);
    if let Leaving::Clean(left) = gate.pass(&ultrasound, Look::Sampled, &out).unwrap() {
        assert!(!left.pixels.looked_at.is_empty());
    }
}

#[test]
fn pixels_that_cannot_be_read_stay() {
    let folder = tempfile::tempdir().unwrap();
    let path = slice(folder.path(), "CHEST", |file| {
        file.fragments(&[&[], &[1, 2, 3, 4]]);
        file.0.extend_from_slice(&[0xFE, 0xFF, 0xDD, 0xE0, 0, 0, 0, 0]);
    });
    let mut bytes = std::fs::read(&path).unwrap();
    let syntax = support::EXPLICIT.as_bytes();
    let at = bytes.windows(syntax.len()).position(|w| w == syntax).unwrap();
    // RLE has one character less than it takes; the header is written anew.
    bytes[at..at + syntax.len()].copy_from_slice(b"1.2.840.10008.1.2.5");
    std::fs::write(&path, bytes).unwrap();
    let why = reasons(pass(&minimal(Policy::default()), &path, &folder.path().join("out")));
    assert!(why.contains("cannot be looked at") && why.contains("transfer syntax"), "{why}");
}

#[test]
fn a_profile_that_retains_uids_keeps_the_study() {
    let study = Uid::parse("1.9.1").unwrap();
    let gate = by_profile("options = ['retain-uids']", Policy::AS_IS);
    assert_eq!(gate.study(&study), study);
    let folder = tempfile::tempdir().unwrap();
    let path = slice(folder.path(), "CHEST", |file| {
        file.put(0x7FE0_0010, b"OB", &[9; 64 * 64]);
    });
    assert_eq!(left(pass(&gate, &path, &folder.path().join("out"))).study, study);
    // A study that somebody named as the standard names its own.
    let odd = Uid::parse("1.2.840.10008.9.9").unwrap();
    let (one, other) = (minimal(Policy::AS_IS), by_profile("", Policy::AS_IS));
    assert_eq!(one.study(&odd), other.study(&odd));
    assert_ne!(one.uid(UidKind::Instance, &odd), odd);
}

#[test]
fn a_gate_without_eyes_is_refused() {
    let blind = || Eyes { detection: None, second_look: None, codec: Arc::new(support::host) };
    let refused =
        |policy| Gate::minimal(key(), policy, blind(), Limits::default()).err().map(|e| e.to_string());
    assert!(refused(Policy::default()).unwrap().contains("ONNX Runtime"));
    let keep = Policy { pixels: BurnedIn::Keep, ..Policy::default() };
    assert!(refused(keep).unwrap().contains("Tesseract"));
    assert_eq!(refused(Policy::AS_IS), None);
}
