//! Files that are damaged or want to do damage: each gets a clear answer, none gets memory or time.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod support;

use std::io::Write;

use overread_dicom::read::{Limits, Opened, ReadError, Resolution, Tolerance, open, open_bytes};
use overread_domain::{GridSize, Samples};
use support::Dicom;

const EXPLICIT: &str = "1.2.840.10008.1.2.1";
const RLE: &str = "1.2.840.10008.1.2.5";
const JPEG_2000: &str = "1.2.840.10008.1.2.4.90";

/// A sound file: 8×8 pixels of 16 bits, with a patient who must never be printed.
fn sound() -> Vec<u8> {
    let mut file = Dicom::new(EXPLICIT);
    file.put(0x10, 0x10, b"PN", b"CANARY^NAME").put(0x20, 0xD, b"UI", b"1.2.3.4.5");
    file.grey(8, 8, 16, 12, false).put(0x28, 0x1050, b"DS", b"40\\50").put(0x28, 0x1051, b"DS", b"400\\80");
    let pixels: Vec<u8> = (0..64u16).flat_map(|i| (i * 60).to_le_bytes()).collect();
    file.put(0x7FE0, 0x10, b"OW", &pixels);
    file.bytes
}

fn opened(bytes: Vec<u8>) -> Result<Opened, ReadError> {
    open_bytes(bytes, &Limits::default())
}

fn decode(bytes: Vec<u8>) -> Result<Samples, ReadError> {
    opened(bytes)?.decode(0, Resolution::Full, &mut support::host()).map(|g| g.samples)
}

/// The error of opening and decoding; it must say something to do and never the patient's name.
fn refusal(bytes: Vec<u8>) -> ReadError {
    let error = decode(bytes).expect_err("this must be refused");
    let text = format!("{error} {error:?}");
    assert!(!text.contains("CANARY"), "{text}");
    error
}

#[test]
fn a_sound_file_reads() {
    let file = opened(sound()).unwrap();
    let grid = file.decode(0, Resolution::AtLeast(GridSize::new(4, 4)), &mut support::host()).unwrap();
    assert_eq!(grid.samples, Samples::U16((0..64).map(|i| i * 60).collect()));
    assert_eq!(grid.voi.len(), 2);
    assert!(file.header().tolerances.is_empty());
}

#[test]
fn what_is_no_image_is_refused() {
    assert!(matches!(refusal(Vec::new()), ReadError::NotAnImage));
    assert!(matches!(
        refusal(b"Dear colleague, the images are attached.\n".repeat(20)),
        ReadError::NotAnImage
    ));
    assert!(matches!(refusal(vec![0; 4096]), ReadError::NotAnImage));
    let folder = tempfile::tempdir().unwrap();
    assert!(matches!(open(folder.path(), &Limits::default()), Err(ReadError::NotAFile)));
    assert!(matches!(open(&folder.path().join("none.dcm"), &Limits::default()), Err(ReadError::Io { .. })));
}

#[test]
fn a_file_cut_anywhere_is_an_error_and_never_a_panic() {
    let whole = sound();
    let mut host = support::host();
    for n in 0..whole.len() {
        let read = opened(whole[..n].to_vec()).and_then(|f| f.decode(0, Resolution::Full, &mut host));
        assert!(read.is_err(), "cut at {n} of {}", whole.len());
    }
}

/// Whether the pixel data are whole, where the file opens at all.
fn whole(bytes: &[u8]) -> Result<(), ReadError> {
    match opened(bytes.to_vec())? {
        Opened::Dicom(file) => file.check_whole(),
        Opened::Photograph(_) | Opened::Slide(_) => panic!("a photograph"),
    }
}

#[test]
fn a_cut_of_the_pixel_data_is_told_without_decoding() {
    let native = sound();
    let mut fragments = Dicom::new(RLE);
    fragments.put(0x28, 8, b"IS", b"2").grey(8, 8, 8, 8, false).encapsulated(&[&[7; 64], &[9; 40]]);
    let mut empty = Dicom::new(RLE);
    empty.grey(8, 8, 8, 8, false).encapsulated(&[]);
    let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::none());
    let at = native.windows(4).position(|w| w == [8, 0, 0x16, 0]).unwrap();
    encoder.write_all(&native[at..]).unwrap();
    let mut deflated = Dicom::new("1.2.840.10008.1.2.1.99").bytes;
    deflated.truncate(deflated.windows(4).position(|w| w == [8, 0, 0x16, 0]).unwrap());
    deflated.extend(encoder.finish().unwrap());
    // Where the stored block of the deflated file ends, only the mark of its end is left.
    for (name, bytes, spare) in [
        ("native", native, 0),
        ("fragments", fragments.bytes, 0),
        ("empty", empty.bytes, 0),
        ("deflated", deflated, 5),
    ] {
        assert!(whole(&bytes).is_ok(), "{name}: {:?}", whole(&bytes));
        let pixels = bytes.windows(4).position(|w| w == [0xE0, 0x7F, 0x10, 0]).unwrap() + 12;
        for cut in pixels..bytes.len() - spare {
            let error = whole(&bytes[..cut]).expect_err("this is cut");
            assert!(matches!(error, ReadError::Truncated { .. }), "{name} cut at {cut}: {error}");
        }
    }
    let mut foreign = Dicom::new(RLE);
    foreign.grey(8, 8, 8, 8, false).encapsulated(&[&[7; 64]]);
    let delimiter = foreign.bytes.len() - 8;
    foreign.bytes[delimiter..delimiter + 4].copy_from_slice(b"text");
    assert!(matches!(whole(&foreign.bytes), Err(ReadError::Malformed { .. })));
    assert!(whole(&Dicom::new(EXPLICIT).bytes).is_ok(), "what has no pixels is whole");
}

#[test]
fn mutated_files_never_panic() {
    let whole = sound();
    let mut host = support::host();
    let mut state = 0x9E37_79B9_7F4A_7C15u64;
    let mut random = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as usize
    };
    for _ in 0..20_000 {
        let mut bytes = whole.clone();
        for _ in 0..1 + random() % 6 {
            let at = 128 + random() % (bytes.len() - 128);
            bytes[at] = [0, 0xFF, 0x7F, 0x80, random() as u8][random() % 5];
        }
        let limits = Limits { frame_bytes: 1 << 20, ..Limits::default() };
        let _ = open_bytes(bytes, &limits).and_then(|f| f.decode(0, Resolution::Full, &mut host));
    }
}

#[test]
fn sizes_are_not_believed() {
    let mut huge = Dicom::new(EXPLICIT);
    huge.grey(65535, 65535, 16, 16, false).put(0x7FE0, 0x10, b"OW", &[0; 16]);
    assert!(matches!(refusal(huge.bytes), ReadError::TooLarge { name: "frame_bytes", .. }));

    let mut large = Dicom::new(EXPLICIT);
    large.grey(10_000, 10_000, 16, 16, false).put(0x7FE0, 0x10, b"OW", &[0; 16]);
    assert!(matches!(refusal(large.bytes), ReadError::Truncated { .. }));

    let mut lying = Dicom::new(EXPLICIT);
    lying.grey(100, 100, 16, 16, false).head(0x7FE0, 0x10, b"OW", 0xFFFF_FFF0);
    assert!(matches!(refusal(lying.bytes), ReadError::Truncated { .. }));

    let mut lying = Dicom::new(EXPLICIT);
    lying.head(0x10, 0x4000, b"UT", 0xFFFF_FFF0);
    assert!(matches!(refusal(lying.bytes), ReadError::TooLarge { name: "header_bytes", .. }));

    let mut none = Dicom::new(EXPLICIT);
    none.grey(0, 8, 8, 8, false).put(0x7FE0, 0x10, b"OB", &[0; 64]);
    assert!(matches!(refusal(none.bytes), ReadError::Unusable { name: "Columns", .. }));
}

#[test]
fn frame_counts_are_not_believed() {
    let file = |frames: &[u8]| {
        let mut file = Dicom::new(EXPLICIT);
        file.put(0x28, 8, b"IS", frames).grey(8, 8, 8, 8, false).put(0x7FE0, 0x10, b"OB", &[7; 64]);
        opened(file.bytes).unwrap()
    };
    let mut host = support::host();
    let many = file(b"2000000000");
    assert!(many.decode(0, Resolution::Full, &mut host).is_ok());
    let error = many.decode(1, Resolution::Full, &mut host).unwrap_err();
    assert!(matches!(error, ReadError::Truncated { .. }), "{error}");
    let error = many.decode(2_000_000_000, Resolution::Full, &mut host).unwrap_err();
    assert!(matches!(error, ReadError::NoSuchFrame { .. }), "{error}");
    let zero = file(b"0");
    assert_eq!(zero.frames(), 1);
    assert!(zero.header().tolerances.contains(&Tolerance::ZeroFrames));
    let negative = file(b"-3");
    assert!(matches!(negative.decode(0, Resolution::Full, &mut host), Err(ReadError::Unusable { .. })));

    let mut fragments = Dicom::new(RLE);
    fragments.put(0x28, 8, b"IS", b"5").grey(8, 8, 8, 8, false).encapsulated(&[&[0; 64]]);
    assert!(matches!(refusal(fragments.bytes), ReadError::Malformed { .. }));
}

#[test]
fn a_deflate_bomb_stays_small() {
    let mut data_set = Dicom { bytes: Vec::new() };
    data_set.put(8, 0x16, b"UI", b"1.2.840.10008.5.1.4.1.1.7").head(0x10, 0x4000, b"UT", 0x7FFF_FFFE);
    let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(&data_set.bytes).unwrap();
    for _ in 0..600 {
        encoder.write_all(&vec![b' '; 1 << 20]).unwrap();
    }
    let mut file = Dicom { bytes: vec![0; 128] };
    file.bytes.extend_from_slice(b"DICM");
    file.put(2, 0x10, b"UI", b"1.2.840.10008.1.2.1.99");
    file.bytes.extend(encoder.finish().unwrap());
    assert!(file.bytes.len() < 2 << 20);
    assert!(matches!(refusal(file.bytes.clone()), ReadError::TooLarge { name: "header_bytes", .. }));
    let limits = Limits { header_bytes: 4 << 30, file_bytes: 64 << 20, ..Limits::default() };
    assert!(open_bytes(file.bytes, &limits).is_err());
}

#[test]
fn a_depth_bomb_is_refused() {
    let mut file = Dicom::new(EXPLICIT);
    for _ in 0..100_000 {
        file.head(8, 0x1140, b"SQ", u32::MAX);
        file.bytes.extend_from_slice(&[0xFE, 0xFF, 0x00, 0xE0, 0xFF, 0xFF, 0xFF, 0xFF]);
    }
    let error = refusal(file.bytes);
    assert!(error.to_string().contains("nest"), "{error}");
}

#[test]
fn a_uid_that_is_a_path_is_left_out() {
    let mut file = Dicom::new(EXPLICIT);
    file.put(0x8, 0x18, b"UI", b"../../etc/passwd");
    let opened = opened(file.bytes).unwrap();
    assert_eq!(opened.header().sop_instance_uid, None);
    assert!(opened.header().tolerances.contains(&Tolerance::InvalidUid));
    assert!(matches!(opened.decode(0, Resolution::Full, &mut support::host()), Err(ReadError::NoPixels)));
}

#[test]
fn missing_starts_are_guessed_and_named() {
    let whole = sound();
    let data_set = whole.windows(4).position(|w| w == [8, 0, 0x16, 0]).unwrap();
    let bare = opened(whole[data_set..].to_vec()).unwrap();
    assert_eq!(bare.header().tolerances, [Tolerance::NoPreamble, Tolerance::NoMetaGroup]);
    assert!(bare.decode(0, Resolution::Full, &mut support::host()).is_ok());
    let wrong = Dicom::new("1.2.840.10008.1.2");
    let mut bytes = wrong.bytes[..wrong.bytes.len() - 34].to_vec();
    bytes.extend_from_slice(&whole[data_set..]);
    let wrong = opened(bytes).unwrap();
    assert_eq!(wrong.header().tolerances, [Tolerance::WrongTransferSyntax]);
    assert!(wrong.decode(0, Resolution::Full, &mut support::host()).is_ok());
}

#[test]
fn damaged_streams_are_refused() {
    let file = |syntax: &str, fragment: &[u8]| {
        let mut file = Dicom::new(syntax);
        file.grey(8, 8, 8, 8, false).encapsulated(&[fragment]);
        refusal(file.bytes)
    };
    let mut rle = vec![0u8; 64];
    rle[0] = 1;
    rle[4] = 64;
    assert!(matches!(file(RLE, &rle), ReadError::Decode { .. }));
    rle[4] = 200;
    assert!(matches!(file(RLE, &rle), ReadError::Decode { .. }));
    rle[0] = 15;
    assert!(matches!(file(RLE, &rle), ReadError::Decode { .. }));
    assert!(matches!(file(JPEG_2000, b"no stream at all"), ReadError::Decode { .. }));
    assert!(matches!(file(JPEG_2000, &[0xFF, 0xD8, 0xFF]), ReadError::Decode { .. }));
    assert!(matches!(file("1.2.840.10008.1.2.4.102", &[0; 8]), ReadError::TransferSyntax { .. }));
}

#[test]
fn nothing_of_the_patient_is_printed() {
    let file = opened(sound()).unwrap();
    let text = format!("{:?}", file.header());
    assert!(!text.contains("CANARY") && !text.contains("1.2.3.4.5"), "{text}");
}

#[test]
fn an_uneven_length_does_not_lead_the_parser_astray() {
    // Found by fuzzing: FL of 10 bytes; the two left over were read as the next element's tag, and
    // what followed as a length of hundreds of megabytes.
    let mut file = Dicom::new(EXPLICIT);
    file.put(0x18, 0x1020, b"FL", b"version 1 ").put(0x20, 0xD, b"UI", b"1.2.999.999.99.9.9999.8888");
    file.grey(2, 1, 8, 8, false).put(0x7FE0, 0x10, b"OB", &[1, 2]);
    let read = opened(file.bytes).unwrap();
    assert_eq!(read.header().tolerances, [Tolerance::UnevenLength]);
    assert_eq!(read.header().study_instance_uid.as_ref().unwrap().as_str(), "1.2.999.999.99.9.9999.8888");
    assert!(read.decode(0, Resolution::Full, &mut support::host()).is_ok());
}
