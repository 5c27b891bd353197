//! Traces reach a collector by OTLP over HTTP, and hold no address.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use overread_testkit::{Overread, free_port, wait_until};

/// What a collector was sent, in the order of its coming.
fn collector() -> (String, Arc<Mutex<Vec<u8>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let collected = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&collected);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut reader = BufReader::new(stream.unwrap());
            let (mut length, mut line) = (0, String::new());
            while reader.read_line(&mut line).unwrap_or(0) > 2 {
                if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
                    length = value.trim().parse().unwrap();
                }
                line.clear();
            }
            let mut body = vec![0; length];
            reader.read_exact(&mut body).unwrap();
            kept.lock().unwrap().extend(body);
            reader
                .get_mut()
                .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
                .unwrap();
        }
    });
    (address, collected)
}

#[test]
fn a_request_becomes_a_span_with_its_route() {
    let (endpoint, collected) = collector();
    let edge = free_port();
    let url = format!("http://127.0.0.1:{edge}");
    let variables = [("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.as_str()), ("OTEL_BSP_SCHEDULE_DELAY", "200")];
    let config = |folder: &Path| {
        format!(
            "[edge]\nallow_burned_in = true\ndeid.recognizable_features = \"keep\"\ndata = \"{}\"\n[edge.http]\nbind = \"127.0.0.1:{edge}\"\n[edge.dimse]\nbind = \"127.0.0.1:{}\"\n\
             [link]\nurl = \"http://127.0.0.1:1\"\ntoken = \"0123456789abcdef0123456789abcdef\"\n",
            folder.join("edge").display(),
            free_port()
        )
    };
    let binary = Path::new(env!("CARGO_BIN_EXE_overread"));
    let mut overread = Overread::with("edge", binary, std::slice::from_ref(&url), &variables, config);
    let study = "1.2.826.0.1.3680043.8.498.4711";
    overread_testkit::http::get(&format!("{url}/dicom-web/studies/{study}/metadata")).unwrap();
    let holds = |text: &str| collected.lock().unwrap().windows(text.len()).any(|w| w == text.as_bytes());
    wait_until("the span", Duration::from_secs(60), || holds("/dicom-web/studies/{study}/metadata"));
    assert!(holds("overread-edge"));
    assert!(!holds(study), "an address is in the traces");
    assert!(overread.stop());
}
