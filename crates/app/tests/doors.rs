//! The edge's two doors take the same objects and refuse the same ones.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod support;

use std::path::{Path, PathBuf};

use overread_testkit::dcmtk::storescu;
use overread_testkit::http::{Stowed, stow};
use overread_testkit::samples;
use overread_testkit::tools::{python, sample};
use serde_json::json;
use support::edge::Edge;

/// Sends files by C-STORE as they are: one status for each, none without an answer.
fn send_raw(edge: &Edge, files: &[PathBuf]) -> Vec<Option<u16>> {
    let mut args = vec![edge.dimse.port.to_string(), edge.dimse.called.clone()];
    args.extend(files.iter().map(|f| f.display().to_string()));
    serde_json::from_str(&python("send_raw.py", &args)).unwrap()
}

fn stow_files(edge: &Edge, files: &[PathBuf]) -> Stowed {
    let bytes: Vec<Vec<u8>> = files.iter().map(|f| std::fs::read(f).unwrap()).collect();
    stow(&format!("{}/studies", edge.web()), &[], &bytes).unwrap()
}

/// A sample without its last bytes.
fn cut(folder: &Path, name: &str, less: usize) -> PathBuf {
    let whole = std::fs::read(sample(name)).unwrap();
    let path = folder.join(format!("{less}-{name}"));
    std::fs::write(&path, &whole[..whole.len() - less]).unwrap();
    path
}

/// Native pixels, a last fragment, and the delimiter after it.
fn cuts(folder: &Path) -> Vec<PathBuf> {
    [("RG1_UNCR.dcm", 100_000), ("emri_small_RLE.dcm", 100), ("MR2_J2KR.dcm", 8)]
        .map(|(name, less)| cut(folder, name, less))
        .to_vec()
}

fn stored(edge: &Edge) -> usize {
    edge.get("/dicom-web/instances").ok().json().as_array().unwrap().len()
}

#[test]
fn what_was_cut_is_refused_at_both_doors_and_the_rest_is_kept() {
    const CANNOT_UNDERSTAND: u16 = 0xC000;
    let folder = tempfile::tempdir().unwrap();
    let (edge, cuts) = (Edge::start(), cuts(folder.path()));
    let whole = [sample("693_UNCR.dcm"), sample("JPEG-LL.dcm")];
    let mut files = cuts.clone();
    files.insert(1, whole[0].clone());
    let said = stow_files(&edge, &files);
    assert_eq!((said.kept.len(), said.refused.len()), (1, cuts.len()));
    assert!(said.refused.iter().all(|(_, reason)| *reason == CANNOT_UNDERSTAND), "{:?}", said.refused);
    files[1] = whole[1].clone();
    let said = send_raw(&edge, &files);
    assert_eq!(said[1], Some(0));
    for status in [said[0], said[2], said[3]] {
        assert!(status.is_some_and(|s| (0xC000..=0xCFFF).contains(&s)), "{said:?}");
    }
    assert_eq!(stored(&edge), whole.len());
    // Whole, they are taken: nothing of the attempts is in the way.
    let again = ["RG1_UNCR.dcm", "emri_small_RLE.dcm", "MR2_J2KR.dcm"].map(sample).to_vec();
    assert_eq!(stow_files(&edge, &again).kept.len(), again.len());
    assert_eq!(stored(&edge), whole.len() + again.len());
}

#[test]
fn the_same_object_through_both_doors_is_no_conflict() {
    let folder = tempfile::tempdir().unwrap();
    let edge = Edge::start();
    let made: Vec<PathBuf> = samples::ct(folder.path(), "doors", 1, 6).into_iter().map(|s| s.path).collect();
    let conflicts = || edge.get("/api/v1/status").ok().json()["conflicts"].clone();
    // STOW first, C-STORE first, and both at once.
    stow_files(&edge, &made[..2]);
    assert!(storescu(&edge.dimse, &[], &made[..4]).complete);
    stow_files(&edge, &made[2..4]);
    std::thread::scope(|scope| {
        scope.spawn(|| assert!(storescu(&edge.dimse, &[], &made[4..]).complete));
        scope.spawn(|| assert_eq!(stow_files(&edge, &made[4..]).kept.len(), 2));
    });
    assert_eq!((conflicts(), stored(&edge)), (json!(0), made.len()));
    // What was stored first stays as it came.
    let url = edge.get("/dicom-web/instances").json()[0]["00081190"]["Value"][0].as_str().unwrap().to_owned();
    let accept = "multipart/related; type=\"application/dicom\"; transfer-syntax=*";
    let answer = overread_testkit::http::request("GET", &url, &[("accept", accept)], &[]).unwrap().ok();
    let kept = answer.parts().swap_remove(0).body;
    let data_set = |bytes: &[u8]| bytes[bytes.windows(4).position(|w| w == [8, 0, 5, 0]).unwrap()..].to_vec();
    let sent = made.iter().map(|f| std::fs::read(f).unwrap());
    assert!(sent.into_iter().any(|bytes| data_set(&bytes) == data_set(&kept)));
    // Another pixel is another object.
    let mut other = std::fs::read(&made[0]).unwrap();
    *other.last_mut().unwrap() ^= 1;
    std::fs::write(folder.path().join("other.dcm"), other).unwrap();
    stow_files(&edge, &[folder.path().join("other.dcm")]);
    assert_eq!((conflicts(), stored(&edge)), (json!(1), made.len()));
    edge.keeps_to_itself();
    assert!(edge.overread.log().contains("a SOP Instance UID that is taken"), "a conflict is told");
}
