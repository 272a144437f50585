//! One message's burst: what came on its stream, in order, and what that amounts to.

use serde::{Deserialize, Serialize};

use super::line::Line;
use crate::wire::event::{Arrival, CLOSE};
use crate::wire::frame::Frame;

/// More arrivals than any burst may have; the server's setting is far below.
const MOST_ARRIVALS: usize = 10_000;

/// The name of an event that has no `event` line.
const UNNAMED: &str = "message";

/// Something that happened on a stream, and when. An entry never changes: news is a new entry.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// Milliseconds since 1970.
    pub at: f64,
    /// What happened.
    pub what: What,
}

/// What can happen on a stream.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum What {
    /// The response began; `after` is the event it went on from.
    Opened {
        /// The id of the last event heard before.
        after: Option<String>,
    },
    /// An event came.
    Event {
        /// Its id; empty if it has none.
        id: String,
        /// Its name.
        name: String,
        /// Its data.
        data: String,
    },
    /// The connection broke.
    Lost,
    /// The server would not stream, with these words.
    Refused(String),
    /// The server said that there is nothing more.
    Ended,
}

impl What {
    /// The event as it stood on the wire; `None` if this isn't one.
    pub fn frame(&self) -> Option<String> {
        let Self::Event { id, name, data } = self else { return None };
        let id = Some(id.as_str()).filter(|id| !id.is_empty());
        let event = Some(name.as_str()).filter(|name| *name != UNNAMED);
        Some(Frame { id, event, retry: None, data }.to_string())
    }
}

/// A burst as far as it was heard.
#[derive(Clone, Debug, PartialEq)]
pub struct Burst {
    /// Its connection.
    pub line: Line,
    /// Everything that happened, oldest first.
    pub log: Vec<Entry>,
    /// When each arrival came: the first, the second, ... `None` for one that hasn't.
    pub arrivals: Vec<Option<f64>>,
    /// When the stream's end came.
    pub closed_at: Option<f64>,
    /// Its place among those that wait.
    pub(super) turn: u64,
}

impl Burst {
    /// A burst of `of` arrivals that nobody has watched.
    pub(super) fn new(of: u32) -> Self {
        Self { line: Line::default(), log: Vec::new(), arrivals: vec![None; of as usize], closed_at: None, turn: 0 }
    }

    /// How many have arrived.
    pub fn arrived(&self) -> usize {
        self.arrivals.iter().flatten().count()
    }

    /// Whether an event with this id was heard before.
    pub(super) fn knows(&self, event_id: &str) -> bool {
        !event_id.is_empty()
            && self.log.iter().any(|entry| matches!(&entry.what, What::Event { id, .. } if id == event_id))
    }

    /// Adds what happened. The arrival, if it was one.
    pub(super) fn note(&mut self, at: f64, what: What) -> Option<Arrival> {
        let arrival = self.read(at, &what);
        self.log.push(Entry { at, what });
        arrival
    }

    pub(super) fn read(&mut self, at: f64, what: &What) -> Option<Arrival> {
        let What::Event { id, name, data } = what else { return None };
        if !id.is_empty() {
            self.line.last_id = Some(id.clone());
        }
        if name == CLOSE {
            self.closed_at = Some(at);
            return None;
        }
        let arrival: Arrival = serde_json::from_str(data).ok()?;
        let (of, nth) = (arrival.of as usize, arrival.repeat.checked_sub(1)? as usize);
        // The numbers come from the wire: one that can't be true must not make the page allocate by it.
        if nth >= of || of > MOST_ARRIVALS {
            return None;
        }
        self.arrivals.resize(of, None);
        self.arrivals[nth] = Some(at);
        Some(arrival)
    }
}
