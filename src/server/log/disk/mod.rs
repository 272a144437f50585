//! The log on disk.
//!
//! Two things hold it. The *journal* takes each batch of new entries with one write and one flush: with
//! that they are durable, acknowledged and delivered. The *archive*, a redb file, takes them over in the
//! background within about a second, with its indexes, and lets go what retention says; until it has
//! them they are in memory too, so every read sees all of them. Three parties, each in its own file:
//!
//! * `writer`: gives entries their order, flushes the journal, tells the tail and the publishers;
//! * `keeper`: all writing to the archive; opens it again after a failure;
//! * `read`: pages from memory or through a snapshot of the archive, on threads that may wait.
//!
//! A folder holds `log.redb`, `journal-0` and `journal-1`, and belongs to one process at a time.

mod archive;
mod codec;
mod filtered;
mod journal;
mod keeper;
pub mod maintenance;
mod names;
mod read;
mod reader;
mod recent;
mod retention;
mod schema;
mod snapshot;
#[cfg(test)]
mod tests;
mod writer;

use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::thread::JoinHandle;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use redb::Database;
use tokio::sync::{Notify, Semaphore, mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tracing::info;

use super::idempotency::Verdict;
use super::seal::Seal;
use super::tail::tail;
use super::{
    AppendError, Appended, Bounds, Clock, Cursor, Durability, Entry, IdempotencyKey, Log, OpenError, ReadError, Reader,
    Retention, Tail, TopicFilter, Update,
};
use journal::Journal;
use keeper::{Bell, Keeper};
use names::Names;
use reader::DiskReader;
use recent::Recent;
use writer::{CheckedKey, Submission, Writer};

/// With so many bytes of frames waiting the archive takes them over at once.
const ARCHIVE_BYTES: usize = 4 << 20;
/// With so many entries waiting the archive takes them over at once.
const ARCHIVE_ENTRIES: u64 = 16 * 1024;

/// How many reads of the archive are under way at a time. Each holds what it has read until its reader takes it, and
/// a thread: a thousand at once read no faster than a few.
const READERS: usize = 32;

/// A log on disk. Dropping it puts everything into the archive, closes it and waits for that.
pub struct DiskLog {
    shared: Arc<Shared>,
    submissions: Option<mpsc::Sender<Submission>>,
    closing: CancellationToken,
    writer: Option<JoinHandle<()>>,
    keeper: Option<JoinHandle<()>>,
}

/// What writer, keeper and readers share.
struct Shared {
    seal: Seal,
    clock: Clock,
    recent: Mutex<Recent>,
    names: Names,
    /// `None` while it is being opened again, and once the log is closed.
    database: RwLock<Option<Database>>,
    /// The reads of the archive that may be under way at a time.
    readers: Arc<Semaphore>,
    trouble: Mutex<Option<AppendError>>,
    /// Told when the journal may have room again; the writer alone waits for it.
    archive_moved: Notify,
    bell: Bell,
}

impl DiskLog {
    /// Opens the log in a folder, and makes it where there is none; gives its tail too.
    pub fn open(
        folder: &Path,
        durability: Durability,
        retention: Retention,
        clock: Clock,
    ) -> Result<(Self, Tail), OpenError> {
        std::fs::create_dir_all(folder).map_err(|error| unusable(folder, error))?;
        let path = folder.join(archive::FILE);
        let mut opened = archive::open(path.clone())?;
        let bytes = std::fs::metadata(&path).map_or(0, |file| file.len());
        if archive::is_wasteful(bytes, opened.totals.bytes) {
            info!(bytes, "making the log's file smaller");
            if let Err(error) = opened.database.compact() {
                tracing::warn!(%error, "the log's file could not be made smaller");
                drop(opened);
                opened = archive::open(path)?;
            }
        }
        let (journal, recovered) = Journal::open(folder, durability, opened.totals.newest)?;
        if !recovered.is_empty() {
            info!(updates = recovered.len(), "taken over from the journal: the log was not closed cleanly");
        }
        let recent = Recent::new(opened.totals.newest, opened.oldest, recovered);
        let newest = recent.newest();
        let names = Names::of(&opened.topics, opened.totals.forgotten);
        let shared = Arc::new(Shared {
            seal: Seal::new(&opened.key),
            clock,
            recent: Mutex::new(recent),
            names,
            database: RwLock::new(Some(opened.database)),
            readers: Arc::new(Semaphore::new(READERS)),
            trouble: Mutex::new(None),
            archive_moved: Notify::new(),
            bell: Bell::default(),
        });

        let closing = CancellationToken::new();
        let (tail, tail_reader) = tail();
        let (submissions, queue) = mpsc::channel(writer::QUEUE);
        let writer = Writer {
            shared: shared.clone(),
            journal,
            newest,
            tail,
            closing: closing.clone(),
            refusing: false,
            broken: None,
        };
        let keeper = Keeper::new(shared.clone(), folder.into(), retention, opened.totals, &opened.topics);
        let failed = |error| unusable(folder, error);
        // The writer waits for queues and for room, never for sockets or time: no driver is needed.
        let runtime = tokio::runtime::Builder::new_current_thread().build().map_err(failed)?;
        let writer = std::thread::Builder::new()
            .name("log-writer".into())
            .spawn(move || runtime.block_on(writer.run(queue)))
            .map_err(failed)?;
        let keeper =
            std::thread::Builder::new().name("log-keeper".into()).spawn(move || keeper.run()).map_err(failed)?;
        let log = Self { shared, submissions: Some(submissions), closing, writer: Some(writer), keeper: Some(keeper) };
        Ok((log, tail_reader))
    }

    /// Appends updates as [`Log::append`] does, each as if it had been taken at the time beside it.
    async fn append_taken(&self, updates: Vec<(Update, DateTime<Utc>)>) -> Result<Vec<Arc<Entry>>, AppendError> {
        let (updates, taken_at) = updates.into_iter().unzip();
        Ok(self.submit(updates, Some(taken_at), None).await?.into_entries())
    }

    async fn submit(
        &self,
        updates: Vec<Update>,
        taken_at: Option<Vec<DateTime<Utc>>>,
        key: Option<CheckedKey>,
    ) -> Result<Appended, AppendError> {
        let closed = || AppendError::Failed("it has been closed".into());
        let (reply, answer) = oneshot::channel();
        let submissions = self.submissions.as_ref().ok_or_else(closed)?;
        submissions.send(Submission { updates, taken_at, key, reply }).await.map_err(|_| closed())?;
        answer.await.map_err(|_| closed())?
    }
}

#[async_trait]
impl Log for DiskLog {
    async fn append(&self, mut updates: Vec<Update>, key: Option<IdempotencyKey>) -> Result<Appended, AppendError> {
        let Some(key) = key else { return self.submit(updates, None, None).await };
        key.assign_ids(&mut updates);
        // Looked for here, the archive's part of the answer holds no other publisher up. The writer looks at the rest.
        let ids: Arc<[Box<str>]> =
            updates.iter().filter_map(|update| update.id.as_ref()).map(|id| id.as_str().into()).collect();
        let found = self.shared.find_all(ids.clone()).await;
        let (found, up_to) = found.map_err(|error| AppendError::Failed(error.to_string()))?;
        match key.judge(&updates, &found)? {
            Verdict::Repeated => Ok(Appended::Repeated(ids.to_vec())),
            Verdict::New => self.submit(updates, None, Some(CheckedKey { key, up_to })).await,
        }
    }

    fn reader(&self, from: Cursor, filter: Arc<dyn TopicFilter>) -> Box<dyn Reader> {
        Box::new(DiskReader::new(self.shared.clone(), from, filter))
    }

    async fn read_before(
        &self,
        cursor: Option<Cursor>,
        filter: &dyn TopicFilter,
        limit: usize,
    ) -> Result<Vec<Arc<Entry>>, ReadError> {
        self.shared.entries_before(cursor, filter, limit).await
    }

    async fn find(&self, id: &str) -> Result<Option<Arc<Entry>>, ReadError> {
        self.shared.find(id).await
    }

    async fn locate(&self, id: &str) -> Result<Option<Cursor>, ReadError> {
        match self.find(id).await? {
            Some(entry) => Ok(Some(entry.cursor)),
            None => Ok(self.shared.seal.open(id).filter(|cursor| *cursor <= self.bounds().newest)),
        }
    }

    fn bounds(&self) -> Bounds {
        self.shared.recent().bounds()
    }

    async fn sweep(&self) {
        let (done, swept) = oneshot::channel();
        self.shared.bell.sweep(done);
        let _ = swept.await;
    }
}

impl Shared {
    fn recent(&self) -> MutexGuard<'_, Recent> {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wake_keeper(&self) {
        self.bell.wake();
    }

    fn trouble(&self) -> Option<AppendError> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set_trouble(&self, trouble: Option<AppendError>) {
        *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = trouble;
    }
}

impl Drop for DiskLog {
    fn drop(&mut self) {
        self.closing.cancel();
        self.submissions = None;
        join(self.writer.take());
        self.shared.bell.close();
        join(self.keeper.take());
    }
}

fn join(thread: Option<JoinHandle<()>>) {
    if thread.is_some_and(|thread| thread.join().is_err()) {
        tracing::error!("a thread of the log has panicked");
    }
}

fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

fn unusable(path: &Path, error: io::Error) -> OpenError {
    if is_full(&error) { OpenError::Full(path.into()) } else { OpenError::NotWritable { path: path.into(), error } }
}
