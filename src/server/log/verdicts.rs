//! What a filter has said about topics, so that it is asked about each only once.

use std::collections::HashMap;
use std::hash::Hash;

use super::{Entry, Topic, TopicFilter};

/// How many topics' verdicts one reader remembers.
const CAPACITY: usize = 4096;

/// A filter's verdicts, by topic or by a topic's number.
pub(super) struct Verdicts<K = Topic>(HashMap<K, bool>);

impl<K> Default for Verdicts<K> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<K: Hash + Eq> Verdicts<K> {
    /// The remembered verdict, or that of `ask`.
    pub(super) fn get_or_ask(&mut self, key: K, ask: impl FnOnce(&K) -> bool) -> bool {
        if let Some(verdict) = self.0.get(&key) {
            return *verdict;
        }
        if self.0.len() >= CAPACITY {
            self.0.clear();
        }
        let verdict = ask(&key);
        self.0.insert(key, verdict);
        verdict
    }
}

impl Verdicts {
    /// Whether the filter wants an entry.
    pub(super) fn wants(&mut self, filter: &dyn TopicFilter, entry: &Entry) -> bool {
        // First: after a restart each of thousands of readers goes past the presence events of all others.
        (!entry.private || filter.wants_private()) && entry.topics.iter().any(|topic| self.wants_topic(filter, topic))
    }

    /// Whether the filter wants a topic.
    pub(super) fn wants_topic(&mut self, filter: &dyn TopicFilter, topic: &Topic) -> bool {
        self.get_or_ask(topic.clone(), |topic| filter.wants(topic.as_str()))
    }
}
