//! Idempotency: an append that is repeated with its key appends nothing.
//!
//! The key becomes the ids of the updates that have none of their own, so the log knows what was published with it for
//! as long as it keeps one of them, and needs no record beside its entries.

use std::collections::HashSet;
use std::sync::Arc;

use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::{AppendError, Entry, Field, Update};
use crate::wire::frame;

/// What one publisher calls one append. It must be a digest that others can't guess, and cover who the publisher is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct IdempotencyKey(pub [u8; 32]);

/// What the entries that are there mean for an append with a key.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// None of the updates is there.
    New,
    /// They were appended with this key before.
    Repeated,
}

/// The ids of updates, in their order.
pub(super) fn ids(updates: &[Update]) -> Vec<Box<str>> {
    updates.iter().filter_map(|update| update.id.as_ref()).map(Field::as_str).map(Box::from).collect()
}

impl IdempotencyKey {
    /// The id of the update at this index of an append. A UUID of version 8.
    fn id(&self, index: usize) -> String {
        let digest = Sha256::new().chain_update(self.0).chain_update((index as u64).to_be_bytes()).finalize();
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&digest[..16]);
        Uuid::new_v8(bytes).urn().to_string()
    }

    /// The id of the message that carries this append in a cluster. Who knows it does not know the key.
    pub(super) fn message_id(&self) -> String {
        let digest = Sha256::new().chain_update(self.0).chain_update(b"message").finalize();
        digest[..16].iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Gives each update that has no id the one that this key means.
    pub(super) fn assign_ids(&self, updates: &mut [Update]) {
        for (index, update) in updates.iter_mut().enumerate() {
            if update.id.is_none() {
                update.id = Field::parse(&self.id(index)).ok();
            }
        }
    }

    /// Judges an append of these updates, which have their ids, by the earliest kept entry with the id of each, in
    /// their order.
    pub(super) fn judge(&self, updates: &[Update], found: &[Option<Arc<Entry>>]) -> Result<Verdict, AppendError> {
        let (mut ids, mut there, mut missing, mut proven) = (HashSet::new(), 0, 0, false);
        for (index, (update, entry)) in updates.iter().zip(found).enumerate() {
            let Some(id) = update.id.as_ref().map(Field::as_str) else { continue };
            // The earliest entry with an id tells nothing of a second update with the same one.
            if !ids.insert(id) {
                continue;
            }
            match entry {
                Some(entry) if is_same(entry, update) => {
                    there += 1;
                    proven |= id == self.id(index);
                }
                Some(_) => return Err(AppendError::Conflict(OTHER_UPDATES)),
                None => missing += 1,
            }
        }
        match (there, missing) {
            (0, _) => Ok(Verdict::New),
            (_, 0) => Ok(Verdict::Repeated),
            // Nobody else can have used an id that comes from the key: retention has evicted the others since.
            _ if proven => Ok(Verdict::Repeated),
            _ => Err(AppendError::Conflict(ONLY_SOME)),
        }
    }
}

const OTHER_UPDATES: &str = "This Idempotency-Key was used for another update. Use a new key for each publish.";
const ONLY_SOME: &str = "Some of these updates are published already, with the ids they give, and some are not. Nothing was published: \
     send those that are missing, with a new Idempotency-Key.";

fn is_same(entry: &Entry, update: &Update) -> bool {
    *entry.topics == *update.topics
        && entry.private == update.private
        && entry.event() == update.event.as_ref().map(Field::as_str)
        && frame::lines(&entry.data()).eq(frame::lines(&update.data))
}
