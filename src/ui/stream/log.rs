//! The log of one stream: the frames as they arrived, and what happened to the connection between them.

use serde::{Deserialize, Serialize};

use crate::wire::frame::Frame;

/// The name of an event that has no `event` line.
const UNNAMED: &str = "message";

/// Something that happened on a stream, and when. An entry never changes: news is a new entry.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LogEntry {
    /// Milliseconds since 1970.
    pub at: f64,
    /// What happened.
    pub item: LogItem,
}

/// What can happen on a stream.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum LogItem {
    /// The response began.
    Opened {
        /// The id of the event that the stream resumed after; `None` for a stream that began.
        after: Option<String>,
    },
    /// An event arrived.
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
    /// The server refused to stream, for this reason.
    Refused(String),
    /// The server answered that the stream is over.
    Ended,
}

impl LogItem {
    /// The event as it stood on the wire; `None` for anything else.
    pub fn frame(&self) -> Option<String> {
        let Self::Event { id, name, data } = self else { return None };
        let id = Some(id.as_str()).filter(|id| !id.is_empty());
        let event = Some(name.as_str()).filter(|name| *name != UNNAMED);
        Some(Frame { id, event, retry: None, data }.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_shown_as_it_stood_on_the_wire() {
        let event = |id: &str, name: &str| LogItem::Event { id: id.into(), name: name.into(), data: "a\nb".into() };
        assert_eq!(event("7", "message").frame().as_deref(), Some("id: 7\ndata: a\ndata: b\n\n"));
        assert_eq!(event("", "close").frame().as_deref(), Some("event: close\ndata: a\ndata: b\n\n"));
        assert_eq!(LogItem::Lost.frame(), None);
    }
}
