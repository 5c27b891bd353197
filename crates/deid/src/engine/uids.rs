//! Which pseudonym a UID gets: the same wherever the same thing is named.

use dicom_core::Tag;
use dicom_dictionary_std::tags as t;

use crate::values::is_standard_uid;
use crate::{PseudonymKey, UidKind};

/// What the UIDs of an attribute name; `sequence` is the one around it.
pub(crate) fn kind(tag: Tag, sequence: Option<Tag>) -> UidKind {
    match (tag, sequence) {
        // A study was once an object of its own, named like any other.
        (t::REFERENCED_SOP_INSTANCE_UID, Some(t::REFERENCED_STUDY_SEQUENCE)) => UidKind::Study,
        (t::STUDY_INSTANCE_UID, _) => UidKind::Study,
        (t::SERIES_INSTANCE_UID, _) => UidKind::Series,
        (
            t::SOP_INSTANCE_UID
            | t::REFERENCED_SOP_INSTANCE_UID
            | t::FAILED_SOP_INSTANCE_UID_LIST
            | t::MULTI_FRAME_SOURCE_SOP_INSTANCE_UID
            | t::SOP_INSTANCE_UID_OF_CONCATENATION_SOURCE,
            _,
        ) => UidKind::Instance,
        (
            t::FRAME_OF_REFERENCE_UID
            | t::REFERENCED_FRAME_OF_REFERENCE_UID
            // Related Frame of Reference UID, retired.
            | Tag(0x3006, 0x00C2)
            | t::SOURCE_FRAME_OF_REFERENCE_UID
            | t::SYNCHRONIZATION_FRAME_OF_REFERENCE_UID,
            _,
        ) => UidKind::FrameOfReference,
        _ => UidKind::Other,
    }
}

/// The pseudonym of a UID as text. UIDs of the standard stay, unless somebody named a study, a series or an instance so.
pub(crate) fn mapped(key: &PseudonymKey, kind: UidKind, original: &str) -> String {
    let ours = matches!(kind, UidKind::Study | UidKind::Series | UidKind::Instance);
    if original.is_empty() || !ours && is_standard_uid(original) {
        return original.to_owned();
    }
    key.uid_of_text(kind, original).to_string()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// The same UID gets the same pseudonym and another one another; each is a UID, and a reference meets its target.
        #[test]
        fn the_map_is_a_function_and_keeps_things_apart(a in "1\\.[2-9](\\.[1-9][0-9]{0,8}){1,5}", b in "1\\.[2-9](\\.[1-9][0-9]{0,8}){1,5}") {
            let key = PseudonymKey::from_bytes([7; 32]);
            let of = |tag, uid: &str| mapped(&key, kind(tag, None), uid);
            prop_assert_eq!(of(t::SOP_INSTANCE_UID, &a), of(t::REFERENCED_SOP_INSTANCE_UID, &a));
            prop_assert_eq!(of(t::SOP_INSTANCE_UID, &a) == of(t::SOP_INSTANCE_UID, &b), a == b);
            prop_assert!(overread_domain::Uid::parse(&of(t::TRACKING_UID, &a)).is_ok());
            prop_assert_ne!(of(t::SOP_INSTANCE_UID, &a), mapped(&PseudonymKey::from_bytes([8; 32]), UidKind::Instance, &a));
        }
    }

    #[test]
    fn a_study_is_the_same_where_it_is_referenced_and_the_standards_uids_stay() {
        let key = PseudonymKey::from_bytes([7; 32]);
        let named = kind(t::REFERENCED_SOP_INSTANCE_UID, Some(t::REFERENCED_STUDY_SEQUENCE));
        assert_eq!(mapped(&key, named, "1.2.3"), mapped(&key, kind(t::STUDY_INSTANCE_UID, None), "1.2.3"));
        assert_eq!(mapped(&key, UidKind::Other, "1.2.840.10008.1.2"), "1.2.840.10008.1.2");
        assert_eq!(mapped(&key, UidKind::Other, ""), "");
    }
}
