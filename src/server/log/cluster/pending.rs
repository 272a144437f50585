//! Appends that wait until this node's store has their message.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use crate::server::log::Entry;

/// The entries of one message.
type Entries = Vec<Arc<Entry>>;

/// The waiting appends by message id.
#[derive(Default)]
pub(super) struct Pending(Mutex<HashMap<Box<str>, Vec<oneshot::Sender<Entries>>>>);

/// A message that is waited for until this is dropped.
pub(super) struct Expected<'a> {
    pending: &'a Pending,
    id: Box<str>,
    pub(super) entries: oneshot::Receiver<Entries>,
}

impl Pending {
    /// Starts to wait for the message with this id.
    pub(super) fn expect(&self, id: &str) -> Expected<'_> {
        let (sender, entries) = oneshot::channel();
        self.waiting().entry(id.into()).or_default().push(sender);
        Expected { pending: self, id: id.into(), entries }
    }

    /// The store has the message with this id.
    pub(super) fn resolve(&self, id: &str, entries: &[Arc<Entry>]) {
        let waiting = self.waiting().remove(id);
        for sender in waiting.into_iter().flatten() {
            _ = sender.send(entries.to_vec());
        }
    }

    fn waiting(&self) -> MutexGuard<'_, HashMap<Box<str>, Vec<oneshot::Sender<Entries>>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Expected<'_> {
    fn drop(&mut self) {
        self.entries.close();
        let mut waiting = self.pending.waiting();
        if let Some(senders) = waiting.get_mut(&self.id) {
            senders.retain(|sender| !sender.is_closed());
            if senders.is_empty() {
                waiting.remove(&self.id);
            }
        }
    }
}
