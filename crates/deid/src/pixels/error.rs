//! What can go wrong while text is looked for and removed.

use std::io;
use std::path::PathBuf;

use overread_dicom::read::ReadError;
use overread_infer::InferError;

/// Why pixels were not cleaned. No message holds a value of a header, a text that was read, or a path of an original.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PixelError {
    /// A file of the detector is missing or is not the one that this program was tested with.
    #[error("the text detector's file {path}: {why}")]
    Model {
        /// The file.
        path: PathBuf,
        /// What is wrong and what to do.
        why: String,
    },
    /// A frame cannot be read.
    #[error("frame {frame} (from 0) cannot be read")]
    Frame {
        /// The frame, counted from 0.
        frame: u32,
        /// Why.
        source: ReadError,
    },
    /// The object's pixels cannot be described.
    #[error("the pixel data cannot be read")]
    Pixels(#[source] ReadError),
    /// The detector failed.
    #[error("frame {frame} (from 0): looking for text failed")]
    Detect {
        /// The frame, counted from 0.
        frame: u32,
        /// Why.
        source: InferError,
    },
    /// Pixels of a kind in which regions are not blackened.
    #[error("{what}: text in such pixels cannot be removed; keep the object in the hospital")]
    Unsupported {
        /// What it is.
        what: &'static str,
    },
    /// Uncompressed, the pixel data do not fit an element.
    #[error(
        "uncompressed, the pixel data have {bytes} bytes and an element holds 4294967294; split the object"
    )]
    TooLarge {
        /// How many bytes.
        bytes: u64,
    },
    /// The cleaned object cannot be written.
    #[error("the cleaned object cannot be written; check the folder's rights and space")]
    Write(#[source] io::Error),
    /// The header cannot be written again.
    #[error("the header of the cleaned object cannot be encoded")]
    Encode(#[source] Box<dicom_object::WriteError>),
    /// The file meta group cannot be made.
    #[error("the file meta group of the cleaned object cannot be made")]
    Meta(#[source] Box<crate::DeidError>),
    /// The second engine cannot run.
    #[error("tesseract, the second look at pixels, {why}")]
    SecondLook {
        /// What is wrong and what to do.
        why: String,
    },
}
