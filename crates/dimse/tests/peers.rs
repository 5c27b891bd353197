//! Against peers of other makers: DCMTK both ways, plain and in TLS, and pynetdicom for storage commitment.
#![allow(clippy::type_complexity, reason = "files with what they need negotiated")]
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod common;

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use common::{CT, config, data_set, peer, slice, start, wait_for};
use dicom_dictionary_std::uids;
use overread_dimse::{
    CommitmentAnswer, Peer, ScpConfig, Sender, contexts_of, echo, request_commitment, tls_client, tls_server,
};
use overread_domain::Uid;
use overread_testkit::tools::{PythonService, python_service};

/// A program that ends with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn run(program: &str, arguments: &[&str]) -> (bool, String) {
    let output = Command::new(program).args(arguments).output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&said).into_owned())
}

fn tools() -> PathBuf {
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.tools");
    std::env::var_os("OVERREAD_TOOLS").map_or(own, PathBuf::from)
}

#[test]
fn echoscu_is_answered_and_wrong_titles_are_refused_in_words() {
    let (scp, _keeper) = start(ScpConfig { calling: vec![common::ae("MODALITY")], ..config() });
    let port = scp.address().port().to_string();
    let (ok, said) = run("echoscu", &["-aet", "MODALITY", "-aec", "OVERREAD", "127.0.0.1", &port]);
    assert!(ok, "{said}");
    let (ok, said) = run("echoscu", &["-aet", "MODALITY", "-aec", "SOMEONE", "127.0.0.1", &port]);
    assert!(!ok && said.contains("Called AE Title Not Recognized"), "{said}");
    let (ok, said) = run("echoscu", &["-aet", "STRANGER", "-aec", "OVERREAD", "127.0.0.1", &port]);
    assert!(!ok && said.contains("Calling AE Title Not Recognized"), "{said}");
}

#[test]
fn many_storescu_at_once_lose_nothing() {
    let (scp, keeper) = start(config());
    let port = scp.address().port().to_string();
    let folder = tempfile::tempdir().unwrap();
    for instance in 1..=20 {
        slice(folder.path(), instance, uids::EXPLICIT_VR_LITTLE_ENDIAN);
    }
    let folder_name = folder.path().to_str().unwrap();
    std::thread::scope(|scope| {
        for preference in ["-x=", "-xi", "-xe", "-xb", "-xd"] {
            let port = port.as_str();
            scope.spawn(move || {
                let arguments = ["-aec", "OVERREAD", preference, "127.0.0.1", port, "+sd", "+r", folder_name];
                let (ok, said) = run("storescu", &arguments);
                assert!(ok && !said.contains("E:"), "{preference}: {said}");
            });
        }
    });
    let kept = keeper.kept.lock().unwrap();
    assert_eq!(kept.len(), 100);
    let mut syntaxes: Vec<_> = kept.iter().map(|kept| kept.transfer_syntax.as_str()).collect();
    syntaxes.sort_unstable();
    syntaxes.dedup();
    assert!(syntaxes.len() >= 3, "storescu was to encode in several ways: {syntaxes:?}");
    for kept in kept.iter().filter(|kept| kept.transfer_syntax != uids::DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN) {
        let object = dicom_object::from_reader(&kept.file[128..]).unwrap();
        let pixels = object.element(dicom_dictionary_std::tags::PIXEL_DATA).unwrap();
        assert_eq!(pixels.value().to_multi_int::<u16>().unwrap(), (0..4096).collect::<Vec<u16>>());
    }
    assert_eq!(keeper.staged(), 0);
}

#[test]
fn real_objects_of_every_kind_arrive_bit_for_bit() {
    let samples = tools().join("samples/data_store/data");
    let mut files: Vec<PathBuf> = std::fs::read_dir(&samples)
        .unwrap_or_else(|e| panic!("{}: {e}; run ./x setup", samples.display()))
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "dcm"))
        .collect();
    files.sort();
    assert!(files.len() > 40, "{} is not complete; run ./x setup", samples.display());
    let (scp, keeper) = start(config());
    // Files without a proper meta group cannot be sent by anybody.
    files.retain(|path| contexts_of(&[path.as_path()]).is_ok());
    assert!(files.len() > 40);
    let mut arrived = 0;
    files.retain(|path| {
        let contexts = contexts_of(&[path.as_path()]).unwrap();
        let mut sender = Sender::connect(&peer(scp.address().port()), &contexts).unwrap();
        let status = sender.store(path).unwrap();
        sender.release().unwrap();
        if status == 0 {
            let kept = keeper.kept.lock().unwrap();
            let sent = std::fs::read(path).unwrap();
            assert!(data_set(&kept.last().unwrap().file) == data_set(&sent), "{}", path.display());
            arrived += 1;
        } else {
            // Some samples contradict their own meta group, and that is what they are refused for.
            assert!(status == 0xA900 || status == 0xC000, "{}: {status:04X}", path.display());
        }
        status != 0
    });
    assert!(arrived > 40, "only {arrived} arrived, refused were {files:?}");
}

fn storescp(folder: &Path, more: &[&str]) -> (Running, Peer) {
    let port = overread_testkit::free_port();
    let child = Command::new("storescp")
        .args(["-aet", "OVERREAD", "+xa", "-od", folder.to_str().unwrap()])
        .args(more)
        .arg(port.to_string())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let running = Running(child);
    wait_for("storescp listens", || std::net::TcpStream::connect(("127.0.0.1", port)).is_ok());
    (running, peer(port))
}

#[test]
fn storescp_takes_what_we_send() {
    let target = tempfile::tempdir().unwrap();
    let (_running, peer) = storescp(target.path(), &["--fork"]);
    echo(&peer).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let files: Vec<PathBuf> = (1..=6)
        .map(|instance| {
            let explicit = instance % 2 == 0;
            let syntax =
                if explicit { uids::EXPLICIT_VR_LITTLE_ENDIAN } else { uids::IMPLICIT_VR_LITTLE_ENDIAN };
            slice(folder.path(), instance, syntax)
        })
        .collect();
    let paths: Vec<&Path> = files.iter().map(PathBuf::as_path).collect();
    let mut sender = Sender::connect(&peer, &contexts_of(&paths).unwrap()).unwrap();
    for path in &paths {
        assert_eq!(sender.store(path).unwrap(), 0);
    }
    sender.release().unwrap();
    wait_for("six files are there", || std::fs::read_dir(target.path()).unwrap().count() == 6);
}

#[test]
fn dcmtk_speaks_tls_with_us_both_ways() {
    let ours = overread_testkit::certificates();
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let (key, certificate, authority) = (
        write("key.pem", &ours.key),
        write("certificate.pem", &ours.certificate),
        write("ca.pem", &ours.authority),
    );
    let tls = tls_server(ours.certificate.as_bytes(), ours.key.as_bytes(), Some(ours.authority.as_bytes()));
    let (scp, keeper) = start(ScpConfig { tls: Some(tls.unwrap()), ..config() });
    let port = scp.address().port().to_string();
    let file = slice(folder.path(), 1, uids::EXPLICIT_VR_LITTLE_ENDIAN);
    let secure = ["+tls", &key, &certificate, "+cf", &authority];
    let (ok, said) = run("echoscu", &[&secure[..], &["-aec", "OVERREAD", "localhost", &port]].concat());
    assert!(ok, "{said}");
    let store = [&secure[..], &["-aec", "OVERREAD", "localhost", &port, file.to_str().unwrap()]].concat();
    let (ok, said) = run("storescu", &store);
    assert!(ok, "{said}");
    assert_eq!(keeper.count(), 1);

    let target = tempfile::tempdir().unwrap();
    let (_running, plain) = storescp(target.path(), &[&secure[..], &["--fork"]].concat());
    let identity = Some((ours.certificate.as_bytes(), ours.key.as_bytes()));
    let tls = Some(tls_client(ours.authority.as_bytes(), identity).unwrap());
    let peer = Peer { tls, host: "localhost".to_owned(), ..plain };
    echo(&peer).unwrap();
    let mut sender = Sender::connect(&peer, &contexts_of(&[file.as_path()]).unwrap()).unwrap();
    assert_eq!(sender.store(&file).unwrap(), 0);
    sender.release().unwrap();
    wait_for("the file is there", || std::fs::read_dir(target.path()).unwrap().count() == 1);
}

/// A commitment SCP of pynetdicom at a port; it reports to `report_port`, or on the association that asked.
fn commitment_scp(report_port: u16) -> (PythonService, u16) {
    let port = overread_testkit::free_port();
    (python_service("commitment_scp.py", &[port.to_string(), report_port.to_string()]), port)
}

fn objects() -> Vec<(Uid, Uid)> {
    ["1.2.3", "1.2.4", "1.2.5"].map(|uid| (Uid::parse(CT).unwrap(), Uid::parse(uid).unwrap())).to_vec()
}

#[test]
fn commitment_is_reported_on_the_association_that_asked() {
    let (_running, port) = commitment_scp(0);
    let transaction = Uid::parse("2.25.77").unwrap();
    let answer = request_commitment(&peer(port), &transaction, &objects(), Duration::from_secs(20)).unwrap();
    let CommitmentAnswer::ReportedNow(report) = answer else { panic!("no report came") };
    assert_eq!(report.transaction, transaction);
    assert_eq!(report.committed, objects()[..2]);
    assert_eq!(report.failed.len(), 1);
    assert_eq!((&report.failed[0].sop_instance, report.failed[0].reason), (&objects()[2].1, 0x0112));
}

#[test]
fn commitment_is_reported_on_an_association_that_the_peer_opens() {
    let (scp, keeper) = start(config());
    let (_running, port) = commitment_scp(scp.address().port());
    let transaction = Uid::parse("2.25.78").unwrap();
    let answer = request_commitment(&peer(port), &transaction, &objects(), Duration::ZERO).unwrap();
    assert_eq!(answer, CommitmentAnswer::Requested);
    wait_for("the report comes", || !keeper.reports.lock().unwrap().is_empty());
    let report = keeper.reports.lock().unwrap()[0].clone();
    assert_eq!(report.transaction, transaction);
    assert_eq!(report.committed, objects()[..2]);
    assert_eq!(report.failed[0].reason, 0x0112);
}
