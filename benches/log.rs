//! What the log does in a second: `cargo bench --bench log`. Nothing of HTTP is in it.
//!
//! It writes under `target/`, or in the folder that `TIDINGS_BENCH_FOLDER` names, and prints the disk's
//! own speed beside the log's, taken in the same run. `TIDINGS_BENCH_UPDATES` is how many updates the large log has.

#![expect(clippy::print_stdout, reason = "printing is what it is for")]

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tidings::server::log::{
    self, Cursor, Durability, Log, LogOptions, PageSize, Retention, Tail, Topic, TopicFilter, Update,
};

/// How long each rate is measured.
const RUN: Duration = Duration::from_secs(3);
/// The data of one update where only the count matters.
const SMALL: usize = 200;
/// The data of one update where bytes matter.
const LARGE: usize = 1024;
/// How many entries a page has; their bytes don't matter.
const PAGE: usize = 256;
const SIZE: PageSize = PageSize { entries: PAGE, bytes: usize::MAX };

struct One([Topic; 1]);

impl TopicFilter for One {
    fn wants(&self, topic: &str) -> bool {
        self.0[0].as_str() == topic
    }

    fn exact(&self) -> Option<&[Topic]> {
        Some(&self.0)
    }
}

struct Beginning(&'static str);

impl TopicFilter for Beginning {
    fn wants(&self, topic: &str) -> bool {
        topic.starts_with(self.0)
    }

    fn exact(&self) -> Option<&[Topic]> {
        None
    }
}

fn topic(name: &str) -> Topic {
    Topic::parse(name).expect("a topic")
}

fn update(topic: &Topic, bytes: usize) -> Update {
    let data = "x".repeat(bytes);
    Update { topics: vec![topic.clone()], data, id: None, event: None, retry: None, private: false, ttl: None }
}

fn open(folder: &Path, durability: Durability) -> Arc<dyn Log> {
    let options = LogOptions { durability, retention: Retention::unlimited(), ..LogOptions::disk(folder) };
    let (log, tail) = log::open(options).expect("a log");
    tokio::spawn(drain(tail));
    log
}

async fn drain(mut tail: Tail) {
    let mut batch = Vec::new();
    while tail.recv_many(&mut batch, 256).await > 0 {
        batch.clear();
    }
}

fn folder() -> PathBuf {
    std::env::var_os("TIDINGS_BENCH_FOLDER")
        .map_or_else(|| concat!(env!("CARGO_MANIFEST_DIR"), "/target").into(), PathBuf::from)
}

#[tokio::main]
async fn main() {
    let folder = tempfile::tempdir_in(folder()).expect("a folder");
    let syncs = syncs(folder.path());
    println!("{:<58}{syncs:>10.0} /s", "the disk: 4 KiB appended and fdatasync'ed");
    for durability in [Durability::Fsync, Durability::Os] {
        println!("\npublishes of {SMALL} bytes, durability {durability:?}");
        for (publishers, batch) in [(1, 1), (64, 1), (1, 100), (8, 100)] {
            let name = format!("{durability:?}-{publishers}-{batch}");
            let log = open(&folder.path().join(name), durability);
            let rate = publishes(log, publishers, batch).await;
            let what = format!("  {publishers} publishers, {batch} at a time");
            println!("{what:<58}{rate:>10.0} /s{:>10.1} x fdatasync", rate / syncs);
        }
    }
    resume(&folder.path().join("resume")).await;
    replay(&folder.path().join("replay")).await;
    few_of_many(&folder.path().join("few")).await;
}

fn syncs(folder: &Path) -> f64 {
    let mut file = File::create(folder.join("syncs")).expect("a file");
    let begin = Instant::now();
    let mut count = 0.0;
    while begin.elapsed() < RUN {
        file.write_all(&[7; 4096]).and_then(|()| file.sync_data()).expect("room");
        count += 1.0;
    }
    count / begin.elapsed().as_secs_f64()
}

async fn publishes(log: Arc<dyn Log>, publishers: usize, batch: usize) -> f64 {
    let done = Arc::new(AtomicBool::new(false));
    let count = Arc::new(AtomicU64::new(0));
    let mut tasks = tokio::task::JoinSet::new();
    let begin = Instant::now();
    for publisher in 0..publishers {
        let (log, done, count) = (log.clone(), done.clone(), count.clone());
        tasks.spawn(async move {
            let update = update(&topic(&format!("topics/{publisher}")), SMALL);
            while !done.load(Ordering::Relaxed) {
                if batch == 1 {
                    log.append(vec![update.clone()], None).await.expect("room");
                } else {
                    log.append(vec![update.clone(); batch], None).await.expect("room");
                }
                count.fetch_add(batch as u64, Ordering::Relaxed);
            }
        });
    }
    tokio::time::sleep(RUN).await;
    done.store(true, Ordering::Relaxed);
    tasks.join_all().await;
    count.load(Ordering::Relaxed) as f64 / begin.elapsed().as_secs_f64()
}

async fn resume(folder: &Path) {
    let updates = std::env::var("TIDINGS_BENCH_UPDATES").ok().and_then(|n| n.parse().ok()).unwrap_or(1_000_000);
    let log = open(folder, Durability::Os);
    let topics: Vec<_> = (0..100).map(|number| topic(&format!("topics/{number}"))).collect();
    let begin = Instant::now();
    for batch in 0..updates / 1000 {
        let updates = (0..1000).map(|n| update(&topics[(batch * 7 + n) % 100], SMALL)).collect();
        log.append(updates, None).await.expect("room");
    }
    println!("\n{updates} updates of {SMALL} bytes on 100 topics written in {:.1?}", begin.elapsed());
    let begin = Instant::now();
    log.sweep().await;
    println!("  and all of them archived after {:.1?} more", begin.elapsed());
    drop(log);
    let begin = Instant::now();
    let log = open(folder, Durability::Os);
    println!("  opened again in {:.1?}; the folder has {} MB", begin.elapsed(), bytes(folder) / 1_000_000);

    println!("time to the first page of {PAGE} on resuming there: median, 99th percentile of 500");
    let newest = log.bounds().newest.0;
    let filters: [(&str, Arc<dyn TopicFilter>); 3] = [
        ("everything", Arc::new(Beginning(""))),
        ("one topic of 100", Arc::new(One([topics[42].clone()]))),
        ("a pattern that wants 11 of 100", Arc::new(Beginning("topics/4"))),
    ];
    for (name, filter) in &filters {
        for (place, first) in [("start", 0), ("middle", newest / 2), ("end", newest - newest / 20)] {
            let mut times = Vec::new();
            let mut id = Duration::ZERO;
            for n in 0..500 {
                let cursor = Cursor(first + n * 40);
                let begin = Instant::now();
                let page = log.reader(cursor, filter.clone()).next(SIZE).await.expect("a page");
                times.push(begin.elapsed());
                assert_eq!(page.entries.len(), PAGE);
                let begin = Instant::now();
                assert!(log.find(&page.entries[0].id).await.expect("an answer").is_some());
                id += begin.elapsed();
            }
            times.sort();
            let what = format!("  {name}, at the {place}");
            println!("{what:<58}{:>10.0?}{:>10.0?}   find(id) {:.0?}", times[250], times[495], id / 500);
        }
    }
}

async fn replay(folder: &Path) {
    let count = 100_000;
    let log = open(folder, Durability::Os);
    let name = topic("replay");
    for _ in 0..count / 1000 {
        log.append(vec![update(&name, LARGE); 1000], None).await.expect("room");
    }
    log.sweep().await;
    println!("\nreplay of {count} updates of {LARGE} bytes, by pages of {PAGE}");
    let filters: [(&str, Arc<dyn TopicFilter>); 2] =
        [("  of one topic", Arc::new(One([name]))), ("  of everything", Arc::new(Beginning("")))];
    for (what, filter) in &filters {
        for _ in 0..2 {
            let begin = Instant::now();
            let (mut reader, mut read) = (log.reader(Cursor::START, filter.clone()), 0);
            loop {
                let page = reader.next(SIZE).await.expect("a page");
                read += page.entries.len();
                if !page.more {
                    break;
                }
            }
            assert_eq!(read, count);
            let rate = (count * LARGE) as f64 / 1e6 / begin.elapsed().as_secs_f64();
            println!("{what:<58}{rate:>10.0} MB/s");
        }
    }
}

/// A pattern that wants 10 of 100,000 topics: what its pages cost, the first of which has to find out which.
async fn few_of_many(folder: &Path) {
    const TOPICS: usize = 100_000;
    const WANTED: usize = 1000;
    const ALL: usize = 300_000;
    let log = open(folder, Durability::Os);
    let other = (0..ALL).map(|number| topic(&format!("other/{}", number * 7 % (TOPICS - 10))));
    let few: Vec<_> = (0..10).map(|number| topic(&format!("few/{number}"))).collect();
    let updates: Vec<_> = other.map(|topic| update(&topic, SMALL)).collect();
    for (number, batch) in updates.chunks(ALL / WANTED).enumerate() {
        log.append([batch, &[update(&few[number % 10], SMALL)]].concat(), None).await.expect("room");
    }
    log.sweep().await;
    let size = PageSize { entries: 64, bytes: usize::MAX };
    let mut reader = log.reader(Cursor::START, Arc::new(Beginning("few/")));
    let (mut read, mut times) = (0, Vec::new());
    loop {
        let begin = Instant::now();
        let page = reader.next(size).await.expect("a page");
        times.push(begin.elapsed());
        read += page.entries.len();
        if !page.more {
            break;
        }
    }
    assert_eq!(read, WANTED);
    let (first, others) = (times[0], &mut times[1..]);
    others.sort();
    let what = format!("\n{WANTED} updates of 10 of {TOPICS} topics, by pages of 64");
    println!("{what:<59}{first:>10.1?} the first, {:.1?} each of {} others", others[others.len() / 2], others.len());
}

fn bytes(folder: &Path) -> u64 {
    let files = std::fs::read_dir(folder).expect("a folder");
    files.map(|file| file.and_then(|file| file.metadata()).map_or(0, |data| data.len())).sum()
}
