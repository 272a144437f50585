//! The log of a cluster's node.
//!
//! A JetStream stream orders the updates of all nodes. Each node copies it into its own store, and reads from there as from
//! any log. The parts:
//!
//! * `sequencer` publishes appends to the stream;
//! * `follower` copies the stream, and fetches what is missing;
//! * `agreement` detects that the stream has lost acknowledged messages;
//! * `stream` and `connect` are the requests to JetStream and the connection;
//! * `position`, `epochs` and `message` are the meaning of a cursor and the format of a message;
//! * `missing` records what the node lacks, and `control` passes control messages on.

mod agreement;
mod connect;
mod control;
mod epochs;
mod follower;
mod import;
mod message;
mod missing;
mod node;
mod options;
mod pending;
mod position;
mod report;
mod secret;
mod sequencer;
mod status;
mod stream;

use std::sync::{Arc, OnceLock};

use async_nats::Event;
use async_trait::async_trait;
use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tracing::{debug, warn};

pub use control::ControlMessage;
pub use import::import;
pub use options::{ClusterOptions, Credentials};
pub use report::{ClusterReport, NodeReport, ReplicaReport};
pub use secret::ClusterSecret;
pub use status::StreamStatus;

use super::id_cipher::IdCipher;
use super::idempotency::{self, Verdict};
use super::{
    AppendError, Appended, Bounds, Cursor, DiskLog, Entry, IdempotencyKey, Log, LogFigures, MemoryLog, OpenError,
    ReadError, Reader, Retention, Storage, Store, Tail, TimeSource, Topic, TopicFilter, TopicInfo, Update,
};
use connect::Connector;
use control::ControlChannel;
use epochs::Epochs;
use follower::Follower;
use message::{MessageContent, SubmittedUpdate};
use missing::{GapReader, MissingEntries};
use node::Node;
use pending::Pending;
use position::{PER_MESSAGE, StreamPosition};
use sequencer::{Append, Identity, QUEUE, Sequencer};
use status::Status;
use stream::Stream;

/// The log of a cluster's node. Dropping it closes the connection.
pub(super) struct ClusterLog {
    node: Arc<Node>,
    appends: mpsc::Sender<Append>,
    /// Aborted when the log is dropped.
    _parts: JoinSet<()>,
}

impl ClusterLog {
    /// Opens the node's store and starts to connect. Call it within a tokio runtime.
    pub(super) fn open(
        options: ClusterOptions,
        storage: Storage,
        retention: Retention,
        clock: TimeSource,
    ) -> Result<(Self, Tail), OpenError> {
        let disconnected = Arc::new(Notify::new());
        let told = disconnected.clone();
        let connector = Connector::new(&options, move |event| note(&event, &told))?;
        let key = options.secret.key("ids");
        let folder = storage.clone();
        let (store, tail): (Arc<dyn Store>, _) = match storage {
            Storage::Memory => {
                let (log, tail) = MemoryLog::with_key(&key, retention.clone(), clock);
                (log, tail)
            }
            Storage::Disk { folder } => {
                let (log, tail) = DiskLog::open_copy(key, &folder, retention.clone(), clock)?;
                (Arc::new(log), tail)
            }
        };
        let node = Arc::new(Node {
            name: options.node.clone(),
            missing: Arc::new(MissingEntries::open(&folder)?),
            store,
            cipher: IdCipher::new(&key),
            retention,
            status: Status::default(),
            applied: watch::Sender::new(0),
            pending: Pending::default(),
            control: ControlChannel::default(),
            stream: OnceLock::new(),
        });
        let (appends, queue) = mpsc::channel(QUEUE);
        let mut parts = JoinSet::new();
        parts.spawn(run_node(node.clone(), options, connector, disconnected, queue));
        Ok((Self { node, appends, _parts: parts }, tail))
    }

    async fn publish(
        &self,
        updates: Vec<Update>,
        is_system: bool,
        identity: Identity,
    ) -> Result<Appended, AppendError> {
        if updates.is_empty() {
            return Ok(Appended::New(Vec::new()));
        }
        if updates.len() > PER_MESSAGE {
            return Err(AppendError::TooLarge(format!("more than {PER_MESSAGE} updates")));
        }
        let updates = updates.into_iter().map(|update| SubmittedUpdate { update, at: None, is_system }).collect();
        self.submit(MessageContent { updates, notes: Vec::new() }, identity).await
    }

    /// Publishes a message, and waits until this node has copied it from the stream.
    async fn submit(&self, content: MessageContent, identity: Identity) -> Result<Appended, AppendError> {
        self.node.status.takes_updates()?;
        let ended = || AppendError::Failed("this node has left the cluster".into());
        let (reply, answer) = oneshot::channel();
        self.appends.send(Append { content, identity, reply }).await.map_err(|_| ended())?;
        answer.await.map_err(|_| ended())?
    }
}

/// Runs the node until the log is dropped.
async fn run_node(
    node: Arc<Node>,
    options: ClusterOptions,
    connector: Connector,
    disconnected: Arc<Notify>,
    appends: mpsc::Receiver<Append>,
) {
    let client = match connector.connect().await {
        Ok(client) => client,
        Err(error) => return node.status.set_halted(format!("the connection to NATS can't be set up: {error}")),
    };
    let stream = node.stream.get_or_init(|| Stream::new(client, &options, &node.retention)).clone();
    let mut parts = JoinSet::new();
    let follower = Follower { node: node.clone(), stream: stream.clone(), disconnected, epochs: Epochs::default() };
    parts.spawn(follower.run());
    parts.spawn(Sequencer { node, stream, patience: options.patience }.run(appends));
    parts.join_all().await;
}

fn note(event: &Event, disconnected: &Notify) {
    match event {
        Event::Disconnected => disconnected.notify_waiters(),
        Event::ServerError(error) => warn!(%error, "the NATS server refuses something"),
        event => debug!(%event, "the connection to NATS"),
    }
}

/// Compares an append with a key to the entries that have the ids of its updates.
async fn judge(store: &dyn Store, key: IdempotencyKey, updates: &[Update]) -> Result<Verdict, AppendError> {
    let mut found = Vec::with_capacity(updates.len());
    for id in updates.iter().filter_map(|update| update.id.as_ref()) {
        found.push(store.find(id.as_str()).await.map_err(|error| AppendError::Failed(error.to_string()))?);
    }
    key.judge(updates, &found)
}

#[async_trait]
impl Log for ClusterLog {
    async fn append(&self, mut updates: Vec<Update>, key: Option<IdempotencyKey>) -> Result<Appended, AppendError> {
        if let Some(key) = key {
            key.assign_ids(&mut updates);
            // The stream remembers the key for two minutes, the store for as long as it keeps the updates.
            if judge(&*self.node.store, key, &updates).await? == Verdict::Repeated {
                return Ok(Appended::Repeated(idempotency::ids(&updates)));
            }
        }
        self.publish(updates, false, key.map_or(Identity::None, Identity::Key)).await
    }

    async fn append_system(&self, updates: Vec<Update>) -> Result<Vec<Arc<Entry>>, AppendError> {
        let mut entries = Vec::with_capacity(updates.len());
        let mut rest = updates.into_iter();
        loop {
            let part: Vec<_> = rest.by_ref().take(PER_MESSAGE).collect();
            if part.is_empty() {
                return Ok(entries);
            }
            entries.extend(self.publish(part, true, Identity::None).await?.into_entries());
        }
    }

    fn reader(&self, from: Cursor, filter: Arc<dyn TopicFilter>) -> Box<dyn Reader> {
        let Node { store, missing, .. } = &*self.node;
        Box::new(GapReader {
            missing: missing.clone(),
            reader: store.reader(from, filter),
            at: from,
            told: Cursor::START,
        })
    }

    async fn read_before(
        &self,
        cursor: Option<Cursor>,
        filter: &dyn TopicFilter,
        limit: usize,
    ) -> Result<Vec<Arc<Entry>>, ReadError> {
        self.node.store.read_before(cursor, filter, limit).await
    }

    async fn find(&self, id: &str) -> Result<Option<Arc<Entry>>, ReadError> {
        self.node.store.find(id).await
    }

    async fn locate(&self, id: &str) -> Result<Option<Cursor>, ReadError> {
        self.node.store.locate(id).await
    }

    async fn topic(&self, topic: &Topic) -> Result<Option<TopicInfo>, ReadError> {
        self.node.store.topic(topic).await
    }

    async fn topics(&self, after: Option<&Topic>, limit: usize) -> Result<Vec<TopicInfo>, ReadError> {
        self.node.store.topics(after, limit).await
    }

    async fn broadcast(&self, note: String) -> Result<(), AppendError> {
        self.submit(MessageContent { updates: Vec::new(), notes: vec![note] }, Identity::None).await.map(|_| ())
    }

    async fn broadcast_unordered(&self, note: String) -> Result<(), AppendError> {
        let away = || AppendError::Unavailable("the connection to the NATS servers is not there yet".into());
        self.node.stream.get().ok_or_else(away)?.broadcast(note).await
    }

    fn control_messages(&self) -> Option<mpsc::Receiver<ControlMessage>> {
        self.node.control.take()
    }

    async fn claim(&self, name: &str) -> Result<bool, AppendError> {
        let claimed = self.submit(MessageContent::default(), Identity::Claim(name.into())).await?;
        Ok(matches!(claimed, Appended::New(_)))
    }

    fn health(&self) -> Result<(), AppendError> {
        self.node.status.takes_updates()?;
        self.node.store.health()
    }

    async fn answers(&self) -> Result<(), AppendError> {
        self.node.store.answers().await
    }

    fn figures(&self) -> LogFigures {
        self.node.store.figures()
    }

    fn stream(&self) -> Option<StreamStatus> {
        Some(self.node.status.stream())
    }

    fn bounds(&self) -> Bounds {
        self.node.store.bounds()
    }

    /// Counts messages, most of which have one update.
    fn distance(&self, from: Cursor, to: Cursor) -> u64 {
        StreamPosition::of(to).sequence.saturating_sub(StreamPosition::of(from).sequence)
    }

    async fn sweep(&self) {
        self.node.store.sweep().await;
    }
}
