//! Everything is found in every form, and nothing that is not there.

use base64::Engine as _;
use dicom_core::{DataElement, VR};
use dicom_dictionary_std::tags as t;
use dicom_object::InMemDicomObject;
use dicom_transfer_syntax_registry::entries::EXPLICIT_VR_LITTLE_ENDIAN;

use super::*;
use crate::identity::facts;

fn fact(sort: Sort, tag: Tag, text: &str) -> Fact {
    Fact { sort, tag, text: text.into() }
}

fn find_with(facts: &[Fact], charset: Charset, bytes: &[u8], pieces: usize) -> Vec<Found> {
    let mut look =
        Lookout::default().look(facts, charset, &["Profile x".into()], &HashSet::from(["20200202".into()]));
    bytes.chunks(pieces.max(1)).for_each(|piece| look.take(piece));
    look.finish()
}

fn tags(facts: &[Fact], bytes: &[u8]) -> Vec<Tag> {
    find_with(facts, None, bytes, 65536).into_iter().map(|f| f.tag).collect()
}

fn utf16(text: &str, turn: fn(u16) -> [u8; 2]) -> Vec<u8> {
    text.encode_utf16().flat_map(turn).collect()
}

#[test]
fn a_name_is_found_in_every_encoding_and_case() {
    let facts = [fact(Sort::Name, t::PATIENT_NAME, "Canary^Österberg")];
    let base64 = |skip: &str, text: &str| {
        base64::engine::general_purpose::STANDARD.encode(format!("{skip}{text} and more")).into_bytes()
    };
    let forms: Vec<Vec<u8>> = vec![
        b"seen by CANARY today".to_vec(),
        b"canary".to_vec(),
        "Herr Österberg".into(),
        "HERR ÖSTERBERG".into(),
        b"\xD6sterberg".to_vec(),
        utf16("canary", u16::to_le_bytes),
        [&[7][..], &utf16("Canary", u16::to_be_bytes)].concat(),
        utf16("ÖSTERBERG", u16::to_le_bytes),
        base64("", "Canary"),
        base64("a", "canary"),
        base64("ab", "CANARY"),
        base64("a", "österberg österberg"),
        base64("ab", "Österberg Österberg"),
    ];
    for bytes in forms {
        let padded = [&[0; 300][..], &bytes, &[0; 300]].concat();
        assert_eq!(tags(&facts, &padded), [t::PATIENT_NAME], "{bytes:?}");
    }
    assert!(tags(&facts, b"canaryseed, precanary, Can ary, \xF6sterreich").is_empty());
}

#[test]
fn numbers_dates_uids_and_places_are_found_whole() {
    let facts = [
        fact(Sort::Number, t::PATIENT_ID, "123-456-789"),
        fact(Sort::Number, t::ACCESSION_NUMBER, "ACC99177"),
        fact(Sort::Place, t::INSTITUTION_NAME, "Springfield General"),
        fact(Sort::Birth, t::PATIENT_BIRTH_DATE, "19410203"),
        fact(Sort::Date, t::STUDY_DATE, "20200131"),
        fact(Sort::Date, t::SERIES_DATE, "20200202"),
        fact(Sort::Uid, t::STUDY_INSTANCE_UID, "1.2.826.0.1.3680043.8.498.1"),
    ];
    for (bytes, tag) in [
        ("id 123-456-789.", t::PATIENT_ID),
        ("id=123456789", t::PATIENT_ID),
        ("<acc99177>", t::ACCESSION_NUMBER),
        ("at SPRINGFIELD GENERAL", t::INSTITUTION_NAME),
        ("born 03.02.1941", t::PATIENT_BIRTH_DATE),
        ("1941-02-03", t::PATIENT_BIRTH_DATE),
        ("20200131120000", t::STUDY_DATE),
        ("\\1.2.826.0.1.3680043.8.498.1\\", t::STUDY_INSTANCE_UID),
        ("1.2.826.0.1.3680043.8.498.1", t::STUDY_INSTANCE_UID),
    ] {
        assert_eq!(tags(&facts, bytes.as_bytes()), [tag], "{bytes}");
        assert_eq!(tags(&facts, &utf16(bytes, u16::to_le_bytes)), [tag], "{bytes} in UTF-16");
    }
    for bytes in [
        "0.123456789",
        "1234567890",
        "ACC991775",
        "20200202: moved there on purpose",
        "1.2.826.0.1.3680043.8.498.12",
        "9.1.2.826.0.1.3680043.8.498.1",
        "Springfield",
        "1.2.840.10008.5.1.4.1.1.2",
    ] {
        assert!(tags(&facts, bytes.as_bytes()).is_empty(), "{bytes}");
    }
}

#[test]
fn what_would_be_found_by_chance_is_not_searched() {
    let short = [
        fact(Sort::Name, t::PATIENT_NAME, "Li^Wu"),
        fact(Sort::Name, t::OPERATORS_NAME, "Head"),
        fact(Sort::Name, t::REFERRING_PHYSICIAN_NAME, "Profile"),
        fact(Sort::Number, t::STUDY_ID, "1234"),
        fact(Sort::Place, t::STATION_NAME, "CT1"),
        fact(Sort::Uid, t::SOP_INSTANCE_UID, "1.2.3"),
    ];
    assert!(tags(&short, b"Wu, Li: Head Profile 1234 CT1 1.2.3").is_empty());
    assert_eq!(tags(&short, b"LI WU"), [t::PATIENT_NAME], "the whole name is long enough");
    let facts =
        [fact(Sort::Name, t::PATIENT_NAME, "Kohl"), fact(Sort::Name, t::OPERATORS_NAME, "Oppenheimer")];
    let mut look = Lookout::default().look(&facts, None, &[], &HashSet::new());
    look.take(b"a data set ");
    look.pixels_start(512 * 1024);
    look.take(b"\x01\x02kohl\x03\x04OPPENHEIMER\x05");
    let found = look.finish();
    assert_eq!(
        found.iter().map(|f| (f.tag, f.in_pixels, f.offset)).collect::<Vec<_>>(),
        [(t::OPERATORS_NAME, true, 19)]
    );
}

#[test]
fn pieces_do_not_hide_what_lies_across_them() {
    let facts = [
        fact(Sort::Name, t::PATIENT_NAME, "Canary"),
        fact(Sort::Uid, t::STUDY_INSTANCE_UID, "1.2.826.0.1.3680043.8.498.45787841905188"),
    ];
    let mut bytes = vec![b'x'; 100_000];
    bytes[65_533..65_541].copy_from_slice(b" Canary ");
    bytes[99_950..].copy_from_slice(b"=1.2.826.0.1.3680043.8.498.45787841905188        .");
    for pieces in [1_000, 4_099, 65_536, 1 << 20] {
        let found = find_with(&facts, None, &bytes, pieces);
        let places: Vec<_> = found.iter().map(|f| (f.tag, f.offset)).collect();
        assert_eq!(places, [(t::PATIENT_NAME, 65_534), (t::STUDY_INSTANCE_UID, 99_951)], "{pieces}");
    }
}

/// An original that went out as it is: the engine is switched off, and the look must find all that it knows.
#[test]
fn with_the_engine_switched_off_every_canary_is_found() {
    let mut object = InMemDicomObject::new_empty();
    let planted = [
        (t::PATIENT_NAME, VR::PN, "CANARYONE^A"),
        (t::PATIENT_ID, VR::LO, "CAN-1234567"),
        (t::OTHER_PATIENT_NAMES, VR::PN, "CANARYTWO^B"),
        (t::PATIENT_BIRTH_DATE, VR::DA, "19410203"),
        (t::PATIENT_ADDRESS, VR::LO, "7 Canary Street"),
        (t::PATIENT_TELEPHONE_NUMBERS, VR::SH, "555 1234 567"),
        (t::ACCESSION_NUMBER, VR::SH, "ACC99177"),
        (t::STUDY_ID, VR::SH, "ST123456"),
        (t::REFERRING_PHYSICIAN_NAME, VR::PN, "CANARYTHREE^C"),
        (t::PERFORMING_PHYSICIAN_NAME, VR::PN, "CANARYFOUR^D"),
        (t::OPERATORS_NAME, VR::PN, "CANARYFIVE^E"),
        (t::INSTITUTION_NAME, VR::LO, "Canary General"),
        (t::INSTITUTION_ADDRESS, VR::ST, "8 Canary Street"),
        (t::STATION_NAME, VR::SH, "CANARYCT"),
        (t::STUDY_DATE, VR::DA, "20200131"),
        (t::STUDY_INSTANCE_UID, VR::UI, "1.2.826.0.1.3680043.8.498.1"),
        (t::SERIES_INSTANCE_UID, VR::UI, "1.2.826.0.1.3680043.8.498.2"),
        (t::SOP_INSTANCE_UID, VR::UI, "1.2.826.0.1.3680043.8.498.3"),
        (Tag(0x0009, 0x1001), VR::PN, "CANARYSIX^F"),
    ];
    for (tag, vr, text) in planted {
        object.put(DataElement::new(tag, vr, text));
    }
    let mut bytes = Vec::new();
    object.write_dataset_with_ts(&mut bytes, &EXPLICIT_VR_LITTLE_ENDIAN.erased()).unwrap();
    let found: HashSet<Tag> = tags(&facts(&object, &|_| false), &bytes).into_iter().collect();
    let missed: Vec<Tag> = planted.iter().map(|p| p.0).filter(|tag| !found.contains(tag)).collect();
    assert!(missed.is_empty(), "{missed:?}");
}

#[test]
fn a_find_names_the_attribute_and_never_the_value() {
    let found = Found { tag: t::PATIENT_NAME, offset: 7, in_pixels: false };
    assert_eq!(
        found.to_string(),
        "a value of PatientName (0010,0010) stands in the outgoing data set, at byte 7"
    );
}

/// Originals of pydicom in every character set, as they are: their patients' names are found in them.
#[test]
fn names_are_found_in_every_character_set() {
    use overread_dicom::read::{Limits, Opened, open};
    let lib = overread_testkit::tools::tools().join("venv/lib");
    let python = overread_testkit::tools::files_in(&lib).into_iter().next().unwrap();
    let mut seen = 0;
    for path in overread_testkit::tools::files_in(&python.join("site-packages/pydicom/data/charset_files")) {
        let Ok(Opened::Dicom(file)) = open(&path, &Limits::default()) else { continue };
        let original = file.dataset().reveal();
        let known = facts(original, &|_| false);
        let found = find_with(&known, charset(original), &std::fs::read(&path).unwrap(), 4096);
        if original.get(t::PATIENT_NAME).is_some() {
            seen += 1;
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            // The operator of some bears the patient's name.
            let named = |f: &Found| known.iter().any(|k| k.tag == f.tag && k.sort == Sort::Name);
            assert!(found.iter().any(named), "{name}: {found:?}");
        }
    }
    assert!(seen >= 14, "{seen} files");
}
