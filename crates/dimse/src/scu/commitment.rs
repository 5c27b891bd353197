//! Storage commitment, push model (PS3.4 §J): asking a peer whether it keeps objects, and reading
//! its report, on the association that asked or on one that the peer opens.

use std::time::{Duration, Instant};

use dicom_core::Tag;
use dicom_dictionary_std::{tags, uids};
use dicom_ul::pdu::AbortRQServiceProviderReason;
use overread_domain::Uid;

use super::{Peer, status_of};
use crate::DimseError;
use crate::association::{Association, Broken, Context, Message};
use crate::command::{Command, element, field};
use crate::dataset;

/// The longest report that is read, in bytes: some 100,000 objects.
const MAX_REPORT: usize = 16 << 20;
const DOING: &str = "storage commitment";
/// Item (FFFE,E000), which begins each item of a sequence (PS3.5 §7.5).
const ITEM: Tag = Tag(0xFFFE, 0xE000);

/// An object that a peer does not keep.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailedObject {
    /// SOP class.
    pub sop_class: Uid,
    /// SOP instance.
    pub sop_instance: Uid,
    /// The value of Failure Reason (0008,1197) (PS3.3 §C.14.1.1); 0110 if the peer gave none.
    pub reason: u16,
}

/// A peer's answer about the objects of a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommitmentReport {
    /// The transaction that we gave the request.
    pub transaction: Uid,
    /// SOP class and instance of each object that the peer keeps.
    pub committed: Vec<(Uid, Uid)>,
    /// Those that it does not keep.
    pub failed: Vec<FailedObject>,
}

/// What a request for commitment led to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CommitmentAnswer {
    /// The peer took the request and reports later, on an association that it opens.
    Requested,
    /// The peer reported on the association that asked.
    ReportedNow(CommitmentReport),
}

/// Asks a peer to commit to keeping `objects` (SOP class and instance each), under a transaction of
/// our own, and waits `wait` for a report on the same association.
///
/// # Errors
/// Any of [`DimseError`] that speaks of a peer; [`DimseError::Status`] if the peer refuses the request.
pub fn request_commitment(
    peer: &Peer,
    transaction: &Uid,
    objects: &[(Uid, Uid)],
    wait: Duration,
) -> Result<CommitmentAnswer, DimseError> {
    // Implicit VR, which every peer knows (PS3.5 §10.1), is the one proposed: the data set is small.
    let native = vec![uids::IMPLICIT_VR_LITTLE_ENDIAN.to_owned()];
    let (mut association, _) =
        peer.associate(vec![(uids::STORAGE_COMMITMENT_PUSH_MODEL.to_owned(), native)])?;
    let context = association.contexts.first().map(|context| context.id).unwrap_or(1);
    let id = association.next_message_id();
    let request = Command::request(field::N_ACTION, id, true)
        .ui(element::REQUESTED_SOP_CLASS, uids::STORAGE_COMMITMENT_PUSH_MODEL)
        .ui(element::REQUESTED_SOP_INSTANCE, uids::STORAGE_COMMITMENT_PUSH_MODEL_INSTANCE)
        .us(element::ACTION_TYPE, 1);
    let outcome = association
        .send_command(context, &request)
        .and_then(|()| association.send_data_set(context, &[&action(transaction, objects)]))
        .and_then(|()| converse(&mut association, id, transaction, wait));
    match outcome {
        Ok(Outcome { status: 0, report, released }) => {
            // The request stands, however the peer says goodbye.
            if !released {
                let _ = association.release();
            }
            Ok(report.map_or(CommitmentAnswer::Requested, CommitmentAnswer::ReportedNow))
        }
        Ok(Outcome { status, .. }) => {
            let _ = association.release();
            Err(DimseError::Status { peer: peer.name(), operation: "N-ACTION", status })
        }
        Err(broken) => {
            association.abort(AbortRQServiceProviderReason::ReasonNotSpecified);
            Err(peer.failed(DOING, broken, peer.answer))
        }
    }
}

struct Outcome {
    status: u16,
    report: Option<CommitmentReport>,
    released: bool,
}

/// Waits for the response to N-ACTION, then for a report until `wait` is over. Either may come first.
fn converse(
    association: &mut Association,
    id: u16,
    transaction: &Uid,
    wait: Duration,
) -> Result<Outcome, Broken> {
    let mut status = None;
    let mut report = None;
    let begin = Instant::now();
    loop {
        if let Some(status) = status
            && (status != 0 || report.is_some() || begin.elapsed() >= wait)
        {
            return Ok(Outcome { status, report, released: false });
        }
        if status.is_some() {
            association.set_patience(wait.saturating_sub(begin.elapsed()))?;
        }
        match (association.read_message(), status) {
            (Ok(Message::Command(context, command)), _) if command.field() == field::N_EVENT_REPORT => {
                let read = read_event(association, &context, &command)?;
                let ours = read.filter(|read| read.transaction == *transaction);
                answer_event(association, &context, &command, if ours.is_some() { 0 } else { 0x0115 })?;
                report = report.or(ours);
            }
            (Ok(Message::Command(_, command)), None) => {
                status = Some(status_of(&command, field::N_ACTION, id)?)
            }
            (Ok(Message::Command(..)), Some(_)) => {
                return Err(Broken::Malformed("a message instead of a report"));
            }
            (Ok(Message::ReleaseRequest), Some(status)) => {
                association.confirm_release();
                return Ok(Outcome { status, report, released: true });
            }
            (Ok(Message::ReleaseRequest), None) => {
                return Err(Broken::Malformed("release instead of a response"));
            }
            // The peer took the request; that it says no more, or goes, means that it reports later.
            (Err(Broken::Silent), Some(status)) => return Ok(Outcome { status, report, released: false }),
            (Err(Broken::Closed | Broken::Aborted), Some(status)) => {
                return Ok(Outcome { status, report, released: true });
            }
            (Err(broken), _) => return Err(broken),
        }
    }
}

/// Reads the report that follows an N-EVENT-REPORT command; none, if it cannot be understood.
pub(crate) fn read_event(
    association: &mut Association,
    context: &Context,
    command: &Command,
) -> Result<Option<CommitmentReport>, Broken> {
    if !command.has_data_set() {
        return Ok(None);
    }
    let bytes = association.read_data_set(context.id, MAX_REPORT)?;
    Ok(parse_report(&bytes, &context.transfer_syntax))
}

/// Answers an N-EVENT-REPORT.
pub(crate) fn answer_event(
    association: &mut Association,
    context: &Context,
    command: &Command,
    status: u16,
) -> Result<(), Broken> {
    let mut response = Command::response_to(command, status)
        .echoing(command, element::AFFECTED_SOP_CLASS, element::AFFECTED_SOP_CLASS)
        .echoing(command, element::AFFECTED_SOP_INSTANCE, element::AFFECTED_SOP_INSTANCE);
    if let Some(event) = command.us_at(element::EVENT_TYPE) {
        response = response.us(element::EVENT_TYPE, event);
    }
    association.send_command(context.id, &response)
}

/// One item of Referenced or Failed SOP Sequence, as it is read.
#[derive(Default)]
struct Item {
    failed: bool,
    number: usize,
    sop_class: Option<Uid>,
    sop_instance: Option<Uid>,
    reason: Option<u16>,
}

/// The report in a data set: all of it understood, or nothing.
fn parse_report(bytes: &[u8], transfer_syntax: &str) -> Option<CommitmentReport> {
    let mut transaction = None;
    let mut items: Vec<Item> = Vec::new();
    dataset::walk(bytes, transfer_syntax, &mut |short| {
        let failed = match short.path {
            [] => {
                if short.tag == tags::TRANSACTION_UID {
                    transaction = dataset::uid(Some(short.text()));
                }
                return true;
            }
            [sequence] if *sequence == tags::REFERENCED_SOP_SEQUENCE => false,
            [sequence] if *sequence == tags::FAILED_SOP_SEQUENCE => true,
            _ => return true,
        };
        if items.last().is_none_or(|item| item.failed != failed || item.number != short.item) {
            items.push(Item { failed, number: short.item, ..Item::default() });
        }
        if let Some(item) = items.last_mut() {
            match short.tag {
                tags::REFERENCED_SOP_CLASS_UID => item.sop_class = dataset::uid(Some(short.text())),
                tags::REFERENCED_SOP_INSTANCE_UID => item.sop_instance = dataset::uid(Some(short.text())),
                tags::FAILURE_REASON => {
                    let bytes = short.value.first_chunk::<2>();
                    // The one big-endian transfer syntax is retired, and never accepted for reports in practice.
                    item.reason = bytes.map(|bytes| u16::from_le_bytes(*bytes));
                }
                _ => {}
            }
        }
        true
    })
    .ok()?;
    let mut report =
        CommitmentReport { transaction: transaction?, committed: Vec::new(), failed: Vec::new() };
    for item in items {
        let (sop_class, sop_instance) = (item.sop_class?, item.sop_instance?);
        if item.failed {
            let reason = item.reason.unwrap_or(0x0110);
            report.failed.push(FailedObject { sop_class, sop_instance, reason });
        } else {
            report.committed.push((sop_class, sop_instance));
        }
    }
    Some(report)
}

/// The data set of N-ACTION in implicit VR little endian (PS3.4 §J.3.2.1.1).
fn action(transaction: &Uid, objects: &[(Uid, Uid)]) -> Vec<u8> {
    let mut sequence = Vec::new();
    for (sop_class, sop_instance) in objects {
        let mut item = Vec::new();
        push(&mut item, tags::REFERENCED_SOP_CLASS_UID, &padded(sop_class));
        push(&mut item, tags::REFERENCED_SOP_INSTANCE_UID, &padded(sop_instance));
        push(&mut sequence, ITEM, &item);
    }
    let mut bytes = Vec::new();
    push(&mut bytes, tags::TRANSACTION_UID, &padded(transaction));
    push(&mut bytes, tags::REFERENCED_SOP_SEQUENCE, &sequence);
    bytes
}

fn padded(uid: &Uid) -> Vec<u8> {
    let mut bytes = uid.as_str().as_bytes().to_vec();
    if bytes.len() % 2 == 1 {
        bytes.push(0);
    }
    bytes
}

fn push(into: &mut Vec<u8>, tag: Tag, value: &[u8]) {
    into.extend(tag.group().to_le_bytes());
    into.extend(tag.element().to_le_bytes());
    into.extend(u32::try_from(value.len()).unwrap_or(u32::MAX).to_le_bytes());
    into.extend(value);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uid(text: &str) -> Uid {
        Uid::parse(text).unwrap()
    }

    #[test]
    fn a_report_is_read_as_it_was_asked() {
        let objects =
            [(uid(uids::CT_IMAGE_STORAGE), uid("1.2.3")), (uid(uids::CT_IMAGE_STORAGE), uid("1.2.4"))];
        let mut bytes = action(&uid("2.25.7"), &objects);
        let report = parse_report(&bytes, uids::IMPLICIT_VR_LITTLE_ENDIAN).unwrap();
        assert_eq!(report.transaction, uid("2.25.7"));
        assert_eq!(report.committed, objects);
        assert_eq!(report.failed, []);

        let mut item = Vec::new();
        push(&mut item, tags::REFERENCED_SOP_CLASS_UID, &padded(&objects[0].0));
        push(&mut item, tags::REFERENCED_SOP_INSTANCE_UID, b"1.2.5\0");
        push(&mut item, tags::FAILURE_REASON, &0x0112u16.to_le_bytes());
        let mut sequence = Vec::new();
        push(&mut sequence, ITEM, &item);
        push(&mut bytes, tags::FAILED_SOP_SEQUENCE, &sequence);
        let report = parse_report(&bytes, uids::IMPLICIT_VR_LITTLE_ENDIAN).unwrap();
        assert_eq!(report.committed, objects);
        assert_eq!(report.failed[0].reason, 0x0112);
        assert_eq!(report.failed[0].sop_instance, uid("1.2.5"));
    }

    #[test]
    fn a_report_that_is_not_understood_is_none() {
        let whole = action(&uid("2.25.7"), &[(uid("1.2"), uid("1.2.3"))]);
        assert_eq!(parse_report(&whole[..whole.len() - 3], uids::IMPLICIT_VR_LITTLE_ENDIAN), None);
        assert_eq!(parse_report(&[], uids::IMPLICIT_VR_LITTLE_ENDIAN), None);
        let mut lie = Vec::new();
        push(&mut lie, tags::TRANSACTION_UID, b"../..");
        assert_eq!(parse_report(&lie, uids::IMPLICIT_VR_LITTLE_ENDIAN), None);
    }
}
