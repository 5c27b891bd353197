//! How much a file may cost before it is refused.

/// Upper bounds on what reading one file may take. Sizes are in bytes.
///
/// Nothing is allocated on the word of a header alone: a size is compared with these first, and
/// where it can be, with the bytes that are really there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Size of a file; for a deflated one, also of what it inflates to.
    pub file_bytes: u64,
    /// The data set before the pixel data.
    pub header_bytes: u64,
    /// One frame, decoded.
    pub frame_bytes: u64,
    /// Sequences within sequences.
    pub nesting: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { file_bytes: 4 << 30, header_bytes: 256 << 20, frame_bytes: 512 << 20, nesting: 32 }
    }
}
