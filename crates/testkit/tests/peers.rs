//! The Python clients, proved on Orthanc before they judge us.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use overread_testkit::tools::{dciodvfy_errors, interpreter, python, workspace};
use overread_testkit::{Orthanc, samples};

#[test]
fn ohif_and_dicomweb_client_can_work_with_orthanc() {
    let (folder, orthanc) = (tempfile::tempdir().unwrap(), Orthanc::start());
    let mut made = samples::ct(folder.path(), "peers", 1, 2);
    made.extend(samples::children(folder.path(), "peers", 1));
    made.extend(samples::cine(folder.path(), "peers", 1));
    let mut args = vec![orthanc.dicomweb()];
    args.extend(made.iter().map(|s| s.path.display().to_string()));
    assert!(python("dicomweb_second_client.py", &args).contains("\"compared\": 4"));
    // Orthanc's plugin of Debian 12 has no thumbnails.
    let seen = python("dicomweb_ohif.py", &[&orthanc.dicomweb(), "--without", "thumbnail"]);
    let seen: serde_json::Value = serde_json::from_str(&seen).unwrap();
    assert_eq!(seen["studies"].as_array().unwrap().len(), 3);
}

#[test]
fn ohifs_calls_complain_where_a_server_falls_short() {
    let (folder, orthanc) = (tempfile::tempdir().unwrap(), Orthanc::start());
    let script = workspace().join("tests/peers/dicomweb_ohif.py");
    let complaints = || {
        let output =
            std::process::Command::new(interpreter()).arg(&script).arg(orthanc.dicomweb()).output().unwrap();
        assert!(!output.status.success());
        String::from_utf8(output.stderr).unwrap()
    };
    assert!(complaints().contains("the list is empty"));
    orthanc.upload(&samples::children(folder.path(), "short", 1)[0].path);
    assert!(complaints().contains("thumbnail: 404"));
}

#[test]
fn made_radiographs_and_slices_are_valid() {
    let folder = tempfile::tempdir().unwrap();
    let mut made = samples::ct(folder.path(), "valid", 1, 1);
    made.extend(samples::children(folder.path(), "valid", 1));
    for sample in made {
        assert_eq!(dciodvfy_errors(&sample.path), Vec::<String>::new());
    }
}
