//! 2.3 Matcher Types.

use reqwest::Method;
use tidings::wire::paths;

use crate::app::{Ask, FORM};
use crate::hub::{Hub, encode};
use crate::token::{Claims, exact, pattern};

/// Whether a stream with this matcher hears an update on this topic.
async fn hears(hub: &Hub, matcher: (&str, &str), topic: &str) -> bool {
    let mut listener = hub.subscribe(&[matcher, ("match", "the end")]).await;
    let id = hub.update(topic, "").await;
    hub.update("the end", "").await;
    listener.event().await.id == id
}

#[tokio::test]
async fn a_star_is_every_topic_whatever_the_type() {
    let hub = Hub::start().await;
    for name in ["match", "match_exact", "match_urlpattern"] {
        assert!(hears(&hub, (name, "*"), "no URL: http://[").await, "{name}");
    }
}

#[tokio::test]
async fn exact_is_byte_for_byte() {
    let hub = Hub::start().await;
    for (matcher, topic, expected) in [
        ("https://example.com/a", "https://example.com/a", true),
        ("https://example.com/a", "https://EXAMPLE.com/a", false),
        ("https://example.com/a", "https://example.com:443/a", false),
        ("https://example.com/%61", "https://example.com/a", false),
        ("/a", "https://hub.example/a", false),
        ("é", "e\u{301}", false),
    ] {
        assert_eq!(hears(&hub, ("match", matcher), topic).await, expected, "{matcher} {topic}");
    }
}

#[tokio::test]
async fn url_patterns_and_topics_are_resolved_against_the_hubs_url() {
    let hub = Hub::start().await;
    for (matcher, topic, expected) in [
        ("https://example.com/books/:id", "https://example.com/books/1", true),
        ("https://example.com/books/:id", "https://example.com/books/1/pages", false),
        ("/books/:id", "https://hub.example/books/1", true),
        ("https://hub.example/books/:id", "/books/1", true),
        ("/books/:id", "https://example.com/books/1", false),
        ("https://*.example.com/*", "https://a.example.com/b/c", true),
        ("/books/:id(\\d+)", "/books/x", false),
        ("https://example.com/a?q=:x", "https://example.com/a?q=1", true),
    ] {
        assert_eq!(hears(&hub, ("match_urlpattern", matcher), topic).await, expected, "{matcher} {topic}");
    }
}

#[tokio::test]
async fn the_case_of_a_url_pattern_counts_except_in_the_host() {
    let hub = Hub::start().await;
    assert!(!hears(&hub, ("match_urlpattern", "https://example.com/Books/:id"), "https://example.com/books/1").await);
    assert!(hears(&hub, ("match_urlpattern", "https://EXAMPLE.com/books/:id"), "https://example.COM/books/1").await);
}

#[tokio::test]
async fn a_topic_that_is_no_url_is_matched_by_no_url_pattern() {
    let hub = Hub::start().await;
    for topic in ["http://[", "https://"] {
        assert!(!hears(&hub, ("match_urlpattern", "*://*/*"), topic).await, "{topic}");
        assert!(!hears(&hub, ("match_urlpattern", "/*"), topic).await, "{topic}");
    }
}

#[tokio::test]
async fn a_pattern_that_would_be_slow_elsewhere_is_matched_in_linear_time_and_one_that_is_large_refused() {
    let hub = Hub::start().await;
    let topic = format!("/{}!", "a".repeat(3000));
    let start = std::time::Instant::now();
    assert!(!hears(&hub, ("match_urlpattern", "/((?:a+)+)"), &topic).await);
    // An engine that backtracks would take longer than the world has been there.
    assert!(start.elapsed() < std::time::Duration::from_secs(10));
    hub.stream(&[("match_urlpattern", "/(((((a{99}){99}){99}){99}){99})")]).answer().await.problem(400);
}

#[tokio::test]
async fn an_unknown_type_is_refused_in_a_request_with_400_and_in_a_token_with_401() {
    let hub = Hub::start().await;
    hub.stream(&[("match_mqtt", "a/+")]).answer().await.problem(400);
    let unknown = serde_json::json!({ "match": "a", "match_type": "mqtt" });
    let token = Claims::new().subscribe(&[unknown]).subscriber();
    hub.stream(&[("match", "a")]).bearer_auth(token).answer().await.problem(401);
}

#[tokio::test]
async fn the_types_are_told() {
    let metadata: serde_json::Value = Hub::start().await.app.get(paths::RESOURCE_METADATA).await.json();
    assert_eq!(metadata["mercure_matcher_types_supported"], serde_json::json!(["exact", "urlpattern"]));
}

#[tokio::test]
async fn both_types_serve_in_tokens_too() {
    let hub = Hub::start().await;
    let token = Claims::new().publish(&[exact("a"), pattern("/b/:c")]).publisher();
    let publish = |topic: &'static str| hub.post(&[("topic", topic)]).bearer_auth(&token).answer();
    for (topic, status) in [("a", 200), ("/b/1", 200), ("/b/1/2", 403), ("/a", 403)] {
        publish(topic).await.assert_status(status);
    }
}

#[tokio::test]
async fn many_long_patterns_at_once_are_refused_and_many_topics_are_not() {
    let hub = Hub::start().await;
    let query = |name: &'static str, length: usize| {
        let values: Vec<_> = (0..20).map(|number| format!("/{number}/{}", "a".repeat(length))).collect();
        let pairs: Vec<_> = values.iter().map(|value| (name, &**value)).collect();
        let request = hub.request(Method::from_bytes(b"QUERY").expect("a method"), paths::HUB);
        request.header("content-type", FORM).body(encode(&pairs))
    };
    let detail = query("match_urlpattern", 1000).answer().await.problem(400);
    assert!(detail.contains("16384 bytes together"), "{detail}");
    for (name, length) in [("match_urlpattern", 100), ("match", 1000)] {
        query(name, length).open().await;
    }
}
