//! What each option keeps, cleans and says, on originals built by hand.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod support;

use dicom_core::{Tag, VR};
use dicom_dictionary_std::tags as t;
use dicom_object::InMemDicomObject;
use overread_deid::report::{Done, Written};
use overread_deid::{Deidentifier, Pixels, Profile, PseudonymKey, Verdict};
use overread_dicom::read::{Limits, Opened, open_bytes};
use support::{Dicom, EXPLICIT, holds};

const MR: &[u8] = b"1.2.840.10008.5.1.4.1.1.4";

fn deidentifier(options: &str, rest: &str) -> Deidentifier {
    let text = format!("[profile]\nname = 'test'\noptions = [{options}]\n{rest}");
    Deidentifier::new(Profile::parse(&text).unwrap(), PseudonymKey::from_bytes([1; 32]))
}

fn verdict(deidentifier: &Deidentifier, original: &Dicom, pixels: Pixels) -> (Verdict, Vec<u8>) {
    let Opened::Dicom(file) = open_bytes(original.0.clone(), &Limits::default()).unwrap() else { panic!() };
    let mut bytes = Vec::new();
    let verdict = deidentifier.write_opened(&file, pixels, &mut bytes).unwrap();
    (verdict, bytes)
}

fn leave(deidentifier: &Deidentifier, original: &Dicom) -> (InMemDicomObject, Written) {
    match verdict(deidentifier, original, Pixels::Unseen) {
        (Verdict::Written(written), bytes) => {
            (dicom_object::from_reader(bytes.as_slice()).unwrap().into_inner(), written)
        }
        (Verdict::Quarantined(reasons), _) => panic!("{reasons:?}"),
    }
}

fn text(object: &InMemDicomObject, tag: Tag) -> Option<String> {
    object.get(tag).map(|e| e.to_str().unwrap().into_owned())
}

fn items(object: &InMemDicomObject, tag: Tag) -> &[InMemDicomObject] {
    object.get(tag).and_then(|e| e.items()).unwrap_or_default()
}

/// An MR image of a patient, with something of everything.
fn image(study: &str, date: &str) -> Dicom {
    let mut file = Dicom::new(EXPLICIT);
    file.put(0x0008_0005, b"CS", b"ISO_IR 100").put(0x0008_0008, b"CS", b"ORIGINAL\\PRIMARY");
    file.put(0x0008_0012, b"DA", date.as_bytes()).put(0x0008_0016, b"UI", MR);
    file.put(0x0008_0018, b"UI", format!("{study}.5.1").as_bytes());
    file.put(0x0008_0020, b"DA", date.as_bytes()).put(
        0x0008_002A,
        b"DT",
        format!("{date}101112.5+0100").as_bytes(),
    );
    file.put(0x0008_0030, b"TM", b"101112").put(0x0008_0050, b"SH", b"ACC99177").put(
        0x0008_0060,
        b"CS",
        b"MR",
    );
    file.put(0x0008_0070, b"LO", b"Maker & S\xF6hne").put(0x0008_0080, b"LO", b"Springfield General");
    file.put(0x0008_0090, b"PN", b"Miller^Ann").put(0x0008_1010, b"SH", b"SCANNER07");
    file.put(0x0008_1030, b"LO", b"MR HEAD W CONTRAST for Doe");
    file.item(0x0008_1110, |item| {
        item.put(0x0008_1150, b"UI", b"1.2.840.10008.3.1.2.3.1").put(0x0008_1155, b"UI", study.as_bytes());
    });
    file.item(0x0008_1140, |item| {
        item.put(0x0008_1150, b"UI", MR).put(0x0008_1155, b"UI", format!("{study}.5.1").as_bytes());
    });
    file.put(0x0010_0010, b"PN", b"Doe^Jane").put(0x0010_0020, b"LO", b"7743219").put(
        0x0010_0030,
        b"DA",
        b"19200203",
    );
    file.put(0x0010_0040, b"CS", b"F").put(0x0010_1010, b"AS", b"099Y").put(
        0x0010_2110,
        b"LO",
        b"CONTRAST, Penicillin",
    );
    file.put(0x0018_0024, b"SH", b"*tse2d1_3").put(0x0018_1000, b"LO", b"SN-4711-0815");
    file.put(0x0019_0010, b"LO", b"SIEMENS MR HEADER").put(0x0019_100B, b"DS", b"7").put(
        0x0019_100C,
        b"IS",
        b"1000",
    );
    file.put(0x0020_000D, b"UI", study.as_bytes()).put(0x0020_000E, b"UI", format!("{study}.5").as_bytes());
    file.put(0x0020_0010, b"SH", b"1").grey(2, 1, 8, 8);
    file.put(0x0040_A730, b"UN", b"not a sequence").put(0x6000_0010, b"US", &[1, 0]).put(
        0x6000_3000,
        b"OB",
        b"Doe^Jane",
    );
    file.put(0x7FE0_0010, b"OB", &[1, 2]);
    file
}

#[test]
fn the_basic_profile_leaves_types_and_nothing_of_the_patient() {
    let (object, written) = leave(&deidentifier("", "subject = 'empty'"), &image("1.9.33.44.55", "20200131"));
    for tag in [t::PATIENT_NAME, t::PATIENT_BIRTH_DATE, t::PATIENT_SEX, t::STUDY_DATE, t::ACCESSION_NUMBER] {
        assert_eq!(text(&object, tag).as_deref(), Some(""), "{tag}");
    }
    for tag in [
        t::PATIENT_AGE,
        t::STUDY_DESCRIPTION,
        t::INSTITUTION_NAME,
        t::STATION_NAME,
        t::ALLERGIES,
        t::REFERENCED_IMAGE_SEQUENCE,
    ] {
        assert!(object.get(tag).is_none(), "{tag}");
    }
    assert!(object.iter().all(|e| e.header().tag.group() % 2 == 0 && e.header().tag.group() != 0x6000));
    // What Table E.1-1 does not list stays, in UTF-8.
    assert_eq!(text(&object, t::MANUFACTURER).as_deref(), Some("Maker & Söhne"));
    assert_eq!(text(&object, t::SPECIFIC_CHARACTER_SET).as_deref(), Some("ISO_IR 192"));
    assert_eq!(text(&object, t::SEQUENCE_NAME).as_deref(), Some("*tse2d1_3"));
    assert_eq!(text(&object, t::PATIENT_IDENTITY_REMOVED).as_deref(), Some("YES"));
    assert_eq!(text(&object, t::LONGITUDINAL_TEMPORAL_INFORMATION_MODIFIED).as_deref(), Some("REMOVED"));
    let codes: Vec<_> = items(&object, t::DEIDENTIFICATION_METHOD_CODE_SEQUENCE)
        .iter()
        .map(|code| text(code, t::CODE_VALUE).unwrap())
        .collect();
    assert_eq!(codes, ["113100"]);
    let done = |tag| written.changes.iter().find(|c| c.tag == tag).map(|c| c.done);
    assert_eq!(done(t::PATIENT_NAME), Some(Done::Emptied));
    assert_eq!(done(t::STUDY_DESCRIPTION), Some(Done::Removed));
    assert_eq!(done(t::STUDY_INSTANCE_UID), Some(Done::Mapped));
    assert_eq!(done(t::MODALITY), None);
}

#[test]
fn options_keep_and_clean_what_they_name() {
    let options = "'clean-descriptors', 'retain-patient-characteristics', 'retain-safe-private', 'retain-dates-modified'";
    let (object, _) = leave(&deidentifier(options, ""), &image("1.9.33.44.55", "20200131"));
    assert_eq!(text(&object, t::STUDY_DESCRIPTION).as_deref(), Some("MR HEAD W CONTRAST for"));
    assert_eq!(text(&object, t::PATIENT_AGE).as_deref(), Some("090Y"), "the very old are ninety");
    assert_eq!(text(&object, t::PATIENT_SEX).as_deref(), Some("F"));
    assert_eq!(text(&object, t::ALLERGIES).as_deref(), Some("CONTRAST"));
    assert_eq!(text(&object, Tag(0x0019, 0x100C)).as_deref(), Some("1000"));
    assert_eq!(text(&object, Tag(0x0019, 0x0010)).as_deref(), Some("SIEMENS MR HEADER"));
    assert!(object.get(Tag(0x0019, 0x100B)).is_none(), "not of the list");
    assert_eq!(text(&object, t::LONGITUDINAL_TEMPORAL_INFORMATION_MODIFIED).as_deref(), Some("MODIFIED"));
    let kept = "'retain-dates-full', 'retain-device-identity', 'retain-institution-identity', 'retain-uids'";
    let (object, _) = leave(&deidentifier(kept, ""), &image("1.9.33.44.55", "20200131"));
    for (tag, value) in [
        (t::STUDY_DATE, "20200131"),
        (t::ACQUISITION_DATE_TIME, "20200131101112.5+0100"),
        (t::STATION_NAME, "SCANNER07"),
        (t::DEVICE_SERIAL_NUMBER, "SN-4711-0815"),
        (t::INSTITUTION_NAME, "Springfield General"),
        (t::STUDY_INSTANCE_UID, "1.9.33.44.55"),
        (t::LONGITUDINAL_TEMPORAL_INFORMATION_MODIFIED, "UNMODIFIED"),
    ] {
        assert_eq!(text(&object, tag).as_deref(), Some(value), "{tag}");
    }
}

#[test]
fn intervals_and_references_hold_across_the_objects_of_a_patient() {
    let deidentifier = deidentifier("'retain-dates-modified', 'clean-structured-content'", "");
    let (first, one) = leave(&deidentifier, &image("1.9.33.44.55", "20200131"));
    let (second, two) = leave(&deidentifier, &image("1.9.33.44.66", "20200210"));
    let day = |o: &InMemDicomObject| {
        let text = text(o, t::STUDY_DATE).unwrap();
        chrono::NaiveDate::parse_from_str(&text, "%Y%m%d").unwrap()
    };
    assert_eq!((day(&second) - day(&first)).num_days(), 10);
    assert!(day(&first) < chrono::NaiveDate::from_ymd_opt(2020, 1, 31).unwrap());
    let moved = text(&first, t::ACQUISITION_DATE_TIME);
    // Time and offset stay.
    assert_eq!(moved.unwrap(), format!("{}101112.5+0100", text(&first, t::STUDY_DATE).unwrap()));
    assert_eq!(text(&first, t::STUDY_TIME).as_deref(), Some("101112"));
    assert_eq!(text(&first, t::PATIENT_ID), text(&second, t::PATIENT_ID));
    assert_eq!(text(&first, t::PATIENT_ID).unwrap().len(), 20);
    assert_ne!(one.study, two.study);
    let (again, _) = leave(&deidentifier, &image("1.9.33.44.55", "20200131"));
    assert_eq!(text(&again, t::STUDY_INSTANCE_UID).as_deref(), Some(one.study.as_str()));
}

#[test]
fn a_sites_exceptions_are_done_and_stated() {
    let rest = "[tags]\nkeep = ['SeriesInstanceUID']";
    assert!(Profile::parse(&format!("[profile]\nname = 'a'\n{rest}")).is_err());
    let rest = "[tags]\nkeep = ['StationName']\nremove = ['Manufacturer']\nempty = ['SequenceName']\nreplace = { PatientID = 'TRIAL-1' }";
    let (object, _) = leave(&deidentifier("", rest), &image("1.9.33.44.55", "20200131"));
    assert_eq!(text(&object, t::STATION_NAME).as_deref(), Some("SCANNER07"));
    assert!(object.get(t::MANUFACTURER).is_none());
    assert_eq!(text(&object, t::SEQUENCE_NAME).as_deref(), Some(""));
    assert_eq!(text(&object, t::PATIENT_ID).as_deref(), Some("TRIAL-1"));
    assert_eq!(text(&object, t::PATIENT_IDENTITY_REMOVED).as_deref(), Some("NO"));
    assert!(object.get(t::DEIDENTIFICATION_METHOD_CODE_SEQUENCE).is_none(), "it may not claim the profile");
    // What a site keeps by mistake is still caught.
    let keeps = deidentifier("", "[tags]\nkeep = ['StudyDescription']");
    let (verdict, _) = verdict(&keeps, &image("1.9.33.44.55", "20200131"), Pixels::Unseen);
    let Verdict::Quarantined(reasons) = verdict else { panic!("the name in a kept description left") };
    assert!(reasons[0].contains("StudyDescription (0008,1030)"), "{reasons:?}");
    assert!(reasons.iter().all(|r| !r.contains("Doe")), "{reasons:?}");
}

#[test]
fn pixels_that_may_show_text_stay_unless_they_were_cleaned_or_the_site_says_so() {
    let shows = |annotation: &[u8]| {
        let mut file = Dicom::new(EXPLICIT);
        file.put(0x0008_0016, b"UI", b"1.2.840.10008.5.1.4.1.1.7").put(0x0008_0018, b"UI", b"1.9.33.44.55.1");
        file.study().grey(2, 1, 8, 8).put(0x0028_0301, b"CS", annotation).put(0x7FE0_0010, b"OB", &[1, 2]);
        file
    };
    let quarantine = deidentifier("", "");
    for (annotation, leaves) in [(&b"YES"[..], false), (b"", false), (b"NO", true)] {
        let (verdict, bytes) = verdict(&quarantine, &shows(annotation), Pixels::Unseen);
        assert_eq!(matches!(verdict, Verdict::Written(_)), leaves, "{annotation:?}");
        assert!(leaves || bytes.is_empty());
    }
    let (verdict_, bytes) = verdict(&quarantine, &shows(b"YES"), Pixels::Cleaned);
    assert!(matches!(verdict_, Verdict::Written(_)));
    let object = dicom_object::from_reader(bytes.as_slice()).unwrap();
    assert_eq!(text(&object, t::BURNED_IN_ANNOTATION).as_deref(), Some("NO"));
    assert!(holds(&bytes, b"113101"), "Clean Pixel Data was done");
    let (verdict_, bytes) = verdict(&deidentifier("", "burned_in = 'keep'"), &shows(b"YES"), Pixels::Unseen);
    assert!(matches!(verdict_, Verdict::Written(_)));
    let object = dicom_object::from_reader(bytes.as_slice()).unwrap();
    assert_eq!(text(&object, t::PATIENT_IDENTITY_REMOVED).as_deref(), Some("NO"));
    assert!(!holds(&bytes, b"113101"));
    let clean = deidentifier("'clean-pixel-data'", "burned_in = 'clean'");
    assert!(matches!(verdict(&clean, &shows(b"NO"), Pixels::Unseen).0, Verdict::Quarantined(_)));
}

/// A comprehensive SR with a code, a number, a text, a name, a date, a UID and an accession number.
fn report() -> Dicom {
    let concept = |item: &mut Dicom, code: &[u8], meaning: &[u8]| {
        item.item(0x0040_A043, |name| {
            name.put(0x0008_0100, b"SH", code).put(0x0008_0102, b"SH", b"DCM").put(
                0x0008_0104,
                b"LO",
                meaning,
            );
        });
    };
    let mut content = Vec::new();
    let mut child = |value_type: &[u8], code: &[u8], fill: &dyn Fn(&mut Dicom)| {
        let mut item = Dicom(Vec::new());
        item.put(0x0040_A010, b"CS", b"CONTAINS").put(0x0040_A040, b"CS", value_type);
        concept(&mut item, code, b"A concept");
        fill(&mut item);
        content.extend_from_slice(&[0xFE, 0xFF, 0x00, 0xE0]);
        content.extend_from_slice(&(item.0.len() as u32).to_le_bytes());
        content.extend_from_slice(&item.0);
    };
    child(b"TEXT", b"121106", &|i| {
        let _ = i.put(0x0040_A160, b"UT", b"A comment on Jane");
    });
    child(b"TEXT", b"999999", &|i| {
        let _ = i.put(0x0040_A160, b"UT", b"normal chest of Miss Marple");
    });
    child(b"TEXT", b"121022", &|i| {
        let _ = i.put(0x0040_A160, b"UT", b"ACC99177");
    });
    child(b"PNAME", b"999998", &|i| {
        let _ = i.put(0x0040_A123, b"PN", b"Miller^Ann");
    });
    child(b"DATE", b"999997", &|i| {
        let _ = i.put(0x0040_A121, b"DA", b"20200131");
    });
    child(b"UIDREF", b"999996", &|i| {
        let _ = i.put(0x0040_A124, b"UI", b"1.9.33.44.77");
    });
    child(b"CODE", b"999995", &|i| {
        i.item(0x0040_A168, |c| {
            c.put(0x0008_0100, b"SH", b"51185008").put(0x0008_0102, b"SH", b"SCT").put(
                0x0008_0104,
                b"LO",
                b"Chest",
            );
        });
    });
    let mut file = Dicom::new(EXPLICIT);
    file.put(0x0008_0016, b"UI", b"1.2.840.10008.5.1.4.1.1.88.33").put(0x0008_0018, b"UI", b"1.9.33.44.55.1");
    file.put(0x0008_0050, b"SH", b"ACC99177").put(0x0010_0010, b"PN", b"Doe^Jane").study();
    file.put(0x0040_A040, b"CS", b"CONTAINER");
    concept(&mut file, b"126000", b"Imaging Measurement Report");
    file.put(0x0040_A050, b"CS", b"SEPARATE").put(0x0040_A730, b"SQ", &content);
    file
}

#[test]
fn structured_content_keeps_what_is_coded() {
    let (object, _) = leave(&deidentifier("", ""), &report());
    assert_eq!(items(&object, t::CONTENT_SEQUENCE).len(), 1, "a dummy without the option");
    assert_eq!(text(&items(&object, t::CONTENT_SEQUENCE)[0], t::TEXT_VALUE).as_deref(), Some("REMOVED"));
    let options = "'clean-structured-content', 'retain-dates-modified'";
    let (object, _) = leave(&deidentifier(options, ""), &report());
    let content = items(&object, t::CONTENT_SEQUENCE);
    let kinds: Vec<_> = content.iter().map(|item| text(item, t::VALUE_TYPE).unwrap()).collect();
    // The comment and the accession number are listed and go; the rest stays, its values treated.
    assert_eq!(kinds, ["TEXT", "PNAME", "DATE", "UIDREF", "CODE"]);
    assert_eq!(text(&content[0], t::TEXT_VALUE).as_deref(), Some("normal chest of"));
    assert_eq!(text(&content[1], t::PERSON_NAME).as_deref(), Some("REMOVED"));
    assert_ne!(text(&content[2], t::DATE).as_deref(), Some("20200131"));
    assert!(text(&content[3], t::UID).unwrap().starts_with("2.25."));
    assert_eq!(
        text(&items(&content[4], t::CONCEPT_CODE_SEQUENCE)[0], t::CODE_MEANING).as_deref(),
        Some("Chest")
    );
}

#[test]
fn a_document_is_replaced_by_an_empty_one_of_its_kind() {
    let mut file = Dicom::new(EXPLICIT);
    file.put(0x0008_0016, b"UI", b"1.2.840.10008.5.1.4.1.1.104.1").put(0x0008_0018, b"UI", b"1.9.33.44.55.1");
    file.put(0x0010_0010, b"PN", b"Doe^Jane").study();
    file.put(0x0042_0011, b"OB", b"%PDF-1.4 of Doe, Jane").put(0x0042_0012, b"LO", b"application/pdf");
    let (object, written) = leave(&deidentifier("", ""), &file);
    let document = object.get(t::ENCAPSULATED_DOCUMENT).unwrap();
    assert_eq!(document.vr(), VR::OB);
    assert!(document.to_bytes().unwrap().starts_with(b"%PDF-1.4\n1 0 obj"));
    assert!(written.changes.iter().any(|c| c.tag == t::ENCAPSULATED_DOCUMENT && c.done == Done::Dummy));
}

#[test]
fn what_no_rule_foresaw_is_caught_by_the_second_look() {
    // A name in the pixel data, as a sender's comment in a stream would be; no rule of the table looks there.
    let mut file = Dicom::new(EXPLICIT);
    file.put(0x0008_0016, b"UI", MR).put(0x0008_0018, b"UI", b"1.9.33.44.55.1").put(
        0x0010_0010,
        b"PN",
        b"Canarybird^Jane",
    );
    file.study().grey(8, 8, 8, 8);
    let mut pixels = [3; 64];
    pixels[20..32].copy_from_slice(b" canarybird ");
    file.put(0x7FE0_0010, b"OB", &pixels);
    let (verdict, _) = verdict(&deidentifier("", ""), &file, Pixels::Unseen);
    let Verdict::Quarantined(reasons) = verdict else { panic!("it left") };
    assert_eq!(reasons.len(), 1);
    assert!(
        reasons[0]
            .starts_with("a value of PatientName (0010,0010) stands in the outgoing pixel data, at byte")
    );
}

#[test]
fn text_that_calls_itself_a_number_does_not_leave() {
    let mut file = image("1.9.33.44.55", "20200131");
    let pixels = file.0.split_off(file.0.len() - 14);
    file.put(0x0018_1210, b"OB", b"a word").put(0x0018_1260, b"US", b"a word").put(
        0x0018_9074,
        b"UN",
        b"a word",
    );
    file.0.extend_from_slice(&pixels);
    let (_, bytes) = verdict(&deidentifier("", ""), &file, Pixels::Unseen);
    assert!(!bytes.is_empty() && !holds(&bytes, b"a word"));
}

#[test]
fn a_video_leaves_as_it_is() {
    let mut file = Dicom::new("1.2.840.10008.1.2.4.102");
    file.put(0x0008_0016, b"UI", b"1.2.840.10008.5.1.4.1.1.77.1.1.1").put(
        0x0008_0018,
        b"UI",
        b"1.9.33.44.55.1",
    );
    file.put(0x0010_0010, b"PN", b"Doe^Jane").study().put(0x0028_0008, b"IS", b"25").grey(8, 8, 8, 8);
    file.fragments(&[b"", b"the first half of a stream", b"the second half"]);
    file.0.extend_from_slice(&[0xFE, 0xFF, 0xDD, 0xE0, 0, 0, 0, 0]);
    let (verdict, bytes) = verdict(&deidentifier("", ""), &file, Pixels::Unseen);
    assert!(matches!(verdict, Verdict::Written(_)), "{verdict:?}");
    assert!(holds(&bytes, b"the first half of a stream") && holds(&bytes, b"the second half"));
    assert!(holds(&bytes, b"1.2.840.10008.1.2.4.102") && !holds(&bytes, b"Doe"));
}

/// Whatever a sender writes: an object, a quarantine or an error, and no panic.
#[test]
fn mangled_originals_do_not_stop_it() {
    let deidentifiers = ["", "'clean-descriptors', 'clean-structured-content', 'clean-graphics', 'retain-dates-modified', 'retain-safe-private'"]
        .map(|options| deidentifier(options, "burned_in = 'keep'"));
    let mut state = 1u64;
    let mut random = |below: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % below
    };
    let (mut left, mut refused) = (0, 0);
    for original in [image("1.9.33.44.55", "20200131"), report()] {
        for _ in 0..3000 {
            let mut bytes = original.0.clone();
            for _ in 0..=random(4) {
                let at = 132 + random(bytes.len() - 132);
                bytes[at] =
                    if random(3) == 0 { random(256) as u8 } else { bytes[132 + random(bytes.len() - 132)] };
            }
            for deidentifier in &deidentifiers {
                let opened = open_bytes(bytes.clone(), &Limits::default());
                let done = match opened {
                    Ok(Opened::Dicom(file)) => {
                        deidentifier.write_opened(&file, Pixels::Unseen, &mut Vec::new()).is_ok()
                    }
                    _ => false,
                };
                if done { left += 1 } else { refused += 1 }
            }
        }
    }
    assert!(left > 1000 && refused > 100, "{left} left, {refused} were refused");
}
