//! Kinds of pixels and functional groups that the shared corpus does not hold, built by hand.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod support;

use overread_dicom::read::{Limits, Resolution, open_bytes};
use overread_domain::{Channels, ImageGrid, ModalityTransform, Samples, VoiTransform, WindowFunction};
use support::Dicom;

const EXPLICIT: &str = "1.2.840.10008.1.2.1";

fn decode(file: Dicom, frame: u32) -> ImageGrid {
    let file = open_bytes(file.bytes, &Limits::default()).unwrap();
    file.decode(frame, Resolution::Full, &mut support::host()).unwrap()
}

fn colour(photometric: &[u8], columns: u16, rows: u16) -> Dicom {
    let mut file = Dicom::new(EXPLICIT);
    file.us(0x28, 2, 3)
        .put(0x28, 4, b"CS", photometric)
        .us(0x28, 6, 0)
        .us(0x28, 0x10, rows)
        .us(0x28, 0x11, columns);
    file.us(0x28, 0x100, 8).us(0x28, 0x101, 8).us(0x28, 0x102, 7).us(0x28, 0x103, 0);
    file
}

#[test]
fn single_bits_need_no_byte_to_start_at() {
    // Two frames of 3×3 bits: the second starts at bit 9.
    let mut file = Dicom::new(EXPLICIT);
    file.put(0x28, 8, b"IS", b"2").grey(3, 3, 1, 1, false);
    file.put(0x7FE0, 0x10, b"OB", &[0b0101_0101, 0b0000_0011, 0b0000_0010, 0]);
    let bytes = file.bytes.clone();
    assert_eq!(decode(file, 0).samples, Samples::U8(vec![1, 0, 1, 0, 1, 0, 1, 0, 1]));
    assert_eq!(decode(Dicom { bytes }, 1).samples, Samples::U8(vec![1, 0, 0, 0, 0, 0, 0, 0, 1]));
}

#[test]
fn float_and_double_pixels_keep_their_values() {
    let mut file = Dicom::new(EXPLICIT);
    file.grey(2, 1, 32, 32, false);
    let values = [1.5f32, -3.25e8];
    file.put(0x7FE0, 8, b"OF", &values.map(f32::to_le_bytes).concat());
    assert_eq!(decode(file, 0).samples, Samples::F32(values.to_vec()));
    let mut file = Dicom::new(EXPLICIT);
    file.grey(2, 1, 32, 32, false);
    let values = [1.5f64, -3.25e80];
    file.put(0x7FE0, 9, b"OD", &values.map(f64::to_le_bytes).concat());
    assert_eq!(decode(file, 0).samples, Samples::F64(values.to_vec()));
}

#[test]
fn bits_above_those_stored_are_dropped_and_signs_extended() {
    let mut file = Dicom::new(EXPLICIT);
    file.grey(3, 1, 16, 12, true).put(0x7FE0, 0x10, b"OW", &[0xFF, 0xAF, 0x00, 0x58, 0xFF, 0x17]);
    assert_eq!(decode(file, 0).samples, Samples::I16(vec![-1, -2048, 2047]));
    let mut file = Dicom::new(EXPLICIT);
    file.grey(2, 1, 16, 8, false).put(0x7FE0, 0x10, b"OW", &[0x12, 0xAB, 0xFE, 0x01]);
    assert_eq!(decode(file, 0).samples, Samples::U8(vec![0x12, 0xFE]));
}

#[test]
fn halved_chroma_is_spread() {
    let mut file = colour(b"YBR_FULL_422", 2, 1);
    file.put(0x7FE0, 0x10, b"OB", &[76, 76, 85, 255]);
    let grid = decode(file, 0);
    assert_eq!(grid.channels, Channels::Rgb);
    assert_eq!(grid.samples, Samples::U8(vec![254, 0, 0, 254, 0, 0]));
    let mut file = colour(b"YBR_PARTIAL_422", 2, 1);
    file.put(0x7FE0, 0x10, b"OB", &[235, 16, 128, 128]);
    assert_eq!(decode(file, 0).samples, Samples::U8(vec![255, 255, 255, 0, 0, 0]));
}

#[test]
fn palettes_are_applied_segmented_ones_too() {
    let palette = |segmented: bool| {
        let mut file = Dicom::new(EXPLICIT);
        file.us(0x28, 2, 1).put(0x28, 4, b"CS", b"PALETTE COLOR").us(0x28, 0x10, 1).us(0x28, 0x11, 4);
        file.us(0x28, 0x100, 8).us(0x28, 0x101, 8).us(0x28, 0x102, 7).us(0x28, 0x103, 0);
        let words = |v: &[u16]| v.iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<u8>>();
        for element in 0x1101..=0x1103 {
            file.put(0x28, element, b"US", &words(&[4, 10, 16]));
        }
        let table = [0u16, 1000, 2000, 3000];
        for element in 1..=3u16 {
            let plain: Vec<u16> = table.iter().map(|v| v * element).collect();
            if segmented {
                // One discrete entry, then a line of three more.
                file.put(0x28, 0x1220 + element, b"OW", &words(&[0, 1, 0, 1, 3, plain[3]]));
            } else {
                file.put(0x28, 0x1200 + element, b"OW", &words(&plain));
            }
        }
        file.put(0x7FE0, 0x10, b"OB", &[0, 11, 12, 200]);
        decode(file, 0)
    };
    let wanted = Samples::U16(vec![0, 0, 0, 1000, 2000, 3000, 2000, 4000, 6000, 3000, 6000, 9000]);
    assert_eq!(palette(false).samples, wanted);
    assert_eq!(palette(true).samples, wanted);
    assert_eq!(palette(true).bits_stored, 16);
}

#[test]
fn functional_groups_give_each_frame_its_own_transforms() {
    let item = |content: &[u8]| {
        let mut out = vec![0xFE, 0xFF, 0x00, 0xE0];
        out.extend_from_slice(&(content.len() as u32).to_le_bytes());
        out.extend_from_slice(content);
        out
    };
    let element = |build: &dyn Fn(&mut Dicom)| {
        let mut part = Dicom { bytes: Vec::new() };
        build(&mut part);
        part.bytes
    };
    let voi = |center: &[u8]| {
        let window = element(&|d| {
            d.put(0x28, 0x1050, b"DS", center)
                .put(0x28, 0x1051, b"DS", b"20")
                .put(0x28, 0x1056, b"CS", b"SIGMOID");
        });
        item(&element(&|d| {
            d.put(0x28, 0x9132, b"SQ", &item(&window));
        }))
    };
    let rescale = element(&|d| {
        d.put(0x28, 0x1052, b"DS", b"-5").put(0x28, 0x1053, b"DS", b"2");
    });
    let mut file = Dicom::new(EXPLICIT);
    file.put(0x28, 8, b"IS", b"2").grey(1, 1, 8, 8, false);
    let shared = item(&element(&|d| {
        d.put(0x28, 0x9145, b"SQ", &item(&rescale));
    }));
    file.put(0x5200, 0x9229, b"SQ", &shared).put(0x5200, 0x9230, b"SQ", &[voi(b"7"), voi(b"9")].concat());
    file.put(0x7FE0, 0x10, b"OB", &[3, 4]);
    let grid = decode(file, 1);
    assert_eq!(grid.samples, Samples::U8(vec![4]));
    assert_eq!(grid.modality, ModalityTransform::Linear { slope: 2.0, intercept: -5.0 });
    let window = VoiTransform::Window { center: 9.0, width: 20.0, function: WindowFunction::Sigmoid };
    assert_eq!(grid.voi, [window]);
}

#[test]
fn frames_of_many_fragments_are_told_apart() {
    // RLE of 2×1 pixels of 8 bits: 64 bytes of header and one literal run, cut in two fragments each.
    let stream = |a: u8, b: u8| {
        let mut rle = vec![0u8; 64];
        (rle[0], rle[4]) = (1, 64);
        rle.extend_from_slice(&[1, a, b, 0]);
        rle
    };
    let (first, second) = (stream(1, 2), stream(3, 4));
    let mut file = Dicom::new("1.2.840.10008.1.2.5");
    file.put(0x28, 8, b"IS", b"2").grey(2, 1, 8, 8, false).head(0x7FE0, 0x10, b"OB", u32::MAX);
    let mut item = |value: &[u8]| {
        file.bytes.extend_from_slice(&[0xFE, 0xFF, 0x00, 0xE0]);
        file.bytes.extend_from_slice(&(value.len() as u32).to_le_bytes());
        file.bytes.extend_from_slice(value);
    };
    item(&[[0u8, 0, 0, 0], 84u32.to_le_bytes()].concat());
    for part in [&first[..40], &first[40..], &second[..40], &second[40..]] {
        item(part);
    }
    file.bytes.extend_from_slice(&[0xFE, 0xFF, 0xDD, 0xE0, 0, 0, 0, 0]);
    assert_eq!(decode(file, 1).samples, Samples::U8(vec![3, 4]));
}
