//! 2.1 Terminology: what a topic is.

use reqwest::Method;
use tidings::wire::paths;

use crate::app::{Ask, FORM};
use crate::hub::Hub;

/// One of each kind that must not stand in a topic: C0, DEL, C1 and Unicode's format characters.
const FORBIDDEN: [&str; 7] = ["a\0b", "a\nb", "a\u{1f}b", "a\u{7f}b", "a\u{9f}b", "a\u{200d}b", "a\u{feff}b"];

#[tokio::test]
async fn a_topic_has_no_control_and_no_format_characters() {
    let hub = Hub::start().await;
    for topic in FORBIDDEN {
        hub.publish(&[("topic", topic), ("data", "x")]).await.problem(400);
        hub.stream(&[("match", topic)]).answer().await.problem(400);
    }
    for topic in ["日本 語", "https://example.com/é?a=b#c", "a b"] {
        hub.publish(&[("topic", topic)]).await.assert_status(200);
    }
}

#[tokio::test]
async fn a_topic_is_valid_utf_8() {
    let hub = Hub::start().await;
    let post = hub.request(Method::POST, paths::HUB).bearer_auth(hub.publisher());
    post.header("content-type", FORM).body("topic=%ff").answer().await.problem(400);
    hub.request(Method::GET, &format!("{}?match=%ff", paths::HUB)).answer().await.problem(400);
}

#[tokio::test]
async fn an_update_is_heard_on_its_canonical_topic_and_on_each_alternate_once() {
    let hub = Hub::start().await;
    let topics = ["https://example.com/books/1", "books", "https://example.com/livres/1"];
    let mut listeners = Vec::new();
    for topic in topics {
        listeners.push(hub.subscribe(&[("match", topic)]).await);
    }
    let mut all = hub.subscribe(&[("match", topics[0]), ("match", topics[1]), ("match", topics[2])]).await;
    let fields: Vec<_> = topics.iter().map(|topic| ("topic", *topic)).chain([("data", "x")]).collect();
    let id = hub.publish(&fields).await.body;
    let next = hub.update(topics[1], "y").await;
    for listener in &mut listeners {
        assert_eq!(listener.event().await.id, id);
    }
    assert_eq!([all.event().await.id, all.event().await.id], [id, next]);
}
