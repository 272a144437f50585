//! The log against a model of it: random appends, time, retention and restarts, on both backends.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use proptest::collection::{btree_set, vec};
use proptest::option::weighted as option;
use proptest::prelude::*;
use tidings::server::log::{
    self, Cursor, Entry, Field, Limits, Log, LogOptions, PageSize, Reader as LogReader, Retention, Size, Storage,
    TimeSource, Topic, TopicFilter, TopicLimits, TopicPattern, Update,
};

const READERS: usize = 3;
const ALL: PageSize = PageSize { entries: 100, bytes: usize::MAX };
const TOPICS: [&str; 7] = ["a", "b", "jobs/1", "jobs/2", "rare", "said/1", "said/2"];
/// As many of these are for updates. The hub itself says the others.
const PUBLISHED: usize = 5;

#[derive(Clone, Debug)]
enum Step {
    Append {
        topics: BTreeSet<usize>,
        id: Option<u8>,
        ttl: Option<u64>,
        times: usize,
        bytes: usize,
    },
    /// The hub itself says something.
    Say {
        topic: usize,
        ttl: Option<u64>,
        times: usize,
    },
    Wait(u64),
    Sweep,
    Restart,
    Check {
        cursor: u64,
        topics: BTreeSet<usize>,
        size: PageSize,
    },
    /// A reader takes another one's place.
    Begin {
        reader: usize,
        cursor: u64,
        topics: BTreeSet<usize>,
        listed: bool,
    },
    ReadOn {
        reader: usize,
        size: PageSize,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let topics = || btree_set(0..TOPICS.len(), 1..3);
    prop_oneof![
        6 => (btree_set(0..PUBLISHED, 1..3), option(0.3, 0..4_u8), option(0.2, 1..100_u64), 1..6_usize, prop_oneof![Just(4), Just(250)])
            .prop_map(|(topics, id, ttl, times, bytes)| Step::Append { topics, id, ttl, times, bytes }),
        3 => (PUBLISHED..TOPICS.len(), option(0.5, 1..100_u64), 1..6_usize)
            .prop_map(|(topic, ttl, times)| Step::Say { topic, ttl, times }),
        2 => (1..80_u64).prop_map(Step::Wait),
        1 => Just(Step::Sweep),
        1 => Just(Step::Restart),
        4 => (0..60_u64, topics(), size()).prop_map(|(cursor, topics, size)| Step::Check { cursor, topics, size }),
        1 => (0..READERS, 0..60_u64, topics(), any::<bool>())
            .prop_map(|(reader, cursor, topics, listed)| Step::Begin { reader, cursor, topics, listed }),
        6 => (0..READERS, size()).prop_map(|(reader, size)| Step::ReadOn { reader, size }),
    ]
}

/// Frames have about 60 bytes, or 300.
fn size() -> impl Strategy<Value = PageSize> {
    (1..12_usize, 50..3000_usize).prop_map(|(entries, bytes)| PageSize { entries, bytes })
}

fn retention() -> impl Strategy<Value = Retention> {
    let limit = || option(0.4, 1..20_u64);
    let ages = (option(0.3, 20..200_u64), option(0.3, 20..200_u64));
    (limit(), limit(), ages, 1..20_u64).prop_map(|(count, jobs, (age, jobs_age), said)| Retention {
        all: Limits { count, age: age.map(Duration::from_secs), bytes: None },
        topics: vec![TopicLimits {
            pattern: TopicPattern::new("jobs/*"),
            limits: Limits { count: jobs, age: jobs_age.map(Duration::from_secs), bytes: None },
        }],
        system: Size { count: said, bytes: u64::MAX },
        ..Retention::unlimited()
    })
}

/// What was appended.
struct Known {
    cursor: Cursor,
    topics: BTreeSet<&'static str>,
    id: String,
    at: DateTime<Utc>,
    expires_at: Option<DateTime<Utc>>,
    /// The last step at which it was there.
    kept_at: usize,
}

impl Known {
    /// Whether the hub itself has said it.
    fn is_said(&self) -> bool {
        self.topics.iter().any(|topic| topic.starts_with("said"))
    }
}

/// One that reads on while the log changes.
struct Reader {
    filter: Arc<Wants>,
    at: Cursor,
    /// Made when it first reads: a log that is open again needs a new one.
    reader: Option<Box<dyn LogReader>>,
    /// The last step at which it was told that something is lost.
    told_at: Option<usize>,
}

impl Reader {
    fn new(cursor: Cursor, topics: &BTreeSet<usize>, listed: bool) -> Self {
        Self { filter: wanting(topics, listed).into(), at: cursor, reader: None, told_at: None }
    }
}

/// Wants these topics; can list them or not.
struct Wants {
    topics: Vec<Topic>,
    listed: bool,
}

impl TopicFilter for Wants {
    fn wants(&self, topic: &str) -> bool {
        self.topics.iter().any(|wanted| wanted.as_str() == topic)
    }

    fn exact(&self) -> Option<&[Topic]> {
        self.listed.then_some(&self.topics)
    }

    fn wants_system(&self) -> bool {
        self.topics.iter().any(|topic| topic.as_str().starts_with("said"))
    }
}

fn wanting(topics: &BTreeSet<usize>, listed: bool) -> Wants {
    Wants { topics: topics.iter().map(|&index| Topic::parse(TOPICS[index]).expect("a topic")).collect(), listed }
}

struct Rig {
    log: Option<Arc<dyn Log>>,
    options: LogOptions,
    time: Arc<Mutex<(DateTime<Utc>, Duration)>>,
    known: Vec<Known>,
    readers: [Reader; READERS],
    step: usize,
}

impl Rig {
    fn new(folder: Option<&Path>, retention: Retention) -> Self {
        let begin = DateTime::from_timestamp_millis(1_700_000_000_000).expect("a time");
        let time = Arc::new(Mutex::new((begin, Duration::ZERO)));
        let (wall, uptime) = (time.clone(), time.clone());
        let clock = TimeSource::new(
            move || wall.lock().unwrap_or_else(PoisonError::into_inner).0,
            move || uptime.lock().unwrap_or_else(PoisonError::into_inner).1,
        );
        let storage = folder.map_or(Storage::Memory, |folder| Storage::Disk { folder: folder.into() });
        let options = LogOptions { storage, retention, clock, ..LogOptions::memory() };
        let log = Some(log::open(options.clone()).expect("a log").0);
        let readers = std::array::from_fn(|number| {
            Reader::new(Cursor::START, &(0..TOPICS.len()).collect(), number.is_multiple_of(2))
        });
        Self { log, options, time, known: Vec::new(), readers, step: 0 }
    }

    fn log(&self) -> &dyn Log {
        &**self.log.as_ref().expect("it is open")
    }

    fn now(&self) -> DateTime<Utc> {
        self.time.lock().expect("the clock").0
    }

    async fn run(&mut self, step: Step) {
        self.step += 1;
        match step {
            Step::Append { topics, id, ttl, times, bytes } => {
                let topics: BTreeSet<_> = topics.into_iter().map(|index| TOPICS[index]).collect();
                let update = Update {
                    topics: topics.iter().map(|topic| Topic::parse(topic).expect("a topic")).collect(),
                    data: "x".repeat(bytes),
                    id: id.map(|id| Field::parse(&id.to_string()).expect("an id")),
                    event: None,
                    retry: None,
                    private: false,
                    ttl: ttl.map(Duration::from_secs),
                };
                let entries = self.log().append(vec![update; times], None).await.expect("room").into_entries();
                self.learn(&entries, &topics).await;
            }
            Step::Say { topic, ttl, times } => {
                let update = Update {
                    topics: vec![Topic::parse(TOPICS[topic]).expect("a topic")],
                    data: "x".into(),
                    id: None,
                    event: None,
                    retry: None,
                    private: true,
                    ttl: ttl.map(Duration::from_secs),
                };
                let entries = self.log().append_system(vec![update; times]).await.expect("room");
                self.learn(&entries, &[TOPICS[topic]].into()).await;
            }
            Step::Wait(seconds) => {
                let mut time = self.time.lock().expect("the clock");
                time.0 += TimeDelta::seconds(seconds.cast_signed());
                time.1 += Duration::from_secs(seconds);
            }
            Step::Sweep => {
                self.log().sweep().await;
                self.check_limits().await;
            }
            Step::Restart => {
                if self.options.storage != Storage::Memory {
                    let before = self.log().bounds();
                    for reader in &mut self.readers {
                        reader.reader = None;
                    }
                    self.log = None;
                    self.log = Some(log::open(self.options.clone()).expect("a log").0);
                    assert_eq!(self.log().bounds().newest, before.newest);
                }
            }
            Step::Check { cursor, topics, size } => self.check_reads(cursor, &topics, size).await,
            Step::Begin { reader, cursor, topics, listed } => {
                let cursor = Cursor(cursor.min(self.log().bounds().newest.0));
                self.readers[reader] = Reader::new(cursor, &topics, listed);
            }
            Step::ReadOn { reader, size } => self.check_reading_on(reader, size).await,
        }
    }

    async fn learn(&mut self, entries: &[Arc<Entry>], topics: &BTreeSet<&'static str>) {
        for entry in entries {
            assert_eq!(entry.cursor.0, self.known.last().map_or(0, |known| known.cursor.0) + 1);
            self.known.push(Known {
                cursor: entry.cursor,
                topics: topics.clone(),
                id: entry.id.to_string(),
                at: self.now(),
                expires_at: entry.expires_at,
                kept_at: self.step,
            });
        }
        self.look().await;
    }

    /// What is kept, all of it.
    async fn kept(&self) -> BTreeSet<Cursor> {
        let filter = wanting(&(0..TOPICS.len()).collect(), false);
        self.read(Cursor::START, filter, ALL).await.0
    }

    async fn read(&self, cursor: Cursor, filter: Wants, size: PageSize) -> (BTreeSet<Cursor>, bool) {
        let (mut at, mut cursors, mut gap) = (cursor, Vec::new(), false);
        let mut reader = self.log().reader(cursor, Arc::new(filter));
        loop {
            let page = reader.next(size).await.expect("a page");
            let bytes: usize = page.entries.iter().map(|entry| entry.frame.len()).sum();
            assert!(page.entries.len() <= size.entries);
            assert!(bytes <= size.bytes || page.entries.len() == 1, "{bytes} bytes where {size:?} was asked for");
            assert!(page.next >= at && (page.next > at || !page.more), "it comes to an end");
            cursors.extend(page.entries.iter().map(|entry| entry.cursor));
            gap |= page.gap;
            at = page.next;
            if !page.more {
                break;
            }
        }
        assert!(cursors.windows(2).all(|pair| pair[0] < pair[1]), "in order, once: {cursors:?}");
        (cursors.into_iter().collect(), gap)
    }

    /// Remembers what is there.
    async fn look(&mut self) {
        let kept = self.kept().await;
        for known in self.known.iter_mut().filter(|known| kept.contains(&known.cursor)) {
            known.kept_at = self.step;
        }
    }

    /// Whatever a reader passes by without having it has been told to it since it went.
    async fn check_reading_on(&mut self, number: usize, size: PageSize) {
        self.look().await;
        let now = self.now();
        let reader = &mut self.readers[number];
        let log = self.log.as_ref().expect("it is open");
        let open = reader.reader.get_or_insert_with(|| log.reader(reader.at, reader.filter.clone()));
        let page = open.next(size).await.expect("a page");
        assert!(page.next >= reader.at && (page.next > reader.at || !page.more), "it comes to an end");
        if page.gap {
            reader.told_at = Some(self.step);
        }
        let has: BTreeSet<_> = page.entries.iter().map(|entry| entry.cursor).collect();
        for known in self.known.iter().filter(|known| known.cursor > reader.at && known.cursor <= page.next) {
            let wanted = known.topics.iter().any(|topic| reader.filter.wants(topic));
            let expired = known.expires_at.is_some_and(|at| at <= now);
            let told = reader.told_at >= Some(known.kept_at);
            assert!(wanted || !has.contains(&known.cursor), "{} was not wanted", known.cursor);
            assert!(has.contains(&known.cursor) || !wanted || expired || told, "{} was lost untold", known.cursor);
        }
        reader.at = page.next;
    }

    /// However it is read, it is the same; and nobody loses anything without being told.
    async fn check_reads(&self, cursor: u64, topics: &BTreeSet<usize>, size: PageSize) {
        let cursor = Cursor(cursor.min(self.log().bounds().newest.0));
        let names: BTreeSet<_> = topics.iter().map(|&index| TOPICS[index]).collect();
        // Retention may go on meanwhile, which only takes away.
        let before = self.kept().await;
        let mut read = Vec::new();
        for listed in [true, false] {
            read.push(self.read(cursor, wanting(topics, listed), size).await);
        }
        let after = self.kept().await;
        let wanted = |known: &&Known| known.cursor > cursor && !known.topics.is_disjoint(&names);
        let expired = |known: &Known| known.expires_at.is_some_and(|at| at <= self.now());
        for (cursors, gap) in read {
            for known in self.known.iter().filter(wanted) {
                let has = cursors.contains(&known.cursor);
                assert!(!(has && expired(known)), "{} has had its time", known.cursor);
                assert!(has || !after.contains(&known.cursor), "{} was left out", known.cursor);
                assert!(!has || before.contains(&known.cursor), "{} was gone", known.cursor);
                assert!(has || expired(known) || gap, "{} was lost and nobody was told", known.cursor);
            }
            let all: BTreeSet<_> = self.known.iter().filter(wanted).map(|known| known.cursor).collect();
            assert!(cursors.is_subset(&all), "what was not wanted came too");
        }
        self.check_ids(&after).await;
        self.check_backwards(cursor, topics, size.entries).await;
    }

    async fn check_ids(&self, kept: &BTreeSet<Cursor>) {
        for known in self.known.iter().rev().take(20) {
            let found = self.log().find(&known.id).await.expect("an answer").map(|entry| entry.cursor);
            let first = self.known.iter().find(|other| other.id == known.id && kept.contains(&other.cursor));
            // Retention may have removed the first one meanwhile, never brought one back.
            assert!(found >= first.map(|first| first.cursor) || found.is_none(), "{}: {found:?}", known.id);
            let sealed = known.id.starts_with("urn:");
            let place = self.log().locate(&known.id).await.expect("an answer");
            assert!(!sealed || place == Some(known.cursor), "{} leads to {place:?}", known.id);
        }
    }

    async fn check_backwards(&self, cursor: Cursor, topics: &BTreeSet<usize>, limit: usize) {
        for listed in [true, false] {
            let filter = wanting(topics, listed);
            self.log().sweep().await;
            let read = self.log().read_before(Some(cursor), &filter, limit).await.expect("a page");
            let read: Vec<_> = read.iter().map(|entry| entry.cursor).collect();
            let (all, _) = self.read(Cursor::START, filter, ALL).await;
            let expected: Vec<_> = all.range(..cursor).rev().take(limit).copied().collect();
            assert_eq!(read, expected);
        }
    }

    async fn check_limits(&self) {
        let kept = self.kept().await;
        let Retention { all, topics, system, .. } = &self.options.retention;
        let limits = &topics[0].limits;
        let (said, updates): (Vec<_>, Vec<_>) =
            self.known.iter().filter(|known| kept.contains(&known.cursor)).partition(|known| known.is_said());
        if let Some(count) = all.count {
            assert!(updates.len() as u64 <= count, "{} are kept", updates.len());
        }
        assert!(said.len() as u64 <= system.count, "{} are kept of what the hub says", said.len());
        for topic in ["jobs/1", "jobs/2"] {
            let on_topic = |known: &&Known| known.topics.contains(topic) && kept.contains(&known.cursor);
            let of_topic: Vec<_> = self.known.iter().filter(on_topic).collect();
            if let Some(count) = limits.count {
                assert!(of_topic.len() as u64 <= count, "{} are kept of {topic}", of_topic.len());
            }
            if let Some(age) = limits.age {
                assert!(of_topic.iter().all(|known| self.now() - known.at <= TimeDelta::from_std(age).expect("short")));
            }
        }
        if let Some(age) = all.age {
            let young = |known: &Known| self.now() - known.at <= TimeDelta::from_std(age).expect("short");
            assert!(self.known.iter().filter(|known| kept.contains(&known.cursor)).all(young));
        }
        // Without another reason to go, the newest are kept.
        let only_count = all.age.is_none() && limits.count.is_none() && limits.age.is_none();
        if only_count && self.known.iter().all(|known| known.expires_at.is_none()) {
            for (is_said, keep) in [(false, all.count.unwrap_or(u64::MAX)), (true, system.count)] {
                let keep = usize::try_from(keep).unwrap_or(usize::MAX);
                let of_lane = self.known.iter().rev().filter(|known| known.is_said() == is_said);
                let newest: BTreeSet<_> = of_lane.take(keep).map(|known| known.cursor).collect();
                assert!(newest.is_subset(&kept), "{newest:?} of {kept:?}");
            }
        }
    }
}

fn run(folder: Option<&Path>, retention: Retention, steps: Vec<Step>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let mut rig = Rig::new(folder, retention);
        for step in steps {
            rig.run(step).await;
        }
        rig.run(Step::Sweep).await;
    });
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn memory_is_as_the_model(retention in retention(), steps in vec(step(), 1..40)) {
        run(None, retention, steps);
    }

    #[test]
    fn disk_is_as_the_model(retention in retention(), steps in vec(step(), 1..40)) {
        let folder = tempfile::tempdir().expect("a folder");
        run(Some(folder.path()), retention, steps);
    }
}
