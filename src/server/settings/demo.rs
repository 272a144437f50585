//! The demo's settings: its bursts and its messages.

use std::time::Duration;

use super::{Options, SettingsError, within};
use crate::wire::message::DEFAULT_MAX_BYTES;

const DEFAULT_BURST_REPEAT: u32 = 3;
const DEFAULT_BURST_INTERVAL: Duration = Duration::from_secs(1);
/// More would keep one stream busy for minutes, and its frames in memory.
const MAX_BURST_REPEAT: u32 = 1000;

/// What the demo needs to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DemoSettings {
    /// How often a burst sends its message, at least once.
    pub burst_repeat: u32,
    /// The time between two events of a burst.
    pub burst_interval: Duration,
    /// Longest message, in bytes of UTF-8.
    pub max_message: usize,
}

impl DemoSettings {
    pub(super) fn resolve(options: &Options, max_body: usize) -> Result<Self, SettingsError> {
        Ok(Self {
            burst_repeat: within("burst-repeat", options.burst_repeat, DEFAULT_BURST_REPEAT, 1, MAX_BURST_REPEAT)?,
            burst_interval: options.burst_interval.map_or(DEFAULT_BURST_INTERVAL, |span| span.0),
            max_message: within("max-message", options.max_message, DEFAULT_MAX_BYTES, 1, max_body)?,
        })
    }
}
