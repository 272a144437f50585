//! Where the reference hub is weak, and this one must not be: what no other test says. `docs/mercure.md` has the whole
//! list, row by row.

use std::collections::HashSet;
use std::path::Path;
use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use tidings::server::settings::{KeepTopic, Options};
use tidings::wire::paths;

use crate::app::{Ask, JSON, in_time};
use crate::hub::Hub;
use crate::listener::Listener;
use crate::token::{Claims, exact};

/// Further than other hubs look for a cursor, and far more than they queue for a subscriber.
const LONG: usize = 12_000;

/// Publishes so many updates on `a`, numbered in their data; answers their ids.
async fn history(hub: &Hub, count: usize) -> Vec<String> {
    let mut ids = Vec::new();
    while ids.len() < count {
        let updates: Vec<_> =
            (ids.len()..count).take(1000).map(|n| json!({ "topic": "a", "data": n.to_string() })).collect();
        let post = hub.request(Method::POST, paths::HUB).bearer_auth(hub.publisher()).header("content-type", JSON);
        let answer = post.body(json!(updates).to_string()).answer().await;
        ids.extend(answer.assert_status(200).json::<Vec<String>>());
    }
    ids
}

/// These updates come next, each once.
async fn hear(listener: &mut Listener, ids: &[String]) {
    for (n, id) in ids.iter().enumerate() {
        assert_eq!(&listener.event().await.id, id, "update {n} of {}", ids.len());
    }
}

#[tokio::test]
async fn a_cursor_far_into_a_long_history_is_found_and_replayed_from() {
    let hub = Hub::start().await;
    let ids = history(&hub, LONG).await;
    for at in [LONG - 500, LONG - 2, 3] {
        let mut listener = hub.stream(&[("match", "a")]).header("last-event-id", &ids[at]).open().await;
        assert_eq!(listener.headers["mercure-last-event-id"], ids[at]);
        hear(&mut listener, &ids[at + 1..(at + 501).min(LONG)]).await;
    }
}

#[tokio::test]
async fn a_whole_history_is_replayed_on_one_stream_which_then_goes_on() {
    let hub = Hub::start().await;
    let ids = history(&hub, LONG).await;
    let mut listener = hub.subscribe(&[("match", "a"), ("last_event_id", "earliest")]).await;
    hear(&mut listener, &ids).await;
    let live = hub.update("a", "").await;
    hear(&mut listener, &[live]).await;
}

#[tokio::test]
async fn what_is_published_during_a_replay_follows_it_in_order_and_once() {
    let hub = Hub::start().await;
    let mut ids = history(&hub, 3000).await;
    let mut listener = hub.subscribe(&[("match", "a"), ("last_event_id", "earliest")]).await;
    let mut half = ids.split_off(1500);
    hear(&mut listener, &ids).await;
    half.extend(history(&hub, 2000).await);
    hear(&mut listener, &half).await;
}

#[tokio::test]
async fn a_topic_keeps_as_much_as_is_set_for_it_whatever_comes_on_the_others() {
    let few = KeepTopic { topic: "few/*".into(), age: None, count: Some(2), bytes: None };
    let hub = Hub::start_with(Options { keep: vec![few], ..Options::default() }).await;
    let (mut many, mut newest) = (Vec::new(), Vec::new());
    for _ in 0..6 {
        many.push(hub.update("many/1", "").await);
        newest.push(hub.update("few/1", "").await);
    }
    // Retention works in the background, every ten seconds and at the start.
    let hub = hub.restart().await;
    let removed = async {
        while replayed(&hub, "few/1").await != newest[4..] {
            tokio::task::yield_now().await;
        }
    };
    in_time("the older ones to go", removed).await;
    assert_eq!(replayed(&hub, "many/1").await, many);
}

/// The ids of all that is kept of a topic.
async fn replayed(hub: &Hub, topic: &str) -> Vec<String> {
    let end = hub.update("end", "end").await;
    let mut listener =
        hub.subscribe(&[("match", topic), ("match", "end"), ("last_event_id", "earliest"), ("gap", "1")]).await;
    let mut ids = Vec::new();
    loop {
        match listener.event().await {
            event if event.id == end => return ids,
            event if event.event == "message" && event.data.is_empty() => ids.push(event.id),
            _ => {}
        }
    }
}

#[tokio::test]
async fn a_stream_that_the_server_ends_says_when_to_come_back_to_each_another_time() {
    let hub = Hub::start().await;
    let mut listeners = Vec::new();
    for _ in 0..20 {
        listeners.push(hub.subscribe(&[("match", "a")]).await);
    }
    let Hub { app, .. } = hub;
    let ending = tokio::spawn(app.stop());
    let mut times = HashSet::new();
    for mut listener in listeners {
        assert_eq!(listener.rest().await, []);
        let retry = listener.raw().split("retry: ").nth(1).expect("a retry").lines().next().map(str::parse::<u64>);
        times.insert(retry.expect("a line").expect("milliseconds"));
    }
    assert!(times.len() > 5, "{times:?}");
    assert_eq!(ending.await.expect("no panic").cut, 0);
}

#[tokio::test]
async fn a_stream_goes_on_for_a_day_unless_it_is_told_otherwise() {
    let settings = Options::default().resolve().expect("settings");
    assert_eq!(settings.mercure.stream_lifetime, Some(Duration::from_secs(24 * 3600)));
}

#[tokio::test]
async fn a_streams_headers_are_spelt_as_they_should_be() {
    let headers = Hub::start().await.subscribe(&[("match", "a")]).await.headers;
    let known = [
        "access-control-allow-origin",
        "access-control-expose-headers",
        "cache-control",
        "content-security-policy",
        "content-type",
        "date",
        "referrer-policy",
        "transfer-encoding",
        "vary",
        "x-accel-buffering",
        "x-content-type-options",
    ];
    let unknown: Vec<_> = headers.keys().filter(|name| !known.contains(&name.as_str())).collect();
    assert!(unknown.is_empty(), "{unknown:?}");
    assert!(headers["cache-control"].to_str().expect("text").contains("no-cache"));
}

#[tokio::test]
async fn head_opens_no_stream_and_counts_as_none() {
    let hub = Hub::start_with(Options { max_streams: Some(1), ..Options::default() }).await;
    for _ in 0..3 {
        hub.request(Method::HEAD, &format!("{}?match=a", paths::HUB)).answer().await.assert_status(200);
    }
    let _listener = hub.subscribe(&[("match", "a")]).await;
    hub.stream(&[("match", "a")]).answer().await.problem(429);
}

#[tokio::test]
async fn a_reserved_topic_is_malformed_and_not_merely_forbidden() {
    let hub = Hub::start().await;
    for token in [Claims::new().publisher(), Claims::new().publish(&[exact("a")]).publisher()] {
        let post = hub.post(&[("topic", "/.well-known/mercure/x")]).bearer_auth(token);
        post.answer().await.problem(400);
    }
}

#[tokio::test]
async fn presence_events_and_the_list_agree_however_many_come_and_go_at_once() {
    let hub = Hub::start().await;
    let token = Claims::new().subscribe(&[exact("*")]).subscriber();
    let mut events =
        hub.subscribe_as(&token, &[("match_urlpattern", "/.well-known/mercure/subscriptions/exact/a/*")]).await;
    let listeners = futures_util::future::join_all((0..100).map(|_| hub.subscribe(&[("match", "a")]))).await;
    let mut present = HashSet::new();
    for _ in 0..100 {
        let event: Value = serde_json::from_str(&events.event().await.data).expect("JSON");
        assert_eq!(event["active"], true);
        assert!(present.insert(event["subscriber"].to_string()), "{event}");
    }
    drop(listeners);
    for _ in 0..100 {
        let event: Value = serde_json::from_str(&events.event().await.data).expect("JSON");
        assert_eq!(event["active"], false);
        assert!(present.remove(&event["subscriber"].to_string()), "{event}");
    }
    assert!(present.is_empty());
    let path = format!("{}/exact/a", paths::SUBSCRIPTIONS);
    let emptied = async {
        // An event may be heard a moment before the list has it.
        while hub.get_as(&token, &path).await.json::<Value>()["total"] != 0 {
            tokio::task::yield_now().await;
        }
    };
    in_time("an empty list", emptied).await;
}

#[test]
fn every_test_that_the_documentation_names_is_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(root.join("docs/mercure.md")).expect("the documentation");
    let named = text.split('`').skip(1).step_by(2).filter_map(|code| code.rsplit_once("::"));
    let mut count = 0;
    for (module, test) in named {
        let file = format!("{}.rs", module.replace("::", "/"));
        // Most are of this suite, and named without it.
        let places = [format!("tests/mercure/{file}"), format!("tests/{file}"), format!("src/{file}")];
        let source = places.iter().find_map(|place| std::fs::read_to_string(root.join(place)).ok());
        let source = source.unwrap_or_else(|| panic!("{module} is none of {places:?}"));
        assert!(source.contains(&format!("fn {test}(")), "{module}::{test} is not there");
        count += 1;
    }
    assert!(count > 100, "{count} tests are named");
}
