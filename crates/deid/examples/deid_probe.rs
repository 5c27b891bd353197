//! De-identifies files one by one and prints what became of them. For measuring.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "a tool for measuring: what it prints is its output"
)]

use overread_deid::{Deidentifier, Pixels, Profile, PseudonymKey, Verdict};
use overread_dicom::read::Limits;

fn main() {
    let mut args = std::env::args().skip(1);
    let profile = Profile::shipped(&args.next().unwrap()).unwrap();
    let out = args.next().unwrap();
    let deid = Deidentifier::new(profile, PseudonymKey::from_bytes([1; 32]));
    let start = std::time::Instant::now();
    let mut n = 0;
    for path in args {
        let mut bytes = Vec::new();
        n += 1;
        let name = std::path::Path::new(&path).file_name().unwrap().to_string_lossy().into_owned();
        match deid.write(
            std::path::Path::new(&path),
            if std::env::var("CLEANED").is_ok() { Pixels::Cleaned } else { Pixels::Unseen },
            &Limits::default(),
            &mut bytes,
        ) {
            Ok(Verdict::Written(w)) => {
                println!("{name}: written {} bytes, {} changes", w.bytes, w.changes.len());
                if out != "-" {
                    std::fs::write(format!("{out}/{name}"), &bytes).unwrap();
                }
            }
            Ok(Verdict::Quarantined(why)) => println!("{name}: QUARANTINED {why:?}"),
            Err(e) => {
                println!("{name}: FAILED {e} {:?}", std::error::Error::source(&e).map(|e| e.to_string()))
            }
        }
    }
    eprintln!("{n} files, {:?}", start.elapsed());
}
