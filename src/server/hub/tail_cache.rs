//! The newest part of the log, in memory and already encoded: shared by all sessions that are nearly up to date.

use std::collections::VecDeque;
use std::sync::{Arc, PoisonError, RwLock};

use crate::server::log::{Cursor, Entry};

/// How much of the log's tail is held in memory.
#[derive(Clone, Copy, Debug)]
pub struct TailCacheSize {
    /// Maximum number of entries.
    pub entries: usize,
    /// Maximum bytes of entries. The newest entry always fits.
    pub bytes: usize,
}

/// Number of entries that a reader takes at a time: the lock is held for as long as it takes to copy their pointers.
const SLICE: usize = 64;

/// The newest entries, without a hole between them.
pub(super) struct TailCache {
    size: TailCacheSize,
    state: RwLock<TailCacheState>,
}

struct TailCacheState {
    entries: VecDeque<Arc<Entry>>,
    bytes: usize,
    /// Every entry of the log after this one is cached, or has not been pushed yet.
    base: Cursor,
}

impl Default for TailCacheSize {
    fn default() -> Self {
        Self { entries: 1024, bytes: 4 << 20 }
    }
}

impl TailCache {
    /// An empty cache, which begins after `base`.
    pub(super) fn new(base: Cursor, size: TailCacheSize) -> Self {
        Self { size, state: RwLock::new(TailCacheState { entries: VecDeque::new(), bytes: 0, base }) }
    }

    pub(super) fn push(&self, entries: &[Arc<Entry>]) {
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        for entry in entries {
            state.bytes += size(entry);
            state.entries.push_back(entry.clone());
        }
        while state.entries.len() > self.size.entries || (state.bytes > self.size.bytes && state.entries.len() > 1) {
            let Some(oldest) = state.entries.pop_front() else { break };
            state.bytes -= size(&oldest);
            state.base = oldest.cursor;
        }
    }

    /// The next entries after `after`, whether wanted or not: none at the end of the log. `None` if some entries after
    /// `after` are no longer cached.
    pub(super) fn slice(&self, after: Cursor) -> Option<Vec<Arc<Entry>>> {
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        (after >= state.base).then(|| state.entries.range(state.index_after(after)..).take(SLICE).cloned().collect())
    }
}

fn size(entry: &Entry) -> usize {
    let topics: usize = entry.topics.iter().map(|topic| topic.as_str().len()).sum();
    entry.frame.len() + entry.id.len() + topics
}

impl TailCacheState {
    fn index_after(&self, cursor: Cursor) -> usize {
        // Cursors are nearly always consecutive: look there before searching.
        let guess = usize::try_from(cursor.0.saturating_sub(self.base.0)).unwrap_or(usize::MAX);
        let before = guess.checked_sub(1).and_then(|i| self.entries.get(i));
        if before.is_some_and(|entry| entry.cursor == cursor) {
            return guess;
        }
        self.entries.partition_point(|entry| entry.cursor <= cursor)
    }
}
