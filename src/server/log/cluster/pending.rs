//! Appends that wait until this node's own store has what they have put into the stream.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use crate::server::log::Entry;

/// The entries that one message has become.
type Entries = Vec<Arc<Entry>>;

/// Those who wait, by the id of their message.
#[derive(Default)]
pub(super) struct Pending(Mutex<HashMap<Box<str>, Vec<oneshot::Sender<Entries>>>>);

/// Waits for one message; it need not be waited for any more when this is dropped.
pub(super) struct Expected<'a> {
    pending: &'a Pending,
    id: Box<str>,
    pub(super) entries: oneshot::Receiver<Entries>,
}

impl Pending {
    /// Waits for the message with this id from now on.
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
