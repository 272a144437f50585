//! Heartbeats and deadlines of all sessions, looked after by one task: an idle session has no timer.

use chrono::{DateTime, Utc};
use tokio::time::Instant;

use super::{SessionKey, Sessions};
use crate::server::hub::outlet::EndReason;

/// Number of sessions that are looked at under one lock.
const CHUNK: usize = 1024;

/// What a sweep compares the sessions with.
#[derive(Clone, Copy, Debug)]
pub(in crate::server::hub) struct SweepTimes {
    /// Tokens that expire at this time or before end their sessions.
    pub(in crate::server::hub) expired: DateTime<Utc>,
    /// Now, for lifetimes.
    pub(in crate::server::hub) now: Instant,
    /// Sessions that wrote nothing since, in milliseconds since the hub was opened, are due for a heartbeat; `None` while
    /// the hub is younger than that.
    pub(in crate::server::hub) silent_since: Option<u64>,
}

impl Sessions {
    /// Ends the sessions whose time is over, and has the silent ones send a comment.
    pub(in crate::server::hub) fn sweep(&self, times: SweepTimes) {
        let mut from: SessionKey = 0;
        loop {
            let table = self.table();
            let until = table.records.capacity().min(from + CHUNK);
            for record in (from..until).filter_map(|key| table.records.get(key)) {
                let session = &record.session;
                if session.expires.is_some_and(|at| at <= times.expired) {
                    session.outlet.end(EndReason::Expired);
                } else if session.deadline.is_some_and(|at| at <= times.now) {
                    session.outlet.end(EndReason::Lifetime);
                } else if let Some(silent_since) = times.silent_since {
                    session.outlet.beat(silent_since);
                }
            }
            if until == table.records.capacity() {
                return;
            }
            from = until;
        }
    }
}
