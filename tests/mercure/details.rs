//! 2.5 Authorization, "Authorization Details" and "Payloads".

use serde_json::{Value, json};

use crate::app::Ask;
use crate::hub::{Hub, challenge};
use crate::token::{Claims, DETAIL, exact};

/// A detail that is right.
fn detail() -> Value {
    json!({ "type": DETAIL, "actions": ["subscribe"], "topics": [{ "match": "a" }] })
}

/// The same, with another value of a field.
fn with(name: &str, value: Value) -> Value {
    let mut detail = detail();
    detail[name] = value;
    detail
}

async fn status(hub: &Hub, claims: Claims) -> u16 {
    let answer = hub.request(reqwest::Method::HEAD, "/.well-known/mercure?match=a").bearer_auth(claims.subscriber());
    let answer = answer.answer().await;
    if answer.status == 401 {
        assert!(challenge(&answer).contains("error=\"invalid_token\""), "{answer:?}");
    }
    answer.status.as_u16()
}

#[tokio::test]
async fn details_of_other_types_are_ignored_and_types_are_compared_byte_by_byte() {
    let hub = Hub::start().await;
    let other = with("type", json!("https://MERCURE.rocks/authorization-detail"));
    let token = Claims::new().detail(other).detail(json!({ "type": "payment", "actions": 7 }));
    assert_eq!(status(&hub, token.clone()).await, 200);
    let mut listener = hub.subscribe_as(&token.subscriber(), &[("match", "a")]).await;
    hub.private("a", "").await;
    let public = hub.update("a", "").await;
    assert_eq!(listener.event().await.id, public);
}

#[tokio::test]
async fn one_bad_detail_spoils_the_whole_token() {
    let hub = Hub::start().await;
    assert_eq!(status(&hub, Claims::new().detail(detail())).await, 200);
    for bad in [
        with("actions", json!([])),
        with("actions", json!("subscribe")),
        with("actions", json!(["subscribe", null])),
        with("actions", Value::Null),
        with("topics", json!([])),
        with("topics", json!(["a"])),
        with("topics", json!([{}])),
        with("topics", json!([{ "match": 7 }])),
        with("topics", json!([{ "match": "a", "match_type": "regex" }])),
        with("topics", json!([{ "match": "a", "match_type": "uritemplate" }])),
        with("topics", json!([{ "match": "a", "match_type": null }])),
        with("topics", json!([{ "match": "/(", "match_type": "urlpattern" }])),
        with("topics", json!([{ "match": "a\nb" }])),
        with("payload", json!("text")),
    ] {
        assert_eq!(status(&hub, Claims::new().detail(detail()).detail(bad.clone())).await, 401, "{bad}");
    }
    assert_eq!(status(&hub, Claims::new().with("authorization_details", "all")).await, 401);
    assert_eq!(status(&hub, Claims::new().with("authorization_details", json!(["a"]))).await, 401);
}

#[tokio::test]
async fn unknown_actions_are_ignored() {
    let hub = Hub::start().await;
    let token = Claims::new().detail(with("actions", json!(["administrate", "subscribe"]))).subscriber();
    let mut listener = hub.subscribe_as(&token, &[("match", "a")]).await;
    let private = hub.private("a", "").await;
    assert_eq!(listener.event().await.id, private);
}

#[tokio::test]
async fn too_many_details_topics_and_too_long_patterns_are_refused() {
    let hub = Hub::start().await;
    let details = |count: usize| (0..count).fold(Claims::new(), |claims, _| claims.detail(json!({ "type": "x" })));
    assert_eq!(status(&hub, details(100)).await, 200);
    assert_eq!(status(&hub, details(101)).await, 401);
    let topics = |count: usize| (0..count).map(|n| exact(&n.to_string())).collect::<Vec<_>>();
    assert_eq!(status(&hub, Claims::new().subscribe(&topics(60)).publish(&topics(40))).await, 200);
    assert_eq!(status(&hub, Claims::new().subscribe(&topics(60)).publish(&topics(41))).await, 401);
    assert_eq!(status(&hub, Claims::new().subscribe(&[exact(&"a".repeat(4097))])).await, 401);
}
