//! A node's presence lease: the node renews it with heartbeats, and expires the leases of nodes that have stopped.

use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval};
use tracing::{debug, warn};

use super::remote::{self, HEARTBEAT_INTERVAL, PresenceMessage, RemotePresence};
use crate::server::hub::HubShared;

/// Time between two checks of all leases.
const CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// Renews this node's lease, and expires others, until the hub and its sessions are gone.
pub(in crate::server::hub) async fn run(hub: Weak<HubShared>) {
    let mut checks = interval(CHECK_INTERVAL);
    checks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut last_heartbeat: Option<Instant> = None;
    loop {
        checks.tick().await;
        let Some(shared) = hub.upgrade() else { return };
        let sent = match last_heartbeat {
            // Events that were published before this node started have expired or were evicted: it needs a snapshot.
            None => broadcast(&shared, &PresenceMessage::SnapshotRequest(shared.instance)).await,
            Some(last) if last.elapsed() >= HEARTBEAT_INTERVAL => {
                let heartbeat = PresenceMessage::Heartbeat(shared.instance);
                shared.log.broadcast_unordered(heartbeat.encode()).await.is_ok()
            }
            Some(_) => false,
        };
        if sent {
            last_heartbeat = Some(Instant::now());
        }
        expire_lease(&shared).await;
    }
}

/// Ends the subscriptions of a node whose lease has expired. If several nodes notice it, one of them does this.
async fn expire_lease(shared: &HubShared) {
    let Some((node, subscriptions)) = shared.remote_presence.as_ref().and_then(RemotePresence::find_expired) else {
        return;
    };
    let expired = PresenceMessage::Expired(node);
    if !matches!(shared.log.claim(&expired.encode()).await, Ok(true)) {
        return;
    }
    if !subscriptions.is_empty() {
        warn!(?node, subscriptions = subscriptions.len(), "a node's lease has expired: its subscriptions end");
    }
    shared.presence.publish(&subscriptions, false);
    shared.presence.settle().await;
    broadcast(shared, &expired).await;
}

/// Handles a message from any node, this one included. It doesn't wait: the log is not read on meanwhile.
pub(in crate::server::hub) fn handle(shared: &Arc<HubShared>, message: &PresenceMessage) {
    let Some(remote_presence) = &shared.remote_presence else { return };
    remote_presence.handle(message);
    let own_subscriptions = || shared.sessions.list(shared.presence.root(), None, usize::MAX).subscriptions;
    match message {
        PresenceMessage::SnapshotRequest(node) if *node != shared.instance => {
            let snapshot = remote::snapshot(shared.instance, &own_subscriptions());
            let shared = shared.clone();
            tokio::spawn(async move {
                for message in snapshot {
                    broadcast(&shared, &message).await;
                }
            });
        }
        // A subscription may have ended after the snapshot was taken, and its event may precede the snapshot in the log.
        PresenceMessage::Snapshot { node, .. } if *node == shared.instance => {
            let is_closed = |id: &str| shared.sessions.subscription(id).is_none();
            let ended: Vec<_> = message.subscriptions().filter(|active| is_closed(&active.id())).collect();
            shared.presence.publish(&ended, false);
        }
        // Another node has taken this one for dead.
        PresenceMessage::Expired(node) if *node == shared.instance => {
            shared.presence.publish(&own_subscriptions(), true);
        }
        _ => {}
    }
}

async fn broadcast(shared: &HubShared, message: &PresenceMessage) -> bool {
    let sent = shared.log.broadcast(message.encode()).await;
    sent.inspect_err(|error| debug!(%error, "a presence message was not sent")).is_ok()
}
