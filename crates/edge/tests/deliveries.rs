//! Several destinations, some of them away: each gets what it needs, in order, and none waits for another.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod support;

use std::io::Read;
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use overread_testkit::dcmtk::{Storescp, dcmdump};
use overread_testkit::samples::Sample;
use overread_testkit::wait_until;
use support::{Bench, PATIENCE, pacs};

/// Another image of a study, so that it is read once more.
fn late(bench: &Bench, slices: &[Sample], number: usize) {
    bench.send(&slices[number..=number]);
    wait_until("the service has the version", PATIENCE, || bench.service.studies().len() == number + 1);
}

/// Instances by modality that a storescp has: `SR`, and the notes' (`KO`) dumps.
fn kept(scp: &Storescp) -> (Vec<String>, Vec<String>) {
    let dumps: Vec<String> = scp.files().iter().map(|f| dcmdump(f)).collect();
    let of = |modality: &str| {
        let line = format!("(0008,0060) CS [{modality}]");
        dumps.iter().filter(|d| d.contains(&line)).cloned().collect()
    };
    (of("SR"), of("KO"))
}

/// The value of SOP Instance UID in a dump.
fn sop(dump: &str) -> String {
    let line = dump.lines().find(|l| l.starts_with("(0008,0018)")).unwrap();
    line.split(['[', ']']).nth(1).unwrap().to_owned()
}

#[test]
fn a_rejection_note_names_only_what_its_destination_was_sent() {
    let (early, mut paused, mut never) =
        (Storescp::start("EARLY", &[]), Storescp::start("PAUSED", &[]), Storescp::start("NEVER", &[]));
    never.stop();
    let bench = Bench::start(|config| {
        for (name, scp) in [("early", &early), ("paused", &paused), ("never", &never)] {
            let title = name.to_ascii_uppercase();
            config.destinations.insert(name.into(), pacs(scp.port(), &title, false));
        }
    });
    let slices = bench.ct("versions", 1, 4);
    late(&bench, &slices, 0);
    bench.until_deliveries("early", &["delivered"]);
    bench.until_deliveries("paused", &["delivered"]);
    paused.stop();
    for number in 1..4 {
        late(&bench, &slices, number);
        bench.until_deliveries("early", &vec!["delivered"; number + 1]);
    }
    assert_eq!(bench.deliveries("paused"), ["waiting", "waiting", "waiting", "delivered"]);
    assert_eq!(bench.deliveries("never"), ["waiting"; 4]);
    assert!(
        bench.jobs("waiting").iter().all(|j| j["error"].as_str().unwrap().contains("connection refused"))
    );
    assert!(bench.jobs("dead").is_empty());
    paused.again();
    never.again();
    bench.until_idle();
    // Who was always there has all four, and three notes.
    let (reports, notes) = kept(&early);
    assert_eq!((reports.len(), notes.len()), (4, 3));
    assert_eq!(bench.deliveries("early"), ["delivered"; 4]);
    let sops: Vec<String> = reports.iter().map(|r| sop(r)).collect();
    let named = |in_: &[String], sop: &String| in_.iter().filter(|dump| dump.contains(sop.as_str())).count();
    // The last is named by its own dump alone, the others by whatever replaced them.
    let last = sops.iter().find(|s| named(&reports, s) == 1).unwrap();
    // Of the others' versions, those are left out that were not tried before a later one was there.
    let paused_states = ["delivered", "superseded", "delivered", "delivered"];
    let never_states = ["delivered", "superseded", "superseded", "delivered"];
    for (scp, name, states) in [(&paused, "paused", paused_states), (&never, "never", never_states)] {
        assert_eq!(bench.deliveries(name), states);
        let (reports, notes) = kept(scp);
        let has: Vec<String> = reports.iter().map(|r| sop(r)).collect();
        let delivered = states.iter().filter(|s| **s == "delivered").count();
        assert_eq!((has.len(), notes.len()), (delivered, delivered - 1), "{name}");
        assert!(has.contains(last), "{name}");
        for sop in &sops {
            let withdrawn = usize::from(has.contains(sop) && sop != last);
            assert_eq!(named(&notes, sop), withdrawn, "{name} has {has:?}: {notes:?}");
        }
    }
}

/// Accepts connections and never says a word; tells how many were made and how many the other side has closed.
fn silent() -> (u16, Arc<AtomicUsize>, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (made, closed) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let counts = (Arc::clone(&made), Arc::clone(&closed));
    std::thread::spawn(move || {
        for socket in listener.incoming() {
            let mut socket = socket.unwrap();
            counts.0.fetch_add(1, Ordering::SeqCst);
            let closed = Arc::clone(&counts.1);
            std::thread::spawn(move || {
                let _ = socket.read_to_end(&mut vec![]);
                closed.fetch_add(1, Ordering::SeqCst);
            });
        }
    });
    (port, made, closed)
}

#[test]
fn a_destination_that_never_answers_keeps_no_other_waiting() {
    let ((port, made, closed), scp) = (silent(), Storescp::start("KEEPER", &[]));
    let bench = Bench::start(|config| {
        config.destinations.insert("silent".into(), pacs(port, "SILENT", false));
        config.destinations.insert("talking".into(), pacs(scp.port(), "KEEPER", false));
    });
    bench.send(&bench.ct("silence", 12, 1));
    wait_until("the silent one is tried", PATIENCE, || made.load(Ordering::SeqCst) > 0);
    bench.until_deliveries("talking", &["delivered"; 12]);
    // All twelve were delivered while the first attempts at the silent one were still waiting for a word.
    assert_eq!(closed.load(Ordering::SeqCst), 0);
    assert_eq!(bench.deliveries("silent"), ["waiting"; 12]);
    assert_eq!(scp.files().len(), 12);
}
