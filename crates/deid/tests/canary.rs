//! A marked name in every place that an original has for one. None may leave.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod support;

use support::{Dicom, EXPLICIT, RLE, holds, write_bytes};

const NAME: &[u8] = b"CANARY";

/// A group of elements that hold the name, private ones too, for the inside of an item.
fn nest(inside: &mut Dicom) {
    inside.put(0x0008_1050, b"PN", b"CANARY^NESTED").put(0x0009_0010, b"LO", b"CANARY CREATOR");
    inside.put(0x0009_1001, b"UN", b"CANARY PRIVATE").put(0x0010_0010, b"PN", b"CANARY^DEEP");
}

/// The elements before the pixel data of an original, with the name wherever a sender could put it.
fn original(transfer_syntax: &str) -> Dicom {
    let mut file = Dicom::new(transfer_syntax);
    file.0[..6].copy_from_slice(NAME);
    file.put(0x0002_0016, b"AE", b"CANARY").put(0x0002_0100, b"UI", b"1.9").put(
        0x0002_0102,
        b"OB",
        b"CANARY",
    );
    file.put(0x0008_0008, b"CS", b"ORIGINAL\\CANARY").uids();
    file.put(0x0008_0020, b"DA", b"CANARY").put(0x0008_0050, b"SH", b"CANARY").put(0x0008_0060, b"CS", b"MR");
    file.put(0x0008_0080, b"LO", b"CANARY HOSPITAL").put(0x0008_0090, b"PN", b"CANARY^REF");
    file.put(0x0008_103E, b"LO", b"CANARY SERIES");
    file.item(0x0008_1115, nest);
    file.put(0x0009_0010, b"LO", b"CANARY").put(0x0009_1001, b"UN", b"CANARY").item(0x0009_1002, nest);
    file.put(0x0010_0010, b"PN", b"CANARY^BIRD").put(0x0010_0020, b"LO", b"CANARY-1");
    file.put(0x0018_0015, b"CS", b"CANARY").put(0x0018_1020, b"LO", b"CANARY").put(
        0x0018_1063,
        b"DS",
        b"1 CANARY",
    );
    file.put(0x0018_5101, b"CS", b"AP CANARY").study().put(0x0020_0013, b"IS", b"CANARY");
    file.put(0x0020_0032, b"DS", b"1\\2\\CANARY").put(0x0020_4000, b"LT", b"CANARY COMMENT");
    file.grey(4, 2, 8, 8);
    file.put(0x0028_1054, b"LO", b"CANARY").put(0x0028_2000, b"OB", b"ICC CANARY");
    file.item(0x0028_3010, |lut| {
        lut.put(0x0028_3002, b"US", &[2, 0, 0, 0, 8, 0]).put(0x0028_3003, b"LO", b"CANARY LUT");
        lut.put(0x0028_3006, b"OW", &[0, 0, 255, 0]);
    });
    file.put(0x0040_0275, b"UN", b"CANARY").item(0x0400_0561, nest);
    file.item(0x5200_9229, |shared| {
        shared.item(0x0020_9111, |content| {
            content.put(0x0018_9074, b"DT", b"CANARY").put(0x0020_9158, b"LT", b"CANARY FRAME");
            content.put(0x0020_9056, b"SH", b"CANARY").put(0x0020_9057, b"UL", &[1, 0, 0, 0]);
            nest(content);
        });
        shared.item(0x0028_9110, |measures| {
            measures.put(0x0028_0030, b"DS", b"0.5\\0.5");
            nest(measures);
        });
        shared.item(0x2005_140E, nest);
    });
    file.put(0x5000_3000, b"OW", b"CANARY").put(0x6000_3000, b"OW", b"CANARY");
    file
}

/// Elements after the pixel data.
fn trailing(file: &mut Dicom) {
    file.put(0xFFFA_FFFA, b"UN", b"CANARY SIGNATURE").put(0xFFFC_FFFC, b"OB", b"CANARY PADDING");
}

fn count(bytes: &[u8]) -> usize {
    bytes.windows(NAME.len()).filter(|w| *w == NAME).count()
}

#[test]
fn no_marked_name_leaves_with_native_pixels() {
    let mut file = original(EXPLICIT);
    // The frame, and what a sender left behind it.
    file.put(0x7FE0_0010, b"OB", b"\x01\x02\x03\x04\x05\x06\x07\x08CANARY");
    trailing(&mut file);
    assert!(count(&file.0) > 45, "the original is not marked: {}", count(&file.0));
    let (_, out) = write_bytes(&file.0).unwrap();
    assert_eq!(count(&out), 0);
    // What reading needs is there all the same.
    for needed in [&b"0.5\\0.5"[..], b"ORIGINAL", b"MR", b"\x01\x02\x03\x04\x05\x06\x07\x08"] {
        assert_eq!(holds(&out, needed), needed != b"ORIGINAL", "{needed:?}");
    }
}

#[test]
fn no_marked_name_leaves_with_encapsulated_pixels() {
    let mut file = original(RLE);
    let mut frame = vec![0; 64];
    (frame[0], frame[4]) = (1, 64);
    frame.extend_from_slice(&[7, 1, 2, 3, 4, 5, 6, 7, 8, 0]);
    // An offset table is free to hold anything where nobody reads it.
    file.fragments(&[b"CANARY\0\0", &frame]);
    file.0.extend_from_slice(&[0xFE, 0xFF, 0xDD, 0xE0, 0, 0, 0, 0]);
    trailing(&mut file);
    let (_, out) = write_bytes(&file.0).unwrap();
    assert_eq!(count(&out), 0);
    assert!(holds(&out, &frame));
}

#[test]
fn bits_outside_bits_stored_are_cleared() {
    // An overlay of old hides in the high bits of each word.
    let mut file = Dicom::new(EXPLICIT);
    file.uids().study().grey(2, 1, 16, 12).put(0x7FE0_0010, b"OW", &[0x34, 0xF2, 0x78, 0x16]);
    let (_, out) = write_bytes(&file.0).unwrap();
    assert_eq!(out[out.len() - 4..], [0x34, 0x02, 0x78, 0x06]);
}
