//! Photographs that are uploaded to the edge: they become valid DICOM images of what was seen and of nothing else in their files.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod support;

use std::path::PathBuf;

use overread_testkit::http::{Answer, request};
use overread_testkit::tools::{dciodvfy_errors, python, sample};
use serde_json::Value;
use support::edge::Edge;
use support::form::{form, upload};

const EYE: [(&str, &str); 2] = [("kind", "eye"), ("laterality", "R")];
const GOOD: [&str; 11] = [
    "turned-1.jpg",
    "turned-3.jpg",
    "turned-6.jpg",
    "turned-8.jpg",
    "turned-5.jpg",
    "grey.jpg",
    "text.png",
    "alpha.png",
    "artist.tiff",
    "lossless.webp",
    "lossy.webp",
];

/// An edge and a folder of pictures.
struct Desk {
    edge: Edge,
    pictures: tempfile::TempDir,
}

impl Desk {
    fn new() -> Self {
        Self::at(Edge::start())
    }

    fn at(edge: Edge) -> Self {
        let pictures = tempfile::tempdir().unwrap();
        python("pictures.py", &["make", &pictures.path().display().to_string()]);
        Self { edge, pictures }
    }

    fn picture(&self, name: &str) -> PathBuf {
        self.pictures.path().join(name)
    }

    /// Sends pictures by the names of their files, and fields.
    fn send(&self, pictures: &[&str], fields: &[(&str, &str)]) -> Answer {
        let read = |name: &&str| ("picture", std::fs::read(self.picture(name)).unwrap());
        let texts = fields.iter().map(|(name, text)| (*name, text.as_bytes().to_vec()));
        self.post(&form(&texts.chain(pictures.iter().map(read)).collect::<Vec<_>>()))
    }

    fn post(&self, body: &[u8]) -> Answer {
        upload(&self.edge.address, body)
    }

    /// Fetches the images of an answer.
    fn images(&self, answer: &Answer) -> Vec<PathBuf> {
        let json = answer.json();
        let (study, series) = (json["study"].as_str().unwrap(), json["series"].as_str().unwrap());
        let folder = tempfile::Builder::new().tempdir_in(self.pictures.path()).unwrap().keep();
        let fetch = |(n, instance): (usize, &Value)| {
            let url = format!(
                "{}/studies/{study}/series/{series}/instances/{}",
                self.edge.web(),
                instance.as_str().unwrap()
            );
            let accept = [("accept", "application/dicom; transfer-syntax=*")];
            let path = folder.join(format!("{n}.dcm"));
            std::fs::write(&path, request("GET", &url, &accept, &[]).unwrap().ok().body).unwrap();
            path
        };
        json["instances"].as_array().unwrap().iter().enumerate().map(fetch).collect()
    }

    /// Whether each image shows its picture and is valid; what its header says.
    fn check(&self, pictures: &[&str], images: &[PathBuf]) -> Vec<Value> {
        let mut args = vec!["check".to_owned()];
        for (picture, image) in pictures.iter().zip(images) {
            args.extend([self.picture(picture).display().to_string(), image.display().to_string()]);
            assert_eq!(dciodvfy_errors(image), Vec::<String>::new(), "{picture}");
        }
        serde_json::from_str(&python("pictures.py", &args)).unwrap()
    }

    fn studies(&self) -> usize {
        self.edge.get("/dicom-web/studies").ok().json().as_array().unwrap().len()
    }

    fn staged(&self) -> usize {
        std::fs::read_dir(self.edge.overread.folder().join("edge/staging")).unwrap().count()
    }
}

#[test]
fn every_kind_of_picture_becomes_a_valid_image() {
    let desk = Desk::new();
    type Fields = &'static [(&'static str, &'static str)];
    let kinds: [(Fields, &str, &str); 4] = [
        (&EYE, "1.2.840.10008.5.1.4.1.1.77.1.5.1", "OP"),
        (
            &[("kind", "skin"), ("body_part", "HAND"), ("laterality", "L")],
            "1.2.840.10008.5.1.4.1.1.77.1.4",
            "XC",
        ),
        (&[("kind", "other")], "1.2.840.10008.5.1.4.1.1.77.1.4", "XC"),
        (
            &[("kind", "radiograph"), ("body_part", "CHEST"), ("view", "PA")],
            "1.2.840.10008.5.1.4.1.1.1",
            "CR",
        ),
    ];
    for (fields, class, modality) in kinds {
        let answer = desk.send(&GOOD, fields);
        assert_eq!(answer.status, 201, "{}", answer.text());
        let images = desk.images(&answer);
        let headers = desk.check(&GOOD, &images);
        let json = answer.json();
        for (n, header) in headers.iter().enumerate() {
            assert_eq!((&header["SOPClassUID"], &header["Modality"]), (&class.into(), &modality.into()));
            assert_eq!(header["InstanceNumber"], (n + 1).to_string());
            assert_eq!(
                (&header["StudyInstanceUID"], &header["SeriesInstanceUID"]),
                (&json["study"], &json["series"])
            );
            assert_eq!(
                (&header["SOPInstanceUID"], &header["PatientName"]),
                (&json["instances"][n], &"".into())
            );
        }
    }
    assert_eq!((desk.studies(), desk.staged()), (kinds.len(), 0));
    desk.edge.keeps_to_itself();
}

#[test]
fn fields_become_the_header() {
    let desk = Desk::new();
    let fields = [
        ("kind", "eye"),
        ("laterality", "L"),
        ("device", "fundus-camera"),
        ("pixel_spacing_mm", "0.0075"),
        ("patient_id", "CANARY-7"),
        ("patient_name", "CANARY^Jörg"),
        ("patient_birth_date", "19700102"),
        ("patient_sex", "M"),
        ("accession_number", "A7"),
        ("study_description", "Fundus, both visits"),
        ("nothing_burned_in", "true"),
    ];
    let answer = desk.send(&["turned-6.jpg"], &fields);
    assert_eq!(answer.status, 201, "{}", answer.text());
    let header = desk.check(&["turned-6.jpg"], &desk.images(&answer)).swap_remove(0);
    for (keyword, text) in [
        ("PatientID", "CANARY-7"),
        ("PatientName", "CANARY^Jörg"),
        ("PatientBirthDate", "19700102"),
        ("PatientSex", "M"),
        ("AccessionNumber", "A7"),
        ("StudyDescription", "Fundus, both visits"),
        ("BodyPartExamined", "EYE"),
        ("BurnedInAnnotation", "NO"),
    ] {
        assert_eq!(header[keyword], text);
    }
    desk.edge.keeps_to_itself();
}

#[test]
fn two_eyes_come_in_one_form() {
    let desk = Desk::new();
    let pictures = ["text.png", "grey.jpg", "turned-6.jpg"];
    let answer = desk.send(&pictures, &[("kind", "eye"), ("laterality", "R, L,R")]);
    assert_eq!(answer.status, 201, "{}", answer.text());
    let headers = desk.check(&pictures, &desk.images(&answer));
    let sides: Vec<_> = headers.iter().map(|h| h["ImageLaterality"].as_str().unwrap()).collect();
    assert_eq!(sides, ["R", "L", "R"]);
    assert_eq!(desk.studies(), 1);
    let two = [("kind", "eye"), ("laterality", "R,L")];
    refused(&desk.send(&pictures, &two), 422, "laterality: one side for all pictures, or one for each");
    let hands = [("kind", "skin"), ("body_part", "HAND"), ("laterality", "R,L")];
    refused(&desk.send(&["text.png", "grey.jpg"], &hands), 422, "laterality: several sides for eyes alone");
    assert_eq!((desk.studies(), desk.staged()), (1, 0));
}

#[test]
fn the_same_form_again_is_the_same_study() {
    let desk = Desk::new();
    let first = desk.send(&["text.png", "text.png"], &EYE);
    assert_eq!(first.status, 201, "{}", first.text());
    let again = desk.send(&["text.png", "text.png"], &EYE);
    assert_eq!((again.status, again.json()), (200, first.json()));
    assert_ne!(first.json()["instances"][0], first.json()["instances"][1], "a picture twice is two images");
    let other = desk.send(&["text.png", "text.png"], &[("kind", "eye"), ("laterality", "L")]);
    assert_eq!(other.status, 201);
    assert_ne!(other.json()["study"], first.json()["study"]);
    assert_eq!(desk.edge.get("/api/v1/status").json()["conflicts"], 0);
    assert_eq!((desk.studies(), desk.staged()), (2, 0));
}

#[test]
fn what_is_no_single_picture_is_refused_and_nothing_is_kept() {
    let desk = Desk::new();
    for (name, status, said) in [
        ("animated.png", 422, "several pictures"),
        ("animated.webp", 422, "several pictures"),
        ("pages.tiff", 422, "several pictures"),
        ("animated.gif", 422, "no JPEG, PNG, TIFF or WebP"),
        ("letter.jpg", 422, "no JPEG, PNG, TIFF or WebP"),
        ("empty.png", 422, "no JPEG, PNG, TIFF or WebP"),
        ("cut.jpg", 422, "cannot be decoded"),
        ("head.png", 422, "cannot be decoded"),
        ("bomb.png", 422, "million pixels"),
        ("wide.png", 422, "65535"),
    ] {
        // A good picture beside it is not kept either: a study is whole.
        let answer = desk.send(&["text.png", name], &EYE);
        refused(&answer, status, said);
        assert!(answer.text().contains("picture 2"), "{name}: {}", answer.text());
    }
    let dicom = std::fs::read(sample("693_UNCR.dcm")).unwrap();
    let fields = [("kind", b"skin".to_vec()), ("picture", dicom)];
    refused(&desk.post(&form(&fields)), 422, "DICOM already");
    assert_eq!((desk.studies(), desk.staged()), (0, 0));
    desk.edge.keeps_to_itself();
}

#[test]
fn wrong_fields_are_named_and_their_values_are_not() {
    let desk = Desk::new();
    let secret = "CANARY^Value";
    let skin = ("kind", "skin");
    let cases: [(&[(&str, &str)], &str); 18] = [
        (&[("name", secret)], "none of picture, kind"),
        (&[], "kind: say"),
        (&[("kind", secret)], "kind: eye"),
        (&[skin, skin], "kind: given twice"),
        (&[("kind", "eye")], "laterality: an eye"),
        (&[("kind", "eye"), ("laterality", "U")], "laterality: an eye"),
        (&[skin, ("laterality", secret)], "laterality: one of"),
        (&[skin, ("body_part", secret)], "body_part: one of ABDOMEN"),
        (&[EYE[0], EYE[1], ("body_part", "HAND")], "body_part: an eye"),
        (&[EYE[0], EYE[1], ("device", secret)], "device: external-camera"),
        (&[EYE[0], EYE[1], ("device", "fundus-camera")], "pixel_spacing_mm: an image"),
        (&[skin, ("device", "slit-lamp")], "device: for an eye"),
        (&[skin, ("pixel_spacing_mm", "1")], "pixel_spacing_mm: for a fundus"),
        (&[skin, ("view", "PA")], "view: for a radiograph"),
        (&[skin, ("patient_sex", secret)], "patient_sex: one of"),
        (&[skin, ("nothing_burned_in", secret)], "nothing_burned_in: one of"),
        (&[skin, ("patient_birth_date", "1970-01-02 CANARY")], "Patient's Birth Date"),
        (&[skin, ("accession_number", "CANARY 1234567890123")], "Accession Number"),
    ];
    for (fields, said) in cases {
        refused(&desk.send(&["text.png"], fields), 422, said);
    }
    refused(&desk.send(&[], &[skin]), 422, "there is no picture");
    let latin = form(&[("kind", b"skin".to_vec()), ("patient_name", b"J\xF6rg".to_vec())]);
    refused(&desk.post(&latin), 422, "patient_name: the text is not UTF-8");
    assert_eq!((desk.studies(), desk.staged()), (0, 0));
    desk.edge.keeps_to_itself();
}

#[test]
fn bodies_that_are_no_form_or_too_large_are_refused() {
    let desk = Desk::new();
    let url = format!("{}/api/v1/photographs", desk.edge.address);
    let whole = form(&[("picture", vec![1; 100])]);
    for kind in ["image/jpeg", "multipart/form-data", "application/x-www-form-urlencoded"] {
        refused(
            &request("POST", &url, &[("content-type", kind)], &whole).unwrap(),
            415,
            "multipart/form-data",
        );
    }
    refused(&request("POST", &url, &[], &whole).unwrap(), 415, "multipart/form-data");
    refused(&desk.post(&whole[..60]), 400, "no whole multipart");
    refused(&desk.post(b"no form at all"), 400, "no whole multipart");
    let large = form(&[("picture", vec![1; (64 << 20) + 1])]);
    refused(&desk.post(&large), 413, "picture: more than the limit");
    let long = form(&[("patient_name", vec![b'x'; 1025])]);
    refused(&desk.post(&long), 413, "patient_name: more than the limit");
    let many = form(&vec![("picture", b"x".to_vec()); 65]);
    refused(&desk.post(&many), 422, "at most 64 pictures");
    assert_eq!((desk.studies(), desk.staged()), (0, 0));
}

fn refused(answer: &Answer, status: u16, said: &str) {
    assert_eq!(answer.status, status, "{}", answer.text());
    assert_eq!(answer.header("content-type"), Some("application/problem+json"));
    let detail = answer.json()["detail"].as_str().unwrap().to_owned();
    assert!(detail.contains(said) && !detail.contains("CANARY"), "{detail} does not say: {said}");
}

#[test]
fn an_upload_is_durable_and_goes_the_way_of_all_images() {
    let mut desk = Desk::new();
    let answer = desk.send(&["turned-8.jpg"], &EYE);
    assert_eq!(answer.status, 201);
    desk.edge.overread.kill();
    desk.edge.overread.again();
    desk.check(&["turned-8.jpg"], &desk.images(&answer));
    let listed = desk.edge.get("/api/v1/studies").ok().json();
    assert_eq!(listed[0]["state"], "receiving", "{listed}");
}
