//! The newest part of the log, in memory and already encoded: shared by all who are nearly up to date.

use std::collections::VecDeque;
use std::sync::{Arc, PoisonError, RwLock};

use chrono::Utc;

use super::Matchers;
use super::pattern::Patterns;
use crate::server::log::{Cursor, Entry};

/// How many entries are kept. A subscriber that is further behind reads from the log, which tests want to see.
const MAX_ENTRIES: usize = if cfg!(test) { 8 } else { 4096 };

/// How many bytes of frames are kept, unless a single frame has more.
const MAX_BYTES: usize = 8 * 1024 * 1024;

/// The newest entries, without a hole between them.
pub(super) struct Recent {
    state: RwLock<State>,
}

struct State {
    entries: VecDeque<Arc<Entry>>,
    bytes: usize,
    /// Every entry of the log after this one is here, or is still to come.
    base: Cursor,
}

/// What comes next after a cursor.
pub(super) enum Next {
    /// This entry.
    Entry(Arc<Entry>),
    /// Nothing that is wanted.
    Nothing,
    /// Unknown here: entries after the cursor have left the recent part.
    Left,
}

impl Recent {
    /// An empty recent part, which begins after `base`.
    pub(super) fn after(base: Cursor) -> Self {
        Self { state: RwLock::new(State { entries: VecDeque::new(), bytes: 0, base }) }
    }

    pub(super) fn push(&self, entry: Arc<Entry>) {
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        state.bytes += entry.frame.len();
        state.entries.push_back(entry);
        while state.entries.len() > MAX_ENTRIES || (state.bytes > MAX_BYTES && state.entries.len() > 1) {
            let Some(oldest) = state.entries.pop_front() else { break };
            state.bytes -= oldest.frame.len();
            state.base = oldest.cursor;
        }
    }

    /// The first wanted entry after `after`, and not after `until`.
    pub(super) fn next(&self, after: Cursor, until: Cursor, matchers: &Matchers, known: &Patterns) -> Next {
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        if after < state.base {
            return Next::Left;
        }
        let mut entries = state.entries.range(state.index_after(after)..).take_while(|entry| entry.cursor <= until);
        match entries.find(|entry| matchers.want(entry, known) && !has_expired(entry)) {
            Some(entry) => Next::Entry(entry.clone()),
            None => Next::Nothing,
        }
    }

    /// The newest cursor here, if everything after `after` is here.
    pub(super) fn newest_if_covers(&self, after: Cursor) -> Option<Cursor> {
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        let newest = state.entries.back().map_or(state.base, |entry| entry.cursor);
        (after >= state.base).then_some(newest)
    }
}

/// Few updates have a time to live: the others must not cost a look at the clock.
fn has_expired(entry: &Entry) -> bool {
    entry.expires_at.is_some() && entry.has_expired(Utc::now())
}

impl State {
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
