//! The demo's settings: whether it is served, its bursts and its messages.

use std::time::Duration;

use super::{ListenAddress, Options, SettingsError, within};
use crate::server::log::{Limits, Quota, Size, TopicPattern};
use crate::wire::message::{DEFAULT_MAX_BYTES, TOPIC};

const DEFAULT_BURST_REPEAT: u32 = 3;
const DEFAULT_BURST_INTERVAL: Duration = Duration::from_secs(1);
/// A longer burst would keep its stream open for minutes, and its frames in memory.
const MAX_BURST_REPEAT: u32 = 1000;

/// Maximum number of messages kept, and their maximum size in bytes.
const KEPT_MESSAGES: u64 = 100_000;
const KEPT_BYTES: u64 = 64 << 20;

/// The settings of the demo, validated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DemoSettings {
    /// How many times a burst sends its message, at least once.
    pub burst_repeat: u32,
    /// The time between two events of a burst.
    pub burst_interval: Duration,
    /// Maximum size of a message, in bytes of UTF-8.
    pub max_message: usize,
}

impl DemoSettings {
    /// The quota of the messages: everybody can publish them, so they must not evict the hub's updates. It is never larger
    /// than the limits of the whole log.
    pub(super) fn quota(log: &Limits) -> Quota {
        let count = log.count.map_or(KEPT_MESSAGES, |count| count.min(KEPT_MESSAGES));
        let bytes = log.bytes.map_or(KEPT_BYTES, |bytes| bytes.min(KEPT_BYTES));
        Quota { pattern: TopicPattern::new(TOPIC), size: Size { count, bytes } }
    }

    /// `None` if the demo is switched off, which is the default unless the server is for this machine alone. The settings
    /// are validated in any case.
    pub(super) fn resolve(
        options: &Options,
        listen: &[ListenAddress],
        max_body: usize,
    ) -> Result<Option<Self>, SettingsError> {
        let settings = Self {
            burst_repeat: within("burst-repeat", options.burst_repeat, DEFAULT_BURST_REPEAT, 1, MAX_BURST_REPEAT)?,
            burst_interval: options.burst_interval.map_or(DEFAULT_BURST_INTERVAL, |span| span.0),
            max_message: within("max-message", options.max_message, DEFAULT_MAX_BYTES, 1, max_body)?,
        };
        Ok(options.demo.unwrap_or_else(|| options.is_for_this_machine(listen)).then_some(settings))
    }
}
