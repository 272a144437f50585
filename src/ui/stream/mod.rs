//! A browser's event stream and its troubles, for any page: plain structs without signals, browser or clock.
//!
//! A page owns one [`Connection`] per stream. It reports what happens to it and when, opens and closes the real
//! streams with `browser`, and shows the [`Phase`]. What the streams carry is the page's own affair.

mod backoff;
mod connection;
mod log;
pub mod words;

pub use connection::{Answer, Connection, ConnectionEvent, Due, Phase, RESUMED_SHOWN, Resumed, SLOW_AFTER};
pub use log::{LogEntry, LogItem};

/// A point in time, and the random number to use at it. Nothing in here has a clock or dice of its own.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Moment {
    /// Milliseconds since 1970. Never runs backwards within one page.
    pub now: f64,
    /// Evenly distributed over 0 to 1. Spreads the clients of a restarted server over time.
    pub jitter: f64,
}
