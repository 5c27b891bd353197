//! The HTTP addresses of the link, below the service's base address, and the headers of an upload.
//!
//! Whoever asks is known by the certificate of its TLS connection, or on one machine by `Authorization: Bearer` with the link's token; [`ENROL`] alone asks
//! for neither. Errors are answered as problem documents (RFC 9457): 410 is [`LinkError::Gone`](crate::LinkError::Gone), 401 and 403 are
//! [`LinkError::Barred`](crate::LinkError::Barred), every other 4xx but 408 and 429 is
//! [`LinkError::Refused`](crate::LinkError::Refused), all else [`LinkError::Busy`](crate::LinkError::Busy). JSON may come with `Content-Encoding: zstd`, and is
//! answered so where `Accept-Encoding` allows it.
//!
//! # Uploads go on where they broke off
//!
//! `HEAD` of an object answers [`UPLOAD_OFFSET`]: how many of its bytes are here, all of them where it is complete. `PUT` sends the bytes from [`UPLOAD_OFFSET`] on
//! (0 where the header is missing), as they are or with `Content-Encoding: zstd`; offsets and [`UPLOAD_LENGTH`] count decoded bytes. What was decoded when a
//! connection breaks is kept. A `PUT` at another offset is answered 409 with the right one in [`UPLOAD_OFFSET`]. The whole is checked against its SHA-256
//! at the end.

use overread_domain::{ContentHash, Uid};

/// `POST` a JSON array of hashes: answers with those that are missing.
pub const MISSING: &str = "/link/v1/missing";
/// `GET` with `after` and `wait`: a [`ResultPage`](crate::ResultPage).
pub const RESULTS: &str = "/link/v1/results";
/// Pattern of [`object`].
pub const OBJECT: &str = "/link/v1/objects/{sha256}";
/// Pattern of [`study`].
pub const STUDY: &str = "/link/v1/studies/{study}/versions/{version}";
/// Pattern of [`forget`].
pub const FORGET: &str = "/link/v1/studies/{study}";
/// `POST` an [`EnrolRequest`](crate::EnrolRequest), without a certificate: an [`EnrolAnswer`](crate::EnrolAnswer).
pub const ENROL: &str = "/link/v1/enrol";
/// `POST` a [`RenewRequest`](crate::RenewRequest), with a certificate that holds: an [`EnrolAnswer`](crate::EnrolAnswer).
pub const RENEW: &str = "/link/v1/renew";

/// Header: bytes of the object that are here, or from which on this request sends.
pub const UPLOAD_OFFSET: &str = "upload-offset";
/// Header: bytes of the whole object.
pub const UPLOAD_LENGTH: &str = "upload-length";

/// `HEAD`, `PUT` and `GET` of an object's bytes.
pub fn object(hash: &ContentHash) -> String {
    format!("/link/v1/objects/{hash}")
}

/// `PUT` of a [`StudyManifest`](crate::StudyManifest).
pub fn study(study: &Uid, version: u32) -> String {
    format!("/link/v1/studies/{study}/versions/{version}")
}

/// `DELETE`: forgets a study up to this version.
pub fn forget(study: &Uid, version: u32) -> String {
    format!("/link/v1/studies/{study}?version={version}")
}
