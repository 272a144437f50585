//! The topics that the archive knows, in memory: what a filter that can't list its topics is held against, and
//! which of them have lost something since a reader last looked.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use super::archive::Outcome;
use super::schema::TopicRow;
use crate::server::log::{Cursor, Topic};

/// Topics by their numbers. It may know some that no transaction has committed yet; it never lacks one
/// that a snapshot taken before the question has, unless retention has emptied it since.
///
/// Losses are counted: each transaction that removes something is one more. They are announced before the
/// commit, so whoever has a snapshot without an entry finds its loss here.
#[derive(Default)]
pub(super) struct Names(RwLock<State>);

#[derive(Default)]
struct State {
    topics: BTreeMap<u64, Known>,
    /// The topics that have lost something, each under the last count at which it did.
    losses: BTreeSet<(u64, u64)>,
    /// Of the topics that have been forgotten: the newest entry that was removed, and the last count at which one
    /// of them lost something.
    forgotten: Cursor,
    forgotten_at: u64,
    announced: u64,
    committed: u64,
}

struct Known {
    topic: Topic,
    /// The newest of its entries that retention has removed, or is about to.
    removed: Cursor,
    lost_at: u64,
}

/// A place in the order of the losses.
pub(super) struct LossPlace((u64, u64));

impl Names {
    /// The topics of an archive, and the newest entry that has been removed of those it has forgotten.
    pub(super) fn of(topics: &[(u64, TopicRow)], forgotten: Cursor) -> Self {
        // What was lost before is the first loss.
        let mut state = State { forgotten, forgotten_at: 1, announced: 1, committed: 1, ..State::default() };
        for (number, row) in topics {
            if let Ok(topic) = Topic::parse(&row.name) {
                state.insert(*number, topic, row.removed, 1);
            }
        }
        Self(RwLock::new(state))
    }

    pub(super) fn get(&self, number: u64) -> Option<Topic> {
        self.read().topics.get(&number).map(|known| known.topic.clone())
    }

    /// The next topics after a number (from the first for `None`), at most `limit`.
    pub(super) fn after(&self, number: Option<u64>, limit: usize) -> Vec<(u64, Topic)> {
        let from = number.map_or(Bound::Unbounded, Bound::Excluded);
        let state = self.read();
        let topics = state.topics.range((from, Bound::Unbounded)).take(limit);
        topics.map(|(&number, known)| (number, known.topic.clone())).collect()
    }

    /// To be called before a transaction is committed: whoever sees a topic's entries must be able to find the
    /// topic, and whoever misses one must be able to find that out.
    pub(super) fn announce(&self, outcome: &Outcome) {
        let mut state = self.write();
        for (number, topic, removed) in &outcome.new_topics {
            // What it has lost it lost before it was forgotten, if it was known then.
            let lost_at = state.forgotten_at;
            state.insert(*number, topic.clone(), *removed, lost_at);
        }
        state.announced += u64::from(!outcome.lost.is_empty());
        let lost_at = state.announced;
        for (number, removed) in &outcome.lost {
            if let Some(topic) = state.topics.get(number).map(|known| known.topic.clone()) {
                state.insert(*number, topic, *removed, lost_at);
            }
        }
        for number in &outcome.forgotten {
            let Some(&Known { removed, lost_at, .. }) = state.topics.get(number) else { continue };
            if removed > Cursor::START {
                state.forgotten = state.forgotten.max(removed);
                state.forgotten_at = state.forgotten_at.max(lost_at);
            }
        }
    }

    /// To be called once the transaction is committed.
    pub(super) fn commit(&self, outcome: &Outcome) {
        let mut state = self.write();
        state.committed = state.announced;
        for number in &outcome.forgotten {
            if let Some(known) = state.topics.remove(number) {
                state.losses.remove(&(known.lost_at, *number));
            }
        }
    }

    /// How many losses there have been: every snapshot that is taken from now on has them.
    pub(super) fn losses(&self) -> u64 {
        self.read().committed
    }

    /// Whether topics that have been forgotten since have lost entries after `cursor`, and that was not among the
    /// first `known` losses. It knows of topics that [`Names::lost_of`] and [`Names::lost_after`] have no longer,
    /// so it must be asked after these.
    pub(super) fn have_forgotten(&self, cursor: Cursor, known: u64) -> bool {
        let state = self.read();
        state.forgotten > cursor && state.forgotten_at > known
    }

    /// Those of these topics that may have lost entries after `cursor` which were not among the first `known`
    /// losses.
    pub(super) fn lost_of(&self, numbers: &[u64], cursor: Cursor, known: u64) -> Vec<u64> {
        let state = self.read();
        let may_have_lost = |number: &&u64| {
            let topic = state.topics.get(number);
            topic.is_none_or(|topic| topic.lost_at > known && topic.removed > cursor)
        };
        if state.announced > known { numbers.iter().filter(may_have_lost).copied().collect() } else { Vec::new() }
    }

    /// Looks at the next topics that have lost something, in the order in which they did, at most `limit`, after a
    /// place in that order, which it moves on. Answers those that may have lost entries after `cursor`; `None` at
    /// the end.
    pub(super) fn lost_after(&self, place: &mut LossPlace, cursor: Cursor, limit: usize) -> Option<Vec<(u64, Topic)>> {
        let state = self.read();
        let mut next = state.losses.range((Bound::Excluded(place.0), Bound::Unbounded)).take(limit).peekable();
        next.peek()?;
        let mut lost = Vec::new();
        for &(lost_at, number) in next {
            *place = LossPlace((lost_at, number));
            if let Some(known) = state.topics.get(&number).filter(|known| known.removed > cursor) {
                lost.push((number, known.topic.clone()));
            }
        }
        Some(lost)
    }

    fn read(&self) -> RwLockReadGuard<'_, State> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn insert(&mut self, number: u64, topic: Topic, removed: Cursor, lost_at: u64) {
        if let Some(known) = self.topics.insert(number, Known { topic, removed, lost_at }) {
            self.losses.remove(&(known.lost_at, number));
        }
        if removed > Cursor::START {
            self.losses.insert((lost_at, number));
        }
    }
}

impl LossPlace {
    /// Behind the first `known` losses.
    pub(super) fn after(known: u64) -> Self {
        Self((known, u64::MAX))
    }
}
