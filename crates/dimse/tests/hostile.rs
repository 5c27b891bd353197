//! Peers that break the rules: each is put out, and the others do not notice.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod common;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use common::{CT, config, peer, slice, start, wait_for};
use dicom_dictionary_std::uids;
use dicom_ul::pdu::{AssociationRQ, Pdu, PresentationContextProposed, UserVariableItem, read_pdu, write_pdu};
use overread_dimse::{DimseError, Rejection, ScpConfig, ScpHandle, Sender, contexts_of, echo};

fn connect(scp: &ScpHandle) -> TcpStream {
    let socket = TcpStream::connect(scp.address()).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    socket
}

/// A raw association for CT images in implicit VR, on presentation context 1.
fn associate(scp: &ScpHandle) -> TcpStream {
    let mut socket = connect(scp);
    let request = AssociationRQ {
        protocol_version: 1,
        calling_ae_title: "HOSTILE".to_owned(),
        called_ae_title: "OVERREAD".to_owned(),
        application_context_name: "1.2.840.10008.3.1.1.1".to_owned(),
        presentation_contexts: vec![PresentationContextProposed {
            id: 1,
            abstract_syntax: CT.to_owned(),
            transfer_syntaxes: vec![uids::IMPLICIT_VR_LITTLE_ENDIAN.to_owned()],
        }],
        user_variables: vec![UserVariableItem::MaxLength(16384)],
    };
    let mut bytes = Vec::new();
    write_pdu(&mut bytes, &Pdu::AssociationRQ(request)).unwrap();
    socket.write_all(&bytes).unwrap();
    assert!(matches!(pdu(&mut socket), Pdu::AssociationAC(_)));
    socket
}

fn pdu(socket: &mut TcpStream) -> Pdu {
    let mut bytes = vec![0; 6];
    socket.read_exact(&mut bytes).unwrap();
    let length = u32::from_be_bytes(bytes[2..6].try_into().unwrap()) as usize;
    bytes.resize(6 + length, 0);
    socket.read_exact(&mut bytes[6..]).unwrap();
    read_pdu(bytes.as_slice(), 1 << 20, true).unwrap().unwrap()
}

/// Everything that the peer still says, until it closes.
fn rest(socket: &mut TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    // A reset is a close as well.
    let _ = socket.read_to_end(&mut bytes);
    bytes
}

/// One P-DATA-TF on context 1.
fn data(control: u8, bytes: &[u8]) -> Vec<u8> {
    let value = u32::try_from(bytes.len() + 2).unwrap();
    let mut pdu = vec![4, 0];
    pdu.extend((value + 4).to_be_bytes());
    pdu.extend(value.to_be_bytes());
    pdu.extend([1, control]);
    pdu.extend(bytes);
    pdu
}

/// A C-STORE-RQ for an instance, as a command set.
fn store(instance: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut put = |element: u16, value: &[u8]| {
        bytes.extend([0, 0]);
        bytes.extend(element.to_le_bytes());
        let padded = value.len() + value.len() % 2;
        bytes.extend(u32::try_from(padded).unwrap().to_le_bytes());
        bytes.extend(value);
        bytes.resize(bytes.len() + padded - value.len(), 0);
    };
    put(0x0002, CT.as_bytes());
    put(0x0100, &1u16.to_le_bytes());
    put(0x0110, &1u16.to_le_bytes());
    put(0x0700, &0u16.to_le_bytes());
    put(0x0800, &1u16.to_le_bytes());
    put(0x1000, instance.as_bytes());
    bytes
}

fn status(response: &Pdu) -> u16 {
    let Pdu::PData { data } = response else { panic!("no P-DATA-TF") };
    let bytes = &data[0].data;
    let at = bytes.windows(8).position(|w| w == [0, 0, 0, 9, 2, 0, 0, 0]).unwrap();
    u16::from_le_bytes([bytes[at + 8], bytes[at + 9]])
}

const ABORT: u8 = 7;

#[test]
fn garbage_is_aborted_before_and_after_negotiation() {
    let (scp, keeper) = start(config());
    for garbage in [
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec(),
        vec![1, 0, 0, 0, 0, 4, 0, 1, 0, 0],
        vec![1, 0, 0xff, 0xff, 0xff, 0xff, 0, 1],
        [vec![1, 0, 0, 0, 0, 200], vec![0xff; 200]].concat(),
        vec![7, 0, 0, 0, 0, 4, 0, 0, 9, 9],
    ] {
        let mut socket = connect(&scp);
        socket.write_all(&garbage).unwrap();
        let said = rest(&mut socket);
        assert_eq!(said.first(), Some(&ABORT), "{garbage:?}");
    }
    for garbage in [
        vec![4, 0, 0xff, 0xff, 0xff, 0xff],
        vec![4, 0, 0, 0, 0, 3, 0, 0, 0],
        vec![4, 0, 0, 0, 0, 6, 0xff, 0xff, 0xff, 0xff, 1, 3],
        vec![4, 0, 0, 0, 0, 6, 0, 0, 0, 1, 1, 3],
        vec![99, 0, 0, 0, 0, 4, 0, 0, 0, 0],
        data(3, &[0xff; 64]),
        data(3, &[0, 0, 0, 1, 0xff, 0xff, 0xff, 0xff]),
        data(1, &vec![0; 20_000]),
        data(2, b"a data set without a command"),
        [data(3, &store("1.2.3")), data(3, &store("1.2.3"))].concat(),
    ] {
        let mut socket = associate(&scp);
        socket.write_all(&garbage).unwrap();
        assert_eq!(rest(&mut socket).first(), Some(&ABORT), "{:?}", &garbage[..6]);
    }
    wait_for("all associations are gone", || scp.open_associations() == 0);
    assert_eq!((keeper.count(), keeper.staged()), (0, 0));
    echo(&peer(scp.address().port())).unwrap();
}

#[test]
fn half_an_object_leaves_no_file_however_it_ends() {
    let quick = ScpConfig { idle: Duration::from_millis(500), ..config() };
    let (scp, keeper) = start(quick);
    let begin = || {
        let mut socket = associate(&scp);
        socket.write_all(&data(3, &store("1.2.3"))).unwrap();
        socket.write_all(&data(0, &[0; 10_000])).unwrap();
        socket
    };
    // Disconnects.
    let socket = begin();
    wait_for("the object is being received", || keeper.staged() == 1);
    drop(socket);
    wait_for("the file is gone", || keeper.staged() == 0);
    // Aborts.
    let mut socket = begin();
    socket.write_all(&[7, 0, 0, 0, 0, 4, 0, 0, 0, 0]).unwrap();
    assert!(rest(&mut socket).is_empty());
    wait_for("the file is gone", || keeper.staged() == 0);
    // Falls silent in the midst of a PDU.
    let mut socket = begin();
    socket.write_all(&data(0, &[0; 1000])[..500]).unwrap();
    assert_eq!(rest(&mut socket).first(), Some(&ABORT));
    wait_for("the file is gone", || keeper.staged() == 0);
    assert_eq!(keeper.count(), 0);
}

#[test]
fn a_byte_now_and_then_does_not_keep_an_association_open() {
    let (scp, _keeper) = start(ScpConfig {
        idle: Duration::from_millis(400),
        negotiation: Duration::from_millis(400),
        ..config()
    });
    for mut socket in [connect(&scp), associate(&scp)] {
        // Each byte comes well within the time, the PDU does not.
        wait_for("the server gives up", || {
            std::thread::sleep(Duration::from_millis(50));
            socket.write_all(&[4]).is_err() || socket.take_error().unwrap().is_some() || {
                socket.set_nonblocking(true).unwrap();
                let ended = socket.peek(&mut [0; 1]).is_ok();
                socket.set_nonblocking(false).unwrap();
                ended
            }
        });
    }
}

#[test]
fn silent_peers_and_too_many_of_them_do_not_keep_others_out() {
    let (scp, keeper) = start(ScpConfig { max_associations: 2, idle: Duration::from_secs(2), ..config() });
    let port = scp.address().port();
    // Connections that never ask for an association do not count.
    let _silent: Vec<TcpStream> = (0..8).map(|_| connect(&scp)).collect();
    let folder = tempfile::tempdir().unwrap();
    let file = slice(folder.path(), 1, uids::EXPLICIT_VR_LITTLE_ENDIAN);
    let contexts = contexts_of(&[file.as_path()]).unwrap();
    let mut first = Sender::connect(&peer(port), &contexts).unwrap();
    let second = associate(&scp);
    let error = echo(&peer(port)).unwrap_err();
    assert!(matches!(error, DimseError::Rejected { rejection: Rejection::Busy, .. }), "{error}");
    assert!(error.is_passing());
    assert_eq!(first.store(&file).unwrap(), 0);
    first.release().unwrap();
    drop(second);
    wait_for("there is room again", || echo(&peer(port)).is_ok());
    assert_eq!(keeper.count(), 1);
}

#[test]
fn uids_that_try_to_be_paths_never_become_any() {
    let (scp, keeper) = start(config());
    for instance in ["../../../../tmp/evil", "/etc/passwd", "1.2..3", "", "1.2.3\\1.2.4"] {
        let mut socket = associate(&scp);
        socket.write_all(&[data(3, &store(instance)), data(2, &[0; 5000])].concat()).unwrap();
        assert_eq!(status(&pdu(&mut socket)), 0xC000, "{instance}");
    }
    // The command is innocent, the data set is not.
    let mut socket = associate(&scp);
    let path = b"../../../tmp/evil\0";
    let mut set = vec![8, 0, 0x16, 0, 26, 0, 0, 0];
    set.extend(CT.as_bytes());
    set.push(0);
    set.extend([8, 0, 0x18, 0, 18, 0, 0, 0]);
    set.extend(path);
    socket.write_all(&[data(3, &store("1.2.3")), data(2, &set)].concat()).unwrap();
    assert_eq!(status(&pdu(&mut socket)), 0xC000);
    assert_eq!((keeper.count(), keeper.staged()), (0, 0));
}
