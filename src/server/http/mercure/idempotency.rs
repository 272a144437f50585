//! `Idempotency-Key`: a publish that is sent again answers what the first one did, and publishes nothing.
//!
//! The key becomes the update's id, so the log itself knows what was published, as long as it keeps it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use axum::http::HeaderMap;
use sha2::{Digest, Sha256};
use tokio::sync::OwnedMutexGuard;
use uuid::Uuid;

use crate::server::auth::Token;
use crate::server::http::error::ApiError;
use crate::server::hub::Hub;
use crate::server::log::{Entry, Field, Update};
use crate::wire::frame;

const HEADER: &str = "idempotency-key";
/// Longest key, in bytes.
const MAX_LENGTH: usize = 255;
/// Unused locks are removed when there are this many.
const FORGET_ABOVE: usize = 1024;

/// One publish of each key at a time.
#[derive(Default)]
pub(super) struct Repeats {
    running: Mutex<HashMap<Key, Arc<tokio::sync::Mutex<()>>>>,
}

type Key = [u8; 32];

/// The key of a request: of one publisher, whose keys others can't meet.
pub(super) fn key(headers: &HeaderMap, token: Option<&Token>) -> Result<Option<Key>, ApiError> {
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
    Ok(Some(hash.finalize().into()))
}

impl Repeats {
    /// Waits until nobody else publishes with this key.
    pub(super) async fn turn(&self, key: Key) -> OwnedMutexGuard<()> {
        let lock = {
            let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
            if running.len() > FORGET_ABOVE {
                running.retain(|_, lock| Arc::strong_count(lock) > 1);
            }
            running.entry(key).or_default().clone()
        };
        lock.lock_owned().await
    }
}

/// Gives the updates the ids that their key means, where their publisher gave none; answers the ids if they are there
/// already.
pub(super) async fn repeated(hub: &Hub, key: Key, updates: &mut [Update]) -> Result<Option<Vec<Box<str>>>, ApiError> {
    let mut is_repeated = false;
    for (n, update) in updates.iter_mut().enumerate() {
        let id = update.id.get_or_insert(derived(key, n)?);
        if let Some(entry) = hub.log().find(id.as_str()).await? {
            if !is_same(&entry, update) {
                let detail = "This Idempotency-Key was used for another update. Use a new key for each publish.";
                return Err(ApiError::Invalid(detail.into()));
            }
            is_repeated = true;
        }
    }
    let ids = || updates.iter().filter_map(|update| update.id.clone()).map(Box::from).collect();
    Ok(is_repeated.then(ids))
}

fn derived(key: Key, n: usize) -> Result<Field, ApiError> {
    let digest = Sha256::new().chain_update(key).chain_update((n as u64).to_be_bytes()).finalize();
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&digest[..16]);
    Field::parse(&Uuid::new_v8(bytes).urn().to_string()).map_err(|_| ApiError::Internal)
}

fn is_same(entry: &Entry, update: &Update) -> bool {
    *entry.topics == *update.topics
        && entry.private == update.private
        && entry.event() == update.event.as_ref().map(Field::as_str)
        && frame::lines(&entry.data()).eq(frame::lines(&update.data))
}
