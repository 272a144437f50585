//! The topics that the archive knows, in memory: what a filter that can't list its topics is held against.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{PoisonError, RwLock};

use crate::server::log::Topic;

/// Topics by their numbers. It may know some that no transaction has committed yet; it never lacks one
/// that a snapshot taken before the question has, unless retention has emptied it since.
#[derive(Default)]
pub(super) struct Names(RwLock<BTreeMap<u64, Topic>>);

impl Names {
    pub(super) fn get(&self, number: u64) -> Option<Topic> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).get(&number).cloned()
    }

    pub(super) fn insert(&self, topics: impl Iterator<Item = (u64, Topic)>) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).extend(topics);
    }

    pub(super) fn remove(&self, numbers: &[u64]) {
        let mut topics = self.0.write().unwrap_or_else(PoisonError::into_inner);
        for number in numbers {
            topics.remove(number);
        }
    }

    /// The next topics after a number (from the first for `None`), at most `limit`.
    pub(super) fn after(&self, number: Option<u64>, limit: usize) -> Vec<(u64, Topic)> {
        let from = number.map_or(Bound::Unbounded, Bound::Excluded);
        let topics = self.0.read().unwrap_or_else(PoisonError::into_inner);
        topics.range((from, Bound::Unbounded)).take(limit).map(|(&number, topic)| (number, topic.clone())).collect()
    }
}
