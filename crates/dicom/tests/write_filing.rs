//! The objects of a result in one call, and photographs from their files.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod support;
mod write_support;

use std::io::Cursor;

use image::{ImageFormat, RgbImage};
use overread_dicom::read::{CodecHost, Limits, Opened, ReadError, Resolution, open, open_bytes};
use overread_dicom::write::photograph::photograph;
use overread_dicom::write::report::report_reference;
use overread_dicom::write::{
    ContentUids, EyeDevice, FiledCapture, Filing, InstanceReference, PhotographError, PhotographKind,
    Release, ResultIdentity, SourceContext, WrapHeader, WriteError, documents,
};
use overread_domain::{Channels, GridSize, PixelSpacing, Samples};
use write_support::*;

fn capture(label: &str, explains: Option<&str>) -> FiledCapture {
    let explains = explains.map(str::to_owned);
    let (description, size) = ("Class-activation map over the image".into(), GridSize::new(7, 5));
    FiledCapture { label: label.into(), explains, description, size, rgb: (0..105).collect() }
}

#[test]
fn captures_come_first_and_the_report_names_them() {
    let folder = tempfile::tempdir().unwrap();
    // Only the header is read: no codec, no pixels.
    let Opened::Dicom(original) = open(&pydicom_file("examples_overlay.dcm"), &Limits::default()).unwrap()
    else {
        panic!("not DICOM");
    };
    let source = SourceContext::from_image(original.dataset()).unwrap();
    let first: InstanceReference = report_reference(&source, &algorithm(), &identity());
    let amended = ResultIdentity { case_version: 2, ..identity() };
    let filing = Filing {
        findings: &findings(),
        not_assessed: None,
        captures: &[capture("pneumonia", Some("pneumonia")), capture("image", None)],
        predecessors: std::slice::from_ref(&first),
        release: Release::Final,
        caveats: &["Research use only."],
    };
    let make = || documents(&source, &algorithm(), &amended, stamp(), &filing).unwrap();
    let objects = make();
    assert_eq!(objects, make());
    let paths: Vec<_> = objects
        .iter()
        .enumerate()
        .map(|(n, (_, bytes))| {
            let path = folder.path().join(format!("{n}.dcm"));
            std::fs::write(&path, bytes).unwrap();
            assert_valid(&path, KNOWN_WARNINGS);
            path
        })
        .collect();
    let read = peers(&paths.iter().map(std::path::PathBuf::as_path).collect::<Vec<_>>());
    let (images, report) = (read["images"].as_array().unwrap(), &read["reports"][0]);
    assert_eq!(images.len(), 2);
    for ((reference, _), object) in objects.iter().zip(images.iter().chain([report])) {
        assert_eq!(object["sop_instance"], reference.instance.as_str());
        assert_eq!(object["series"], reference.series.as_str());
    }
    assert_eq!(report["findings"][0]["explanations"], serde_json::json!([images[0]["sop_instance"]]));
    assert_eq!(report["predecessors"], serde_json::json!([first.instance.as_str()]));
    assert_eq!(report["preliminary"], "FINAL");
}

#[test]
fn captures_of_one_label_would_be_one_object() {
    let source = source("CT_small.dcm");
    let filing = Filing {
        findings: &findings(),
        not_assessed: None,
        captures: &[capture("same", None), capture("same", None)],
        predecessors: &[],
        release: Release::Preliminary,
        caveats: &[],
    };
    let error = documents(&source, &algorithm(), &identity(), stamp(), &filing).unwrap_err();
    assert!(matches!(error, WriteError::SameLabel { .. }), "{error}");
}

/// Red, green and blue stripes, wider than high.
fn stripes() -> RgbImage {
    RgbImage::from_fn(24, 8, |x, _| {
        [image::Rgb([250, 0, 0]), image::Rgb([0, 250, 0]), image::Rgb([0, 0, 250])][x as usize / 8]
    })
}

fn encoded(format: ImageFormat) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    stripes().write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

/// A JPEG whose EXIF tells a name and that the picture is to be turned by 90°.
fn turned_jpeg() -> Vec<u8> {
    let mut exif = b"Exif\0\0MM\0\x2A\0\0\0\x08\0\x02".to_vec();
    exif.extend_from_slice(b"\x01\x12\0\x03\0\0\0\x01\0\x06\0\0");
    exif.extend_from_slice(b"\x01\x3B\0\x02\0\0\0\x08\0\0\0\x26\0\0\0\0CANARY\0\0");
    let jpeg = encoded(ImageFormat::Jpeg);
    let mut bytes = jpeg[..2].to_vec();
    bytes.extend_from_slice(&[0xFF, 0xE1]);
    bytes.extend_from_slice(&(exif.len() as u16 + 2).to_be_bytes());
    bytes.extend_from_slice(&exif);
    bytes.extend_from_slice(&jpeg[2..]);
    bytes
}

fn header(name: &[u8]) -> WrapHeader {
    WrapHeader::new(ContentUids::of_picture(name), stamp())
}

fn wrap(
    bytes: &[u8],
    kind: PhotographKind,
    limits: &Limits,
    host: &mut CodecHost,
) -> Result<Vec<u8>, PhotographError> {
    let header = WrapHeader { laterality: Some("R".into()), ..header(bytes) };
    let object = photograph(bytes.to_vec(), &header, kind, limits, host)?;
    Ok(overread_dicom::write::to_part10(&object)?)
}

#[test]
fn photographs_of_every_format_become_valid_images() {
    let folder = tempfile::tempdir().unwrap();
    let mut host = support::host();
    let files = [
        (turned_jpeg(), true),
        (encoded(ImageFormat::Png), false),
        (encoded(ImageFormat::Tiff), false),
        (encoded(ImageFormat::WebP), false),
    ];
    for (n, (bytes, turned)) in files.iter().enumerate() {
        for (kind, modality) in [
            (PhotographKind::Photograph, "XC"),
            (PhotographKind::Radiograph, "CR"),
            (PhotographKind::Eye(EyeDevice::SlitLamp), "OP"),
        ] {
            let out = wrap(bytes, kind, &Limits::default(), &mut host).unwrap();
            assert!(!out.windows(6).any(|w| w == b"CANARY"), "EXIF stays behind");
            let path = folder.path().join(format!("{n}{modality}.dcm"));
            std::fs::write(&path, &out).unwrap();
            assert_valid(&path, KNOWN_WARNINGS);
            let read = open_bytes(out, &Limits::default()).unwrap();
            assert_eq!(read.header().modality.as_deref(), Some(modality));
            let grid = read.decode(0, Resolution::Full, &mut host).unwrap();
            let size = if *turned { GridSize::new(8, 24) } else { GridSize::new(24, 8) };
            assert_eq!(grid.size, size, "{n}");
            let Samples::U8(samples) = &grid.samples else { panic!("not of 8 bits") };
            // Turned by 90°, the first row is still red; the last row is blue, or the last of each row.
            let close = |at: usize, want: [u8; 3]| {
                let found = &samples[at * 3..at * 3 + 3];
                assert!(
                    found.iter().zip(want).all(|(a, b)| a.abs_diff(b) < 12),
                    "{n}: {found:?} is not {want:?}"
                );
            };
            if grid.channels == Channels::Rgb {
                close(0, [250, 0, 0]);
                close(191, [0, 0, 250]);
            } else {
                assert!(samples[0].abs_diff(75) < 8 && samples[191].abs_diff(29) < 8, "{n}: {samples:?}");
            }
        }
    }
}

#[test]
fn what_is_no_photograph_or_too_large_is_refused() {
    let mut host = support::host();
    let mut refused = |bytes: &[u8], limits: &Limits| {
        wrap(bytes, PhotographKind::Photograph, limits, &mut host).unwrap_err()
    };
    let small = Limits { frame_bytes: 100, ..Limits::default() };
    let error = refused(&encoded(ImageFormat::Png), &small);
    assert!(matches!(error, PhotographError::Read(ReadError::TooLarge { .. })), "{error}");
    let error = refused(b"a letter", &Limits::default());
    assert!(matches!(error, PhotographError::Read(ReadError::NotAnImage)), "{error}");
    let dicom = std::fs::read(pydicom_file("CT_small.dcm")).unwrap();
    assert!(matches!(refused(&dicom, &Limits::default()), PhotographError::Dicom));
}

#[test]
fn an_eye_needs_its_side_and_a_fundus_camera_its_spacing() {
    let folder = tempfile::tempdir().unwrap();
    let mut host = support::host();
    let mut eye = |side: &str, device| {
        let bytes = encoded(ImageFormat::Png);
        let header = WrapHeader { laterality: Some(side.into()), ..header(&bytes) };
        let object = photograph(bytes, &header, PhotographKind::Eye(device), &Limits::default(), &mut host)?;
        Ok(overread_dicom::write::to_part10(&object)?)
    };
    let refused = |error: PhotographError| match error {
        PhotographError::Write(WriteError::Value { name, .. }) => name,
        other => panic!("{other}"),
    };
    for side in ["L", "R", "B"] {
        let spacing = PixelSpacing { row_mm: 0.01, column_mm: 0.01 };
        for device in [EyeDevice::ExternalCamera, EyeDevice::SlitLamp, EyeDevice::FundusCamera(spacing)] {
            let path = folder.path().join("eye.dcm");
            std::fs::write(&path, eye(side, device).unwrap()).unwrap();
            assert_valid(&path, KNOWN_WARNINGS);
        }
    }
    for side in ["U", "X"] {
        assert_eq!(refused(eye(side, EyeDevice::SlitLamp).unwrap_err()), "Image Laterality");
    }
    let none = PixelSpacing { row_mm: 0.0, column_mm: 0.01 };
    assert_eq!(refused(eye("L", EyeDevice::FundusCamera(none)).unwrap_err()), "Pixel Spacing");
}

#[test]
fn a_file_of_several_pictures_is_refused() {
    let mut host = support::host();
    let mut refused =
        |bytes: Vec<u8>| wrap(&bytes, PhotographKind::Photograph, &Limits::default(), &mut host);
    let png = encoded(ImageFormat::Png);
    // After the header chunk of 25 bytes, a chunk that announces two frames.
    let mut animated = png[..33].to_vec();
    animated.extend_from_slice(&[0, 0, 0, 8]);
    animated.extend_from_slice(b"acTL\0\0\0\x02\0\0\0\0");
    animated.extend_from_slice(&0xF38D_9370_u32.to_be_bytes());
    animated.extend_from_slice(&png[33..]);
    assert!(matches!(refused(animated), Err(PhotographError::Several)));
    assert!(refused(png).is_ok());
}
