//! What the table of sessions promises to clients, operators and to those who wait for others.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use futures_util::{FutureExt, StreamExt};
use tokio::task::yield_now;
use tokio::time::{Instant, sleep};

use super::super::batch::Batch;
use super::super::*;
use super::*;
use crate::server::log::{Field, MemoryLog, Topic};

fn hub_with(options: HubOptions) -> Hub {
    let (log, tail) = MemoryLog::open(1000);
    Hub::open(log, tail, options)
}

fn hub() -> Hub {
    hub_with(HubOptions { shards: 1, ..HubOptions::default() })
}

/// The only shard of the hub.
fn shard(hub: &Hub) -> &Shard {
    &hub.shared.sessions.shards()[0]
}

fn matcher(hub: &Hub, match_type: MatchType, text: &str) -> Matcher {
    Matcher::parse(match_type, text, hub.patterns()).expect("a matcher")
}

fn exact(hub: &Hub, text: &str) -> Matcher {
    matcher(hub, MatchType::Exact, text)
}

fn pattern(hub: &Hub, text: &str) -> Matcher {
    matcher(hub, MatchType::UrlPattern, text)
}

/// The right to subscribe to what these match.
fn rights(topics: Vec<Matcher>) -> Arc<Rights> {
    let grant = Grant { publish: false, subscribe: true, revoke: false, topics, payload: None };
    Arc::new(Rights::new(vec![grant]))
}

fn open(hub: &Hub, options: SessionOptions, matchers: &[Matcher], rights: &Arc<Rights>) -> (Session, Subscription) {
    hub.open_session(options, hub.wanted(matchers, rights), Start::Now).expect("a session")
}

async fn publish(hub: &Hub, topic: &str, private: bool) {
    let update = Update {
        topics: vec![Topic::parse(topic).expect("a topic")],
        data: topic.into(),
        id: Field::parse(topic).ok(),
        event: None,
        retry: None,
        private,
        ttl: None,
    };
    hub.publish(update).await.expect("room");
    let_others_run().await;
}

/// Everything that has begun or ended is told of.
async fn settle(hub: &Hub) {
    hub.presence().settle().await;
    let_others_run().await;
}

/// The fan-out and the publisher of presence events have their turns.
async fn let_others_run() {
    for _ in 0..10 {
        yield_now().await;
    }
}

fn heard(subscription: &mut Subscription) -> Vec<String> {
    let next = || match subscription.next().now_or_never()?? {
        Delivery::Update(entry) => Some(entry.data().into_owned()),
        Delivery::Gap { .. } => Some("gap".into()),
    };
    std::iter::from_fn(next).collect()
}

/// Waits until the hub ends the session.
async fn end_of(session: &Session) -> EndReason {
    loop {
        if let Signal::End(reason) = std::future::poll_fn(|cx| session.poll_signal(cx)).await {
            return reason;
        }
    }
}

/// Counts how often it is woken.
#[derive(Default)]
struct Wakes(std::sync::atomic::AtomicUsize);

impl std::task::Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    }
}

/// How often the subscription's task is woken by what `action` does.
async fn wakes(subscription: &mut Subscription, action: impl Future<Output = ()>) -> usize {
    let wakes = Arc::new(Wakes::default());
    let waker = wakes.clone().into();
    let mut cx = std::task::Context::from_waker(&waker);
    assert!(subscription.poll_next_unpin(&mut cx).is_pending());
    action.await;
    wakes.0.load(std::sync::atomic::Ordering::Relaxed)
}

#[tokio::test]
async fn a_private_update_wakes_only_those_who_may_read_it() {
    let hub = hub();
    let everything = [exact(&hub, "*")];
    let (_a, mut stranger) = open(&hub, SessionOptions::default(), &everything, &Arc::default());
    let (_b, mut other) = open(&hub, SessionOptions::default(), &everything, &rights(vec![pattern(&hub, "/b/:id")]));
    let (_c, mut reader) = open(&hub, SessionOptions::default(), &everything, &rights(vec![pattern(&hub, "/a/:id")]));
    assert_eq!(wakes(&mut stranger, publish(&hub, "/a/1", true)).await, 0);
    assert_eq!(wakes(&mut other, publish(&hub, "/a/2", true)).await, 0);
    assert_eq!(heard(&mut reader), ["/a/1", "/a/2"]);
    publish(&hub, "/a/3", false).await;
    for subscription in [&mut stranger, &mut other, &mut reader] {
        assert_eq!(heard(subscription), ["/a/3"]);
    }
}

#[tokio::test]
async fn presence_is_compared_only_with_patterns_of_those_who_may_read_it() {
    let hub = hub();
    let presence_topics = format!("{}/*", hub.presence().root());
    let own = rights(vec![pattern(&hub, "/own/:n")]);
    let mut crowd = Vec::new();
    for n in 0..50 {
        let matchers = [pattern(&hub, &format!("/own/{n}/:id")), exact(&hub, "*")];
        crowd.push(open(&hub, SessionOptions::default(), &matchers[..1], &own));
        crowd.push(open(&hub, SessionOptions::default(), &matchers, &Arc::default()));
    }
    assert!(shard(&hub).subscribed(true).is_empty(), "nobody may read presence");
    settle(&hub).await;
    let watching = rights(vec![pattern(&hub, &presence_topics)]);
    let (_session, mut watcher) = open(&hub, SessionOptions::default(), &[pattern(&hub, &presence_topics)], &watching);
    settle(&hub).await;
    heard(&mut watcher);
    let (_session, mut stranger) = crowd.pop().expect("a stranger");
    assert_eq!(
        wakes(&mut stranger, async {
            let _one = open(&hub, SessionOptions::default(), &[exact(&hub, "a")], &Arc::default());
            settle(&hub).await;
        })
        .await,
        0
    );
    assert_eq!(heard(&mut watcher).len(), 1, "the event of the one that has begun");
}

#[tokio::test]
async fn the_patterns_of_tokens_are_not_compared_with_topics_that_are_published() {
    let hub = hub();
    let granted = rights((0..50).map(|n| pattern(&hub, &format!("/granted/{n}/:id"))).collect());
    let (_session, mut reader) = open(&hub, SessionOptions::default(), &[exact(&hub, "/granted/7/x")], &granted);
    assert!(shard(&hub).subscribed(false).is_empty());
    publish(&hub, "/granted/7/x", true).await;
    assert_eq!(heard(&mut reader), ["/granted/7/x"]);
}

#[tokio::test]
async fn a_pattern_that_is_subscribed_to_while_a_topic_is_matched_misses_nothing() {
    let hub = hub();
    let _other = open(&hub, SessionOptions::default(), &[pattern(&hub, "/other/:id")], &Arc::default());
    let topic = Topic::parse("/a/1").expect("a topic");
    let before = shard(&hub).subscribed(false).matches(&topic);
    let (_session, mut late) = open(&hub, SessionOptions::default(), &[pattern(&hub, "/a/:id")], &Arc::default());
    let log_entry = {
        let update = Update {
            topics: vec![topic],
            data: "late".into(),
            id: None,
            event: None,
            retry: None,
            private: false,
            ttl: None,
        };
        Arc::new(Entry::new(Cursor(1), Utc::now(), update))
    };
    let batch = Arc::new(Batch::new([log_entry].into()));
    hub.shared.tail_cache.push(batch.entries());
    let mut scratch = Scratch::default();
    shard(&hub).select(&batch, &[vec![before]], &mut scratch);
    assert!(scratch.selected.is_empty(), "the fan-out did not know of it");
    assert_eq!(heard(&mut late), ["late"]);
}

#[tokio::test(start_paused = true)]
async fn a_session_ends_when_its_token_expires_even_if_the_wall_clock_steps_ahead() {
    let now = Arc::new(Mutex::new(Utc::now()));
    let clock = {
        let now = now.clone();
        Arc::new(move || *now.lock().expect("no panic"))
    };
    let hub = hub_with(HubOptions { clock, ..HubOptions::default() });
    let expires: DateTime<Utc> = *now.lock().expect("no panic") + TimeDelta::hours(1);
    let options = SessionOptions { expires: Some(expires), ..SessionOptions::default() };
    let session = hub.session(options).expect("a session");
    let started = Instant::now();
    let mut end = std::pin::pin!(end_of(&session));
    tokio::select! {
        reason = &mut end => panic!("it has an hour: {reason:?}"),
        () = sleep(Duration::from_secs(10)) => {}
    }
    *now.lock().expect("no panic") += TimeDelta::hours(1);
    assert_eq!(end.await, EndReason::Expired);
    assert!(started.elapsed() <= Duration::from_secs(12), "within two seconds of the step");
}

#[tokio::test(start_paused = true)]
async fn a_session_ends_when_it_has_lived_for_as_long_as_it_may() {
    let hub = hub();
    let lifetime = Some(Duration::from_secs(100));
    let session = hub.session(SessionOptions { lifetime, ..SessionOptions::default() }).expect("a session");
    let started = Instant::now();
    assert_eq!(end_of(&session).await, EndReason::Lifetime);
    let lived = started.elapsed().as_secs();
    assert!((80..=101).contains(&lived), "{lived} s");
}

struct Anna;

impl Holder for Anna {
    fn issuer(&self) -> &str {
        "https://id.example"
    }

    fn subject(&self) -> &str {
        "anna"
    }

    fn token_id(&self) -> &str {
        "7"
    }
}

#[tokio::test]
async fn sessions_end_by_subject_token_or_topic_and_no_others_do() {
    let hub = hub();
    let of_anna = || SessionOptions { holder: Some(Arc::new(Anna)), ..SessionOptions::default() };
    let of_client = |last: u8| SessionOptions {
        client: Some(ClientKey::Network([127, 0, 0, last].into())),
        ..SessionOptions::default()
    };
    let ended = |session: &Session| {
        std::future::poll_fn(|cx| session.poll_signal(cx)).now_or_never() == Some(Signal::End(EndReason::Revoked))
    };
    let issuer = "https://id.example";
    for target in [
        RevocationTarget::Subject { issuer, subject: "anna" },
        RevocationTarget::Token { issuer, id: "7" },
        RevocationTarget::Topic("/a/1"),
    ] {
        let anna = open(&hub, of_anna(), &[exact(&hub, "b")], &Arc::default());
        let reader = open(&hub, of_client(1), &[pattern(&hub, "/a/:id")], &Arc::default());
        let other = open(&hub, of_client(2), &[exact(&hub, "c")], &Arc::default());
        let is_topic = matches!(target, RevocationTarget::Topic(_));
        assert_eq!(hub.end_sessions(target), 1, "{target:?}");
        assert_eq!((ended(&anna.0), ended(&reader.0), ended(&other.0)), (!is_topic, is_topic, false), "{target:?}");
    }
    assert_eq!(hub.end_sessions(RevocationTarget::Token { issuer: "https://other.example", id: "7" }), 0);
}

#[tokio::test]
async fn a_client_at_its_limit_opens_no_further_session_until_one_has_ended() {
    let hub = hub();
    let of = |last: u8| SessionOptions {
        client: Some(ClientKey::Network([127, 0, 0, last].into())),
        client_limit: Some(2),
        ..SessionOptions::default()
    };
    let mut sessions: Vec<_> = (0..2).map(|_| hub.session(of(1)).expect("a session")).collect();
    assert_eq!(hub.session(of(1)).err(), Some(AtLimit(2)));
    hub.session(of(2)).expect("another client's session");
    sessions.pop();
    hub.session(of(1)).expect("a session in the place of the one that has ended");
}

#[tokio::test]
async fn new_subscriptions_wait_while_too_many_presence_events_wait_to_be_published() {
    let hub = hub();
    let long = "x".repeat(4000);
    let matchers: Vec<_> = (0..100).map(|n| exact(&hub, &format!("{n}{long}"))).collect();
    let sessions: Vec<_> = (0..10).map(|_| open(&hub, SessionOptions::default(), &matchers, &Arc::default())).collect();
    assert!(hub.presence().admission().now_or_never().is_none(), "12 MB of events wait");
    hub.presence().settle().await;
    hub.presence().admission().await;
    drop(sessions);
    hub.presence().settle().await;
    assert!(hub.shared.sessions.is_empty());
}
