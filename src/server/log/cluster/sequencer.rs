//! The sequencer puts appends into the stream. Those that wait while others are on their way share one message.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout_at};
use uuid::Uuid;

use super::message::{self, Content};
use super::node::Node;
use super::pending::Expected;
use super::place::PER_MESSAGE;
use super::stream::{PublishError, Stream};
use crate::server::log::{AppendError, Appended, Entry, Field, IdempotencyKey, Update};

/// How many appends may wait before publishers wait with them.
pub(super) const QUEUE: usize = 1024;
/// How many messages may be on their way at a time.
const IN_FLIGHT: usize = 8;
/// Above this many bytes of updates a message is full.
const MESSAGE_BYTES: usize = 128 << 10;
/// How long to wait before a message is sent once more.
const RETRY_AFTER: Duration = Duration::from_millis(200);

/// What is to come into the stream, all or none of it.
pub(super) struct Append {
    pub(super) content: Content,
    pub(super) identity: Identity,
    pub(super) reply: oneshot::Sender<Reply>,
}

/// By what the stream knows a repeat.
#[derive(Clone, Default)]
pub(super) enum Identity {
    /// There is none.
    #[default]
    None,
    /// By the publisher's key.
    Key(IdempotencyKey),
    /// By a name that only one may claim.
    Claim(String),
}

pub(super) type Reply = Result<Appended, AppendError>;

#[derive(Clone)]
pub(super) struct Sequencer {
    pub(super) node: Arc<Node>,
    pub(super) stream: Stream,
    pub(super) patience: Duration,
}

/// What one message carries.
#[derive(Default)]
struct Pack {
    content: Content,
    bytes: usize,
    identity: Identity,
    /// Who waits, and for how many of the updates.
    replies: Vec<(oneshot::Sender<Reply>, usize)>,
}

/// What has become of a message.
enum Outcome {
    New(Vec<Arc<Entry>>),
    /// There was one with its id before.
    Repeated,
}

impl Sequencer {
    /// Serves appends until there are no more publishers.
    pub(super) async fn run(self, mut appends: mpsc::Receiver<Append>) {
        let in_flight = Arc::new(Semaphore::new(IN_FLIGHT));
        let mut deliveries = JoinSet::new();
        let mut waiting = VecDeque::new();
        // The right to send comes first: what is appended while all are on their way shares a message.
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
            let pack = Pack::next(&mut waiting);
            deliveries.spawn(self.clone().deliver(pack, permit));
            while deliveries.try_join_next().is_some() {}
        }
    }

    async fn deliver(self, pack: Pack, permit: OwnedSemaphorePermit) {
        let (id, is_named) = match &pack.identity {
            Identity::None => (Uuid::new_v4().simple().to_string(), false),
            // Derived, so that who sees the stream can't use it.
            Identity::Key(key) => (key.message_id(), true),
            Identity::Claim(name) => (format!("claim {name}"), true),
        };
        let payload = message::encode(&self.node.name, &pack.content);
        let outcome = self.publish(&id, payload, is_named).await;
        drop(permit);
        match outcome {
            Ok(Outcome::New(entries)) => {
                let mut rest = entries.into_iter();
                for (reply, count) in pack.replies {
                    _ = reply.send(Ok(Appended::New(rest.by_ref().take(count).collect())));
                }
            }
            Ok(Outcome::Repeated) => {
                let updates: Vec<_> = pack.content.updates.into_iter().map(|submitted| submitted.update).collect();
                let answer = self.judge(&pack.identity, &updates).await;
                for (reply, _) in pack.replies {
                    _ = reply.send(answer.clone());
                }
            }
            Err(error) => {
                for (reply, _) in pack.replies {
                    _ = reply.send(Err(error.clone()));
                }
            }
        }
    }

    /// Puts a message into the stream, and waits until this node's own store has it. It is sent again with the same id
    /// until its fate is known.
    async fn publish(&self, id: &str, payload: Bytes, is_named: bool) -> Result<Outcome, AppendError> {
        let deadline = Instant::now() + self.patience;
        let mut expected = self.node.pending.expect(id);
        let mut may_be_there = false;
        loop {
            let failure = tokio::select! {
                // The store has it, whatever becomes of the answer; which tells of a key whether it was used before.
                Ok(entries) = &mut expected.entries, if !is_named || may_be_there => return Ok(Outcome::New(entries)),
                taken = self.stream.publish(id, payload.clone()) => match taken {
                    Ok(taken) if taken.is_repeat && is_named => {
                        self.wait_for(taken.sequence, deadline).await?;
                        return Ok(Outcome::Repeated);
                    }
                    Ok(_) => return arrival(&mut expected, deadline).await,
                    Err(failure) => failure,
                },
            };
            let reason = match failure {
                PublishError::NotNow(reason) => reason,
                PublishError::Unknown(reason) => {
                    may_be_there = true;
                    reason
                }
                PublishError::TooLarge(max) => {
                    return Err(AppendError::TooLarge(format!("more than the {max} bytes that its NATS servers take")));
                }
                PublishError::Full(reason) if !may_be_there => return Err(AppendError::Full(reason)),
                PublishError::Refused(reason) if !may_be_there => return Err(AppendError::Failed(reason)),
                PublishError::Full(reason) | PublishError::Refused(reason) => return Err(AppendError::Unknown(reason)),
            };
            if Instant::now() + RETRY_AFTER > deadline {
                let error = if may_be_there { AppendError::Unknown } else { AppendError::Unavailable };
                return Err(error(reason));
            }
            sleep(RETRY_AFTER).await;
        }
    }

    /// Waits until the store has everything up to this sequence number.
    async fn wait_for(&self, sequence: u64, deadline: Instant) -> Result<(), AppendError> {
        let mut applied = self.node.applied.subscribe();
        let reached = timeout_at(deadline, applied.wait_for(|applied| *applied >= sequence)).await;
        reached.map(|_| ()).map_err(|_| late())
    }

    /// What it means for an append that the stream knows it.
    async fn judge(&self, identity: &Identity, updates: &[Update]) -> Reply {
        if let Identity::Key(key) = identity {
            // Retention may have evicted what was published with it: the stream knows the key all the same.
            super::judge(&*self.node.store, *key, updates).await?;
        }
        Ok(Appended::Repeated(super::ids(updates)))
    }
}

impl Pack {
    /// Takes as many appends as one message holds. One with an identity has a message of its own, by whose id the stream knows
    /// a repeat.
    fn next(waiting: &mut VecDeque<Append>) -> Self {
        let mut pack = Self::default();
        while let Some(append) = waiting.front() {
            let Content { updates, notes } = &append.content;
            let bytes = updates
                .iter()
                .map(|submitted| size(&submitted.update))
                .chain(notes.iter().map(String::len))
                .sum::<usize>();
            let fits = pack.content.updates.len() + updates.len() <= PER_MESSAGE && pack.bytes + bytes <= MESSAGE_BYTES;
            let is_named = !matches!(append.identity, Identity::None);
            if !pack.replies.is_empty() && (!fits || is_named) {
                break;
            }
            let Some(Append { content, identity, reply }) = waiting.pop_front() else { break };
            pack.replies.push((reply, content.updates.len()));
            pack.content.updates.extend(content.updates);
            pack.content.notes.extend(content.notes);
            pack.bytes += bytes;
            pack.identity = identity;
            if is_named {
                break;
            }
        }
        pack
    }
}

/// About how many bytes an update has in a message.
fn size(update: &Update) -> usize {
    let topics: usize = update.topics.iter().map(|topic| topic.as_str().len() + 3).sum();
    let ids = [&update.id, &update.event].into_iter().flatten().map(|field| Field::as_str(field).len()).sum::<usize>();
    64 + update.data.len() + topics + ids
}

async fn arrival(expected: &mut Expected<'_>, deadline: Instant) -> Result<Outcome, AppendError> {
    match timeout_at(deadline, &mut expected.entries).await {
        Ok(Ok(entries)) => Ok(Outcome::New(entries)),
        _ => Err(late()),
    }
}

fn late() -> AppendError {
    AppendError::Unknown("the stream has it, and this node has not copied it yet".into())
}
