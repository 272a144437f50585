//! The door to the browser: streams, timers, requests, storage. The only room that touches it, and it knows no page.
//!
//! `live.rs` and `requests.rs` use the browser; `inert.rs` stands in for them on the server, where nothing of it is
//! ever called: pages use this room in event handlers and effects alone.

#[cfg_attr(feature = "hydrate", path = "live.rs")]
#[cfg_attr(not(feature = "hydrate"), path = "inert.rs")]
mod imp;

pub(super) use imp::{Listeners, Stream, Timer, ask, copy, load, local_time, moment, post, save};

use crate::wire::problem::Problem;

/// How long a request may go unanswered, in milliseconds. Without a limit, a request that the browser has no
/// connection for waits for ever.
#[cfg_attr(not(feature = "hydrate"), expect(dead_code, reason = "only a browser sends requests"))]
const REQUEST_TIMEOUT: f64 = 10_000.0;

/// The event names of this server. A browser hands a script only the names it listens for.
#[cfg_attr(not(feature = "hydrate"), expect(dead_code, reason = "only a browser listens"))]
const EVENT_NAMES: [&str; 3] = ["message", crate::wire::event::CLOSE, crate::wire::event::GAP];

/// Something that happens to the page as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(not(feature = "hydrate"), expect(dead_code, reason = "only a browser has such events"))]
pub(super) enum PageEvent {
    /// It became visible, or hidden.
    Visible(bool),
    /// The network is there, or gone.
    Online(bool),
}

/// Why a request brought nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(not(any(feature = "hydrate", test)), expect(dead_code, reason = "only a browser sends requests"))]
pub(super) enum RequestError {
    /// The server refused it.
    Refused(Problem),
    /// The server could not be reached.
    Unreachable,
    /// No answer within the time limit. Whether the server has seen the request is unknown.
    TimedOut,
}
