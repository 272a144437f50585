//! Detects that JetStream has lost acknowledged messages: after all its servers were rolled back to a backup, or after a
//! careless change of cluster membership.

use std::sync::Arc;

use async_nats::jetstream::stream::Info;
use tracing::{error, warn};
use uuid::Uuid;

use super::epochs::Epochs;
use super::follower::Follower;
use super::message;
use super::position::StreamPosition;
use super::stream::{PublishError, Stream, StreamError};
use crate::server::log::{Cursor, Entry, Everything};

impl Follower {
    /// Whether the leader's answer contradicts what this node has copied.
    pub(super) fn must_agree(&self, info: &Info) -> Result<bool, StreamError> {
        Ok(info.state.last_sequence < self.applied() || Stream::epochs(&info.config)? != self.epochs)
    }

    /// Compares this node's copy with the stream, and sets the position to read on from.
    pub(super) async fn agree(&mut self, info: Info) -> Result<(), StreamError> {
        let epochs = Stream::epochs(&info.config)?;
        let newest = self.node.store.bounds().newest;
        let StreamPosition { epoch, sequence, .. } = StreamPosition::of(newest);
        let mut missing_before = None;
        let (epochs, next) = if newest == Cursor::START {
            let first = info.state.first_sequence.max(1);
            missing_before = Some(first).filter(|first| *first > 1);
            (epochs, first)
        } else if let Some(begin) = epochs.begin_after(epoch) {
            warn!(epoch = epochs.current(), "the stream has lost acknowledged updates, as another node has detected");
            // That node may have had more messages of the epoch before.
            missing_before = Some(begin);
            (epochs, begin.min(sequence + 1))
        } else if epochs.current() < epoch || self.has_lost(&info, newest).await? {
            self.raise(&info, &epochs, newest).await?
        } else {
            // A crash may have cut the newest message's entries off.
            (epochs, sequence)
        };
        self.epochs = epochs;
        missing_before.into_iter().for_each(|sequence| self.set_missing_before(sequence));
        self.set_applied(next - 1);
        self.note(&info);
        Ok(())
    }

    /// Whether the stream no longer has this node's newest entry, or has another one at its position.
    async fn has_lost(&self, info: &Info, newest: Cursor) -> Result<bool, StreamError> {
        let sequence = StreamPosition::of(newest).sequence;
        if info.state.last_sequence < sequence {
            // A partitioned leader may lag behind. A leader that gets a message acknowledged by a quorum does not.
            let id = Uuid::new_v4().to_string();
            let ack =
                self.stream.publish(&id, message::encode(&self.node.name, &message::MessageContent::default())).await;
            let ack = ack.map_err(|error| match error {
                PublishError::Unavailable(reason) | PublishError::Unknown(reason) => StreamError::Unavailable(reason),
                PublishError::Full(reason) | PublishError::Rejected(reason) => StreamError::Rejected(reason),
                PublishError::TooLarge(max) => StreamError::Rejected(format!("it takes no more than {max} bytes")),
            })?;
            if ack.sequence <= sequence {
                return Ok(true);
            }
        }
        match self.entry_before(Cursor(newest.0 + 1)).await? {
            Some(entry) if entry.cursor == newest => Ok(self.is_same(&entry).await? == Some(false)),
            // It has expired or was evicted.
            _ => Ok(false),
        }
    }

    /// Whether the stream has this entry; `None` if the stream no longer has its message.
    async fn is_same(&self, entry: &Entry) -> Result<Option<bool>, StreamError> {
        let position = StreamPosition::of(entry.cursor);
        let Some(message) = self.stream.get(position.sequence).await? else { return Ok(None) };
        let entries = self.node.entries(position.epoch, &message).unwrap_or_default();
        // The lane depends on this node's settings.
        Ok(Some(entries.get(position.index).is_some_and(|other| {
            (&other.id, other.at, &other.topics, &other.frame) == (&entry.id, entry.at, &entry.topics, &entry.frame)
        })))
    }

    /// This node's newest entry before a cursor.
    async fn entry_before(&self, cursor: Cursor) -> Result<Option<Arc<Entry>>, StreamError> {
        let entries = self.node.store.read_before(Some(cursor), &Everything, 1).await;
        Ok(entries.map_err(|error| StreamError::Rejected(error.to_string()))?.pop())
    }

    /// Starts a new epoch at the first message that differs from this node's copy. Returns the epochs and that message's
    /// sequence number.
    async fn raise(&self, info: &Info, epochs: &Epochs, newest: Cursor) -> Result<(Epochs, u64), StreamError> {
        let StreamPosition { epoch, sequence: had, .. } = StreamPosition::of(newest);
        let common = self.last_common(info, epoch, had).await?;
        let begin = (common + 1).max(info.state.first_sequence).max(1);
        let raised = epochs.begin(epoch.max(epochs.current()) + 1, begin);
        let raised =
            raised.ok_or_else(|| StreamError::Fatal("the stream has had as many epochs as there can be".into()))?;
        self.stream.set_epochs(info.config.clone(), &raised).await?;
        error!(
            lost_from = begin,
            lost_to = had,
            epoch = raised.current(),
            "the stream has lost acknowledged updates: a new epoch starts. This node still has them and delivers them; \
             `tidings log export` saves them"
        );
        Ok((raised, begin))
    }

    /// The last message of an epoch that this node and the stream have in common; 0 if there is none.
    async fn last_common(&self, info: &Info, epoch: u64, had: u64) -> Result<u64, StreamError> {
        let (mut low, mut high, mut common) = (info.state.first_sequence.saturating_sub(1), had, 0);
        while low < high {
            let middle = low + (high - low).div_ceil(2);
            let position = StreamPosition { epoch, sequence: middle, index: 0 };
            let entry = self.entry_before(position.behind_message().cursor()).await?;
            let Some(entry) = entry.filter(|entry| StreamPosition::of(entry.cursor).epoch == epoch) else {
                low = middle;
                continue;
            };
            let sequence = StreamPosition::of(entry.cursor).sequence;
            if sequence <= low {
                low = middle;
                continue;
            }
            match self.is_same(&entry).await? {
                Some(true) => (common, low) = (sequence, middle),
                // An operator has deleted it, which proves nothing.
                None if sequence <= info.state.last_sequence => low = middle,
                Some(false) | None => high = sequence - 1,
            }
        }
        Ok(common)
    }
}
