//! Revocation: ours beside the protocol.

use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};
use tidings::wire::paths;

use crate::app::Ask;
use crate::hub::Hub;
use crate::token::{Claims, DETAIL, exact};

fn revoke(hub: &Hub, body: &Value) -> RequestBuilder {
    let admin =
        Claims::new().detail(json!({ "type": DETAIL, "actions": ["revoke"], "topics": [exact("*")] })).publisher();
    let request = hub.request(Method::POST, paths::REVOCATIONS).bearer_auth(admin);
    request.header("content-type", "application/json").body(body.to_string())
}

#[tokio::test]
async fn a_revoked_token_is_refused_and_its_streams_end_and_a_restart_forgets_nothing() {
    let hub = Hub::start().await;
    let token = Claims::new().with("jti", "t1").subscriber();
    let mut listener = hub.subscribe_as(&token, &[("match", "a")]).await;
    let _other = hub.subscribe_as(&Claims::new().subscriber(), &[("match", "a")]).await;
    let answer: Value = revoke(&hub, &json!({ "jti": "t1" })).answer().await.json();
    assert_eq!(answer, json!({ "streams_ended": 1, "revoked": true }));
    assert_eq!(listener.rest().await, []);
    let ask = |hub: &Hub| hub.stream(&[("match", "a")]).bearer_auth(&token).answer();
    assert!(ask(&hub).await.problem(401).contains("revoked"));
    let hub = hub.restart().await;
    ask(&hub).await.problem(401);
}

#[tokio::test]
async fn a_token_whose_end_is_known_is_remembered_until_then() {
    let hub = Hub::start().await;
    let token = Claims::new().with("jti", "t1").subscriber();
    let now = chrono::Utc::now().timestamp();
    for exp in [now - 1, i64::MAX] {
        let detail = revoke(&hub, &json!({ "jti": "t1", "exp": exp })).answer().await.problem(400);
        assert!(detail.contains("expired") || detail.contains("`exp`"), "{detail}");
    }
    revoke(&hub, &json!({ "jti": "t1", "exp": now + 600 })).answer().await.assert_status(200);
    hub.stream(&[("match", "a")]).bearer_auth(&token).answer().await.problem(401);
}

#[tokio::test]
async fn the_streams_of_a_subject_and_of_a_topic_are_ended() {
    let hub = Hub::start().await;
    let mut of_subject = hub.subscribe_as(&Claims::new().with("sub", "anna").subscriber(), &[("match", "a")]).await;
    let mut of_topic = hub.subscribe(&[("match_urlpattern", "/b/:c")]).await;
    let mut other = hub.subscribe(&[("match", "c")]).await;
    for (body, listener) in [(json!({ "sub": "anna" }), &mut of_subject), (json!({ "topic": "/b/1" }), &mut of_topic)] {
        let answer: Value = revoke(&hub, &body).answer().await.json();
        assert_eq!(answer["streams_ended"], 1, "{body}");
        assert_eq!(listener.rest().await, []);
    }
    let id = hub.update("c", "").await;
    assert_eq!(other.event().await.id, id);
}

#[tokio::test]
async fn only_who_may_revoke_can_and_only_one_thing_at_a_time() {
    let hub = Hub::start().await;
    let post = |token: &str| {
        let request = hub.request(Method::POST, paths::REVOCATIONS).bearer_auth(token);
        request.header("content-type", "application/json").body(r#"{"topic":"a"}"#).answer()
    };
    post(hub.publisher()).await.problem(403);
    let partly = Claims::new().detail(json!({ "type": DETAIL, "actions": ["revoke"], "topics": [exact("a")] }));
    post(&partly.publisher()).await.problem(403);
    for body in [json!({}), json!({ "jti": "a", "sub": "b" }), json!({ "topics": "a" })] {
        revoke(&hub, &body).answer().await.problem(400);
    }
}
