//! The open streams, each a session: who holds it, what it wants and may have, until when, and where its entries go.
//!
//! They are spread over shards, each a table under a lock and with a fan-out of its own. Limits, revocation, presence's
//! list, heartbeats, deadlines and the drain are queries on them, and one guard removes a session everywhere.

mod drain;
mod index;
mod shard;
mod sweep;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chrono::{DateTime, Utc};
use tokio::time::Instant;
use uuid::Uuid;

#[cfg(test)]
pub(super) use index::Index;
pub(super) use index::{SubscribedPatterns, TopicMatches};
pub(super) use shard::{Scratch, Selected, Shard};

use super::mailbox::Mailbox;
use super::matcher::Matchers;
use super::presence::{ActiveSubscription, Target};
use super::wanted::Wanted;
use crate::server::log::Cursor;
use index::SessionKey;
use sweep::Lag;

/// Where a session is. The place is used again once the session has ended.
#[derive(Clone, Copy, Debug)]
pub(super) struct SessionPlace {
    shard: usize,
    key: SessionKey,
}

/// Who holds a token, as far as limits and revocations ask.
pub trait Holder: Send + Sync {
    /// Who issued the token.
    fn issuer(&self) -> &str;
    /// Whom it was issued to; empty where the issuer doesn't say.
    fn subject(&self) -> &str;
    /// The token's id (`jti`); empty where it has none.
    fn token_id(&self) -> &str;
}

/// Whose sessions count towards one limit.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ClientKey {
    /// All with tokens of this issuer and subject.
    Subject(Box<str>, Box<str>),
    /// All from this address, or from this /64 of IPv6.
    Network(IpAddr),
}

/// Which sessions to end.
#[derive(Clone, Copy, Debug)]
pub enum RevocationTarget<'a> {
    /// Those of a subject.
    Subject {
        /// Who issued its tokens.
        issuer: &'a str,
        /// Its name.
        subject: &'a str,
    },
    /// Those of a token.
    Token {
        /// Who issued it.
        issuer: &'a str,
        /// Its `jti`.
        id: &'a str,
    },
    /// Those with a matcher that matches this topic.
    Topic(&'a str),
}

/// What the table is told of a session when it is opened.
pub(super) struct NewSession {
    pub(super) mailbox: Arc<Mailbox>,
    /// What it wants from the hub; `None` for a stream that is not fed by the hub.
    pub(super) wanted: Option<Arc<Wanted>>,
    pub(super) client: Option<ClientKey>,
    pub(super) holder: Option<Arc<dyn Holder>>,
    /// When its token expires, by the wall clock.
    pub(super) expires: Option<DateTime<Utc>>,
    /// When it has lived for as long as it may.
    pub(super) deadline: Option<Instant>,
}

impl NewSession {
    fn matchers(&self) -> Option<&Arc<Matchers>> {
        self.wanted.as_ref().map(|wanted| wanted.matchers())
    }

    /// What presence lists of it.
    fn targets(&self) -> &[Arc<Target>] {
        self.wanted.as_ref().map_or(&[], |wanted| wanted.targets())
    }
}

/// A client is at its limit of open streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AtLimit(
    /// The limit.
    pub usize,
);

/// Some of the open subscriptions, by their topics.
#[derive(Debug)]
pub struct SubscriptionList {
    /// In order.
    pub subscriptions: Vec<ActiveSubscription>,
    /// How many there are on all pages.
    pub total: usize,
    /// Whether more follow.
    pub more: bool,
}

impl SubscriptionList {
    /// Merges two lists, and keeps at most `limit` subscriptions.
    pub(super) fn merge(mut self, other: Self, limit: usize) -> Self {
        self.subscriptions.extend(other.subscriptions);
        self.subscriptions.sort_unstable_by(|one, other| one.place().cmp(&other.place()));
        self.more |= other.more || self.subscriptions.len() > limit;
        self.subscriptions.truncate(limit);
        self.total += other.total;
        self
    }
}

/// The open streams.
pub(super) struct Sessions {
    shards: Box<[Arc<Shard>]>,
    /// The next session's shard, as often counted on as there were sessions.
    next: AtomicUsize,
    /// How many sessions each client has.
    clients: Mutex<HashMap<ClientKey, usize>>,
}

impl Sessions {
    /// None yet, in so many shards. Sessions begin after `position`.
    pub(super) fn new(shards: usize, presence_root: &str, position: Cursor) -> Self {
        let shards = (0..shards.max(1)).map(|_| Arc::new(Shard::new(presence_root.into(), position))).collect();
        Self { shards, next: AtomicUsize::new(0), clients: Mutex::default() }
    }

    pub(super) fn shards(&self) -> &[Arc<Shard>] {
        &self.shards
    }

    /// Opens a session, and answers its place and the position it begins after. Every entry that is fanned out from now
    /// on, and that it wants, is offered to its mailbox. A session opened during a drain is ended at once.
    pub(super) fn insert(
        &self,
        session: NewSession,
        client_limit: Option<usize>,
    ) -> Result<(SessionPlace, Cursor), AtLimit> {
        if let Some(client) = &session.client {
            let mut clients = self.clients();
            let count = clients.entry(client.clone()).or_default();
            if let Some(limit) = client_limit.filter(|limit| *count >= *limit) {
                return Err(AtLimit(limit));
            }
            *count += 1;
        }
        let shard = self.next.fetch_add(1, Ordering::Relaxed) % self.shards.len();
        let (key, position) = self.shards[shard].insert(session);
        Ok((SessionPlace { shard, key }, position))
    }

    /// Removes a session, and answers what it wanted from the hub, and as whom.
    pub(super) fn remove(&self, place: SessionPlace) -> Option<(Arc<Wanted>, Uuid)> {
        let session = self.shards[place.shard].remove(place.key)?;
        if let Some(client) = &session.client {
            let mut clients = self.clients();
            if let Some(count) = clients.get_mut(client) {
                *count -= 1;
                if *count == 0 {
                    clients.remove(client);
                }
            }
        }
        Some((session.wanted?, session.mailbox.subscriber()))
    }

    /// Ends sessions, and answers how many.
    pub(super) fn end(&self, target: RevocationTarget<'_>) -> usize {
        self.shards.iter().map(|shard| shard.end(target)).sum()
    }

    /// Ends the sessions that have lived for as long as they may, and has those send a comment that wrote nothing since
    /// `silent_since`. Both times are in milliseconds since the hub was opened. Answers who is behind.
    pub(super) async fn sweep(&self, now: Instant, elapsed: u64, silent_since: Option<u64>) -> Lag {
        let mut lag = Lag::default();
        for shard in &self.shards {
            lag = lag.and(shard.sweep(now, elapsed, silent_since).await);
        }
        lag
    }

    /// The open subscriptions whose topics lie below `topic`, after the topic `after`, at most `limit`.
    pub(super) fn list(&self, topic: &str, after: Option<&str>, limit: usize) -> SubscriptionList {
        let none = SubscriptionList { subscriptions: Vec::new(), total: 0, more: false };
        self.shards.iter().fold(none, |all, shard| all.merge(shard.list(topic, after, limit), limit))
    }

    /// The open subscription with this topic.
    pub(super) fn subscription(&self, topic: &str) -> Option<ActiveSubscription> {
        self.shards.iter().find_map(|shard| shard.subscription(topic))
    }

    /// What has been fanned out to all.
    #[cfg(test)]
    pub(super) fn position(&self) -> Cursor {
        self.shards.iter().map(|shard| shard.position()).min().unwrap_or(Cursor::START)
    }

    /// Whether nothing is left of any session.
    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.shards.iter().all(|shard| shard.is_empty()) && self.clients().is_empty()
    }

    fn clients(&self) -> MutexGuard<'_, HashMap<ClientKey, usize>> {
        self.clients.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
