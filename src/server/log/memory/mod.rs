//! The log in memory: for throw-away servers and for tests. It survives nothing.

mod reader;
mod state;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use chrono::{SubsecRound, Utc};

use super::idempotency::Verdict;
use super::seal::{KEY_BYTES, Seal};
use super::tail::{TailSender, tail};
use super::{
    AppendError, Appended, Bounds, Clock, Cursor, Entry, Field, IdempotencyKey, Limits, Log, ReadError, Reader,
    Retention, Tail, TopicFilter, Update,
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
    seal: Seal,
    clock: Clock,
}

impl MemoryLog {
    /// An empty log that keeps the newest `keep` entries, and its tail.
    pub fn open(keep: usize) -> (Arc<Self>, Tail) {
        let all = Limits { count: Some(keep.max(1) as u64), ..Limits::default() };
        Self::with(Retention::of(all), Arc::new(Utc::now))
    }

    /// An empty log, and its tail.
    pub fn with(retention: Retention, clock: Clock) -> (Arc<Self>, Tail) {
        let (sender, tail) = tail();
        let seal = Seal::new(&rand::random::<[u8; KEY_BYTES]>());
        let shared = Shared { state: Mutex::new(State::new(retention)), tail: sender, seal, clock };
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
                return Ok(Appended::Repeated(
                    updates.into_iter().filter_map(|update| update.id).map(Box::from).collect(),
                ));
            }
        }
        let mut appended = Vec::with_capacity(updates.len());
        for mut update in updates {
            let cursor = state.newest().next();
            let given = update.id.is_some();
            update.id = update.id.or_else(|| Field::parse(&self.shared.seal.seal(cursor)).ok());
            let now = (self.shared.clock)();
            let entry = Arc::new(Entry::new(cursor, now.trunc_subsecs(3), update));
            state.push(entry.clone(), given, now);
            appended.push(entry);
        }
        if let Some(permit) = permit {
            permit.send(&appended);
        }
        Ok(Appended::New(appended))
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
            None => self.shared.seal.open(id).filter(|cursor| *cursor <= state.newest()),
        })
    }

    fn bounds(&self) -> Bounds {
        self.shared.state().bounds()
    }

    async fn sweep(&self) {
        let now = (self.shared.clock)();
        self.shared.state().sweep(now);
    }
}

impl Shared {
    /// The state, without what retention evicts by now.
    fn state(&self) -> MutexGuard<'_, State> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.sweep_if_due((self.clock)());
        state
    }

    /// The earliest kept entry with this id.
    fn find_in(&self, state: &State, id: &str) -> Option<Arc<Entry>> {
        let made = self.seal.open(id).and_then(|cursor| state.get(cursor)).filter(|entry| &*entry.id == id);
        made.or_else(|| state.given(id)).cloned()
    }
}
