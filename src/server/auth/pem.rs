//! PEM (RFC 7468): the blocks of a text, and the public key in a block.

use aws_lc_rs::rsa::PublicKey;
use jsonwebtoken::DecodingKey;

use super::key::{Key, KeyKind};
use super::key_error::KeyError;

/// Begins every block.
const BEGIN: &str = "-----BEGIN ";

/// Whether the text contains a block, or the beginning of one.
pub(super) fn is_pem(text: &str) -> bool {
    text.contains(BEGIN)
}

/// The blocks of a text, each with the explanatory text after it.
pub(super) fn blocks(text: &str) -> impl Iterator<Item = &str> {
    let starts: Vec<_> = text.match_indices(BEGIN).map(|(at, _)| at).collect();
    let ends: Vec<_> = starts.iter().copied().skip(1).chain([text.len()]).collect();
    starts.into_iter().zip(ends).map(|(start, end)| &text[start..end])
}

/// The label of a block, for example `PUBLIC KEY`.
pub(super) fn label(block: &str) -> Option<&str> {
    block.strip_prefix(BEGIN)?.split_once("-----").map(|(label, _)| label)
}

/// The public key in a block. Private keys and certificates are refused.
pub(super) fn public_key(block: &str) -> Result<Key, KeyError> {
    match label(block) {
        Some("PUBLIC KEY" | "RSA PUBLIC KEY") => {}
        Some(label) if label.ends_with("PRIVATE KEY") => return Err(KeyError::Private),
        Some("CERTIFICATE") => return Err(KeyError::Certificate),
        _ => return Err(KeyError::Unsupported),
    }
    let pem = block.as_bytes();
    if let Ok(key) = DecodingKey::from_ed_pem(pem) {
        return Key::point(KeyKind::Ed25519, key.try_get_as_bytes().unwrap_or_default());
    }
    if let Ok(key) = DecodingKey::from_ec_pem(pem) {
        let point = key.try_get_as_bytes().unwrap_or_default();
        let kind = if point.len() == 97 { KeyKind::P384 } else { KeyKind::P256 };
        return Key::point(kind, point);
    }
    let damaged = KeyError::Damaged("PEM");
    let key = DecodingKey::from_rsa_pem(pem).map_err(|_| damaged.clone())?;
    let key = PublicKey::from_der(key.try_get_as_bytes().unwrap_or_default()).map_err(|_| damaged)?;
    Key::rsa(key.modulus().big_endian_without_leading_zero(), key.exponent().big_endian_without_leading_zero())
}
