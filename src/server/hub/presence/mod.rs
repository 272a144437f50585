//! Presence: open subscriptions, and the updates that tell of them (Mercure, "Active Subscriptions").
//!
//! The list of open subscriptions is the table of sessions. A change is in the table before its event is published, so
//! a client that reads the list and then hears what follows the event that was the newest before, misses nothing.

pub(super) mod lease;
mod listed;
mod queue;
mod remote;

use std::sync::{Arc, Mutex, PoisonError};

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use serde::Serialize;
use serde_json::{Map, Value};
use tokio::task::JoinHandle;
use uuid::Uuid;

use super::{MatchType, Matcher, Rights};
use crate::server::log::{Log, Topic};
pub(super) use listed::Listed;
use queue::EventQueue;
pub use remote::PresenceMessage;
pub(super) use remote::{InstanceId, RemotePresence};

/// The type of presence events, which nobody else may use.
pub const EVENT: &str = "mercure";

/// The JSON-LD context of the older protocol's documents.
pub const CONTEXT: &str = "https://mercure.rocks/";

/// What stands in a topic as it is: RFC 3986's unreserved characters, as simple expansion has it (RFC 6570, 3.2.2).
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Bytes of a subscriber in its topic.
const URN_BYTES: usize = 49;

/// Publishes an event for each subscription that begins or ends.
pub struct Presence {
    /// The path below which each subscription has its topic.
    root: Box<str>,
    queue: Arc<EventQueue>,
    publisher: Mutex<Option<JoinHandle<()>>>,
}

/// What all subscriptions have in common that were asked for alike: a matcher, and what their token says of them.
#[derive(Debug)]
pub(super) struct Target {
    /// What their topics begin with, up to the subscriber.
    path: Arc<str>,
    match_type: MatchType,
    text: Topic,
    payload: Option<Map<String, Value>>,
}

/// One open subscription: one matcher of one session.
#[derive(Clone, Debug)]
pub struct ActiveSubscription {
    target: Arc<Target>,
    /// Of this session alone.
    subscriber: Uuid,
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
struct LegacyDocument<'a> {
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

#[derive(Serialize)]
#[serde(untagged)]
enum AnyDocument<'a> {
    Current(Document<'a>),
    Legacy(LegacyDocument<'a>),
}

impl Presence {
    /// Publishes events to the log, on topics below `hub_path`. Call it within a tokio runtime.
    pub(super) fn new(log: &Arc<dyn Log>, hub_path: &str) -> Self {
        let queue = Arc::new(EventQueue::default());
        let publisher = tokio::spawn(queue::publish(log.clone(), queue.clone()));
        Self { root: root(hub_path).into(), queue, publisher: Mutex::new(Some(publisher)) }
    }

    /// The path below which each subscription has its topic.
    pub fn root(&self) -> &str {
        &self.root
    }

    /// The topic below which subscriptions have theirs, by the type of their matcher, its text and their subscriber, as
    /// far as these are given.
    pub fn topic(&self, parts: &[&str]) -> String {
        let encoded = parts.iter().map(|part| format!("/{}", utf8_percent_encode(part, ESCAPED)));
        std::iter::once(self.root.to_string()).chain(encoded).collect()
    }

    /// Waits while too many events wait to be published. Every new subscription has to pass here.
    pub async fn admission(&self) {
        self.queue.wait_for_room().await;
    }

    /// Waits until everything that has begun or ended so far was published, or could not be.
    pub async fn settle(&self) {
        self.queue.settle().await;
    }

    /// Publishes what is still to be published, and nothing after that.
    pub(super) async fn close(&self) {
        self.queue.close();
        let publisher = self.publisher.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(publisher) = publisher {
            _ = publisher.await;
        }
    }

    /// What presence tells of those who asked for these matchers with these rights.
    pub(super) fn targets(&self, asked: &[Matcher], rights: &Rights) -> Box<[Arc<Target>]> {
        let target = |matcher: &Matcher| {
            let match_type = matcher.match_type();
            let path = match match_type {
                MatchType::UriTemplate => self.topic(&[matcher.text()]),
                _ => self.topic(&[match_type.name(), matcher.text()]),
            };
            let payload = rights.payload(matcher).cloned();
            Arc::new(Target { path: (path + "/").into(), match_type, text: matcher.topic().clone(), payload })
        };
        asked.iter().map(target).collect()
    }

    /// Tells of subscriptions that have begun.
    pub(super) fn begun(&self, targets: &[Arc<Target>], subscriber: Uuid) {
        self.queue.push(targets, subscriber, true);
    }

    /// Publishes an event for each of these subscriptions, whichever node has them.
    fn publish(&self, subscriptions: &[ActiveSubscription], is_active: bool) {
        for ActiveSubscription { target, subscriber } in subscriptions {
            self.queue.push(std::slice::from_ref(target), *subscriber, is_active);
        }
    }

    /// Tells of subscriptions that have ended.
    pub(super) fn ended(&self, targets: &[Arc<Target>], subscriber: Uuid) {
        self.queue.push(targets, subscriber, false);
    }
}

impl Drop for Presence {
    fn drop(&mut self) {
        self.queue.close();
    }
}

impl Target {
    pub(super) fn path(&self) -> &Arc<str> {
        &self.path
    }
}

impl ActiveSubscription {
    pub(super) fn new(target: Arc<Target>, subscriber: Uuid) -> Self {
        Self { target, subscriber }
    }

    /// Its topic.
    pub fn id(&self) -> String {
        let subscriber = self.urn();
        format!("{}{}", self.target.path, utf8_percent_encode(&subscriber, ESCAPED))
    }

    /// The two parts of a subscription's topic: what it has in common with others, and its subscriber, if it is one.
    pub(super) fn parts(id: &str) -> (&str, Option<Uuid>) {
        let (path, subscriber) = id.split_at(id.rfind('/').map_or(0, |slash| slash + 1));
        (path, percent_decode_str(subscriber).decode_utf8().ok().and_then(|urn| Uuid::try_parse(&urn).ok()))
    }

    /// What the list is in the order of.
    pub(super) fn place(&self) -> (&str, Uuid) {
        (&self.target.path, self.subscriber)
    }

    /// The subscription as JSON, as it is now.
    pub fn document(&self) -> Value {
        self.encode(true, |document| serde_json::to_value(document))
    }

    fn urn(&self) -> String {
        self.subscriber.urn().to_string()
    }

    /// Whether clients of the older protocol are to understand its events: it is one of theirs.
    fn is_legacy(&self) -> bool {
        self.target.match_type == MatchType::UriTemplate
    }

    /// About as many bytes as its event takes: its topic is in its data too.
    fn size(&self) -> usize {
        2 * (self.target.path.len() + URN_BYTES) + self.target.text.as_str().len()
    }

    /// Encodes the subscription as it is while it is active, or once it has ended.
    fn encode<T>(&self, active: bool, encode: impl FnOnce(&AnyDocument<'_>) -> serde_json::Result<T>) -> T
    where
        T: Default,
    {
        let Target { match_type, text, payload, .. } = &*self.target;
        let (id, subscriber) = (&self.id(), &self.urn());
        let (text, payload) = (text.as_str(), payload.as_ref());
        let document = if self.is_legacy() {
            let (context, kind) = (CONTEXT, "Subscription");
            AnyDocument::Legacy(LegacyDocument { context, id, kind, topic: text, subscriber, active, payload })
        } else {
            let (kind, match_type) = ("subscription", match_type.name());
            AnyDocument::Current(Document { id, kind, match_type, text, subscriber, active, payload })
        };
        encode(&document).unwrap_or_default()
    }
}

fn root(hub_path: &str) -> String {
    format!("{}/subscriptions", hub_path.trim_end_matches('/'))
}

#[cfg(test)]
mod tests {
    use super::super::{Grant, Hub, HubOptions, Matchers, Patterns, Session, SessionOptions, Start, Subscription};
    use super::*;
    use crate::server::log::{Cursor, MemoryLog, PageSize};

    fn hub() -> Hub {
        let (log, tail) = MemoryLog::open(100_000);
        Hub::open(log, tail, HubOptions::default())
    }

    fn exact(texts: &[&str], patterns: &Patterns) -> Vec<Matcher> {
        texts.iter().map(|text| Matcher::parse(MatchType::Exact, text, patterns).expect("a matcher")).collect()
    }

    fn open(hub: &Hub, topics: &[&str]) -> (Session, Subscription) {
        let matchers = exact(topics, hub.patterns());
        let wanted = hub.wanted(&matchers, &Arc::default());
        hub.open_session(SessionOptions::default(), wanted, Start::Now).expect("a session")
    }

    async fn events(hub: &Hub) -> Vec<Value> {
        let topics = exact(&["*"], hub.patterns());
        let grant = Grant { publish: false, subscribe: true, revoke: false, topics: topics.clone(), payload: None };
        let everything = Matchers::new(&topics, Arc::new(Rights::new(vec![grant])));
        let size = PageSize { entries: 100, bytes: usize::MAX };
        let page = hub.log().reader(Cursor::START, Arc::new(everything)).next(size).await.expect("a page");
        page.entries.iter().map(|entry| serde_json::from_str(&entry.data()).expect("JSON")).collect()
    }

    #[tokio::test]
    async fn a_subscriber_is_told_to_come_and_to_go_once_for_each_matcher() {
        let hub = hub();
        let session = open(&hub, &["a", "b c/ü"]);
        assert_eq!(hub.subscriptions(hub.presence().root(), None, 10).total, 2);
        drop(session);
        hub.presence().settle().await;
        let events = events(&hub).await;
        let told: Vec<_> = events.iter().map(|event| (&event["match"], &event["active"])).collect();
        let expected = [("a", true), ("b c/ü", true), ("a", false), ("b c/ü", false)];
        assert_eq!(told, expected.map(|(text, active)| (text.into(), active.into())).each_ref().map(|(a, b)| (a, b)));
        let id = events[1]["id"].as_str().expect("an id");
        assert!(id.starts_with("/.well-known/mercure/subscriptions/exact/b%20c%2F%C3%BC/urn%3Auuid%3A"), "{id}");
        assert_eq!(events[0]["subscriber"], events[1]["subscriber"]);
        assert_eq!(hub.subscriptions(hub.presence().root(), None, 10).total, 0);
    }

    #[tokio::test]
    async fn the_list_is_read_in_pages_and_by_matcher() {
        let hub = hub();
        let presence = hub.presence();
        let sessions: Vec<_> = (0..7).map(|_| open(&hub, &["a", "ab"])).collect();
        let (mut ids, mut after) = (Vec::new(), None::<String>);
        loop {
            let page = hub.subscriptions(&presence.topic(&["exact", "a"]), after.as_deref(), 3);
            assert_eq!(page.total, 7);
            ids.extend(page.subscriptions.iter().map(ActiveSubscription::id));
            after = ids.last().cloned();
            if !page.more {
                break;
            }
        }
        assert_eq!(ids.len(), 7);
        assert!(ids.iter().all(|id| id.contains("/exact/a/")) && ids.is_sorted_by(|a, b| a < b));
        assert!(hub.subscription(&ids[0]).is_some());
        drop(sessions);
        assert!(hub.subscription(&ids[0]).is_none());
    }
}
