//! The key that seals tokens into tickets, and vouches for browsers that have opened a stream.

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use aws_lc_rs::hmac;
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;

/// Bytes of a proof: 128 bits can't be guessed.
const PROOF: usize = 16;

/// Names one ticket; no two have the same.
pub(super) type TicketId = [u8; NONCE_LEN];

/// Two keys that are derived from one secret.
pub(super) struct TicketKey {
    sealing: RandomizedNonceKey,
    proving: hmac::Key,
}

impl TicketKey {
    /// Derives the keys; `None` only if the cryptographic library fails.
    pub(super) fn new(secret: &[u8]) -> Option<Self> {
        let secret = hmac::Key::new(hmac::HMAC_SHA256, secret);
        let derive = |purpose: &str| hmac::sign(&secret, purpose.as_bytes());
        let sealing = RandomizedNonceKey::new(&AES_256_GCM, derive("seal a ticket").as_ref()).ok()?;
        let proving = hmac::Key::new(hmac::HMAC_SHA256, derive("prove a reconnect").as_ref());
        Some(Self { sealing, proving })
    }

    /// Encrypts and authenticates; the text is base64url. `None` only if the cryptographic library fails.
    pub(super) fn seal(&self, mut content: Vec<u8>) -> Option<String> {
        let nonce = self.sealing.seal_in_place_append_tag(Aad::empty(), &mut content).ok()?;
        Some(BASE64_URL_SAFE_NO_PAD.encode([&nonce.as_ref()[..], &content].concat()))
    }

    /// What [`TicketKey::seal`] was given; `None` for any other text.
    pub(super) fn unseal(&self, ticket: &str) -> Option<(TicketId, Vec<u8>)> {
        let bytes = BASE64_URL_SAFE_NO_PAD.decode(ticket).ok()?;
        let (id, sealed) = bytes.split_first_chunk()?;
        let mut sealed = sealed.to_vec();
        let content = self.sealing.open_in_place(Nonce::from(id), Aad::empty(), &mut sealed).ok()?;
        Some((*id, content.to_vec()))
    }

    /// What a browser presents that has opened a stream with a ticket for this token. It says nothing of the token.
    pub(super) fn proof(&self, token: &str) -> String {
        let tag = hmac::sign(&self.proving, token.as_bytes());
        BASE64_URL_SAFE_NO_PAD.encode(&tag.as_ref()[..PROOF])
    }
}
