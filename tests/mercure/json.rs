//! JSON, the second door for publishing, and `Idempotency-Key`: ours beside the protocol.

use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};
use tidings::wire::paths;

use crate::answer::Answer;
use crate::app::{Ask, JSON};
use crate::hub::Hub;
use crate::token::{Claims, exact};

fn post(hub: &Hub, body: &Value) -> RequestBuilder {
    let request = hub.request(Method::POST, paths::HUB).bearer_auth(hub.publisher());
    request.header("content-type", JSON).body(body.to_string())
}

async fn publish(hub: &Hub, body: Value) -> Answer {
    post(hub, &body).answer().await
}

#[tokio::test]
async fn one_update_takes_the_forms_fields_and_is_answered_as_a_form_is() {
    let hub = Hub::start().await;
    let mut listener = hub.subscribe(&[("match", "a"), ("match", "b")]).await;
    let update = json!({ "topic": ["a", "c"], "data": "x\ny", "id": "1", "type": "t", "retry": 5, "unknown": {} });
    let answer = publish(&hub, update).await;
    assert_eq!((&*answer.body, &*answer.header("content-type")), ("1", "text/plain; charset=utf-8"));
    publish(&hub, json!({ "topic": "b", "data": { "k": [1] }, "id": "2", "private": false })).await.assert_status(200);
    listener.read_until("id: 1\nevent: t\nretry: 5\ndata: x\ndata: y\n\nid: 2\ndata: {\"k\":[1]}\n\n").await;
    let asked = post(&hub, &json!({ "topic": "b", "id": "3" })).header("accept", JSON).answer().await;
    assert_eq!(asked.json::<Vec<String>>(), ["3"]);
}

#[tokio::test]
async fn json_data_is_published_as_it_is_written() {
    let hub = Hub::start().await;
    let mut listener = hub.subscribe(&[("match", "a")]).await;
    for data in [
        r#"{"wei":12345678901234567890123,"price":1.10}"#,
        r#"{"b":1,"a":2,"b":3}"#,
        r#"[ 1e400, -0.0, "\u00e9", {} ]"#,
        "0.1000000000000000055511151231257827",
        "true",
    ] {
        let request = hub.request(Method::POST, paths::HUB).bearer_auth(hub.publisher()).header("content-type", JSON);
        let body = format!(" {{ \"topic\": \"a\", \"unknown\": 1e999, \"data\" : {data} }}");
        request.body(body).answer().await.assert_status(200);
        assert_eq!(listener.event().await.data, data);
    }
}

#[tokio::test]
async fn a_field_of_json_that_cant_be_read_is_named() {
    let hub = Hub::start().await;
    for (body, says) in [
        (r#"{"topic":"a","data":"\ud800"}"#.to_owned(), "`data`"),
        (r#"{"topic":"a","id":"\udc00"}"#.into(), "`id`"),
        (r#"{"topic":"a","retry":1e999}"#.into(), "`retry`"),
        (format!("{{\"topic\":{}1{}}}", "[".repeat(200), "]".repeat(200)), "`topic`"),
        (r#"[{"topic":"a"},{"\ud800":"a"}]"#.into(), "Update 2"),
    ] {
        let request = hub.request(Method::POST, paths::HUB).bearer_auth(hub.publisher()).header("content-type", JSON);
        let detail = request.body(body).answer().await.problem(400);
        assert!(detail.contains(says), "{detail}");
    }
}

#[tokio::test]
async fn an_array_is_published_in_order_and_answered_by_the_list_of_ids() {
    let hub = Hub::start().await;
    let mut listener = hub.subscribe(&[("match", "*")]).await;
    let updates: Vec<_> = (0..100).map(|n| json!({ "topic": format!("t{n}"), "data": n })).collect();
    let ids: Vec<String> = publish(&hub, json!(updates)).await.assert_status(200).json();
    for (n, id) in ids.iter().enumerate() {
        let event = listener.event().await;
        assert_eq!((&event.id, event.data), (id, n.to_string()));
    }
    assert_eq!(publish(&hub, json!([])).await.json::<Vec<String>>(), [""; 0]);
}

#[tokio::test]
async fn of_an_array_all_updates_are_published_or_none() {
    let hub = Hub::start().await;
    let mut listener = hub.subscribe(&[("match", "*")]).await;
    let detail = publish(&hub, json!([{ "topic": "a" }, { "topic": "a", "retry": "soon" }])).await.problem(400);
    assert!(detail.contains("Update 2") && detail.contains("retry"), "{detail}");
    let token = Claims::new().publish(&[exact("a")]).publisher();
    let denied = hub.request(Method::POST, paths::HUB).bearer_auth(token).header("content-type", JSON);
    denied.body(json!([{ "topic": "a" }, { "topic": "b" }]).to_string()).answer().await.problem(403);
    let last = hub.update("z", "").await;
    assert_eq!(listener.event().await.id, last);
}

#[tokio::test]
async fn what_is_no_update_is_refused_with_what_is_wrong() {
    let hub = Hub::start().await;
    for (body, says) in [
        (json!("x"), "object"),
        (json!({}), "topic"),
        (json!({ "topic": 7 }), "`topic` must be a string"),
        (json!({ "topic": ["a", null] }), "`topic` must be a string"),
        (json!({ "topic": "a", "private": "yes" }), "`private`"),
        (json!({ "topic": "a", "type": "mercure" }), "`mercure`"),
        (json!({ "topic": "/.well-known/mercure/x" }), "reserved"),
    ] {
        let detail = publish(&hub, body).await.problem(400);
        assert!(detail.contains(says), "{detail}");
    }
    let request = hub.request(Method::POST, paths::HUB).bearer_auth(hub.publisher()).header("content-type", JSON);
    assert!(request.body("{\n]").answer().await.problem(400).contains("line 2"));
    let many: Vec<_> = (0..1001).map(|_| json!({ "topic": "a" })).collect();
    publish(&hub, json!(many)).await.problem(413);
}

#[tokio::test]
async fn an_update_is_gone_after_its_time_to_live() {
    let hub = Hub::start().await;
    hub.publish(&[("topic", "a"), ("data", "short"), ("ttl", "1")]).await.assert_status(200);
    let long = hub.publish(&[("topic", "a"), ("data", "long"), ("ttl", "3600")]).await.body;
    let first = async || hub.subscribe(&[("match", "a"), ("last_event_id", "earliest")]).await.event().await;
    while first().await.id != long {
        tokio::task::yield_now().await;
    }
    hub.publish(&[("topic", "a"), ("ttl", "1h")]).await.problem(400);
}

#[tokio::test]
async fn an_update_without_any_time_to_live_is_refused_because_nobody_would_hear_it() {
    let hub = Hub::start().await;
    assert!(hub.publish(&[("topic", "a"), ("ttl", "0")]).await.problem(400).contains("`ttl`"));
    assert!(publish(&hub, json!({ "topic": "a", "ttl": 0 })).await.problem(400).contains("`ttl`"));
    // The longest there is lasts for ever.
    hub.publish(&[("topic", "a"), ("ttl", "18446744073709551615")]).await.assert_status(200);
    hub.subscribe(&[("match", "a"), ("last_event_id", "earliest")]).await.event().await;
}

#[tokio::test]
async fn a_publish_that_is_repeated_with_its_idempotency_key_answers_the_first_ones_id() {
    let hub = Hub::start().await;
    let mut listener = hub.subscribe(&[("match", "a")]).await;
    let with = |key: &'static str, body: Value| post(&hub, &body).header("idempotency-key", key).answer();
    let first = with("k1", json!({ "topic": "a", "data": "x" })).await.body;
    assert_eq!(with("k1", json!({ "topic": "a", "data": "x" })).await.assert_status(200).body, first);
    let both: Vec<String> =
        with("k2", json!([{ "topic": "a", "data": "1" }, { "topic": "a", "data": "2" }])).await.json();
    let again = with("k2", json!([{ "topic": "a", "data": "1" }, { "topic": "a", "data": "2" }])).await;
    assert_eq!(again.json::<Vec<String>>(), both);
    assert!(with("k1", json!({ "topic": "a", "data": "another" })).await.problem(422).contains("new key"));
    with("", json!({ "topic": "a" })).await.problem(400);
    let last = hub.update("a", "").await;
    let heard = [first, both[0].clone(), both[1].clone(), last];
    for id in heard {
        assert_eq!(listener.event().await.id, id);
    }
}

#[tokio::test]
async fn concurrent_repeats_publish_once_and_a_restart_forgets_nothing() {
    let hub = Hub::start().await;
    let repeat =
        |hub: &Hub| post(hub, &json!({ "topic": "a", "data": "x" })).header("idempotency-key", "same").answer();
    let answers = futures_util::future::join_all((0..20).map(|_| repeat(&hub))).await;
    let id = answers[0].body.clone();
    assert!(answers.iter().all(|answer| answer.status == 200 && answer.body == id), "{answers:?}");
    let hub = hub.restart().await;
    assert_eq!(repeat(&hub).await.body, id);
    // Another publisher's key is another key, though it reads the same.
    let other = Claims::new().with("sub", "another").publish(&[exact("*")]).publisher();
    let theirs = hub.post(&[("topic", "a"), ("data", "x")]).bearer_auth(other).header("idempotency-key", "same");
    let theirs = theirs.answer().await.assert_status(200).body.clone();
    assert_ne!(theirs, id);
    let mut listener = hub.subscribe(&[("match", "a"), ("last_event_id", "earliest")]).await;
    assert_eq!([listener.event().await.id, listener.event().await.id], [id, theirs]);
}
