//! What the log in memory holds, with its indexes. Whoever has it has locked it, and asks no filter meanwhile.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::iter::{self, Peekable};
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};

use crate::server::log::{Bounds, Cursor, Entry, Retention, Size, Topic};

/// How often topics with an age limit of their own are looked at.
const AGE_CHECK_EVERY: TimeDelta = TimeDelta::seconds(10);

pub(super) struct State {
    entries: BTreeMap<Cursor, Arc<Entry>>,
    newest: Cursor,
    bytes: u64,
    /// What of that is apart.
    apart: Size,
    retention: Retention,
    /// The places of the entries whose publisher gave this id.
    ids: HashMap<Box<str>, BTreeSet<Cursor>>,
    topics: HashMap<Topic, TopicIndex>,
    expiries: BTreeSet<(DateTime<Utc>, Cursor)>,
    /// How many evictions there have been: an entry on several topics counts on each.
    evictions: u64,
    /// The topics that have lost entries to retention, each under the number of its last eviction.
    evicted_topics: BTreeMap<u64, Topic>,
    /// Of the topics that have no entry any more: the newest evicted entry, and the number of the last eviction.
    dropped: Cursor,
    dropped_at: u64,
    next_age_check: DateTime<Utc>,
}

#[derive(Default)]
struct TopicIndex {
    cursors: BTreeSet<Cursor>,
    bytes: u64,
    /// The newest of its entries that retention has evicted, and the number of the last eviction.
    evicted: Cursor,
    evicted_at: u64,
    rule: Option<usize>,
}

impl State {
    pub(super) fn new(retention: Retention) -> Self {
        Self {
            entries: BTreeMap::new(),
            newest: Cursor::START,
            bytes: 0,
            apart: Size::default(),
            retention,
            ids: HashMap::new(),
            topics: HashMap::new(),
            expiries: BTreeSet::new(),
            evictions: 0,
            evicted_topics: BTreeMap::new(),
            dropped: Cursor::START,
            dropped_at: 0,
            next_age_check: DateTime::<Utc>::MIN_UTC,
        }
    }

    pub(super) fn newest(&self) -> Cursor {
        self.newest
    }

    pub(super) fn bounds(&self) -> Bounds {
        let oldest = self.entries.first_key_value().map_or(self.newest.next(), |(cursor, _)| *cursor);
        Bounds { oldest, newest: self.newest }
    }

    /// The entry at this place.
    pub(super) fn get(&self, cursor: Cursor) -> Option<&Arc<Entry>> {
        self.entries.get(&cursor)
    }

    /// The earliest entry whose publisher gave this id.
    pub(super) fn given(&self, id: &str) -> Option<&Arc<Entry>> {
        self.get(*self.ids.get(id)?.first()?)
    }

    /// The next entries after a cursor, and the newest cursor.
    pub(super) fn after(&self, cursor: Cursor, limit: usize) -> (Vec<Arc<Entry>>, Cursor) {
        let entries = self.entries.range(cursor.next()..).take(limit);
        (entries.map(|(_, entry)| entry.clone()).collect(), self.newest)
    }

    /// The last entries before a cursor, newest first.
    pub(super) fn before(&self, cursor: Cursor, limit: usize) -> Vec<Arc<Entry>> {
        self.entries.range(..cursor).rev().take(limit).map(|(_, entry)| entry.clone()).collect()
    }

    /// The places of the entries on these topics after `cursor`, in order.
    pub(super) fn on_topics(&self, topics: &[Topic], cursor: Cursor) -> impl Iterator<Item = Cursor> {
        let indexes = topics.iter().filter_map(|topic| self.topics.get(topic));
        let mut places: Vec<_> = indexes.map(|index| index.cursors.range(cursor.next()..).peekable()).collect();
        iter::from_fn(move || {
            let first = **places.iter_mut().filter_map(Peekable::peek).min()?;
            for places in &mut places {
                places.next_if(|&&place| place == first);
            }
            Some(first)
        })
    }

    /// The last entries on these topics before `end`, newest first.
    pub(super) fn last_on_topics(&self, topics: &[Topic], end: Cursor, limit: usize) -> Vec<Arc<Entry>> {
        let mut cursors = BTreeSet::new();
        for index in topics.iter().filter_map(|topic| self.topics.get(topic)) {
            cursors.extend(index.cursors.range(..end).rev().take(limit));
        }
        cursors.iter().rev().take(limit).filter_map(|cursor| self.get(*cursor).cloned()).collect()
    }

    /// How many evictions there have been.
    pub(super) fn evictions(&self) -> u64 {
        self.evictions
    }

    /// Whether retention has evicted entries on these topics after `cursor`, by other evictions than the first
    /// `known`. A topic that has been dropped can't be told from one that never was.
    pub(super) fn has_evicted_of(&self, topics: &[Topic], cursor: Cursor, known: u64) -> bool {
        topics.iter().any(|topic| match self.topics.get(topic) {
            Some(index) => index.evicted > cursor && index.evicted_at > known,
            None => self.has_dropped_topics(cursor, known),
        })
    }

    /// Whether topics that have no entry any more have lost some after `cursor`, by other evictions than the first
    /// `known`.
    pub(super) fn has_dropped_topics(&self, cursor: Cursor, known: u64) -> bool {
        self.dropped > cursor && self.dropped_at > known
    }

    /// The next topics that have lost entries, in the order of their last eviction after the first `seen`: its number,
    /// the topic and its newest evicted entry.
    pub(super) fn evicted_after(&self, seen: u64, limit: usize) -> Vec<(u64, Topic, Cursor)> {
        let newest = |topic: &Topic| self.topics.get(topic).map_or(Cursor::START, |index| index.evicted);
        let after = self.evicted_topics.range(seen + 1..).take(limit);
        after.map(|(number, topic)| (*number, topic.clone(), newest(topic))).collect()
    }

    /// Adds the next entry and evicts what it leaves no place for.
    pub(super) fn push(&mut self, entry: Arc<Entry>, id_given: bool, now: DateTime<Utc>) {
        self.newest = entry.cursor;
        let bytes = size(&entry);
        self.bytes += bytes;
        if id_given {
            self.ids.entry(entry.id.clone()).or_default().insert(entry.cursor);
        }
        if let Some(at) = entry.expires_at {
            self.expiries.insert((at, entry.cursor));
        }
        for topic in &entry.topics {
            // The topic may have been known once, so it has lost what any dropped topic has.
            let index = self.topics.entry(topic.clone()).or_insert_with(|| TopicIndex {
                evicted: self.dropped,
                evicted_at: self.dropped_at,
                rule: self.retention.of_topic(topic.as_str()),
                ..TopicIndex::default()
            });
            if index.cursors.insert(entry.cursor) {
                index.bytes += bytes;
                if self.retention.is_apart(topic.as_str()) {
                    self.apart.add(bytes);
                }
            }
        }
        self.entries.insert(entry.cursor, entry.clone());
        for topic in &entry.topics {
            self.sweep_topic(topic, now);
        }
        self.sweep_all(now);
    }

    fn size(&self) -> Size {
        Size { count: self.entries.len() as u64, bytes: self.bytes }
    }

    /// Evicts and removes what may not be kept any longer.
    pub(super) fn sweep(&mut self, now: DateTime<Utc>) {
        self.sweep_all(now);
        self.sweep_topics(now);
    }

    /// As [`State::sweep`]; the topics with limits of their own only from time to time.
    pub(super) fn sweep_if_due(&mut self, now: DateTime<Utc>) {
        if self.next_age_check <= now {
            self.next_age_check = now + AGE_CHECK_EVERY;
            self.sweep_topics(now);
        }
        self.sweep_all(now);
    }

    fn sweep_all(&mut self, now: DateTime<Utc>) {
        while let Some(&(at, cursor)) = self.expiries.first()
            && at <= now
        {
            self.remove(cursor, false);
        }
        let horizon = self.retention.all.horizon(now);
        while let Some((&cursor, oldest)) = self.entries.first_key_value()
            && (self.retention.is_exceeded_by(self.size(), self.apart) || horizon.is_some_and(|at| oldest.at < at))
        {
            self.remove(cursor, true);
        }
    }

    fn sweep_topics(&mut self, now: DateTime<Utc>) {
        let ruled: Vec<_> =
            self.topics.iter().filter(|(_, index)| index.rule.is_some()).map(|(topic, _)| topic.clone()).collect();
        for topic in &ruled {
            self.sweep_topic(topic, now);
        }
    }

    fn sweep_topic(&mut self, topic: &Topic, now: DateTime<Utc>) {
        while let Some(index) = self.topics.get(topic)
            && let Some(limits) = index.rule.map(|rule| self.retention.topics[rule].limits)
            && let Some(&oldest) = index.cursors.first()
            && (limits.exceeded_by(index.cursors.len() as u64, index.bytes)
                || limits.horizon(now).is_some_and(|at| self.entries.get(&oldest).is_some_and(|entry| entry.at < at)))
        {
            self.remove(oldest, true);
        }
    }

    fn remove(&mut self, cursor: Cursor, is_lost: bool) {
        let Some(entry) = self.entries.remove(&cursor) else { return };
        let bytes = size(&entry);
        self.bytes -= bytes;
        if let Some(at) = entry.expires_at {
            self.expiries.remove(&(at, cursor));
        }
        if let Some(cursors) = self.ids.get_mut(&*entry.id) {
            cursors.remove(&cursor);
            if cursors.is_empty() {
                self.ids.remove(&*entry.id);
            }
        }
        for topic in &entry.topics {
            let Some(index) = self.topics.get_mut(topic) else { continue };
            if index.cursors.remove(&cursor) {
                index.bytes -= bytes;
                if self.retention.is_apart(topic.as_str()) {
                    self.apart.remove(bytes);
                }
            }
            if is_lost {
                self.evictions += 1;
                self.evicted_topics.remove(&index.evicted_at);
                self.evicted_topics.insert(self.evictions, topic.clone());
                index.evicted = index.evicted.max(cursor);
                index.evicted_at = self.evictions;
            }
            if index.cursors.is_empty() {
                self.dropped = self.dropped.max(index.evicted);
                self.dropped_at = self.dropped_at.max(index.evicted_at);
                self.evicted_topics.remove(&index.evicted_at);
                self.topics.remove(topic);
            }
        }
    }
}

fn size(entry: &Entry) -> u64 {
    (entry.frame.len() + entry.topics.iter().map(|topic| topic.as_str().len()).sum::<usize>()) as u64
}
