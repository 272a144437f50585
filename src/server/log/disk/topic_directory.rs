//! The topics of the archive, in memory: filters that can't list their topics are evaluated on these, and readers ask
//! which of them have lost entries to retention since they last looked.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use super::changes::Outcome;
use super::schema::{TopicRow, Totals};
use crate::server::log::{Cursor, Topic};

/// Topics by their numbers. It may know some that no transaction has committed yet; it never lacks one
/// that a snapshot taken before the question has, unless retention has emptied it since.
///
/// Evictions are counted: each transaction that evicts something is one more. They are announced before the
/// commit, so a reader whose snapshot lacks an entry finds its eviction here.
#[derive(Default)]
pub(super) struct TopicDirectory(RwLock<State>);

#[derive(Default)]
struct State {
    topics: BTreeMap<u64, Topic>,
    /// What has been evicted of those that have lost something.
    evicted: BTreeMap<u64, Evicted>,
    /// The same topics, each under the last count at which it lost something.
    evictions: BTreeSet<(u64, u64)>,
    /// What has been evicted of the topics that have been dropped.
    dropped: Evicted,
    /// What has been evicted of the hub's own events, whose topics are not known here.
    system: Evicted,
    announced: u64,
    committed: u64,
}

/// What retention has evicted of a topic or of several, or is about to.
#[derive(Clone, Copy, Default)]
struct Evicted {
    /// The newest of the entries that are gone.
    cursor: Cursor,
    /// The last count at which something was lost.
    at: u64,
}

impl Evicted {
    /// Whether entries after `cursor` may have been lost which were not among the first `known` evictions.
    fn is_news(self, cursor: Cursor, known: u64) -> bool {
        self.cursor > cursor && self.at > known
    }
}

/// A place in the order of the evictions.
pub(super) struct EvictionPlace((u64, u64));

impl TopicDirectory {
    /// The topics of an archive with these totals.
    pub(super) fn of(topics: &[(u64, TopicRow)], totals: &Totals) -> Self {
        // Everything evicted before counts as the first eviction.
        let dropped = Evicted { cursor: totals.dropped_topics_evicted_up_to, at: 1 };
        let system = Evicted { cursor: totals.system_evicted, at: 1 };
        let mut state = State { dropped, system, announced: 1, committed: 1, ..State::default() };
        for (number, row) in topics {
            if let Ok(topic) = Topic::parse(&row.name) {
                state.insert(*number, topic, row.evicted, 1);
            }
        }
        Self(RwLock::new(state))
    }

    pub(super) fn get(&self, number: u64) -> Option<Topic> {
        self.read().topics.get(&number).cloned()
    }

    /// The next topics after a number (from the first for `None`), at most `limit`.
    pub(super) fn after(&self, number: Option<u64>, limit: usize) -> Vec<(u64, Topic)> {
        let from = number.map_or(Bound::Unbounded, Bound::Excluded);
        let state = self.read();
        let topics = state.topics.range((from, Bound::Unbounded)).take(limit);
        topics.map(|(&number, topic)| (number, topic.clone())).collect()
    }

    /// To be called before a transaction is committed: whoever sees a topic's entries must be able to find the
    /// topic, and whoever misses one must be able to find that out.
    pub(super) fn announce(&self, outcome: &Outcome) {
        let mut state = self.write();
        for (number, topic, evicted) in &outcome.new_topics {
            // If it was known before, it lost its entries before it was dropped.
            let evicted_at = state.dropped.at;
            state.insert(*number, topic.clone(), *evicted, evicted_at);
        }
        state.announced += u64::from(!outcome.evicted.is_empty() || outcome.evicted_system.is_some());
        let evicted_at = state.announced;
        if let Some(cursor) = outcome.evicted_system {
            state.system = Evicted { cursor, at: evicted_at };
        }
        for (number, evicted) in &outcome.evicted {
            state.evict(*number, Evicted { cursor: *evicted, at: evicted_at });
        }
        for number in &outcome.dropped {
            let Some(&Evicted { cursor, at }) = state.evicted.get(number) else { continue };
            state.dropped.cursor = state.dropped.cursor.max(cursor);
            state.dropped.at = state.dropped.at.max(at);
        }
    }

    /// To be called once the transaction is committed.
    pub(super) fn commit(&self, outcome: &Outcome) {
        let mut state = self.write();
        state.committed = state.announced;
        for number in &outcome.dropped {
            state.topics.remove(number);
            if let Some(evicted) = state.evicted.remove(number) {
                state.evictions.remove(&(evicted.at, *number));
            }
        }
    }

    /// How many evictions there have been: every snapshot that is taken from now on has them.
    pub(super) fn evictions(&self) -> u64 {
        self.read().committed
    }

    /// Whether topics that are not known, because they have been dropped since, have lost entries after `cursor`, and that
    /// was not among the first `known` evictions; or, with `system`, the hub's own events, whose topics never are. It knows
    /// of topics that [`TopicDirectory::evicted_of`] and [`TopicDirectory::evicted_after`] have no longer, so it must be
    /// asked after these.
    pub(super) fn have_evicted_unknown(&self, cursor: Cursor, known: u64, system: bool) -> bool {
        let state = self.read();
        state.dropped.is_news(cursor, known) || (system && state.system.is_news(cursor, known))
    }

    /// Those of these topics that may have lost entries after `cursor` which were not among the first `known`
    /// evictions.
    pub(super) fn evicted_of(&self, numbers: &[u64], cursor: Cursor, known: u64) -> Vec<u64> {
        let state = self.read();
        let may_have_lost = |number: &&u64| {
            let evicted = state.evicted.get(number).copied().unwrap_or_default();
            !state.topics.contains_key(number) || evicted.is_news(cursor, known)
        };
        if state.announced > known { numbers.iter().filter(may_have_lost).copied().collect() } else { Vec::new() }
    }

    /// Looks at the next topics that have lost something, in the order in which they did, at most `limit`, after a
    /// place in that order, which it moves on. Answers those that may have lost entries after `cursor`; `None` at
    /// the end.
    pub(super) fn evicted_after(
        &self,
        place: &mut EvictionPlace,
        cursor: Cursor,
        limit: usize,
    ) -> Option<Vec<(u64, Topic)>> {
        let state = self.read();
        let mut next = state.evictions.range((Bound::Excluded(place.0), Bound::Unbounded)).take(limit).peekable();
        next.peek()?;
        let mut lost = Vec::new();
        for &(evicted_at, number) in next {
            *place = EvictionPlace((evicted_at, number));
            if state.evicted.get(&number).is_some_and(|evicted| evicted.cursor > cursor) {
                lost.extend(state.topics.get(&number).map(|topic| (number, topic.clone())));
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
    fn insert(&mut self, number: u64, topic: Topic, evicted: Cursor, evicted_at: u64) {
        self.topics.insert(number, topic);
        self.evict(number, Evicted { cursor: evicted, at: evicted_at });
    }

    fn evict(&mut self, number: u64, evicted: Evicted) {
        if evicted.cursor == Cursor::START || !self.topics.contains_key(&number) {
            return;
        }
        if let Some(earlier) = self.evicted.insert(number, evicted) {
            self.evictions.remove(&(earlier.at, number));
        }
        self.evictions.insert((evicted.at, number));
    }
}

impl EvictionPlace {
    /// Behind the first `known` evictions.
    pub(super) fn after(known: u64) -> Self {
        Self((known, u64::MAX))
    }
}
