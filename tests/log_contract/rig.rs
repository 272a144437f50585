//! A log on one backend, and what the cases do with it.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use tempfile::TempDir;
use tidings::server::log::{
    self, Allowance, Cursor, Entry, Field, Limits, Log, LogOptions, Notes, Page, PageSize, Retention, Size, Storage,
    Topic, TopicFilter, TopicLimits, TopicPattern, Update,
};
use tokio::sync::mpsc;

/// A log on one backend, with a clock that only moves when told to.
pub(crate) struct Rig {
    pub(crate) log: Arc<dyn Log>,
    /// What the tail has given so far: nobody has to read on for the log to go on.
    pub(crate) heard: mpsc::UnboundedReceiver<Arc<Entry>>,
    now: Arc<Mutex<DateTime<Utc>>>,
    _folder: TempDir,
}

#[derive(Clone, Copy)]
pub(crate) enum Backend {
    Memory,
    Disk,
}

impl Rig {
    pub(crate) fn open(backend: Backend, retention: Retention) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let now = Arc::new(Mutex::new(DateTime::from_timestamp_millis(1_700_000_000_000).expect("a time")));
        let told = now.clone();
        let storage = match backend {
            Backend::Memory => Storage::Memory,
            Backend::Disk => Storage::Disk { folder: folder.path().join("log") },
        };
        let clock = Arc::new(move || *told.lock().unwrap_or_else(PoisonError::into_inner));
        let (log, mut tail) =
            log::open(LogOptions { storage, retention, clock, ..LogOptions::memory() }).expect("a log");
        let (forward, heard) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            while let Some(entry) = tail.recv().await {
                let _ = forward.send(entry);
            }
        });
        Self { log, heard, now, _folder: folder }
    }

    pub(crate) fn wait(&self, time: Duration) {
        let mut now = self.now.lock().expect("the clock");
        *now += TimeDelta::from_std(time).expect("a short time");
    }

    pub(crate) async fn publish(&self, update: Update) -> Arc<Entry> {
        self.log.append(update).await.expect("room")
    }

    /// Publishes so many updates on a topic, with their numbers as data.
    pub(crate) async fn publish_many(&self, topic: &str, count: usize) -> Vec<Arc<Entry>> {
        let updates = (0..count).map(|number| update(topic, &number.to_string())).collect();
        self.log.append_all(updates).await.expect("room")
    }

    pub(crate) async fn read(&self, cursor: Cursor, filter: &dyn TopicFilter, limit: usize) -> Page {
        self.read_on(cursor, filter, of(limit), &mut Notes::default()).await
    }

    /// The next page of a reader that has these notes.
    pub(crate) async fn read_on(
        &self,
        cursor: Cursor,
        filter: &dyn TopicFilter,
        size: PageSize,
        notes: &mut Notes,
    ) -> Page {
        self.log.read_after(cursor, filter, size, notes).await.expect("a page")
    }

    /// Reads on until there is nothing more; whether there was a gap, too.
    pub(crate) async fn read_all(&self, cursor: Cursor, filter: &dyn TopicFilter, limit: usize) -> (Vec<u64>, bool) {
        let (mut at, mut cursors, mut gap) = (cursor, Vec::new(), false);
        let mut notes = Notes::default();
        let has_lost = self.log.has_lost(cursor, filter).await.expect("an answer");
        loop {
            let page = self.read_on(at, filter, of(limit), &mut notes).await;
            assert!(page.entries.len() <= limit);
            assert!(page.next >= at);
            cursors.extend(page.entries.iter().map(|entry| entry.cursor.0));
            assert_eq!(page.gap, has_lost && at == cursor, "only the first page tells, and it does");
            gap |= page.gap;
            at = page.next;
            if !page.more {
                return (cursors, gap);
            }
        }
    }
}

/// As many entries, however large.
pub(crate) fn of(entries: usize) -> PageSize {
    PageSize { entries, bytes: usize::MAX }
}

pub(crate) fn update(topic: &str, data: &str) -> Update {
    Update {
        topics: vec![Topic::parse(topic).expect("a topic")],
        data: data.into(),
        id: None,
        event: None,
        retry: None,
        private: false,
        ttl: None,
    }
}

pub(crate) fn with_id(topic: &str, id: &str) -> Update {
    Update { id: Some(Field::parse(id).expect("an id")), ..update(topic, "data") }
}

pub(crate) fn with_ttl(topic: &str, seconds: u64) -> Update {
    Update { ttl: Some(Duration::from_secs(seconds)), ..update(topic, "data") }
}

/// Lists its topics.
pub(crate) struct Exactly(Vec<Topic>);

pub(crate) fn exactly(topics: &[&str]) -> Exactly {
    Exactly(topics.iter().map(|topic| Topic::parse(topic).expect("a topic")).collect())
}

impl TopicFilter for Exactly {
    fn wants(&self, topic: &str) -> bool {
        self.0.iter().any(|wanted| wanted.as_str() == topic)
    }

    fn exact(&self) -> Option<&[Topic]> {
        Some(&self.0)
    }
}

/// Can't list its topics.
pub(crate) struct Beginning(pub(crate) &'static str);

impl TopicFilter for Beginning {
    fn wants(&self, topic: &str) -> bool {
        topic.starts_with(self.0)
    }

    fn exact(&self) -> Option<&[Topic]> {
        None
    }
}

pub(crate) const ALL: Beginning = Beginning("");

pub(crate) fn keep(count: u64) -> Retention {
    Retention::of(Limits { count: Some(count), ..Limits::default() })
}

/// Keeps so many, and so many more that match.
pub(crate) fn keep_apart(count: u64, pattern: &str, more: u64) -> Retention {
    let size = Size { count: more, bytes: u64::MAX };
    Retention { apart: Some(Allowance { pattern: TopicPattern::new(pattern), size }), ..keep(count) }
}

pub(crate) fn keep_of(pattern: &str, limits: Limits) -> Retention {
    Retention { topics: vec![TopicLimits { pattern: TopicPattern::new(pattern), limits }], ..Retention::unlimited() }
}

pub(crate) fn of_count(count: u64) -> Limits {
    Limits { count: Some(count), ..Limits::default() }
}
