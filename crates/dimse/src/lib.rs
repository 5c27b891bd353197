//! DICOM associations in and out (PS3.7, PS3.8): verification, storage and storage commitment, with
//! blocking threads, one for each association. It knows nothing of databases, studies or models.
//!
//! In reading order: [`AeTitle`] and [`StoreStatus`] are the words; [`Scp`] listens and gives what
//! arrives to a [`Receiver`]; [`echo`], [`Sender`] and [`request_commitment`] speak to a [`Peer`];
//! [`tls_server`] and [`tls_client`] make the configurations for DICOM over TLS; [`DimseError`] says
//! what failed and which side is to change.
//!
//! Below them, `stream` is a socket with a deadline, `association` reads and writes PDUs on it,
//! `negotiation` decides about A-ASSOCIATE, `command` encodes command sets, `dataset` looks into data
//! sets without trusting their lengths, `object` writes an arriving object to its file.
//!
//! The association PDUs are read and written by `dicom-ul`. P-DATA-TF is read here, a presentation
//! data value at a time, because `dicom-ul` hands each PDU over as vectors of copies: an arriving
//! object goes from the socket into the buffer that is hashed and written, and its size never
//! matters to memory.

mod ae;
mod association;
mod command;
mod dataset;
mod error;
mod negotiation;
mod object;
mod scp;
mod scu;
mod serve;
mod status;
mod stream;
mod tls;

pub use ae::{AeTitle, AeTitleError};
pub use error::{DimseError, Rejection};
pub use object::ReceivedObject;
pub use scp::{Caller, Receiver, Scp, ScpConfig, ScpHandle};
pub use scu::commitment::{CommitmentAnswer, CommitmentReport, FailedObject, request_commitment};
pub use scu::sender::{Sender, contexts_of};
pub use scu::{EchoAnswer, Peer, echo, speaks_tls};
pub use status::StoreStatus;
pub use tls::{tls_client, tls_server};

/// Names this implementation in association negotiation and in the files it writes (PS3.7 §D.3.3.2).
pub const IMPLEMENTATION_CLASS_UID: &str = "2.25.196803271836024617940532186927402218731";

/// The version name beside [`IMPLEMENTATION_CLASS_UID`]: without a release number, so that the same
/// object received by two releases is the same file.
pub const IMPLEMENTATION_VERSION_NAME: &str = "OVERREAD";
