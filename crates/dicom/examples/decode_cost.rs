//! What decoding a file costs, in full and for a model of 224×224: `decode_cost FILE...` prints milliseconds.
#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "a tool for whoever measures")]

use std::path::{Path, PathBuf};
use std::time::Instant;

use overread_dicom::read::{CodecHost, CodecLimits, Limits, Resolution, open};
use overread_domain::GridSize;

fn main() {
    let program =
        PathBuf::from(std::env::var_os("OVERREAD_CODEC").unwrap_or("target/release/overread-codec".into()));
    let mut host = CodecHost::new(program, Vec::new(), CodecLimits::default());
    for name in std::env::args().skip(1) {
        let opening = Instant::now();
        let file = open(Path::new(&name), &Limits::default()).unwrap();
        let opening = opening.elapsed();
        for resolution in [Resolution::Full, Resolution::AtLeast(GridSize::new(224, 224))] {
            let mut times: Vec<f64> = Vec::new();
            let mut size = GridSize::new(0, 0);
            for _ in 0..7 {
                let start = Instant::now();
                size = file.decode(0, resolution, &mut host).unwrap().size;
                times.push(start.elapsed().as_secs_f64() * 1e3);
            }
            times.sort_by(f64::total_cmp);
            println!(
                "{name} {} open {:.2} ms, {}×{}: median {:.1} ms, best {:.1} ms",
                file.header().transfer_syntax,
                opening.as_secs_f64() * 1e3,
                size.columns,
                size.rows,
                times[3],
                times[0]
            );
        }
    }
}
