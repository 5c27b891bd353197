//! Disks that are full, databases and peers that are away, senders that stop: nothing that was acknowledged is lost, and the edge goes on by itself.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod support;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use overread_testkit::dcmtk::{Storescp, echoscu};
use overread_testkit::ledger::{Entry, Ledger};
use overread_testkit::samples::Sample;
use overread_testkit::{Postgres, http, wait_until};
use support::{Bench, HOUR, PATIENCE, pacs};

/// What the edge has of an instance.
fn fetch(bench: &Bench, entry: &Entry) -> Result<Vec<u8>, String> {
    let url = format!(
        "{}/dicom-web/studies/{}/series/{}/instances/{}",
        bench.url, entry.study, entry.series, entry.sop
    );
    let accept = "multipart/related; type=\"application/dicom\"; transfer-syntax=*";
    let answer = http::request("GET", &url, &[("accept", accept)], &[])?;
    if answer.status != 200 {
        return Err(format!("status {}", answer.status));
    }
    answer.parts().into_iter().next().map(|p| p.body).ok_or_else(|| "no part".to_owned())
}

/// Set when a test ends, however it does: threads that send until then end too.
struct Ends<'a>(&'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// Nothing is left of what was refused or broke off.
fn nothing_is_staged(bench: &Bench) -> bool {
    std::fs::read_dir(bench.data().join("staging")).unwrap().count() == 0
}

fn free_bytes(folder: &Path) -> u64 {
    let output = Command::new("df").args(["-B1", "--output=avail"]).arg(folder).output().unwrap();
    String::from_utf8(output.stdout).unwrap().lines().last().unwrap().trim().parse().unwrap()
}

#[test]
fn a_disk_that_is_nearly_full_takes_nothing_until_there_is_room() {
    const GIB: u64 = 1 << 30;
    let elsewhere = tempfile::tempdir().unwrap();
    // Far enough apart that what other programs write meanwhile does not matter.
    let reserve = free_bytes(elsewhere.path()).checked_sub(4 * GIB).expect("4 GiB of free disk");
    let bench = Bench::start(|config| config.limits.reserve_bytes = reserve);
    let ledger = Ledger::new();
    let slices = bench.ct("full", 4, 1);
    bench.send(&slices[..1]);
    ledger.acknowledged(&slices[0]);
    // Blocks are taken, not written: this is quick.
    let ballast = elsewhere.path().join("ballast");
    assert!(Command::new("fallocate").args(["-l", "8G"]).arg(&ballast).status().unwrap().success());
    let sent = bench.try_send(&slices[1..3]);
    assert!(sent.acknowledged.is_empty(), "{}", sent.log);
    assert!(sent.refused.iter().all(|(_, status)| status.contains("OutOfResources")), "{:?}", sent.refused);
    let file = std::fs::read(&slices[3].path).unwrap();
    let stow = || http::stow(&format!("{}/dicom-web/studies", bench.url), &[], std::slice::from_ref(&file));
    assert_eq!(stow().unwrap_err(), "STOW-RS answered 507");
    wait_until("nothing is left behind", PATIENCE, || nothing_is_staged(&bench));
    assert!(ledger.losses(|entry| fetch(&bench, entry)).is_empty());
    std::fs::remove_file(ballast).unwrap();
    bench.send(&slices[1..3]);
    assert_eq!(stow().unwrap().kept, [slices[3].sop.clone()]);
    slices.iter().for_each(|s| ledger.acknowledged(s));
    assert_eq!(ledger.losses(|entry| fetch(&bench, entry)), []);
}

#[test]
fn a_database_that_goes_away_under_load_is_waited_for() {
    let postgres = Postgres::start();
    let address = postgres.database("edge");
    let bench = Bench::start(|config| config.database = address);
    let (ledger, stop, refused) = (Ledger::new(), AtomicBool::new(false), AtomicUsize::new(0));
    let studies = bench.ct("load", 4, 4);
    std::thread::scope(|scope| {
        let _ends = Ends(&stop);
        for slices in studies.chunks(4) {
            let (bench, ledger, stop, refused) = (&bench, &ledger, &stop, &refused);
            scope.spawn(move || {
                while !stop.load(Ordering::SeqCst) {
                    let sent = bench.try_send(slices);
                    ledger.acknowledged_among(slices, |s| sent.acknowledged.contains(&s.path));
                    for (_, status) in &sent.refused {
                        assert!(status.contains("OutOfResources"), "{status}");
                        refused.fetch_add(1, Ordering::SeqCst);
                    }
                }
            });
        }
        wait_until("images come in", PATIENCE, || !ledger.entries().is_empty());
        postgres.stop();
        wait_until("images are refused", PATIENCE, || refused.load(Ordering::SeqCst) >= 4);
        postgres.again();
        // Nobody restarts the edge: every image is taken in the end.
        wait_until("all images are in", PATIENCE, || ledger.entries().len() == 16);
    });
    assert_eq!(ledger.losses(|entry| fetch(&bench, entry)), []);
    wait_until("every study is sent", PATIENCE, || bench.studies() == ["sent"; 4]);
    assert!(bench.jobs("dead").is_empty());
    wait_until("nothing is left behind", PATIENCE, || nothing_is_staged(&bench));
}

#[test]
fn a_pacs_that_is_away_for_hours_is_waited_for_and_nothing_is_counted() {
    let mut scp = Storescp::start("KEEPER", &[]);
    scp.stop();
    let bench = Bench::start(|config| {
        config.max_attempts = 3;
        config.destinations.insert("pacs".into(), pacs(scp.port(), "KEEPER", false));
    });
    bench.send(&bench.ct("away", 1, 1));
    let job = || bench.jobs("waiting").into_iter().find(|j| j["kind"] == "deliver:pacs");
    let mut before = 0;
    for _ in 0..6 {
        wait_until("another attempt fails", PATIENCE, || {
            job().is_some_and(|j| j["error"].is_string() && j["run_at"].as_i64().unwrap() > before)
        });
        let job = job().unwrap();
        assert_eq!(job["attempts"], 0, "{job}");
        assert!(job["error"].as_str().unwrap().contains("connection refused"), "{job}");
        before = job["run_at"].as_i64().unwrap();
        bench.pass(HOUR);
    }
    assert_eq!(bench.deliveries("pacs"), ["waiting"]);
    scp.again();
    bench.pass(HOUR);
    bench.until_deliveries("pacs", &["delivered"]);
    assert_eq!(scp.files().len(), 1);
    bench.until_idle();
}

/// An association that is negotiated and then says what a test wants: A-ASSOCIATE-RQ as DCMTK's `storescu` sends it, for CT in implicit VR.
fn associate(bench: &Bench) -> TcpStream {
    let mut socket = TcpStream::connect(("127.0.0.1", bench.dimse)).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let item = |kind: u8, value: &[u8]| {
        let length = u16::try_from(value.len()).unwrap().to_be_bytes();
        [&[kind, 0, length[0], length[1]], value].concat()
    };
    let syntaxes = [item(0x30, b"1.2.840.10008.5.1.4.1.1.2"), item(0x40, b"1.2.840.10008.1.2")].concat();
    let context = item(0x20, &[&[1, 0, 0, 0], &syntaxes[..]].concat());
    let user = item(0x50, &[item(0x51, &16_384u32.to_be_bytes()), item(0x52, b"1.2.3")].concat());
    let body = [
        &[0, 1, 0, 0][..],
        b"OVERREAD        ",
        b"STOPS           ",
        &[0; 32],
        &item(0x10, b"1.2.840.10008.3.1.1.1"),
        &context,
        &user,
    ]
    .concat();
    let length = u32::try_from(body.len()).unwrap().to_be_bytes();
    socket.write_all(&[&[1, 0], &length[..], &body].concat()).unwrap();
    let mut answer = [0; 6];
    socket.read_exact(&mut answer).unwrap();
    let mut rest = vec![0; u32::from_be_bytes(answer[2..6].try_into().unwrap()) as usize];
    socket.read_exact(&mut rest).unwrap();
    assert_eq!(answer[0], 2, "the association was not accepted");
    socket
}

/// The beginning of a C-STORE: the command, and half of the data set's first fragment.
fn half_an_object(slice: &Sample) -> Vec<u8> {
    let mut command = vec![];
    for (element, value) in [
        (0x0002u16, &b"1.2.840.10008.5.1.4.1.1.2\0"[..]),
        (0x0100, &[1, 0]),
        (0x0110, &[7, 0]),
        (0x0700, &[0, 0]),
        (0x0800, &[0, 0]),
        (0x1000, padded(&slice.sop).as_slice()),
    ] {
        command.extend([0, 0]);
        command.extend(element.to_le_bytes());
        command.extend(u32::try_from(value.len()).unwrap().to_le_bytes());
        command.extend(value);
    }
    let data = |control: u8, bytes: &[u8]| {
        let value = u32::try_from(bytes.len() + 2).unwrap();
        [&[4, 0], &(value + 4).to_be_bytes()[..], &value.to_be_bytes(), &[1, control], bytes].concat()
    };
    let set = data(0, &[0; 8000]);
    [data(3, &command), set[..4000].to_vec()].concat()
}

fn padded(uid: &str) -> Vec<u8> {
    let mut bytes = uid.as_bytes().to_vec();
    bytes.resize(bytes.len().next_multiple_of(2), 0);
    bytes
}

#[test]
fn a_sender_that_stops_in_the_middle_leaves_no_file_and_takes_no_place() {
    let bench = Bench::start(|config| {
        config.dimse.idle_seconds = 2;
        config.dimse.max_associations = 2;
    });
    let slices = bench.ct("stops", 2, 1);
    // Both places are taken by senders that stop; there is no third.
    let mut stuck: Vec<TcpStream> = (0..2).map(|_| associate(&bench)).collect();
    for socket in &mut stuck {
        socket.write_all(&half_an_object(&slices[0])).unwrap();
    }
    wait_until("both objects are being received", PATIENCE, || {
        std::fs::read_dir(bench.data().join("staging")).unwrap().count() == 2
    });
    let refused = echoscu(&bench.peer(), &[]).unwrap_err();
    assert!(refused.contains("Local Limit Exceeded"), "{refused}");
    // They are put out, and the others get in without anybody's help.
    for socket in &mut stuck {
        let mut said = vec![];
        let _ = socket.read_to_end(&mut said);
        assert_eq!(said.first(), Some(&7), "no abort: {said:?}");
    }
    wait_until("nothing is left of them", PATIENCE, || nothing_is_staged(&bench));
    wait_until("there is room again", PATIENCE, || echoscu(&bench.peer(), &[]).is_ok());
    bench.send(&slices);
    // One that aborts in the middle, and one whose machine goes away.
    for ending in [&[7, 0, 0, 0, 0, 4, 0, 0, 0, 0][..], &[]] {
        let mut socket = associate(&bench);
        socket.write_all(&half_an_object(&slices[0])).unwrap();
        wait_until("the object is being received", PATIENCE, || !nothing_is_staged(&bench));
        socket.write_all(ending).unwrap();
        drop(socket);
        wait_until("nothing is left of it", PATIENCE, || nothing_is_staged(&bench));
    }
    wait_until("both studies are sent", PATIENCE, || bench.studies() == ["sent"; 2]);
}

#[test]
fn a_flood_is_turned_away_and_those_inside_go_on() {
    let bench = Bench::start(|config| config.dimse.max_associations = 4);
    let studies = bench.ct("flood", 24, 4);
    let (ledger, away) = (Ledger::new(), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for slices in studies.chunks(4) {
            let (bench, ledger, away) = (&bench, &ledger, &away);
            scope.spawn(move || {
                let mut tries = 0;
                loop {
                    let sent = bench.try_send(slices);
                    ledger.acknowledged_among(slices, |s| sent.acknowledged.contains(&s.path));
                    if sent.complete {
                        return;
                    }
                    // Whoever was let in was served to the end: all or nothing, and the nothing is for the moment.
                    assert!(sent.log.contains("Local Limit Exceeded"), "{}", sent.log);
                    assert!(sent.log.contains("Rejected Transient"), "{}", sent.log);
                    away.fetch_add(1, Ordering::SeqCst);
                    tries += 1;
                    assert!(tries < 2000, "never let in");
                    std::thread::sleep(std::time::Duration::from_millis(50));
                }
            });
        }
    });
    assert!(away.load(Ordering::SeqCst) > 0, "it was no flood");
    assert_eq!(ledger.entries().len(), 96);
    assert_eq!(ledger.losses(|entry| fetch(&bench, entry)), []);
}
