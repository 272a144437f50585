//! Order and durability: the ordered, durable record of updates.
//!
//! The log gives every update one place, a [`Cursor`], in one hub-wide order. It knows no HTTP and no
//! subscriber: the hub reads from it and follows its tail.

mod clock;
mod cluster;
mod disk;
mod entry;
mod error;
mod filter;
mod id_cipher;
mod idempotency;
mod memory;
mod options;
mod page;
mod place;
mod tail;
mod update;
mod verdicts;

use std::sync::Arc;

use async_trait::async_trait;
pub use clock::{Clock, TimeSource};
use cluster::ClusterLog;
pub use cluster::import as import_into_cluster;
pub use cluster::{
    ClusterOptions, ClusterReport, ClusterSecret, ControlMessage, Credentials, NodeReport, ReplicaReport, StreamStatus,
};
pub use disk::{DiskLog, maintenance};
pub use entry::{Cursor, Entry, Lane};
pub use error::{AppendError, OpenError, ReadError};
pub use filter::Everything;
pub use idempotency::IdempotencyKey;
pub use memory::MemoryLog;
pub use options::{Durability, Limits, LogOptions, Quota, Retention, Size, Storage, TopicLimits, TopicPattern};
pub use page::{Page, PageSize, Reader};
pub use tail::Tail;
use tokio::sync::mpsc;
pub use update::{Field, FieldError, Topic, Update};

/// The ordered, durable record of updates.
///
/// The same contract holds for every backend; `tests/log_contract.rs` runs it on each.
#[async_trait]
pub trait Log: Send + Sync + 'static {
    /// Appends updates one after the other, all or none, and answers when they are durable. Concurrent appends keep
    /// the order in which they are answered and share the flush that makes them durable. Once it is under way it is
    /// finished, even if nobody waits for the answer.
    ///
    /// With a key they are appended once: an append with the same key and the same updates answers
    /// [`Appended::Repeated`] for as long as one of the updates whose id comes from the key is kept, and
    /// [`AppendError::Conflict`] if the updates are others.
    async fn append(&self, updates: Vec<Update>, key: Option<IdempotencyKey>) -> Result<Appended, AppendError>;

    /// Appends the hub's own events, such as presence, one after the other. They share the log's order and have limits of
    /// their own: they never evict an update, and no limit of a topic counts them. They are not flushed, so a crash of the machine may lose them; their cursors
    /// and ids are not given again.
    async fn append_system(&self, updates: Vec<Update>) -> Result<Vec<Arc<Entry>>, AppendError>;

    /// Reads the entries after `from` that the filter wants. It costs nothing until it is asked for a page.
    fn reader(&self, from: Cursor, filter: Arc<dyn TopicFilter>) -> Box<dyn Reader>;

    /// The entries before `cursor` (or the newest) that the filter wants, newest first, at most `limit`.
    async fn read_before(
        &self,
        cursor: Option<Cursor>,
        filter: &dyn TopicFilter,
        limit: usize,
    ) -> Result<Vec<Arc<Entry>>, ReadError>;

    /// The earliest kept entry with this id, found by index.
    async fn find(&self, id: &str) -> Result<Option<Arc<Entry>>, ReadError>;

    /// The cursor to read on from for a client that has seen this id: that of [`Log::find`]'s entry. An id
    /// that the log has made leads to its cursor even when its entry is no longer kept.
    async fn locate(&self, id: &str) -> Result<Option<Cursor>, ReadError>;

    /// What is kept on a topic; `None` if nothing is. The hub's own events don't count.
    async fn topic(&self, topic: &Topic) -> Result<Option<TopicInfo>, ReadError>;

    /// The same for the topics after `after` (or the first ones), in the order of their names, at most `limit`.
    async fn topics(&self, after: Option<&Topic>, limit: usize) -> Result<Vec<TopicInfo>, ReadError>;

    /// Whether the log takes updates; otherwise how it refuses them.
    fn health(&self) -> Result<(), AppendError>;

    /// Waits until everything has been dealt with that was appended before: who takes updates still answers.
    async fn answers(&self) -> Result<(), AppendError> {
        self.append_system(Vec::new()).await.map(|_| ())
    }

    /// Sends a control message to all nodes of the cluster, in the order of the log: each node handles it before it reads
    /// later updates. Does nothing outside a cluster.
    async fn broadcast(&self, _message: String) -> Result<(), AppendError> {
        Ok(())
    }

    /// Sends a control message to the nodes that are connected now. It is not stored, and has no place in the log's order.
    async fn broadcast_unordered(&self, _message: String) -> Result<(), AppendError> {
        Ok(())
    }

    /// The control messages of all nodes, this one included. `None` outside a cluster, and for all callers but the first.
    fn control_messages(&self) -> Option<mpsc::Receiver<ControlMessage>> {
        None
    }

    /// Claims a name. Returns whether no other node has claimed it in the last two minutes. Outside a cluster it returns
    /// `true`: the caller has to remember its own claims.
    async fn claim(&self, _name: &str) -> Result<bool, AppendError> {
        Ok(true)
    }

    /// How much the log holds. It may wait for the disk.
    fn figures(&self) -> LogFigures;

    /// The status of the stream that orders the cluster's log; `None` outside a cluster.
    fn stream(&self) -> Option<StreamStatus> {
        None
    }

    /// What the log holds now.
    fn bounds(&self) -> Bounds;

    /// The approximate number of entries between two cursors.
    fn distance(&self, from: Cursor, to: Cursor) -> u64 {
        to.0.saturating_sub(from.0)
    }

    /// Applies retention now and waits for it, instead of soon and in the background.
    async fn sweep(&self);
}

/// A log that stores entries at cursors that a cluster's stream has assigned.
#[async_trait]
trait Store: Log {
    /// Stores entries, which are in order, and returns them once they are readable. Skips entries up to the newest cursor,
    /// which it already has. They need not be durable: the stream is.
    async fn keep(&self, entries: Vec<Entry>) -> Result<Vec<Arc<Entry>>, AppendError>;
}

/// Opens a log; gives its tail too. Call it within a tokio runtime if it is of a cluster.
pub fn open(options: LogOptions) -> Result<(Arc<dyn Log>, Tail), OpenError> {
    let LogOptions { storage, durability, retention, clock, cluster } = options;
    if let Some(cluster) = cluster {
        let (log, tail) = ClusterLog::open(cluster, storage, retention, clock)?;
        return Ok((Arc::new(log), tail));
    }
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

    /// Whether private updates are wanted. Where they are not, the log need not look at them; it may still give some.
    fn wants_private(&self) -> bool {
        true
    }

    /// Whether the hub's own events are wanted ([`Log::append_system`]). The log has no index of their topics: where they
    /// are not wanted, it need not look at them. It may still give some.
    fn wants_system(&self) -> bool {
        true
    }
}

/// What a log keeps on a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicInfo {
    /// The topic.
    pub topic: Topic,
    /// How many updates. One on several topics counts on each.
    pub updates: u64,
    /// How many bytes they count for.
    pub bytes: u64,
    /// Where the newest of them is.
    pub newest: Cursor,
}

/// What an append has done.
#[derive(Clone, Debug)]
pub enum Appended {
    /// The updates have got their places, in this order.
    New(Vec<Arc<Entry>>),
    /// An earlier append with the same key has got them theirs: these are the updates' ids, in this order.
    Repeated(Vec<Box<str>>),
}

impl Appended {
    /// The updates' ids, in their order.
    pub fn into_ids(self) -> Vec<Box<str>> {
        match self {
            Self::New(entries) => entries.iter().map(|entry| entry.id.clone()).collect(),
            Self::Repeated(ids) => ids,
        }
    }

    /// The entries that this append has made: none if it was a repeat.
    pub fn into_entries(self) -> Vec<Arc<Entry>> {
        match self {
            Self::New(entries) => entries,
            Self::Repeated(_) => Vec::new(),
        }
    }
}

/// How much a log holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogFigures {
    /// Updates.
    pub updates: Size,
    /// The hub's own events.
    pub system: Size,
    /// Bytes of its files.
    pub file_bytes: u64,
    /// Bytes of entries that are durable, and not yet where they will stay.
    pub waiting_bytes: u64,
    /// Bytes that are free on its disk; `None` if that can't be told.
    pub free_bytes: Option<u64>,
}

/// The oldest and the newest place in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// The oldest kept entry's cursor; one above `newest` when nothing is kept.
    pub oldest: Cursor,
    /// The newest entry's cursor; [`Cursor::START`] before the first append.
    pub newest: Cursor,
}
