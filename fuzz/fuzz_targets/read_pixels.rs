//! Any bytes as a file whose first two frames are decoded, by the codecs that run in process; the
//! child's codecs are not started. Run: `RUSTC_BOOTSTRAP=1 cargo fuzz run read_pixels`.

#![no_main]

use libfuzzer_sys::fuzz_target;
use overread_dicom::read::{CodecHost, CodecLimits, Limits, Resolution, open_bytes};
use overread_domain::GridSize;

fuzz_target!(|data: &[u8]| {
    let limits = Limits { header_bytes: 1 << 20, file_bytes: 8 << 20, frame_bytes: 1 << 20, nesting: 32 };
    let mut host = CodecHost::new("/nonexistent".into(), Vec::new(), CodecLimits::default());
    if let Ok(file) = open_bytes(data.to_vec(), &limits) {
        for frame in 0..2 {
            if let Ok(grid) = file.decode(frame, Resolution::AtLeast(GridSize::new(8, 8)), &mut host) {
                assert_eq!(grid.samples.len() as u64, grid.size.pixels() * grid.channels.count() as u64);
            }
        }
    }
});
