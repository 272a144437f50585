//! Presence in a cluster: the subscriptions at the other nodes, and which nodes live.
//!
//! Whose a subscription is, its subscriber says: it begins with the number of the node's process. Events of presence come
//! through the log, so what is listed and what is told agree on every node. A node tells every few seconds that it lives;
//! what one had that is silent is ended by another, with the events.

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

/// How often a node tells that it lives.
pub(in crate::server::hub) const TELL_EVERY: Duration = Duration::from_secs(3);
/// A node that was silent for so long is gone.
pub(super) const GONE_AFTER: Duration = Duration::from_secs(10);
/// How many subscriptions one note lists.
const LISTED: usize = 256;

/// The number of a node's process. It is in the first 32 bits of its subscribers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct NodeNumber(u32);

/// What nodes tell each other of presence.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PresenceNote {
    /// A node lives.
    Alive(NodeNumber),
    /// A node has started, and asks the others what they have.
    Asked(NodeNumber),
    /// What a node has.
    Listed {
        /// The node.
        node: NodeNumber,
        /// Some of its subscriptions, as their events show them.
        subscriptions: Vec<Value>,
    },
    /// A node was silent for too long: its subscriptions have ended.
    Gone(NodeNumber),
}

/// The other nodes.
pub(in crate::server::hub) struct Nodes {
    own: NodeNumber,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    listed: Listed,
    /// When each node was last heard of, this one too.
    heard: HashMap<NodeNumber, Instant>,
}

/// A subscription as its event shows it.
#[derive(Deserialize)]
struct Told {
    id: String,
    match_type: Option<String>,
    #[serde(rename = "match")]
    text: Option<String>,
    /// Instead of both, in the older protocol.
    topic: Option<String>,
    active: bool,
    payload: Option<Map<String, Value>>,
}

impl PresenceNote {
    /// As the log carries it.
    pub(super) fn text(&self) -> String {
        serde_json::json!({ "presence": self }).to_string()
    }

    /// The subscriptions that it lists.
    pub(super) fn subscriptions(&self) -> impl Iterator<Item = ActiveSubscription> + '_ {
        let listed = match self {
            Self::Listed { subscriptions, .. } => &subscriptions[..],
            _ => &[],
        };
        listed.iter().filter_map(|told| Told::deserialize(told).ok()?.subscription())
    }
}

impl NodeNumber {
    /// One that no other process has.
    pub(in crate::server::hub) fn random() -> Self {
        Self(rand::random())
    }

    /// A new subscriber at this node.
    pub(in crate::server::hub) fn subscriber(self) -> Uuid {
        // From this thread's own generator: the system's costs a call for each stream.
        let mut bytes: [u8; 16] = rand::random();
        bytes[..4].copy_from_slice(&self.0.to_be_bytes());
        Builder::from_random_bytes(bytes).into_uuid()
    }

    /// The node at which this subscriber is.
    fn of(subscriber: Uuid) -> Self {
        Self((subscriber.as_u128() >> 96) as u32)
    }
}

impl Nodes {
    /// None is known yet but this one.
    pub(in crate::server::hub) fn new(own: NodeNumber) -> Self {
        Self { own, state: Mutex::default() }
    }

    /// Takes an entry of the log: a subscription at another node may have begun or ended.
    pub(in crate::server::hub) fn apply(&self, entry: &Entry, root: &str) {
        if entry.lane == Lane::System
            && entry.topics.first().is_some_and(|topic| topic.as_str().starts_with(root))
            && let Ok(told) = serde_json::from_str(&entry.data())
        {
            self.take(told);
        }
    }

    fn take(&self, told: Told) {
        let (path, Some(subscriber)) = ActiveSubscription::parts(&told.id) else { return };
        if NodeNumber::of(subscriber) == self.own {
            return;
        }
        let mut state = self.state();
        if !told.active {
            state.listed.remove(path, subscriber);
            return;
        }
        let known = state.listed.target(path).filter(|target| target.payload == told.payload).cloned();
        if let Some(target) = known.or_else(|| told.target(path).map(Arc::new)) {
            state.listed.insert(&target, subscriber);
        }
    }

    /// Takes what a node has told.
    pub(super) fn hear(&self, note: &PresenceNote) {
        let (PresenceNote::Alive(node)
        | PresenceNote::Asked(node)
        | PresenceNote::Listed { node, .. }
        | PresenceNote::Gone(node)) = *note;
        match note {
            PresenceNote::Gone(_) => {
                let mut state = self.state();
                state.heard.remove(&node);
                state.listed.remove_all(|subscriber| NodeNumber::of(subscriber) == node);
            }
            PresenceNote::Listed { subscriptions, .. } => {
                self.state().heard.insert(node, Instant::now());
                subscriptions.iter().filter_map(|told| Told::deserialize(told).ok()).for_each(|told| self.take(told));
            }
            PresenceNote::Alive(_) | PresenceNote::Asked(_) => _ = self.state().heard.insert(node, Instant::now()),
        }
    }

    /// A node that is silent while this one is heard, and what it has.
    pub(super) fn silent(&self) -> Option<(NodeNumber, Vec<ActiveSubscription>)> {
        let state = self.state();
        // Without a stream nobody is heard, which tells nothing.
        state.heard.get(&self.own).filter(|heard| heard.elapsed() < 2 * TELL_EVERY)?;
        let silent = state.heard.iter().find(|(_, heard)| heard.elapsed() > GONE_AFTER);
        // One that has told something once is in the list; one that has not is unknown to all.
        let node = *silent?.0;
        let all = state.listed.all().filter(|active| NodeNumber::of(active.subscriber) == node).collect();
        Some((node, all))
    }

    /// The subscriptions at other nodes, as [`Listed::list`] has them.
    pub(in crate::server::hub) fn list(&self, topic: &str, after: Option<&str>, limit: usize) -> SubscriptionList {
        self.state().listed.list(topic, after, limit)
    }

    pub(in crate::server::hub) fn subscription(&self, topic: &str) -> Option<ActiveSubscription> {
        self.state().listed.get(topic)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The notes that list these subscriptions.
pub(super) fn listing(node: NodeNumber, subscriptions: &[ActiveSubscription]) -> Vec<PresenceNote> {
    let note = |part: &[ActiveSubscription]| PresenceNote::Listed {
        node,
        subscriptions: part.iter().map(ActiveSubscription::document).collect(),
    };
    subscriptions.chunks(LISTED).map(note).collect()
}

impl Told {
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

    fn document(node: NodeNumber) -> (String, Value) {
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
    async fn what_a_silent_node_had_is_found_while_this_one_is_heard() {
        let [own, other] = [NodeNumber(1), NodeNumber(2)];
        let nodes = Nodes::new(own);
        let (id, told) = document(other);
        nodes.hear(&PresenceNote::Listed { node: other, subscriptions: vec![told.clone()] });
        assert_eq!(nodes.subscription(&id).expect("a subscription").document(), told);
        tokio::time::advance(GONE_AFTER * 2).await;
        assert!(nodes.silent().is_none(), "nobody is heard");
        nodes.hear(&PresenceNote::Alive(own));
        let (node, had) = nodes.silent().expect("a silent node");
        assert_eq!((node, had.len()), (other, 1));
        nodes.hear(&PresenceNote::Gone(other));
        assert!(nodes.silent().is_none() && nodes.subscription(&id).is_none());
    }

    #[tokio::test]
    async fn what_ends_is_listed_no_more_and_what_is_here_is_not_listed_twice() {
        let [own, other] = [NodeNumber(1), NodeNumber(2)];
        let nodes = Nodes::new(own);
        let ((id, told), (own_id, own_told)) = (document(other), document(own));
        nodes.hear(&PresenceNote::Listed { node: other, subscriptions: vec![told.clone(), own_told] });
        assert_eq!(nodes.list(ROOT, None, 10).total, 1);
        assert!(nodes.subscription(&own_id).is_none());
        let mut ended = told;
        ended["active"] = json!(false);
        nodes.take(Told::deserialize(ended).expect("an event"));
        assert!(nodes.subscription(&id).is_none());
    }
}
