//! The presence events that wait to be published, bounded in bytes.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::sleep;
use tracing::error;
use uuid::Uuid;

use super::{ActiveSubscription, EVENT, Target};
use crate::server::log::{AppendError, Field, Log, Topic, Update};

/// How long events are kept: a client that comes back later reads the list anew.
const EVENT_TTL: Duration = Duration::from_secs(600);

/// Maximum bytes of events that are published at once; one event always fits. A publisher waits behind them.
const BATCH_BYTES: usize = 64 << 10;

/// Bytes of events that wait to be published before new subscriptions have to wait too. Events of subscriptions that
/// end are not held back, so more may wait, at most one for each subscription that was open.
const QUEUE_BYTES: usize = 8 << 20;

/// Time between two attempts to publish events while a cluster is unavailable.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Events in the order of their changes.
#[derive(Default)]
pub(super) struct EventQueue {
    state: Mutex<EventQueueState>,
    pushed: Notify,
    published: Notify,
}

#[derive(Default)]
struct EventQueueState {
    waiting: VecDeque<PresenceEvent>,
    bytes: usize,
    /// Number of events that were ever pushed, and of those that were taken care of.
    pushed: u64,
    published: u64,
    closed: bool,
}

struct PresenceEvent {
    subscription: ActiveSubscription,
    is_active: bool,
}

impl PresenceEvent {
    fn update(&self) -> Option<Update> {
        let Self { subscription, is_active } = self;
        Some(Update {
            topics: vec![Topic::parse(&subscription.id()).ok()?],
            data: subscription.encode(*is_active, |document| serde_json::to_string(document)),
            id: None,
            // Clients of the older protocol hear only events without a type.
            event: Field::parse(EVENT).ok().filter(|_| !subscription.is_legacy()),
            retry: None,
            private: true,
            ttl: Some(EVENT_TTL),
        })
    }
}

impl EventQueue {
    pub(super) fn push(&self, targets: &[Arc<Target>], subscriber: Uuid, is_active: bool) {
        if targets.is_empty() {
            return;
        }
        {
            let mut state = self.state();
            for target in targets {
                let subscription = ActiveSubscription::new(target.clone(), subscriber);
                state.bytes += subscription.size();
                state.waiting.push_back(PresenceEvent { subscription, is_active });
            }
            state.pushed += targets.len() as u64;
        }
        self.pushed.notify_one();
    }

    /// Ends the publishing, once everything that was pushed is published.
    pub(super) fn close(&self) {
        self.state().closed = true;
        self.pushed.notify_one();
    }

    /// The next events, at most [`BATCH_BYTES`] of them; `None` once there are none and never will be.
    async fn next(&self) -> Option<Vec<PresenceEvent>> {
        loop {
            {
                let mut state = self.state();
                let mut batch = Vec::new();
                let mut bytes = 0;
                while bytes < BATCH_BYTES
                    && let Some(event) = state.waiting.pop_front()
                {
                    bytes += event.subscription.size();
                    batch.push(event);
                }
                state.bytes -= bytes;
                if state.waiting.is_empty() {
                    // After a crowd has come or gone.
                    state.waiting.shrink_to(64);
                }
                if !batch.is_empty() {
                    return Some(batch);
                }
                if state.closed {
                    return None;
                }
            }
            self.pushed.notified().await;
        }
    }

    /// Whether the next events can wait for a retry.
    fn may_retry(&self) -> bool {
        let state = self.state();
        !state.closed && state.bytes < QUEUE_BYTES / 2
    }

    /// Waits while too many events wait.
    pub(super) async fn wait_for_room(&self) {
        self.wait_until(|state| state.bytes < QUEUE_BYTES).await;
    }

    /// Waits until every event that has been pushed was published, or could not be.
    pub(super) async fn settle(&self) {
        let pushed = self.state().pushed;
        self.wait_until(|state| state.published >= pushed).await;
    }

    async fn wait_until(&self, reached: impl Fn(&EventQueueState) -> bool) {
        loop {
            // Before the look: what is published in between wakes it.
            let published = self.published.notified();
            if reached(&self.state()) {
                return;
            }
            published.await;
        }
    }

    fn state(&self) -> MutexGuard<'_, EventQueueState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Publishes the events in their order, as many at once as have come up meanwhile, until the queue is closed.
pub(super) async fn publish(log: Arc<dyn Log>, queue: Arc<EventQueue>) {
    while let Some(events) = queue.next().await {
        let updates: Vec<_> = events.iter().filter_map(PresenceEvent::update).collect();
        loop {
            match log.append_system(updates.clone()).await {
                // The other nodes of a cluster list what the events say, so they are retried while there is room.
                Err(AppendError::Unavailable(_) | AppendError::Unknown(_)) if queue.may_retry() => {
                    sleep(RETRY_AFTER).await
                }
                // The list is right all the same: a client reads it anew after a gap.
                Err(error) => break error!(%error, events = events.len(), "presence events were not published"),
                Ok(_) => break,
            }
        }
        queue.state().published += events.len() as u64;
        queue.published.notify_waiters();
    }
}
