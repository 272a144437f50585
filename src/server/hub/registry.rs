//! Which subscriptions are open, by what they want, and how each is woken.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use slab::Slab;

use super::Matchers;
use super::pattern::{Patterns, Serial};
use crate::server::log::{Cursor, Entry, Topic};

/// The open subscriptions, by what they want.
#[derive(Default)]
pub(super) struct Registry {
    listeners: Mutex<Listeners>,
}

#[derive(Default)]
struct Listeners {
    everything: Slots,
    topics: HashMap<Topic, Slots>,
    patterns: HashMap<Serial, Slots>,
}

type Slots = Slab<Arc<Slot>>;

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

/// A subscription's keys in the registry: for everything alone, or for its topics and then its patterns in their order.
pub(super) type Keys = Box<[usize]>;

impl Registry {
    pub(super) fn insert(&self, matchers: &Matchers, slot: &Arc<Slot>) -> Keys {
        let mut listeners = self.listeners();
        let Listeners { everything, topics, patterns } = &mut *listeners;
        if matchers.everything() {
            return [everything.insert(slot.clone())].into();
        }
        let insert = |slots: &mut Slots| slots.insert(slot.clone());
        let mut keys = Vec::with_capacity(matchers.topics().len() + matchers.patterns().len());
        keys.extend(matchers.topics().iter().map(|topic| insert(topics.entry(topic.clone()).or_default())));
        keys.extend(matchers.patterns().iter().map(|pattern| insert(patterns.entry(pattern.serial()).or_default())));
        keys.into()
    }

    pub(super) fn remove(&self, matchers: &Matchers, keys: &Keys) {
        let mut listeners = self.listeners();
        let Listeners { everything, topics, patterns } = &mut *listeners;
        let mut keys = keys.iter().copied();
        if matchers.everything() {
            keys.by_ref().take(1).for_each(|key| drop(everything.remove(key)));
        }
        for (topic, key) in matchers.topics().iter().zip(keys.by_ref()) {
            remove_from(topics, topic, key);
        }
        for (pattern, key) in matchers.patterns().iter().zip(keys) {
            remove_from(patterns, &pattern.serial(), key);
        }
    }

    /// Wakes the subscriptions that want this entry.
    pub(super) fn wake(&self, entry: &Entry, known: &Patterns) {
        let listeners = self.listeners();
        let wake = |slots: &Slots| slots.iter().for_each(|(_, slot)| slot.offer(entry.cursor));
        wake(&listeners.everything);
        for topic in &entry.topics {
            listeners.topics.get(topic).into_iter().for_each(wake);
            if !listeners.patterns.is_empty() {
                known.matching(topic, |matched| {
                    matched.iter().filter_map(|serial| listeners.patterns.get(serial)).for_each(wake);
                });
            }
        }
    }

    /// Whether nobody listens.
    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        let listeners = self.listeners();
        listeners.everything.is_empty() && listeners.topics.is_empty() && listeners.patterns.is_empty()
    }

    fn listeners(&self) -> MutexGuard<'_, Listeners> {
        self.listeners.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn remove_from<K: std::hash::Hash + Eq>(by: &mut HashMap<K, Slots>, wanted: &K, key: usize) {
    let Some(slots) = by.get_mut(wanted) else { return };
    slots.try_remove(key);
    if slots.is_empty() {
        by.remove(wanted);
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
