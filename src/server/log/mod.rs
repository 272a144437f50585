//! Order and durability: the ordered, durable record of updates.
//!
//! The log gives every update one place, a [`Cursor`], in one hub-wide order. It knows no HTTP and no
//! subscriber: the hub reads from it and follows its tail.

mod entry;
mod memory;
mod update;

use std::sync::Arc;

use async_trait::async_trait;
use thiserror::Error;
use tokio::sync::mpsc;

pub use entry::{Cursor, Entry};
pub use memory::MemoryLog;
pub use update::{Field, FieldError, Topic, Update};

/// The ordered, durable record of updates.
///
/// The same contract holds for every backend; `tests/log_contract.rs` runs it on each.
#[async_trait]
pub trait Log: Send + Sync + 'static {
    /// Appends an update and answers its entry once it is durable. Concurrent appends keep the order
    /// in which they are answered and share the work that makes them durable.
    async fn append(&self, update: Update) -> Result<Arc<Entry>, AppendError>;

    /// The next entries after `cursor` that the filter wants, oldest first, at most `limit`.
    async fn read_after(&self, cursor: Cursor, filter: &dyn TopicFilter, limit: usize) -> Result<Page, ReadError>;

    /// The entries before `cursor` (or the newest) that the filter wants, newest first, at most `limit`.
    async fn read_before(
        &self,
        cursor: Option<Cursor>,
        filter: &dyn TopicFilter,
        limit: usize,
    ) -> Result<Vec<Arc<Entry>>, ReadError>;

    /// The earliest kept entry with this id, found by index.
    async fn find(&self, id: &str) -> Result<Option<Arc<Entry>>, ReadError>;

    /// What the log holds now.
    fn bounds(&self) -> Bounds;
}

/// New entries in order, each after it is durable. A backend gives it when it is opened, to its one
/// reader, the hub. A reader that doesn't keep up holds appends back.
pub type Tail = mpsc::Receiver<Arc<Entry>>;

/// How many entries may wait for the reader of the tail before appends wait for it.
const TAIL_CAPACITY: usize = 1024;

/// Which topics a reader wants.
pub trait TopicFilter: Send + Sync {
    /// Whether an update on this topic is wanted. Gives the same answer every time.
    fn wants(&self, topic: &str) -> bool;

    /// All topics that are wanted, where they can be listed: a backend reads these by index.
    fn exact(&self) -> Option<&[Topic]>;
}

/// Some entries of the log, oldest first.
#[derive(Debug)]
pub struct Page {
    /// The entries that were wanted.
    pub entries: Vec<Arc<Entry>>,
    /// Everything up to here has been looked at: read on from it.
    pub next: Cursor,
    /// Whether there may be more.
    pub more: bool,
    /// Whether entries after the cursor that was asked for have been removed by retention.
    pub gap: bool,
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
#[derive(Debug, Error)]
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
