//! What can go wrong while reading, in words that say what to do.

use dicom_core::Tag;

/// Why a file or a frame could not be read.
///
/// Messages hold tags, offsets, sizes and names of transfer syntaxes, never a value of the data set
/// and never the file's name: both may tell who the patient is. The caller knows which file it was.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// The operating system refused.
    #[error("could not {doing}; check that the file exists and may be read")]
    Io {
        /// What was being done.
        doing: &'static str,
        /// The operating system's answer.
        source: std::io::Error,
    },
    /// A directory, a socket, a device.
    #[error("this is not a regular file; name a file, or use a command that takes folders")]
    NotAFile,
    /// Neither DICOM nor a photograph.
    #[error(
        "the content is neither DICOM nor JPEG, PNG, TIFF or WebP, whatever the name says; send the original image"
    )]
    NotAnImage,
    /// Beyond a limit.
    #[error(
        "{what} has {bytes} bytes and the limit is {limit}; raise the limit `{name}` if the file is trusted"
    )]
    TooLarge {
        /// What is too large.
        what: &'static str,
        /// How large it is, or claims to be.
        bytes: u64,
        /// The limit.
        limit: u64,
        /// Its name in [`super::Limits`].
        name: &'static str,
    },
    /// The file ends too early.
    #[error(
        "the file ends inside {tag} at byte {offset}: {needed} bytes are needed and {available} are there; send the file again"
    )]
    Truncated {
        /// The element that is cut.
        tag: Tag,
        /// Where its value starts.
        offset: u64,
        /// Bytes it should have.
        needed: u64,
        /// Bytes it has.
        available: u64,
    },
    /// The encoding breaks the standard in a way that leaves no one reading.
    #[error("{tag} at byte {offset} is malformed: {why}; export the study again from its source")]
    Malformed {
        /// The element.
        tag: Tag,
        /// Where it is.
        offset: u64,
        /// What is wrong.
        why: &'static str,
    },
    /// The data set does not parse.
    #[error("the data set at byte {offset} cannot be parsed; export the study again from its source")]
    Dataset {
        /// Where the data set starts in the file (or in what it inflates to).
        offset: u64,
        /// The parser's answer.
        source: Box<dicom_object::ReadError>,
    },
    /// An attribute is missing.
    #[error("{name} {tag} is missing and without it the pixels cannot be read; export the study again")]
    Missing {
        /// The attribute.
        tag: Tag,
        /// Its name.
        name: &'static str,
    },
    /// An attribute has a value that cannot be meant.
    #[error("{name} {tag} cannot be used: {why}; export the study again")]
    Unusable {
        /// The attribute.
        tag: Tag,
        /// Its name.
        name: &'static str,
        /// What is wrong with it.
        why: String,
    },
    /// The object holds no pixels.
    #[error("this object holds no pixel data; send the images of the study")]
    NoPixels,
    /// A transfer syntax that is not read.
    #[error(
        "transfer syntax {uid} is not supported; ask the sender for Explicit VR Little Endian or JPEG 2000"
    )]
    TransferSyntax {
        /// The transfer syntax.
        uid: String,
    },
    /// Pixels of a kind that is not read.
    #[error("{what} is not supported; ask the sender for a standard greyscale or RGB image")]
    Unsupported {
        /// What it is.
        what: String,
    },
    /// A frame that is not there.
    #[error("there is no frame {frame}: the object has {frames}, counted from 0")]
    NoSuchFrame {
        /// The frame that was asked for, counted from 0.
        frame: u32,
        /// How many there are.
        frames: u32,
    },
    /// The compressed stream is wrong.
    #[error("{syntax}, frame {frame}: {why}; send the file again, or ask for it uncompressed")]
    Decode {
        /// The transfer syntax by name.
        syntax: &'static str,
        /// The frame, counted from 0.
        frame: u32,
        /// What the decoder said.
        why: String,
    },
    /// The codec's process failed.
    #[error("{syntax}, frame {frame}: the codec process failed")]
    Codec {
        /// The transfer syntax by name.
        syntax: &'static str,
        /// The frame, counted from 0.
        frame: u32,
        /// How.
        source: CodecFailure,
    },
    /// A whole slide that cannot be read, or a part of it.
    #[error("the slide cannot be read: {why}; scan or export it again")]
    Slide {
        /// What is wrong with it.
        why: String,
    },
    /// The process that reads slides failed.
    #[error("the process that reads slides failed")]
    SlideProcess {
        /// How.
        source: CodecFailure,
    },
    /// There is no library for slides that are no DICOM objects.
    #[error(
        "slides of this format are read by OpenSlide, which is not installed; put libopenslide.so beside the binary, or send the slide as DICOM"
    )]
    NoSlideLibrary,
    /// A photograph that does not decode.
    #[error("the {format} photograph cannot be decoded: {why}; take or send it again")]
    Photograph {
        /// JPEG, PNG, TIFF or WebP.
        format: &'static str,
        /// What the decoder said.
        why: String,
    },
}

/// How the process that runs the codecs failed. It is started anew for the next frame.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CodecFailure {
    /// It could not be started.
    #[error("it could not be started; check the installation")]
    Start(#[source] std::io::Error),
    /// It died.
    #[error(
        "it died ({status}); the frame is damaged or hostile, or it needs more memory than the codec limit allows"
    )]
    Crashed {
        /// Exit code or signal.
        status: String,
    },
    /// It took too long and was killed.
    #[error(
        "it was killed after {seconds} s; the frame is damaged or hostile, or the time limit is too short"
    )]
    TimedOut {
        /// The limit.
        seconds: u64,
    },
    /// It refused the frame.
    #[error("it refused the frame: {0}; send the file again, or ask for it uncompressed")]
    Refused(String),
    /// Its answer is not what was asked for.
    #[error(
        "its answer does not fit the request: {0}; the frame's size or depth is not what the header says"
    )]
    Answer(String),
}
