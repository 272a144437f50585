//! Heartbeats and deadlines of all sessions, looked after by one task: an idle session has no timer.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::task::yield_now;
use tokio::time::{Instant, sleep, timeout};

use super::index::SessionKey;
use super::shard::Shard;
use crate::server::hub::mailbox::{EndReason, Mailbox};
use crate::server::log::{Clock, Cursor};

/// Number of sessions that are looked at under one lock.
const CHUNK: usize = 256;

/// The sessions that have not read everything.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::server::hub) struct Lag {
    /// How many there are.
    pub(in crate::server::hub) sessions: usize,
    /// Up to where the one that is furthest behind has read.
    pub(in crate::server::hub) furthest: Option<Cursor>,
}

impl Lag {
    fn add(&mut self, behind_at: Option<Cursor>) {
        if behind_at.is_some() {
            self.sessions += 1;
            self.furthest = self.furthest.into_iter().chain(behind_at).min();
        }
    }

    pub(super) fn and(self, other: Self) -> Self {
        let furthest = self.furthest.into_iter().chain(other.furthest).min();
        Self { sessions: self.sessions + other.sessions, furthest }
    }
}

impl Shard {
    /// Ends the sessions that have lived for as long as they may, and has those send a comment that wrote nothing since
    /// `silent_since`. Both times are in milliseconds since the hub was opened. Answers who is behind.
    pub(in crate::server::hub) async fn sweep(&self, now: Instant, elapsed: u64, silent_since: Option<u64>) -> Lag {
        let mut lag = Lag::default();
        let mut from: SessionKey = 0;
        let (mut over, mut silent): (Vec<Arc<Mailbox>>, Vec<Arc<Mailbox>>) = Default::default();
        loop {
            let (until, end) = {
                let table = self.table();
                let until = table.records.capacity().min(from + CHUNK);
                for record in (from..until).filter_map(|key| table.records.get(key)) {
                    let session = &record.session;
                    lag.add(session.mailbox.behind_at());
                    if session.deadline.is_some_and(|at| at <= now) {
                        over.push(session.mailbox.clone());
                    } else if silent_since.is_some_and(|silent_since| session.mailbox.is_silent(silent_since)) {
                        silent.push(session.mailbox.clone());
                    }
                }
                (until, table.records.capacity())
            };
            // Not under the lock: a comment may be written at once.
            over.drain(..).for_each(|mailbox| mailbox.end(EndReason::Lifetime));
            silent.drain(..).for_each(|mailbox| mailbox.beat(elapsed));
            if until == end {
                return lag;
            }
            from = until;
            yield_now().await;
        }
    }

    /// Ends the sessions whose tokens have expired at `now`, and answers when the next one does.
    fn expire(&self, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let mut table = self.table();
        loop {
            let &(at, key) = table.expiries.first()?;
            if at > now {
                return Some(at);
            }
            table.expiries.pop_first();
            if let Some(record) = table.records.get(key) {
                record.session.mailbox.end(EndReason::Expired);
            }
        }
    }

    /// Ends expired sessions until the next one expires, at most for `time`. The clock is looked at once more each
    /// `time`, since it may be set, or the machine may sleep.
    pub(in crate::server::hub) async fn expire_for(&self, time: Duration, clock: &Clock) {
        let now = clock();
        let next = self.expire(now).and_then(|next| (next - now).to_std().ok());
        match next.filter(|next| *next < time) {
            Some(next) => sleep(next).await,
            None => _ = timeout(time, self.expiry_added.notified()).await,
        }
    }
}
