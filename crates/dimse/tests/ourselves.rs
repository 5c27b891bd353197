//! Requestor against acceptor: what arrives is what was sent, and each failure names its side.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod common;

use std::path::Path;
use std::sync::atomic::Ordering;
use std::time::Duration;

use common::{CT, ae, config, data_set, peer, slice, start, wait_for};
use dicom_dictionary_std::uids;
use overread_dimse::{
    CommitmentAnswer, DimseError, Rejection, Sender, StoreStatus, contexts_of, echo, request_commitment,
    tls_client, tls_server,
};
use overread_domain::{Side, Uid};

fn uid(text: &str) -> Uid {
    Uid::parse(text).unwrap()
}

fn send(port: u16, files: &[&Path]) -> Result<Vec<u16>, DimseError> {
    let mut sender = Sender::connect(&peer(port), &contexts_of(files)?)?;
    let statuses = files.iter().map(|file| sender.store(file)).collect::<Result<_, _>>()?;
    sender.release()?;
    Ok(statuses)
}

#[test]
fn what_arrives_is_what_was_sent_and_twice_the_same_is_the_same_file() {
    let (scp, keeper) = start(config());
    let folder = tempfile::tempdir().unwrap();
    let explicit = slice(folder.path(), 1, uids::EXPLICIT_VR_LITTLE_ENDIAN);
    let implicit = slice(folder.path(), 2, uids::IMPLICIT_VR_LITTLE_ENDIAN);
    let files = [explicit.as_path(), implicit.as_path(), explicit.as_path()];
    assert_eq!(send(scp.address().port(), &files).unwrap(), [0, 0, 0]);
    let kept = keeper.kept.lock().unwrap().clone();
    assert_eq!(kept.len(), 3);
    for (kept, sent) in kept.iter().zip(files) {
        assert!(data_set(&kept.file) == data_set(&std::fs::read(sent).unwrap()), "the data set changed");
        let object = dicom_object::from_reader(&kept.file[128..]).unwrap();
        assert_eq!(object.meta().media_storage_sop_instance_uid(), kept.sop_instance);
        assert_eq!(object.meta().transfer_syntax(), kept.transfer_syntax);
    }
    assert_eq!(kept[0].sha256, kept[2].sha256);
    assert_ne!(kept[0].sha256, kept[1].sha256);
    assert_eq!(kept[0].from.calling, ae("TESTER"));
    assert_eq!(kept[0].from.called, ae("OVERREAD"));
    // What the receiver did not take is removed.
    assert_eq!(keeper.staged(), 0);
}

#[test]
fn an_object_larger_than_any_buffer_streams_through() {
    let (scp, keeper) = start(config());
    let mut sender = Sender::connect(
        &peer(scp.address().port()),
        &[(uid(CT), vec![uids::IMPLICIT_VR_LITTLE_ENDIAN.into()])],
    )
    .unwrap();
    let mut head = Vec::new();
    for (element, value) in [(0x16u8, CT.as_bytes()), (0x18, b"1.2.3\0".as_slice())] {
        head.extend([8, 0, element, 0]);
        let padded = value.len() + value.len() % 2;
        head.extend(u32::try_from(padded).unwrap().to_le_bytes());
        head.extend(value);
        head.resize(head.len() + padded - value.len(), 0);
    }
    let pixels: Vec<u8> =
        (0..20_000_000u32).map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()[3]).collect();
    head.extend([0xe0, 0x7f, 0x10, 0x00]);
    head.extend(u32::try_from(pixels.len()).unwrap().to_le_bytes());
    let syntax = uids::IMPLICIT_VR_LITTLE_ENDIAN;
    assert_eq!(sender.store_pieces(&uid(CT), &uid("1.2.3"), syntax, &[&head, &pixels]).unwrap(), 0);
    sender.release().unwrap();
    let kept = keeper.kept.lock().unwrap();
    let (sent_head, sent_pixels) = data_set(&kept[0].file).split_at(head.len());
    assert!(sent_head == head && sent_pixels == pixels, "the data set changed");
}

#[test]
fn refusals_reach_the_sender_and_leave_nothing_behind() {
    let (scp, keeper) = start(config());
    let folder = tempfile::tempdir().unwrap();
    let file = slice(folder.path(), 1, uids::EXPLICIT_VR_LITTLE_ENDIAN);
    let mut sender =
        Sender::connect(&peer(scp.address().port()), &contexts_of(&[file.as_path()]).unwrap()).unwrap();
    *keeper.early.lock().unwrap() = Some(StoreStatus::OutOfResources);
    assert_eq!(sender.store(&file).unwrap(), 0xA700);
    *keeper.early.lock().unwrap() = None;
    // Recovers by itself, on the same association.
    assert_eq!(sender.store(&file).unwrap(), 0);
    // The command says another instance than the data set.
    let bytes = std::fs::read(&file).unwrap();
    let syntax = uids::EXPLICIT_VR_LITTLE_ENDIAN;
    let pieces = [data_set(&bytes)];
    assert_eq!(sender.store_pieces(&uid(CT), &uid("1.2.3"), syntax, &pieces).unwrap(), 0xA900);
    // No SOP Instance UID, no data set to speak of, nothing at all.
    assert_eq!(sender.store_pieces(&uid(CT), &uid("1.2.3"), syntax, &[&[0xff; 5000]]).unwrap(), 0xC000);
    assert_eq!(sender.store_pieces(&uid(CT), &uid("1.2.3"), syntax, &[]).unwrap(), 0xC000);
    sender.release().unwrap();
    assert_eq!((keeper.count(), keeper.staged()), (1, 0));
}

#[test]
fn an_object_over_the_limit_is_refused_and_the_association_ends() {
    let (scp, keeper) = start(overread_dimse::ScpConfig { max_object_bytes: 5000, ..config() });
    let folder = tempfile::tempdir().unwrap();
    let file = slice(folder.path(), 1, uids::EXPLICIT_VR_LITTLE_ENDIAN);
    let mut sender =
        Sender::connect(&peer(scp.address().port()), &contexts_of(&[file.as_path()]).unwrap()).unwrap();
    assert_eq!(sender.store(&file).unwrap(), 0xA700);
    assert!(matches!(sender.store(&file), Err(DimseError::Aborted { .. } | DimseError::Broken { .. })));
    assert_eq!((keeper.count(), keeper.staged()), (0, 0));
}

#[test]
fn a_disk_that_fails_is_no_success_and_passes() {
    // A folder that went away stands for a disk that fails.
    let (scp, keeper) = start(config());
    let folder = tempfile::tempdir().unwrap();
    let file = slice(folder.path(), 1, uids::EXPLICIT_VR_LITTLE_ENDIAN);
    std::fs::remove_dir(keeper.folder.path()).unwrap();
    assert_eq!(send(scp.address().port(), &[&file]).unwrap(), [0x0110]);
    std::fs::create_dir(keeper.folder.path()).unwrap();
    assert_eq!(send(scp.address().port(), &[&file]).unwrap(), [0]);
}

#[test]
fn a_panic_ends_one_association_and_not_the_server() {
    let (scp, keeper) = start(config());
    let folder = tempfile::tempdir().unwrap();
    let file = slice(folder.path(), 1, uids::EXPLICIT_VR_LITTLE_ENDIAN);
    keeper.panics.store(true, Ordering::SeqCst);
    assert!(matches!(send(scp.address().port(), &[&file]), Err(DimseError::Broken { .. })));
    keeper.panics.store(false, Ordering::SeqCst);
    assert_eq!(send(scp.address().port(), &[&file]).unwrap(), [0]);
    wait_for("both associations are gone", || scp.open_associations() == 0);
    assert_eq!(keeper.staged(), 0);
}

#[test]
fn each_failure_names_its_side() {
    let (scp, _keeper) = start(overread_dimse::ScpConfig { calling: vec![ae("TESTER")], ..config() });
    let port = scp.address().port();
    let answer = echo(&peer(port)).unwrap();
    assert_eq!(answer.implementation_class.as_deref(), Some(overread_dimse::IMPLEMENTATION_CLASS_UID));
    assert_eq!(answer.implementation_version.as_deref(), Some("OVERREAD"));

    let error = echo(&overread_dimse::Peer { ae_title: ae("SOMEONE"), ..peer(port) }).unwrap_err();
    assert!(matches!(error, DimseError::Rejected { rejection: Rejection::CalledAeTitle, .. }), "{error}");
    assert_eq!(error.side(), Side::Ours);
    let error = echo(&overread_dimse::Peer { our_ae_title: ae("STRANGER"), ..peer(port) }).unwrap_err();
    assert!(matches!(error, DimseError::Rejected { rejection: Rejection::CallingAeTitle, .. }), "{error}");
    assert_eq!(error.side(), Side::Peers);
    let error = echo(&peer(overread_testkit::free_port())).unwrap_err();
    assert!(matches!(error, DimseError::Refused { .. }), "{error}");
    let error =
        echo(&overread_dimse::Peer { host: "no-such-host.invalid".to_owned(), ..peer(port) }).unwrap_err();
    assert!(matches!(error, DimseError::Resolve { .. }), "{error}");
    let find = uid(uids::STUDY_ROOT_QUERY_RETRIEVE_INFORMATION_MODEL_FIND);
    let error =
        Sender::connect(&peer(port), &[(find, vec![uids::IMPLICIT_VR_LITTLE_ENDIAN.into()])]).err().unwrap();
    assert!(matches!(error, DimseError::NoContext { .. }), "{error}");
    // Somebody listens, and says nothing.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let quick = overread_dimse::Peer {
        answer: Duration::from_millis(200),
        ..peer(silent.local_addr().unwrap().port())
    };
    let error = echo(&quick).unwrap_err();
    assert!(matches!(error, DimseError::TimedOut { .. }), "{error}");
    assert!(error.is_passing());
    // Commitment is not offered here.
    let asked = request_commitment(&peer(port), &uid("2.25.1"), &[], Duration::ZERO);
    assert!(matches!(asked, Err(DimseError::NoContext { .. })));
    assert_ne!(asked.ok(), Some(CommitmentAnswer::Requested));
}

#[test]
fn tls_is_spoken_with_whom_we_trust() {
    let ours = overread_testkit::certificates();
    let others = overread_testkit::certificates();
    let server = |client_authority: Option<&str>| {
        let tls =
            tls_server(ours.certificate.as_bytes(), ours.key.as_bytes(), client_authority.map(str::as_bytes));
        start(overread_dimse::ScpConfig { tls: Some(tls.unwrap()), ..config() })
    };
    let client = |authority: &str, identity: Option<(&[u8], &[u8])>, port: u16| overread_dimse::Peer {
        tls: Some(tls_client(authority.as_bytes(), identity).unwrap()),
        ..peer(port)
    };
    let folder = tempfile::tempdir().unwrap();
    let file = slice(folder.path(), 1, uids::EXPLICIT_VR_LITTLE_ENDIAN);
    let (scp, keeper) = server(None);
    let port = scp.address().port();
    let good = client(&ours.authority, None, port);
    echo(&good).unwrap();
    let mut sender = Sender::connect(&good, &contexts_of(&[file.as_path()]).unwrap()).unwrap();
    assert_eq!(sender.store(&file).unwrap(), 0);
    sender.release().unwrap();
    assert!(data_set(&keeper.kept.lock().unwrap()[0].file) == data_set(&std::fs::read(&file).unwrap()));

    let error = echo(&client(&others.authority, None, port)).unwrap_err();
    assert!(matches!(error, DimseError::Tls { side: Side::Either, .. }), "{error}");
    // We speak TLS, the peer does not; and the other way round.
    let (plain, _keeper) = start(config());
    let error = echo(&client(&ours.authority, None, plain.address().port())).unwrap_err();
    assert!(matches!(error, DimseError::Tls { .. }), "{error}");
    let error = echo(&peer(port)).unwrap_err();
    assert!(matches!(error, DimseError::Tls { side: Side::Ours, .. }), "{error}");
    // The peer wants a certificate.
    let (strict, _keeper) = server(Some(&ours.authority));
    let port = strict.address().port();
    let identity = Some((ours.certificate.as_bytes(), ours.key.as_bytes()));
    echo(&client(&ours.authority, identity, port)).unwrap();
    let error = echo(&client(&ours.authority, None, port)).unwrap_err();
    assert!(matches!(error, DimseError::Tls { side: Side::Ours, .. }), "{error}");
    assert!(matches!(tls_server(b"", b"", None), Err(DimseError::TlsMaterial { .. })));
}

#[test]
fn stopping_ends_idle_associations_and_frees_the_port() {
    let (scp, keeper) = start(config());
    let folder = tempfile::tempdir().unwrap();
    let file = slice(folder.path(), 1, uids::EXPLICIT_VR_LITTLE_ENDIAN);
    let mut sender =
        Sender::connect(&peer(scp.address().port()), &contexts_of(&[file.as_path()]).unwrap()).unwrap();
    assert_eq!(sender.store(&file).unwrap(), 0);
    scp.stop(Duration::from_secs(20));
    assert_eq!(scp.open_associations(), 0);
    assert!(sender.store(&file).is_err());
    assert!(matches!(echo(&peer(scp.address().port())), Err(DimseError::Refused { .. })));
    assert_eq!(keeper.count(), 1);
    scp.stop(Duration::from_secs(20));
}
