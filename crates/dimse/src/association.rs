//! An association, seen from either side: PDUs and presentation data values on a stream (PS3.8
//! §9.3), commands and small data sets on top of them (PS3.7 §6).

use std::io::{self, BufReader, IoSlice, Read};
use std::time::Duration;

use dicom_ul::pdu::{
    AbortRQServiceProviderReason, AbortRQSource, PDU_HEADER_SIZE, PDV_HEADER_SIZE, Pdu, read_pdu, write_pdu,
};

use crate::command::Command;
use crate::stream::Stream;

/// Reads smaller than this are served from a buffer, larger ones go straight to their place.
const READ_BUFFER: usize = 64 * 1024;
/// The longest PDU besides P-DATA-TF: 128 presentation contexts with every transfer syntax there is.
const MAX_CONTROL_PDU: u32 = 1 << 20;
/// The longest command set; real ones have a few hundred bytes.
const MAX_COMMAND: usize = 16 * 1024;
/// The longest P-DATA-TF that is sent, whatever the peer would take.
const MAX_SENT_PDU: usize = 256 * 1024;
/// Some peers do not count the PDU's and the value's headers in what they negotiated.
const TOLERANCE: u32 = PDU_HEADER_SIZE + PDV_HEADER_SIZE;
/// The shortest maximum that a peer is believed; 0 stands for "no maximum" (PS3.8 §D.1).
const LEAST_PEER_PDU: u32 = 128;

/// Why an association ended in the midst.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Broken {
    /// Nothing, or not enough, came in time.
    #[error("silent for too long")]
    Silent,
    /// The connection was closed without release or abort.
    #[error("connection closed by the peer")]
    Closed,
    /// The peer aborted.
    #[error("aborted by the peer")]
    Aborted,
    /// The peer sent what PS3.7 or PS3.8 does not allow.
    #[error("protocol error: {0}")]
    Malformed(&'static str),
    /// TLS failed; the text is the library's.
    #[error("TLS: {0}")]
    Tls(rustls::Error),
    /// The connection failed.
    #[error("connection failed")]
    Io(#[source] io::Error),
    /// This side stops or refuses to go on.
    #[error("{0}")]
    Ours(&'static str),
}

impl From<io::Error> for Broken {
    fn from(error: io::Error) -> Self {
        if let Some(tls) = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
            return Self::Tls(tls.clone());
        }
        match error.kind() {
            io::ErrorKind::TimedOut => Self::Silent,
            io::ErrorKind::UnexpectedEof
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::BrokenPipe => Self::Closed,
            _ => Self::Io(error),
        }
    }
}

/// A presentation context that both sides agreed on.
#[derive(Clone, Debug)]
pub(crate) struct Context {
    pub(crate) id: u8,
    pub(crate) abstract_syntax: String,
    pub(crate) transfer_syntax: String,
}

/// The header of a presentation data value; its bytes are read next.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pdv {
    pub(crate) context: u8,
    pub(crate) is_command: bool,
    pub(crate) is_last: bool,
}

/// What the peer sends next.
enum Next {
    Value(Pdv),
    ReleaseRequest,
    ReleaseReply,
}

/// What a peer asks or answers.
pub(crate) enum Message {
    /// A command set, and the presentation context that it came on.
    Command(Context, Command),
    /// The peer asks for release.
    ReleaseRequest,
}

/// An association on a stream.
pub(crate) struct Association {
    stream: BufReader<Stream>,
    pub(crate) contexts: Vec<Context>,
    patience: Duration,
    our_max_pdu: u32,
    peer_max_pdu: usize,
    /// Bytes of the current P-DATA-TF after the current value.
    in_pdu: u32,
    /// Bytes of the current value that are not read yet.
    in_value: u32,
    message_id: u16,
}

impl Association {
    /// A stream on which nothing is negotiated yet.
    pub(crate) fn new(stream: Stream, patience: Duration, our_max_pdu: u32) -> Self {
        Self {
            stream: BufReader::with_capacity(READ_BUFFER, stream),
            contexts: Vec::new(),
            patience,
            our_max_pdu,
            peer_max_pdu: 16 * 1024,
            in_pdu: 0,
            in_value: 0,
            message_id: 0,
        }
    }

    /// What negotiation agreed on; `peer_max` as the peer wrote it.
    pub(crate) fn agree(&mut self, contexts: Vec<Context>, peer_max: u32) {
        self.contexts = contexts;
        self.peer_max_pdu = match peer_max {
            0 => MAX_SENT_PDU,
            some => MAX_SENT_PDU.min(some.max(LEAST_PEER_PDU) as usize),
        };
    }

    /// How long the peer may be silent from now on.
    pub(crate) fn set_patience(&mut self, patience: Duration) -> io::Result<()> {
        self.patience = patience;
        self.stream.get_mut().set_patience(patience)
    }

    /// A message id that this association has not used recently.
    pub(crate) fn next_message_id(&mut self) -> u16 {
        self.message_id = self.message_id.wrapping_add(1).max(1);
        self.message_id
    }

    /// Writes a PDU of association control.
    pub(crate) fn write_control(&mut self, pdu: &Pdu) -> Result<(), Broken> {
        let mut bytes = Vec::with_capacity(1024);
        write_pdu(&mut bytes, pdu).map_err(|_| Broken::Ours("a PDU could not be encoded"))?;
        self.write(&mut [IoSlice::new(&bytes)])
    }

    fn write(&mut self, parts: &mut [IoSlice<'_>]) -> Result<(), Broken> {
        let stream = self.stream.get_mut();
        stream.allow(self.patience);
        Ok(stream.write_parts(parts)?)
    }

    /// Reads a PDU's header: its type and the length of what follows.
    fn read_header(&mut self) -> Result<(u8, u32), Broken> {
        self.stream.get_mut().allow(self.patience);
        let mut header = [0u8; PDU_HEADER_SIZE as usize];
        self.stream.read_exact(&mut header)?;
        let [kind, _, l0, l1, l2, l3] = header;
        Ok((kind, u32::from_be_bytes([l0, l1, l2, l3])))
    }

    /// Reads a PDU of association control; P-DATA-TF is an error here.
    pub(crate) fn read_control(&mut self) -> Result<Pdu, Broken> {
        match self.read_header()? {
            (kind @ (1..=3 | 5..=7), length) => self.read_body(kind, length),
            (0x15 | 0x16, _) => Err(Broken::Malformed("the peer speaks TLS, this side does not")),
            _ => Err(Broken::Malformed("not a PDU of association negotiation")),
        }
    }

    fn read_body(&mut self, kind: u8, length: u32) -> Result<Pdu, Broken> {
        if length > MAX_CONTROL_PDU {
            return Err(Broken::Malformed("PDU too long"));
        }
        let mut bytes = vec![kind, 0];
        bytes.extend(length.to_be_bytes());
        // What the length claims is allocated only as it arrives.
        let read = (&mut self.stream).take(u64::from(length)).read_to_end(&mut bytes)?;
        if read < length as usize {
            return Err(Broken::Closed);
        }
        // dicom-ul takes some lengths that a peer writes for granted; a panic there is a malformed PDU.
        let parsed = std::panic::catch_unwind(|| read_pdu(bytes.as_slice(), MAX_CONTROL_PDU, true));
        match parsed {
            Ok(Ok(Some(pdu))) => Ok(pdu),
            _ => Err(Broken::Malformed("PDU cannot be parsed")),
        }
    }

    /// What the peer sends next. The value before has been read to its end.
    fn next(&mut self) -> Result<Next, Broken> {
        while self.in_pdu == 0 {
            match self.read_header()? {
                (4, length) if length > self.our_max_pdu.saturating_add(TOLERANCE) => {
                    return Err(Broken::Malformed("P-DATA-TF longer than negotiated"));
                }
                (4, length) => self.in_pdu = length,
                (5, length) => return self.read_body(5, length).map(|_| Next::ReleaseRequest),
                (6, length) => return self.read_body(6, length).map(|_| Next::ReleaseReply),
                (7, _) => return Err(Broken::Aborted),
                _ => return Err(Broken::Malformed("unexpected PDU type")),
            }
        }
        if self.in_pdu < PDV_HEADER_SIZE {
            return Err(Broken::Malformed("P-DATA-TF too short for a presentation data value"));
        }
        let mut header = [0u8; PDV_HEADER_SIZE as usize];
        self.stream.read_exact(&mut header)?;
        let [l0, l1, l2, l3, context, control] = header;
        let length = u32::from_be_bytes([l0, l1, l2, l3]);
        if length < 2 || length > self.in_pdu - 4 {
            return Err(Broken::Malformed("presentation data value does not fit its PDU"));
        }
        self.in_pdu -= 4 + length;
        self.in_value = length - 2;
        Ok(Next::Value(Pdv { context, is_command: control & 1 != 0, is_last: control & 2 != 0 }))
    }

    /// How many bytes of the current value are still to be read.
    pub(crate) fn left(&self) -> usize {
        self.in_value as usize
    }

    /// Fills `into` from the current value, which has that many bytes left.
    pub(crate) fn read_value(&mut self, into: &mut [u8]) -> Result<(), Broken> {
        let length = u32::try_from(into.len()).ok().filter(|length| *length <= self.in_value);
        let length = length.ok_or(Broken::Ours("read past a presentation data value"))?;
        self.stream.read_exact(into)?;
        self.in_value -= length;
        Ok(())
    }

    fn append_value(&mut self, into: &mut Vec<u8>, limit: usize) -> Result<(), Broken> {
        let start = into.len();
        if self.left() > limit.saturating_sub(start) {
            return Err(Broken::Malformed("message too long"));
        }
        into.resize(start + self.left(), 0);
        self.read_value(into.get_mut(start..).unwrap_or_default())
    }

    /// The next command that the peer sends.
    pub(crate) fn read_message(&mut self) -> Result<Message, Broken> {
        let mut bytes = Vec::new();
        let mut on = None;
        loop {
            let pdv = match self.next()? {
                Next::Value(pdv) => pdv,
                Next::ReleaseRequest if on.is_none() => return Ok(Message::ReleaseRequest),
                Next::ReleaseRequest | Next::ReleaseReply => {
                    return Err(Broken::Malformed("release in the midst of a message"));
                }
            };
            if !pdv.is_command || *on.get_or_insert(pdv.context) != pdv.context {
                return Err(Broken::Malformed("expected a command"));
            }
            self.append_value(&mut bytes, MAX_COMMAND)?;
            if pdv.is_last {
                let context = self.contexts.iter().find(|context| context.id == pdv.context);
                let context = context.ok_or(Broken::Malformed("presentation context was not agreed on"))?;
                let command = Command::decode(&bytes).map_err(Broken::Malformed)?;
                return Ok(Message::Command(context.clone(), command));
            }
        }
    }

    /// The next value of the data set that follows a command on this context.
    pub(crate) fn next_data(&mut self, context: u8) -> Result<Pdv, Broken> {
        match self.next()? {
            Next::Value(pdv) if !pdv.is_command && pdv.context == context => Ok(pdv),
            _ => Err(Broken::Malformed("expected the data set of the command before")),
        }
    }

    /// Reads a data set of at most `limit` bytes into memory.
    pub(crate) fn read_data_set(&mut self, context: u8, limit: usize) -> Result<Vec<u8>, Broken> {
        let mut bytes = Vec::new();
        loop {
            let pdv = self.next_data(context)?;
            self.append_value(&mut bytes, limit)?;
            if pdv.is_last {
                return Ok(bytes);
            }
        }
    }

    /// Sends a command set.
    pub(crate) fn send_command(&mut self, context: u8, command: &Command) -> Result<(), Broken> {
        self.send_values(context, true, &[&command.encode()])
    }

    /// Sends a data set that lies in memory, in pieces that need not be copied together.
    pub(crate) fn send_data_set(&mut self, context: u8, pieces: &[&[u8]]) -> Result<(), Broken> {
        self.send_values(context, false, pieces)
    }

    fn send_values(&mut self, context: u8, is_command: bool, pieces: &[&[u8]]) -> Result<(), Broken> {
        let mut left: usize = pieces.iter().map(|piece| piece.len()).sum();
        let mut pieces = pieces.iter().copied();
        let mut piece: &[u8] = &[];
        loop {
            let length = left.min(self.value_room());
            left -= length;
            let header = value_header(context, is_command, left == 0, length);
            let mut parts = vec![IoSlice::new(&header)];
            let mut missing = length;
            while missing > 0 {
                if piece.is_empty() {
                    piece = pieces.next().ok_or(Broken::Ours("fewer bytes to send than announced"))?;
                }
                let (now, rest) = piece.split_at(missing.min(piece.len()));
                parts.push(IoSlice::new(now));
                missing -= now.len();
                piece = rest;
            }
            self.write(&mut parts)?;
            if left == 0 {
                return Ok(());
            }
        }
    }

    /// Sends a data set of `length` bytes from a reader, a PDU at a time.
    pub(crate) fn send_stream(
        &mut self,
        context: u8,
        source: &mut dyn Read,
        length: u64,
    ) -> Result<(), SendError> {
        let room = self.value_room();
        let mut left = length;
        let mut buffer = vec![0u8; usize::try_from(length).unwrap_or(room).min(room)];
        loop {
            let now = usize::try_from(left).unwrap_or(room).min(room);
            let value = buffer.get_mut(..now).unwrap_or_default();
            source.read_exact(value).map_err(SendError::Source)?;
            left -= now as u64;
            let header = value_header(context, false, left == 0, now);
            self.write(&mut [IoSlice::new(&header), IoSlice::new(value)]).map_err(SendError::Connection)?;
            if left == 0 {
                return Ok(());
            }
        }
    }

    /// The longest value that the peer takes; even, as fragments have to be (PS3.8 §E.1).
    fn value_room(&self) -> usize {
        (self.peer_max_pdu - PDV_HEADER_SIZE as usize) & !1
    }

    /// Answers the peer's request for release.
    pub(crate) fn confirm_release(&mut self) {
        // The peer may have closed at once: it got what it wanted.
        let _ = self.write_control(&Pdu::ReleaseRP);
        self.close();
    }

    /// Asks for release and waits for the peer's agreement.
    pub(crate) fn release(&mut self) -> Result<(), Broken> {
        self.write_control(&Pdu::ReleaseRQ)?;
        loop {
            match self.next()? {
                Next::ReleaseReply => break,
                // Both sides asked at once (PS3.8 §9.2.3, release collision).
                Next::ReleaseRequest => self.write_control(&Pdu::ReleaseRP)?,
                Next::Value(_) => return Err(Broken::Malformed("data after the request for release")),
            }
        }
        self.close();
        Ok(())
    }

    /// Tells the peer that this side goes, and closes.
    pub(crate) fn abort(&mut self, reason: AbortRQServiceProviderReason) {
        // Whether the peer still hears it does not matter.
        let _ = self.write_control(&Pdu::AbortRQ { source: AbortRQSource::ServiceProvider(reason) });
        self.close();
    }

    /// Closes the connection, in a way that lets the peer read our last words.
    pub(crate) fn close(&mut self) {
        self.stream.get_mut().close();
    }
}

/// A data set that could not be sent: the connection's fault, or the source's.
pub(crate) enum SendError {
    Connection(Broken),
    Source(io::Error),
}

/// The header of a P-DATA-TF with one value of `length` bytes (PS3.8 §9.3.5, §E.2).
fn value_header(context: u8, is_command: bool, is_last: bool, length: usize) -> [u8; 12] {
    // Values are at most MAX_SENT_PDU long.
    let value = u32::try_from(length + 2).unwrap_or(u32::MAX);
    let [p0, p1, p2, p3] = (value + 4).to_be_bytes();
    let [v0, v1, v2, v3] = value.to_be_bytes();
    let control = u8::from(is_command) | u8::from(is_last) << 1;
    [4, 0, p0, p1, p2, p3, v0, v1, v2, v3, context, control]
}
