//! A log on one backend, and what the cases do with it.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chrono::{DateTime, SubsecRound, TimeDelta, Utc};
use tempfile::TempDir;
use tidings::server::log::{
    self, AppendError, Appended, Cursor, Entry, Field, IdempotencyKey, Limits, Log, LogOptions, Page, PageSize, Quota,
    Reader, Retention, Size, Storage, TimeSource, Topic, TopicFilter, TopicLimits, TopicPattern, Update,
};
use tokio::sync::mpsc;

use super::nats::{self, Nats};

/// A log on one backend, with a clock that only moves when told to.
pub(crate) struct Rig {
    pub(crate) log: Arc<dyn Log>,
    /// Where what was appended through the rig is. The cases number it from 1: not all backends do.
    places: Mutex<Vec<Cursor>>,
    /// What the tail has given so far: nobody has to read on for the log to go on.
    pub(crate) heard: mpsc::UnboundedReceiver<Arc<Entry>>,
    /// What the clock says, and how much time has passed.
    time: Arc<Mutex<(DateTime<Utc>, Duration)>>,
    _nats: Option<Nats>,
    _folder: TempDir,
}

#[derive(Clone, Copy)]
pub(crate) enum Backend {
    Memory,
    Disk,
    /// A node of a cluster, with its copy on disk.
    Cluster,
}

impl Rig {
    /// `None` where what the backend needs is not installed.
    pub(crate) async fn open(backend: Backend, retention: Retention) -> Option<Self> {
        let folder = tempfile::tempdir().expect("a folder");
        // A cluster's entries have the time of its stream.
        let begin = Utc::now().trunc_subsecs(3);
        let time = Arc::new(Mutex::new((begin, Duration::ZERO)));
        let (wall, uptime) = (time.clone(), time.clone());
        let storage = match backend {
            Backend::Memory => Storage::Memory,
            Backend::Disk | Backend::Cluster => Storage::Disk { folder: folder.path().join("log") },
        };
        let nats = match backend {
            Backend::Memory | Backend::Disk => None,
            Backend::Cluster => Some(Nats::start(1)?),
        };
        let cluster = nats.as_ref().map(|nats| nats.node(nats::SECRET));
        let clock = TimeSource::new(
            move || wall.lock().unwrap_or_else(PoisonError::into_inner).0,
            move || uptime.lock().unwrap_or_else(PoisonError::into_inner).1,
        );
        let (log, mut tail) =
            log::open(LogOptions { storage, retention, clock, cluster, ..LogOptions::memory() }).expect("a log");
        while log.health().is_err() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let (forward, heard) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            while let Some(entry) = tail.recv().await {
                let _ = forward.send(entry);
            }
        });
        Some(Self { log, places: Mutex::default(), heard, time, _nats: nats, _folder: folder })
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
        let mut entries = Vec::with_capacity(updates.len());
        // As many at a time as a request may have.
        for updates in updates.chunks(1000) {
            entries.extend(self.try_append(updates.to_vec(), None).await.expect("room").into_entries());
        }
        entries
    }

    pub(crate) async fn try_append(
        &self,
        updates: Vec<Update>,
        key: Option<IdempotencyKey>,
    ) -> Result<Appended, AppendError> {
        self.log.append(updates, key).await.inspect(|appended| self.record(appended))
    }

    /// Takes note of where entries are, in the order in which they were appended.
    pub(crate) fn record(&self, appended: &Appended) {
        if let Appended::New(entries) = appended {
            self.places.lock().expect("the places").extend(entries.iter().map(|entry| entry.cursor));
        }
    }

    /// Publishes what the hub itself says.
    pub(crate) async fn say(&self, updates: Vec<Update>) -> Vec<Arc<Entry>> {
        let entries = self.log.append_system(updates).await.expect("room");
        self.record(&Appended::New(entries.clone()));
        entries
    }

    /// Where the entry with this number is, or will be if it is the next one.
    pub(crate) fn at(&self, number: u64) -> Cursor {
        let places = self.places.lock().expect("the places");
        match number.checked_sub(1).map(|index| index as usize) {
            None => Cursor::START,
            Some(index) if index == places.len() => places.last().map_or(Cursor::START, |last| *last).next(),
            Some(index) => places[index],
        }
    }

    /// The number of the entry at this place.
    pub(crate) fn number(&self, cursor: Cursor) -> u64 {
        let places = self.places.lock().expect("the places");
        places.binary_search(&cursor).expect("an entry of the rig") as u64 + 1
    }

    pub(crate) fn reader(&self, from: Cursor, filter: impl Into<AnyFilter>) -> Box<dyn Reader> {
        self.log.reader(from, filter.into())
    }

    pub(crate) async fn read(&self, from: Cursor, filter: impl Into<AnyFilter>, limit: usize) -> Page {
        self.reader(from, filter).next(of(limit)).await.expect("a page")
    }

    /// Reads on until there is nothing more. Answers the entries' numbers, and whether there was a gap.
    pub(crate) async fn read_all(&self, from: Cursor, filter: impl Into<AnyFilter>, limit: usize) -> (Vec<u64>, bool) {
        let mut reader = self.reader(from, filter);
        let (mut at, mut numbers, mut gap) = (from, Vec::new(), None);
        loop {
            let page = reader.next(of(limit)).await.expect("a page");
            assert!(page.entries.len() <= limit);
            assert!(page.next >= at);
            numbers.extend(page.entries.iter().map(|entry| self.number(entry.cursor)));
            assert!(gap.is_none() || !page.gap, "only the first page tells");
            gap = gap.or(Some(page.gap));
            at = page.next;
            if !page.more {
                return (numbers, gap == Some(true));
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
