//! Looks into data sets without trusting them: tokens of `dicom-parser` one after the other, no
//! recursion, and no value read that is longer than what is there.

use std::io::{Cursor, Read};

use dicom_core::Tag;
use dicom_core::header::{HasLength, Header};
use dicom_dictionary_std::{tags, uids};
use dicom_encoding::Codec;
use dicom_encoding::transfer_syntax::{TransferSyntax, TransferSyntaxIndex};
use dicom_parser::StatefulDecode;
use dicom_parser::dataset::LazyDataToken;
use dicom_parser::dataset::lazy_read::LazyDataSetReader;
use dicom_transfer_syntax_registry::TransferSyntaxRegistry;
use overread_domain::Uid;

/// How much of a data set is looked at for its SOP UIDs.
pub(crate) const HEAD: usize = 64 * 1024;
/// The longest value that is read; UIDs and failure reasons are shorter.
const LONGEST: u32 = 128;

/// A short value of an element, and where it is.
pub(crate) struct Short<'a> {
    /// The sequences around the element, outermost first; empty at the top.
    pub(crate) path: &'a [Tag],
    /// Counts the items of the innermost sequence, from 0.
    pub(crate) item: usize,
    pub(crate) tag: Tag,
    pub(crate) value: &'a [u8],
}

impl Short<'_> {
    /// The value as a text without padding.
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(self.value).unwrap_or("").trim_matches(['\0', ' '])
    }
}

/// Gives every element with a value of at most 128 bytes to `see` until that says stop (false), the
/// bytes end, or they stop making sense (an error).
pub(crate) fn walk(
    bytes: &[u8],
    transfer_syntax: &str,
    see: &mut dyn FnMut(&Short<'_>) -> bool,
) -> Result<(), &'static str> {
    const UNKNOWN: &str = "transfer syntax unknown";
    let syntax = known(transfer_syntax).ok_or(UNKNOWN)?;
    // The whole data set is deflated (PS3.5 §A.5).
    if matches!(syntax.codec(), Codec::Dataset(_)) {
        let mut plain = Vec::new();
        // A head that is cut short ends with an error after all that could be inflated: what came
        // until then is looked at.
        let _ = flate2::read::DeflateDecoder::new(bytes).take(HEAD as u64).read_to_end(&mut plain);
        walk_plain(&plain, known(uids::EXPLICIT_VR_LITTLE_ENDIAN).ok_or(UNKNOWN)?, see)
    } else {
        walk_plain(bytes, syntax, see)
    }
}

fn walk_plain(
    bytes: &[u8],
    syntax: &TransferSyntax,
    see: &mut dyn FnMut(&Short<'_>) -> bool,
) -> Result<(), &'static str> {
    const UNREADABLE: &str = "data set cannot be parsed";
    let mut reader = LazyDataSetReader::new_with_ts(Cursor::new(bytes), syntax).map_err(|_| UNREADABLE)?;
    let mut path = Vec::new();
    let mut items = Vec::new();
    let mut value = Vec::new();
    while let Some(token) = reader.advance() {
        match token.map_err(|_| UNREADABLE)? {
            LazyDataToken::SequenceStart { tag, .. } => {
                path.push(tag);
                items.push(0usize);
            }
            LazyDataToken::SequenceEnd => {
                path.pop();
                items.pop();
            }
            LazyDataToken::ItemEnd => {
                if let Some(item) = items.last_mut() {
                    *item += 1;
                }
            }
            LazyDataToken::LazyValue { header, decoder } => {
                let length = header.length().get().ok_or(UNREADABLE)?;
                if decoder.position().saturating_add(u64::from(length)) > bytes.len() as u64 {
                    return Err(UNREADABLE);
                }
                if length > LONGEST {
                    decoder.skip_bytes(length).map_err(|_| UNREADABLE)?;
                    continue;
                }
                value.clear();
                decoder.read_to_vec(length, &mut value).map_err(|_| UNREADABLE)?;
                let item = items.last().copied().unwrap_or(0);
                if !see(&Short { path: &path, item, tag: header.tag(), value: &value }) {
                    return Ok(());
                }
            }
            // Nothing that is looked for comes after pixels.
            LazyDataToken::PixelSequenceStart | LazyDataToken::LazyItemValue { .. } => return Ok(()),
            _ => {}
        }
    }
    Ok(())
}

/// A transfer syntax that the registry knows.
pub(crate) fn known(uid: &str) -> Option<&'static TransferSyntax> {
    TransferSyntaxRegistry.get(uid)
}

/// The SOP UIDs that a data set's head holds.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) sop_class: Option<String>,
    pub(crate) sop_instance: Option<String>,
}

impl Head {
    /// Reads the head of a data set; what cannot be parsed is as good as absent.
    pub(crate) fn read(bytes: &[u8], transfer_syntax: &str) -> Self {
        let mut head = Self::default();
        let bytes = bytes.get(..HEAD).unwrap_or(bytes);
        let _ = walk(bytes, transfer_syntax, &mut |short| {
            if !short.path.is_empty() {
                return true;
            }
            if short.tag == tags::SOP_CLASS_UID {
                head.sop_class = Some(short.text().to_owned());
            } else if short.tag == tags::SOP_INSTANCE_UID {
                head.sop_instance = Some(short.text().to_owned());
            }
            short.tag < tags::SOP_INSTANCE_UID
        });
        head
    }
}

/// Parses a UID that a peer sent, without telling anybody what it was.
pub(crate) fn uid(text: Option<&str>) -> Option<Uid> {
    Uid::parse(text?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn element(group: u16, element: u16, vr: &[u8; 2], value: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        bytes.extend(group.to_le_bytes());
        bytes.extend(element.to_le_bytes());
        bytes.extend(vr);
        if vr == b"SQ" {
            bytes.extend([0, 0]);
            bytes.extend(u32::try_from(value.len()).unwrap().to_le_bytes());
        } else {
            bytes.extend(u16::try_from(value.len()).unwrap().to_le_bytes());
        }
        bytes.extend(value);
        bytes
    }

    fn ct() -> Vec<u8> {
        let mut bytes = element(8, 5, b"CS", b"ISO_IR 100");
        // A sequence before the SOP UIDs holds elements with the same tags: they are not meant.
        let inner = element(8, 0x18, b"UI", b"9.9.9\0");
        let mut item = vec![0xfe, 0xff, 0x00, 0xe0];
        item.extend(u32::try_from(inner.len()).unwrap().to_le_bytes());
        item.extend(inner);
        bytes.extend(element(8, 6, b"SQ", &item));
        bytes.extend(element(8, 0x16, b"UI", b"1.2.840.10008.5.1.4.1.1.2\0"));
        bytes.extend(element(8, 0x18, b"UI", b"1.2.3\0"));
        bytes
    }

    fn wanted() -> Head {
        let class = "1.2.840.10008.5.1.4.1.1.2".to_owned();
        Head { sop_class: Some(class), sop_instance: Some("1.2.3".to_owned()) }
    }

    #[test]
    fn the_head_is_read_past_sequences_and_when_deflated() {
        assert_eq!(Head::read(&ct(), uids::EXPLICIT_VR_LITTLE_ENDIAN), wanted());
        let mut deflated = Vec::new();
        flate2::read::DeflateEncoder::new(ct().as_slice(), flate2::Compression::fast())
            .read_to_end(&mut deflated)
            .unwrap();
        assert_eq!(Head::read(&deflated, uids::DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN), wanted());
    }

    #[test]
    fn nonsense_is_absent_and_costs_nothing() {
        let huge = [8, 0, 5, 0, b'O', b'B', 0, 0, 0xff, 0xff, 0xff, 0x7f];
        assert_eq!(Head::read(&huge, uids::EXPLICIT_VR_LITTLE_ENDIAN), Head::default());
        assert_eq!(Head::read(&[0xff; 4096], uids::IMPLICIT_VR_LITTLE_ENDIAN), Head::default());
        assert_eq!(Head::read(&ct(), "1.2.3"), Head::default());
        for end in 0..ct().len() {
            let _ = Head::read(&ct()[..end], uids::EXPLICIT_VR_LITTLE_ENDIAN);
        }
        // Sequences in sequences, as deep as they fit, do not use up the stack.
        let mut deep = Vec::new();
        while deep.len() < HEAD - 20 {
            deep.extend([8, 0, 6, 0, b'S', b'Q', 0, 0, 0xff, 0xff, 0xff, 0xff]);
            deep.extend([0xfe, 0xff, 0x00, 0xe0, 0xff, 0xff, 0xff, 0xff]);
        }
        assert_eq!(Head::read(&deep, uids::EXPLICIT_VR_LITTLE_ENDIAN), Head::default());
    }
}
