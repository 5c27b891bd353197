//! The codec process: survived when it dies, doubted when it answers, limited in memory and time.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod support;

use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use overread_dicom::read::{
    CodecFailure, CodecHost, CodecLimits, Limits, Opened, ReadError, Resolution, open, open_bytes,
};
use overread_domain::{Channels, GridSize, ImageGrid, Samples};
use support::Dicom;

fn radiograph() -> Opened {
    open(&support::tools().join("samples/data_store/data/RG1_J2KR.dcm"), &Limits::default()).unwrap()
}

fn full(file: &Opened, host: &mut CodecHost) -> Result<ImageGrid, ReadError> {
    file.decode(0, Resolution::Full, host)
}

fn shell(script: &str, wall: Duration) -> CodecHost {
    let args = vec!["-c".into(), script.into()];
    CodecHost::new(PathBuf::from("/bin/sh"), args, CodecLimits { wall, ..CodecLimits::default() })
}

#[test]
fn a_killed_child_is_replaced() {
    let (file, mut host) = (radiograph(), support::host());
    let before = full(&file, &mut host).unwrap();
    let id = host.child_id().unwrap();
    assert!(Command::new("kill").args(["-9", &id.to_string()]).status().unwrap().success());
    std::thread::sleep(Duration::from_millis(50));
    assert_eq!(full(&file, &mut host).unwrap(), before);
    assert_ne!(host.child_id(), Some(id));
}

#[test]
fn a_child_serves_many_frames() {
    let (file, mut host) = (radiograph(), support::host());
    full(&file, &mut host).unwrap();
    let id = host.child_id();
    full(&file, &mut host).unwrap();
    assert_eq!(host.child_id(), id);
}

#[test]
fn children_that_die_lie_or_sleep_are_named() {
    let file = radiograph();
    let failure = |mut host: CodecHost| match full(&file, &mut host).unwrap_err() {
        ReadError::Codec { syntax, source, .. } => {
            assert_eq!(syntax, "JPEG 2000 Lossless");
            source
        }
        other => panic!("{other}"),
    };
    let wall = Duration::from_secs(20);
    let none = CodecHost::new(PathBuf::from("/no/such/program"), Vec::new(), CodecLimits::default());
    assert!(matches!(failure(none), CodecFailure::Start(_)));
    assert!(matches!(failure(shell("exit 3", wall)), CodecFailure::Crashed { .. }));
    assert!(matches!(failure(shell("kill -SEGV $$", wall)), CodecFailure::Crashed { .. }));
    // Answers that claim 2^32 pixels, or a refusal of exabytes.
    let lie = r"head -c 100 >/dev/null; printf '\001\002\001\000\377\377\377\377\377\377\377\377\000\000\000\000\377\000\000\000'; cat >/dev/null";
    assert!(matches!(failure(shell(lie, wall)), CodecFailure::Answer(_)));
    let lie = r"head -c 100 >/dev/null; printf '\000\001\001\000\001\000\000\000\001\000\000\000\377\377\377\377\377\377\377\177'; cat >/dev/null";
    assert!(matches!(failure(shell(lie, wall)), CodecFailure::Answer(_)));
    let start = Instant::now();
    assert!(matches!(
        failure(shell("exec sleep 100", Duration::from_secs(1))),
        CodecFailure::TimedOut { seconds: 1 }
    ));
    assert!(start.elapsed() < Duration::from_secs(10));
}

#[test]
fn memory_is_limited() {
    let limits = CodecLimits { memory_bytes: 24 << 20, ..CodecLimits::default() };
    let mut host = CodecHost::new(support::codec_program(), Vec::new(), limits);
    let error = full(&radiograph(), &mut host).unwrap_err();
    let refused = matches!(
        error,
        ReadError::Codec { source: CodecFailure::Crashed { .. } | CodecFailure::Refused(_), .. }
    );
    assert!(refused, "{error:?}");
    let mut plenty = support::host();
    assert!(full(&radiograph(), &mut plenty).is_ok());
}

#[test]
fn jpeg_2000_is_decoded_no_larger_than_needed() {
    let (file, mut host) = (radiograph(), support::host());
    let whole = full(&file, &mut host).unwrap();
    let wanted = GridSize::new(224, 224);
    let small = file.decode(0, Resolution::AtLeast(wanted), &mut host).unwrap();
    assert_eq!(small.full_size, whole.size);
    assert!(small.size.columns >= 224 && small.size.rows >= 224);
    assert!(small.size.columns < 448 || small.size.rows < 448, "{:?}", small.size);
    assert_eq!(small.samples.len() as u64, small.size.pixels());
    // The same picture: the means are close.
    let mean = |g: &ImageGrid| match &g.samples {
        Samples::U16(v) => v.iter().map(|x| f64::from(*x)).sum::<f64>() / v.len() as f64,
        other => panic!("{} samples of another type", other.len()),
    };
    assert!((mean(&small) / mean(&whole) - 1.0).abs() < 0.02);
    // Never above what there is.
    let same = file.decode(0, Resolution::AtLeast(GridSize::new(9999, 9999)), &mut host).unwrap();
    assert_eq!(same, whole);
}

fn jpeg(columns: u32, rows: u32, colour: bool) -> Vec<u8> {
    let mut bytes = std::io::Cursor::new(Vec::new());
    let shade = |x: u32, y: u32| ((x * 255 / columns + y * 255 / rows) / 2) as u8;
    if colour {
        let picture = image::RgbImage::from_fn(columns, rows, |x, y| image::Rgb([shade(x, y), 40, 200]));
        picture.write_to(&mut bytes, image::ImageFormat::Jpeg).unwrap();
    } else {
        let picture = image::GrayImage::from_fn(columns, rows, |x, y| image::Luma([shade(x, y)]));
        picture.write_to(&mut bytes, image::ImageFormat::Jpeg).unwrap();
    }
    bytes.into_inner()
}

#[test]
fn jpeg_is_scaled_within_the_transform() {
    let mut dicom = Dicom::new("1.2.840.10008.1.2.4.50");
    dicom.grey(1001, 803, 8, 8, false).encapsulated(&[&jpeg(1001, 803, false)]);
    let file = open_bytes(dicom.bytes, &Limits::default()).unwrap();
    let mut host = support::host();
    let size = |file: &Opened, side, host: &mut CodecHost| {
        file.decode(0, Resolution::AtLeast(GridSize::new(side, side)), host).unwrap().size
    };
    assert_eq!(size(&file, 224, &mut host), GridSize::new(501, 402));
    assert_eq!(size(&file, 100, &mut host), GridSize::new(126, 101));
    assert_eq!(size(&file, 10, &mut host), GridSize::new(126, 101));
    assert_eq!(size(&file, 803, &mut host), GridSize::new(1001, 803));
    let photograph = open_bytes(jpeg(1001, 803, true), &Limits::default()).unwrap();
    assert_eq!(size(&photograph, 224, &mut host), GridSize::new(501, 402));
}

#[test]
fn a_damaged_jpeg_is_refused_rather_than_grey() {
    let whole = jpeg(256, 256, false);
    let mut host = support::host();
    let mut dicom = Dicom::new("1.2.840.10008.1.2.4.50");
    dicom.grey(256, 256, 8, 8, false).encapsulated(&[&whole[..whole.len() / 2]]);
    let file = open_bytes(dicom.bytes, &Limits::default()).unwrap();
    let error = full(&file, &mut host).unwrap_err();
    assert!(matches!(error, ReadError::Codec { source: CodecFailure::Refused(_), .. }), "{error:?}");
}

#[test]
fn half_a_stream_is_refused_by_every_codec() {
    let tools = support::tools();
    let store = tools.join("samples/data_store/data");
    let package = std::fs::read_dir(tools.join("venv/lib")).unwrap().map(|e| e.unwrap().path());
    let files =
        package.map(|p| p.join("site-packages/pydicom/data/test_files")).find(|p| p.exists()).unwrap();
    let mut host = support::host();
    for path in [
        files.join("MR_small_jp2klossless.dcm"),
        store.join("JPEG-LL.dcm"),
        store.join("JPGLosslessP14SV1_1s_1f_8b.dcm"),
        files.join("MR_small_jpeg_ls_lossless.dcm"),
        files.join("JPGExtended.dcm"),
    ] {
        let header = open(&path, &Limits::default()).unwrap().header().clone();
        let bytes = std::fs::read(&path).unwrap();
        let start =
            bytes.windows(3).position(|w| w == [0xFF, 0xD8, 0xFF] || w == [0xFF, 0x4F, 0xFF]).unwrap();
        let mut rebuilt = |stream: &[u8]| {
            let mut file = Dicom::new(&header.transfer_syntax);
            let (columns, rows) = (header.columns as u16, header.rows as u16);
            file.grey(columns, rows, header.bits_allocated, header.bits_stored, false)
                .encapsulated(&[stream]);
            full(&open_bytes(file.bytes, &Limits::default()).unwrap(), &mut host)
        };
        let whole = rebuilt(&bytes[start..]);
        assert!(whole.is_ok(), "{}: {:?}", path.display(), whole.err());
        for part in [4, 2] {
            let cut = start + (bytes.len() - start) / part;
            assert!(rebuilt(&bytes[start..cut]).is_err(), "1/{part} of {}", path.display());
        }
    }
}

#[test]
fn photographs_keep_depth_and_drop_transparency() {
    let mut host = support::host();
    let mut png = |picture: image::DynamicImage| {
        let mut bytes = std::io::Cursor::new(Vec::new());
        picture.write_to(&mut bytes, image::ImageFormat::Png).unwrap();
        full(&open_bytes(bytes.into_inner(), &Limits::default()).unwrap(), &mut host).unwrap()
    };
    let grey = png(image::ImageBuffer::<image::Luma<u16>, _>::from_fn(3, 2, |x, y| {
        image::Luma([(x + 3 * y) as u16 * 9000])
    })
    .into());
    assert_eq!(grey.samples, Samples::U16(vec![0, 9000, 18000, 27000, 36000, 45000]));
    assert_eq!((grey.channels, grey.bits_stored), (Channels::Grey, 16));
    let clear = png(image::RgbaImage::from_pixel(1, 1, image::Rgba([200, 100, 50, 128])).into());
    assert_eq!(clear.samples, Samples::U8(vec![100, 50, 25]));
}

#[test]
fn a_turned_photograph_is_turned_back() {
    // EXIF orientation 6: the camera was held upright; rows and columns change places.
    let plain = jpeg(64, 32, true);
    let exif = b"\xFF\xE1\x00\x22Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0";
    let turned = [&plain[..2], &exif[..], &plain[2..]].concat();
    let mut host = support::host();
    let file = open_bytes(turned, &Limits::default()).unwrap();
    assert_eq!((file.header().columns, file.header().rows), (32, 64));
    let grid = full(&file, &mut host).unwrap();
    assert_eq!((grid.size, grid.full_size), (GridSize::new(32, 64), GridSize::new(32, 64)));
    let Samples::U8(v) = &grid.samples else { panic!("8-bit") };
    // The dark corner (top left as stored) is now top right.
    assert!(v[0] > v[31 * 3], "{} {}", v[0], v[31 * 3]);
}
