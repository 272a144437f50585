//! `Idempotency-Key`: a publish that is sent again answers what the first one did, and publishes nothing. The log sees to
//! that; here the header is read.

use axum::http::HeaderMap;
use sha2::{Digest, Sha256};

use crate::server::auth::Token;
use crate::server::http::error::ApiError;
use crate::server::log::IdempotencyKey;

const HEADER: &str = "idempotency-key";
/// Longest key, in bytes.
const MAX_LENGTH: usize = 255;

/// The key of a request: of one publisher, whose keys others can't meet.
pub(super) fn key(headers: &HeaderMap, token: Option<&Token>) -> Result<Option<IdempotencyKey>, ApiError> {
    let Some(value) = headers.get(HEADER) else { return Ok(None) };
    let value = value.to_str().unwrap_or_default().trim();
    if value.is_empty() || value.len() > MAX_LENGTH {
        let detail = format!("Idempotency-Key must be 1 to {MAX_LENGTH} visible ASCII characters, for example a UUID.");
        return Err(ApiError::Malformed(detail));
    }
    let (issuer, subject) = token.map_or(("", ""), |token| (&*token.issuer, &*token.subject));
    let mut hash = Sha256::new();
    for part in [issuer, subject, value] {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    Ok(Some(IdempotencyKey(hash.finalize().into())))
}
