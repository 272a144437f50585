//! Standard output: prints updates as they arrive, and notices when its reader goes away.

use std::io::{self, IsTerminal, Write};
use std::os::fd::AsFd;

use serde::Serialize;
use tokio::io::Interest;
use tokio::net::unix::pipe::Sender;

use super::error::ClientError;
use crate::wire::decode::Event;

/// Prints updates: only their data, or one line of JSON for each.
pub(super) struct Output {
    json: bool,
}

/// An event in `--json` mode.
#[derive(Serialize)]
struct JsonLine<'a> {
    id: &'a str,
    #[serde(rename = "type")]
    name: &'a str,
    data: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    retry: Option<u64>,
}

impl Output {
    pub(super) fn new(json: bool) -> Self {
        Self { json }
    }

    pub(super) fn is_json(&self) -> bool {
        self.json
    }

    /// Prints an event and a line ending, and flushes them.
    pub(super) fn write(&self, event: Event) -> Result<(), ClientError> {
        let mut text = match self.json {
            true => json(&event).map_err(|error| ClientError::Output(error.into()))?,
            false => event.data,
        };
        text.push('\n');
        let mut out = io::stdout().lock();
        out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(ClientError::Output)
    }
}

fn json(event: &Event) -> serde_json::Result<String> {
    serde_json::to_string(&JsonLine { id: &event.id, name: &event.name, data: &event.data, retry: event.retry })
}

/// Waits until the reader of standard output has gone, as after `| head -1`. Never returns if standard output is not a
/// pipe. Call it within a tokio runtime.
pub(super) async fn reader_gone() {
    if let Some(pipe) = pipe()
        && pipe.ready(Interest::ERROR).await.is_ok()
    {
        return;
    }
    std::future::pending().await
}

/// A second descriptor of standard output, only to be polled. It stays in blocking mode, because other processes may
/// share it.
fn pipe() -> Option<Sender> {
    let out = io::stdout();
    if out.is_terminal() {
        return None;
    }
    // Fails for a file, which has no reader to lose and can't be polled.
    Sender::from_owned_fd_unchecked(out.as_fd().try_clone_to_owned().ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_json_line_has_the_fields_in_order_and_retry_only_where_it_was_sent() {
        let event = Event { id: "7".into(), name: "message".into(), data: "a\nb\"é".into(), retry: None };
        assert_eq!(json(&event).ok().as_deref(), Some(r#"{"id":"7","type":"message","data":"a\nb\"é"}"#));
        let event = Event { retry: Some(5), ..event };
        assert!(json(&event).is_ok_and(|line| line.ends_with(r#","retry":5}"#)));
    }
}
