//! 2.4 Publication.

use reqwest::Method;
use tidings::server::settings::Options;
use tidings::wire::paths;

use crate::app::{Ask, FORM, TEXT};
use crate::hub::Hub;

#[tokio::test]
async fn a_form_is_published_and_unknown_fields_are_ignored() {
    let hub = Hub::start().await;
    let mut listener = hub.subscribe(&[("match", "a")]).await;
    hub.publish(&[("topic", "a"), ("data", "Grüße & mehr"), ("colour", "blue")]).await.assert_status(200);
    assert_eq!(listener.event().await.data, "Grüße & mehr");
}

#[tokio::test]
async fn what_is_no_form_and_no_json_is_refused() {
    let hub = Hub::start().await;
    let post = hub.request(Method::POST, paths::HUB).bearer_auth(hub.publisher());
    let detail = post.header("content-type", TEXT).body("topic=a").answer().await.problem(415);
    assert!(detail.contains(FORM), "{detail}");
}

#[tokio::test]
async fn an_update_needs_a_topic() {
    let hub = Hub::start().await;
    assert!(hub.publish(&[("data", "x")]).await.problem(400).contains("topic"));
    hub.publish(&[("topic", ""), ("data", "x")]).await.problem(400);
}

#[tokio::test]
async fn the_hubs_own_namespace_is_reserved_whatever_the_token_grants() {
    let hub = Hub::start().await;
    for topic in [
        "/.well-known/mercure",
        "/.well-known/mercure/subscriptions/exact/a/b",
        "https://elsewhere.example/.well-known/mercure/x",
        "/x/../.well-known/mercure",
        "/.well-known/%6Dercure",
        "mercure",
    ] {
        hub.publish(&[("topic", "a"), ("topic", topic)]).await.problem(400);
    }
    // What can't be read as a URL is not reserved, and what only begins alike isn't.
    for topic in ["http://[/.well-known/mercure", "/.well-known/mercurey"] {
        hub.publish(&[("topic", topic)]).await.assert_status(200);
    }
}

#[tokio::test]
async fn a_star_is_no_topic() {
    Hub::start().await.publish(&[("topic", "*")]).await.problem(400);
}

#[tokio::test]
async fn data_is_optional_and_split_at_every_line_end() {
    let hub = Hub::start().await;
    let mut listener = hub.subscribe(&[("match", "a")]).await;
    hub.publish(&[("topic", "a"), ("id", "1")]).await.assert_status(200);
    hub.publish(&[("topic", "a"), ("id", "2"), ("data", "a\rb\nc\r\nd")]).await.assert_status(200);
    listener.read_until("id: 1\ndata: \n\nid: 2\ndata: a\ndata: b\ndata: c\ndata: d\n\n").await;
}

#[tokio::test]
async fn data_that_is_not_utf_8_is_refused() {
    let hub = Hub::start().await;
    let post = hub.request(Method::POST, paths::HUB).bearer_auth(hub.publisher());
    post.header("content-type", FORM).body("topic=a&data=%ff").answer().await.problem(400);
}

#[tokio::test]
async fn a_field_that_nobody_reads_may_hold_anything() {
    let hub = Hub::start().await;
    let mut listener = hub.subscribe(&[("match", "a")]).await;
    let post = |body: &'static str| hub.request(Method::POST, paths::HUB).header("content-type", FORM).body(body);
    // Of `private` the presence alone counts.
    for body in ["topic=a&private=%ff", "topic=a&id=2&x=%ff&%ff=x&topic%ff=b"] {
        post(body).bearer_auth(hub.publisher()).answer().await.assert_status(200);
    }
    assert_eq!(listener.event().await.id, "2");
    for body in ["topic=%ff", "topic=a&topic=%ff", "topic=a&id=%ff", "topic=a&retry=%ff", "topic=a&ttl=%ff"] {
        let detail = post(body).bearer_auth(hub.publisher()).answer().await.problem(400);
        assert!(detail.contains("UTF-8"), "{body}: {detail}");
    }
}

#[tokio::test]
async fn an_update_is_private_if_the_field_is_there_whatever_it_says() {
    let hub = Hub::start().await;
    let mut listener = hub.subscribe(&[("match", "a")]).await;
    for value in ["", "on", "0", "false"] {
        hub.publish(&[("topic", "a"), ("private", value)]).await.assert_status(200);
    }
    let public = hub.update("a", "public").await;
    assert_eq!(listener.event().await.id, public);
}

#[tokio::test]
async fn an_id_is_kept_where_it_is_allowed() {
    let hub = Hub::start().await;
    let id = "urn:example:é:1";
    assert_eq!(hub.publish(&[("topic", "a"), ("id", id)]).await.assert_status(200).body, id);
    for id in ["#1", "earliest", "a\nb", "a\0b", "a\u{200b}b"] {
        hub.publish(&[("topic", "a"), ("id", id)]).await.problem(400);
    }
}

#[tokio::test]
async fn an_id_that_no_header_can_carry_is_refused() {
    let hub = Hub::start().await;
    for id in [" 1", "1 ", " "] {
        let detail = hub.publish(&[("topic", "a"), ("id", id)]).await.problem(400);
        assert!(detail.contains("space"), "{detail}");
    }
    // Whatever else is allowed comes back from a client as it was.
    for id in ["a b", "\u{a0}1\u{a0}", "\u{3000}", "\"1\", 2", "é\u{2028}", "!~"] {
        let topic = format!("of {id}");
        hub.publish(&[("topic", &topic), ("id", id)]).await.assert_status(200);
        let next = hub.update(&topic, "").await;
        let stream = hub.stream(&[("match", &topic)]).header("last-event-id", id.as_bytes());
        assert_eq!(stream.open().await.event().await.id, next, "{id:?}");
    }
}

#[tokio::test]
async fn an_id_is_made_where_none_is_given_and_it_is_an_iri() {
    let hub = Hub::start().await;
    let (one, two) = (hub.update("a", "").await, hub.update("a", "").await);
    assert!(one.starts_with("urn:uuid:") && two.starts_with("urn:uuid:") && one != two, "{one} {two}");
}

#[tokio::test]
async fn a_type_has_no_control_characters_and_mercure_is_the_hubs_own() {
    let hub = Hub::start().await;
    for kind in ["mercure", "a\nid: 7", "a\u{ad}"] {
        hub.publish(&[("topic", "a"), ("type", kind)]).await.problem(400);
    }
    let mut listener = hub.subscribe(&[("match", "a")]).await;
    hub.publish(&[("topic", "a"), ("type", "Mercure")]).await.assert_status(200);
    assert_eq!(listener.event().await.event, "Mercure");
}

#[tokio::test]
async fn retry_is_digits_alone() {
    let hub = Hub::start().await;
    for retry in ["", "1s", "-1", "1.5", "٣", " 1", "99999999999999999999999"] {
        hub.publish(&[("topic", "a"), ("retry", retry)]).await.problem(400);
    }
    let mut listener = hub.subscribe(&[("match", "a")]).await;
    hub.publish(&[("topic", "a"), ("retry", "0")]).await.assert_status(200);
    listener.read_until("retry: 0\n").await;
}

#[tokio::test]
async fn a_retry_that_clients_timers_cannot_hold_is_refused() {
    let hub = Hub::start().await;
    for retry in ["2147483648", "9999999999"] {
        let detail = hub.publish(&[("topic", "a"), ("retry", retry)]).await.problem(400);
        assert!(detail.contains("2147483647"), "{detail}");
    }
    hub.publish(&[("topic", "a"), ("retry", "2147483647")]).await.assert_status(200);
}

#[tokio::test]
async fn a_form_is_answered_with_the_id_alone_whatever_is_accepted() {
    let hub = Hub::start().await;
    for accept in ["application/json", "application/json, text/plain;q=0.5", "image/png", "text/plain;q=0, */*"] {
        let post = hub.post(&[("topic", "a"), ("id", "1")]).bearer_auth(hub.publisher()).header("accept", accept);
        let answer = post.answer().await;
        assert_eq!(answer.assert_status(200).header("content-type"), "text/plain; charset=utf-8", "{accept}");
        assert_eq!(answer.body, "1", "{accept}");
    }
}

#[tokio::test]
async fn a_publish_is_answered_200_with_the_id_as_text() {
    let hub = Hub::start().await;
    let answer = hub.publish(&[("topic", "a"), ("id", "my id")]).await;
    assert_eq!(answer.assert_status(200).header("content-type"), "text/plain; charset=utf-8");
    assert_eq!(answer.body, "my id");
}

#[tokio::test]
async fn what_is_too_large_is_refused_with_413() {
    let hub = Hub::start_with(Options { max_body: Some(100_000), ..Options::default() }).await;
    hub.publish(&[("topic", "a"), ("data", &"x".repeat(100_000))]).await.problem(413);
    hub.publish(&[("topic", &"a".repeat(4097))]).await.problem(413);
    hub.publish(&[("topic", "a"), ("id", &"a".repeat(4097))]).await.problem(413);
    hub.publish(&[("topic", "a"), ("type", &"a".repeat(4097))]).await.problem(413);
    let names: Vec<_> = (0..1001).map(|n| n.to_string()).collect();
    let topics: Vec<_> = names.iter().map(|name| ("topic", name.as_str())).collect();
    hub.publish(&topics).await.problem(413);
    hub.publish(&topics[..1000]).await.assert_status(200);
    let long = "x".repeat(4000);
    let detail = hub.publish(&vec![("topic", &*long); 17]).await.problem(413);
    assert!(detail.contains("bytes"), "{detail}");
    hub.publish(&vec![("topic", &*long); 16]).await.assert_status(200);
}
