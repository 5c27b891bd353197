//! The `overread` binary.
fn main() {}
