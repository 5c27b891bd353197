//! A mixed folder: for each study, which program read it and why, or why none did.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod support;

use serde_json::{Value, json};
use support::{children, overread, results, run, samples, text};

fn of<'a>(answer: &'a Value, program: &str) -> &'a Value {
    answer["considered"].as_array().unwrap().iter().find(|c| c["program"] == program).unwrap()
}

#[test]
fn each_study_says_which_program_took_it_and_why_the_others_did_not() {
    let folder = tempfile::tempdir().unwrap();
    let input = folder.path().join("in");
    std::fs::create_dir(&input).unwrap();
    for name in ["RG1_UNCR.dcm", "color3d_jpeg_baseline.dcm"] {
        std::fs::copy(samples().join("data_store/data").join(name), input.join(name)).unwrap();
    }
    std::fs::copy(&children()[0], input.join("child.jpeg")).unwrap();
    std::fs::write(input.join("note.dcm"), b"no image").unwrap();
    let out = folder.path().join("out");
    let mut command = overread();
    command.arg("classify").arg(&input).args(["--format", "jsonl", "--no-explain", "--out"]).arg(&out);
    let output = run(&mut command);
    let answers = results(&output);
    let answer = |end: &str| answers.iter().find(|a| a["source"].as_str().unwrap().ends_with(end)).unwrap();
    // Ultrasound: no program but one for research, which was not asked.
    let cine = answer("baseline.dcm");
    assert_eq!(cine["reason"]["code"], "no-program");
    let chest = of(cine, "cxr-pneumonia");
    assert_eq!(
        (&chest["taken"], chest["why"].as_str().unwrap().ends_with("this image states US")),
        (&json!(false), true),
        "{chest}"
    );
    assert!(of(cine, "echo-regurgitation")["why"].as_str().unwrap().contains("research"));
    // A photograph: all programs for photographs were asked; those to which it is strange say so.
    let child = answer("child.jpeg");
    assert_eq!(child["results"].as_array().unwrap().len(), 1);
    let taken = of(child, child["results"][0]["program"].as_str().unwrap());
    assert!(taken["taken"] == true && taken["why"].as_str().unwrap().contains("photograph"), "{taken}");
    assert!(of(child, "skin-lesion")["why"].as_str().unwrap().contains("does not look like"), "{child}");
    // A radiograph of a modality that is read.
    let chest = of(answer("RG1_UNCR.dcm"), "cxr-pneumonia");
    assert!(chest["why"].as_str().is_some_and(|why| !why.is_empty()));
    // What is no image has nothing to be asked about.
    assert_eq!(answer("note.dcm")["considered"], json!([]));
    let page = std::fs::read_to_string(out.join("index.html")).unwrap();
    assert!(
        page.contains("read other modalities") && page.contains("cxr-pneumonia did not read it"),
        "{page}"
    );
    let table = text(&run(overread().arg("classify").arg(input.join("color3d_jpeg_baseline.dcm"))).stdout);
    assert!(table.contains("programs read other modalities"), "{table}");
}
