//! One message's burst: what its stream has carried, and what that amounts to.

use crate::ui::stream::{Connection, LogEntry, LogItem};
use crate::wire::event::{Arrival, CLOSE};

/// More arrivals than any burst has; the server's setting is far below.
const MAX_ARRIVALS: usize = 10_000;

/// The known part of a burst.
#[derive(Clone, Debug, PartialEq)]
pub struct Burst {
    /// Its connection.
    pub connection: Connection,
    /// Everything that happened, oldest first.
    pub log: Vec<LogEntry>,
    /// When the first, the second, ... arrival came, in milliseconds since 1970; `None` for one that hasn't.
    pub arrivals: Vec<Option<f64>>,
    /// When the stream ended.
    pub closed_at: Option<f64>,
    /// Its position among the streams that wait for a connection.
    pub(super) queue_position: u64,
}

impl Burst {
    /// A burst of `of` arrivals that nobody has watched.
    pub(super) fn new(of: u32) -> Self {
        Self {
            connection: Connection::default(),
            log: Vec::new(),
            arrivals: vec![None; of as usize],
            closed_at: None,
            queue_position: 0,
        }
    }

    /// How many have arrived.
    pub fn arrived(&self) -> usize {
        self.arrivals.iter().flatten().count()
    }

    /// Whether the log has an event with this id.
    pub(super) fn has_event(&self, event_id: &str) -> bool {
        let is_it = |entry: &LogEntry| matches!(&entry.item, LogItem::Event { id, .. } if id == event_id);
        !event_id.is_empty() && self.log.iter().any(is_it)
    }

    /// Logs an item. Answers the arrival, if it was one.
    pub(super) fn log(&mut self, at: f64, item: LogItem) -> Option<Arrival> {
        let arrival = self.apply(at, &item);
        self.log.push(LogEntry { at, item });
        arrival
    }

    /// Updates the arrivals and the connection's position by a log item.
    pub(super) fn apply(&mut self, at: f64, item: &LogItem) -> Option<Arrival> {
        let LogItem::Event { id, name, data } = item else { return None };
        if !id.is_empty() {
            self.connection.last_id = Some(id.clone());
        }
        if name == CLOSE {
            self.closed_at = Some(at);
            return None;
        }
        let arrival: Arrival = serde_json::from_str(data).ok()?;
        let (of, nth) = (arrival.of as usize, arrival.repeat.checked_sub(1)? as usize);
        // The numbers come from the wire: the page must not allocate by an impossible one.
        if nth >= of || of > MAX_ARRIVALS {
            return None;
        }
        self.arrivals.resize(of, None);
        self.arrivals[nth] = Some(at);
        Some(arrival)
    }
}
