//! Transfer syntaxes: how the data set is written and which codec the pixels need.

use super::scan::Encoding;

/// The codec family of a transfer syntax.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Codec {
    /// No compression.
    Native,
    /// RLE Lossless.
    Rle,
    /// Anything that starts as a JPEG stream, JPEG-LS included, or a JPEG 2000 codestream; the stream itself says which.
    Stream,
    /// Each frame deflated (Deflated Image Frame Compression).
    DeflatedFrames,
    /// Not read.
    Unsupported,
}

/// A transfer syntax.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Syntax {
    pub(crate) uid: String,
    pub(crate) name: &'static str,
    pub(crate) encoding: Encoding,
    pub(crate) deflated: bool,
    pub(crate) codec: Codec,
}

pub(crate) const EXPLICIT: Encoding = Encoding { explicit: true, big: false };
pub(crate) const IMPLICIT: Encoding = Encoding { explicit: false, big: false };
pub(crate) const BIG: Encoding = Encoding { explicit: true, big: true };

pub(crate) const EXPLICIT_UID: &str = "1.2.840.10008.1.2.1";
pub(crate) const IMPLICIT_UID: &str = "1.2.840.10008.1.2";
pub(crate) const BIG_UID: &str = "1.2.840.10008.1.2.2";
pub(crate) const DEFLATED_UID: &str = "1.2.840.10008.1.2.1.99";

impl Syntax {
    /// The transfer syntax of a UID (PS3.6 table A-1, edition 2025c); private ones are unsupported.
    pub(crate) fn of(uid: &str) -> Self {
        use Codec::{DeflatedFrames, Native, Rle, Stream, Unsupported};
        let suffix = uid.strip_prefix("1.2.840.10008.1.2").unwrap_or("?");
        let (name, codec) = match suffix {
            "" => ("Implicit VR Little Endian", Native),
            ".1" => ("Explicit VR Little Endian", Native),
            ".2" => ("Explicit VR Big Endian", Native),
            ".1.98" => ("Encapsulated Uncompressed Explicit VR Little Endian", Native),
            ".1.99" => ("Deflated Explicit VR Little Endian", Native),
            ".4.50" => ("JPEG Baseline (Process 1)", Stream),
            ".4.51" => ("JPEG Extended (Process 2 & 4)", Stream),
            ".4.53" => ("JPEG Spectral Selection, Non-Hierarchical (Process 6 & 8)", Stream),
            ".4.55" => ("JPEG Full Progression, Non-Hierarchical (Process 10 & 12)", Stream),
            ".4.57" => ("JPEG Lossless, Non-Hierarchical (Process 14)", Stream),
            ".4.70" => ("JPEG Lossless, First-Order Prediction (Process 14, Selection Value 1)", Stream),
            ".4.80" => ("JPEG-LS Lossless", Stream),
            ".4.81" => ("JPEG-LS Near-Lossless", Stream),
            ".4.90" => ("JPEG 2000 Lossless", Stream),
            ".4.91" => ("JPEG 2000", Stream),
            ".4.92" => ("JPEG 2000 Part 2 Multi-component Lossless", Stream),
            ".4.93" => ("JPEG 2000 Part 2 Multi-component", Stream),
            ".4.201" => ("High-Throughput JPEG 2000 Lossless", Stream),
            ".4.202" => ("High-Throughput JPEG 2000 Lossless with RPCL", Stream),
            ".4.203" => ("High-Throughput JPEG 2000", Stream),
            ".5" => ("RLE Lossless", Rle),
            ".8.1" => ("Deflated Image Frame Compression", DeflatedFrames),
            _ => ("an unsupported transfer syntax", Unsupported),
        };
        let encoding = match uid {
            IMPLICIT_UID => IMPLICIT,
            BIG_UID => BIG,
            _ => EXPLICIT,
        };
        Self { uid: uid.to_owned(), name, encoding, deflated: uid == DEFLATED_UID, codec }
    }
}
/// Whether a transfer syntax is of the JPEG 2000 family, whose reduced decodes halve by a low-pass filter (PS3.5 §A.4.4, HTJ2K §A.4.11).
pub fn is_jpeg_2000(uid: &str) -> bool {
    const FAMILY: [&str; 7] = ["90", "91", "92", "93", "201", "202", "203"];
    uid.trim_end_matches(['\0', ' '])
        .strip_prefix("1.2.840.10008.1.2.4.")
        .is_some_and(|last| FAMILY.contains(&last))
}
