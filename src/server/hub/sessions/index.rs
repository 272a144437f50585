//! Finds the sessions that want an entry, by their matchers.

use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use slab::Slab;

use crate::server::hub::matcher::Matchers;
use crate::server::hub::pattern::{Candidate, Pattern, PatternId};
use crate::server::log::Topic;

/// Number of patterns that are copied at a time to be compared with a topic: the lock is held only for the copying.
const SLICE: usize = 64;

/// The key of a session in its shard. It is used again once the session has ended.
pub(in crate::server::hub) type SessionKey = usize;

/// Sessions by what they want.
#[derive(Default)]
pub(in crate::server::hub) struct Index {
    everything: Listeners,
    topics: HashMap<Topic, Listeners>,
    patterns: HashMap<PatternId, SubscribedId>,
    by_pattern: BTreeMap<SubscribedId, (PatternId, Listeners)>,
    subscribed: Arc<SubscribedPatterns>,
}

type Listeners = Slab<SessionKey>;

/// The place of a pattern in the order in which patterns were first subscribed to. A pattern that nobody subscribes to
/// any more loses its place, and gets a new one when somebody does again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::server::hub) struct SubscribedId(u64);

/// The patterns of an index, under a lock of their own: topics are compared with them while sessions come and go.
#[derive(Default)]
pub(in crate::server::hub) struct SubscribedPatterns {
    state: Mutex<SubscribedState>,
}

#[derive(Default)]
struct SubscribedState {
    patterns: BTreeMap<SubscribedId, Arc<Pattern>>,
    next: SubscribedId,
}

/// Which patterns a topic matches.
#[derive(Clone, Debug, Default)]
pub(in crate::server::hub) struct TopicMatches {
    /// Some may have lost their last subscriber since.
    pub(in crate::server::hub) matched: Vec<SubscribedId>,
    /// The topic was compared with all patterns before this one.
    pub(in crate::server::hub) checked_up_to: SubscribedId,
}

/// A session's places in an index: for everything alone, or for its topics and then its patterns, in their order.
pub(in crate::server::hub) type IndexKeys = Box<[usize]>;

impl Index {
    pub(in crate::server::hub) fn insert(&mut self, matchers: &Matchers, session: SessionKey) -> IndexKeys {
        if matchers.everything() {
            return [self.everything.insert(session)].into();
        }
        let mut keys = Vec::with_capacity(matchers.topics().len() + matchers.patterns().len());
        for topic in matchers.topics() {
            keys.push(self.topics.entry(topic.clone()).or_default().insert(session));
        }
        for pattern in matchers.patterns() {
            let id = *self.patterns.entry(pattern.id()).or_insert_with(|| self.subscribed.insert(pattern));
            let (_, listeners) = self.by_pattern.entry(id).or_insert_with(|| (pattern.id(), Listeners::default()));
            keys.push(listeners.insert(session));
        }
        keys.into()
    }

    pub(in crate::server::hub) fn remove(&mut self, matchers: &Matchers, keys: &IndexKeys) {
        let mut keys = keys.iter().copied();
        if matchers.everything() {
            if let Some(key) = keys.next() {
                self.everything.try_remove(key);
            }
            return;
        }
        for (topic, key) in matchers.topics().iter().zip(keys.by_ref()) {
            remove_listener(&mut self.topics, topic, key);
        }
        for (pattern, key) in matchers.patterns().iter().zip(keys) {
            let Some(&id) = self.patterns.get(&pattern.id()) else { continue };
            let Some((_, listeners)) = self.by_pattern.get_mut(&id) else { continue };
            listeners.try_remove(key);
            if listeners.is_empty() {
                self.by_pattern.remove(&id);
                self.patterns.remove(&pattern.id());
                self.subscribed.remove(id);
            }
        }
    }

    /// Calls `select` with each session that wants a topic with these matches, perhaps more than once.
    pub(in crate::server::hub) fn select(
        &self,
        topic: &Topic,
        matches: &TopicMatches,
        mut select: impl FnMut(SessionKey),
    ) {
        if let Some(listeners) = self.topics.get(topic) {
            listeners.iter().for_each(|(_, &session)| select(session));
        }
        for id in &matches.matched {
            if let Some((_, listeners)) = self.by_pattern.get(id) {
                listeners.iter().for_each(|(_, &session)| select(session));
            }
        }
    }

    /// Calls `select` with each session that wants every topic.
    pub(super) fn select_everything(&self, select: impl FnMut(SessionKey)) {
        self.everything.iter().map(|(_, &session)| session).for_each(select);
    }

    /// Calls `select` with each session of a pattern that topics up to `checked_up_to` were not compared with.
    pub(super) fn select_newer(&self, checked_up_to: SubscribedId, mut select: impl FnMut(SessionKey)) {
        for (_, listeners) in self.by_pattern.range(checked_up_to..).map(|(_, entry)| entry) {
            listeners.iter().for_each(|(_, &session)| select(session));
        }
    }

    pub(in crate::server::hub) fn subscribed(&self) -> &Arc<SubscribedPatterns> {
        &self.subscribed
    }

    /// An index with one session, which has these matchers.
    #[cfg(test)]
    pub(in crate::server::hub) fn of(matchers: &Matchers) -> Self {
        let mut index = Self::default();
        index.insert(matchers, 0);
        index
    }

    /// Whether any session wants the topic.
    #[cfg(test)]
    pub(in crate::server::hub) fn finds(&self, topic: &Topic) -> bool {
        let mut found = false;
        self.select_everything(|_| found = true);
        self.select(topic, &self.subscribed.matches(topic), |_| found = true);
        found
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.everything.is_empty() && self.topics.is_empty() && self.by_pattern.is_empty() && self.patterns.is_empty()
    }
}

fn remove_listener<K: Hash + Eq>(by: &mut HashMap<K, Listeners>, wanted: &K, key: usize) {
    let Some(listeners) = by.get_mut(wanted) else { return };
    listeners.try_remove(key);
    if listeners.is_empty() {
        by.remove(wanted);
    }
}

impl SubscribedPatterns {
    fn insert(&self, pattern: &Arc<Pattern>) -> SubscribedId {
        let mut state = self.state();
        let id = state.next;
        state.next = SubscribedId(id.0 + 1);
        state.patterns.insert(id, pattern.clone());
        id
    }

    fn remove(&self, id: SubscribedId) {
        self.state().patterns.remove(&id);
    }

    /// The patterns that the topic matches.
    pub(in crate::server::hub) fn matches(&self, topic: &Topic) -> TopicMatches {
        let mut matches = TopicMatches::default();
        self.update(topic, &mut matches);
        matches
    }

    /// Compares the topic with the patterns that it was not compared with yet, a slice of them at a time.
    pub(in crate::server::hub) fn update(&self, topic: &Topic, matches: &mut TopicMatches) {
        let candidate = Candidate::new(topic.as_str());
        let mut slice: Vec<(SubscribedId, Arc<Pattern>)> = Vec::new();
        let mut is_new = true;
        loop {
            {
                let state = self.state();
                if matches.checked_up_to == state.next {
                    return;
                }
                if std::mem::take(&mut is_new) {
                    matches.matched.retain(|id| state.patterns.contains_key(id));
                }
                let from = Bound::Included(matches.checked_up_to);
                let next = state.patterns.range((from, Bound::Unbounded)).take(SLICE);
                slice.extend(next.map(|(&id, pattern)| (id, pattern.clone())));
                matches.checked_up_to = match slice.last() {
                    Some((last, _)) if slice.len() == SLICE => SubscribedId(last.0 + 1),
                    _ => state.next,
                };
            }
            let matching = slice.drain(..).filter(|(_, pattern)| pattern.matches(&candidate));
            matches.matched.extend(matching.map(|(id, _)| id));
        }
    }

    /// Whether no topic has to be compared with a pattern.
    pub(in crate::server::hub) fn is_empty(&self) -> bool {
        self.state().patterns.is_empty()
    }

    fn state(&self) -> MutexGuard<'_, SubscribedState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
