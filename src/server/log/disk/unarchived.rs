//! The newest entries: durable in the journal, and in memory until the archive has them.

use std::borrow::Borrow;
use std::collections::{HashMap, VecDeque};
use std::hash::Hash;
use std::sync::Arc;

use itertools::Itertools;

use crate::server::log::{Bounds, Cursor, Entry, Lane, Size, Topic};

/// Room that is kept while there are no entries.
const FEW: usize = 1024;

/// The entries after `archived`, in order.
pub(super) struct Unarchived {
    entries: VecDeque<Arc<Entry>>,
    /// Where the entries with an id of their publisher's are, in order.
    given_ids: HashMap<Box<str>, VecDeque<Cursor>>,
    /// Where the entries on each topic are, in order.
    topics: HashMap<Topic, VecDeque<Cursor>>,
    /// How many bytes they count for.
    pub(super) bytes: usize,
    /// How much of it is updates, and how much the hub's own events.
    updates: Size,
    system: Size,
    /// The archive has everything up to here.
    pub(super) archived: Cursor,
    /// The newest cursor that has been given, or may have been.
    newest: Cursor,
    /// No entry after this one is public: there was none, or it has been evicted.
    newest_public: Cursor,
    /// The archive's oldest entry.
    pub(super) oldest_archived: Option<Cursor>,
}

impl Unarchived {
    pub(super) fn new(archived: Cursor, oldest_archived: Option<Cursor>, newest: Cursor) -> Self {
        Self {
            entries: VecDeque::new(),
            given_ids: HashMap::new(),
            topics: HashMap::new(),
            bytes: 0,
            updates: Size::default(),
            system: Size::default(),
            archived,
            newest,
            newest_public: archived,
            oldest_archived,
        }
    }

    pub(super) fn newest(&self) -> Cursor {
        self.newest
    }

    /// Whether a reader at `cursor` that wants no private entries has read everything.
    pub(super) fn has_nothing_public_after(&self, cursor: Cursor) -> bool {
        self.newest_public <= cursor
    }

    /// How much of it is updates, and how much the hub's own events.
    pub(super) fn sizes(&self) -> (Size, Size) {
        (self.updates, self.system)
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
        for topic in &entry.topics {
            self.topics.entry(topic.clone()).or_default().push_back(entry.cursor);
        }
        self.bytes += entry.size();
        self.lane(entry.lane).add(entry.size() as u64);
        self.newest = self.newest.max(entry.cursor);
        if !entry.private {
            self.newest_public = entry.cursor;
        }
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

    /// The entries on these topics after `cursor`, which must not be before `archived`.
    pub(super) fn on_topics(&self, topics: &[Topic], cursor: Cursor) -> impl Iterator<Item = &Arc<Entry>> {
        let indexes = topics.iter().filter_map(|topic| self.topics.get(topic));
        let after = indexes.map(|cursors| cursors.range(cursors.partition_point(|place| *place <= cursor)..));
        after.kmerge().dedup().filter_map(|cursor| self.get(*cursor))
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
            let lane = if entry.lane == Lane::System { &mut self.system } else { &mut self.updates };
            lane.remove(entry.size() as u64);
            drop_first(&mut self.given_ids, &entry.id, entry.cursor);
            entry.topics.iter().for_each(|topic| drop_first(&mut self.topics, topic, entry.cursor));
        }
        self.archived = self.archived.max(cursor);
        if self.entries.is_empty() {
            // After a crowd has come or gone.
            self.entries.shrink_to(FEW);
            self.given_ids.shrink_to(FEW);
            self.topics.shrink_to(FEW);
        }
    }

    fn lane(&mut self, lane: Lane) -> &mut Size {
        if lane == Lane::System { &mut self.system } else { &mut self.updates }
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

/// Removes a place from an index, where it is the first under its key.
fn drop_first<K: Borrow<Q> + Eq + Hash, Q: Eq + Hash + ?Sized>(
    index: &mut HashMap<K, VecDeque<Cursor>>,
    key: &Q,
    cursor: Cursor,
) {
    let Some(cursors) = index.get_mut(key) else { return };
    if cursors.front() == Some(&cursor) {
        cursors.pop_front();
    }
    if cursors.is_empty() {
        index.remove(key);
    }
}
