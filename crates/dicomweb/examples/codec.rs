//! The codec process alone, for this crate's tests.

use std::process::ExitCode;

fn main() -> ExitCode {
    overread_dicom::read::codec_worker_main()
}
