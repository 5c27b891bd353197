//! C-STORE to a peer: objects stream from disk over one association.

use std::fs::File;
use std::io::{BufReader, Read, Seek};
use std::path::Path;

use dicom_object::FileMetaTable;
use dicom_ul::pdu::AbortRQServiceProviderReason;
use overread_domain::Uid;

use super::{Peer, response, written};
use crate::DimseError;
use crate::association::{Association, Broken, SendError};
use crate::command::{Command, element, field};
use crate::dataset;

const DOING: &str = "C-STORE";

/// An association that objects are sent over, one after the other. Without [`Sender::release`] it is
/// aborted on drop.
pub struct Sender {
    peer: Peer,
    association: Association,
    open: bool,
}

/// What a file is, by its meta group, and a reader that stands at its data set.
struct Outgoing {
    sop_class: Uid,
    sop_instance: Uid,
    transfer_syntax: String,
    data_set: BufReader<File>,
    /// Bytes of the data set.
    length: u64,
}

fn open(path: &Path) -> Result<Outgoing, DimseError> {
    let failed = |source| DimseError::File { what: "the file to send", source };
    let file = File::open(path).map_err(failed)?;
    let size = file.metadata().map_err(failed)?.len();
    let mut data_set = BufReader::with_capacity(64 * 1024, file);
    let mut preamble = [0u8; 128];
    data_set.read_exact(&mut preamble).map_err(|_| DimseError::NotPart10("it is shorter than a preamble"))?;
    let meta = FileMetaTable::from_reader(&mut data_set)
        .map_err(|_| DimseError::NotPart10("its meta group cannot be read"))?;
    let begin = data_set.stream_position().map_err(failed)?;
    let uid = |text, what| dataset::uid(Some(text)).ok_or(DimseError::NotPart10(what));
    Ok(Outgoing {
        sop_class: uid(meta.media_storage_sop_class_uid(), "(0002,0002) is not a UID")?,
        sop_instance: uid(meta.media_storage_sop_instance_uid(), "(0002,0003) is not a UID")?,
        transfer_syntax: meta.transfer_syntax().trim_matches(['\0', ' ']).to_owned(),
        data_set,
        length: size.saturating_sub(begin),
    })
}

/// What has to be negotiated to send these files: SOP classes, and the transfer syntaxes of each.
///
/// # Errors
/// [`DimseError::File`] or [`DimseError::NotPart10`] for a file that cannot be sent.
pub fn contexts_of(files: &[&Path]) -> Result<Vec<(Uid, Vec<String>)>, DimseError> {
    let mut contexts: Vec<(Uid, Vec<String>)> = Vec::new();
    for file in files {
        let Outgoing { sop_class, transfer_syntax, .. } = open(file)?;
        match contexts.iter_mut().find(|(class, _)| *class == sop_class) {
            None => contexts.push((sop_class, vec![transfer_syntax])),
            Some((_, syntaxes)) if !syntaxes.contains(&transfer_syntax) => syntaxes.push(transfer_syntax),
            Some(_) => {}
        }
    }
    Ok(contexts)
}

impl Sender {
    /// Opens an association. Each pair of SOP class and transfer syntax is a presentation context of
    /// its own, so that the peer cannot choose another transfer syntax than a file has: nothing is
    /// transcoded here.
    ///
    /// # Errors
    /// Any of [`DimseError`] that speaks of a peer; more than 128 pairs are a [`DimseError::Setting`].
    pub fn connect(peer: &Peer, contexts: &[(Uid, Vec<String>)]) -> Result<Self, DimseError> {
        let proposed = contexts
            .iter()
            .flat_map(|(class, syntaxes)| {
                syntaxes.iter().map(|syntax| (class.as_str().to_owned(), vec![syntax.clone()]))
            })
            .collect();
        let (association, _) = peer.associate(proposed)?;
        Ok(Self { peer: peer.clone(), association, open: true })
    }

    /// The SOP classes of which the peer takes at least one of the transfer syntaxes that were offered.
    pub fn accepted(&self) -> impl Iterator<Item = &str> {
        self.association.contexts.iter().map(|context| context.abstract_syntax.as_str())
    }

    /// Sends a DICOM file and gives the status that the peer answered (PS3.4 §B.2.3): 0000 is
    /// success, Bxxx a warning with success, everything else a refusal.
    ///
    /// # Errors
    /// The file cannot be read, its presentation context was not accepted (the association stays
    /// open), or the association broke (it is closed, further calls fail).
    pub fn store(&mut self, file: &Path) -> Result<u16, DimseError> {
        let mut outgoing = open(file)?;
        let context = self.context(&outgoing.sop_class, &outgoing.transfer_syntax)?;
        let id = self.announce(context, &outgoing.sop_class, &outgoing.sop_instance)?;
        match self.association.send_stream(context, &mut outgoing.data_set, outgoing.length) {
            Ok(()) => self.answered(id),
            Err(SendError::Connection(broken)) => Err(self.broken(broken)),
            Err(SendError::Source(source)) => {
                self.abort();
                Err(DimseError::File { what: "the file to send", source })
            }
        }
    }

    /// Sends a data set that lies in memory, encoded in `transfer_syntax`, in pieces that need not be
    /// copied together.
    ///
    /// # Errors
    /// As [`Sender::store`].
    pub fn store_pieces(
        &mut self,
        sop_class: &Uid,
        sop_instance: &Uid,
        transfer_syntax: &str,
        data_set: &[&[u8]],
    ) -> Result<u16, DimseError> {
        let context = self.context(sop_class, transfer_syntax)?;
        let id = self.announce(context, sop_class, sop_instance)?;
        match self.association.send_data_set(context, data_set) {
            Ok(()) => self.answered(id),
            Err(broken) => Err(self.broken(broken)),
        }
    }

    /// Ends the association in order.
    ///
    /// # Errors
    /// The association broke before the peer agreed; what was sent and answered stays so.
    pub fn release(mut self) -> Result<(), DimseError> {
        if !std::mem::take(&mut self.open) {
            return Ok(());
        }
        let answer = self.peer.answer;
        self.association.release().map_err(|broken| self.peer.failed("release", broken, answer))
    }

    fn context(&self, sop_class: &Uid, transfer_syntax: &str) -> Result<u8, DimseError> {
        if !self.open {
            return Err(self.peer.failed(DOING, Broken::Closed, self.peer.answer));
        }
        let fits = self.association.contexts.iter().find(|context| {
            context.abstract_syntax == sop_class.as_str() && context.transfer_syntax == transfer_syntax
        });
        fits.map(|context| context.id).ok_or_else(|| DimseError::NoContext {
            peer: self.peer.name(),
            contexts: vec![written(sop_class.as_str(), &[transfer_syntax.to_owned()])],
        })
    }

    fn announce(&mut self, context: u8, sop_class: &Uid, sop_instance: &Uid) -> Result<u16, DimseError> {
        let id = self.association.next_message_id();
        let request = Command::request(field::C_STORE, id, true)
            .ui(element::AFFECTED_SOP_CLASS, sop_class.as_str())
            .us(element::PRIORITY, 0)
            .ui(element::AFFECTED_SOP_INSTANCE, sop_instance.as_str());
        match self.association.send_command(context, &request) {
            Ok(()) => Ok(id),
            Err(broken) => Err(self.broken(broken)),
        }
    }

    fn answered(&mut self, id: u16) -> Result<u16, DimseError> {
        response(&mut self.association, field::C_STORE, id).map_err(|broken| self.broken(broken))
    }

    fn broken(&mut self, broken: Broken) -> DimseError {
        self.abort();
        self.peer.failed(DOING, broken, self.peer.answer)
    }

    fn abort(&mut self) {
        if std::mem::take(&mut self.open) {
            self.association.abort(AbortRQServiceProviderReason::ReasonNotSpecified);
        }
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        self.abort();
    }
}
