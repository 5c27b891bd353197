//! What can fail, in words that name the side that is to change. No error holds an instance's UID or
//! a text that a peer wrote.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use dicom_ul::pdu::{
    AssociationRJ, AssociationRJResult, AssociationRJServiceProviderPresentationReason as Presentation,
    AssociationRJServiceUserReason as User, AssociationRJSource,
};
use overread_domain::Side;

/// Why a peer rejected an association (PS3.8 §9.3.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rejection {
    /// The peer does not answer to the AE title that we called.
    CalledAeTitle,
    /// The peer does not know our AE title.
    CallingAeTitle,
    /// The peer has too many associations, or is busy; later it may accept.
    Busy,
    /// Another reason: result, source and reason as the PDU has them.
    Other {
        /// 1 permanent, 2 transient.
        result: u8,
        /// 1 user, 2 provider (ACSE), 3 provider (presentation).
        source: u8,
        /// The reason's code within its source.
        reason: u8,
    },
}

impl std::fmt::Display for Rejection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::CalledAeTitle => f.write_str(
                "called AE title not recognised: correct the peer's AE title in our configuration",
            ),
            Self::CallingAeTitle => {
                f.write_str("calling AE title not recognised: register our AE title at the peer")
            }
            Self::Busy => f.write_str("temporary congestion or too many associations at the peer"),
            Self::Other { result, source, reason } => {
                write!(f, "result {result}, source {source}, reason {reason}")
            }
        }
    }
}

impl From<&AssociationRJ> for Rejection {
    fn from(rejection: &AssociationRJ) -> Self {
        let result = match rejection.result {
            AssociationRJResult::Permanent => 1,
            AssociationRJResult::Transient => 2,
        };
        let (source, reason) = match &rejection.source {
            AssociationRJSource::ServiceUser(User::CalledAETitleNotRecognized) => return Self::CalledAeTitle,
            AssociationRJSource::ServiceUser(User::CallingAETitleNotRecognized) => {
                return Self::CallingAeTitle;
            }
            AssociationRJSource::ServiceProviderPresentation(
                Presentation::TemporaryCongestion | Presentation::LocalLimitExceeded,
            ) => return Self::Busy,
            AssociationRJSource::ServiceUser(User::NoReasonGiven) => (1, 1),
            AssociationRJSource::ServiceUser(User::ApplicationContextNameNotSupported) => (1, 2),
            AssociationRJSource::ServiceUser(User::Reserved(reason)) => (1, *reason),
            AssociationRJSource::ServiceProviderASCE(reason) => (2, reason.clone() as u8 + 1),
            AssociationRJSource::ServiceProviderPresentation(Presentation::Reserved(reason)) => (3, *reason),
        };
        Self::Other { result, source, reason }
    }
}

/// What failed; `peer` is AE title, host and port as configured.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DimseError {
    /// The port cannot be listened on.
    #[error("cannot listen on {address}")]
    Bind {
        /// The address that was asked for.
        address: SocketAddr,
        /// The operating system's answer.
        source: io::Error,
    },
    /// A folder or file of ours cannot be used.
    #[error("{what} cannot be used")]
    File {
        /// Which file, by its part in this.
        what: &'static str,
        /// The operating system's answer.
        source: io::Error,
    },
    /// A file that is to be sent is no DICOM file (PS3.10).
    #[error("the file to send is no DICOM file: {0}")]
    NotPart10(&'static str),
    /// A setting that cannot be worked with.
    #[error("{0}")]
    Setting(&'static str),
    /// Certificates or keys that cannot be used.
    #[error("TLS: {what}: {reason}")]
    TlsMaterial {
        /// Which part.
        what: &'static str,
        /// What the TLS library says of it.
        reason: String,
    },
    /// The peer's host name has no address.
    #[error("{peer}: the host name cannot be resolved: correct it in our configuration, or the name service")]
    Resolve {
        /// Who.
        peer: String,
        /// The resolver's answer.
        source: io::Error,
    },
    /// Nobody listens at the peer's port.
    #[error("{peer}: connection refused: start the peer, or correct host and port in our configuration")]
    Refused {
        /// Who.
        peer: String,
    },
    /// The peer cannot be reached for another reason.
    #[error("{peer}: cannot be reached: look at network and firewall")]
    Unreachable {
        /// Who.
        peer: String,
        /// The operating system's answer.
        source: io::Error,
    },
    /// No answer in time.
    #[error("{peer}: no answer to {doing} within {} s", .after.as_secs_f32())]
    TimedOut {
        /// Who.
        peer: String,
        /// What was waited for.
        doing: &'static str,
        /// How long.
        after: Duration,
    },
    /// The connection cannot be made safe.
    #[error("{peer}: TLS failed: {reason}")]
    Tls {
        /// Who.
        peer: String,
        /// What the TLS library says.
        reason: String,
        /// Which side is to change.
        side: Side,
    },
    /// The peer answered A-ASSOCIATE-RJ.
    #[error("{peer}: association rejected: {rejection}")]
    Rejected {
        /// Who.
        peer: String,
        /// Why.
        rejection: Rejection,
    },
    /// The peer accepts the association but none of what is to be sent.
    #[error("{peer}: no presentation context accepted for {}: the peer has to allow it", .contexts.join(", "))]
    NoContext {
        /// Who.
        peer: String,
        /// SOP class and transfer syntax UIDs.
        contexts: Vec<String>,
    },
    /// The peer ended the association in the midst.
    #[error("{peer}: the peer aborted the association during {doing}")]
    Aborted {
        /// Who.
        peer: String,
        /// What was going on.
        doing: &'static str,
    },
    /// The connection broke.
    #[error("{peer}: the connection broke during {doing}")]
    Broken {
        /// Who.
        peer: String,
        /// What was going on.
        doing: &'static str,
        /// The operating system's answer.
        source: io::Error,
    },
    /// The peer sent what the protocol does not allow.
    #[error("{peer}: the peer broke the protocol during {doing}: {what}")]
    Protocol {
        /// Who.
        peer: String,
        /// What was going on.
        doing: &'static str,
        /// What is wrong.
        what: &'static str,
    },
    /// The peer answered with a status that is no success.
    #[error("{peer}: {operation} was answered with status {status:04X}")]
    Status {
        /// Who.
        peer: String,
        /// Which operation.
        operation: &'static str,
        /// The value of Status (0000,0900).
        status: u16,
    },
}

impl DimseError {
    /// The side that has to change something before the same attempt can succeed.
    pub fn side(&self) -> Side {
        match self {
            Self::Bind { .. }
            | Self::File { .. }
            | Self::NotPart10(_)
            | Self::Setting(_)
            | Self::TlsMaterial { .. }
            | Self::Resolve { .. }
            | Self::Rejected { rejection: Rejection::CalledAeTitle, .. } => Side::Ours,
            Self::Refused { .. } => Side::Either,
            Self::Unreachable { .. } | Self::TimedOut { doing: "connecting", .. } | Self::Broken { .. } => {
                Side::Between
            }
            Self::Tls { side, .. } => *side,
            Self::Rejected { .. }
            | Self::TimedOut { .. }
            | Self::NoContext { .. }
            | Self::Aborted { .. }
            | Self::Protocol { .. }
            | Self::Status { .. } => Side::Peers,
        }
    }

    /// Whether the same attempt may succeed later without anybody changing a setting: the peer is
    /// away, busy or slow.
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Refused { .. }
            | Self::Unreachable { .. }
            | Self::Resolve { .. }
            | Self::TimedOut { .. }
            | Self::Aborted { .. }
            | Self::Broken { .. } => true,
            Self::Rejected { rejection, .. } => {
                matches!(rejection, Rejection::Busy | Rejection::Other { result: 2, .. })
            }
            // Out of resources (A7xx) and processing failure pass (PS3.4 §B.2.3).
            Self::Status { status, .. } => status >> 8 == 0xA7 || *status == 0x0110,
            _ => false,
        }
    }
}
