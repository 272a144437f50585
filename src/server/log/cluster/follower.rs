//! The follower copies the stream into this node's own store, message by message, in order.
//!
//! New messages come as the stream republishes them. Nothing is believed to come: a hole between two of them is filled by
//! asking, and so is what is missing at the end, which the stream's leader is asked for again and again.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::stream::Info;
use futures_util::StreamExt;
use tokio::sync::Notify;
use tokio::time::sleep;
use tracing::{error, warn};

use super::epochs::Epochs;
use super::message::MessageError;
use super::node::Node;
use super::place::Place;
use super::stream::{Stored, Stream, StreamError, stored};
use crate::server::log::{AppendError, Entry};

/// How often the stream's leader is asked what its newest message is.
const CHECK_EVERY: Duration = Duration::from_millis(300);
/// How long to wait before the next try after a failure.
const RETRY_AFTER: Duration = Duration::from_millis(250);
/// The same when somebody has to do something first.
const RETRY_UNFIT_AFTER: Duration = Duration::from_secs(5);
/// How many messages are put into the store at a time.
const CHUNK: usize = 1024;
/// A node that lacks more messages than this is catching up, and says so.
const FEW: u64 = 10_000;

pub(super) struct Follower {
    pub(super) node: Arc<Node>,
    pub(super) stream: Stream,
    /// Told when the connection is lost: what comes after it may be another past.
    pub(super) disconnected: Arc<Notify>,
    pub(super) epochs: Epochs,
}

impl Follower {
    /// Follows the stream for ever.
    pub(super) async fn run(mut self) {
        loop {
            let Err(failure) = self.follow().await;
            match failure {
                StreamError::Unfit(reason) => {
                    self.node.status.set_unfit(reason);
                    sleep(RETRY_UNFIT_AFTER).await;
                }
                failure => {
                    self.node.status.set_away(failure.to_string());
                    sleep(RETRY_AFTER).await;
                }
            }
        }
    }

    async fn follow(&mut self) -> Result<Infallible, StreamError> {
        let lost = self.disconnected.clone();
        let lost = lost.notified();
        let info = self.stream.open().await?;
        // Before what is there is read, or what comes meanwhile would have to be asked for.
        let mut live = self.stream.live().await?.ready_chunks(CHUNK);
        let mut now = self.stream.now().await?;
        let mut expected = info.state.last_sequence;
        self.agree(info).await?;
        self.catch_up(expected).await?;
        self.node.status.set_following();

        let ask = |stream: Stream| async move {
            sleep(CHECK_EVERY).await;
            stream.info().await
        };
        let mut answer = Box::pin(ask(self.stream.clone()));
        tokio::pin!(lost);
        loop {
            tokio::select! {
                () = &mut lost => return Err(StreamError::Away("the connection to the NATS server is lost".into())),
                messages = live.next() => {
                    let messages = messages.ok_or_else(|| StreamError::Away("the connection is closed".into()))?;
                    self.take_live(messages.into_iter().filter_map(stored).collect()).await?;
                }
                Some(note) = now.next() => {
                    self.node.notes.hand_over(String::from_utf8_lossy(&note.payload).into_owned()).await;
                }
                info = &mut answer => {
                    let info = info?;
                    // What was the newest at the last check and is still missing got lost on its way.
                    let missing = std::mem::replace(&mut expected, info.state.last_sequence);
                    if self.must_agree(&info)? {
                        self.agree(info).await?;
                    } else {
                        self.note(&info);
                        self.catch_up(missing).await?;
                    }
                    self.node.status.set_following();
                    answer.set(ask(self.stream.clone()));
                }
            }
        }
    }

    pub(super) fn applied(&self) -> u64 {
        *self.node.applied.borrow()
    }

    /// Reads on after this sequence number.
    pub(super) fn set_applied(&self, sequence: u64) {
        self.node.applied.send_replace(sequence);
        self.node.status.set_stream(|status| status.applied = sequence);
    }

    /// This node lacks messages before this one: readers that come from before it are told.
    pub(super) fn lacks_before(&self, sequence: u64) {
        self.node.lost.set(Place { epoch: self.epochs.of(sequence), sequence, index: 0 }.cursor());
    }

    /// Takes note of what the leader says.
    pub(super) fn note(&self, info: &Info) {
        self.node.status.set_stream(|status| {
            status.name.clone_from(&info.config.name);
            status.server_version = self.stream.server_version();
            status.newest = info.state.last_sequence;
            status.replicas = info.config.num_replicas;
            status.epoch = self.epochs.current();
            let peers = info.cluster.as_ref().map(|cluster| &cluster.replicas[..]).unwrap_or_default();
            status.current = 1 + peers.iter().filter(|peer| peer.current && !peer.offline).count();
            status.leader = info.cluster.as_ref().and_then(|cluster| cluster.leader.clone());
        });
    }

    /// Takes messages that have come by themselves: some may have been left out on the way.
    async fn take_live(&mut self, messages: Vec<Stored>) -> Result<(), StreamError> {
        let mut rest = messages.into_iter().peekable();
        while let Some(first) = rest.peek() {
            if first.sequence > self.applied() + 1 {
                self.catch_up(first.sequence - 1).await?;
            }
            let mut run = Vec::new();
            let mut next = self.applied() + 1;
            while let Some(message) = rest.next_if(|message| message.sequence <= next) {
                if message.sequence == next {
                    next += 1;
                    run.push(message);
                }
            }
            self.take(run).await?;
        }
        Ok(())
    }

    /// Reads everything up to this sequence number.
    pub(super) async fn catch_up(&mut self, until: u64) -> Result<(), StreamError> {
        while self.applied() < until {
            if until - self.applied() > FEW {
                self.node.status.set_catching_up();
            }
            let next = self.applied() + 1;
            let fetched = self.stream.fetch(next).await?.into_iter().zip(next..);
            let run: Vec<_> =
                fetched.map_while(|(message, next)| (message.sequence == next).then_some(message)).collect();
            if run.is_empty() {
                self.step().await?;
            }
            self.take(run).await?;
        }
        Ok(())
    }

    /// Gets past a message that could not be fetched: the server that was asked may not have it yet, or nobody has it any
    /// more. The leader knows.
    async fn step(&mut self) -> Result<(), StreamError> {
        let next = self.applied() + 1;
        if let Some(message) = self.stream.get(next).await? {
            return self.take(vec![message]).await;
        }
        let first = self.stream.info().await?.state.first_sequence;
        if first > next {
            warn!(
                from = next,
                to = first - 1,
                "the stream does not keep these messages any more: this node lacks them"
            );
            self.lacks_before(first);
            self.set_applied(first - 1);
        } else {
            warn!(sequence = next, "a message is not in the stream any more: it is left out");
            self.set_applied(next);
        }
        Ok(())
    }

    /// Takes messages, which are the next ones.
    async fn take(&self, messages: Vec<Stored>) -> Result<(), StreamError> {
        let (mut entries, mut begin) = (Vec::new(), 0);
        for (index, message) in messages.iter().enumerate() {
            match self.node.content(self.epochs.of(message.sequence), message) {
                Ok((more, notes)) => {
                    if !notes.is_empty() {
                        // What a note is about must not come before it, nor after it.
                        self.keep(std::mem::take(&mut entries), &messages[begin..index]).await?;
                        begin = index;
                        for note in notes {
                            self.node.notes.hand_over(note).await;
                        }
                    }
                    entries.extend(more);
                }
                Err(error @ MessageError::Newer(_)) => {
                    return Err(StreamError::Unfit(format!(
                        "message {}: {error}: run the newer program",
                        message.sequence
                    )));
                }
                Err(error @ MessageError::Foreign(_)) => {
                    error!(sequence = message.sequence, %error, "a message in the stream is not ours: it is left out");
                }
            }
        }
        self.keep(entries, &messages[begin..]).await
    }

    /// Puts the entries of messages into the store.
    async fn keep(&self, entries: Vec<Entry>, messages: &[Stored]) -> Result<(), StreamError> {
        let Some(last) = messages.last().map(|message| message.sequence) else { return Ok(()) };
        let kept = self.node.store.keep(entries).await.map_err(|error| match error {
            AppendError::Full(reason) => StreamError::Refused(format!("this node's own log is full: {reason}")),
            error => StreamError::Refused(error.to_string()),
        })?;
        self.set_applied(last);
        for message in messages {
            if let Some(id) = &message.id {
                let is_of = |cursor| Place::of(cursor).sequence.cmp(&message.sequence);
                let begin = kept.partition_point(|entry| is_of(entry.cursor).is_lt());
                let end = kept.partition_point(|entry| is_of(entry.cursor).is_le());
                self.node.pending.resolve(id, &kept[begin..end]);
            }
        }
        Ok(())
    }
}
