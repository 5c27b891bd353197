//! STOW-RS: what is stored, what is refused, and what hostile and interrupted senders leave behind: nothing.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod support;

use axum::body::{Body, Bytes};
use axum::http::StatusCode;
use overread_dicomweb::{FailureReason, Limits, StoreOutcome};
use support::{FORM, Folder, bytes_of, form, holding, path, post};

const CT: &str = "693_UNCR.dcm";
const RADIOGRAPH: &str = "RG1_UNCR.dcm";
const FRAGMENTS: &str = "emri_small_RLE.dcm";

#[tokio::test]
async fn objects_arrive_as_they_were_sent() {
    let folder = Folder::new(Limits::default());
    let router = folder.router();
    let (ct, radiograph) = (bytes_of(CT), bytes_of(RADIOGRAPH));
    let answer = post(&router, "/studies", FORM, form(&[ct.clone(), radiograph.clone()])).await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(answer.kind(), "application/dicom+json");
    let stored = answer.json()["00081199"]["Value"].as_array().unwrap().clone();
    assert_eq!(stored.len(), 2);
    let entry = &folder.entries()[0];
    assert_eq!(stored[0]["00081155"]["Value"][0], entry.instance.as_str());
    let url = stored[0]["00081190"]["Value"][0].as_str().unwrap();
    assert_eq!(url, format!("http://pacs.test:8042/dicom-web{}", path(entry)));
    assert_eq!(std::fs::read(folder.home.path().join("0.dcm")).unwrap(), ct);
    assert_eq!(std::fs::read(folder.home.path().join("1.dcm")).unwrap(), radiograph);
    // Again: a success, and nothing twice.
    assert_eq!(post(&router, "/studies", FORM, form(&[ct])).await.status, StatusCode::OK);
    assert_eq!((folder.count(), folder.staged()), (2, 0));
}

#[tokio::test]
async fn some_and_none() {
    let folder = Folder::new(Limits::default());
    let router = folder.router();
    let cut = |name, less| {
        let whole = bytes_of(name);
        whole[..whole.len() - less].to_vec()
    };
    // Native pixels, a fragment, and nothing but the delimiter after the last fragment.
    let cuts = [cut(RADIOGRAPH, 1_000_000), cut(FRAGMENTS, 100), cut(FRAGMENTS, 8)];
    let sent = form(&[&[bytes_of(CT), b"no image".to_vec()][..], &cuts].concat());
    let some = post(&router, "/studies", FORM, sent).await;
    assert_eq!(some.status, StatusCode::ACCEPTED);
    let json = some.json();
    assert_eq!(json["00081199"]["Value"].as_array().unwrap().len(), 1);
    assert_eq!(json["0008119A"]["Value"][0]["00081197"]["Value"][0], 0xC000);
    // What was cut could be named.
    let failed = json["00081198"]["Value"].as_array().unwrap();
    assert_eq!(failed.len(), cuts.len());
    for one in failed {
        assert_eq!(one["00081197"]["Value"][0], 0xC000);
        assert!(one["00081155"]["Value"][0].is_string());
    }
    let none = post(&router, "/studies/1.2.3", FORM, form(&[bytes_of(CT)])).await;
    assert_eq!(none.status, StatusCode::CONFLICT);
    assert_eq!(none.json()["00081198"]["Value"][0]["00081197"]["Value"][0], 0xA900);
    let study = folder.entries()[0].study.clone();
    let right = post(&router, &format!("/studies/{study}"), FORM, form(&[bytes_of(CT)])).await;
    assert_eq!(right.status, StatusCode::OK);
    assert_eq!((folder.count(), folder.staged()), (1, 0));
}

#[tokio::test]
async fn the_archives_word_is_passed_on() {
    let folder = Folder::new(Limits::default());
    let router = folder.router();
    let body = || form(&[bytes_of(CT), bytes_of(RADIOGRAPH)]);
    *folder.forced.lock().unwrap() = vec![StoreOutcome::Full, StoreOutcome::Full];
    let full = post(&router, "/studies", FORM, body()).await;
    assert_eq!(full.status, StatusCode::INSUFFICIENT_STORAGE);
    assert_eq!(full.json()["00081198"]["Value"][1]["00081197"]["Value"][0], 0xA700);
    let refused = StoreOutcome::Failed(FailureReason::SopClassNotSupported);
    *folder.forced.lock().unwrap() = vec![refused, StoreOutcome::StoredWith(0xB007)];
    let mixed = post(&router, "/studies", FORM, body()).await;
    assert_eq!(mixed.status, StatusCode::ACCEPTED);
    assert_eq!(mixed.json()["00081198"]["Value"][0]["00081197"]["Value"][0], 0x0122);
    assert_eq!(mixed.json()["00081199"]["Value"][0]["00081196"]["Value"][0], 0xB007);
    assert_eq!((folder.count(), folder.staged()), (0, 0));
}

#[tokio::test]
async fn media_types_and_malformed_bodies() {
    let folder = Folder::new(Limits::default());
    let router = folder.router();
    let whole = form(&[bytes_of(CT)]);
    for (kind, body, status) in [
        ("text/plain", whole.clone(), StatusCode::UNSUPPORTED_MEDIA_TYPE),
        ("", whole.clone(), StatusCode::UNSUPPORTED_MEDIA_TYPE),
        (
            "multipart/related; type=\"application/dicom+json\"; boundary=edge",
            whole.clone(),
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
        ),
        ("multipart/related; type=\"application/dicom\"", whole.clone(), StatusCode::BAD_REQUEST),
        ("multipart/related; boundary=other", whole.clone(), StatusCode::BAD_REQUEST),
        (FORM, whole[..whole.len() - 12].to_vec(), StatusCode::BAD_REQUEST),
        (FORM, whole[..20].to_vec(), StatusCode::BAD_REQUEST),
        (FORM, b"--edge--".to_vec(), StatusCode::BAD_REQUEST),
        (FORM, Vec::new(), StatusCode::BAD_REQUEST),
    ] {
        let answer = post(&router, "/studies", kind, body).await;
        assert_eq!(answer.status, status, "{kind}");
        assert_eq!(answer.kind(), "application/problem+json");
        assert_eq!(answer.json()["status"], status.as_u16());
    }
    assert_eq!((folder.count(), folder.staged()), (0, 0));
}

#[tokio::test]
async fn a_sender_that_breaks_off_leaves_nothing() {
    let folder = Folder::new(Limits { batch: 1, ..Limits::default() });
    let router = folder.router();
    let whole = form(&[bytes_of(CT), bytes_of(RADIOGRAPH)]);
    let first = whole.len() - 1_000_000;
    let pieces = whole[..first].chunks(64 * 1024).map(|c| Ok(Bytes::copy_from_slice(c))).collect::<Vec<_>>();
    let broken = pieces.into_iter().chain([Err(std::io::Error::other("gone"))]);
    let answer = post(&router, "/studies", FORM, Body::from_stream(futures::stream::iter(broken))).await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
    // What was complete before is stored and said so; of the rest there is nothing.
    assert!(answer.json()["detail"].as_str().unwrap().ends_with("1 objects before that are stored"));
    assert_eq!((folder.count(), folder.staged()), (1, 0));
}

#[tokio::test]
async fn a_silent_sender_is_let_go() {
    let folder = Folder::new(Limits { idle: std::time::Duration::from_millis(50), ..Limits::default() });
    let start = Bytes::from(form(&[bytes_of(RADIOGRAPH)])[..3_000_000].to_vec());
    let silent = futures::StreamExt::chain(
        futures::stream::iter([Ok::<_, std::io::Error>(start)]),
        futures::stream::pending(),
    );
    let answer = post(&folder.router(), "/studies", FORM, Body::from_stream(silent)).await;
    assert_eq!(answer.status, StatusCode::REQUEST_TIMEOUT);
    assert_eq!((folder.count(), folder.staged()), (0, 0));
}

#[tokio::test]
async fn limits_are_kept() {
    let ct = bytes_of(CT);
    let few = Limits {
        body_bytes: 3 * ct.len() as u64,
        object_bytes: ct.len() as u64,
        parts: 3,
        ..Limits::default()
    };
    let folder = Folder::new(few);
    let router = folder.router();
    let tiny = vec![b"x".to_vec(); 4];
    for body in [form(&tiny), form(&[[ct.clone(), vec![0]].concat()]), vec![b'-'; 4 * ct.len()]] {
        let answer = post(&router, "/studies", FORM, body).await;
        assert_eq!(answer.status, StatusCode::PAYLOAD_TOO_LARGE);
    }
    assert_eq!(post(&router, "/studies", FORM, form(&[ct])).await.status, StatusCode::OK);
    assert_eq!((folder.count(), folder.staged()), (1, 0));
}

#[tokio::test]
async fn ten_thousand_tiny_parts_are_ten_thousand_refusals() {
    let folder = Folder::new(Limits::default());
    let answer = post(&folder.router(), "/studies", FORM, form(&vec![Vec::new(); 10_000])).await;
    assert_eq!(answer.status, StatusCode::CONFLICT);
    assert_eq!(answer.json()["0008119A"]["Value"].as_array().unwrap().len(), 10_000);
    assert_eq!((folder.count(), folder.staged()), (0, 0));
}

#[tokio::test]
async fn many_objects_come_in_batches() {
    let folder = Folder::new(Limits { batch: 2, ..Limits::default() });
    let names = [CT, RADIOGRAPH, "MR2_UNCR.dcm", "US1_UNCR.dcm", "RG3_UNCR.dcm"];
    let body = form(&names.map(bytes_of));
    let answer = post(&folder.router(), "/studies", FORM, body).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.json());
    assert_eq!(*folder.batches.lock().unwrap(), [2, 2, 1]);
    assert_eq!(folder.count(), 5);
}

#[tokio::test]
async fn a_broken_disk_is_our_fault() {
    let (folder, router) = holding(&[]).await;
    std::fs::remove_dir(folder.home.path().join("staging")).unwrap();
    let answer = post(&router, "/studies", FORM, form(&[bytes_of(CT)])).await;
    assert_eq!(answer.status, StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!(folder.count(), 0);
}
