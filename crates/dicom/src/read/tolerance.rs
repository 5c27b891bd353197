//! What a reader accepts although the standard does not allow it, each by name.

use std::fmt;

/// A departure from the standard that was read all the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Tolerance {
    /// No 128-byte preamble and `DICM` before the meta group (PS3.10 §7.1).
    NoPreamble,
    /// No File Meta Information group; the transfer syntax was guessed from the first elements.
    NoMetaGroup,
    /// The meta group has no or an unusable Transfer Syntax UID (0002,0010); it was guessed.
    NoTransferSyntax,
    /// The transfer syntax that the meta group names is not how the data set is written.
    WrongTransferSyntax,
    /// A UID that is not one (PS3.5 §9.1) was left out.
    InvalidUid,
    /// Number of Frames (0028,0008) is zero; read as one.
    ZeroFrames,
    /// High Bit (0028,0102) does not fit Bits Stored; Bits Stored − 1 was taken.
    InvalidHighBit,
    /// Bits Stored (0028,0101) is not within Bits Allocated; Bits Allocated was taken.
    InvalidBitsStored,
    /// The compressed stream is of another kind than the transfer syntax says; its own word was taken.
    OtherCodestream,
    /// Signedness or depth of the compressed stream is not the header's; the header's was taken.
    OtherPixelRepresentation,
    /// Pixel data are cut short within the padding of the last frame, or lack their delimiter.
    MissingDelimiter,
    /// A binary element's length is no whole number of values; it was kept as it is and not used.
    UnevenLength,
    /// An attribute of the transforms could not be used and was left out.
    InvalidTransform,
}

impl fmt::Display for Tolerance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoPreamble => "no preamble",
            Self::NoMetaGroup => "no file meta information; transfer syntax guessed",
            Self::NoTransferSyntax => "no usable Transfer Syntax UID (0002,0010); guessed",
            Self::WrongTransferSyntax => {
                "data set is not written in the transfer syntax that (0002,0010) names"
            }
            Self::InvalidUid => "an invalid UID was left out",
            Self::ZeroFrames => "Number of Frames (0028,0008) is zero; read as one",
            Self::InvalidHighBit => "High Bit (0028,0102) does not fit Bits Stored (0028,0101)",
            Self::InvalidBitsStored => "Bits Stored (0028,0101) does not fit Bits Allocated (0028,0100)",
            Self::OtherCodestream => "compressed stream is of another kind than the transfer syntax",
            Self::OtherPixelRepresentation => "compressed stream has another depth or sign than the header",
            Self::MissingDelimiter => "pixel data end without their delimiter",
            Self::UnevenLength => "a binary element whose length is no whole number of values",
            Self::InvalidTransform => "an unusable transform attribute was left out",
        })
    }
}
