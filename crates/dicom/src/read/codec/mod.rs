//! Codecs. Safe Rust runs in process; C, and Rust with much unsafe code, run in a child process.
//!
//! [`stream`] reads the markers of a compressed frame, [`jpeg`] decodes lossless JPEG here,
//! [`host`] sends the rest to the child, a [`process`], which [`worker`] is; [`wire`] is what the two say to each other.

pub(crate) mod host;
pub(crate) mod jpeg;
pub(crate) mod process;
pub(crate) mod stream;
pub(crate) mod wire;
pub(crate) mod worker;

use overread_domain::{GridSize, Samples};

/// A decoded frame as the stream has it: interleaved, in the narrowest unsigned words that hold it.
pub(crate) struct Decoded {
    pub(crate) size: GridSize,
    pub(crate) samples: Samples,
}

/// The smallest of `full / 2^k`, k up to `most`, whose sides both reach `wanted`: the exponent.
pub(crate) fn reduction(full: GridSize, wanted: GridSize, most: u32) -> u32 {
    let mut k = 0;
    while k < most && reaches(reduced(full, k + 1), wanted) {
        k += 1;
    }
    k
}

/// `full / 2^k`, rounded up, as JPEG 2000 and scaled JPEG decoding give it.
pub(crate) fn reduced(full: GridSize, k: u32) -> GridSize {
    let side = |n: u32| n.div_ceil(1 << k.min(31));
    GridSize::new(side(full.columns), side(full.rows))
}

fn reaches(size: GridSize, wanted: GridSize) -> bool {
    size.columns >= wanted.columns && size.rows >= wanted.rows
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reduction_never_falls_below_what_is_wanted() {
        let wanted = GridSize::new(224, 224);
        assert_eq!(reduction(GridSize::new(2048, 2048), wanted, 5), 3);
        assert_eq!(reduction(GridSize::new(2048, 2048), wanted, 2), 2);
        assert_eq!(reduction(GridSize::new(2048, 400), wanted, 5), 0);
        assert_eq!(reduction(GridSize::new(100, 100), wanted, 5), 0);
        assert_eq!(reduction(GridSize::new(447, 447), wanted, 5), 1);
    }
}
