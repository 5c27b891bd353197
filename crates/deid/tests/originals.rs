//! Every original of pydicom's tests and of pydicom-data: the copy shows the same pixels and tells no one's name.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use dicom_core::dictionary::DataDictionary;
use dicom_core::header::HasLength;
use dicom_core::value::{PrimitiveValue, Value};
use dicom_core::{Tag, VR};
use dicom_dictionary_std::{StandardDataDictionary, tags};
use dicom_object::{FileDicomObject, InMemDicomObject};
use overread_deid::DeidError;
use overread_dicom::read::{CodecHost, DicomFile, Limits, Opened, Resolution, open, open_bytes};
use overread_domain::ImageGrid;
use support::{holds, host, originals, tools, write};

/// What a copy may hold, at whatever depth: a second list, so that a change of the first one is seen.
const ALLOWED: &str = "
    00080008 00080016 00080018 00080020 00080030 00080050 00080060 00080068 00080070 00080090 00082144
    00100010 00100020 00100030 00100040 00120062 00120063
    00180015 00180040 00180050 00180088 00181063 00181065 00181088 00181114 00181164 00182010 00185100 00185101
    00186011 00186012 00186014 00186016 00186018 0018601A 0018601C 0018601E 00186020 00186022 00186024 00186026
    00186028 0018602A 0018602C 0018602E 00186040 00186060
    0020000D 0020000E 00200010 00200011 00200013 00200020 00200032 00200037 00200052 00200060 00200062 00201040
    00201041 00209057 00209111 00209113 00209116 00209128 00209156 00209157 00209228 00209311
    00280002 00280004 00280006 00280008 00280009 00280010 00280011 00280030 00280034 00280100 00280101 00280102
    00280103 00280106 00280107 00280120 00280121 00280122 00280123 00280124 00280125 00280301 00280302 00280303
    00280A02 00281040 00281041 00281050 00281051 00281052 00281053 00281054 00281056 00281101 00281102 00281103
    00281201 00281202 00281203 00281221 00281222 00281223 00282110 00282112 00282114 00283000 00283002 00283004
    00283006 00283010 00289110 00289132 00289145 00480006 00480007 0048021A 0048021E 0048021F 00480302 00480303 20500020 52009229 52009230 7FE00008 7FE00009 7FE00010";

/// Attributes that a copy has because every image has them, and that say nothing in it.
const OF_THE_PATIENT: [Tag; 11] = [
    tags::PATIENT_NAME,
    tags::PATIENT_ID,
    tags::PATIENT_BIRTH_DATE,
    tags::PATIENT_SEX,
    tags::STUDY_DATE,
    tags::STUDY_TIME,
    tags::ACCESSION_NUMBER,
    tags::REFERRING_PHYSICIAN_NAME,
    tags::STUDY_ID,
    tags::SERIES_NUMBER,
    tags::MANUFACTURER,
];

fn dicom(opened: Result<Opened, overread_dicom::read::ReadError>) -> Option<DicomFile> {
    match opened {
        Ok(Opened::Dicom(file)) => Some(file),
        _ => None,
    }
}

/// First and last frame, without the frame of reference, which is mapped.
fn frames(file: &DicomFile, host: &mut CodecHost) -> Option<Vec<ImageGrid>> {
    let last = file.header().frames.checked_sub(1)?;
    let mut grids = Vec::new();
    for frame in BTreeSet::from([0, last]) {
        let mut grid = file.decode(frame, Resolution::Full, host).ok()?;
        if let Some(geometry) = &mut grid.geometry {
            geometry.frame_of_reference = None;
        }
        grids.push(grid);
    }
    Some(grids)
}

#[test]
fn every_readable_original_leaves_with_the_same_pixels_and_without_the_patient() {
    let mut host = host();
    let (mut written, mut refused, mut wrong) = (0, BTreeMap::<String, Vec<String>>::new(), Vec::new());
    for path in originals() {
        let Some(original) = dicom(open(&path, &Limits::default())) else { continue };
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let Some(seen) = frames(&original, &mut host) else {
            // What cannot be read may be refused, and may not crash.
            drop(write(1, &path));
            continue;
        };
        match write(1, &path) {
            Ok((_, bytes)) => {
                written += 1;
                wrong.extend(
                    judge(&path, &original, &seen, &bytes, &mut host)
                        .into_iter()
                        .map(|w| format!("{name}: {w}")),
                );
            }
            Err(DeidError::Uid { name: what, .. }) => refused.entry(what.to_owned()).or_default().push(name),
            Err(other) => wrong.push(format!("{name}: {other}: {:?}", std::error::Error::source(&other))),
        }
    }
    println!("{written} written; refused for want of {refused:#?}");
    assert!(wrong.is_empty(), "{wrong:#?}");
    let refused: usize = refused.values().map(Vec::len).sum();
    assert!(written > 90 && refused < 25, "{written} written, {refused} refused");
}

fn judge(
    path: &Path,
    original: &DicomFile,
    seen: &[ImageGrid],
    bytes: &[u8],
    host: &mut CodecHost,
) -> Vec<String> {
    let mut wrong = Vec::new();
    let copy = dicom(open_bytes(bytes.to_vec(), &Limits::default())).unwrap();
    if frames(&copy, host).as_deref() != Some(seen) {
        wrong.push("other pixels".to_owned());
    }
    if !copy.header().tolerances.iter().all(|t| original.header().tolerances.contains(t)) {
        wrong.push(format!("read against the standard: {:?}", copy.header().tolerances));
    }
    // A second parser reads the whole of it, and nothing follows the pixel data.
    let whole = dicom_object::from_reader(bytes).unwrap();
    let allowed: BTreeSet<u32> =
        ALLOWED.split_whitespace().map(|t| u32::from_str_radix(t, 16).unwrap()).collect();
    walk(&whole, &mut |tag, element| {
        if !allowed.contains(&((u32::from(tag.group()) << 16) | u32::from(tag.element()))) {
            wrong.push(format!("{tag} is not on the list"));
        }
        if OF_THE_PATIENT.contains(&tag) && element.length().get() != Some(0) {
            wrong.push(format!("{tag} has a value"));
        }
    });
    if write(1, path).unwrap().1 != bytes {
        wrong.push("other bytes the second time".to_owned());
    }
    wrong.extend(identity(original, &whole, bytes));
    wrong.extend(other_key(path, &whole));
    wrong
}

fn walk(object: &InMemDicomObject, visit: &mut impl FnMut(Tag, &dicom_object::mem::InMemElement)) {
    for element in object {
        visit(element.header().tag, element);
        element.items().unwrap_or_default().iter().for_each(|item| walk(item, visit));
    }
}

/// The texts of an object by whether they may tell who the patient is.
fn texts(object: &InMemDicomObject) -> (BTreeSet<String>, BTreeSet<String>) {
    let (mut telling, mut plain) = (BTreeSet::new(), BTreeSet::new());
    let known = |tag: Tag| StandardDataDictionary.by_tag(tag).map_or(VR::UN, |e| e.vr.relaxed());
    walk(object, &mut |tag, element| {
        let (texts, vr): (Vec<String>, VR) = match element.value() {
            // Private and unknown elements hold text as bytes.
            Value::Primitive(PrimitiveValue::U8(bytes))
                if bytes.len() < 256 && bytes.iter().all(|b| (32..127).contains(b)) =>
            {
                (vec![String::from_utf8_lossy(bytes).into_owned()], known(tag))
            }
            Value::Primitive(PrimitiveValue::Str(_) | PrimitiveValue::Strs(_)) => {
                let texts = element.to_multi_str().unwrap();
                (texts.to_vec(), element.vr())
            }
            _ => return,
        };
        let kind = if matches!(vr, VR::CS | VR::DS | VR::IS) { &mut plain } else { &mut telling };
        let values = texts.iter().flat_map(|t| t.split('\\'));
        kind.extend(values.map(|t| t.trim_matches([' ', '\0']).to_owned()).filter(|t| t.len() > 3));
    });
    (telling, plain)
}

/// Texts of the original that the copy holds before its pixel data, and must not.
fn identity(original: &DicomFile, copy: &FileDicomObject<InMemDicomObject>, bytes: &[u8]) -> Vec<String> {
    let (telling, plain) = texts(original.dataset().reveal());
    let (ours, codes) = texts(copy);
    let ours_alone = |text: &String| {
        [tags::SOP_CLASS_UID, tags::DEIDENTIFICATION_METHOD].iter().any(|t| {
            copy.element(*t).unwrap().to_multi_str().unwrap().iter().any(|v| v.contains(text.as_str()))
        }) || *copy.meta().transfer_syntax() == **text
    };
    // Digits meet by chance within longer ones; they are compared with whole values.
    let pixels = bytes.windows(4).rposition(|w| w[..2] == [0xE0, 0x7F] && w[3] == 0).unwrap_or(bytes.len());
    let head = &bytes[..pixels];
    let found = |text: &String| {
        let digits = text.bytes().all(|b| b.is_ascii_digit() || b".:+- ".contains(&b));
        let whole = ours.contains(text) || codes.contains(text);
        whole || (!digits && holds(head, text.as_bytes()))
    };
    let leaks = telling.iter().filter(|t| !plain.contains(*t) && !ours_alone(t) && found(t));
    leaks.map(|t| format!("{t:?} leaves")).collect()
}

/// Every UID but that of the class changes with the key.
fn other_key(path: &Path, copy: &InMemDicomObject) -> Vec<String> {
    let (about, bytes) = write(2, path).unwrap();
    let other = dicom_object::from_reader(bytes.as_slice()).unwrap();
    let text = |o: &InMemDicomObject, tag| o.get(tag).map(|e| e.to_str().unwrap().into_owned());
    let mapped = [
        tags::SOP_INSTANCE_UID,
        tags::STUDY_INSTANCE_UID,
        tags::SERIES_INSTANCE_UID,
        tags::FRAME_OF_REFERENCE_UID,
    ];
    let same = mapped.iter().filter(|t| text(copy, **t).is_some() && text(copy, **t) == text(&other, **t));
    let mut wrong: Vec<String> = same.map(|t| format!("{t} is the same under another key")).collect();
    if text(&other, tags::SOP_INSTANCE_UID).as_deref() != Some(about.instance.as_str()) {
        wrong.push("the SOP Instance UID is not the one that was told".to_owned());
    }
    wrong
}

#[test]
fn pydicom_sees_the_same_pixels() {
    let folder = tempfile::tempdir().unwrap();
    let mut pairs = Vec::new();
    for (n, path) in originals().into_iter().enumerate() {
        let Ok((_, bytes)) = write(1, &path) else { continue };
        let copy = folder.path().join(format!("{n}.dcm"));
        std::fs::write(&copy, bytes).unwrap();
        pairs.push([path, copy]);
    }
    let list = folder.path().join("pairs.json");
    std::fs::write(&list, serde_json::to_vec(&pairs).unwrap()).unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/peers/same_pixels.py");
    let run = Command::new(tools().join("venv/bin/python")).arg(script).arg(&list).output().unwrap();
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    let answers: Vec<[String; 2]> = serde_json::from_slice(&run.stdout).unwrap();
    let name = |path: &Path| path.file_name().unwrap().to_string_lossy().into_owned();
    let with = |outcome: &str| -> Vec<String> {
        let those = pairs.iter().zip(&answers).filter(|(_, a)| a[0] == outcome);
        those.map(|(p, a)| format!("{}: {}", name(&p[0]), a[1])).collect()
    };
    println!("pydicom cannot decode the originals of {:#?}", with("unread"));
    assert!(with("differs").is_empty(), "{:#?}", with("differs"));
    assert!(with("same").len() > 100, "{} of {} are the same", with("same").len(), pairs.len());
}
