//! Plain pictures as DICOM images, valid and readable, and results on them.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod write_support;

use overread_dicom::write::capture::secondary_capture;
use overread_dicom::write::report::structured_report;
use overread_dicom::write::wrap::{wrap_photograph, wrap_radiograph};
use overread_dicom::write::{Capture, ContentUids, DxGeometry, GreyPixels, Release, Report, RgbPixels};
use overread_dicom::write::{SourceContext, WrapHeader, WriteError, codes};
use overread_domain::{GridSize, Identified, PixelSpacing};
use write_support::*;

fn header(name: &[u8]) -> WrapHeader {
    WrapHeader::new(ContentUids::of_picture(name), stamp())
}

fn chest(name: &[u8]) -> WrapHeader {
    let known = |v: &str| Some(Identified::new(v.to_owned()));
    WrapHeader {
        patient_id: known("P-0007"),
        patient_name: known("Müller^Änne"),
        birth_date: known("19700131"),
        sex: Some("F".into()),
        accession: known("ACC1"),
        description: Some("Chest".into()),
        body_part: Some("CHEST".into()),
        region: Some(codes::CHEST.into()),
        view: Some("PA".into()),
        burned_in: Some(false),
        ..header(name)
    }
}

fn geometry() -> DxGeometry {
    let spacing = PixelSpacing { row_mm: 0.143, column_mm: 0.143 };
    DxGeometry { spacing, orientation: ["L".into(), "F".into()] }
}

#[test]
fn wrapped_pictures_are_valid_and_read_back() {
    let folder = tempfile::tempdir().unwrap();
    let size = GridSize::new(3, 5);
    let deep: Vec<u16> = (0..15).map(|n| n * 273).collect();
    let deep = GreyPixels::U16 { bits_stored: 12, values: &deep };
    let shallow: Vec<u8> = (0..15).collect();
    let lossy = WrapHeader { lossy: true, ..chest(b"lossy") };
    let files = [
        wrap_radiograph(&chest(b"dx8"), size, GreyPixels::U8(&shallow), Some(&geometry())),
        wrap_radiograph(&lossy, size, deep, Some(&geometry())),
        wrap_radiograph(&header(b"bare"), size, deep, Some(&geometry())),
        wrap_radiograph(&chest(b"cr"), size, deep, None),
        wrap_radiograph(&header(b"bare-cr"), size, GreyPixels::U8(&shallow), None),
        wrap_photograph(&chest(b"photo"), GridSize::new(5, 1), RgbPixels(&shallow)),
        wrap_photograph(
            &WrapHeader { lossy: true, ..header(b"bare-photo") },
            GridSize::new(5, 1),
            RgbPixels(&shallow),
        ),
    ];
    let paths: Vec<_> = files
        .iter()
        .enumerate()
        .map(|(n, f)| save(folder.path(), &format!("{n}.dcm"), f.as_ref().unwrap()))
        .collect();
    for path in &paths {
        assert_valid(path, KNOWN_WARNINGS);
    }
    let read = peers(&paths.iter().map(std::path::PathBuf::as_path).collect::<Vec<_>>());
    let images = read["images"].as_array().unwrap();
    let modalities: Vec<_> = images.iter().map(|i| i["modality"].as_str().unwrap()).collect();
    assert_eq!(modalities, ["DX", "DX", "DX", "CR", "CR", "XC", "XC"]);
    let sums: Vec<_> = images.iter().map(|i| i["sum"].as_i64().unwrap()).collect();
    assert_eq!(sums, [105, 28_665, 28_665, 28_665, 105, 105, 105]);
    assert_eq!(images[0]["shape"], serde_json::json!([5, 3]));
    assert_eq!(images[0]["patient_name"], "Müller^Änne");
}

#[test]
fn a_photograph_gets_its_report_and_capture() {
    let folder = tempfile::tempdir().unwrap();
    let photo = wrap_photograph(&header(b"skin"), GridSize::new(2, 2), RgbPixels(&[90; 12])).unwrap();
    let source = SourceContext::from_image(&Identified::new(photo.into_inner())).unwrap();
    let (all, (_, reason)) = (findings(), unassessed());
    let read = Report {
        findings: &all,
        not_assessed: None,
        explanations: &[],
        predecessors: &[],
        release: Release::Final,
        caveats: &[],
    };
    let unread = Report { findings: &[], not_assessed: Some(&reason), ..read };
    for (name, report) in [("read", read), ("unread", unread)] {
        let sr = structured_report(&source, &algorithm(), &identity(), stamp(), &report).unwrap();
        assert_valid(&save(folder.path(), name, &sr), KNOWN_WARNINGS);
    }
    let size = GridSize::new(2, 2);
    let capture = Capture { label: "melanoma", number: 1, description: "", size, rgb: &[1; 12] };
    let sc = secondary_capture(&source, &algorithm(), &identity(), stamp(), &capture).unwrap();
    assert_valid(&save(folder.path(), "sc", &sc), KNOWN_WARNINGS);
}

#[test]
fn the_same_picture_is_the_same_study() {
    assert_eq!(ContentUids::of_picture(b"a"), ContentUids::of_picture(b"a"));
    assert_ne!(ContentUids::of_picture(b"a").study, ContentUids::of_picture(b"b").study);
    let (one, two) = (ContentUids::of_set(b"s", b"1"), ContentUids::of_set(b"s", b"2"));
    assert_eq!((&one.study, &one.series), (&two.study, &two.series));
    assert_ne!(one.instance, two.instance);
}

#[test]
fn pictures_that_do_not_fit_are_refused() {
    let size = GridSize::new(3, 5);
    let wrap = |size, pixels, geometry: Option<&DxGeometry>| {
        wrap_radiograph(&header(b"x"), size, pixels, geometry).map(|_| ()).unwrap_err()
    };
    let error = wrap(size, GreyPixels::U8(&[0; 14]), None);
    assert!(matches!(error, WriteError::PixelCount { expected: 15, found: 14, .. }), "{error}");
    let error = wrap(GridSize::new(65_536, 1), GreyPixels::U8(&[0; 65_536]), None);
    assert!(matches!(error, WriteError::ImageSize { .. }), "{error}");
    let error = wrap(GridSize::new(0, 1), GreyPixels::U8(&[]), None);
    assert!(matches!(error, WriteError::ImageSize { .. }), "{error}");
    let error = wrap(size, GreyPixels::U16 { bits_stored: 12, values: &[4096; 15] }, None);
    assert_eq!(error.to_string(), "Bits Stored (0028,0101): 4096 does not fit 12 bits");
    let mut bad = geometry();
    bad.spacing.row_mm = f64::NAN;
    assert!(matches!(wrap(size, GreyPixels::U8(&[0; 15]), Some(&bad)), WriteError::Value { .. }));
    let mut bad = geometry();
    bad.orientation[0] = "LEFT".into();
    assert!(matches!(wrap(size, GreyPixels::U8(&[0; 15]), Some(&bad)), WriteError::Value { .. }));
}

#[test]
fn a_given_identity_is_whole_or_refused_and_never_printed() {
    let long = "9".repeat(65);
    let header = WrapHeader { patient_id: Some(Identified::new(long.clone())), ..header(b"x") };
    let error = wrap_photograph(&header, GridSize::new(1, 1), RgbPixels(&[0; 3])).map(|_| ()).unwrap_err();
    assert_eq!(error.to_string(), "Patient ID (0010,0020): not a valid value of VR LO");
    assert!(!format!("{error:?}").contains(&long));
}
