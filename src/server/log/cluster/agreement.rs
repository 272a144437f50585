//! Whether the stream still has the past that this node has copied. JetStream can lose what it has acknowledged: all its
//! servers rolled back to a copy, or a careless change of who belongs to it.

use std::sync::Arc;

use async_nats::jetstream::stream::Info;
use tracing::{error, warn};
use uuid::Uuid;

use super::epochs::Epochs;
use super::follower::Follower;
use super::message;
use super::place::Place;
use super::stream::{PublishError, Stream, StreamError};
use crate::server::log::{Cursor, Entry, Topic, TopicFilter};

struct Everything;

impl TopicFilter for Everything {
    fn wants(&self, _topic: &str) -> bool {
        true
    }

    fn exact(&self) -> Option<&[Topic]> {
        None
    }
}

impl Follower {
    /// Whether what the leader says makes it doubtful that this node's past is the stream's.
    pub(super) fn must_agree(&self, info: &Info) -> Result<bool, StreamError> {
        Ok(info.state.last_sequence < self.applied() || Stream::epochs(&info.config)? != self.epochs)
    }

    /// Finds the place from which on this node reads: behind what it has, if that is the stream's past.
    pub(super) async fn agree(&mut self, info: Info) -> Result<(), StreamError> {
        let epochs = Stream::epochs(&info.config)?;
        let newest = self.node.store.bounds().newest;
        let Place { epoch, sequence, .. } = Place::of(newest);
        let mut lacks_before = None;
        let (epochs, next) = if newest == Cursor::START {
            let first = info.state.first_sequence.max(1);
            lacks_before = Some(first).filter(|first| *first > 1);
            (epochs, first)
        } else if let Some(begin) = epochs.begin_after(epoch) {
            warn!(epoch = epochs.current(), "the stream has lost updates: another node has found it out");
            // That one may have had more of the epoch before.
            lacks_before = Some(begin);
            (epochs, begin.min(sequence + 1))
        } else if epochs.current() < epoch || self.has_lost(&info, newest).await? {
            self.raise(&info, &epochs, newest).await?
        } else {
            // The rest of it may be missing.
            (epochs, sequence)
        };
        self.epochs = epochs;
        lacks_before.into_iter().for_each(|sequence| self.lacks_before(sequence));
        self.set_applied(next - 1);
        self.note(&info);
        Ok(())
    }

    /// Whether the stream lacks this node's newest entry, or has another one in its place.
    async fn has_lost(&self, info: &Info, newest: Cursor) -> Result<bool, StreamError> {
        let sequence = Place::of(newest).sequence;
        if info.state.last_sequence < sequence {
            // A leader that was cut off doesn't know what has come since. One that can take a message does.
            let id = Uuid::new_v4().to_string();
            let taken = self.stream.publish(&id, message::encode(&self.node.name, &message::Content::default())).await;
            let taken = taken.map_err(|error| match error {
                PublishError::NotNow(reason) | PublishError::Unknown(reason) => StreamError::Away(reason),
                PublishError::Full(reason) | PublishError::Refused(reason) => StreamError::Refused(reason),
                PublishError::TooLarge(max) => StreamError::Refused(format!("it takes no more than {max} bytes")),
            })?;
            if taken.sequence <= sequence {
                return Ok(true);
            }
        }
        match self.entry_before(Cursor(newest.0 + 1)).await? {
            Some(entry) if entry.cursor == newest => Ok(self.is_same(&entry).await? == Some(false)),
            // It has expired, or retention has evicted it.
            _ => Ok(false),
        }
    }

    /// Whether the stream has this entry; `None` if it does not keep that part any more.
    async fn is_same(&self, entry: &Entry) -> Result<Option<bool>, StreamError> {
        let place = Place::of(entry.cursor);
        let Some(message) = self.stream.get(place.sequence).await? else { return Ok(None) };
        let entries = self.node.entries(place.epoch, &message).unwrap_or_default();
        // Not their lanes, which follow this node's settings.
        Ok(Some(entries.get(place.index).is_some_and(|other| {
            (&other.id, other.at, &other.topics, &other.frame) == (&entry.id, entry.at, &entry.topics, &entry.frame)
        })))
    }

    /// This node's newest entry before a place.
    async fn entry_before(&self, cursor: Cursor) -> Result<Option<Arc<Entry>>, StreamError> {
        let entries = self.node.store.read_before(Some(cursor), &Everything, 1).await;
        Ok(entries.map_err(|error| StreamError::Refused(error.to_string()))?.pop())
    }

    /// Begins a new epoch, from the first message on that is another than this node's.
    async fn raise(&self, info: &Info, epochs: &Epochs, newest: Cursor) -> Result<(Epochs, u64), StreamError> {
        let Place { epoch, sequence: had, .. } = Place::of(newest);
        let common = self.last_common(info, epoch, had).await?;
        let begin = (common + 1).max(info.state.first_sequence).max(1);
        let raised = epochs.begin(epoch.max(epochs.current()) + 1, begin);
        let raised =
            raised.ok_or_else(|| StreamError::Unfit("the stream has had as many epochs as there can be".into()))?;
        self.stream.set_epochs(info.config.clone(), &raised).await?;
        error!(
            lost_from = begin,
            lost_to = had,
            epoch = raised.current(),
            "the stream has lost updates that it had acknowledged: this node still has them (tidings log export), and \
             readers get them from it. What comes now is of a new epoch"
        );
        Ok((raised, begin))
    }

    /// The last message that this node and the stream both have, of those with entries in an epoch; 0 if there is none.
    async fn last_common(&self, info: &Info, epoch: u64, had: u64) -> Result<u64, StreamError> {
        let (mut low, mut high, mut common) = (info.state.first_sequence.saturating_sub(1), had, 0);
        while low < high {
            let middle = low + (high - low).div_ceil(2);
            let place = Place { epoch, sequence: middle, index: 0 };
            let entry = self.entry_before(place.behind_message().cursor()).await?;
            let Some(entry) = entry.filter(|entry| Place::of(entry.cursor).epoch == epoch) else {
                low = middle;
                continue;
            };
            let sequence = Place::of(entry.cursor).sequence;
            if sequence <= low {
                low = middle;
                continue;
            }
            match self.is_same(&entry).await? {
                Some(true) => (common, low) = (sequence, middle),
                // Somebody has deleted it: that tells nothing.
                None if sequence <= info.state.last_sequence => low = middle,
                Some(false) | None => high = sequence - 1,
            }
        }
        Ok(common)
    }
}
