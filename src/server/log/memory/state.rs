//! What the log in memory holds, with its indexes. Whoever has it has locked it, and asks no filter meanwhile.

use std::collections::{BTreeMap, BTreeSet, HashMap, btree_set};
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use itertools::Itertools;

use crate::server::log::clock::{ClockWatch, Reading};
use crate::server::log::{Bounds, Cursor, Entry, Lane, Retention, Size, TimeSource, Topic, TopicInfo};

/// How often topics with an age limit of their own are looked at.
const AGE_CHECK_EVERY: TimeDelta = TimeDelta::seconds(10);

pub(super) struct State {
    entries: BTreeMap<Cursor, Arc<Entry>>,
    newest: Cursor,
    /// The entries of each lane.
    lanes: BTreeMap<Lane, LaneIndex>,
    /// The entries that stand behind one with a later time, by their time, and the latest time so far.
    late: LateIndex,
    retention: Retention,
    clock: ClockWatch,
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
struct LaneIndex {
    cursors: BTreeSet<Cursor>,
    bytes: u64,
}

/// The entries that stand behind one with a later time. All others are in the order of their times.
#[derive(Default)]
struct LateIndex {
    late: BTreeSet<(DateTime<Utc>, Cursor)>,
    latest_at: DateTime<Utc>,
}

#[derive(Default)]
struct TopicIndex {
    cursors: BTreeSet<Cursor>,
    late: LateIndex,
    bytes: u64,
    /// The hub's own events, which nothing else here counts.
    system: BTreeSet<Cursor>,
    /// The newest of its entries that retention has evicted, and the number of the last eviction.
    evicted: Cursor,
    evicted_at: u64,
    /// Which of the topics' limits are its own.
    limits: Option<usize>,
}

impl TopicIndex {
    /// Everything after a cursor, in two parts, each in order.
    fn after(&self, cursor: Cursor) -> [btree_set::Range<'_, Cursor>; 2] {
        [&self.cursors, &self.system].map(|cursors| cursors.range(cursor.next()..))
    }

    /// Everything before a cursor.
    fn before(&self, end: Cursor) -> [btree_set::Range<'_, Cursor>; 2] {
        [&self.cursors, &self.system].map(|cursors| cursors.range(..end))
    }
}

impl LateIndex {
    fn insert(&mut self, entry: &Entry) {
        if entry.at < self.latest_at {
            self.late.insert((entry.at, entry.cursor));
        }
        self.latest_at = self.latest_at.max(entry.at);
    }

    fn remove(&mut self, entry: &Entry) {
        self.late.remove(&(entry.at, entry.cursor));
    }

    /// The earliest entry that stands behind a later time, if it was taken before the horizon.
    fn first_before(&self, horizon: DateTime<Utc>) -> Option<Cursor> {
        self.late.first().filter(|(at, _)| *at < horizon).map(|(_, cursor)| *cursor)
    }
}

impl State {
    pub(super) fn new(retention: Retention, clock: TimeSource) -> Self {
        Self {
            entries: BTreeMap::new(),
            newest: Cursor::START,
            lanes: BTreeMap::new(),
            late: LateIndex::default(),
            retention,
            clock: ClockWatch::new(clock),
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

    /// What is kept.
    pub(super) fn retention(&self) -> &Retention {
        &self.retention
    }

    /// What is kept on a topic, beside what the hub itself says.
    pub(super) fn topic(&self, topic: &Topic) -> Option<TopicInfo> {
        let index = self.topics.get(topic)?;
        let (updates, newest) = (index.cursors.len() as u64, *index.cursors.last()?);
        Some(TopicInfo { topic: topic.clone(), updates, bytes: index.bytes, newest })
    }

    /// The same for the topics after one, in the order of their names.
    pub(super) fn topics_after(&self, after: Option<&Topic>, limit: usize) -> Vec<TopicInfo> {
        let mut first = BTreeSet::new();
        for (topic, index) in &self.topics {
            if !index.cursors.is_empty() && after.is_none_or(|after| topic > after) {
                first.insert(topic);
                if first.len() > limit {
                    first.pop_last();
                }
            }
        }
        first.into_iter().filter_map(|topic| self.topic(topic)).collect()
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
        indexes.flat_map(move |index| index.after(cursor)).kmerge().copied().dedup()
    }

    /// The last entries on these topics before `end`, newest first.
    pub(super) fn last_on_topics(&self, topics: &[Topic], end: Cursor, limit: usize) -> Vec<Arc<Entry>> {
        let mut cursors = BTreeSet::new();
        for index in topics.iter().filter_map(|topic| self.topics.get(topic)) {
            cursors.extend(index.before(end).into_iter().flat_map(|part| part.rev().take(limit)));
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
    pub(super) fn push(&mut self, entry: Arc<Entry>, id_given: bool) {
        self.newest = entry.cursor;
        let bytes = entry.size() as u64;
        let lane = self.lanes.entry(entry.lane).or_default();
        lane.cursors.insert(entry.cursor);
        lane.bytes += bytes;
        self.late.insert(&entry);
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
                limits: self.retention.of_topic(topic.as_str()),
                ..TopicIndex::default()
            });
            if entry.lane == Lane::System {
                index.system.insert(entry.cursor);
            } else if index.cursors.insert(entry.cursor) {
                index.late.insert(&entry);
                index.bytes += bytes;
            }
        }
        self.entries.insert(entry.cursor, entry.clone());
        let time = self.clock.read();
        for topic in &entry.topics {
            self.sweep_topic(topic, time);
        }
        self.sweep_all(time);
    }

    /// Removes what has expired and evicts what may not be kept any longer.
    pub(super) fn sweep(&mut self) {
        let time = self.clock.read();
        self.sweep_all(time);
        self.sweep_topics(time);
    }

    /// As [`State::sweep`]; the topics with limits of their own only from time to time.
    pub(super) fn sweep_if_due(&mut self) {
        let time = self.clock.read();
        if self.next_age_check <= time.now {
            self.next_age_check = time.now + AGE_CHECK_EVERY;
            self.sweep_topics(time);
        }
        self.sweep_all(time);
    }

    fn sweep_all(&mut self, time: Reading) {
        while let Some(&(at, cursor)) = self.expiries.first()
            && at <= time.now
        {
            self.remove(cursor, false);
        }
        for lane in Lane::ALL {
            while let Some(oldest) = self.oldest_in_full_lane(lane) {
                self.remove(oldest, true);
            }
        }
        let Some(horizon) = time.horizon(self.retention.all.age) else { return };
        while let Some((&cursor, oldest)) = self.entries.first_key_value()
            && oldest.at < horizon
        {
            self.remove(cursor, true);
        }
        while let Some(cursor) = self.late.first_before(horizon) {
            self.remove(cursor, true);
        }
    }

    /// What is kept in a lane.
    pub(super) fn size_of(&self, lane: Lane) -> Size {
        let index = self.lanes.get(&lane);
        index.map(|index| Size { count: index.cursors.len() as u64, bytes: index.bytes }).unwrap_or_default()
    }

    fn oldest_in_full_lane(&self, lane: Lane) -> Option<Cursor> {
        let is_full = self.retention.is_exceeded(lane, self.size_of(lane));
        self.lanes.get(&lane).filter(|_| is_full)?.cursors.first().copied()
    }

    fn sweep_topics(&mut self, time: Reading) {
        let limited = self.topics.iter().filter(|(_, index)| index.limits.is_some());
        let limited: Vec<_> = limited.map(|(topic, _)| topic.clone()).collect();
        for topic in &limited {
            self.sweep_topic(topic, time);
        }
    }

    fn sweep_topic(&mut self, topic: &Topic, time: Reading) {
        while let Some(cursor) = self.leaves_topic(topic, time) {
            self.remove(cursor, true);
        }
    }

    /// The next entry that the limits of a topic let go.
    fn leaves_topic(&self, topic: &Topic, time: Reading) -> Option<Cursor> {
        let index = self.topics.get(topic)?;
        let limits = &self.retention.topics[index.limits?].limits;
        let oldest = *index.cursors.first()?;
        if limits.exceeded_by(index.cursors.len() as u64, index.bytes) {
            return Some(oldest);
        }
        let horizon = time.horizon(limits.age)?;
        let is_past = self.entries.get(&oldest).is_some_and(|entry| entry.at < horizon);
        if is_past { Some(oldest) } else { index.late.first_before(horizon) }
    }

    fn remove(&mut self, cursor: Cursor, is_lost: bool) {
        let Some(entry) = self.entries.remove(&cursor) else { return };
        let bytes = entry.size() as u64;
        if let Some(lane) = self.lanes.get_mut(&entry.lane) {
            lane.cursors.remove(&cursor);
            lane.bytes -= bytes;
        }
        self.late.remove(&entry);
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
            index.system.remove(&cursor);
            if index.cursors.remove(&cursor) {
                index.late.remove(&entry);
                index.bytes -= bytes;
            }
            if is_lost {
                self.evictions += 1;
                self.evicted_topics.remove(&index.evicted_at);
                self.evicted_topics.insert(self.evictions, topic.clone());
                index.evicted = index.evicted.max(cursor);
                index.evicted_at = self.evictions;
            }
            if index.cursors.is_empty() && index.system.is_empty() {
                self.dropped = self.dropped.max(index.evicted);
                self.dropped_at = self.dropped_at.max(index.evicted_at);
                self.evicted_topics.remove(&index.evicted_at);
                self.topics.remove(topic);
            }
        }
    }
}
