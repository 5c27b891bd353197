//! What an A-ASSOCIATE-RQ is answered with (PS3.8 §9.3, PS3.7 §D.3).

use dicom_core::dictionary::UidDictionary;
use dicom_dictionary_std::{StandardSopClassDictionary, uids};
use dicom_ul::pdu::{
    AssociationAC, AssociationRJ, AssociationRJResult, AssociationRJServiceProviderASCEReason as Provider,
    AssociationRJServiceProviderPresentationReason as Presentation, AssociationRJServiceUserReason as User,
    AssociationRJSource, AssociationRQ, PresentationContextProposed, PresentationContextResult,
    PresentationContextResultReason as Outcome, RequestorRoles, UserVariableItem,
};

use crate::association::Context;
use crate::dataset::known;
use crate::{AeTitle, IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME, ScpConfig};

/// The DICOM application context (PS3.7 §A.2.1).
pub(crate) const APPLICATION_CONTEXT: &str = "1.2.840.10008.3.1.1.1";

/// What is assumed of a peer that does not name its maximum PDU length, in bytes.
pub(crate) const UNNAMED_MAX_PDU: u32 = 16 * 1024;

/// A request that was accepted.
pub(crate) struct Accepted {
    pub(crate) calling: AeTitle,
    pub(crate) called: AeTitle,
    pub(crate) contexts: Vec<Context>,
    pub(crate) peer_max_pdu: u32,
    pub(crate) reply: AssociationAC,
}

fn permanent(reason: User) -> AssociationRJ {
    let source = AssociationRJSource::ServiceUser(reason);
    AssociationRJ { result: AssociationRJResult::Permanent, source }
}

/// The rejection of an association above the limit: the peer may try again.
pub(crate) fn local_limit() -> AssociationRJ {
    let source = AssociationRJSource::ServiceProviderPresentation(Presentation::LocalLimitExceeded);
    AssociationRJ { result: AssociationRJResult::Transient, source }
}

/// Decides about a request.
pub(crate) fn decide(request: AssociationRQ, config: &ScpConfig) -> Result<Accepted, AssociationRJ> {
    // Bit 0 is version 1; other bits are not tested (PS3.8 §9.3.2).
    if request.protocol_version & 1 == 0 {
        let source = AssociationRJSource::ServiceProviderASCE(Provider::ProtocolVersionNotSupported);
        return Err(AssociationRJ { result: AssociationRJResult::Permanent, source });
    }
    if trimmed(&request.application_context_name) != APPLICATION_CONTEXT {
        return Err(permanent(User::ApplicationContextNameNotSupported));
    }
    let called = AeTitle::parse(&request.called_ae_title)
        .ok()
        .filter(|called| config.accept_any_called || *called == config.ae_title)
        .ok_or_else(|| permanent(User::CalledAETitleNotRecognized))?;
    let calling = AeTitle::parse(&request.calling_ae_title)
        .ok()
        .filter(|calling| config.calling.is_empty() || config.calling.contains(calling))
        .ok_or_else(|| permanent(User::CallingAETitleNotRecognized))?;
    let roles = accepted_roles(&request.user_variables);
    let (contexts, results) = decide_contexts(request.presentation_contexts, roles.is_some());
    let peer_max_pdu = max_length(&request.user_variables);
    let reply = AssociationAC {
        protocol_version: 1,
        // These two are echoed as they came (PS3.8 §9.3.3).
        calling_ae_title: request.calling_ae_title,
        called_ae_title: request.called_ae_title,
        application_context_name: APPLICATION_CONTEXT.to_owned(),
        presentation_contexts: results,
        user_variables: user_variables(config.max_pdu, roles),
    };
    Ok(Accepted { calling, called, contexts, peer_max_pdu, reply })
}

/// The maximum PDU length that the other side named, in bytes; 0 is no maximum.
pub(crate) fn max_length(items: &[UserVariableItem]) -> u32 {
    let named = items.iter().find_map(|item| match item {
        UserVariableItem::MaxLength(length) => Some(*length),
        _ => None,
    });
    named.unwrap_or(UNNAMED_MAX_PDU)
}

/// What this implementation says of itself, in ascending order of the items' types.
pub(crate) fn user_variables(max_pdu: u32, roles: Option<(String, RequestorRoles)>) -> Vec<UserVariableItem> {
    let mut items = vec![
        UserVariableItem::MaxLength(max_pdu),
        UserVariableItem::ImplementationClassUID(IMPLEMENTATION_CLASS_UID.to_owned()),
    ];
    items.extend(roles.map(|(class, roles)| UserVariableItem::ScuScpRoleSelectionSubItem(class, roles)));
    items.push(UserVariableItem::ImplementationVersionName(IMPLEMENTATION_VERSION_NAME.to_owned()));
    items
}

/// A requestor that proposes itself as SCP of storage commitment wants to report: the one role
/// besides the default that is taken (PS3.7 §D.3.3.4). It does not become SCU: no commitment is
/// offered here.
fn accepted_roles(items: &[UserVariableItem]) -> Option<(String, RequestorRoles)> {
    items.iter().find_map(|item| match item {
        UserVariableItem::ScuScpRoleSelectionSubItem(class, roles)
            if roles.scp && trimmed(class) == uids::STORAGE_COMMITMENT_PUSH_MODEL =>
        {
            let reports = RequestorRoles { scu: false, scp: true };
            Some((uids::STORAGE_COMMITMENT_PUSH_MODEL.to_owned(), reports))
        }
        _ => None,
    })
}

fn decide_contexts(
    proposed: Vec<PresentationContextProposed>,
    reports: bool,
) -> (Vec<Context>, Vec<PresentationContextResult>) {
    let mut contexts: Vec<Context> = Vec::new();
    let mut results = Vec::new();
    for context in proposed {
        let id = context.id;
        let abstract_syntax = trimmed(&context.abstract_syntax);
        // Ids are odd and used once (PS3.8 §9.3.2.2).
        let fits = id % 2 == 1 && contexts.iter().all(|other| other.id != id);
        let chosen = context.transfer_syntaxes.iter().find_map(|ts| known(trimmed(ts)));
        let reason = match chosen {
            _ if !fits => Outcome::NoReason,
            _ if !is_taken(abstract_syntax, reports) => Outcome::AbstractSyntaxNotSupported,
            None => Outcome::TransferSyntaxesNotSupported,
            Some(_) => Outcome::Acceptance,
        };
        // The transfer syntax of a refusal is not significant (PS3.8 §9.3.3.2).
        let transfer_syntax =
            chosen.map_or(uids::IMPLICIT_VR_LITTLE_ENDIAN, |syntax| syntax.uid()).to_owned();
        if reason == Outcome::Acceptance {
            let (abstract_syntax, transfer_syntax) = (abstract_syntax.to_owned(), transfer_syntax.clone());
            contexts.push(Context { id, abstract_syntax, transfer_syntax });
        }
        results.push(PresentationContextResult { id, reason, transfer_syntax });
    }
    (contexts, results)
}

fn trimmed(uid: &str) -> &str {
    uid.trim_matches(['\0', ' '])
}

/// Whether an abstract syntax is taken: verification, storage, and storage commitment where the
/// requestor reports.
fn is_taken(abstract_syntax: &str, reports: bool) -> bool {
    match abstract_syntax {
        uids::VERIFICATION => true,
        uids::STORAGE_COMMITMENT_PUSH_MODEL => reports,
        other => is_storage(other),
    }
}

/// Whether an abstract syntax is, or may be, a storage SOP class: one that the dictionary names so
/// (retired and trial ones included; a DICOMDIR is not sent); one that it does not know below the
/// standard's storage root, which is newer than the dictionary; any private one, since private SOP
/// classes that modalities propose are for storage. Every other UID of the standard is a service
/// that is not offered here.
fn is_storage(abstract_syntax: &str) -> bool {
    if overread_domain::Uid::parse(abstract_syntax).is_err() {
        return false;
    }
    match StandardSopClassDictionary.by_uid(abstract_syntax) {
        Some(_) if abstract_syntax == uids::MEDIA_STORAGE_DIRECTORY_STORAGE => false,
        Some(entry) => {
            let name = entry.name;
            name.ends_with(" Storage") || name.contains(" Storage - ") || name.contains(" Storage (")
        }
        None => {
            abstract_syntax.starts_with("1.2.840.10008.5.1.4.1.1.")
                || !abstract_syntax.starts_with("1.2.840.10008.")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn storage_is_taken_and_services_are_not() {
        for storage in [
            uids::CT_IMAGE_STORAGE,
            uids::DIGITAL_X_RAY_IMAGE_STORAGE_FOR_PROCESSING,
            "1.2.840.10008.5.1.4.1.1.77.1",
            uids::COMPREHENSIVE3_DSR_STORAGE,
            "1.2.840.10008.5.1.4.1.1.999999",
            "1.3.12.2.1107.5.9.1",
        ] {
            assert!(is_storage(storage), "{storage}");
        }
        for service in [
            uids::STUDY_ROOT_QUERY_RETRIEVE_INFORMATION_MODEL_FIND,
            uids::STUDY_ROOT_QUERY_RETRIEVE_INFORMATION_MODEL_MOVE,
            uids::MODALITY_WORKLIST_INFORMATION_MODEL_FIND,
            uids::STORAGE_COMMITMENT_PUSH_MODEL,
            uids::MEDIA_STORAGE_DIRECTORY_STORAGE,
            "1.2.840.10008.5.1.4.1.1.200.4",
            "1.2.840.10008.1.2.1",
            "../../etc",
            "",
        ] {
            assert!(!is_storage(service), "{service}");
        }
    }

    #[test]
    fn the_first_known_transfer_syntax_is_taken_and_ids_are_checked() {
        let context = |id: u8, syntaxes: &[&str]| PresentationContextProposed {
            id,
            abstract_syntax: uids::CT_IMAGE_STORAGE.to_owned(),
            transfer_syntaxes: syntaxes.iter().map(|uid| (*uid).to_owned()).collect(),
        };
        let (contexts, results) = decide_contexts(
            vec![
                context(1, &["1.2.3.4", uids::JPEG2000_LOSSLESS, uids::EXPLICIT_VR_LITTLE_ENDIAN]),
                context(3, &["1.2.3.4"]),
                context(1, &[uids::EXPLICIT_VR_LITTLE_ENDIAN]),
                context(4, &[uids::EXPLICIT_VR_LITTLE_ENDIAN]),
            ],
            false,
        );
        assert_eq!(contexts.len(), 1);
        assert_eq!(contexts[0].transfer_syntax, uids::JPEG2000_LOSSLESS);
        let reasons: Vec<_> = results.into_iter().map(|result| result.reason).collect();
        assert_eq!(
            reasons,
            [
                Outcome::Acceptance,
                Outcome::TransferSyntaxesNotSupported,
                Outcome::NoReason,
                Outcome::NoReason
            ]
        );
    }
}
