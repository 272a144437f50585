//! The demo streams that can be switched on to watch.

use std::collections::VecDeque;

use crate::ui::stream::Connection;
use crate::wire::paths;

/// How many events of a demo stream are shown.
pub const EVENTS_SHOWN: usize = 3;

/// Names a demo stream.
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

/// The state of a demo stream.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DemoStream {
    /// Its connection.
    pub connection: Connection,
    /// The last [`EVENTS_SHOWN`] events, newest first.
    pub events: VecDeque<DemoEvent>,
    /// The number of events since it was switched on.
    pub count: u64,
    /// Its position among the streams that wait for a connection.
    pub(super) queue_position: u64,
}

/// One event of a demo stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DemoEvent {
    /// Its id; empty if it has none.
    pub id: String,
    /// Its data.
    pub data: String,
}

impl DemoStream {
    pub(super) fn add(&mut self, id: String, data: String) {
        self.count += 1;
        if !id.is_empty() {
            self.connection.last_id = Some(id.clone());
        }
        self.events.push_front(DemoEvent { id, data });
        self.events.truncate(EVENTS_SHOWN);
    }
}
