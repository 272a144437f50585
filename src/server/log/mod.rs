//! Order and durability: the ordered, durable record of updates.
//!
//! The log gives every update one place, a [`Cursor`], in one hub-wide order. It knows no HTTP and no
//! subscriber: the hub reads from it and follows its tail.

mod disk;
mod entry;
mod memory;
mod options;
mod page;
mod seal;
mod update;

use std::sync::Arc;

use async_trait::async_trait;
use thiserror::Error;
use tokio::sync::mpsc;

pub use disk::{DiskLog, maintenance};
pub use entry::{Cursor, Entry};
pub use memory::MemoryLog;
pub use options::{
    Allowance, Clock, Durability, Limits, LogOptions, OpenError, Retention, Size, Storage, TopicLimits, TopicPattern,
};
pub use page::{Notes, Page, PageSize};
pub use update::{Field, FieldError, Topic, Update};

/// The ordered, durable record of updates.
///
/// The same contract holds for every backend; `tests/log_contract.rs` runs it on each.
#[async_trait]
pub trait Log: Send + Sync + 'static {
    /// Appends an update and answers its entry once it is durable. Concurrent appends keep the order
    /// in which they are answered and share the work that makes them durable.
    async fn append(&self, update: Update) -> Result<Arc<Entry>, AppendError>;

    /// Appends updates one after the other, all or none, and answers when they are durable: one flush
    /// serves them all.
    async fn append_all(&self, updates: Vec<Update>) -> Result<Vec<Arc<Entry>>, AppendError>;

    /// The next entries after `cursor` that the filter wants, oldest first, as many as a page of this size holds.
    /// There may be none of them on a page that says that there may be more: the log looks at so many at once.
    async fn read_after(
        &self,
        cursor: Cursor,
        filter: &dyn TopicFilter,
        size: PageSize,
        notes: &mut Notes,
    ) -> Result<Page, ReadError>;

    /// Whether retention has removed entries after `cursor` which the filter would have wanted, as the first page
    /// after it says.
    async fn has_lost(&self, cursor: Cursor, filter: &dyn TopicFilter) -> Result<bool, ReadError>;

    /// The entries before `cursor` (or the newest) that the filter wants, newest first, at most `limit`.
    async fn read_before(
        &self,
        cursor: Option<Cursor>,
        filter: &dyn TopicFilter,
        limit: usize,
    ) -> Result<Vec<Arc<Entry>>, ReadError>;

    /// The earliest kept entry with this id, found by index.
    async fn find(&self, id: &str) -> Result<Option<Arc<Entry>>, ReadError>;

    /// The place to read on from for a client that has seen this id: that of [`Log::find`]'s entry. An id
    /// that the log has made leads there even when its entry is no longer kept.
    async fn locate(&self, id: &str) -> Result<Option<Cursor>, ReadError>;

    /// What the log holds now.
    fn bounds(&self) -> Bounds;

    /// Applies retention now and waits for it, instead of soon and in the background.
    async fn sweep(&self);
}

/// New entries in order, each after it is durable. A backend gives it when it is opened, to its one
/// reader, the hub. A reader that doesn't keep up holds appends back.
pub type Tail = mpsc::Receiver<Arc<Entry>>;

/// How many entries may wait for the reader of the tail before appends wait for it.
const TAIL_CAPACITY: usize = 1024;

/// Opens a log; gives its tail too.
pub fn open(options: LogOptions) -> Result<(Arc<dyn Log>, Tail), OpenError> {
    let LogOptions { storage, durability, retention, clock } = options;
    Ok(match storage {
        Storage::Memory => {
            let (log, tail) = MemoryLog::with(retention, clock);
            (log, tail)
        }
        Storage::Disk { folder } => {
            let (log, tail) = DiskLog::open(&folder, durability, retention, clock)?;
            (Arc::new(log), tail)
        }
    })
}

/// Which topics a reader wants.
pub trait TopicFilter: Send + Sync {
    /// Whether an update on this topic is wanted. Gives the same answer every time.
    fn wants(&self, topic: &str) -> bool;

    /// All topics that are wanted, where they can be listed: a backend reads these by index.
    fn exact(&self) -> Option<&[Topic]>;
}

/// The oldest and the newest place in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// The oldest kept entry's cursor; one above `newest` when nothing is kept.
    pub oldest: Cursor,
    /// The newest entry's cursor; [`Cursor::START`] before the first append.
    pub newest: Cursor,
}

/// Why an update was not appended. Nothing of it is kept.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum AppendError {
    /// There is no room to make it durable.
    #[error("the log is full: {0}")]
    Full(String),
    /// The backend failed, or has been closed.
    #[error("the log failed: {0}")]
    Failed(String),
}

/// Why the log could not be read.
#[derive(Debug, Error)]
#[error("the log could not be read: {0}")]
pub struct ReadError(pub String);
