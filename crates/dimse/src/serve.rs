//! One accepted connection, from TLS to release: what it asks for, and what it is answered.

use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use dicom_dictionary_std::{tags, uids};
use dicom_ul::pdu::{AbortRQServiceProviderReason as Abort, Pdu};

use crate::association::{Association, Broken, Context, Message};
use crate::command::{Command, element, field};
use crate::object::{Announced, Arrived, BUFFER, discard, receive};
use crate::scp::Shared;
use crate::scu::commitment;
use crate::stream::Stream;
use crate::{Caller, StoreStatus, dataset, negotiation};

/// Status 0211: unrecognised operation (PS3.7 §C.5.23).
const UNRECOGNISED: u16 = 0x0211;
/// Status 0115: invalid argument value (PS3.7 §C.4.3), for a report that cannot be read.
const INVALID_ARGUMENT: u16 = 0x0115;
const PROCESSING_FAILURE: u16 = 0x0110;

/// Serves a connection to its end, and logs how it ended: AE titles, never an instance.
pub(crate) fn connection(shared: &Arc<Shared>, socket: TcpStream, address: SocketAddr, busy: &AtomicBool) {
    let mut association = match accept(shared, socket) {
        Ok(association) => association,
        Err(broken) => {
            tracing::info!(%address, "connection ended before TLS was agreed on: {broken}");
            return;
        }
    };
    let (caller, _slot) = match negotiate(shared, &mut association, address) {
        Ok(Some(established)) => established,
        Ok(None) => return,
        Err(broken) => {
            end(&mut association, &broken);
            tracing::info!(%address, "connection ended before an association: {broken}");
            return;
        }
    };
    let served = Served { shared, caller: &caller, busy, buffer: vec![0; BUFFER] }.run(&mut association);
    match served {
        Ok(()) => tracing::debug!(calling = %caller.calling, "association released"),
        Err(broken) => {
            end(&mut association, &broken);
            tracing::warn!(calling = %caller.calling, %address, "association ended: {broken}");
        }
    }
}

fn accept(shared: &Shared, socket: TcpStream) -> Result<Association, Broken> {
    let patience = shared.config.negotiation;
    let stream = match &shared.config.tls {
        None => Stream::plain(socket, patience)?,
        Some(tls) => Stream::server_tls(socket, patience, Arc::clone(tls))?,
    };
    Ok(Association::new(stream, patience, shared.config.max_pdu))
}

/// Ends a broken association in the way that the breach calls for.
fn end(association: &mut Association, broken: &Broken) {
    match broken {
        Broken::Malformed(_) => association.abort(Abort::UnexpectedPdu),
        Broken::Silent | Broken::Ours(_) => association.abort(Abort::ReasonNotSpecified),
        Broken::Closed | Broken::Aborted | Broken::PeerSpeaksTls | Broken::Tls(_) | Broken::Io(_) => {
            association.close();
        }
    }
}

/// A place among the open associations, given back on drop.
struct Slot<'a>(&'a Shared);

impl Drop for Slot<'_> {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::SeqCst);
    }
}

impl<'a> Slot<'a> {
    fn take(shared: &'a Shared) -> Option<Self> {
        let limit = shared.config.max_associations;
        let taken = shared
            .open
            .try_update(Ordering::SeqCst, Ordering::SeqCst, |open| (open < limit).then_some(open + 1));
        // Lazily: a slot that is made is given back when it is dropped.
        taken.is_ok().then(|| Self(shared))
    }
}

/// Reads the A-ASSOCIATE-RQ and answers it; nothing, if the answer was a rejection.
fn negotiate<'a>(
    shared: &'a Shared,
    association: &mut Association,
    address: SocketAddr,
) -> Result<Option<(Caller, Slot<'a>)>, Broken> {
    let Pdu::AssociationRQ(request) = association.read_control()? else {
        return Err(Broken::Malformed("the first PDU was no request for association"));
    };
    let decided = negotiation::decide(request, &shared.config).and_then(|accepted| {
        Slot::take(shared).map(|slot| (accepted, slot)).ok_or_else(negotiation::local_limit)
    });
    match decided {
        Err(rejection) => {
            tracing::warn!(%address, "association rejected: {}", rejection.source);
            association.write_control(&Pdu::AssociationRJ(rejection))?;
            association.close();
            Ok(None)
        }
        Ok((accepted, slot)) => {
            association.write_control(&Pdu::AssociationAC(accepted.reply))?;
            association.agree(accepted.contexts, accepted.peer_max_pdu);
            association.set_patience(shared.config.idle)?;
            let caller = Caller { calling: accepted.calling, called: accepted.called, address };
            tracing::debug!(calling = %caller.calling, %address, "association accepted");
            Ok(Some((caller, slot)))
        }
    }
}

/// An established association's state on this side.
struct Served<'a> {
    shared: &'a Shared,
    caller: &'a Caller,
    busy: &'a AtomicBool,
    buffer: Vec<u8>,
}

impl Served<'_> {
    /// Answers messages until the peer releases.
    fn run(&mut self, association: &mut Association) -> Result<(), Broken> {
        const STOPPING: Broken = Broken::Ours("this side stops");
        loop {
            if self.shared.stopping.load(Ordering::SeqCst) {
                return Err(STOPPING);
            }
            let message = association.read_message().map_err(|broken| match broken {
                Broken::Closed if self.shared.stopping.load(Ordering::SeqCst) => STOPPING,
                other => other,
            })?;
            let Message::Command(context, command) = message else {
                association.confirm_release();
                return Ok(());
            };
            self.busy.store(true, Ordering::SeqCst);
            self.answer(association, &context, &command)?;
            self.busy.store(false, Ordering::SeqCst);
        }
    }

    fn answer(
        &mut self,
        association: &mut Association,
        context: &Context,
        command: &Command,
    ) -> Result<(), Broken> {
        match command.field() {
            field::C_ECHO => {
                let response =
                    Command::response_to(command, 0).ui(element::AFFECTED_SOP_CLASS, uids::VERIFICATION);
                association.send_command(context.id, &response)
            }
            field::C_STORE if command.has_data_set() => self.store(association, context, command),
            field::N_EVENT_REPORT if context.abstract_syntax == uids::STORAGE_COMMITMENT_PUSH_MODEL => {
                match commitment::read_event(association, context, command)? {
                    Some(report) => {
                        let noted = self.shared.receiver.committed(self.caller, report);
                        let status = if noted { 0 } else { PROCESSING_FAILURE };
                        commitment::answer_event(association, context, command, status)
                    }
                    None => commitment::answer_event(association, context, command, INVALID_ARGUMENT),
                }
            }
            // Everything is answered before the next message is read: there is nothing to cancel.
            field::C_CANCEL => Ok(()),
            code if code & field::RESPONSE != 0 => Err(Broken::Malformed("a response that nobody waits for")),
            _ => {
                if command.has_data_set() {
                    let limit = self.shared.config.max_object_bytes;
                    discard(association, context.id, &mut self.buffer, limit, StoreStatus::CannotUnderstand)?;
                }
                association.send_command(context.id, &Command::response_to(command, UNRECOGNISED))
            }
        }
    }

    fn store(
        &mut self,
        association: &mut Association,
        context: &Context,
        command: &Command,
    ) -> Result<(), Broken> {
        let limit = self.shared.config.max_object_bytes;
        let arrived = match announced(context, command) {
            Err(status) => discard(association, context.id, &mut self.buffer, limit, status)?,
            Ok(announced) => match self.shared.receiver.refuse_early() {
                Some(status) => discard(association, context.id, &mut self.buffer, limit, status)?,
                None => {
                    let staging = self.shared.receiver.staging();
                    receive(association, announced, staging, &mut self.buffer, limit)?
                }
            },
        };
        let too_long = matches!(arrived, Arrived::TooLong);
        let status = match arrived {
            Arrived::Whole(object) => self.shared.receiver.store(self.caller, *object),
            Arrived::Refused(status) => status,
            Arrived::TooLong => StoreStatus::OutOfResources,
        };
        if status != StoreStatus::Success {
            let code = format_args!("{:04X}", status.code()).to_string();
            tracing::warn!(calling = %self.caller.calling, code, "an object was refused: {status:?}");
        }
        association.send_command(context.id, &store_response(command, status))?;
        if too_long { Err(Broken::Ours("an object is larger than allowed")) } else { Ok(()) }
    }
}

/// What a C-STORE command says of the object to come, or why it is refused unseen.
fn announced(context: &Context, command: &Command) -> Result<Announced, StoreStatus> {
    let sop_class = dataset::uid(command.text_at(element::AFFECTED_SOP_CLASS))
        .ok_or(StoreStatus::NotAUid(tags::AFFECTED_SOP_CLASS_UID))?;
    let sop_instance = dataset::uid(command.text_at(element::AFFECTED_SOP_INSTANCE))
        .ok_or(StoreStatus::NotAUid(tags::AFFECTED_SOP_INSTANCE_UID))?;
    if sop_class.as_str() != context.abstract_syntax {
        return Err(StoreStatus::SopClassNotSupported);
    }
    let transfer_syntax = context.transfer_syntax.clone();
    Ok(Announced { sop_class, sop_instance, transfer_syntax, context: context.id })
}

fn store_response(command: &Command, status: StoreStatus) -> Command {
    let mut response = Command::response_to(command, status.code())
        .echoing(command, element::AFFECTED_SOP_CLASS, element::AFFECTED_SOP_CLASS)
        .echoing(command, element::AFFECTED_SOP_INSTANCE, element::AFFECTED_SOP_INSTANCE);
    if let Some(tag) = status.offending() {
        response = response.at(element::OFFENDING, tag);
    }
    if let Some(comment) = status.comment() {
        response = response.lo(element::COMMENT, &comment);
    }
    response
}
