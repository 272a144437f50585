//! The log in memory: for throw-away servers and for tests. It survives nothing.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use chrono::{SubsecRound, Utc};
use tokio::sync::mpsc;

use super::{
    AppendError, Bounds, Cursor, Entry, Log, Page, ReadError, TAIL_CAPACITY, Tail, Topic, TopicFilter, Update,
};

/// How many entries one read looks at before it answers, wanted or not: it holds the lock meanwhile.
const SCAN_LIMIT: usize = 4096;

/// A log in memory that keeps the newest entries.
pub struct MemoryLog {
    state: Mutex<State>,
    tail: mpsc::Sender<Arc<Entry>>,
    keep: usize,
}

/// Cursors are consecutive here, so an entry's index is its distance from the oldest.
struct State {
    entries: VecDeque<Arc<Entry>>,
    newest: Cursor,
    ids: HashMap<Box<str>, VecDeque<Cursor>>,
    topics: HashMap<Topic, VecDeque<Cursor>>,
}

impl MemoryLog {
    /// An empty log that keeps the newest `keep` entries, and its tail.
    pub fn open(keep: usize) -> (Arc<Self>, Tail) {
        let (tail, reader) = mpsc::channel(TAIL_CAPACITY);
        let state =
            State { entries: VecDeque::new(), newest: Cursor::START, ids: HashMap::new(), topics: HashMap::new() };
        (Arc::new(Self { state: Mutex::new(state), tail, keep: keep.max(1) }), reader)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Log for MemoryLog {
    async fn append(&self, update: Update) -> Result<Arc<Entry>, AppendError> {
        // The place in the tail comes first: under the lock nothing may wait, and the tail's order
        // must be the log's.
        let place = self.tail.reserve().await.map_err(|_| AppendError::Failed("the hub has stopped".into()))?;
        let mut state = self.state();
        let entry = Arc::new(Entry::new(state.newest.next(), Utc::now().trunc_subsecs(3), update));
        state.push(entry.clone());
        while state.entries.len() > self.keep {
            state.pop_oldest();
        }
        place.send(entry.clone());
        Ok(entry)
    }

    async fn read_after(&self, cursor: Cursor, filter: &dyn TopicFilter, limit: usize) -> Result<Page, ReadError> {
        let state = self.state();
        let oldest = state.bounds().oldest;
        let gap = cursor.next() < oldest;
        let from = cursor.next().max(oldest);
        Ok(match filter.exact() {
            Some(topics) => {
                let mut cursors = BTreeMap::new();
                for index in topics.iter().filter_map(|topic| state.topics.get(topic)) {
                    let start = index.partition_point(|&c| c < from);
                    cursors.extend(index.range(start..).take(limit + 1).map(|&c| (c, ())));
                }
                let entries: Vec<_> = cursors.keys().take(limit).filter_map(|&c| state.get(c).cloned()).collect();
                let more = cursors.len() > limit;
                let next = match entries.last() {
                    Some(last) if more => last.cursor,
                    _ => state.newest.max(cursor),
                };
                Page { entries, next, more, gap }
            }
            None => {
                let mut page = Page { entries: Vec::new(), next: state.newest.max(cursor), more: false, gap };
                for (seen, entry) in state.entries.range(state.index(from)..).enumerate() {
                    if page.entries.len() == limit || seen == SCAN_LIMIT {
                        page.next = entry.cursor.previous();
                        page.more = true;
                        break;
                    }
                    if entry.topics.iter().any(|topic| filter.wants(topic.as_str())) {
                        page.entries.push(entry.clone());
                    }
                }
                page
            }
        })
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
                let mut cursors = BTreeMap::new();
                for index in topics.iter().filter_map(|topic| state.topics.get(topic)) {
                    let end = index.partition_point(|&c| c < end);
                    cursors.extend(index.range(..end).rev().take(limit).map(|&c| (c, ())));
                }
                cursors.keys().rev().take(limit).filter_map(|&c| state.get(c).cloned()).collect()
            }
            None => {
                let before = state.entries.range(..state.index(end)).rev();
                let wanted = before.filter(|e| e.topics.iter().any(|topic| filter.wants(topic.as_str())));
                wanted.take(limit).cloned().collect()
            }
        })
    }

    async fn find(&self, id: &str) -> Result<Option<Arc<Entry>>, ReadError> {
        let state = self.state();
        Ok(state.ids.get(id).and_then(|cursors| cursors.front()).and_then(|&c| state.get(c)).cloned())
    }

    fn bounds(&self) -> Bounds {
        self.state().bounds()
    }
}

impl State {
    fn bounds(&self) -> Bounds {
        let oldest = self.entries.front().map_or(self.newest.next(), |entry| entry.cursor);
        Bounds { oldest, newest: self.newest }
    }

    fn index(&self, cursor: Cursor) -> usize {
        let distance = cursor.0.saturating_sub(self.bounds().oldest.0);
        usize::try_from(distance).unwrap_or(usize::MAX).min(self.entries.len())
    }

    fn get(&self, cursor: Cursor) -> Option<&Arc<Entry>> {
        self.entries.get(self.index(cursor)).filter(|entry| entry.cursor == cursor)
    }

    fn push(&mut self, entry: Arc<Entry>) {
        self.newest = entry.cursor;
        self.ids.entry(entry.id.clone()).or_default().push_back(entry.cursor);
        for topic in &entry.topics {
            let index = self.topics.entry(topic.clone()).or_default();
            if index.back() != Some(&entry.cursor) {
                index.push_back(entry.cursor);
            }
        }
        self.entries.push_back(entry);
    }

    fn pop_oldest(&mut self) {
        let Some(entry) = self.entries.pop_front() else { return };
        forget(&mut self.ids, &*entry.id, entry.cursor);
        for topic in &entry.topics {
            forget(&mut self.topics, topic.as_str(), entry.cursor);
        }
    }
}

fn forget<K, Q>(index: &mut HashMap<K, VecDeque<Cursor>>, key: &Q, cursor: Cursor)
where
    K: std::borrow::Borrow<Q> + Eq + std::hash::Hash,
    Q: Eq + std::hash::Hash + ?Sized,
{
    let Some(cursors) = index.get_mut(key) else { return };
    if cursors.front() == Some(&cursor) {
        cursors.pop_front();
    }
    if cursors.is_empty() {
        index.remove(key);
    }
}
