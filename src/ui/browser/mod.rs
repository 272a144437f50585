//! The door to the browser: streams, timers, requests, storage. The only room that touches it.
//!
//! `live.rs` does it, `inert.rs` stands in for it on the server, where none of it is ever called:
//! everything here is used in event handlers and effects.

#[cfg_attr(feature = "hydrate", path = "live.rs")]
#[cfg_attr(not(feature = "hydrate"), path = "inert.rs")]
mod imp;

pub(super) use imp::{Listeners, Stream, Timer, ask, copy, local_time, moment, recall, remember, submit};

use crate::wire::problem::Problem;

/// The names that events of this server have. A browser hands a script only the names it listens for.
#[cfg_attr(not(feature = "hydrate"), expect(dead_code, reason = "only a browser listens"))]
const EVENT_NAMES: [&str; 3] = ["message", crate::wire::event::CLOSE, crate::wire::event::GAP];

/// Something that happens to the page as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(not(feature = "hydrate"), expect(dead_code, reason = "only a browser says so"))]
pub(super) enum PageEvent {
    /// It is looked at, or no longer.
    Visible(bool),
    /// The network is there, or gone.
    Online(bool),
}

/// Why a message was not published.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(not(feature = "hydrate"), expect(dead_code, reason = "only a browser submits"))]
pub(super) enum Unsent {
    /// The server said no.
    Refused(Problem),
    /// The server could not be reached.
    Unreachable,
}
