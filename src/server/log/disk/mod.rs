//! The log on disk.
//!
//! Two things hold it. The *journal* takes each batch of new entries with one write and one flush: with
//! that they are durable, acknowledged and delivered. The *archive*, a redb file, takes them over in the
//! background within about a second, with its indexes, and evicts what retention says; until it has
//! them they are in memory too, so every read sees all of them. Three parties, each in its own file:
//!
//! * `writer`: the sequencer. Gives entries their order, writes the journal, tells the tail and the publishers;
//! * `archiver`: all writing to the archive; opens it again after a failure;
//! * `read`: pages from memory or through a snapshot of the archive, on threads that may wait.
//!
//! A folder holds `lock`, `log.redb`, `journal-0` and `journal-1`, and belongs to one process at a time.

mod archive;
mod archive_reads;
mod archiver;
mod changes;
mod codec;
mod failure;
mod filtered;
mod journal;
mod lock;
pub mod maintenance;
mod migrate;
mod part;
mod read;
mod read_state;
mod reader;
mod retention;
mod schema;
mod signals;
mod snapshot;
mod system;
#[cfg(test)]
mod tests;
mod topic_directory;
mod topics;
mod troubles;
mod unarchived;
mod writer;

use std::io;
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use redb::Database;
use tokio::sync::{Notify, Semaphore, mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::id_cipher::{IdCipher, IdKey};
use super::idempotency::{self, Verdict};
use super::tail::tail;
use super::{
    AppendError, Appended, Bounds, Cursor, Durability, Entry, IdempotencyKey, Lane, Log, LogFigures, OpenError,
    ReadError, Reader, Retention, Store, Tail, TimeSource, Topic, TopicFilter, TopicInfo, Update,
};
use archive::LogKind;
use archiver::Archiver;
use journal::Journal;
use lock::FolderLock;
use part::Part;
use reader::DiskReader;
use schema::Totals;
use signals::ArchiverSignals;
use topic_directory::TopicDirectory;
use troubles::Troubles;
use unarchived::Unarchived;
use writer::{CheckedKey, Submission, SubmissionContent, Writer};

/// The archive takes entries over at once when this many bytes of them wait.
const ARCHIVE_BYTES: usize = 4 << 20;
/// The archive takes entries over at once when this many wait.
const ARCHIVE_ENTRIES: usize = 16 * 1024;

/// How many reads of the archive are under way at a time. Each holds what it has read until its reader takes it, and
/// a thread: a thousand at once read no faster than a few.
const READERS: usize = 32;

/// How many filters are asked about topics at a time: half of the cores are left to those who publish and listen.
fn askers() -> usize {
    std::thread::available_parallelism().map_or(1, NonZero::get).div_ceil(2)
}

/// How long the log may take to close. Everything acknowledged is in the journal by then: what is cut off is found there
/// at the next start.
const CLOSE_WITHIN: Duration = Duration::from_secs(20);

/// A log on disk. Dropping it puts everything into the archive, closes it and waits for that, within limits.
pub struct DiskLog {
    shared: Arc<Shared>,
    submissions: Option<mpsc::Sender<Submission>>,
    closing: CancellationToken,
    close_within: Duration,
    writer: Option<Part>,
    archiver: Option<Part>,
    /// The threads have it too: one that is left behind keeps the folder.
    lock: Arc<FolderLock>,
}

/// What writer, archiver and readers share.
struct Shared {
    cipher: IdCipher,
    clock: TimeSource,
    retention: Retention,
    unarchived: Mutex<Unarchived>,
    topics: TopicDirectory,
    /// `None` while it is being opened again, and once the log is closed.
    database: RwLock<Option<Database>>,
    /// The reads of the archive that may be under way at a time.
    readers: Arc<Semaphore>,
    /// The readers whose filters may be asked at a time.
    asking: Semaphore,
    troubles: Troubles,
    /// Cursors up to here may be given to entries that are never flushed.
    reserved: AtomicU64,
    folder: PathBuf,
    /// What the archive holds.
    totals: Mutex<Totals>,
    /// Told when the journal may have room again; the writer alone waits for it.
    archive_moved: Notify,
    archiver: ArchiverSignals,
}

impl DiskLog {
    /// Opens the log in a folder, and makes it where there is none; gives its tail too.
    pub fn open(
        folder: &Path,
        durability: Durability,
        retention: Retention,
        clock: TimeSource,
    ) -> Result<(Self, Tail), OpenError> {
        Self::open_as(LogKind::Own, folder, durability, retention, clock)
    }

    /// Opens a node's copy of a cluster's log, whose ids are encrypted with this key.
    pub(super) fn open_copy(
        key: IdKey,
        folder: &Path,
        retention: Retention,
        clock: TimeSource,
    ) -> Result<(Self, Tail), OpenError> {
        Self::open_as(LogKind::Copy(key), folder, Durability::Os, retention, clock)
    }

    fn open_as(
        kind: LogKind,
        folder: &Path,
        durability: Durability,
        retention: Retention,
        clock: TimeSource,
    ) -> Result<(Self, Tail), OpenError> {
        std::fs::create_dir_all(folder).map_err(|error| unusable(folder, error))?;
        let lock = Arc::new(FolderLock::acquire(folder)?);
        let path = folder.join(archive::FILE);
        let mut opened = archive::open(path.clone())?;
        let bytes = std::fs::metadata(&path).map_or(0, |file| file.len());
        if archive::is_wasteful(bytes, opened.totals.size().bytes) {
            info!(bytes, "making the log's file smaller");
            if let Err(error) = opened.database.compact() {
                warn!(%error, "the log's file could not be made smaller");
                drop(opened);
                opened = archive::open(path)?;
            }
        }
        let (journal, recovered) = Journal::open(folder, durability, opened.totals.newest)?;
        if !recovered.entries.is_empty() {
            let updates = recovered.entries.len();
            info!(updates, "taken over from the journal: the log was not closed cleanly");
        }
        opened.take_as(kind, folder, recovered.entries.is_empty())?;
        warn_of_future(&opened.totals, &recovered.entries, clock.now());
        let last = recovered.entries.last().map_or(opened.totals.newest, |entry| entry.cursor);
        let newest = last.max(opened.totals.reserved).max(recovered.reserved);
        let cipher = IdCipher::new(&opened.key);
        let mut unarchived = Unarchived::new(opened.totals.newest, opened.oldest, newest);
        for entry in recovered.entries {
            let id_given = !cipher.has_made(&entry.id, entry.cursor);
            unarchived.push(entry, id_given);
        }
        let shared = Arc::new(Shared {
            cipher,
            clock,
            retention,
            unarchived: Mutex::new(unarchived),
            topics: TopicDirectory::of(&opened.topics, &opened.totals),
            database: RwLock::new(Some(opened.database)),
            readers: Arc::new(Semaphore::new(READERS)),
            asking: Semaphore::new(askers()),
            troubles: Troubles::default(),
            reserved: AtomicU64::new(newest.0),
            folder: folder.into(),
            totals: Mutex::new(opened.totals),
            archive_moved: Notify::new(),
            archiver: ArchiverSignals::default(),
        });

        let closing = CancellationToken::new();
        let (tail, tail_reader) = tail();
        let (submissions, queue) = mpsc::channel(writer::QUEUE);
        let writer = Writer {
            shared: shared.clone(),
            journal,
            durability,
            newest,
            last,
            reserved: Cursor::START,
            is_copy: opened.is_copy,
            tail,
            closing: closing.clone(),
            refusing: false,
            broken: None,
        };
        let archiver = Archiver::new(shared.clone(), folder.into(), opened.totals, &opened.topics);
        let failed = |error| unusable(folder, error);
        // The writer waits for queues and for room, never for sockets or time: no driver is needed.
        let runtime = tokio::runtime::Builder::new_current_thread().build().map_err(failed)?;
        let writer = Part::spawn("log-writer", &shared, &lock, move || runtime.block_on(writer.run(queue)));
        let archiver = Part::spawn("log-archiver", &shared, &lock, || archiver.run());
        let log = Self {
            shared,
            submissions: Some(submissions),
            closing,
            close_within: CLOSE_WITHIN,
            writer: Some(writer.map_err(failed)?),
            archiver: Some(archiver.map_err(failed)?),
            lock,
        };
        Ok((log, tail_reader))
    }

    /// Appends updates as [`Log::append`] does, each as if it had been taken at the time beside it.
    async fn append_taken(&self, updates: Vec<(Update, DateTime<Utc>)>) -> Result<Vec<Arc<Entry>>, AppendError> {
        let (updates, taken_at) = updates.into_iter().unzip();
        let content = SubmissionContent::Updates { updates, is_system: false, taken_at: Some(taken_at), key: None };
        Ok(self.submit(content).await?.into_entries())
    }

    async fn submit(&self, content: SubmissionContent) -> Result<Appended, AppendError> {
        let closed = || {
            let ended = self.shared.troubles.first();
            ended.unwrap_or_else(|| AppendError::Failed("it has been closed".into()))
        };
        let (reply, answer) = oneshot::channel();
        let submissions = self.submissions.as_ref().ok_or_else(closed)?;
        submissions.send(Submission { content, reply }).await.map_err(|_| closed())?;
        answer.await.map_err(|_| closed())?
    }
}

#[async_trait]
impl Log for DiskLog {
    async fn append(&self, mut updates: Vec<Update>, key: Option<IdempotencyKey>) -> Result<Appended, AppendError> {
        let checked = match key {
            None => None,
            Some(key) => {
                key.assign_ids(&mut updates);
                // Looked for here, the archive's part of the answer holds no other publisher up. The writer looks at
                // what has come since.
                let ids: Arc<[Box<str>]> = idempotency::ids(&updates).into();
                let found = self.shared.find_all(ids.clone()).await;
                let (found, up_to) = found.map_err(|error| AppendError::Failed(error.to_string()))?;
                if key.judge(&updates, &found)? == Verdict::Repeated {
                    return Ok(Appended::Repeated(ids.to_vec()));
                }
                Some(CheckedKey { key, up_to })
            }
        };
        self.submit(SubmissionContent::Updates { updates, is_system: false, taken_at: None, key: checked }).await
    }

    async fn append_system(&self, updates: Vec<Update>) -> Result<Vec<Arc<Entry>>, AppendError> {
        let content = SubmissionContent::Updates { updates, is_system: true, taken_at: None, key: None };
        Ok(self.submit(content).await?.into_entries())
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
        let begun = Instant::now();
        loop {
            let entries = self.shared.entries_before(cursor, filter, limit).await;
            if !self.shared.must_begin_again(&entries, begun).await {
                return Ok(entries?);
            }
        }
    }

    async fn find(&self, id: &str) -> Result<Option<Arc<Entry>>, ReadError> {
        Ok(self.shared.find(id).await?)
    }

    async fn locate(&self, id: &str) -> Result<Option<Cursor>, ReadError> {
        match self.find(id).await? {
            Some(entry) => Ok(Some(entry.cursor)),
            None => Ok(self.shared.cipher.decrypt(id).filter(|cursor| *cursor <= self.bounds().newest)),
        }
    }

    async fn topic(&self, topic: &Topic) -> Result<Option<TopicInfo>, ReadError> {
        Ok(self.shared.topic(topic).await?)
    }

    async fn topics(&self, after: Option<&Topic>, limit: usize) -> Result<Vec<TopicInfo>, ReadError> {
        Ok(self.shared.topics_after(after, limit).await?)
    }

    fn bounds(&self) -> Bounds {
        self.shared.unarchived().bounds()
    }

    fn health(&self) -> Result<(), AppendError> {
        self.shared.troubles.first().map_or(Ok(()), Err)
    }

    fn figures(&self) -> LogFigures {
        let mut totals = *self.shared.totals.lock().unwrap_or_else(PoisonError::into_inner);
        let ((updates, system), waiting_bytes) = {
            let unarchived = self.shared.unarchived();
            (unarchived.sizes(), unarchived.bytes)
        };
        let archived = totals.lane(Lane::Main).and(*totals.lane(Lane::Quota));
        LogFigures {
            updates: archived.and(updates),
            system: totals.lane(Lane::System).and(system),
            file_bytes: maintenance::file_bytes(&self.shared.folder).unwrap_or(0),
            waiting_bytes: waiting_bytes as u64,
            free_bytes: free_bytes(&self.shared.folder),
        }
    }

    async fn sweep(&self) {
        let (done, swept) = oneshot::channel();
        self.shared.archiver.sweep(done);
        let _ = swept.await;
    }
}

#[async_trait]
impl Store for DiskLog {
    async fn keep(&self, entries: Vec<Entry>) -> Result<Vec<Arc<Entry>>, AppendError> {
        Ok(self.submit(SubmissionContent::Entries(entries)).await?.into_entries())
    }
}

impl Shared {
    fn unarchived(&self) -> MutexGuard<'_, Unarchived> {
        self.unarchived.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn reserved(&self) -> Cursor {
        Cursor(self.reserved.load(Ordering::SeqCst))
    }

    /// No cursor up to this one is given again after a crash, once the archive has it.
    fn reserve(&self, up_to: Cursor) {
        self.reserved.fetch_max(up_to.0, Ordering::SeqCst);
    }

    /// Cursors beyond the newest will not be given before the log is opened again.
    fn release_reserved(&self) {
        self.reserved.store(self.unarchived().newest().0, Ordering::SeqCst);
    }

    /// A part of the log has panicked. Nobody may wait for it any more.
    fn part_has_died(&self, name: &str) {
        self.troubles.set_dead(AppendError::Failed(format!("its part {name} has failed: restart the server")));
        self.archiver.die();
        self.archive_moved.notify_one();
    }
}

impl Drop for DiskLog {
    fn drop(&mut self) {
        self.closing.cancel();
        self.submissions = None;
        let deadline = Instant::now() + self.close_within;
        // The writer ends by itself, because there are no more submissions.
        if let Some(writer) = self.writer.take() {
            writer.join(deadline);
        }
        self.shared.archiver.close();
        if let Some(archiver) = self.archiver.take() {
            archiver.join(deadline);
        }
    }
}

/// Says that the log holds updates from the future, which retention by age keeps for longer than it should.
fn warn_of_future(totals: &Totals, recovered: &[Arc<Entry>], now: DateTime<Utc>) {
    let archived = DateTime::from_timestamp_millis(totals.latest_at);
    let latest = archived.into_iter().chain(recovered.iter().map(|entry| entry.at)).max();
    if let Some(latest) = latest.filter(|latest| *latest > now) {
        warn!(%latest, %now, "the log holds updates from the future: check this machine's clock; `tidings log stat` counts them");
    }
}

/// What is left of a disk for this program.
fn free_bytes(folder: &Path) -> Option<u64> {
    let disk = rustix::fs::statvfs(folder).ok()?;
    Some(disk.f_bavail * disk.f_frsize)
}

fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

fn unusable(path: &Path, error: io::Error) -> OpenError {
    if is_full(&error) { OpenError::Full(path.into()) } else { OpenError::NotWritable { path: path.into(), error } }
}
