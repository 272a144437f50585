//! What the disk backend promises beyond the contract: that it survives, and that it says so when it can't.

mod crash;
mod end;
mod format_1;
mod format_2;
mod full;

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use redb::Database;
use tempfile::TempDir;

use super::schema::{FORMAT_NAME, META};
use super::*;
use crate::server::log::{Everything, Field, Limits, PageSize, Topic};

fn try_open(folder: &Path) -> Result<(DiskLog, Tail), OpenError> {
    DiskLog::open(folder, Durability::Fsync, Retention::unlimited(), TimeSource::system())
}

fn open(folder: &Path) -> DiskLog {
    try_open(folder).expect("a log").0
}

fn refusal(folder: &Path) -> OpenError {
    try_open(folder).err().expect("a refusal")
}

fn folder() -> TempDir {
    tempfile::tempdir().expect("a folder")
}

fn update(topic: &str, data: &str) -> Update {
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

async fn append(log: &DiskLog, update: Update) -> Result<Arc<Entry>, AppendError> {
    Ok(log.append(vec![update], None).await?.into_entries().remove(0))
}

async fn read_all(log: &DiskLog) -> Vec<Arc<Entry>> {
    let mut entries = Vec::new();
    let mut reader = log.reader(Cursor::START, Arc::new(Everything));
    let size = PageSize { entries: 100, bytes: 1000 };
    loop {
        let page = reader.next(size).await.expect("a page");
        entries.extend(page.entries);
        if !page.more {
            return entries;
        }
    }
}

/// What a crash of the process leaves of a log that is open: the files as they are.
fn crash(folder: &Path) -> TempDir {
    let copy = self::folder();
    for file in fs::read_dir(folder).expect("a folder") {
        let file = file.expect("a file");
        fs::copy(file.path(), copy.path().join(file.file_name())).expect("a copy");
    }
    copy
}

#[tokio::test]
async fn a_log_is_as_it_was_after_it_has_been_closed() {
    let folder = folder();
    let log = open(folder.path());
    let made = append(&log, update("a", "1")).await.expect("room");
    let given = Update { id: Some(Field::parse("given").expect("an id")), ..update("b", "2") };
    let given = append(&log, given).await.expect("room");
    drop(log);

    let log = open(folder.path());
    assert_eq!(log.bounds(), Bounds { oldest: made.cursor, newest: given.cursor });
    assert_eq!(log.find(&made.id).await.expect("an answer"), Some(made.clone()));
    assert_eq!(log.find("given").await.expect("an answer"), Some(given.clone()));
    assert_eq!(read_all(&log).await, [made, given.clone()]);
    assert_eq!(append(&log, update("a", "3")).await.expect("room").cursor, given.cursor.next());
}

#[tokio::test]
async fn what_was_acknowledged_survives_a_crash() {
    let folder = folder();
    let log = open(folder.path());
    let mut published = Vec::new();
    for round in 0..5 {
        for number in 0..20 {
            published.push(append(&log, update("a", &format!("{round}:{number}"))).await.expect("room"));
        }
        let crashed = crash(folder.path());
        let survivor = open(crashed.path());
        assert_eq!(survivor.bounds().newest, Cursor(published.len() as u64));
        assert_eq!(read_all(&survivor).await, published);
        assert_eq!(survivor.find(&published[3].id).await.expect("an answer"), Some(published[3].clone()));
        // Some of it in the archive, some in the journal.
        if round % 2 == 0 {
            log.sweep().await;
        }
    }
}

#[tokio::test]
async fn a_log_that_crashes_again_and_again_goes_on() {
    let mut folder = folder();
    let mut published = Vec::new();
    for _ in 0..10 {
        let log = open(folder.path());
        for _ in 0..7 {
            published.push(append(&log, update("a", "x")).await.expect("room"));
        }
        folder = crash(folder.path());
    }
    assert_eq!(read_all(&open(folder.path())).await, published);
}

#[tokio::test]
async fn a_torn_record_counts_for_nothing() {
    let folder = folder();
    let log = open(folder.path());
    let mut published = Vec::new();
    for _ in 0..10 {
        published.push(append(&log, update("a", "x")).await.expect("room"));
    }
    let crashed = crash(folder.path());
    let journal = crashed.path().join("journal-0");
    let bytes = fs::read(&journal).expect("a journal");
    fs::write(&journal, &bytes[..bytes.len() - 3]).expect("room");
    let log = open(crashed.path());
    assert_eq!(read_all(&log).await, published[..9]);
    assert_eq!(append(&log, update("a", "y")).await.expect("room").cursor, Cursor(10));
}

#[tokio::test]
async fn a_damaged_journal_is_named_and_not_passed_over() {
    let folder = folder();
    let log = open(folder.path());
    for _ in 0..10 {
        append(&log, update("a", "x")).await.expect("room");
    }
    let crashed = crash(folder.path());
    let journal = crashed.path().join("journal-0");
    let mut bytes = fs::read(&journal).expect("a journal");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&journal, &bytes).expect("room");
    let refusal = refusal(crashed.path());
    assert!(matches!(&refusal, OpenError::Damaged { path, .. } if *path == journal), "{refusal}");
}

#[tokio::test]
async fn a_log_is_open_in_one_place_only() {
    let folder = folder();
    let _log = open(folder.path());
    let refusal = refusal(folder.path());
    assert!(matches!(refusal, OpenError::Locked(_)));
    assert!(refusal.to_string().contains("open in another process"), "{refusal}");
}

#[tokio::test]
async fn a_log_whose_archive_is_being_opened_again_is_still_open_in_one_place_only() {
    let folder = folder();
    let log = open(folder.path());
    append(&log, update("a", "x")).await.expect("room");
    // As after a failure: redb has let go of its own lock.
    *log.shared.database.write().expect("the database") = None;
    assert!(matches!(refusal(folder.path()), OpenError::Locked(_)));
    drop(log);
    assert_eq!(read_all(&open(folder.path())).await.len(), 1);
}

#[tokio::test]
async fn a_newer_format_is_left_alone() {
    let folder = folder();
    drop(open(folder.path()));
    let path = folder.path().join(archive::FILE);
    let database = Database::open(&path).expect("a database");
    let txn = database.begin_write().expect("a transaction");
    txn.open_table(META).expect("a table").insert(FORMAT_NAME, 99_u32.to_le_bytes().as_slice()).expect("a row");
    txn.commit().expect("a commit");
    drop(database);
    for _ in 0..2 {
        let refusal = refusal(folder.path());
        assert!(matches!(refusal, OpenError::Newer { found: 99, .. }), "{refusal}");
    }
}

#[tokio::test]
async fn a_damaged_archive_is_named_and_left_alone() {
    let folder = folder();
    let log = open(folder.path());
    for _ in 0..100 {
        append(&log, update("a", &"x".repeat(1000))).await.expect("room");
    }
    drop(log);
    let path = folder.path().join(archive::FILE);
    let whole = fs::read(&path).expect("a file");
    let cut_off = whole[..whole.len() / 2].to_vec();
    let mut no_header = whole.clone();
    no_header[..512].fill(7);
    for damaged in [cut_off, no_header, b"not a log".to_vec()] {
        fs::write(&path, &damaged).expect("room");
        let refusal = refusal(folder.path());
        assert!(matches!(&refusal, OpenError::Damaged { path: named, .. } if *named == path), "{refusal}");
        assert_eq!(fs::read(&path).expect("a file"), damaged, "it is left as it is");
    }
}

#[tokio::test]
async fn somebody_elses_database_is_left_alone() {
    let folder = folder();
    let database = Database::create(folder.path().join(archive::FILE)).expect("a database");
    let txn = database.begin_write().expect("a transaction");
    let theirs = redb::TableDefinition::<u64, u64>::new("theirs");
    txn.open_table(theirs).expect("a table").insert(1, 2).expect("a row");
    txn.commit().expect("a commit");
    drop(database);
    assert!(matches!(refusal(folder.path()), OpenError::Damaged { .. }));
}

#[tokio::test]
async fn a_folder_that_cannot_be_made_is_named() {
    let folder = folder();
    let file = folder.path().join("file");
    fs::write(&file, "").expect("room");
    let refusal = refusal(&file.join("log"));
    assert!(matches!(refusal, OpenError::NotWritable { .. }));
    assert!(refusal.to_string().contains("file/log"), "{refusal}");
}

#[tokio::test]
async fn the_file_stops_growing_when_retention_lets_go_as_much_as_comes() {
    let folder = folder();
    let all = Limits { count: Some(2000), ..Limits::default() };
    let retention = Retention::of(all);
    let (log, _) = DiskLog::open(folder.path(), Durability::Os, retention, TimeSource::system()).expect("a log");
    let mut sizes = Vec::new();
    for _ in 0..12 {
        log.append(vec![update("a", &"x".repeat(500)); 1000], None).await.expect("room");
        log.sweep().await;
        sizes.push(fs::metadata(folder.path().join(archive::FILE)).expect("a file").len());
    }
    assert_eq!(sizes[6], sizes[11], "{sizes:?}");
    assert_eq!(log.bounds(), Bounds { oldest: Cursor(10_001), newest: Cursor(12_000) });
}

#[tokio::test]
async fn space_is_given_back_when_little_is_left() {
    let folder = folder();
    let now = Arc::new(AtomicI64::new(0));
    let told = now.clone();
    let wall = move || DateTime::from_timestamp_millis(told.load(Ordering::Relaxed)).expect("a time");
    let clock = TimeSource::new(wall, || Duration::ZERO);
    let (log, _) = DiskLog::open(folder.path(), Durability::Os, Retention::unlimited(), clock).expect("a log");
    for _ in 0..80 {
        let soon_past = Update { ttl: Some(Duration::from_secs(1)), ..update("a", &"x".repeat(900_000)) };
        append(&log, soon_past).await.expect("room");
    }
    let kept = append(&log, update("a", "kept")).await.expect("room");
    log.sweep().await;
    let size = || fs::metadata(folder.path().join(archive::FILE)).expect("a file").len();
    let before = size();
    assert!(before > 70_000_000, "it has {before} bytes");
    now.store(10_000, Ordering::Relaxed);
    // The second one begins when all of the first one is over.
    log.sweep().await;
    log.sweep().await;
    assert!(size() < before / 10, "it still has {} of {before} bytes", size());
    assert_eq!(read_all(&log).await, [kept]);
}
