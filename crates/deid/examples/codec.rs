//! The codec process alone, for tests and for tools that bring their own main program.

use std::process::ExitCode;

fn main() -> ExitCode {
    overread_dicom::read::codec_worker_main()
}
