//! What can be done with a log whose server is stopped: count it, write it out, read it in, make its file
//! small. Each takes the log's lock, so none disturbs a server that runs.

use std::fs;
use std::io::{self, BufRead, Write};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::archive::{self, LogKind, Opened};
use super::failure::Failure;
use super::lock::FolderLock;
use super::snapshot::{Look, Snapshot};
use super::topic_directory::TopicDirectory;
use super::{DiskLog, Durability};
use crate::server::log::page::PageBudget;
use crate::server::log::{
    AppendError, Cursor, Entry, Field, Log, OpenError, Page, PageSize, Retention, Size, TimeSource, Topic, Update,
};

/// How many updates are written out, or read in, in one go.
const BATCH: usize = 1000;
/// A batch with this many bytes is full, however few updates they are.
const BATCH_BYTES: usize = 1 << 20;

/// Why it could not be done.
#[derive(Debug, Error)]
pub enum MaintenanceError {
    /// There is no log.
    #[error("there is no log in {0}: name the folder that holds log.redb")]
    Missing(String),
    /// It can't be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// It can't be read.
    #[error("the log could not be read: {0}")]
    Read(String),
    /// It can't be written.
    #[error(transparent)]
    Append(#[from] AppendError),
    /// Standard input or output failed.
    #[error("reading or writing the updates failed: {0}")]
    Stream(#[from] io::Error),
    /// A line is not an exported update.
    #[error("line {line} is not an exported update: {reason}. The first {imported} updates are in the log, no others")]
    Line {
        /// Which one, from 1.
        line: u64,
        /// What is wrong with it.
        reason: String,
        /// How many updates of the lines before it are in the log.
        imported: u64,
    },
}

impl From<Failure> for MaintenanceError {
    fn from(failure: Failure) -> Self {
        Self::Read(failure.to_string())
    }
}

/// What a log holds.
#[derive(Debug, Serialize)]
pub struct Stat {
    /// How many updates.
    pub updates: u64,
    /// How many bytes they count for: their frames, ids and topics.
    pub bytes: u64,
    /// How many updates are from the future: the clock was wrong when they were taken, or is now.
    pub future: u64,
    /// How many bytes the log's files have.
    pub file_bytes: u64,
    /// Its oldest update.
    pub oldest: Option<Place>,
    /// Its newest update.
    pub newest: Option<Place>,
    /// Its topics, the one with the most bytes first, without those that only presence is on.
    pub topics: Vec<TopicStat>,
}

/// A place in the log and when its update was taken.
#[derive(Debug, Serialize)]
pub struct Place {
    /// The place.
    pub cursor: u64,
    /// The event id there.
    pub id: String,
    /// When the log took it.
    pub at: DateTime<Utc>,
}

/// What a log holds on one topic.
#[derive(Debug, Serialize)]
pub struct TopicStat {
    /// The topic.
    pub topic: String,
    /// How many updates. One on several topics counts on each.
    pub updates: u64,
    /// How many bytes they have.
    pub bytes: u64,
}

/// One update, as a line of JSON.
#[derive(Debug, Serialize, Deserialize)]
struct Line {
    id: String,
    topics: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    event: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    retry: Option<u64>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    private: bool,
    at: DateTime<Utc>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    expires_at: Option<DateTime<Utc>>,
    data: String,
}

/// Counts what the log in a folder holds.
pub fn stat(folder: &Path) -> Result<Stat, MaintenanceError> {
    let (opened, _lock) = settled(folder)?;
    let directory = TopicDirectory::of(&opened.topics, &opened.totals);
    let snapshot = Snapshot::begin(&opened.database)?;
    let Size { count: updates, bytes } = opened.totals.size();
    let place = |entry: Arc<Entry>| Place { cursor: entry.cursor.0, id: entry.id.to_string(), at: entry.at };
    let mut topics: Vec<_> = opened
        .topics
        .into_iter()
        .map(|(_, row)| TopicStat { topic: row.name, updates: row.count, bytes: row.bytes })
        .collect();
    topics.sort_by(|one, other| (other.bytes, &one.topic).cmp(&(one.bytes, &other.topic)));
    let last = snapshot.window_until(Cursor(u64::MAX), Look::at_all(1, usize::MAX))?;
    Ok(Stat {
        updates,
        bytes,
        file_bytes: file_bytes(folder)?,
        oldest: opened.oldest.map(|oldest| snapshot.get(oldest, &directory)).transpose()?.flatten().map(place),
        future: in_future(&snapshot, opened.totals.latest_at, Utc::now())?,
        newest: last.places.first().map(|seen| snapshot.get(seen.cursor, &directory)).transpose()?.flatten().map(place),
        topics,
    })
}

/// Writes every update of the log in a folder out, oldest first, each a line of JSON; tells `progress`
/// how many from time to time, and answers how many.
pub fn export(folder: &Path, mut out: impl Write, mut progress: impl FnMut(u64)) -> Result<u64, MaintenanceError> {
    let (opened, _lock) = settled(folder)?;
    let directory = TopicDirectory::of(&opened.topics, &opened.totals);
    let snapshot = Snapshot::begin(&opened.database)?;
    let now = Utc::now();
    let (mut at, mut exported) = (Cursor::START, 0);
    loop {
        let window = snapshot.window_from(at.next(), Look::at_all(BATCH, BATCH_BYTES))?;
        let Some(last) = window.last else { break };
        at = last;
        let cursors: Vec<_> = window.places.iter().map(|seen| seen.cursor).collect();
        let mut page = Page { entries: Vec::new(), next: at, more: true, gap: false };
        let mut budget = PageBudget::new(PageSize { entries: usize::MAX, bytes: usize::MAX });
        snapshot.fetch(&cursors, &directory, now, &mut budget, &mut page)?;
        for entry in &page.entries {
            serde_json::to_writer(&mut out, &line(entry)).map_err(io::Error::from)?;
            out.write_all(b"\n")?;
            exported += 1;
        }
        progress(exported);
    }
    out.flush()?;
    Ok(exported)
}

/// Appends exported updates to the log in a folder, which is made where there is none. They keep their
/// ids and times, and get new places. Expired updates are left out. Retention applies when the
/// server starts.
pub fn import(folder: &Path, input: impl BufRead, progress: impl FnMut(u64)) -> Result<u64, MaintenanceError> {
    // Each batch is in the journal when it is answered; an import that a power cut ends is begun anew.
    let (log, tail) = DiskLog::open(folder, Durability::Os, Retention::unlimited(), TimeSource::system())?;
    drop(tail);
    let runtime = runtime()?;
    let imported = import_lines(input, progress, |batch| {
        runtime.block_on(log.append_taken(batch)).map(|entries| entries.len() as u64)
    })?;
    runtime.block_on(log.sweep());
    Ok(imported)
}

/// Reads exported updates that have not expired, and appends them in batches. Returns how many there are.
pub(in crate::server::log) fn import_lines(
    input: impl BufRead,
    mut progress: impl FnMut(u64),
    mut append: impl FnMut(Vec<(Update, DateTime<Utc>)>) -> Result<u64, AppendError>,
) -> Result<u64, MaintenanceError> {
    let now = Utc::now();
    let (mut imported, mut batch, mut bytes) = (0, Vec::new(), 0);
    let mut lines = input.lines().zip(1..).peekable();
    while let Some((text, number)) = lines.next() {
        let text = text?;
        let bad = |reason| MaintenanceError::Line { line: number, reason, imported };
        if !text.trim().is_empty() {
            let line: Line = serde_json::from_str(&text).map_err(|error| bad(error.to_string()))?;
            let at = line.at;
            let update = update(line).map_err(bad)?;
            if update.ttl.is_none_or(|ttl| at + ttl > now) {
                bytes += text.len();
                batch.push((update, at));
            }
        }
        if batch.len() == BATCH || bytes >= BATCH_BYTES || lines.peek().is_none() {
            bytes = 0;
            imported += append(std::mem::take(&mut batch))?;
            progress(imported);
        }
    }
    Ok(imported)
}

/// Makes the log's file as small as its content allows; answers its bytes before and after.
pub fn compact(folder: &Path) -> Result<(u64, u64), MaintenanceError> {
    let (mut opened, _lock) = settled(folder)?;
    let before = file_bytes(folder)?;
    opened.database.compact().map_err(|error| MaintenanceError::Read(error.to_string()))?;
    drop(opened);
    Ok((before, file_bytes(folder)?))
}

/// The archive with everything in it that the journal held. The folder is locked until the lock is dropped.
fn settled(folder: &Path) -> Result<(Opened, Arc<FolderLock>), MaintenanceError> {
    let file = folder.join(archive::FILE);
    if !file.exists() {
        return Err(MaintenanceError::Missing(folder.display().to_string()));
    }
    let clock = TimeSource::system();
    let (log, tail) = DiskLog::open_as(LogKind::Any, folder, Durability::Fsync, Retention::unlimited(), clock)?;
    drop(tail);
    let lock = log.lock.clone();
    drop(log);
    Ok((archive::open(file)?, lock))
}

/// How many entries are from the future. Only where there may be some is the log looked through.
fn in_future(snapshot: &Snapshot, latest_at: i64, now: DateTime<Utc>) -> Result<u64, Failure> {
    if latest_at <= now.timestamp_millis() { Ok(0) } else { snapshot.count_after(now) }
}

fn line(entry: &Entry) -> Line {
    Line {
        id: entry.id.to_string(),
        topics: entry.topics.iter().map(Topic::to_string).collect(),
        event: entry.event().map(str::to_owned),
        retry: entry.retry(),
        private: entry.private,
        at: entry.at,
        expires_at: entry.expires_at,
        data: entry.data().into_owned(),
    }
}

fn update(line: Line) -> Result<Update, String> {
    let topics: Result<Vec<_>, _> = line.topics.iter().map(|topic| Topic::parse(topic)).collect();
    let topics = topics.map_err(|error| format!("a topic: {error}"))?;
    if topics.is_empty() {
        return Err("it has no topic".into());
    }
    let event = line.event.as_deref().map(Field::parse).transpose().map_err(|error| format!("the event: {error}"))?;
    Ok(Update {
        topics,
        data: line.data,
        id: Some(Field::parse(&line.id).map_err(|error| format!("the id: {error}"))?),
        event,
        retry: line.retry,
        private: line.private,
        ttl: line.expires_at.map(|at| (at - line.at).to_std().unwrap_or(Duration::ZERO)),
    })
}

fn runtime() -> io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().build()
}

pub(super) fn file_bytes(folder: &Path) -> io::Result<u64> {
    fs::read_dir(folder)?.map(|file| Ok(file?.metadata()?.len())).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINES: &str = concat!(
        r#"{"id":"1","topics":["a","b"],"event":"news","retry":2000,"private":true,"at":"2024-01-02T03:04:05.678Z","data":"one\ntwo"}"#,
        "\n",
        r#"{"id":"2","topics":["a"],"at":"2024-01-02T03:04:06Z","data":""}"#,
        "\n",
        r#"{"id":"2","topics":["a"],"at":"2024-01-02T03:04:07Z","expires_at":"2999-01-01T00:00:00Z","data":"kept for long"}"#,
        "\n",
    );
    const EXPIRED: &str =
        r#"{"id":"3","topics":["a"],"at":"2024-01-02T03:04:08Z","expires_at":"2024-01-03T00:00:00Z","data":"past"}"#;

    fn exported(folder: &Path) -> String {
        let mut out = Vec::new();
        export(folder, &mut out, |_| ()).expect("an export");
        String::from_utf8(out).expect("text")
    }

    #[test]
    fn what_is_exported_is_what_was_imported() {
        let folder = tempfile::tempdir().expect("a folder");
        let input = format!("{LINES}\n{EXPIRED}\n");
        assert_eq!(import(folder.path(), input.as_bytes(), |_| ()).expect("an import"), 3);
        assert_eq!(exported(folder.path()), LINES);

        let stat = stat(folder.path()).expect("a count");
        assert_eq!((stat.updates, stat.topics.len()), (3, 2));
        assert_eq!(stat.oldest.map(|place| (place.cursor, place.id)), Some((1, "1".into())));
        assert_eq!(stat.newest.map(|place| (place.cursor, place.id)), Some((3, "2".into())));
        assert_eq!((&*stat.topics[0].topic, stat.topics[0].updates), ("a", 3));
    }

    #[test]
    fn an_import_holds_a_few_updates_at_a_time_however_large_they_are() {
        let folder = tempfile::tempdir().expect("a folder");
        let line = |n: usize| {
            let data = "x".repeat(BATCH_BYTES / 3);
            format!("{{\"id\":\"{n}\",\"topics\":[\"a\"],\"at\":\"2024-01-02T03:04:06Z\",\"data\":\"{data}\"}}\n")
        };
        let input: String = (0..30).map(line).collect();
        let mut steps = vec![0];
        assert_eq!(import(folder.path(), input.as_bytes(), |count| steps.push(count)).expect("an import"), 30);
        assert!(steps.windows(2).all(|pair| pair[1] - pair[0] <= 3), "{steps:?}");
        assert_eq!(exported(folder.path()), input);
    }

    #[test]
    fn a_line_that_is_no_update_is_named() {
        for bad in ["{}", "nonsense", r#"{"id":"1","topics":[],"at":"2024-01-02T03:04:06Z","data":""}"#] {
            let folder = tempfile::tempdir().expect("a folder");
            let refusal = import(folder.path(), format!("{LINES}{bad}").as_bytes(), |_| ()).expect_err("a refusal");
            assert!(refusal.to_string().starts_with("line 4 is not an exported update"), "{refusal}");
        }
    }

    #[test]
    fn a_compacted_log_holds_the_same() {
        let folder = tempfile::tempdir().expect("a folder");
        import(folder.path(), LINES.as_bytes(), |_| ()).expect("an import");
        let (before, after) = compact(folder.path()).expect("a smaller file");
        assert!(after <= before);
        assert_eq!(exported(folder.path()), LINES);
    }

    #[test]
    fn a_folder_without_a_log_stays_without_one() {
        let folder = tempfile::tempdir().expect("a folder");
        assert!(matches!(stat(folder.path()), Err(MaintenanceError::Missing(_))));
        assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 0);
    }
}
