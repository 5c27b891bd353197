//! Peers read the maps that we write: dciodvfy finds no error, highdicom and pydicom give back every number where it lies.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod write_support;

use std::path::{Path, PathBuf};

use dicom_core::{DataElement, VR};
use dicom_dictionary_std::tags;
use overread_dicom::write::parametric_map::{map_reference, parametric_map};
use overread_dicom::write::{
    InstanceReference, LossyCompression, ParametricMap, SlidePlane, SourceContext, WriteError, to_part10,
};
use overread_domain::{CodedConcept, GridSize, Identified, Uid, ValueKind};
use serde_json::{Value, json};
use write_support::*;

/// Warnings of dciodvfy that stay, and why.
const KNOWN: &[&str] = &[
    // PS3.3 §C.8.16.1.4 has the term; Debian's dciodvfy is older than that.
    "Unrecognized defined term = <QUANTITY>",
];

fn known() -> Vec<&'static str> {
    [KNOWN, KNOWN_WARNINGS].concat()
}

/// A slide that is a DICOM object, made by highdicom and pydicom.
fn slide(folder: &Path) -> SourceContext {
    let path = folder.join("slide.dcm");
    script("make_slide.py", &[&path]);
    SourceContext::from_image(&open(&path)).unwrap()
}

/// A slide of another format: a study of its own, no patient.
fn other_slide() -> SourceContext {
    SourceContext::for_study(Uid::parse("2.25.7").unwrap())
}

fn tumour() -> CodedConcept {
    CodedConcept::new("SCT", "108369006", "Neoplasm")
}

/// Where the pixels of `make_slide.py` lie.
fn pixels() -> SlidePlane {
    SlidePlane { origin: [20.5, 31.25, 0.0], ..SlidePlane::nominal([0.0005, 0.0005]) }
}

/// Four rows of six cells, each of 16 × 16 pixels. Row 0, column 3 stands out; row 2, column 1 was not read.
fn cells() -> Vec<f32> {
    let mut cells: Vec<f32> = (0..24u8).map(|i| f32::from(i) / 100.0).collect();
    cells[3] = 0.875;
    cells[2 * 6 + 1] = f32::NAN;
    cells
}

fn map<'a>(finding: &'a CodedConcept, cells: &'a [f32]) -> ParametricMap<'a> {
    ParametricMap {
        label: "tumor",
        finding,
        kind: ValueKind::Probability,
        number: 1,
        size: GridSize::new(6, 4),
        cells,
        plane: pixels().cells([16.0, 16.0], [0.0, 0.0]),
        lossy: &[],
    }
}

fn write(
    source: &SourceContext,
    map: &ParametricMap<'_>,
) -> Result<overread_dicom::write::DicomFile, WriteError> {
    parametric_map(source, &algorithm(), &identity(), stamp(), map)
}

fn read(files: &[&PathBuf]) -> Vec<Value> {
    serde_json::from_str(&script("check_maps.py", files)).unwrap()
}

fn close(found: &Value, wanted: [f64; 3]) {
    for (found, wanted) in found.as_array().unwrap().iter().zip(wanted) {
        assert!((found.as_f64().unwrap() - wanted).abs() < 1e-9, "{found} is not {wanted}");
    }
}

#[test]
fn highdicom_gives_back_every_number_where_it_lies_on_the_slide() {
    let folder = tempfile::tempdir().unwrap();
    let source = slide(folder.path());
    let (finding, cells) = (tumour(), cells());
    let object = write(&source, &map(&finding, &cells)).unwrap();
    let file = save(folder.path(), "map.dcm", &object);
    assert_valid(&file, &known());
    let read = read(&[&file]).remove(0);

    // 32 bits of a cell are 32 bits of the file.
    let wanted: Vec<Vec<Option<f32>>> =
        cells.chunks(6).map(|row| row.iter().map(|v| (!v.is_nan()).then_some(*v)).collect()).collect();
    assert_eq!(serde_json::from_value::<Vec<Vec<Option<f32>>>>(read["matrix"].clone()).unwrap(), wanted);
    assert_eq!(read["frames"], json!([read["matrix"]]));
    assert_eq!((&read["matrix"][0][3], &read["matrix"][2][1]), (&json!(0.875), &Value::Null));
    assert_eq!(read["padding"], true);

    // The first cell is made of 16 × 16 pixels of half a micrometre, so its centre is 7.5 pixels from the first pixel's. Columns go on to
    // smaller Y, rows to smaller X.
    assert_eq!(read["spacing"], json!([0.008, 0.008]));
    let (x, y) = (20.5 - 7.5 * 0.0005, 31.25 - 7.5 * 0.0005);
    close(&read["positions"][0], [x, y, 0.0]);
    close(&read["positions"][1], [x, y - 3.0 * 0.008, 0.0]);
    close(&read["positions"][2], [x - 0.008, y, 0.0]);
    close(&read["positions"][3], [x - 3.0 * 0.008, y - 5.0 * 0.008, 0.0]);

    assert_eq!(read["quantities"], json!({"Quantity": "Probability", "Finding": "Neoplasm"}));
    assert_eq!((&read["unit"], &read["mapped"]), (&json!("1"), &json!([0.0, 1.0])));
    assert_eq!(read["window"]["function"], "LINEAR_EXACT");
    // What is shown is what is stored: the window is the range.
    assert!((read["window"]["shown"][0][3].as_f64().unwrap() - 0.875).abs() < 1e-6, "{}", read["window"]);
}

#[test]
fn a_slide_tells_where_its_pixels_lie() {
    let folder = tempfile::tempdir().unwrap();
    slide(folder.path());
    let image = open(&folder.path().join("slide.dcm"));
    assert_eq!(SlidePlane::of(&image), Some(pixels()));
    let mut flat = image.reveal().clone();
    flat.put(DataElement::new(tags::IMAGE_ORIENTATION_SLIDE, VR::DS, "0\\0\\0\\0\\0\\0"));
    assert_eq!(SlidePlane::of(&Identified::new(flat)), None);
    assert_eq!(SlidePlane::of(&open(&pydicom_file("CT_small.dcm"))), None);
}

#[test]
fn a_map_lies_with_the_slide_it_is_of() {
    let folder = tempfile::tempdir().unwrap();
    let source = slide(folder.path());
    let (finding, cells) = (tumour(), cells());
    let object = write(&source, &map(&finding, &cells)).unwrap();
    let slide = &source.images()[0].reference;
    let read = read(&[&save(folder.path(), "map.dcm", &object)]).remove(0);
    assert_eq!((&read["patient_id"], &read["patient_name"]), (&json!("P7"), &json!("Doe^Jane")));
    assert_eq!(read["study"], source.study().as_str());
    assert_eq!(read["frame_of_reference"], source.frame_of_reference().unwrap().as_str());
    assert_eq!((&read["container"], &read["specimens"]), (&json!("S26-1-A-1"), &json!(["S26-1-A-1"])));
    assert_eq!(read["sources"], json!([slide.instance.as_str()]));
    assert_eq!(read["referenced"], read["sources"]);
    assert_eq!((&read["lossy"], &read["ratio"]), (&json!("01"), &json!([12.5, 2.0])));
    assert_eq!(read["label"], "TUMOR");

    let reference = InstanceReference::to(&object).unwrap();
    assert_eq!(reference, map_reference(&source, &algorithm(), &identity(), "tumor"));
    let again = write(&source, &map(&finding, &cells)).unwrap();
    assert_eq!(to_part10(&again).unwrap(), to_part10(&object).unwrap());
    let other = write(&source, &ParametricMap { label: "stroma", ..map(&finding, &cells) }).unwrap();
    let other = InstanceReference::to(&other).unwrap();
    assert!(other.instance != reference.instance && other.series == reference.series);
}

#[test]
fn a_slide_of_another_format_has_a_study_of_its_own_and_a_nominal_place() {
    let folder = tempfile::tempdir().unwrap();
    let (source, finding, cells) = (other_slide(), tumour(), cells());
    let lossy = [LossyCompression { method: "ISO_10918_1".into(), ratio: "20".into() }];
    let plane = SlidePlane::nominal([0.00025, 0.0005]).cells([16.0, 16.0], [0.0, 0.0]);
    let object = write(&source, &ParametricMap { plane, lossy: &lossy, ..map(&finding, &cells) }).unwrap();
    let plain = write(&source, &ParametricMap { plane, label: "plain", ..map(&finding, &cells) }).unwrap();
    let files = [save(folder.path(), "map.dcm", &object), save(folder.path(), "plain.dcm", &plain)];
    for file in &files {
        assert_valid(file, &known());
    }
    let read = read(&files.each_ref());
    assert_eq!((&read[0]["patient_id"], &read[0]["study"]), (&json!(""), &json!("2.25.7")));
    // Down, then across.
    assert_eq!(read[0]["spacing"], json!([0.004, 0.008]));
    close(&read[0]["positions"][0], [-7.5 * 0.00025, -7.5 * 0.0005, 0.0]);
    close(&read[0]["positions"][1], [-7.5 * 0.00025, -7.5 * 0.0005 - 3.0 * 0.008, 0.0]);
    assert_eq!((&read[0]["lossy"], &read[1]["lossy"]), (&json!("01"), &json!("00")));
    assert_eq!((&read[0]["sources"], &read[0]["container"]), (&json!([]), &Value::Null));
    // Both maps of the slide lie over each other.
    assert_eq!(read[0]["frame_of_reference"], read[1]["frame_of_reference"]);
    assert_ne!(read[0]["frame_of_reference"], read[0]["study"]);
}

#[test]
fn a_score_is_nowhere_called_a_probability() {
    let folder = tempfile::tempdir().unwrap();
    let (source, finding) = (other_slide(), tumour());
    let mut cells = cells();
    cells[0] = -2.5;
    let object = write(&source, &ParametricMap { kind: ValueKind::Score, ..map(&finding, &cells) }).unwrap();
    let file = save(folder.path(), "map.dcm", &object);
    assert_valid(&file, &known());
    let read = read(&[&file]).remove(0);
    assert_eq!(read["quantities"], json!({"Finding": "Neoplasm"}));
    assert_eq!(read["explanation"], "Score of Neoplasm, cell by cell; no probability");
    assert_eq!(read["mapped"], json!([-2.5, 0.875]));
    assert!((read["window"]["shown"][0][0].as_f64().unwrap()).abs() < 1e-6, "{}", read["window"]);
}

#[test]
fn a_large_map_is_cut_into_frames_and_put_together_again() {
    let folder = tempfile::tempdir().unwrap();
    let (source, finding) = (slide(folder.path()), tumour());
    let (columns, rows) = (1025u32, 513u32);
    // Each cell says where it is.
    let cells: Vec<f32> =
        (0..columns * rows).map(|i| (i % columns * 1000 + i / columns) as f32 / 2e6).collect();
    let size = GridSize::new(columns, rows);
    let object = write(&source, &ParametricMap { size, cells: &cells, ..map(&finding, &cells) }).unwrap();
    let file = save(folder.path(), "map.dcm", &object);
    assert_valid(&file, &known());
    let read = read(&[&file]).remove(0);
    let matrix: Vec<Vec<f32>> = serde_json::from_value(read["matrix"].clone()).unwrap();
    assert_eq!((matrix.len(), matrix[0].len()), (513, 1025));
    assert!(matrix.concat() == cells);
    let frames: Vec<Vec<Vec<Option<f32>>>> = serde_json::from_value(read["frames"].clone()).unwrap();
    assert_eq!((frames.len(), frames[1].len(), frames[1][0].len()), (6, 512, 512));
    assert_eq!(
        (frames[1][7][3], frames[3][0][3]),
        (Some(cells[7 * 1025 + 515]), Some(cells[512 * 1025 + 3]))
    );
    // Beyond the border there is padding.
    assert_eq!((frames[2][0][1], frames[3][1][0]), (None, None));
    // Along a row of frames first.
    let corners = [0.0, 512.0].into_iter().flat_map(|row| [0.0, 512.0, 1024.0].map(|column| (row, column)));
    let plane = map(&finding, &cells).plane;
    for (found, (row, column)) in read["frame_positions"].as_array().unwrap().iter().zip(corners) {
        close(found, plane.position(row, column));
    }
}

#[test]
fn what_cannot_be_said_is_refused() {
    let (source, finding, cells) = (other_slide(), tumour(), cells());
    let good = map(&finding, &cells);
    let refused = |map: &ParametricMap<'_>| write(&source, map).unwrap_err().to_string();
    let wrong = |value: f32| {
        let mut cells = cells.clone();
        cells[9] = value;
        cells
    };
    assert_eq!(
        refused(&ParametricMap { cells: &wrong(1.5), ..good }),
        "Float Pixel Data (7FE0,0008): row 1, column 3 of the map of \"tumor\" is not a probability"
    );
    assert!(write(&source, &ParametricMap { cells: &wrong(1.5), kind: ValueKind::Score, ..good }).is_ok());
    let infinite = wrong(f32::INFINITY);
    assert!(refused(&ParametricMap { cells: &infinite, kind: ValueKind::Score, ..good }).contains("finite"));
    assert!(refused(&ParametricMap { cells: &cells[1..], ..good }).contains("6x4 pixels need 24"));
    assert!(refused(&ParametricMap { size: GridSize::new(0, 4), cells: &[], ..good }).contains("0x4"));
    let plane = SlidePlane { orientation: [1.0; 6], ..good.plane };
    assert!(refused(&ParametricMap { plane, ..good }).contains("Image Orientation (Slide)"));
    let nameless = CodedConcept::new("SCT", "", "Neoplasm");
    assert!(refused(&ParametricMap { finding: &nameless, ..good }).contains("Code Value"));
}

#[test]
fn a_map_of_nothing_that_was_read_is_all_padding() {
    let folder = tempfile::tempdir().unwrap();
    let (source, finding, cells) = (other_slide(), tumour(), vec![f32::NAN; 24]);
    let object = write(&source, &ParametricMap { kind: ValueKind::Score, ..map(&finding, &cells) }).unwrap();
    assert_valid(&save(folder.path(), "map.dcm", &object), &known());
    let stored = object.element(tags::FLOAT_PIXEL_DATA).unwrap().to_multi_float32().unwrap();
    assert!(stored.len() == 24 && stored.iter().all(|v| v.is_nan()));
}

#[test]
fn what_a_slide_says_badly_is_left_out_and_the_map_stays_valid() {
    let folder = tempfile::tempdir().unwrap();
    slide(folder.path());
    let mut header = open(&folder.path().join("slide.dcm")).reveal().clone();
    header.put(DataElement::new(tags::FRAME_OF_REFERENCE_UID, VR::UI, "no UID"));
    header.put(DataElement::new(tags::CONTAINER_IDENTIFIER, VR::LO, "x".repeat(65)));
    header.remove_element(tags::LOSSY_IMAGE_COMPRESSION_METHOD);
    let source = SourceContext::from_image(&Identified::new(header)).unwrap();
    let (finding, cells) = (tumour(), cells());
    let file = save(folder.path(), "map.dcm", &write(&source, &map(&finding, &cells)).unwrap());
    let read = read(&[&file]).remove(0);
    // Half a container's label may be another one's.
    assert_eq!((&read["container"], &read["specimens"]), (&Value::Null, &json!([])));
    assert!(read["frame_of_reference"].as_str().unwrap().starts_with("2.25."));
    assert_eq!((&read["lossy"], &read["ratio"]), (&json!("01"), &json!([])));
    assert_valid(&file, &known());
}
