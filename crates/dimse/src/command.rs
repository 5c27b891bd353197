//! DIMSE command sets (PS3.7 §6.3, §E): group 0000 in implicit VR little endian, whatever the data
//! set's transfer syntax. A dozen short elements, so that a reader that trusts no length is smaller
//! than the guards that a general one would need.

use dicom_core::Tag;

/// Values of Command Field (0000,0100).
pub(crate) mod field {
    pub(crate) const C_STORE: u16 = 0x0001;
    pub(crate) const C_ECHO: u16 = 0x0030;
    pub(crate) const N_EVENT_REPORT: u16 = 0x0100;
    pub(crate) const N_ACTION: u16 = 0x0130;
    pub(crate) const C_CANCEL: u16 = 0x0FFF;
    /// The bit that makes a response of a request.
    pub(crate) const RESPONSE: u16 = 0x8000;
}

/// Elements of group 0000 (PS3.7 §E.1), by element number.
pub(crate) mod element {
    pub(crate) const AFFECTED_SOP_CLASS: u16 = 0x0002;
    pub(crate) const REQUESTED_SOP_CLASS: u16 = 0x0003;
    pub(crate) const COMMAND_FIELD: u16 = 0x0100;
    pub(crate) const MESSAGE_ID: u16 = 0x0110;
    pub(crate) const RESPONDED_TO: u16 = 0x0120;
    pub(crate) const PRIORITY: u16 = 0x0700;
    pub(crate) const DATA_SET_TYPE: u16 = 0x0800;
    pub(crate) const STATUS: u16 = 0x0900;
    pub(crate) const OFFENDING: u16 = 0x0901;
    pub(crate) const COMMENT: u16 = 0x0902;
    pub(crate) const AFFECTED_SOP_INSTANCE: u16 = 0x1000;
    pub(crate) const REQUESTED_SOP_INSTANCE: u16 = 0x1001;
    pub(crate) const EVENT_TYPE: u16 = 0x1002;
    pub(crate) const ACTION_TYPE: u16 = 0x1008;
}

/// The value of Command Data Set Type that says that no data set follows.
const NO_DATA_SET: u16 = 0x0101;

/// A command set: element number and value, in ascending order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Command(Vec<(u16, Vec<u8>)>);

impl Command {
    /// A request with a message id of its own.
    pub(crate) fn request(command: u16, id: u16, data_set: bool) -> Self {
        Self::default()
            .us(element::COMMAND_FIELD, command)
            .us(element::MESSAGE_ID, id)
            .us(element::DATA_SET_TYPE, if data_set { 1 } else { NO_DATA_SET })
    }

    /// The response to a request, without a data set.
    pub(crate) fn response_to(request: &Self, status: u16) -> Self {
        Self::default()
            .us(element::COMMAND_FIELD, request.field() | field::RESPONSE)
            .us(element::RESPONDED_TO, request.us_at(element::MESSAGE_ID).unwrap_or(0))
            .us(element::DATA_SET_TYPE, NO_DATA_SET)
            .us(element::STATUS, status)
    }

    /// Adds an unsigned short.
    pub(crate) fn us(self, element: u16, value: u16) -> Self {
        self.with(element, value.to_le_bytes().to_vec())
    }

    /// Adds a UID, padded with NUL.
    pub(crate) fn ui(self, element: u16, uid: &str) -> Self {
        self.padded(element, uid, 0)
    }

    /// Adds a text, padded with a space.
    pub(crate) fn lo(self, element: u16, text: &str) -> Self {
        self.padded(element, text, b' ')
    }

    /// Adds an attribute tag.
    pub(crate) fn at(self, element: u16, tag: Tag) -> Self {
        let mut value = tag.group().to_le_bytes().to_vec();
        value.extend(tag.element().to_le_bytes());
        self.with(element, value)
    }

    /// Copies a text of another command, if it has one.
    pub(crate) fn echoing(self, other: &Self, from: u16, to: u16) -> Self {
        match other.text_at(from) {
            Some(text) => self.ui(to, text),
            None => self,
        }
    }

    fn padded(self, element: u16, text: &str, padding: u8) -> Self {
        let mut value = text.as_bytes().to_vec();
        if value.len() % 2 == 1 {
            value.push(padding);
        }
        self.with(element, value)
    }

    fn with(mut self, element: u16, value: Vec<u8>) -> Self {
        let at = self.0.partition_point(|(present, _)| *present < element);
        self.0.insert(at, (element, value));
        self
    }

    /// The value of Command Field; 0 where there is none.
    pub(crate) fn field(&self) -> u16 {
        self.us_at(element::COMMAND_FIELD).unwrap_or(0)
    }

    /// Whether a data set follows.
    pub(crate) fn has_data_set(&self) -> bool {
        self.us_at(element::DATA_SET_TYPE).is_some_and(|kind| kind != NO_DATA_SET)
    }

    /// An unsigned short.
    pub(crate) fn us_at(&self, element: u16) -> Option<u16> {
        match self.raw(element)? {
            [low, high] => Some(u16::from_le_bytes([*low, *high])),
            _ => None,
        }
    }

    /// A text without its padding, if it is ASCII.
    pub(crate) fn text_at(&self, element: u16) -> Option<&str> {
        let text = std::str::from_utf8(self.raw(element)?).ok()?;
        Some(text.trim_matches(['\0', ' '])).filter(|text| text.is_ascii() && !text.is_empty())
    }

    fn raw(&self, element: u16) -> Option<&[u8]> {
        self.0.iter().find(|(present, _)| *present == element).map(|(_, value)| value.as_slice())
    }

    /// The bytes that go into command PDVs, group length first.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let body: usize = self.0.iter().map(|(_, value)| 8 + value.len()).sum();
        let mut bytes = Vec::with_capacity(12 + body);
        push(&mut bytes, 0, &(u32::try_from(body).unwrap_or(u32::MAX)).to_le_bytes());
        for (element, value) in &self.0 {
            push(&mut bytes, *element, value);
        }
        bytes
    }

    /// Reads a command set; elements of other groups are an error, the group length is not needed.
    pub(crate) fn decode(mut bytes: &[u8]) -> Result<Self, &'static str> {
        const SHORT: &str = "command set cut short";
        let mut command = Self::default();
        while !bytes.is_empty() {
            let (header, rest) = bytes.split_first_chunk::<8>().ok_or(SHORT)?;
            let [g0, g1, e0, e1, l0, l1, l2, l3] = *header;
            if (g0, g1) != (0, 0) {
                return Err("command set with an element outside group 0000");
            }
            let length = u32::from_le_bytes([l0, l1, l2, l3]) as usize;
            let (value, rest) = rest.split_at_checked(length).ok_or(SHORT)?;
            let element = u16::from_le_bytes([e0, e1]);
            if element != 0 {
                command = command.with(element, value.to_vec());
            }
            bytes = rest;
        }
        if command.field() == 0 { Err("command set without a command") } else { Ok(command) }
    }
}

fn push(bytes: &mut Vec<u8>, element: u16, value: &[u8]) {
    bytes.extend([0, 0]);
    bytes.extend(element.to_le_bytes());
    bytes.extend((u32::try_from(value.len()).unwrap_or(u32::MAX)).to_le_bytes());
    bytes.extend(value);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_survives_its_encoding() {
        let command = Command::request(field::C_STORE, 7, true)
            .ui(element::AFFECTED_SOP_INSTANCE, "1.2.3")
            .ui(element::AFFECTED_SOP_CLASS, "1.2.840.10008.5.1.4.1.1.2");
        let bytes = command.encode();
        assert_eq!(bytes.len() % 2, 0);
        assert_eq!(u32::from_le_bytes([bytes[8], bytes[9], bytes[10], bytes[11]]) as usize, bytes.len() - 12);
        let read = Command::decode(&bytes).unwrap();
        assert_eq!(read, command);
        assert_eq!(read.us_at(element::MESSAGE_ID), Some(7));
        assert_eq!(read.text_at(element::AFFECTED_SOP_INSTANCE), Some("1.2.3"));
        assert!(read.has_data_set());
        assert!(!Command::response_to(&read, 0).has_data_set());
    }

    #[test]
    fn lengths_are_not_trusted() {
        let bytes = Command::request(field::C_ECHO, 1, false).encode();
        for end in 1..bytes.len() {
            // A cut between two elements after the command field is still a command set.
            let _ = Command::decode(&bytes[..end]);
        }
        assert!(Command::decode(&bytes[..bytes.len() - 1]).is_err());
        assert!(Command::decode(&[0, 0, 0, 1, 0xff, 0xff, 0xff, 0xff, 1]).is_err());
        assert!(Command::decode(&[8, 0, 0x18, 0, 0, 0, 0, 0]).is_err());
        assert!(Command::decode(&[]).is_err());
    }
}
