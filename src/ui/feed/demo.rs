//! The demo streams that can be switched on to watch.

use std::collections::VecDeque;

use super::line::Line;
use crate::wire::paths;

/// Events shown of a demo stream.
pub const SHOWN: usize = 3;

/// A demo stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Demo {
    /// The server's time, every second.
    Clock,
    /// A timestamped message, every five seconds.
    Sse,
    /// Numbered events at random short intervals.
    Counter,
}

impl Demo {
    /// All of them, in the order of the page.
    pub const ALL: [Self; 3] = [Self::Clock, Self::Sse, Self::Counter];

    /// Its address.
    pub fn path(self) -> &'static str {
        match self {
            Self::Clock => paths::CLOCK,
            Self::Sse => paths::SSE,
            Self::Counter => paths::COUNTER,
        }
    }
}

/// A demo stream as far as it was heard.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tap {
    /// Its connection.
    pub line: Line,
    /// The last events, newest first.
    pub last: VecDeque<Ticked>,
    /// How many came in all.
    pub count: u64,
    /// Its place among those that wait.
    pub(super) turn: u64,
}

/// One event of a demo stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ticked {
    /// Its id; empty if it has none.
    pub id: String,
    /// Its data.
    pub data: String,
}

impl Tap {
    pub(super) fn hear(&mut self, id: String, data: String) {
        self.count += 1;
        if !id.is_empty() {
            self.line.last_id = Some(id.clone());
        }
        self.last.push_front(Ticked { id, data });
        self.last.truncate(SHOWN);
    }
}
