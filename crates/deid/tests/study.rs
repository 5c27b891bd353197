//! What ties the objects of a study together, and the facts that go with them.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod support;

use overread_deid::{
    UidKind,
    facts::{Stated, facts},
};
use overread_dicom::read::{Header, Limits, Opened, open_bytes};
use overread_domain::{AgeBand, Laterality, Sex, Uid};
use support::{Dicom, EXPLICIT, pseudonymiser, write_bytes};

fn image(instance: &str, age: &str, view: &str) -> Vec<u8> {
    let mut file = Dicom::new(EXPLICIT);
    file.put(0x0008_0016, b"UI", b"1.2.840.10008.5.1.4.1.1.1.1").put(0x0008_0018, b"UI", instance.as_bytes());
    file.put(0x0008_0060, b"CS", b"DX").put(0x0010_0040, b"CS", b"F").put(0x0010_1010, b"AS", age.as_bytes());
    file.put(0x0018_0015, b"CS", b"chest").put(0x0018_5101, b"CS", view.as_bytes()).study();
    file.put(0x0020_0052, b"UI", b"1.9.4").put(0x0020_0062, b"CS", b"U").put(0x0028_0301, b"CS", b"YES");
    file.grey(2, 1, 8, 8).put(0x7FE0_0010, b"OB", &[1, 2]);
    file.0
}

fn header(bytes: &[u8]) -> Header {
    open_bytes(bytes.to_vec(), &Limits::default()).unwrap().header().clone()
}

#[test]
fn images_of_one_study_stay_together() {
    let (one, two) = (image("1.9.5", "042Y", "PA"), image("1.9.6", "042Y", "LL"));
    let ((a, _), (b, out)) = (write_bytes(&one).unwrap(), write_bytes(&two).unwrap());
    assert_eq!((&a.study, &a.series), (&b.study, &b.series));
    assert_ne!(a.instance, b.instance);
    assert_eq!(a.study, pseudonymiser(1).uid(UidKind::Study, &Uid::parse("1.9.1").unwrap()));
    let Opened::Dicom(copy) = open_bytes(out, &Limits::default()).unwrap() else { panic!("not DICOM") };
    let (told, of) = (copy.header(), |uid: &Uid| Some(uid.clone()));
    assert_eq!(told.study_instance_uid, of(&b.study));
    assert_eq!(told.series_instance_uid, of(&b.series));
    assert_eq!(told.sop_instance_uid, of(&b.instance));
    // Matching sees in the copy what it needs, and no age and no sex: they go as coded facts.
    assert_eq!(told.body_part_examined.as_deref(), Some("CHEST"));
    assert_eq!(told.view_position.as_deref(), Some("LL"));
    assert_eq!((told.patient_age_years, told.patient_sex), (None, None));
}

#[test]
fn a_copy_whose_pixels_tell_the_patient_says_so() {
    let (about, out) = write_bytes(&image("1.9.5", "042Y", "PA")).unwrap();
    assert_eq!(about.burned_in, Some(true));
    let copy = dicom_object::from_reader(out.as_slice()).unwrap();
    let text = |keyword| copy.element_by_name(keyword).unwrap().to_str().unwrap().into_owned();
    assert_eq!(text("PatientIdentityRemoved"), "NO");
    assert!(text("DeidentificationMethod").contains("Pixel data not inspected for burned-in text"));
    assert!(copy.element_by_name("DeidentificationMethodCodeSequence").is_err(), "no profile is claimed");
}

fn stated(header: &Header) -> Stated<'_> {
    Stated {
        age_years: header.patient_age_years,
        sex: header.patient_sex,
        laterality: header.laterality.as_deref().unwrap_or(""),
        view: header.view_position.as_deref().unwrap_or(""),
    }
}

#[test]
fn facts_are_what_all_images_agree_on() {
    let (one, two) = (header(&image("1.9.5", "042Y", "PA")), header(&image("1.9.6", "044Y", "LL")));
    let told = facts([stated(&one), stated(&two)]);
    assert_eq!(told.age_band, AgeBand::of_years(40.0));
    assert_eq!((told.sex, told.laterality), (Some(Sex::Female), Some(Laterality::Unpaired)));
    assert_eq!(told.view, None);
    assert_eq!(facts([stated(&one)]).view.as_deref(), Some("PA"));
    let other = header(&image("1.9.7", "051Y", "^CANARY"));
    assert_eq!(facts([stated(&one), stated(&other)]).age_band, None);
    assert_eq!(facts([stated(&other)]).view, None);
    assert_eq!(facts([]), overread_deid::Facts::default());
}
