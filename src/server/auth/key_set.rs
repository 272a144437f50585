//! Keys that are tried together, and the signature they are tried on.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use jsonwebtoken::Algorithm;

use super::TokenError;
use super::key::Key;

/// Keys that were read together. A newer set of the same source has another number.
pub(super) struct KeySet {
    number: u64,
    keys: Vec<Key>,
}

impl KeySet {
    pub(super) fn new(keys: Vec<Key>) -> Arc<Self> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Arc::new(Self { number: NEXT.fetch_add(1, Ordering::Relaxed), keys })
    }

    /// Its number, which no other set has.
    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// Whether one of the keys has this id.
    pub(super) fn has_id(&self, id: &str) -> bool {
        self.keys.iter().any(|key| key.has_id(id))
    }

    /// Finds the key that made the signature. `id` is a hint: the key that has it is tried first.
    pub(super) fn verify(&self, signed: &Signed<'_>) -> Result<(), TokenError> {
        let named = |key: &&Key| signed.key_id.is_some_and(|id| key.has_id(id));
        let mut fitting = self.keys.iter().filter(|key| key.fits(signed.algorithm)).peekable();
        if fitting.peek().is_none() {
            return Err(TokenError::NoKey);
        }
        let (first, others): (Vec<_>, Vec<_>) = fitting.partition(named);
        let made = |key: &&Key| key.verify(signed.algorithm, signed.message, signed.signature);
        if first.iter().chain(&others).any(made) { Ok(()) } else { Err(TokenError::Signature) }
    }
}

/// What a signature is checked with.
#[derive(Clone, Copy)]
pub(super) struct Signed<'a> {
    pub(super) algorithm: Algorithm,
    pub(super) key_id: Option<&'a str>,
    pub(super) message: &'a str,
    /// In base64url.
    pub(super) signature: &'a str,
}
