//! The newest entries: durable in the journal, and in memory until the archive has them.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use crate::server::log::{Bounds, Cursor, Entry};

/// The entries after `archived`, in order.
pub(super) struct Unarchived {
    entries: VecDeque<Arc<Entry>>,
    /// Where the entries with an id of their publisher's are, in order.
    given_ids: HashMap<Box<str>, VecDeque<Cursor>>,
    /// How many bytes they count for.
    pub(super) bytes: usize,
    /// The archive has everything up to here.
    pub(super) archived: Cursor,
    /// The newest cursor that has been given, or may have been.
    newest: Cursor,
    /// The archive's oldest entry.
    pub(super) oldest_archived: Option<Cursor>,
}

impl Unarchived {
    pub(super) fn new(archived: Cursor, oldest_archived: Option<Cursor>, newest: Cursor) -> Self {
        Self { entries: VecDeque::new(), given_ids: HashMap::new(), bytes: 0, archived, newest, oldest_archived }
    }

    pub(super) fn newest(&self) -> Cursor {
        self.newest
    }

    /// How many entries there are.
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn bounds(&self) -> Bounds {
        let oldest = self.oldest_archived.or_else(|| Some(self.entries.front()?.cursor));
        Bounds { oldest: oldest.unwrap_or(self.newest.next()), newest: self.newest }
    }

    /// Adds the next entry. `id_given` says whether its id is its publisher's.
    pub(super) fn push(&mut self, entry: Arc<Entry>, id_given: bool) {
        if id_given {
            self.given_ids.entry(entry.id.clone()).or_default().push_back(entry.cursor);
        }
        self.bytes += entry.size();
        self.newest = self.newest.max(entry.cursor);
        self.entries.push_back(entry);
    }

    pub(super) fn get(&self, cursor: Cursor) -> Option<&Arc<Entry>> {
        self.entries.get(self.index(cursor)).filter(|entry| entry.cursor == cursor)
    }

    /// The earliest entry after `cursor` whose publisher gave it this id.
    pub(super) fn given(&self, id: &str, cursor: Cursor) -> Option<&Arc<Entry>> {
        self.get(*self.given_ids.get(id)?.iter().find(|given| **given > cursor)?)
    }

    /// The entries after `cursor`, which must not be before `archived`.
    pub(super) fn after(&self, cursor: Cursor) -> impl DoubleEndedIterator<Item = &Arc<Entry>> {
        self.entries.range(self.index(cursor.next())..)
    }

    /// The entries before `cursor`.
    pub(super) fn before(&self, cursor: Cursor) -> impl DoubleEndedIterator<Item = &Arc<Entry>> {
        self.entries.range(..self.index(cursor))
    }

    /// The oldest entries, until they have at least this many bytes.
    pub(super) fn oldest_bytes(&self, bytes: usize) -> Vec<Arc<Entry>> {
        let mut sum = 0;
        let within = |entry: &&Arc<Entry>| {
            let fits = sum < bytes;
            sum += entry.size();
            fits
        };
        self.entries.iter().take_while(within).cloned().collect()
    }

    /// The archive has everything up to `cursor` now.
    pub(super) fn drop_until(&mut self, cursor: Cursor) {
        for entry in self.entries.drain(..self.index(cursor.next())) {
            self.bytes -= entry.size();
            if let Some(cursors) = self.given_ids.get_mut(&entry.id) {
                if cursors.front() == Some(&entry.cursor) {
                    cursors.pop_front();
                }
                if cursors.is_empty() {
                    self.given_ids.remove(&entry.id);
                }
            }
        }
        self.archived = self.archived.max(cursor);
    }

    /// The index of the first entry that is not before `cursor`.
    fn index(&self, cursor: Cursor) -> usize {
        // Cursors follow one another unless the log has crashed in between: look there before searching.
        let first = self.entries.front().map_or(cursor, |entry| entry.cursor);
        let guess = usize::try_from(cursor.0.saturating_sub(first.0)).unwrap_or(usize::MAX);
        if self.entries.get(guess).is_some_and(|entry| entry.cursor == cursor) {
            return guess;
        }
        self.entries.partition_point(|entry| entry.cursor < cursor)
    }
}
