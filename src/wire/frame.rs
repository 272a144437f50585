//! One SSE event as it stands on the wire (WHATWG HTML, 9.2.6 "Interpreting an event stream").
//!
//! The server encodes with it, and the page shows what came with it: both see the same frame.

use std::fmt::{self, Write};

/// A comment that keeps an idle connection open; it never reaches a page's script.
///
/// Without an empty line, which ends an event: some clients call back at each one, even where there is no event.
pub const HEARTBEAT: &str = ":\n";

/// The fields of one event. Its `Display` is the frame, ended by its empty line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Frame<'a> {
    /// Becomes the client's `Last-Event-ID`. Without line ends and NUL: see [`is_field`].
    pub id: Option<&'a str>,
    /// The event's name; `None` is `message`. Without line ends: see [`is_field`].
    pub event: Option<&'a str>,
    /// How long the client waits before it reconnects, in milliseconds.
    pub retry: Option<u64>,
    /// The data. CR, LF and CRLF each begin a new `data` line and arrive as LF.
    pub data: &'a str,
}

/// Whether a value may stand in an `id` or `event` field: a line end would inject fields, and a
/// browser ignores an id that holds NUL.
pub fn is_field(value: &str) -> bool {
    !value.contains(['\n', '\r', '\0'])
}

impl Frame<'_> {
    /// The frame, in no more memory than it needs: the server keeps thousands.
    pub fn encode(&self) -> Box<str> {
        let id = self.id.map_or(0, |id| "id: \n".len() + id.len());
        let event = self.event.map_or(0, |event| "event: \n".len() + event.len());
        let retry = self.retry.map_or(0, |_| "retry: 18446744073709551615\n".len());
        // Exact for one line of data and no retry, as nearly all have it: shrinking it would copy it.
        let mut frame = String::with_capacity(id + event + retry + "data: \n\n".len() + self.data.len());
        // A string takes everything.
        _ = write!(frame, "{self}");
        frame.into_boxed_str()
    }
}

impl fmt::Display for Frame<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        debug_assert!(self.id.is_none_or(is_field) && self.event.is_none_or(is_field));
        if let Some(id) = self.id {
            writeln!(f, "id: {id}")?;
        }
        if let Some(event) = self.event {
            writeln!(f, "event: {event}")?;
        }
        if let Some(retry) = self.retry {
            writeln!(f, "retry: {retry}")?;
        }
        for line in lines(self.data) {
            writeln!(f, "data: {line}")?;
        }
        writeln!(f)
    }
}

/// Splits at CR, LF and CRLF, as a browser does. A line end that stands last leaves an empty line.
pub fn lines(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let text = rest?;
        let Some(end) = text.find(['\r', '\n']) else {
            rest = None;
            return Some(text);
        };
        let next = if text[end..].starts_with("\r\n") { end + 2 } else { end + 1 };
        rest = Some(&text[next..]);
        Some(&text[..end])
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_has_its_fields_in_order_and_ends_with_an_empty_line() {
        let frame = Frame { id: Some("7"), event: Some("close"), retry: Some(2000), data: "bye" };
        assert_eq!(frame.to_string(), "id: 7\nevent: close\nretry: 2000\ndata: bye\n\n");
        assert_eq!(*frame.encode(), *frame.to_string());
    }

    #[test]
    fn each_kind_of_line_end_begins_a_data_line() {
        let frame = Frame { data: "a\r\nb\rc\nid: 9\n", ..Frame::default() };
        assert_eq!(frame.to_string(), "data: a\ndata: b\ndata: c\ndata: id: 9\ndata: \n\n");
    }

    #[test]
    fn empty_data_is_still_an_event() {
        assert_eq!(Frame::default().to_string(), "data: \n\n");
    }
}
