//! Any bytes as an object: start, walk, parse, header. Run: `RUSTC_BOOTSTRAP=1 cargo fuzz run read_object`.

#![no_main]

use libfuzzer_sys::fuzz_target;
use overread_dicom::read::{Limits, open_bytes};

fuzz_target!(|data: &[u8]| {
    let limits = Limits { header_bytes: 1 << 20, file_bytes: 8 << 20, frame_bytes: 1 << 20, nesting: 32 };
    if let Ok(file) = open_bytes(data.to_vec(), &limits) {
        let _ = format!("{:?}", file.header());
    }
});
