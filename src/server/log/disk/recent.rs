//! The newest entries: durable in the journal, and in memory until the archive has them.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::server::log::{Bounds, Cursor, Entry};

/// The entries after `archived`, which follow one another without a hole.
pub(super) struct Recent {
    entries: VecDeque<Arc<Entry>>,
    /// The bytes of their frames.
    pub(super) bytes: usize,
    /// The archive has everything up to here.
    pub(super) archived: Cursor,
    /// The oldest entry that is kept, in the archive or here.
    pub(super) oldest: Cursor,
}

impl Recent {
    pub(super) fn new(archived: Cursor, oldest: Cursor, entries: Vec<Arc<Entry>>) -> Self {
        let bytes = entries.iter().map(|entry| entry.frame.len()).sum();
        Self { entries: entries.into(), bytes, archived, oldest }
    }

    pub(super) fn newest(&self) -> Cursor {
        Cursor(self.archived.0 + self.entries.len() as u64)
    }

    pub(super) fn bounds(&self) -> Bounds {
        Bounds { oldest: self.oldest, newest: self.newest() }
    }

    pub(super) fn push(&mut self, entries: impl Iterator<Item = Arc<Entry>>) {
        for entry in entries {
            self.bytes += entry.frame.len();
            self.entries.push_back(entry);
        }
    }

    pub(super) fn get(&self, cursor: Cursor) -> Option<&Arc<Entry>> {
        self.entries.get(usize::try_from(cursor.0.checked_sub(self.archived.0 + 1)?).ok()?)
    }

    /// The entries after `cursor`, which must not be before `archived`.
    pub(super) fn after(&self, cursor: Cursor) -> impl DoubleEndedIterator<Item = &Arc<Entry>> {
        self.entries.range(self.index(cursor.next())..)
    }

    /// The entries before `cursor`.
    pub(super) fn before(&self, cursor: Cursor) -> impl DoubleEndedIterator<Item = &Arc<Entry>> {
        self.entries.range(..self.index(cursor))
    }

    /// The oldest entries, about so many bytes of them.
    pub(super) fn oldest_bytes(&self, bytes: usize) -> Vec<Arc<Entry>> {
        let mut sum = 0;
        let within = |entry: &&Arc<Entry>| {
            let fits = sum < bytes;
            sum += entry.frame.len();
            fits
        };
        self.entries.iter().take_while(within).cloned().collect()
    }

    /// The archive has everything up to `cursor` now.
    pub(super) fn forget_until(&mut self, cursor: Cursor) {
        for entry in self.entries.drain(..self.index(cursor.next())) {
            self.bytes -= entry.frame.len();
        }
        self.archived = self.archived.max(cursor);
    }

    fn index(&self, cursor: Cursor) -> usize {
        let distance = cursor.0.saturating_sub(self.archived.0 + 1);
        usize::try_from(distance).unwrap_or(usize::MAX).min(self.entries.len())
    }
}
