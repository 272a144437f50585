//! The log in memory: for throw-away servers and for tests. It survives nothing.

mod reader;
mod state;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;

use super::id_cipher::{IdCipher, IdKey};
use super::idempotency::{self, Verdict};
use super::place::place;
use super::tail::{TailPermit, TailSender, tail};
use super::{
    AppendError, Appended, Bounds, Cursor, Entry, IdempotencyKey, Lane, Limits, Log, LogFigures, ReadError, Reader,
    Retention, Store, Tail, TimeSource, Topic, TopicFilter, TopicInfo, Update,
};
use reader::MemoryReader;
use state::State;

/// A log in memory. Retention is applied whenever it is used.
pub struct MemoryLog {
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<State>,
    tail: TailSender,
    cipher: IdCipher,
    clock: TimeSource,
}

impl MemoryLog {
    /// An empty log that keeps the newest `keep` entries, and its tail.
    pub fn open(keep: usize) -> (Arc<Self>, Tail) {
        let all = Limits { count: Some(keep.max(1) as u64), ..Limits::default() };
        Self::with(Retention::of(all), TimeSource::system())
    }

    /// An empty log, and its tail.
    pub fn with(retention: Retention, clock: TimeSource) -> (Arc<Self>, Tail) {
        Self::with_key(&rand::random(), retention, clock)
    }

    /// An empty log whose ids are encrypted with this key, and its tail.
    pub(super) fn with_key(key: &IdKey, retention: Retention, clock: TimeSource) -> (Arc<Self>, Tail) {
        let (sender, tail) = tail();
        let cipher = IdCipher::new(key);
        let shared = Shared { state: Mutex::new(State::new(retention, clock.clone())), tail: sender, cipher, clock };
        (Arc::new(Self { shared: Arc::new(shared) }), tail)
    }
}

#[async_trait]
impl Log for MemoryLog {
    async fn append(&self, mut updates: Vec<Update>, key: Option<IdempotencyKey>) -> Result<Appended, AppendError> {
        if updates.is_empty() {
            return Ok(Appended::New(Vec::new()));
        }
        if let Some(key) = key {
            key.assign_ids(&mut updates);
        }
        // The right to send comes first: under the lock nothing may wait, and the tail's order must be the log's.
        // Without a reader nobody listens, but the log goes on.
        let permit = self.shared.tail.reserve().await;
        let mut state = self.shared.state();
        if let Some(key) = key {
            let find = |update: &Update| self.shared.find_in(&state, update.id.as_ref()?.as_str());
            let found: Vec<_> = updates.iter().map(find).collect();
            if key.judge(&updates, &found)? == Verdict::Repeated {
                return Ok(Appended::Repeated(idempotency::ids(&updates)));
            }
        }
        Ok(Appended::New(self.shared.append_to(&mut state, updates, false, permit)))
    }

    async fn append_system(&self, updates: Vec<Update>) -> Result<Vec<Arc<Entry>>, AppendError> {
        let permit = self.shared.tail.reserve().await;
        let mut state = self.shared.state();
        Ok(self.shared.append_to(&mut state, updates, true, permit))
    }

    fn reader(&self, from: Cursor, filter: Arc<dyn TopicFilter>) -> Box<dyn Reader> {
        Box::new(MemoryReader::new(self.shared.clone(), from, filter))
    }

    async fn read_before(
        &self,
        cursor: Option<Cursor>,
        filter: &dyn TopicFilter,
        limit: usize,
    ) -> Result<Vec<Arc<Entry>>, ReadError> {
        Ok(self.shared.read_before(cursor, filter, limit).await)
    }

    async fn find(&self, id: &str) -> Result<Option<Arc<Entry>>, ReadError> {
        Ok(self.shared.find_in(&self.shared.state(), id))
    }

    async fn locate(&self, id: &str) -> Result<Option<Cursor>, ReadError> {
        let state = self.shared.state();
        Ok(match self.shared.find_in(&state, id) {
            Some(entry) => Some(entry.cursor),
            None => self.shared.cipher.decrypt(id).filter(|cursor| *cursor <= state.newest()),
        })
    }

    async fn topic(&self, topic: &Topic) -> Result<Option<TopicInfo>, ReadError> {
        Ok(self.shared.state().topic(topic))
    }

    async fn topics(&self, after: Option<&Topic>, limit: usize) -> Result<Vec<TopicInfo>, ReadError> {
        Ok(self.shared.state().topics_after(after, limit))
    }

    fn bounds(&self) -> Bounds {
        self.shared.state().bounds()
    }

    fn health(&self) -> Result<(), AppendError> {
        Ok(())
    }

    fn figures(&self) -> LogFigures {
        let state = self.shared.state();
        let updates = state.size_of(Lane::Main).and(state.size_of(Lane::Quota));
        LogFigures { updates, system: state.size_of(Lane::System), ..LogFigures::default() }
    }

    async fn sweep(&self) {
        self.shared.state().sweep();
    }
}

#[async_trait]
impl Store for MemoryLog {
    async fn keep(&self, entries: Vec<Entry>) -> Result<Vec<Arc<Entry>>, AppendError> {
        let permit = self.shared.tail.reserve().await;
        let mut state = self.shared.state();
        let newest = state.newest();
        let new = entries.into_iter().filter(|entry| entry.cursor > newest).map(Arc::new);
        Ok(self.shared.push_all(&mut state, new.collect(), permit))
    }
}

impl Shared {
    /// The state, without what retention evicts by now.
    fn state(&self) -> MutexGuard<'_, State> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.sweep_if_due();
        state
    }

    /// Gives updates their places, and tells the tail.
    fn append_to(
        &self,
        state: &mut State,
        updates: Vec<Update>,
        is_system: bool,
        permit: Option<TailPermit<'_>>,
    ) -> Vec<Arc<Entry>> {
        let (mut cursor, mut entries) = (state.newest(), Vec::with_capacity(updates.len()));
        for update in updates {
            cursor = cursor.next();
            let entry = place(cursor, update, self.clock.now(), is_system, &self.cipher, state.retention());
            entries.push(Arc::new(entry));
        }
        self.push_all(state, entries, permit)
    }

    /// Adds the next entries and sends them to the tail.
    fn push_all(&self, state: &mut State, entries: Vec<Arc<Entry>>, permit: Option<TailPermit<'_>>) -> Vec<Arc<Entry>> {
        for entry in &entries {
            let id_given = !self.cipher.has_made(&entry.id, entry.cursor);
            state.push(entry.clone(), id_given);
        }
        if let Some(permit) = permit {
            permit.send(&entries);
        }
        entries
    }

    /// The earliest kept entry with this id.
    fn find_in(&self, state: &State, id: &str) -> Option<Arc<Entry>> {
        let made = self.cipher.decrypt(id).and_then(|cursor| state.get(cursor)).filter(|entry| &*entry.id == id);
        made.or_else(|| state.given(id)).cloned()
    }
}
