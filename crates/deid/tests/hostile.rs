//! Originals that lie or are cut short: an error that names the tag, and no half object that passes for one.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod support;

use overread_deid::DeidError;
use overread_dicom::read::{Limits, ReadError};
use support::{Dicom, EXPLICIT, RLE, pseudonymiser, write_bytes};

fn whole(transfer_syntax: &str) -> Dicom {
    let mut file = Dicom::new(transfer_syntax);
    file.uids().study().grey(4, 2, 16, 16);
    file
}

/// The error and its cause, as an operator reads them.
fn refusal(original: &[u8]) -> String {
    let error = write_bytes(original).map(|_| ()).unwrap_err();
    let source = std::error::Error::source(&error).map(|s| format!(": {s}"));
    format!("{error}{}", source.unwrap_or_default())
}

#[test]
fn pixel_data_cut_short_are_named() {
    let mut file = whole(EXPLICIT);
    file.head(0x7FE0_0010, b"OW", 16).0.extend_from_slice(&[0; 10]);
    let said = refusal(&file.0);
    assert!(said.contains("(7FE0,0010)") && said.contains("16 bytes are needed and 10"), "{said}");
}

#[test]
fn a_length_that_lies_is_named() {
    let mut short = whole(EXPLICIT);
    short.put(0x7FE0_0010, b"OW", &[0; 8]);
    let mut many = whole(EXPLICIT);
    many.put(0x0028_0008, b"IS", b"2000000000").put(0x7FE0_0010, b"OW", &[0; 16]);
    let mut fragment = whole(RLE);
    fragment.fragments(&[&[]]).0.extend_from_slice(&[0xFE, 0xFF, 0x00, 0xE0, 0xFF, 0xFF, 0xFF, 0x7F, 1, 2]);
    let mut compressed = whole(RLE);
    compressed.put(0x7FE0_0010, b"OB", &[0; 16]);
    let mut nothing = whole(RLE);
    nothing.fragments(&[]);
    for file in [short, many, fragment, compressed, nothing] {
        let said = refusal(&file.0);
        assert!(said.contains("(7FE0,0010)"), "{said}");
    }
}

#[test]
fn what_is_missing_is_named() {
    let mut no_study = Dicom::new(EXPLICIT);
    no_study.uids().grey(4, 2, 16, 16).put(0x7FE0_0010, b"OW", &[0; 16]);
    assert!(refusal(&no_study.0).contains("Series Instance UID (0020,000E)"));
    let mut no_rows = Dicom::new(EXPLICIT);
    no_rows.uids().study().us(0x0028_0011, 4).put(0x7FE0_0010, b"OW", &[0; 16]);
    assert!(refusal(&no_rows.0).contains("Rows (0028,0010)"));
    assert!(refusal(&whole(EXPLICIT).0).contains("no pixel data"));
    assert!(
        refusal(&whole("1.2.840.10008.1.2.4.100").put(0x7FE0_0010, b"OB", &[0; 16]).0)
            .contains("not supported")
    );
    assert!(refusal(b"\x89PNG\r\n\x1a\n").contains("cannot be read"));
    let mut private = Dicom::new(EXPLICIT);
    private.put(0x0008_0016, b"UI", b"1.3.12.2.1107.5.9.1").put(0x0008_0018, b"UI", b"1.9.3").study();
    private.grey(4, 2, 16, 16).put(0x7FE0_0010, b"OW", &[0; 16]);
    assert!(refusal(&private.0).contains("SOP Class UID (0008,0016)"));
}

#[test]
fn a_missing_delimiter_is_put_and_odd_pixels_are_padded() {
    let mut file = whole(RLE);
    file.fragments(&[&[], &[1; 64], &[2; 10]]);
    let (about, out) = write_bytes(&file.0).unwrap();
    assert!(out.ends_with(&[0xFE, 0xFF, 0xDD, 0xE0, 0, 0, 0, 0]));
    assert_eq!(about.bytes, out.len() as u64);
    let mut odd = Dicom::new(EXPLICIT);
    odd.uids().study().grey(3, 1, 8, 8).put(0x7FE0_0010, b"OB", &[1, 2, 3]);
    let (_, out) = write_bytes(&odd.0).unwrap();
    assert!(out.ends_with(&[4, 0, 0, 0, 1, 2, 3, 0]));
}

#[test]
fn a_full_disk_is_a_passing_trouble_and_a_bad_original_is_not() {
    struct Full;
    impl std::io::Write for Full {
        fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
            Err(std::io::ErrorKind::StorageFull.into())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let mut file = whole(EXPLICIT);
    file.put(0x7FE0_0010, b"OW", &[0; 16]);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("original");
    std::fs::write(&path, &file.0).unwrap();
    let error = pseudonymiser(1).write(&path, &mut Full, &Limits::default()).unwrap_err();
    assert!(matches!(error, DeidError::Write(_)) && error.is_passing(), "{error}");
    let error = pseudonymiser(1).write(folder.path(), &mut Vec::new(), &Limits::default()).unwrap_err();
    assert!(matches!(error, DeidError::Read(ReadError::NotAFile)) && !error.is_passing(), "{error}");
}

#[test]
fn errors_hold_nothing_of_the_patient() {
    let mut file = Dicom::new(EXPLICIT);
    file.uids().put(0x0010_0010, b"PN", b"CANARY^BIRD").put(0x0020_000D, b"UI", b"CANARY");
    file.put(0x0020_000E, b"UI", b"1.9.2").grey(4, 2, 16, 16).put(0x7FE0_0010, b"OW", &[0; 16]);
    let error = write_bytes(&file.0).map(|_| ()).unwrap_err();
    assert!(!format!("{error} {error:?}").contains("CANARY"), "{error:?}");
}
