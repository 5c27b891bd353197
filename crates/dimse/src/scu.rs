//! The requestor's side: reaching a peer, negotiating, verification.

pub(crate) mod commitment;
pub(crate) mod sender;

use std::io;
use std::net::{TcpStream, ToSocketAddrs};
use std::sync::Arc;
use std::time::{Duration, Instant};

use dicom_dictionary_std::uids;
use dicom_ul::pdu::{
    AbortRQServiceProviderReason, AssociationRQ, Pdu, PresentationContextProposed,
    PresentationContextResultReason, UserVariableItem,
};

use crate::association::{Association, Broken, Context, Message};
use crate::command::{Command, element, field};
use crate::negotiation::{self, APPLICATION_CONTEXT};
use crate::stream::Stream;
use crate::{AeTitle, DimseError, Rejection};
use overread_domain::Side;

/// The maximum PDU length that is offered to peers, in bytes: they send us commands and reports.
const OUR_MAX_PDU: u32 = 64 * 1024;

/// A peer that we call.
#[derive(Clone, Debug)]
pub struct Peer {
    /// The peer's AE title, which we call.
    pub ae_title: AeTitle,
    /// Our AE title, by which we introduce ourselves.
    pub our_ae_title: AeTitle,
    /// Host name or address.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// TLS is spoken, if given; see [`tls_client`](crate::tls_client).
    pub tls: Option<Arc<rustls::ClientConfig>>,
    /// How long a TCP connection, and then TLS, may take.
    pub connect: Duration,
    /// How long the peer may take for each answer.
    pub answer: Duration,
}

/// What a peer said when it was asked whether it is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EchoAnswer {
    /// The peer's implementation class UID, if it gave one.
    pub implementation_class: Option<String>,
    /// The peer's implementation version name, if it gave one.
    pub implementation_version: Option<String>,
    /// From the attempt to connect to the peer's answer.
    pub took: Duration,
}

/// Asks a peer whether it is there: an association, C-ECHO, release.
///
/// # Errors
/// Any of [`DimseError`] that speaks of a peer.
pub fn echo(peer: &Peer) -> Result<EchoAnswer, DimseError> {
    const DOING: &str = "C-ECHO";
    let begin = Instant::now();
    let native =
        [uids::IMPLICIT_VR_LITTLE_ENDIAN.to_owned(), uids::EXPLICIT_VR_LITTLE_ENDIAN.to_owned()].to_vec();
    let (mut association, said) = peer.associate(vec![(uids::VERIFICATION.to_owned(), native)])?;
    let context = association.contexts.first().map(|context| context.id).unwrap_or(1);
    let id = association.next_message_id();
    let request =
        Command::request(field::C_ECHO, id, false).ui(element::AFFECTED_SOP_CLASS, uids::VERIFICATION);
    let status = association
        .send_command(context, &request)
        .and_then(|()| response(&mut association, field::C_ECHO, id))
        .map_err(|broken| peer.failed(DOING, broken, peer.answer))?;
    if status != 0 {
        return Err(DimseError::Status { peer: peer.name(), operation: DOING, status });
    }
    let took = begin.elapsed();
    // The question is answered: how the peer says goodbye does not change that.
    let _ = association.release();
    let mut answer = EchoAnswer { implementation_class: None, implementation_version: None, took };
    for item in said {
        match item {
            UserVariableItem::ImplementationClassUID(uid) => answer.implementation_class = Some(uid),
            UserVariableItem::ImplementationVersionName(name) => answer.implementation_version = Some(name),
            _ => {}
        }
    }
    Ok(answer)
}

/// Whether a peer speaks TLS on its port, whatever its certificate: for the question why it hangs up on whoever speaks plainly.
pub fn speaks_tls(peer: &Peer) -> bool {
    let Ok(stranger) = crate::tls::client_that_trusts_nobody() else { return false };
    let Ok(name) = rustls::pki_types::ServerName::try_from(peer.host.clone()) else { return false };
    let Ok(socket) = (Peer { tls: None, ..peer.clone() }).connect_tcp() else { return false };
    // Trusting nobody, we refuse its certificate: one was sent. An alert is TLS, too.
    let refused = |error: &rustls::Error| {
        matches!(error, rustls::Error::InvalidCertificate(_) | rustls::Error::AlertReceived(_))
    };
    match Stream::client_tls(socket, peer.connect, stranger, name) {
        Ok(_) => true,
        Err(error) => matches!(Broken::from(error), Broken::Tls(error) if refused(&error)),
    }
}

/// Waits for the response to a request, and gives its status.
fn response(association: &mut Association, command: u16, id: u16) -> Result<u16, Broken> {
    match association.read_message()? {
        Message::Command(_, answer) => status_of(&answer, command, id),
        Message::ReleaseRequest => Err(Broken::Malformed("release instead of a response")),
    }
}

/// The status of a response, if it is the one that is waited for.
fn status_of(answer: &Command, command: u16, id: u16) -> Result<u16, Broken> {
    let fits = answer.field() == command | field::RESPONSE && answer.us_at(element::RESPONDED_TO) == Some(id);
    if !fits || answer.has_data_set() {
        return Err(Broken::Malformed("another message than the response"));
    }
    answer.us_at(element::STATUS).ok_or(Broken::Malformed("a response without status"))
}

impl Peer {
    /// AE title, host and port, as errors name a peer.
    fn name(&self) -> String {
        format!("{} at {}:{}", self.ae_title, self.host, self.port)
    }

    /// An association with what the peer accepts of the proposed abstract and transfer syntaxes, at
    /// least one; and what the peer says of itself.
    fn associate(
        &self,
        proposed: Vec<(String, Vec<String>)>,
    ) -> Result<(Association, Vec<UserVariableItem>), DimseError> {
        const DOING: &str = "association negotiation";
        if proposed.is_empty() || proposed.len() > 128 {
            return Err(DimseError::Setting("an association has 1 to 128 presentation contexts"));
        }
        let mut association = Association::new(self.reach()?, self.answer, OUR_MAX_PDU);
        let broken = |broken| self.failed(DOING, broken, self.answer);
        association.set_patience(self.answer).map_err(|error| broken(error.into()))?;
        let mut contexts = Vec::new();
        for (number, (abstract_syntax, transfer_syntaxes)) in (0u8..).zip(proposed) {
            contexts.push(PresentationContextProposed {
                id: number * 2 + 1,
                abstract_syntax,
                transfer_syntaxes,
            });
        }
        let request = AssociationRQ {
            protocol_version: 1,
            calling_ae_title: self.our_ae_title.as_str().to_owned(),
            called_ae_title: self.ae_title.as_str().to_owned(),
            application_context_name: APPLICATION_CONTEXT.to_owned(),
            presentation_contexts: contexts.clone(),
            user_variables: negotiation::user_variables(OUR_MAX_PDU, None),
        };
        association.write_control(&Pdu::AssociationRQ(request)).map_err(broken)?;
        let accepted = match association.read_control().map_err(broken)? {
            Pdu::AssociationAC(accepted) => accepted,
            Pdu::AssociationRJ(rejection) => {
                return Err(DimseError::Rejected {
                    peer: self.name(),
                    rejection: Rejection::from(&rejection),
                });
            }
            Pdu::AbortRQ { .. } => return Err(broken(Broken::Aborted)),
            _ => return Err(broken(Broken::Malformed("neither acceptance nor rejection"))),
        };
        let mut agreed = Vec::new();
        for result in accepted.presentation_contexts {
            let asked = contexts.iter().find(|context| context.id == result.id);
            let taken = result.reason == PresentationContextResultReason::Acceptance;
            if let Some(asked) = asked.filter(|_| taken) {
                agreed.push(Context {
                    id: result.id,
                    abstract_syntax: asked.abstract_syntax.clone(),
                    transfer_syntax: result.transfer_syntax.trim_matches(['\0', ' ']).to_owned(),
                });
            }
        }
        if agreed.is_empty() {
            association.abort(AbortRQServiceProviderReason::ReasonNotSpecified);
            let contexts =
                contexts.iter().map(|asked| written(&asked.abstract_syntax, &asked.transfer_syntaxes));
            return Err(DimseError::NoContext { peer: self.name(), contexts: contexts.collect() });
        }
        association.agree(agreed, negotiation::max_length(&accepted.user_variables));
        Ok((association, accepted.user_variables))
    }

    /// Resolves, connects, and agrees on TLS.
    fn reach(&self) -> Result<Stream, DimseError> {
        self.secure(self.connect_tcp()?)
    }

    fn connect_tcp(&self) -> Result<TcpStream, DimseError> {
        const DOING: &str = "connecting";
        let addresses = (self.host.as_str(), self.port)
            .to_socket_addrs()
            .map_err(|source| DimseError::Resolve { peer: self.name(), source })?;
        let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
        for address in addresses {
            match TcpStream::connect_timeout(&address, self.connect.max(Duration::from_millis(1))) {
                Ok(socket) => return Ok(socket),
                Err(error) => last = error,
            }
        }
        Err(match last.kind() {
            io::ErrorKind::ConnectionRefused => DimseError::Refused { peer: self.name() },
            io::ErrorKind::TimedOut => self.failed(DOING, Broken::Silent, self.connect),
            _ => DimseError::Unreachable { peer: self.name(), source: last },
        })
    }

    fn secure(&self, socket: TcpStream) -> Result<Stream, DimseError> {
        const DOING: &str = "the TLS handshake";
        let failed = |error: io::Error| match Broken::from(error) {
            Broken::Closed => DimseError::Tls {
                peer: self.name(),
                reason: "the peer closed the connection: it may not speak TLS on this port".to_owned(),
                side: Side::Either,
            },
            broken => self.failed(DOING, broken, self.connect),
        };
        let Some(tls) = &self.tls else { return Stream::plain(socket, self.connect).map_err(failed) };
        let name = rustls::pki_types::ServerName::try_from(self.host.clone())
            .map_err(|_| DimseError::Setting("the peer's host cannot be checked against a certificate"))?;
        Stream::client_tls(socket, self.connect, Arc::clone(tls), name).map_err(failed)
    }

    /// What a broken association means to whoever wanted something of this peer.
    fn failed(&self, doing: &'static str, broken: Broken, after: Duration) -> DimseError {
        let peer = self.name();
        match broken {
            Broken::Silent => DimseError::TimedOut { peer, doing, after },
            Broken::Closed => {
                let source = io::Error::new(io::ErrorKind::UnexpectedEof, "closed by the peer");
                DimseError::Broken { peer, doing, source }
            }
            Broken::Aborted => DimseError::Aborted { peer, doing },
            Broken::Malformed(what) | Broken::Ours(what) => DimseError::Protocol { peer, doing, what },
            Broken::Io(source) => DimseError::Broken { peer, doing, source },
            Broken::PeerSpeaksTls => DimseError::Tls {
                peer,
                reason: "the peer speaks TLS: switch TLS on for it in our configuration".to_owned(),
                side: Side::Ours,
            },
            Broken::Tls(error) => DimseError::Tls { peer, reason: error.to_string(), side: tls_side(&error) },
        }
    }
}

/// Who has to change something about a TLS failure: a certificate that we refuse is the peer's, an alert of the peer is about what we showed it.
fn tls_side(error: &rustls::Error) -> Side {
    match error {
        rustls::Error::AlertReceived(_) => Side::Ours,
        // Nobody can tell from here which of the two files is the wrong one.
        rustls::Error::InvalidCertificate(
            rustls::CertificateError::UnknownIssuer | rustls::CertificateError::BadSignature,
        ) => Side::Either,
        rustls::Error::InvalidCertificate(_) => Side::Peers,
        _ => Side::Either,
    }
}

fn written(abstract_syntax: &str, transfer_syntaxes: &[String]) -> String {
    format!("{abstract_syntax} in {}", transfer_syntaxes.join(" or "))
}
