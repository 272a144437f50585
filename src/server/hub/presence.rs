//! Presence: which subscriptions are open, told as updates of the hub (Mercure, "Active Subscriptions").
//!
//! What [`Presence::list`] shows is what its events add up to: a change is shown when its event is durable, not before.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Serialize;
use serde_json::{Map, Value};
use tokio::sync::{mpsc, oneshot};
use tracing::error;
use uuid::Uuid;

use super::{MatchType, Matcher, Rights};
use crate::server::log::{Allowance, Field, Log, Size, Topic, TopicPattern, Update};

/// The name of presence events, which nobody else may use.
pub const EVENT: &str = "mercure";

/// What the older protocol's documents are about.
pub const CONTEXT: &str = "https://mercure.rocks/";

/// How long events are kept: whoever comes back later asks for the list anew.
const EVENT_TTL: Duration = Duration::from_secs(600);

/// How much of them does not count towards what the log keeps in all: many that come and go push nobody's history out.
const ALLOWANCE: Size = Size { count: 100_000, bytes: 64 << 20 };

/// How many changes are made durable at once.
const BATCH: usize = 1024;

/// What stands in a topic as it is: RFC 3986's unreserved characters, as simple expansion has it (RFC 6570, 3.2.2).
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// The open subscriptions. Cheap to clone.
#[derive(Clone)]
pub struct Presence {
    shared: Arc<Shared>,
    changes: mpsc::UnboundedSender<Change>,
}

struct Shared {
    /// The path below which each subscription has its topic.
    root: Box<str>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// By their topics, so those of one matcher stand together.
    active: BTreeMap<Arc<str>, Arc<Active>>,
}

enum Change {
    Begun(Arc<[Arc<Active>]>),
    Ended(Arc<[Arc<Active>]>),
    Settle(oneshot::Sender<()>),
}

/// One open subscription: one matcher of one subscriber.
#[derive(Debug)]
pub struct Active {
    /// Its topic.
    pub id: Arc<str>,
    /// The type of its matcher.
    pub match_type: MatchType,
    /// The text of its matcher.
    pub text: Box<str>,
    /// Its subscriber: of this connection alone.
    pub subscriber: Arc<str>,
    /// What the subscriber's token tells of it.
    pub payload: Option<Map<String, Value>>,
}

/// A subscription as its event and the list show it.
#[derive(Serialize)]
struct Document<'a> {
    id: &'a str,
    #[serde(rename = "type")]
    kind: &'static str,
    match_type: &'static str,
    #[serde(rename = "match")]
    text: &'a str,
    subscriber: &'a str,
    active: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload: Option<&'a Map<String, Value>>,
}

/// The same in the older protocol.
#[derive(Serialize)]
struct OlderDocument<'a> {
    #[serde(rename = "@context")]
    context: &'static str,
    id: &'a str,
    #[serde(rename = "type")]
    kind: &'static str,
    topic: &'a str,
    subscriber: &'a str,
    active: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload: Option<&'a Map<String, Value>>,
}

/// Some of the open subscriptions, by their topics.
#[derive(Debug)]
pub struct Listing {
    /// In order.
    pub subscriptions: Vec<Arc<Active>>,
    /// How many there are on all pages.
    pub total: usize,
    /// Whether more follow.
    pub more: bool,
}

/// A subscriber who is present while this lives.
pub struct Present {
    subscriptions: Arc<[Arc<Active>]>,
    changes: mpsc::UnboundedSender<Change>,
}

impl Presence {
    /// Nobody is present. Events are published to the log, on topics below `hub_path`.
    pub(super) fn new(log: &Arc<dyn Log>, hub_path: &str) -> Self {
        let (changes, receiver) = mpsc::unbounded_channel();
        let root = root(hub_path).into();
        let shared = Arc::new(Shared { root, state: Mutex::default() });
        tokio::spawn(tell(log.clone(), shared.clone(), receiver));
        Self { shared, changes }
    }

    /// What the log keeps of the events of a hub with this path, beside everything else.
    pub fn allowance(hub_path: &str) -> Allowance {
        Allowance { pattern: TopicPattern::new(root(hub_path) + "/*"), size: ALLOWANCE }
    }

    /// A new subscriber with these matchers. Its events tell what its rights say of it.
    pub fn enter(&self, matchers: &[Matcher], rights: &Rights) -> Present {
        let subscriber: Arc<str> = Uuid::new_v4().urn().to_string().into();
        let subscription = |matcher: &Matcher| {
            let match_type = matcher.match_type();
            let id = match match_type {
                MatchType::UriTemplate => self.topic(&[matcher.text(), &subscriber]),
                _ => self.topic(&[match_type.name(), matcher.text(), &subscriber]),
            };
            Arc::new(Active {
                id: id.into(),
                match_type,
                text: matcher.text().into(),
                subscriber: subscriber.clone(),
                payload: rights.payload(matcher).cloned(),
            })
        };
        let subscriptions: Arc<[_]> = matchers.iter().map(subscription).collect();
        // Nobody receives when the runtime is stopping.
        _ = self.changes.send(Change::Begun(subscriptions.clone()));
        Present { subscriptions, changes: self.changes.clone() }
    }

    /// The topic below which are those of the subscriptions of a matcher's type, its text and its subscriber, as far
    /// as they are given.
    pub fn topic(&self, parts: &[&str]) -> String {
        let encoded = parts.iter().map(|part| format!("/{}", utf8_percent_encode(part, ESCAPED)));
        std::iter::once(self.shared.root.to_string()).chain(encoded).collect()
    }

    /// The open subscriptions whose topics lie below `topic`, after the topic `after`, at most `limit`.
    pub fn list(&self, topic: &str, after: Option<&str>, limit: usize) -> Listing {
        let state = self.state();
        let below = format!("{topic}/");
        let begin = match after.filter(|after| *after > below.as_str()) {
            Some(after) => Bound::Excluded(after),
            None => Bound::Included(below.as_str()),
        };
        let from = |begin: Bound<&str>| {
            let range = state.active.range::<str, _>((begin, Bound::Unbounded));
            range.take_while(|(id, _)| id.starts_with(&below)).map(|(_, active)| active)
        };
        let total =
            if topic == &*self.shared.root { state.active.len() } else { from(Bound::Included(&below)).count() };
        let mut subscriptions: Vec<_> = from(begin).take(limit.saturating_add(1)).cloned().collect();
        let more = subscriptions.len() > limit;
        subscriptions.truncate(limit);
        Listing { subscriptions, total, more }
    }

    /// The open subscription with this topic.
    pub fn get(&self, topic: &str) -> Option<Arc<Active>> {
        self.state().active.get(topic).cloned()
    }

    /// Waits until all that has begun or ended so far has been told.
    pub async fn settle(&self) {
        let (told, wait) = oneshot::channel();
        if self.changes.send(Change::Settle(told)).is_ok() {
            _ = wait.await;
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state()
    }
}

impl Active {
    /// The subscription as JSON, as it is now.
    pub fn document(&self) -> Value {
        self.told(true)
    }

    /// Whether the older protocol's clients are to understand what is told of it: it is one of theirs.
    fn is_older(&self) -> bool {
        self.match_type == MatchType::UriTemplate
    }

    fn told(&self, active: bool) -> Value {
        let Self { id, text, subscriber, .. } = self;
        let payload = self.payload.as_ref();
        let document = match self.is_older() {
            true => serde_json::to_value(OlderDocument {
                context: CONTEXT,
                id,
                kind: "Subscription",
                topic: text,
                subscriber,
                active,
                payload,
            }),
            false => serde_json::to_value(Document {
                id,
                kind: "subscription",
                match_type: self.match_type.name(),
                text,
                subscriber,
                active,
                payload,
            }),
        };
        document.unwrap_or_default()
    }

    fn event(&self, is_active: bool) -> Option<Update> {
        Some(Update {
            topics: vec![Topic::parse(&self.id).ok()?],
            data: self.told(is_active).to_string(),
            id: None,
            // Clients of the older protocol hear only events without a name.
            event: Field::parse(EVENT).ok().filter(|_| !self.is_older()),
            retry: None,
            private: true,
            ttl: Some(EVENT_TTL),
        })
    }
}

impl Drop for Present {
    fn drop(&mut self) {
        _ = self.changes.send(Change::Ended(self.subscriptions.clone()));
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn root(hub_path: &str) -> String {
    format!("{}/subscriptions", hub_path.trim_end_matches('/'))
}

/// Publishes the changes in their order, as many at once as have come up meanwhile.
async fn tell(log: Arc<dyn Log>, shared: Arc<Shared>, mut receiver: mpsc::UnboundedReceiver<Change>) {
    let mut changes = Vec::new();
    while receiver.recv_many(&mut changes, BATCH).await > 0 {
        let event = |change: &Change| match change {
            Change::Begun(subscriptions) => (subscriptions.clone(), true),
            Change::Ended(subscriptions) => (subscriptions.clone(), false),
            Change::Settle(_) => (Arc::default(), false),
        };
        let events = changes.iter().map(event);
        let updates =
            events.flat_map(|(all, is_active)| all.iter().filter_map(|a| a.event(is_active)).collect::<Vec<_>>());
        let updates: Vec<_> = updates.collect();
        // The list must be right all the same: it is what everybody asks after a gap.
        if !updates.is_empty()
            && let Err(error) = log.append(updates, None).await
        {
            error!(%error, "presence events were not published");
        }
        let mut state = shared.state();
        for change in changes.drain(..) {
            match change {
                Change::Begun(all) => state.active.extend(all.iter().map(|active| (active.id.clone(), active.clone()))),
                Change::Ended(all) => all.iter().for_each(|active| drop(state.active.remove(&active.id))),
                Change::Settle(told) => _ = told.send(()),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Hub, HubOptions, Patterns};
    use super::*;
    use crate::server::log::{Cursor, MemoryLog, PageSize};

    fn hub() -> Hub {
        let (log, tail) = MemoryLog::open(100_000);
        Hub::open(log, tail, HubOptions::default())
    }

    fn exact(texts: &[&str], patterns: &Patterns) -> Vec<Matcher> {
        texts.iter().map(|text| Matcher::parse(MatchType::Exact, text, patterns).expect("a matcher")).collect()
    }

    async fn events(hub: &Hub) -> Vec<Value> {
        let everything = super::super::Matchers::new(&exact(&["*"], hub.patterns()), Arc::default());
        let size = PageSize { entries: 100, bytes: usize::MAX };
        let page = hub.log().reader(Cursor::START, Arc::new(everything)).next(size).await.expect("a page");
        page.entries.iter().map(|entry| serde_json::from_str(&entry.data()).expect("JSON")).collect()
    }

    #[tokio::test]
    async fn a_subscriber_is_told_to_come_and_to_go_once_for_each_matcher() {
        let hub = hub();
        let present = hub.presence().enter(&exact(&["a", "b c/ü"], hub.patterns()), &Rights::default());
        hub.presence().settle().await;
        assert_eq!(hub.presence().list(&hub.presence().topic(&[]), None, 10).total, 2);
        drop(present);
        hub.presence().settle().await;
        let events = events(&hub).await;
        let told: Vec<_> = events.iter().map(|event| (&event["match"], &event["active"])).collect();
        let expected = [("a", true), ("b c/ü", true), ("a", false), ("b c/ü", false)];
        assert_eq!(told, expected.map(|(text, active)| (text.into(), active.into())).each_ref().map(|(a, b)| (a, b)));
        let id = events[1]["id"].as_str().expect("an id");
        assert!(id.starts_with("/.well-known/mercure/subscriptions/exact/b%20c%2F%C3%BC/urn%3Auuid%3A"), "{id}");
        assert_eq!(events[0]["subscriber"], events[1]["subscriber"]);
        assert_eq!(hub.presence().list(&hub.presence().topic(&[]), None, 10).total, 0);
    }

    #[tokio::test]
    async fn the_list_is_read_in_pages_and_by_matcher() {
        let hub = hub();
        let presence = hub.presence();
        let here: Vec<_> =
            (0..7).map(|_| presence.enter(&exact(&["a", "ab"], hub.patterns()), &Rights::default())).collect();
        presence.settle().await;
        let (mut ids, mut after) = (Vec::new(), None::<Arc<str>>);
        loop {
            let page = presence.list(&presence.topic(&["exact", "a"]), after.as_deref(), 3);
            assert_eq!(page.total, 7);
            ids.extend(page.subscriptions.iter().map(|active| active.id.clone()));
            after = ids.last().cloned();
            if !page.more {
                break;
            }
        }
        assert_eq!(ids.len(), 7);
        assert!(ids.iter().all(|id| id.contains("/exact/a/")) && ids.is_sorted_by(|a, b| a < b));
        assert!(presence.get(&ids[0]).is_some());
        drop(here);
        presence.settle().await;
        assert!(presence.get(&ids[0]).is_none());
    }
}
