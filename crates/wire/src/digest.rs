//! What names a message in the audit chains of both sides.

use overread_domain::ContentHash;
use serde::Serialize;
use sha2::{Digest, Sha256};

/// SHA-256 over the message as compact JSON, its fields in their order: the same on both sides, whatever its bytes on the wire were.
pub(crate) fn digest(message: &impl Serialize) -> ContentHash {
    // A message has neither maps with keys that are no text nor anything else that JSON could not hold.
    let text = serde_json::to_vec(message).unwrap_or_default();
    ContentHash::from_bytes(Sha256::digest(text).into())
}
