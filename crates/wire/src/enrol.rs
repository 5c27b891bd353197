//! How an edge becomes one that the service knows: a one-time code against a certificate.

use std::fmt;

use overread_domain::ContentHash;
use serde::{Deserialize, Serialize};

use crate::MessageError;

/// What a person carries from the service to the edge: proves the edge to the service once, and the service to the edge.
///
/// Written `ove_ID_SECRET_AUTHORITY`, all hexadecimal: 12, 32 and 64 digits.
#[derive(Clone, PartialEq, Eq)]
pub struct EnrolmentCode {
    /// Names the code; no secret.
    pub id: String,
    /// 128 random bits.
    pub secret: String,
    /// SHA-256 of the certificate (DER) of the authority that signed the service's certificate.
    pub authority: ContentHash,
}

/// Asks for a certificate.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EnrolRequest {
    /// [`EnrolmentCode::id`].
    pub code: String,
    /// [`EnrolmentCode::secret`].
    pub secret: String,
    /// How people call this edge, 1 to 64 letters, digits, spaces and any of `. _ -`.
    pub name: String,
    /// PKCS #10 certificate signing request, PEM. Its names do not count.
    pub csr: String,
}

/// Asks for the next certificate of an edge that has one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RenewRequest {
    /// PKCS #10 certificate signing request, PEM. Its names do not count.
    pub csr: String,
}

/// An edge's certificate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EnrolAnswer {
    /// The edge's id: the certificate's subject CN.
    pub edge: String,
    /// The client it belongs to: the certificate's subject O.
    pub client: String,
    /// The certificate, PEM.
    pub certificate: String,
    /// The authority's certificate, PEM: the service's own certificate is signed by it too.
    pub authority: String,
}

impl EnrolmentCode {
    /// Reads a code as it was printed; spaces around it do not matter.
    ///
    /// # Errors
    /// It is none, or was cut. The text is not repeated: it is a secret.
    pub fn parse(text: &str) -> Result<Self, MessageError> {
        let wrong = || {
            MessageError::Field {
            field: "code",
            problem: "an enrolment code begins with ove_ and has three more parts of 12, 32 and 64 hexadecimal digits; copy all of it".into(),
        }
        };
        let hex = |text: &str, digits: usize| {
            text.len() == digits && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
        };
        let parts: Vec<&str> = text.trim().split('_').collect();
        let ["ove", id, secret, authority] = parts[..] else { return Err(wrong()) };
        if !hex(id, 12) || !hex(secret, 32) {
            return Err(wrong());
        }
        let authority = ContentHash::parse(authority).map_err(|_| wrong())?;
        Ok(Self { id: id.to_owned(), secret: secret.to_owned(), authority })
    }

    /// The code as a person copies it.
    pub fn reveal(&self) -> String {
        format!("ove_{}_{}_{}", self.id, self.secret, self.authority)
    }
}

impl fmt::Debug for EnrolmentCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EnrolmentCode").field("id", &self.id).finish_non_exhaustive()
    }
}

impl fmt::Debug for EnrolRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EnrolRequest")
            .field("code", &self.code)
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn version_1_stays_readable() {
        let request: EnrolRequest =
            serde_json::from_str(include_str!("../tests/golden/enrol-request-1.json")).unwrap();
        let golden = include_str!("../tests/golden/enrol-request-1.json").trim_end();
        assert_eq!(serde_json::to_string_pretty(&request).unwrap(), golden);
        let answer: EnrolAnswer =
            serde_json::from_str(include_str!("../tests/golden/enrol-answer-1.json")).unwrap();
        let golden = include_str!("../tests/golden/enrol-answer-1.json").trim_end();
        assert_eq!(serde_json::to_string_pretty(&answer).unwrap(), golden);
    }

    #[test]
    fn a_code_survives_copying_and_is_not_shown() {
        let code = EnrolmentCode {
            id: "0123456789ab".into(),
            secret: "cd".repeat(16),
            authority: ContentHash::from_bytes([7; 32]),
        };
        assert_eq!(EnrolmentCode::parse(&format!(" {}\n", code.reveal())).unwrap(), code);
        assert!(!format!("{code:?}").contains("cdcd"));
        for wrong in ["", "ove_", "ovr_0123456789ab_cd", &code.reveal()[..100], &code.reveal().to_uppercase()]
        {
            let error = EnrolmentCode::parse(wrong).unwrap_err().to_string();
            assert!(error.contains("copy all of it") && !error.contains("cdcd"), "{error}");
        }
    }
}
