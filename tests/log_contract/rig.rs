//! A log on one backend, and what the cases do with it.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use tempfile::TempDir;
use tidings::server::log::{
    self, Cursor, Entry, Field, Limits, Log, LogOptions, Page, PageSize, Quota, Reader, Retention, Size, Storage,
    TimeSource, Topic, TopicFilter, TopicLimits, TopicPattern, Update,
};
use tokio::sync::mpsc;

/// A log on one backend, with a clock that only moves when told to.
pub(crate) struct Rig {
    pub(crate) log: Arc<dyn Log>,
    /// What the tail has given so far: nobody has to read on for the log to go on.
    pub(crate) heard: mpsc::UnboundedReceiver<Arc<Entry>>,
    /// What the clock says, and how much time has passed.
    time: Arc<Mutex<(DateTime<Utc>, Duration)>>,
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
        let begin = DateTime::from_timestamp_millis(1_700_000_000_000).expect("a time");
        let time = Arc::new(Mutex::new((begin, Duration::ZERO)));
        let (wall, uptime) = (time.clone(), time.clone());
        let storage = match backend {
            Backend::Memory => Storage::Memory,
            Backend::Disk => Storage::Disk { folder: folder.path().join("log") },
        };
        let clock = TimeSource::new(
            move || wall.lock().unwrap_or_else(PoisonError::into_inner).0,
            move || uptime.lock().unwrap_or_else(PoisonError::into_inner).1,
        );
        let (log, mut tail) =
            log::open(LogOptions { storage, retention, clock, ..LogOptions::memory() }).expect("a log");
        let (forward, heard) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            while let Some(entry) = tail.recv().await {
                let _ = forward.send(entry);
            }
        });
        Self { log, heard, time, _folder: folder }
    }

    pub(crate) fn wait(&self, time: Duration) {
        self.set_clock(TimeDelta::from_std(time).expect("a short time"));
        self.time.lock().expect("the clock").1 += time;
    }

    /// Sets the clock on or back, while no time passes.
    pub(crate) fn set_clock(&self, by: TimeDelta) {
        self.time.lock().expect("the clock").0 += by;
    }

    pub(crate) async fn publish(&self, update: Update) -> Arc<Entry> {
        self.append(vec![update]).await.remove(0)
    }

    /// Publishes so many updates on a topic, with their numbers as data.
    pub(crate) async fn publish_many(&self, topic: &str, count: usize) -> Vec<Arc<Entry>> {
        let updates = (0..count).map(|number| update(topic, &number.to_string())).collect();
        self.append(updates).await
    }

    pub(crate) async fn append(&self, updates: Vec<Update>) -> Vec<Arc<Entry>> {
        self.log.append(updates, None).await.expect("room").into_entries()
    }

    pub(crate) fn reader(&self, from: Cursor, filter: impl Into<AnyFilter>) -> Box<dyn Reader> {
        self.log.reader(from, filter.into())
    }

    pub(crate) async fn read(&self, from: Cursor, filter: impl Into<AnyFilter>, limit: usize) -> Page {
        self.reader(from, filter).next(of(limit)).await.expect("a page")
    }

    /// Reads on until there is nothing more; whether there was a gap, too.
    pub(crate) async fn read_all(&self, from: Cursor, filter: impl Into<AnyFilter>, limit: usize) -> (Vec<u64>, bool) {
        let mut reader = self.reader(from, filter);
        let (mut at, mut cursors, mut gap) = (from, Vec::new(), None);
        loop {
            let page = reader.next(of(limit)).await.expect("a page");
            assert!(page.entries.len() <= limit);
            assert!(page.next >= at);
            cursors.extend(page.entries.iter().map(|entry| entry.cursor.0));
            assert!(gap.is_none() || !page.gap, "only the first page tells");
            gap = gap.or(Some(page.gap));
            at = page.next;
            if !page.more {
                return (cursors, gap == Some(true));
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
#[derive(Clone)]
pub(crate) struct Exactly(Vec<Topic>);

pub(crate) fn exactly(topics: &[&str]) -> Exactly {
    Exactly(topics.iter().map(|topic| Topic::parse(topic).expect("a topic")).collect())
}

impl From<Exactly> for AnyFilter {
    fn from(filter: Exactly) -> Self {
        any(filter)
    }
}

impl TopicFilter for Exactly {
    fn wants(&self, topic: &str) -> bool {
        self.0.iter().any(|wanted| wanted.as_str() == topic)
    }

    fn exact(&self) -> Option<&[Topic]> {
        Some(&self.0)
    }

    fn wants_system(&self) -> bool {
        self.0.iter().any(|topic| topic.as_str().starts_with("said"))
    }
}

/// Can't list its topics.
#[derive(Clone, Copy)]
pub(crate) struct Beginning(pub(crate) &'static str);

impl From<Beginning> for AnyFilter {
    fn from(filter: Beginning) -> Self {
        any(filter)
    }
}

impl TopicFilter for Beginning {
    fn wants(&self, topic: &str) -> bool {
        topic.starts_with(self.0)
    }

    fn exact(&self) -> Option<&[Topic]> {
        None
    }
}

/// Wants these topics, and is to be asked about no other one, nor about private entries.
pub(crate) struct Unasked(pub(crate) Exactly, pub(crate) Listing);

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Listing {
    Lists,
    ListsNothing,
}

impl TopicFilter for Unasked {
    fn wants(&self, topic: &str) -> bool {
        assert!(self.1 == Listing::ListsNothing && !topic.starts_with("private"), "asked about {topic}");
        self.0.wants(topic)
    }

    fn exact(&self) -> Option<&[Topic]> {
        self.0.exact().filter(|_| self.1 == Listing::Lists)
    }

    fn wants_private(&self) -> bool {
        false
    }

    fn wants_system(&self) -> bool {
        false
    }
}

/// One of several kinds of filters.
pub(crate) type AnyFilter = Arc<dyn TopicFilter>;

pub(crate) fn any(filter: impl TopicFilter + 'static) -> AnyFilter {
    Arc::new(filter)
}

pub(crate) const ALL: Beginning = Beginning("");

pub(crate) fn keep(count: u64) -> Retention {
    Retention::of(Limits { count: Some(count), ..Limits::default() })
}

/// Keeps so many, beside a quota for topics.
pub(crate) fn keep_quota(count: u64, pattern: &str, quota: u64) -> Retention {
    let size = Size { count: quota, bytes: u64::MAX };
    Retention { quota: Some(Quota { pattern: TopicPattern::new(pattern), size }), ..keep(count) }
}

/// Keeps so many, and so many of what the hub itself says.
pub(crate) fn keep_system(count: u64, system: u64) -> Retention {
    Retention { system: Size { count: system, bytes: u64::MAX }, ..keep(count) }
}

pub(crate) fn keep_of(pattern: &str, limits: Limits) -> Retention {
    Retention { topics: vec![TopicLimits { pattern: TopicPattern::new(pattern), limits }], ..Retention::unlimited() }
}

pub(crate) fn of_count(count: u64) -> Limits {
    Limits { count: Some(count), ..Limits::default() }
}
