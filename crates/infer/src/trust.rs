//! Whose packs count: Ed25519 signatures over the edition, and the list of keys we trust.
//!
//! A hash tells that content is unchanged; only a signature tells who stands behind it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use ed25519_dalek::{Signer, SigningKey, VerifyingKey};
use overread_domain::EditionId;
use serde::{Deserialize, Serialize};

use crate::error::InferError;

/// Where a pack keeps its signature; the one file that the edition does not cover.
pub const SIGNATURE_FILE: &str = "signature.json";
/// What is signed: this line, then the edition. A signature made for something else never fits.
const CONTEXT: &str = "overread pack edition 1\n";

/// What a signature file says.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Signature {
    /// The edition it was made for.
    pub edition: EditionId,
    /// Public key, base64.
    pub key: String,
    /// Ed25519 signature (RFC 8032), base64.
    pub signature: String,
}

/// The keys we trust.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrustList {
    /// One entry a key.
    #[serde(default)]
    pub key: Vec<TrustedKey>,
}

/// A key we trust, and whose it is.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrustedKey {
    /// Whose it is, for people.
    pub owner: String,
    /// Public key, base64.
    pub public: String,
}

/// Whether somebody we trust stands behind a pack.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Signed by a key of the trust list.
    Trusted {
        /// Whose key it is.
        owner: String,
    },
    /// Signed, and the signature fits, by a key that is not on the list.
    Untrusted {
        /// The key, base64.
        key: String,
    },
    /// Not signed.
    Unsigned,
}

impl TrustList {
    /// Tells the standing of an edition.
    ///
    /// # Errors
    /// A signature that does not fit the edition: the pack was changed after it was signed, or the signature is forged.
    pub fn judge(&self, edition: &EditionId, signature: Option<&Signature>) -> Result<Standing, InferError> {
        let Some(signature) = signature else { return Ok(Standing::Unsigned) };
        if signature.edition != *edition {
            return Err(InferError::Signature(format!(
                "it was made for edition {}, but the files are edition {}; a file was changed, added or lost after signing: fetch the pack again",
                signature.edition.short(),
                edition.short()
            )));
        }
        signature.verify()?;
        let owner = self.key.iter().find(|k| k.public == signature.key).map(|k| k.owner.clone());
        Ok(match owner {
            Some(owner) => Standing::Trusted { owner },
            None => Standing::Untrusted { key: signature.key.clone() },
        })
    }
}

impl Signature {
    /// Reads a signature file.
    ///
    /// # Errors
    /// Not JSON of the expected form.
    pub fn parse(json: &[u8]) -> Result<Self, InferError> {
        serde_json::from_slice(json).map_err(|e| InferError::Signature(format!("{SIGNATURE_FILE}: {e}")))
    }

    /// Signs an edition.
    pub fn sign(edition: &EditionId, key: &SigningKey) -> Self {
        let signature = key.sign(message(edition).as_bytes());
        Self {
            edition: edition.clone(),
            key: BASE64.encode(key.verifying_key().to_bytes()),
            signature: BASE64.encode(signature.to_bytes()),
        }
    }

    fn verify(&self) -> Result<(), InferError> {
        let bad = |what: &str| InferError::Signature(format!("{SIGNATURE_FILE}: {what}"));
        let bytes = |text: &str| BASE64.decode(text).map_err(|_| bad("not base64"));
        let key: [u8; 32] = bytes(&self.key)?.try_into().map_err(|_| bad("the key has not 32 bytes"))?;
        let signature: [u8; 64] =
            bytes(&self.signature)?.try_into().map_err(|_| bad("the signature has not 64 bytes"))?;
        let key = VerifyingKey::from_bytes(&key).map_err(|_| bad("the key is not an Ed25519 key"))?;
        key.verify_strict(message(&self.edition).as_bytes(), &signature.into())
            .map_err(|_| bad("it does not fit the edition and the key; fetch the pack again from its makers"))
    }
}

fn message(edition: &EditionId) -> String {
    format!("{CONTEXT}{edition}")
}

/// A new signing key: its private half (base64, to be kept secret) and its public half (base64).
///
/// # Errors
/// The system gives no random numbers.
pub fn new_key() -> Result<(String, String), InferError> {
    let mut seed = [0u8; 32];
    getrandom::fill(&mut seed).map_err(|e| InferError::Signature(format!("no random numbers: {e}")))?;
    let key = SigningKey::from_bytes(&seed);
    Ok((BASE64.encode(seed), BASE64.encode(key.verifying_key().to_bytes())))
}

/// A signing key from its private half.
///
/// # Errors
/// Not 32 bytes of base64.
pub fn signing_key(private: &str) -> Result<SigningKey, InferError> {
    let seed = BASE64.decode(private.trim()).ok().and_then(|b| <[u8; 32]>::try_from(b).ok());
    seed.map(|s| SigningKey::from_bytes(&s))
        .ok_or_else(|| InferError::Signature("the private key is not 32 bytes of base64".into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edition(c: &str) -> EditionId {
        EditionId(c.repeat(64))
    }

    #[test]
    fn only_listed_keys_are_trusted() {
        let (private, public) = new_key().unwrap();
        let signature = Signature::sign(&edition("a"), &signing_key(&private).unwrap());
        let list = TrustList { key: vec![TrustedKey { owner: "me".into(), public: public.clone() }] };
        assert_eq!(
            list.judge(&edition("a"), Some(&signature)).unwrap(),
            Standing::Trusted { owner: "me".into() }
        );
        let stranger = TrustList::default();
        assert_eq!(
            stranger.judge(&edition("a"), Some(&signature)).unwrap(),
            Standing::Untrusted { key: public }
        );
        assert_eq!(stranger.judge(&edition("a"), None).unwrap(), Standing::Unsigned);
    }

    #[test]
    fn changed_packs_and_forged_signatures_are_errors() {
        let (private, _) = new_key().unwrap();
        let signature = Signature::sign(&edition("a"), &signing_key(&private).unwrap());
        let list = TrustList::default();
        assert!(list.judge(&edition("b"), Some(&signature)).is_err());
        let forged = Signature { edition: edition("b"), ..signature };
        assert!(list.judge(&edition("b"), Some(&forged)).is_err());
    }
}
