//! The follower copies the stream into this node's store, message by message, in order.
//!
//! It gets new messages as the stream republishes them, which may lose some. So it fetches the missing messages when it
//! finds a gap between two, and asks the stream's leader regularly whether any are missing at the end.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::stream::Info;
use chrono::Utc;
use futures_util::StreamExt;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep};
use tracing::{error, warn};

use super::epochs::Epochs;
use super::message::MessageError;
use super::node::Node;
use super::position::StreamPosition;
use super::report::{NodeReport, REPORT_INTERVAL};
use super::stream::{StoredMessage, Stream, StreamError, stored};
use crate::server::log::{AppendError, Entry};

/// Time between two requests for the stream's last sequence number.
const CHECK_EVERY: Duration = Duration::from_millis(300);
/// Time to wait after a failure.
const RETRY_AFTER: Duration = Duration::from_millis(250);
/// Time to wait after a failure that an operator has to fix.
const RETRY_FATAL_AFTER: Duration = Duration::from_secs(5);
/// Maximum number of live messages that are written to the store together.
const CHUNK: usize = 1024;
/// With a greater lag the node reports that it is catching up.
const FEW: u64 = 10_000;

pub(super) struct Follower {
    pub(super) node: Arc<Node>,
    pub(super) stream: Stream,
    /// Notified when the connection is lost. The stream may have been rolled back before the next connection.
    pub(super) disconnected: Arc<Notify>,
    pub(super) epochs: Epochs,
}

impl Follower {
    /// Follows the stream for ever.
    pub(super) async fn run(mut self) {
        loop {
            let Err(failure) = self.follow().await;
            match failure {
                StreamError::Fatal(reason) => {
                    self.node.status.set_halted(reason);
                    sleep(RETRY_FATAL_AFTER).await;
                }
                failure => {
                    self.node.status.set_disconnected(failure.to_string());
                    sleep(RETRY_AFTER).await;
                }
            }
        }
    }

    async fn follow(&mut self) -> Result<Infallible, StreamError> {
        let lost = self.disconnected.clone();
        let lost = lost.notified();
        let info = self.stream.open().await?;
        // Subscribed before the stream is read, so that only few messages have to be fetched twice.
        let mut live = self.stream.live().await?.ready_chunks(CHUNK);
        let mut broadcasts = self.stream.broadcasts().await?;
        let mut expected = info.state.last_sequence;
        self.agree(info).await?;
        self.catch_up(expected).await?;
        self.node.status.set_following();

        let ask = |stream: Stream| async move {
            sleep(CHECK_EVERY).await;
            stream.info().await
        };
        let mut answer = Box::pin(ask(self.stream.clone()));
        let mut last_report: Option<Instant> = None;
        tokio::pin!(lost);
        loop {
            tokio::select! {
                () = &mut lost => return Err(StreamError::Unavailable("the connection to the NATS server is lost".into())),
                messages = live.next() => {
                    let messages = messages.ok_or_else(|| StreamError::Unavailable("the connection is closed".into()))?;
                    self.take_live(messages.into_iter().filter_map(stored).collect()).await?;
                }
                Some(note) = broadcasts.next() => {
                    self.node.control.deliver(String::from_utf8_lossy(&note.payload).into_owned()).await;
                }
                info = &mut answer => {
                    let info = info?;
                    // Messages that the leader had at the previous check were lost on their way if they are still missing.
                    let missing = std::mem::replace(&mut expected, info.state.last_sequence);
                    if self.must_agree(&info)? {
                        self.agree(info).await?;
                    } else {
                        self.note(&info);
                        self.catch_up(missing).await?;
                    }
                    self.node.status.set_following();
                    if last_report.is_none_or(|last| last.elapsed() >= REPORT_INTERVAL) {
                        last_report = Some(Instant::now());
                        self.report().await?;
                    }
                    answer.set(ask(self.stream.clone()));
                }
            }
        }
    }

    pub(super) fn applied(&self) -> u64 {
        *self.node.applied.borrow()
    }

    async fn report(&self) -> Result<(), StreamError> {
        let report = NodeReport {
            node: self.node.name.clone(),
            version: env!("CARGO_PKG_VERSION").into(),
            applied: self.applied(),
            epoch: self.epochs.current(),
            at: Utc::now(),
        };
        self.stream.report(serde_json::to_vec(&report).unwrap_or_default()).await
    }

    /// Continues after this sequence number.
    pub(super) fn set_applied(&self, sequence: u64) {
        self.node.applied.send_replace(sequence);
        self.node.status.set_stream(|status| status.applied = sequence);
    }

    /// Records that this node lacks messages before this sequence number: readers from before it are told of a gap.
    pub(super) fn set_missing_before(&self, sequence: u64) {
        self.node.missing.set(StreamPosition { epoch: self.epochs.of(sequence), sequence, index: 0 }.cursor());
    }

    /// Updates the status with the leader's answer.
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

    /// Writes live messages to the store, and fetches those that are missing between them.
    async fn take_live(&mut self, messages: Vec<StoredMessage>) -> Result<(), StreamError> {
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

    /// Fetches everything up to this sequence number.
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

    /// Moves past a message that could not be fetched. The server that was asked may lag behind, or the stream may no longer
    /// have the message: the leader knows.
    async fn step(&mut self) -> Result<(), StreamError> {
        let next = self.applied() + 1;
        if let Some(message) = self.stream.get(next).await? {
            return self.take(vec![message]).await;
        }
        let first = self.stream.info().await?.state.first_sequence;
        if first > next {
            warn!(from = next, to = first - 1, "the stream no longer has these messages: this node lacks them");
            self.set_missing_before(first);
            self.set_applied(first - 1);
        } else {
            warn!(sequence = next, "a message was deleted from the stream: it is skipped");
            self.set_applied(next);
        }
        Ok(())
    }

    /// Handles consecutive messages, which are the next ones.
    async fn take(&self, messages: Vec<StoredMessage>) -> Result<(), StreamError> {
        let (mut entries, mut begin) = (Vec::new(), 0);
        for (index, message) in messages.iter().enumerate() {
            match self.node.content(self.epochs.of(message.sequence), message) {
                Ok((more, notes)) => {
                    if !notes.is_empty() {
                        // Updates before and after a control message must stay on their side of it.
                        self.keep(std::mem::take(&mut entries), &messages[begin..index]).await?;
                        begin = index;
                        for note in notes {
                            self.node.control.deliver(note).await;
                        }
                    }
                    entries.extend(more);
                }
                Err(error @ MessageError::Newer(_)) => {
                    return Err(StreamError::Fatal(format!(
                        "message {}: {error}: upgrade this node",
                        message.sequence
                    )));
                }
                Err(error @ MessageError::Foreign(_)) => {
                    error!(sequence = message.sequence, %error, "a message in the stream is not from tidings: it is skipped");
                }
            }
        }
        self.keep(entries, &messages[begin..]).await
    }

    /// Writes the messages' entries to the store.
    async fn keep(&self, entries: Vec<Entry>, messages: &[StoredMessage]) -> Result<(), StreamError> {
        let Some(last) = messages.last().map(|message| message.sequence) else { return Ok(()) };
        let kept = self.node.store.keep(entries).await.map_err(|error| match error {
            AppendError::Full(reason) => StreamError::Rejected(format!("this node's own log is full: {reason}")),
            error => StreamError::Rejected(error.to_string()),
        })?;
        self.set_applied(last);
        for message in messages {
            if let Some(id) = &message.id {
                let is_of = |cursor| StreamPosition::of(cursor).sequence.cmp(&message.sequence);
                let begin = kept.partition_point(|entry| is_of(entry.cursor).is_lt());
                let end = kept.partition_point(|entry| is_of(entry.cursor).is_le());
                self.node.pending.resolve(id, &kept[begin..end]);
            }
        }
        Ok(())
    }
}
