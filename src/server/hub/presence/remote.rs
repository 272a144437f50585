//! Presence at the other nodes of a cluster.
//!
//! A subscriber's UUID begins with the id of its node's process, so each event says which node has the subscription. The
//! events come through the log, in its order, so the list and the events agree on every node.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tokio::time::Instant;
use uuid::{Builder, Uuid};

use super::listed::Listed;
use super::{ActiveSubscription, Target};
use crate::server::hub::MatchType;
use crate::server::hub::sessions::SubscriptionList;
use crate::server::log::{Entry, Lane, Topic};

/// Time between two heartbeats of a node.
pub(in crate::server::hub) const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(3);
/// A node's lease expires after this time without a heartbeat.
pub(super) const LEASE_TIMEOUT: Duration = Duration::from_secs(10);
/// Maximum number of subscriptions in one snapshot message.
const SNAPSHOT_PART: usize = 256;

/// Identifies a node's process. It is the first 32 bits of its subscribers' UUIDs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct InstanceId(u32);

/// A control message about presence.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PresenceMessage {
    /// A node renews its lease.
    Heartbeat(InstanceId),
    /// A node has started and needs a snapshot from each of the others.
    SnapshotRequest(InstanceId),
    /// A part of a node's open subscriptions.
    Snapshot {
        /// The node.
        node: InstanceId,
        /// The subscriptions, as their events show them.
        subscriptions: Vec<Value>,
    },
    /// A node's lease has expired, and its subscriptions have ended.
    Expired(InstanceId),
}

/// The open subscriptions at the other nodes, and the leases of all remote.
pub(in crate::server::hub) struct RemotePresence {
    own: InstanceId,
    state: Mutex<RemoteState>,
}

#[derive(Default)]
struct RemoteState {
    listed: Listed,
    /// When each node last sent something, this one included.
    last_heard: HashMap<InstanceId, Instant>,
}

/// A subscription as its event shows it.
#[derive(Deserialize)]
struct SubscriptionEvent {
    id: String,
    match_type: Option<String>,
    #[serde(rename = "match")]
    text: Option<String>,
    /// The older protocol has this instead of both.
    topic: Option<String>,
    active: bool,
    payload: Option<Map<String, Value>>,
}

impl PresenceMessage {
    /// Encodes the message for the other remote.
    pub(super) fn encode(&self) -> String {
        serde_json::json!({ "presence": self }).to_string()
    }

    /// The subscriptions of a snapshot.
    pub(super) fn subscriptions(&self) -> impl Iterator<Item = ActiveSubscription> + '_ {
        let subscriptions = match self {
            Self::Snapshot { subscriptions, .. } => &subscriptions[..],
            _ => &[],
        };
        subscriptions.iter().filter_map(|event| SubscriptionEvent::deserialize(event).ok()?.subscription())
    }
}

impl InstanceId {
    /// A random id: no two live processes have the same.
    pub(in crate::server::hub) fn random() -> Self {
        Self(rand::random())
    }

    /// Makes the UUID of a new subscriber at this node.
    pub(in crate::server::hub) fn subscriber(self) -> Uuid {
        // From this thread's own generator: the system's costs a call for each stream.
        let mut bytes: [u8; 16] = rand::random();
        bytes[..4].copy_from_slice(&self.0.to_be_bytes());
        Builder::from_random_bytes(bytes).into_uuid()
    }

    /// The node that has this subscriber.
    fn of(subscriber: Uuid) -> Self {
        Self((subscriber.as_u128() >> 96) as u32)
    }
}

impl RemotePresence {
    /// No subscriptions and no leases yet.
    pub(in crate::server::hub) fn new(own: InstanceId) -> Self {
        Self { own, state: Mutex::default() }
    }

    /// Applies an entry of the log, which may be an event of another node's subscription.
    pub(in crate::server::hub) fn apply(&self, entry: &Entry, root: &str) {
        let topic = entry.topics.first().map(Topic::as_str).filter(|topic| topic.starts_with(root));
        let subscriber = topic.and_then(|topic| ActiveSubscription::parts(topic).1);
        // This node's own events are most of them, and need not be parsed.
        if entry.lane == Lane::System
            && subscriber.is_some_and(|subscriber| InstanceId::of(subscriber) != self.own)
            && let Ok(event) = serde_json::from_str(&entry.data())
        {
            self.update(event);
        }
    }

    fn update(&self, event: SubscriptionEvent) {
        let (path, Some(subscriber)) = ActiveSubscription::parts(&event.id) else { return };
        if InstanceId::of(subscriber) == self.own {
            return;
        }
        let mut state = self.state();
        if !event.active {
            state.listed.remove(path, subscriber);
            return;
        }
        let known = state.listed.target(path).filter(|target| target.payload == event.payload).cloned();
        if let Some(target) = known.or_else(|| event.target(path).map(Arc::new)) {
            state.listed.insert(&target, subscriber);
            state.last_heard.entry(InstanceId::of(subscriber)).or_insert_with(Instant::now);
        }
    }

    /// Handles a message of any node, this one included.
    pub(super) fn handle(&self, message: &PresenceMessage) {
        let (PresenceMessage::Heartbeat(node)
        | PresenceMessage::SnapshotRequest(node)
        | PresenceMessage::Snapshot { node, .. }
        | PresenceMessage::Expired(node)) = *message;
        match message {
            PresenceMessage::Expired(_) => {
                let mut state = self.state();
                state.last_heard.remove(&node);
                state.listed.remove_all(|subscriber| InstanceId::of(subscriber) == node);
            }
            PresenceMessage::Snapshot { subscriptions, .. } => {
                self.state().last_heard.insert(node, Instant::now());
                subscriptions
                    .iter()
                    .filter_map(|event| SubscriptionEvent::deserialize(event).ok())
                    .for_each(|event| self.update(event));
            }
            PresenceMessage::Heartbeat(_) | PresenceMessage::SnapshotRequest(_) => {
                _ = self.state().last_heard.insert(node, Instant::now())
            }
        }
    }

    /// A node whose lease has expired, and its subscriptions.
    pub(super) fn find_expired(&self) -> Option<(InstanceId, Vec<ActiveSubscription>)> {
        let state = self.state();
        // Without a connection no heartbeat arrives, not even this node's own.
        state.last_heard.get(&self.own).filter(|last| last.elapsed() < 2 * HEARTBEAT_INTERVAL)?;
        let (node, _) = state.last_heard.iter().find(|(_, last)| last.elapsed() > LEASE_TIMEOUT)?;
        let of_node = |active: &ActiveSubscription| InstanceId::of(active.subscriber) == *node;
        Some((*node, state.listed.all().filter(of_node).collect()))
    }

    /// The subscriptions at other nodes, as [`Listed::list`] has them.
    pub(in crate::server::hub) fn list(&self, topic: &str, after: Option<&str>, limit: usize) -> SubscriptionList {
        self.state().listed.list(topic, after, limit)
    }

    pub(in crate::server::hub) fn subscription(&self, topic: &str) -> Option<ActiveSubscription> {
        self.state().listed.get(topic)
    }

    fn state(&self) -> MutexGuard<'_, RemoteState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The messages of a node's snapshot.
pub(super) fn snapshot(node: InstanceId, subscriptions: &[ActiveSubscription]) -> Vec<PresenceMessage> {
    let message = |part: &[ActiveSubscription]| PresenceMessage::Snapshot {
        node,
        subscriptions: part.iter().map(ActiveSubscription::document).collect(),
    };
    subscriptions.chunks(SNAPSHOT_PART).map(message).collect()
}

impl SubscriptionEvent {
    fn subscription(&self) -> Option<ActiveSubscription> {
        let (path, subscriber) = ActiveSubscription::parts(&self.id);
        Some(ActiveSubscription::new(Arc::new(self.target(path)?), subscriber?))
    }

    fn target(&self, path: &str) -> Option<Target> {
        let (match_type, text) = match (&self.match_type, &self.text, &self.topic) {
            (Some(match_type), Some(text), _) => (MatchType::named(match_type)?, text),
            (None, None, Some(topic)) => (MatchType::UriTemplate, topic),
            _ => return None,
        };
        Some(Target { path: path.into(), match_type, text: Topic::parse(text).ok()?, payload: self.payload.clone() })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const ROOT: &str = "/.well-known/mercure/subscriptions";

    fn document(node: InstanceId) -> (String, Value) {
        let subscriber = node.subscriber();
        let target = Target {
            path: format!("{ROOT}/exact/a/").into(),
            match_type: MatchType::Exact,
            text: Topic::parse("a").expect("a topic"),
            payload: None,
        };
        let active = ActiveSubscription::new(Arc::new(target), subscriber);
        (active.id(), active.document())
    }

    #[tokio::test(start_paused = true)]
    async fn a_lease_expires_only_while_this_nodes_own_heartbeats_arrive() {
        let [own, other] = [InstanceId(1), InstanceId(2)];
        let remote = RemotePresence::new(own);
        let (id, told) = document(other);
        remote.handle(&PresenceMessage::Snapshot { node: other, subscriptions: vec![told.clone()] });
        assert_eq!(remote.subscription(&id).expect("a subscription").document(), told);
        tokio::time::advance(LEASE_TIMEOUT * 2).await;
        assert!(remote.find_expired().is_none(), "no heartbeat arrives at all");
        remote.handle(&PresenceMessage::Heartbeat(own));
        let (node, had) = remote.find_expired().expect("an expired lease");
        assert_eq!((node, had.len()), (other, 1));
        remote.handle(&PresenceMessage::Expired(other));
        assert!(remote.find_expired().is_none() && remote.subscription(&id).is_none());
    }

    #[tokio::test]
    async fn an_ended_subscription_is_removed_and_own_subscriptions_are_ignored() {
        let [own, other] = [InstanceId(1), InstanceId(2)];
        let remote = RemotePresence::new(own);
        let ((id, told), (own_id, own_told)) = (document(other), document(own));
        remote.handle(&PresenceMessage::Snapshot { node: other, subscriptions: vec![told.clone(), own_told] });
        assert_eq!(remote.list(ROOT, None, 10).total, 1);
        assert!(remote.subscription(&own_id).is_none());
        let mut ended = told;
        ended["active"] = json!(false);
        remote.update(SubscriptionEvent::deserialize(ended).expect("an event"));
        assert!(remote.subscription(&id).is_none());
    }
}
