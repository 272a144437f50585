//! The data of the demo's events, and of the events that the server itself adds to a stream.

use serde::{Deserialize, Serialize};

use super::frame::Frame;

/// The name of the event that ends a finite stream.
///
/// It always carries data: a browser never dispatches an event without a `data` line.
pub const CLOSE: &str = "close";

/// The id of the event that ends a burst is the message's id, a colon and this.
pub const CLOSE_SUFFIX: &str = "close";

/// The data of one event of a burst.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Arrival {
    /// The message's text.
    pub message: String,
    /// Which of the burst's events this is, from 1.
    pub repeat: u32,
    /// How many the burst has.
    pub of: u32,
}

/// The data of a [`CLOSE`] event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Close {
    /// Why the stream ends.
    pub reason: CloseReason,
}

/// The name of the event that says updates were lost before they could be read.
pub const GAP: &str = "gap";

/// The data of a [`GAP`] event: the stream goes on with the oldest update that is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gap {
    /// The event id the client came back with; `None` if it fell behind while it was connected.
    pub asked: Option<String>,
    /// The id of the oldest update that is kept and wanted, the next one sent; `None` if there is none.
    pub oldest: Option<String>,
    /// Always true: what lay between the two is gone, or the id that was asked for is unknown.
    pub lost: bool,
}

impl Gap {
    /// The event. It has no id: the client's last one stays what it was.
    pub fn frame(&self) -> String {
        let data = serde_json::to_string(self).unwrap_or_default();
        Frame { event: Some(GAP), data: &data, ..Frame::default() }.to_string()
    }
}

/// Why a stream ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CloseReason {
    /// Everything was sent: a client that asks again is answered 204.
    Complete,
}
