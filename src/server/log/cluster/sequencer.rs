//! The sequencer publishes appends to the stream. It coalesces appends that wait into one message.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout_at};
use uuid::Uuid;

use super::message::{self, MessageContent};
use super::node::Node;
use super::pending::Expected;
use super::position::PER_MESSAGE;
use super::stream::{PublishError, Stream};
use crate::server::log::{AppendError, Appended, Entry, Field, IdempotencyKey, Update, idempotency};

/// Maximum number of appends in the queue. Publishers wait while it is full.
pub(super) const QUEUE: usize = 1024;
/// Maximum number of messages in flight.
const IN_FLIGHT: usize = 8;
/// Maximum bytes of updates that are coalesced into one message.
pub(super) const MESSAGE_BYTES: usize = 128 << 10;
/// Time between two attempts to publish a message.
const RETRY_AFTER: Duration = Duration::from_millis(200);

/// The content of a message, or a part of it, and who waits for it.
pub(super) struct Append {
    pub(super) content: MessageContent,
    pub(super) identity: Identity,
    pub(super) reply: oneshot::Sender<Reply>,
}

/// What makes two appends the same.
#[derive(Clone, Default)]
pub(super) enum Identity {
    /// No other append is the same.
    #[default]
    None,
    /// The idempotency key.
    Key(IdempotencyKey),
    /// A name that can be claimed once.
    Claim(String),
}

pub(super) type Reply = Result<Appended, AppendError>;

#[derive(Clone)]
pub(super) struct Sequencer {
    pub(super) node: Arc<Node>,
    pub(super) stream: Stream,
    pub(super) patience: Duration,
}

/// Appends that are published as one message.
#[derive(Default)]
struct AppendBatch {
    content: MessageContent,
    bytes: usize,
    identity: Identity,
    /// Who waits, and for how many of the updates.
    replies: Vec<(oneshot::Sender<Reply>, usize)>,
}

/// The outcome of a publish.
enum Outcome {
    New(Vec<Arc<Entry>>),
    /// The stream already had a message with this id.
    Repeated,
}

impl Sequencer {
    /// Serves appends until the log is dropped.
    pub(super) async fn run(self, mut appends: mpsc::Receiver<Append>) {
        let in_flight = Arc::new(Semaphore::new(IN_FLIGHT));
        let mut deliveries = JoinSet::new();
        let mut waiting = VecDeque::new();
        // Before an append is taken from the queue: appends that arrive while all permits are taken are coalesced.
        while let Ok(permit) = in_flight.clone().acquire_owned().await {
            let mut more = Vec::new();
            if waiting.is_empty() && appends.recv_many(&mut more, PER_MESSAGE).await == 0 {
                return;
            }
            waiting.extend(more);
            while waiting.len() < PER_MESSAGE
                && let Ok(append) = appends.try_recv()
            {
                waiting.push_back(append);
            }
            let batch = AppendBatch::next(&mut waiting);
            deliveries.spawn(self.clone().deliver(batch, permit));
            while deliveries.try_join_next().is_some() {}
        }
    }

    async fn deliver(self, batch: AppendBatch, permit: OwnedSemaphorePermit) {
        let (id, is_named) = match &batch.identity {
            Identity::None => (Uuid::new_v4().simple().to_string(), false),
            // A digest: a reader of the stream can't repeat the publish with it.
            Identity::Key(key) => (key.message_id(), true),
            Identity::Claim(name) => (format!("claim {name}"), true),
        };
        let payload = message::encode(&self.node.name, &batch.content);
        let outcome = self.publish(&id, payload, is_named).await;
        drop(permit);
        match outcome {
            Ok(Outcome::New(entries)) => {
                let mut rest = entries.into_iter();
                for (reply, count) in batch.replies {
                    _ = reply.send(Ok(Appended::New(rest.by_ref().take(count).collect())));
                }
            }
            Ok(Outcome::Repeated) => {
                let updates: Vec<_> = batch.content.updates.into_iter().map(|submitted| submitted.update).collect();
                let answer = self.judge(&batch.identity, &updates).await;
                for (reply, _) in batch.replies {
                    _ = reply.send(answer.clone());
                }
            }
            Err(error) => {
                for (reply, _) in batch.replies {
                    _ = reply.send(Err(error.clone()));
                }
            }
        }
    }

    /// Publishes a message, with retries under the same id, and waits until this node's store has it.
    async fn publish(&self, id: &str, payload: Bytes, is_named: bool) -> Result<Outcome, AppendError> {
        let deadline = Instant::now() + self.patience;
        let mut expected = self.node.pending.expect(id);
        let mut may_be_there = false;
        loop {
            let failure = tokio::select! {
                // The store has it. Only the acknowledgement says whether a named message is a duplicate.
                Ok(entries) = &mut expected.entries, if !is_named || may_be_there => return Ok(Outcome::New(entries)),
                ack = self.stream.publish(id, payload.clone()) => match ack {
                    Ok(ack) if ack.is_duplicate && is_named => {
                        self.wait_for(ack.sequence, deadline).await?;
                        return Ok(Outcome::Repeated);
                    }
                    Ok(_) => return wait_for_entries(&mut expected, deadline).await,
                    Err(failure) => failure,
                },
            };
            let reason = match failure {
                PublishError::Unavailable(reason) => reason,
                PublishError::Unknown(reason) => {
                    may_be_there = true;
                    reason
                }
                PublishError::TooLarge(max) => {
                    return Err(AppendError::TooLarge(format!(
                        "more than the {max} bytes that the NATS servers accept"
                    )));
                }
                PublishError::Full(reason) if !may_be_there => return Err(AppendError::Full(reason)),
                PublishError::Rejected(reason) if !may_be_there => return Err(AppendError::Failed(reason)),
                PublishError::Full(reason) | PublishError::Rejected(reason) => {
                    return Err(AppendError::Unknown(reason));
                }
            };
            if Instant::now() + RETRY_AFTER > deadline {
                let error = if may_be_there { AppendError::Unknown } else { AppendError::Unavailable };
                return Err(error(reason));
            }
            sleep(RETRY_AFTER).await;
        }
    }

    /// Waits until the store has all messages up to this one.
    async fn wait_for(&self, sequence: u64, deadline: Instant) -> Result<(), AppendError> {
        let mut applied = self.node.applied.subscribe();
        let reached = timeout_at(deadline, applied.wait_for(|applied| *applied >= sequence)).await;
        reached.map(|_| ()).map_err(|_| timed_out())
    }

    /// The answer to an append that the stream knows.
    async fn judge(&self, identity: &Identity, updates: &[Update]) -> Reply {
        if let Identity::Key(key) = identity {
            // Retention may have evicted the updates: then the append is a repeat all the same.
            super::judge(&*self.node.store, *key, updates).await?;
        }
        Ok(Appended::Repeated(idempotency::ids(updates)))
    }
}

impl AppendBatch {
    /// Takes appends from the queue, as many as fit into one message. An append with an identity gets its own message, so
    /// that the message id can identify it.
    fn next(waiting: &mut VecDeque<Append>) -> Self {
        let mut batch = Self::default();
        while let Some(append) = waiting.front() {
            let MessageContent { updates, notes } = &append.content;
            let bytes = updates
                .iter()
                .map(|submitted| approximate_size(&submitted.update))
                .chain(notes.iter().map(String::len))
                .sum::<usize>();
            let fits =
                batch.content.updates.len() + updates.len() <= PER_MESSAGE && batch.bytes + bytes <= MESSAGE_BYTES;
            let is_named = !matches!(append.identity, Identity::None);
            if !batch.replies.is_empty() && (!fits || is_named) {
                break;
            }
            let Some(Append { content, identity, reply }) = waiting.pop_front() else { break };
            batch.replies.push((reply, content.updates.len()));
            batch.content.updates.extend(content.updates);
            batch.content.notes.extend(content.notes);
            batch.bytes += bytes;
            batch.identity = identity;
            if is_named {
                break;
            }
        }
        batch
    }
}

/// The approximate number of bytes of an update in a message.
pub(super) fn approximate_size(update: &Update) -> usize {
    let topics: usize = update.topics.iter().map(|topic| topic.as_str().len() + 3).sum();
    let ids = [&update.id, &update.event].into_iter().flatten().map(|field| Field::as_str(field).len()).sum::<usize>();
    64 + update.data.len() + topics + ids
}

async fn wait_for_entries(expected: &mut Expected<'_>, deadline: Instant) -> Result<Outcome, AppendError> {
    match timeout_at(deadline, &mut expected.entries).await {
        Ok(Ok(entries)) => Ok(Outcome::New(entries)),
        _ => Err(timed_out()),
    }
}

fn timed_out() -> AppendError {
    AppendError::Unknown("the stream has it, but this node has not copied it yet".into())
}
