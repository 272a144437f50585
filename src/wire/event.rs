//! What the events of the demo's streams say.

use serde::{Deserialize, Serialize};

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

/// Why a stream ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CloseReason {
    /// Everything was sent: a client that asks again is answered 204.
    Complete,
}
