//! What a C-STORE is answered with (PS3.4 §B.2.3, PS3.7 §9.1.1.1.9).

use dicom_core::Tag;

/// The outcome of a C-STORE: the status code and the comment that the sender reads. No comment
/// holds anything of the object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreStatus {
    /// 0000: the object is durable.
    Success,
    /// A700: no room on disk, or the object is too large; the sender may try again later.
    OutOfResources,
    /// A900: the data set contradicts the command that brought it.
    DataSetMismatch,
    /// C000: the data set cannot be understood.
    CannotUnderstand,
    /// C000: an attribute without which the object cannot be kept is absent.
    MissingAttribute(Tag),
    /// C000: an attribute, of data set or command, that has to be a UID and is none.
    NotAUid(Tag),
    /// 0122: the SOP class is not the one that was negotiated for this presentation context.
    SopClassNotSupported,
    /// 0124: this caller may not store.
    NotAuthorised,
    /// 0110: the fault is ours; the sender may try again later.
    ProcessingFailure,
}

impl StoreStatus {
    /// The value of Status (0000,0900).
    pub fn code(self) -> u16 {
        match self {
            Self::Success => 0x0000,
            Self::OutOfResources => 0xA700,
            Self::DataSetMismatch => 0xA900,
            Self::CannotUnderstand | Self::MissingAttribute(_) | Self::NotAUid(_) => 0xC000,
            Self::SopClassNotSupported => 0x0122,
            Self::NotAuthorised => 0x0124,
            Self::ProcessingFailure => 0x0110,
        }
    }

    /// The value of Error Comment (0000,0902), at most 64 characters; none for success.
    pub fn comment(self) -> Option<String> {
        Some(match self {
            Self::Success => return None,
            Self::OutOfResources => "no room for this object, try again later".to_owned(),
            Self::DataSetMismatch => "SOP UIDs of data set and command differ".to_owned(),
            Self::CannotUnderstand => "the data set cannot be parsed".to_owned(),
            Self::MissingAttribute(tag) => format!("{} is missing", written(tag)),
            Self::NotAUid(tag) => format!("{} is not a UID", written(tag)),
            Self::SopClassNotSupported => "SOP class is not the presentation context's".to_owned(),
            Self::NotAuthorised => "not authorised to store here".to_owned(),
            Self::ProcessingFailure => "the receiver failed, try again later".to_owned(),
        })
    }

    /// The value of Offending Element (0000,0901), where one attribute is at fault.
    pub fn offending(self) -> Option<Tag> {
        match self {
            Self::MissingAttribute(tag) | Self::NotAUid(tag) => Some(tag),
            _ => None,
        }
    }
}

fn written(tag: Tag) -> String {
    format!("({:04X},{:04X})", tag.group(), tag.element())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_fit_and_name_the_tag() {
        let tag = Tag(0x0008, 0x0018);
        for status in [
            StoreStatus::OutOfResources,
            StoreStatus::DataSetMismatch,
            StoreStatus::CannotUnderstand,
            StoreStatus::MissingAttribute(tag),
            StoreStatus::NotAUid(tag),
            StoreStatus::SopClassNotSupported,
            StoreStatus::NotAuthorised,
            StoreStatus::ProcessingFailure,
        ] {
            assert!(status.comment().unwrap().len() <= 64, "{status:?}");
            assert_ne!(status.code(), 0);
        }
        assert_eq!(StoreStatus::MissingAttribute(tag).comment().unwrap(), "(0008,0018) is missing");
        assert_eq!(StoreStatus::Success.comment(), None);
    }
}
