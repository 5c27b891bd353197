//! The client that the field uses, over a socket: the Python package `dicomweb-client`, its pixels compared with pydicom's.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod support;

use std::path::Path;

use overread_dicomweb::Limits;
use support::{Folder, sample, tools};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dicomweb_client_finds_what_it_stored() {
    let folder = Folder::new(Limits::default());
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let origin = format!("http://{}", listener.local_addr().unwrap());
    let url = format!("{origin}/dicom-web");
    let router = folder.router_at(origin);
    let serving = tokio::spawn(async move { axum::serve(listener, router).await });
    let names = [
        "693_UNCR.dcm",
        "RG1_UNCR.dcm",
        "color3d_jpeg_baseline.dcm",
        "MR2_J2KR.dcm",
        "gdcm-US-ALOKA-16_big.dcm",
        "emri_small_RLE.dcm",
        "JPEG-LL.dcm",
        "SC_rgb.dcm",
    ];
    let python = tools().join("venv/bin/python");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/peers/dicomweb.py");
    let output = tokio::process::Command::new(&python)
        .arg(&script)
        .arg(&url)
        .args(names.map(sample))
        .kill_on_drop(true)
        .output()
        .await
        .unwrap_or_else(|e| panic!("{}: {e}; run ./x setup", python.display()));
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(said.trim(), format!("{} instances agree", names.len()));
    assert_eq!((folder.count(), folder.staged()), (names.len(), 0));
    serving.abort();
}
