//! One update in its place in the log.

use std::borrow::Cow;
use std::fmt;

use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use uuid::Uuid;

use super::{Topic, Update};
use crate::wire::frame::Frame;

/// A place in the log. Cursors grow with every entry; they need not be consecutive.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cursor(pub u64);

impl Cursor {
    /// The place before the first entry.
    pub const START: Self = Self(0);

    /// The smallest cursor after this one.
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }

    /// The greatest cursor before this one.
    pub const fn previous(self) -> Self {
        Self(self.0.saturating_sub(1))
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What an entry counts towards: each lane has limits of its own, and its entries evict only each other. All lanes share
/// one order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Lane {
    /// Updates that are published to the hub.
    #[default]
    Main,
    /// The hub's own events, such as presence. They are appended without a flush.
    System,
    /// Updates whose topics have a quota of their own.
    Quota,
}

impl Lane {
    /// All of them.
    pub(super) const ALL: [Self; 3] = [Self::Main, Self::System, Self::Quota];
}

/// The cost of keeping an entry beside its texts, and of each topic it is on.
const ENTRY_BYTES: usize = 24;
const TOPIC_BYTES: usize = 16;

/// An update in its place in the log, encoded once for all who read it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its place.
    pub cursor: Cursor,
    /// What it counts towards.
    pub lane: Lane,
    /// Its event id.
    pub id: Box<str>,
    /// What it is addressed to: the first is canonical, the rest are alternates.
    pub topics: Box<[Topic]>,
    /// Whether only authorized subscribers may have it.
    pub private: bool,
    /// When the log took it, to the millisecond.
    pub at: DateTime<Utc>,
    /// When it expires; nobody gets it after that.
    pub expires_at: Option<DateTime<Utc>>,
    /// The whole SSE event: shared bytes, handed to every reader as they are.
    pub frame: Bytes,
}

impl Entry {
    /// Gives an update its place and encodes it.
    pub fn new(cursor: Cursor, at: DateTime<Utc>, update: Update) -> Self {
        let id = update.id.map_or_else(|| Uuid::new_v4().urn().to_string().into(), Box::<str>::from);
        let frame = Frame {
            id: Some(&id),
            event: update.event.as_ref().map(|event| event.as_str()),
            retry: update.retry,
            data: &update.data,
        };
        Self {
            cursor,
            lane: Lane::Main,
            at,
            expires_at: update.ttl.and_then(|ttl| at.checked_add_signed(TimeDelta::from_std(ttl).ok()?)),
            frame: Bytes::from(frame.encode().into_boxed_bytes()),
            id,
            topics: update.topics.into(),
            private: update.private,
        }
    }

    /// How many bytes it counts for, wherever bytes are limited: its frame, its id and its topics' names.
    pub fn size(&self) -> usize {
        let topics: usize = self.topics.iter().map(|topic| topic.as_str().len() + TOPIC_BYTES).sum();
        ENTRY_BYTES + self.frame.len() + self.id.len() + topics
    }

    /// Whether it has expired.
    pub fn has_expired(&self, now: DateTime<Utc>) -> bool {
        self.expires_at.is_some_and(|at| at <= now)
    }

    /// The event's name, read back from the frame.
    pub fn event(&self) -> Option<&str> {
        self.field("event: ")
    }

    /// The reconnection time for subscribers, read back from the frame.
    pub fn retry(&self) -> Option<u64> {
        self.field("retry: ")?.parse().ok()
    }

    /// The update's data, read back from the frame: line ends have become LF, as every client sees them.
    pub fn data(&self) -> Cow<'_, str> {
        let frame = std::str::from_utf8(&self.frame).unwrap_or_default();
        let mut lines = frame.lines().filter_map(|line| line.strip_prefix("data: "));
        let first = lines.next().unwrap_or_default();
        match lines.next() {
            None => Cow::Borrowed(first),
            Some(second) => {
                let mut data = format!("{first}\n{second}");
                for line in lines {
                    data.push('\n');
                    data.push_str(line);
                }
                Cow::Owned(data)
            }
        }
    }

    /// A field of the frame's head, which ends where the data begins.
    fn field(&self, name: &str) -> Option<&str> {
        let frame = std::str::from_utf8(&self.frame).unwrap_or_default();
        frame.lines().take_while(|line| !line.starts_with("data: ")).find_map(|line| line.strip_prefix(name))
    }
}
