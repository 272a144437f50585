//! Which subscriptions are open, by what they want, and how each is woken.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use slab::Slab;

use super::Matchers;
use crate::server::log::{Cursor, Entry, Topic};

/// The open subscriptions, by topic.
#[derive(Default)]
pub(super) struct Registry {
    topics: Mutex<HashMap<Topic, Slab<Arc<Slot>>>>,
}

/// Where one subscription is told that there is something for it. It holds places, never updates: that
/// is what a slow reader costs.
#[derive(Default)]
pub(super) struct Slot {
    state: Mutex<Waiting>,
}

#[derive(Default)]
struct Waiting {
    pending: Option<Span>,
    waker: Option<Waker>,
}

/// From the first to the last entry that a subscription has not been told of before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) first: Cursor,
    pub(super) last: Cursor,
}

/// A subscription's keys in the registry, one for each of its topics in their order.
pub(super) type Keys = Box<[usize]>;

impl Registry {
    pub(super) fn insert(&self, matchers: &Matchers, slot: &Arc<Slot>) -> Keys {
        let mut topics = self.topics();
        let insert = |topic: &Topic| topics.entry(topic.clone()).or_default().insert(slot.clone());
        matchers.topics().iter().map(insert).collect()
    }

    pub(super) fn remove(&self, matchers: &Matchers, keys: &Keys) {
        let mut topics = self.topics();
        for (topic, &key) in matchers.topics().iter().zip(keys) {
            let Some(slots) = topics.get_mut(topic) else { continue };
            slots.remove(key);
            if slots.is_empty() {
                topics.remove(topic);
            }
        }
    }

    /// Wakes the subscriptions that want this entry.
    pub(super) fn wake(&self, entry: &Entry) {
        let topics = self.topics();
        for slots in entry.topics.iter().filter_map(|topic| topics.get(topic)) {
            for (_, slot) in slots {
                slot.offer(entry.cursor);
            }
        }
    }

    /// Whether nobody listens.
    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.topics().is_empty()
    }

    fn topics(&self) -> MutexGuard<'_, HashMap<Topic, Slab<Arc<Slot>>>> {
        self.topics.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Slot {
    fn offer(&self, cursor: Cursor) {
        let mut state = self.state();
        match &mut state.pending {
            Some(span) => span.last = cursor,
            None => {
                state.pending = Some(Span { first: cursor, last: cursor });
                if let Some(waker) = &state.waker {
                    waker.wake_by_ref();
                }
            }
        }
    }

    /// Takes what is pending, or parks until something is.
    pub(super) fn poll(&self, cx: &mut Context<'_>) -> Poll<Span> {
        let mut state = self.state();
        if let Some(span) = state.pending.take() {
            return Poll::Ready(span);
        }
        match &mut state.waker {
            Some(waker) => waker.clone_from(cx.waker()),
            None => state.waker = Some(cx.waker().clone()),
        }
        Poll::Pending
    }

    fn state(&self) -> MutexGuard<'_, Waiting> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
