//! QIDO-RS and WADO-RS over real samples, against pixels that are known.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod support;

use axum::http::StatusCode;
use image::GenericImageView;
use overread_dicom::read::{Limits, Opened, open_bytes};
use support::{bytes_of, get, holding, path};

const CT: &str = "693_UNCR.dcm";
const JPEG_2000: &str = "MR2_J2KR.dcm";
const ULTRASOUND: &str = "color3d_jpeg_baseline.dcm";
const BIG_ENDIAN: &str = "gdcm-US-ALOKA-16_big.dcm";
const DICOM: &str = "multipart/related; type=\"application/dicom\"";
const OHIF: &str = "multipart/related; type=application/octet-stream; transfer-syntax=*";
const OCTETS: &str = "multipart/related; type=\"application/octet-stream\"";

fn dicom(bytes: Vec<u8>) -> overread_dicom::read::DicomFile {
    match open_bytes(bytes, &Limits::default()).unwrap() {
        Opened::Dicom(object) => object,
        Opened::Photograph(_) | Opened::Slide(_) => panic!("a photograph"),
    }
}

#[tokio::test]
async fn searches() {
    let (folder, router) = holding(&[CT, JPEG_2000, ULTRASOUND]).await;
    let all = get(&router, "/studies", "application/dicom+json").await;
    assert_eq!(all.kind(), "application/dicom+json");
    assert_eq!(all.json().as_array().unwrap().len(), 3);
    let row = &all.json()[0];
    let study = folder.entries()[0].study.to_string();
    assert_eq!(row["0020000D"]["Value"][0], study.as_str());
    assert_eq!(row["00081190"]["Value"][0], format!("http://pacs.test:8042/dicom-web/studies/{study}"));
    assert_eq!(row["00080061"]["Value"][0], "CT");
    assert_eq!(row["00201208"]["Value"][0], 1);
    assert!(row["00280010"].is_null(), "Rows is no attribute of a study");
    let series = get(&router, &format!("/studies/{study}/series?includefield=Manufacturer"), "").await.json();
    assert_eq!(series[0]["00080060"]["Value"][0], "CT");
    assert!(series[0]["00080070"].is_object() && series[0]["00100010"].is_null());
    let path = format!("/studies/{study}/series/{}/instances", folder.entries()[0].series);
    assert_eq!(get(&router, &path, "").await.json()[0]["00280010"]["Value"][0], 512);
    let instances = get(&router, "/instances?Modality=MR&00080018=*", "").await.json();
    assert_eq!(instances[0]["00080018"]["Value"][0], folder.entries()[1].instance.as_str());
    // Without a study in the URL its attributes are told too.
    assert!(instances[0]["00100010"].is_object());
    assert_eq!(get(&router, "/studies?PatientID=nobody", "").await.json(), serde_json::json!([]));
}

#[tokio::test]
async fn pages_and_warnings() {
    let (_folder, router) = holding(&[CT, JPEG_2000, ULTRASOUND]).await;
    let page = get(&router, "/studies?limit=2&fuzzymatching=true&PatientName=*", "").await;
    assert_eq!(page.json().as_array().unwrap().len(), 2);
    let warnings: Vec<&str> = page.headers.get_all("warning").iter().map(|w| w.to_str().unwrap()).collect();
    assert!(warnings[0].contains("fuzzymatching") && warnings[1].contains("additional results"));
    assert_eq!(get(&router, "/studies?limit=2&offset=2", "").await.json().as_array().unwrap().len(), 1);
    for (path, accept, status) in [
        ("/studies?Colour=red", "", StatusCode::BAD_REQUEST),
        ("/studies?StudyDate=soon", "", StatusCode::BAD_REQUEST),
        ("/studies?OperatorsName=x", "", StatusCode::BAD_REQUEST),
        ("/studies", "multipart/related; type=\"application/dicom+xml\"", StatusCode::NOT_ACCEPTABLE),
        ("/studies/../series", "", StatusCode::BAD_REQUEST),
        ("/studies/x.y/series", "", StatusCode::BAD_REQUEST),
        ("/patients", "", StatusCode::NOT_FOUND),
        ("/studies/1.2.3/metadata", "", StatusCode::NOT_FOUND),
    ] {
        let answer = get(&router, path, accept).await;
        assert_eq!((answer.status, answer.kind()), (status, "application/problem+json"), "{path}");
    }
    let said = get(&router, "/studies?Colour=Secret^Name", "").await.json()["detail"].to_string();
    assert!(said.contains("Colour") && !said.contains("Secret"), "{said}");
}

#[tokio::test]
async fn files_as_they_are_stored() {
    let (folder, router) = holding(&[CT, JPEG_2000]).await;
    for (entry, name) in folder.entries().iter().zip([CT, JPEG_2000]) {
        let study = format!("/studies/{}", entry.study);
        let any = format!("{DICOM}; transfer-syntax=*");
        let parts = get(&router, &study, &any).await.parts();
        assert_eq!(parts.len(), 1);
        assert_eq!(parts[0].1, bytes_of(name));
        assert!(parts[0].0.contains(&format!("transfer-syntax={}", entry.transfer_syntax)));
        let exact = format!("application/dicom; transfer-syntax={}", entry.transfer_syntax);
        assert_eq!(get(&router, &path(entry), &exact).await.body, bytes_of(name));
        let other = format!("{DICOM}; transfer-syntax=1.2.840.10008.1.2.4.80");
        assert_eq!(get(&router, &study, &other).await.status, StatusCode::NOT_ACCEPTABLE);
        assert_eq!(get(&router, &study, "image/png").await.status, StatusCode::NOT_ACCEPTABLE);
    }
    std::fs::remove_file(folder.home.path().join("0.dcm")).unwrap();
    assert_eq!(get(&router, &path(&folder.entries()[0]), "").await.status, StatusCode::GONE);
}

/// Every kind of encoding becomes Explicit VR Little Endian with the same pixels and the same header.
#[tokio::test]
async fn files_in_explicit_little_endian() {
    let names = [
        JPEG_2000,
        BIG_ENDIAN,
        ULTRASOUND,
        "MR2_UNCI.dcm",
        "liver_expb.dcm",
        "emri_small_RLE.dcm",
        "SC_rgb_expb_16bit_2frame.dcm",
        "JPEG-LL.dcm",
        "OT-PAL-8-face.dcm",
    ];
    for name in names {
        let (folder, router) = holding(&[name]).await;
        let answer = get(&router, &path(&folder.entries()[0]), DICOM).await;
        assert_eq!(answer.status, StatusCode::OK, "{name}: {}", String::from_utf8_lossy(&answer.body));
        let sent = dicom(answer.parts().swap_remove(0).1);
        let own = dicom(bytes_of(name));
        assert_eq!(sent.header().transfer_syntax, "1.2.840.10008.1.2.1", "{name}");
        sent.check_whole().unwrap_or_else(|e| panic!("{name}: {e}"));
        let mut host = (support::config().codec)();
        for frame in [0, own.header().frames - 1] {
            let full = overread_dicom::read::Resolution::Full;
            let (a, b) =
                (sent.decode(frame, full, &mut host).unwrap(), own.decode(frame, full, &mut host).unwrap());
            assert!(a.samples == b.samples, "{name} frame {frame}");
            assert_eq!((a.modality, a.voi), (b.modality, b.voi), "{name}");
        }
        let patient = |d: &overread_dicom::read::DicomFile| {
            d.dataset()
                .reveal()
                .get(dicom_dictionary_std::tags::PATIENT_NAME)
                .map(|e| e.to_str().unwrap().into_owned())
        };
        assert!(patient(&sent) == patient(&own), "{name}");
    }
}

#[tokio::test]
async fn frames_native_and_compressed() {
    let (folder, router) = holding(&[CT, ULTRASOUND, BIG_ENDIAN]).await;
    let [ct, ultrasound, big] = &folder.entries()[..] else { panic!("three") };
    // Native frames are cut from the file.
    let native = get(&router, &format!("{}/frames/1", path(ct)), OHIF).await.parts();
    let file = bytes_of(CT);
    assert_eq!(native[0].1.len(), 512 * 512 * 2);
    assert!(memchr::memmem::find(&file, &native[0].1).is_some());
    // Compressed ones are sent as they are to who takes that.
    let list = format!("{}/frames/1,120,2", path(ultrasound));
    let stored = get(&router, &list, OHIF).await;
    assert!(stored.kind().contains("type=\"application/octet-stream\""));
    let parts = stored.parts();
    assert_eq!(parts.len(), 3);
    let file = bytes_of(ULTRASOUND);
    for (head, frame) in &parts {
        assert!(head.contains("transfer-syntax=1.2.840.10008.1.2.4.50"), "{head}");
        assert!(frame.starts_with(&[0xFF, 0xD8]) && memchr::memmem::find(&file, frame).is_some());
    }
    let jpeg = get(&router, &list, "multipart/related; type=\"image/jpeg\"").await;
    assert!(jpeg.parts()[1].0.contains("image/jpeg"));
    assert_eq!(jpeg.parts()[1].1, parts[1].1);
    // Who does not, gets them decoded.
    for accept in [OCTETS, "*/*", ""] {
        let decoded = get(&router, &list, accept).await.parts();
        assert_eq!((decoded.len(), decoded[0].1.len()), (3, 640 * 480 * 3), "{accept}");
    }
    // Words of big endian are turned.
    let turned = get(&router, &format!("{}/frames/1", path(big)), "application/octet-stream").await;
    let grid = dicom(bytes_of(BIG_ENDIAN));
    let mut host = (support::config().codec)();
    assert_eq!(turned.body, grid.native_frame(0, &mut host).unwrap());
    for (list, status) in [("121", 404), ("0", 400), ("x", 400), ("1,,2", 400)] {
        let answer = get(&router, &format!("{}/frames/{list}", path(ultrasound)), OHIF).await;
        assert_eq!(answer.status.as_u16(), status, "{list}");
    }
    let refused = get(&router, &list, "multipart/related; type=\"image/jls\"").await;
    assert_eq!(refused.status, StatusCode::NOT_ACCEPTABLE);
}

#[tokio::test]
async fn metadata_and_the_bulk_data_they_name() {
    let (folder, router) = holding(&[CT, "vlut_04.dcm"]).await;
    for entry in &folder.entries() {
        let json = get(&router, &format!("/studies/{}/metadata", entry.study), "application/dicom+json")
            .await
            .json();
        let json = &json[0];
        assert_eq!(json["00080018"]["Value"][0], entry.instance.as_str());
        assert!(json["00280010"]["Value"][0].is_number() && json["00020010"].is_null());
        assert_eq!(json["00083002"]["Value"][0], entry.transfer_syntax.as_str());
        let uri = json["7FE00010"]["BulkDataURI"].as_str().unwrap();
        let local = uri.strip_prefix("http://pacs.test:8042/dicom-web").unwrap();
        let pixels = get(&router, local, "multipart/related; type=\"*/*\"").await.parts();
        let rows = json["00280010"]["Value"][0].as_u64().unwrap();
        let columns = json["00280011"]["Value"][0].as_u64().unwrap();
        let bytes = json["00280100"]["Value"][0].as_u64().unwrap() / 8;
        assert_eq!(pixels[0].1.len() as u64, rows * columns * bytes);
    }
    // A lookup table inside a sequence.
    let entry = &folder.entries()[1];
    let json = get(&router, &format!("{}/metadata", path(entry)), "").await.json();
    let lut = &json[0]["00283010"]["Value"][0]["00283006"];
    if let Some(uri) = lut["BulkDataURI"].as_str() {
        let local = uri.strip_prefix("http://pacs.test:8042/dicom-web").unwrap();
        let bytes = get(&router, local, "application/octet-stream").await.body;
        let entries = json[0]["00283010"]["Value"][0]["00283002"]["Value"][0].as_u64().unwrap();
        assert_eq!(bytes.len() as u64, entries * 2);
    } else {
        assert!(lut["Value"].is_array() || lut["InlineBinary"].is_string(), "{lut}");
    }
    for missing in ["00100010", "nonsense", "7FE00011", "..", "00283010.9.00283006"] {
        let answer = get(&router, &format!("{}/bulkdata/{missing}", path(entry)), "").await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "{missing}");
    }
}

#[tokio::test]
async fn pictures() {
    let (folder, router) = holding(&[CT, ULTRASOUND, "RG1_J2KR.dcm"]).await;
    let [ct, ultrasound, radiograph] = &folder.entries()[..] else { panic!("three") };
    let jpeg = get(&router, &format!("{}/rendered", path(ct)), "").await;
    assert_eq!((jpeg.status, jpeg.kind()), (StatusCode::OK, "image/jpeg"));
    let picture = image::load_from_memory(&jpeg.body).unwrap();
    assert_eq!(picture.dimensions(), (512, 512));
    let png = get(&router, &format!("{}/frames/1/rendered?window=40,400", path(ct)), "image/png").await;
    let windowed = image::load_from_memory(&png.body).unwrap();
    assert_eq!(png.kind(), "image/png");
    let wide = get(&router, &format!("{}/rendered?window=40,4000,sigmoid", path(ct)), "image/png").await;
    assert_ne!(windowed, image::load_from_memory(&wide.body).unwrap());
    // A radiograph is decoded no larger than the viewport needs, and keeps its shape.
    let header = dicom(bytes_of("RG1_J2KR.dcm")).header().clone();
    let small = get(&router, &format!("{}/rendered?viewport=300,300", path(radiograph)), "image/png").await;
    let small = image::load_from_memory(&small.body).unwrap();
    assert_eq!(small.width().max(small.height()), 300);
    let shape = |w: u32, h: u32| f64::from(w) / f64::from(h);
    assert!((shape(small.width(), small.height()) - shape(header.columns, header.rows)).abs() < 0.01);
    let colour = get(&router, &format!("{}/frames/3/rendered", path(ultrasound)), "image/png").await;
    assert!(image::load_from_memory(&colour.body).unwrap().as_rgb8().is_some());
    let several = get(&router, &format!("{}/frames/1,2/rendered", path(ultrasound)), "").await;
    assert_eq!(several.parts().len(), 2);
    let thumbnail = get(&router, &format!("/studies/{}/thumbnail", ultrasound.study), "*/*").await;
    assert_eq!(image::load_from_memory(&thumbnail.body).unwrap().dimensions(), (200, 150));
    for (path, accept, status) in [
        (format!("{}/rendered", path(ct)), "image/gif", 406),
        (format!("{}/rendered?window=1", path(ct)), "", 400),
        (format!("{}/rendered?viewport=0,0", path(ct)), "", 400),
        (format!("{}/frames/2/rendered", path(ct)), "", 404),
    ] {
        assert_eq!(get(&router, &path, accept).await.status.as_u16(), status, "{path}");
    }
}
