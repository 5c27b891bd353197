//! What can go wrong on the way out, without saying whose images they are.

use std::io;

use dicom_core::Tag;
use overread_dicom::read::ReadError;

/// Why there is no pseudonymous object, or no key. No message holds a value of a header, a UID or a path.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DeidError {
    /// The original cannot be read.
    #[error("the original cannot be read")]
    Read(#[from] ReadError),
    /// The original is a picture and no DICOM object.
    #[error("the original is a photograph; wrap it as a DICOM object first")]
    Photograph,
    /// The original lacks a UID.
    #[error("{name} {tag} is missing or not a UID; without it the object belongs to no study")]
    Uid {
        /// The attribute's name.
        name: &'static str,
        /// Its tag.
        tag: Tag,
    },
    /// The original's SOP class is not one of the standard.
    #[error(
        "SOP Class UID (0008,0016) is not one of the standard; a private class may tell where it comes from"
    )]
    PrivateClass,
    /// The second look found something of the original's identity in the outgoing bytes.
    #[error("{found}; keep the object in the hospital")]
    Repeats {
        /// Which attribute's value, and where; never the value.
        found: String,
    },
    /// The data set could not be encoded.
    #[error("the pseudonymous data set cannot be encoded")]
    Encode(#[source] Box<dicom_object::WriteError>),
    /// The file meta group could not be encoded.
    #[error("the file meta group cannot be encoded")]
    Meta(#[source] Box<dicom_object::meta::Error>),
    /// The object could not be written out.
    #[error("the pseudonymous object cannot be written; check the folder's rights and space")]
    Write(#[source] io::Error),
    /// The key file could not be read or made.
    #[error("the file of the pseudonym key cannot be {doing}; check its folder, owner and rights")]
    KeyFile {
        /// What was being done.
        doing: &'static str,
        /// The operating system's answer.
        source: io::Error,
    },
    /// The key file holds something else than a key.
    #[error(
        "the file of the pseudonym key has {bytes} bytes instead of 32; restore it from a backup. A new key would break the link to every study that was sent"
    )]
    NotAKey {
        /// How many bytes it has.
        bytes: u64,
    },
    /// Others than the owner may read or change the key.
    #[error(
        "the file of the pseudonym key has mode {mode:03o}; others may read or change it. Run chmod 600 on it"
    )]
    KeyExposed {
        /// The permission bits.
        mode: u32,
    },
    /// The operating system gave no random bytes.
    #[error("the operating system gives no random bytes for a key")]
    Random(#[source] getrandom::Error),
}

impl DeidError {
    /// Whether the same call may succeed later: a full disk, an I/O error. Otherwise the original is at fault.
    pub const fn is_passing(&self) -> bool {
        matches!(
            self,
            Self::Write(_) | Self::KeyFile { .. } | Self::Random(_) | Self::Read(ReadError::Io { .. })
        )
    }
}
