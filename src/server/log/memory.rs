//! The log in memory: for throw-away servers and for tests. It survives nothing.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::iter::{self, Peekable};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use chrono::{DateTime, SubsecRound, TimeDelta, Utc};
use tokio::sync::mpsc;

use super::page::Room;
use super::seal::{KEY_BYTES, Seal};
use super::{
    AppendError, Bounds, Clock, Cursor, Entry, Field, Limits, Log, Notes, Page, PageSize, ReadError, Retention, Size,
    TAIL_CAPACITY, Tail, Topic, TopicFilter, Update,
};

/// How many entries one read looks at before it answers, wanted or not: it holds the lock meanwhile.
const SCAN_LIMIT: usize = 4096;
/// How often topics with an age limit of their own are looked at.
const AGE_CHECK_EVERY: TimeDelta = TimeDelta::seconds(10);

/// A log in memory. Retention is applied whenever it is used.
pub struct MemoryLog {
    state: Mutex<State>,
    tail: mpsc::Sender<Arc<Entry>>,
    seal: Seal,
    clock: Clock,
}

struct State {
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
    /// How many entries retention has removed.
    losses: u64,
    /// Of the topics that have no entry any more: the newest that retention has removed, and the count of losses
    /// then.
    forgotten: Cursor,
    forgotten_at: u64,
    next_age_check: DateTime<Utc>,
}

#[derive(Default)]
struct TopicIndex {
    cursors: BTreeSet<Cursor>,
    bytes: u64,
    /// The newest of its entries that retention has removed, and the count of losses then.
    removed: Cursor,
    lost_at: u64,
    rule: Option<usize>,
}

impl MemoryLog {
    /// An empty log that keeps the newest `keep` entries, and its tail.
    pub fn open(keep: usize) -> (Arc<Self>, Tail) {
        let all = Limits { count: Some(keep.max(1) as u64), ..Limits::default() };
        Self::with(Retention::of(all), Arc::new(Utc::now))
    }

    /// An empty log, and its tail.
    pub fn with(retention: Retention, clock: Clock) -> (Arc<Self>, Tail) {
        let (tail, reader) = mpsc::channel(TAIL_CAPACITY);
        let state = State {
            entries: BTreeMap::new(),
            newest: Cursor::START,
            bytes: 0,
            apart: Size::default(),
            retention,
            ids: HashMap::new(),
            topics: HashMap::new(),
            expiries: BTreeSet::new(),
            losses: 0,
            forgotten: Cursor::START,
            forgotten_at: 0,
            next_age_check: DateTime::<Utc>::MIN_UTC,
        };
        let seal = Seal::new(&rand::random::<[u8; KEY_BYTES]>());
        (Arc::new(Self { state: Mutex::new(state), tail, seal, clock }), reader)
    }

    /// The state, with what is due removed.
    fn state(&self) -> MutexGuard<'_, State> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let now = (self.clock)();
        if state.next_age_check <= now {
            state.next_age_check = now + AGE_CHECK_EVERY;
            state.sweep_topics(now);
        }
        state.sweep_all(now);
        state
    }
}

#[async_trait]
impl Log for MemoryLog {
    async fn append(&self, update: Update) -> Result<Arc<Entry>, AppendError> {
        let mut entries = self.append_all(vec![update]).await?;
        entries.pop().ok_or_else(|| AppendError::Failed("it lost an update".into()))
    }

    async fn append_all(&self, updates: Vec<Update>) -> Result<Vec<Arc<Entry>>, AppendError> {
        // The places in the tail come first: under the lock nothing may wait, and the tail's order must
        // be the log's. More than it holds at all can't be had at once. Without a reader nobody listens,
        // but the log goes on.
        let mut appended = Vec::with_capacity(updates.len());
        let mut updates = updates.into_iter();
        while updates.len() > 0 {
            let places = updates.len().min(TAIL_CAPACITY);
            let mut places = self.tail.reserve_many(places).await.ok();
            let mut state = self.state();
            for mut update in updates.by_ref().take(TAIL_CAPACITY) {
                let cursor = state.newest.next();
                let given = update.id.is_some();
                update.id = update.id.or_else(|| Field::parse(&self.seal.seal(cursor)).ok());
                let now = (self.clock)();
                let entry = Arc::new(Entry::new(cursor, now.trunc_subsecs(3), update));
                state.push(entry.clone(), given, now);
                if let Some(place) = places.as_mut().and_then(Iterator::next) {
                    place.send(entry.clone());
                }
                appended.push(entry);
            }
        }
        Ok(appended)
    }

    async fn read_after(
        &self,
        cursor: Cursor,
        filter: &dyn TopicFilter,
        size: PageSize,
        notes: &mut Notes,
    ) -> Result<Page, ReadError> {
        let state = self.state();
        let gap = state.has_lost(filter, cursor, notes.losses);
        notes.losses = state.losses;
        let mut page = Page { entries: Vec::new(), next: state.newest.max(cursor), more: false, gap };
        let mut room = Room::new(size);
        match filter.exact() {
            Some(topics) => {
                for entry in state.on_topics(topics, cursor).filter_map(|place| state.entries.get(&place)) {
                    if !room.take(entry.frame.len()) {
                        page.next = entry.cursor.previous();
                        page.more = true;
                        break;
                    }
                    page.entries.push(entry.clone());
                }
            }
            None => {
                for (seen, entry) in state.entries.range(cursor.next()..).map(|(_, entry)| entry).enumerate() {
                    let wanted = entry.topics.iter().any(|topic| filter.wants(topic.as_str()));
                    if seen == SCAN_LIMIT || room.is_full() || (wanted && !room.take(entry.frame.len())) {
                        page.next = entry.cursor.previous();
                        page.more = true;
                        break;
                    }
                    if wanted {
                        page.entries.push(entry.clone());
                    }
                }
            }
        }
        Ok(page)
    }

    async fn has_lost(&self, cursor: Cursor, filter: &dyn TopicFilter) -> Result<bool, ReadError> {
        Ok(self.state().has_lost(filter, cursor, 0))
    }

    async fn read_before(
        &self,
        cursor: Option<Cursor>,
        filter: &dyn TopicFilter,
        limit: usize,
    ) -> Result<Vec<Arc<Entry>>, ReadError> {
        let state = self.state();
        let end = cursor.unwrap_or(state.newest.next());
        Ok(match filter.exact() {
            Some(topics) => {
                let mut cursors = BTreeSet::new();
                for index in topics.iter().filter_map(|topic| state.topics.get(topic)) {
                    cursors.extend(index.cursors.range(..end).rev().take(limit));
                }
                cursors.iter().rev().take(limit).filter_map(|c| state.entries.get(c).cloned()).collect()
            }
            None => {
                let before = state.entries.range(..end).rev().map(|(_, entry)| entry);
                let wanted = before.filter(|e| e.topics.iter().any(|topic| filter.wants(topic.as_str())));
                wanted.take(limit).cloned().collect()
            }
        })
    }

    async fn find(&self, id: &str) -> Result<Option<Arc<Entry>>, ReadError> {
        let state = self.state();
        let made = self.seal.open(id).and_then(|cursor| state.entries.get(&cursor)).filter(|entry| &*entry.id == id);
        let given = || state.ids.get(id)?.first().and_then(|cursor| state.entries.get(cursor));
        Ok(made.or_else(given).cloned())
    }

    async fn locate(&self, id: &str) -> Result<Option<Cursor>, ReadError> {
        match self.find(id).await? {
            Some(entry) => Ok(Some(entry.cursor)),
            None => Ok(self.seal.open(id).filter(|cursor| *cursor <= self.bounds().newest)),
        }
    }

    fn bounds(&self) -> Bounds {
        let state = self.state();
        let oldest = state.entries.first_key_value().map_or(state.newest.next(), |(cursor, _)| *cursor);
        Bounds { oldest, newest: state.newest }
    }

    async fn sweep(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let now = (self.clock)();
        state.sweep_all(now);
        state.sweep_topics(now);
    }
}

impl State {
    /// The places of the entries on these topics after `cursor`, in order.
    fn on_topics(&self, topics: &[Topic], cursor: Cursor) -> impl Iterator<Item = Cursor> {
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

    /// Whether retention has removed entries after `cursor` that the filter would have wanted, and that was not
    /// among the first `known` losses.
    fn has_lost(&self, filter: &dyn TopicFilter, cursor: Cursor, known: u64) -> bool {
        if self.losses == known {
            return false;
        }
        let forgotten = self.forgotten > cursor && self.forgotten_at > known;
        let lost = |index: &TopicIndex| index.removed > cursor && index.lost_at > known;
        match filter.exact() {
            Some(topics) => topics.iter().any(|topic| self.topics.get(topic).map_or(forgotten, lost)),
            None => forgotten || self.topics.iter().any(|(topic, index)| lost(index) && filter.wants(topic.as_str())),
        }
    }

    fn push(&mut self, entry: Arc<Entry>, id_given: bool, now: DateTime<Utc>) {
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
            // The topic may have been known once, so it has lost what any forgotten topic has.
            let index = self.topics.entry(topic.clone()).or_insert_with(|| TopicIndex {
                removed: self.forgotten,
                lost_at: self.forgotten_at,
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
        self.losses += u64::from(is_lost);
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
                index.removed = index.removed.max(cursor);
                index.lost_at = self.losses;
            }
            if index.cursors.is_empty() {
                self.forgotten = self.forgotten.max(index.removed);
                self.forgotten_at = self.forgotten_at.max(index.lost_at);
                self.topics.remove(topic);
            }
        }
    }
}

fn size(entry: &Entry) -> u64 {
    (entry.frame.len() + entry.topics.iter().map(|topic| topic.as_str().len()).sum::<usize>()) as u64
}
