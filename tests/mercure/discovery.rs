//! 2.8 Discovery, and which names the hub answers to.

use reqwest::Method;
use serde_json::{Value, json};
use tidings::server::settings::Options;
use tidings::wire::paths;

use crate::app::Ask;
use crate::hub::Hub;
use crate::token::{DETAIL, ISSUER, RESOURCE};

#[tokio::test]
async fn the_metadata_says_what_a_token_must_be() {
    let hub = Hub::start().await;
    let metadata: Value = hub.app.get(paths::RESOURCE_METADATA).await.json();
    let expected = json!({
        "resource": RESOURCE,
        "authorization_servers": [ISSUER],
        "authorization_details_types_supported": [DETAIL],
        "bearer_methods_supported": ["header"],
        "mercure_cookie": "__Secure-mercure_access_token",
        "mercure_matcher_types_supported": ["exact", "urlpattern"],
        "mercure_subscriptions": true,
    });
    assert_eq!(metadata, expected);
}

#[tokio::test]
async fn a_document_leads_to_the_hub_which_goes_on_where_it_ends() {
    let hub = Hub::start_with(Options { demo: Some(true), ..Options::default() }).await;
    let link = |path: &'static str, accept: &'static str| {
        let request = hub.request(Method::GET, path).header("accept", accept);
        async move { request.answer().await.headers.get("link").map(|link| link.to_str().expect("text").to_owned()) }
    };
    let expected = |id: &str| {
        Some(format!(r#"</.well-known/mercure>; rel="mercure"; last-event-id="{id}"; content-type="application/json""#))
    };
    assert_eq!(link("/api/messages", "application/json").await, expected("earliest"));
    let mut ids = Vec::new();
    for _ in 0..2 {
        let submit = hub.request(Method::POST, "/api/messages").json(&json!({ "message": "hello" }));
        let message: Value = submit.answer().await.json();
        ids.push(message["id"].as_str().expect("an id").to_owned());
    }
    for (path, accept) in [("/api/messages", "application/json"), ("/", "text/html")] {
        assert_eq!(link(path, accept).await, expected(&ids[1]), "{path}");
    }
    let older = format!("/api/messages?before={}", ids[1]);
    assert_eq!(hub.app.get(&older).await.headers.get("link"), None);
}

#[tokio::test]
async fn other_origins_may_read_what_they_need_to_go_on() {
    let hub = Hub::start().await;
    let exposed = hub.subscribe(&[("match", "a")]).await.headers;
    let exposed = exposed["access-control-expose-headers"].to_str().expect("text").to_ascii_lowercase();
    for name in ["link", "mercure-last-event-id", "www-authenticate", "etag"] {
        assert!(exposed.contains(name), "{exposed}");
    }
    let preflight = hub.request(Method::OPTIONS, paths::HUB).header("origin", "https://a.example");
    let allowed = preflight.header("access-control-request-method", "POST").answer().await;
    let allowed = allowed.header("access-control-allow-headers").to_ascii_lowercase();
    for name in ["authorization", "content-type", "last-event-id", "idempotency-key"] {
        assert!(allowed.contains(name), "{allowed}");
    }
}

#[tokio::test]
async fn requests_for_other_hosts_are_misdirected() {
    let hub = Hub::start_with(Options { demo: Some(true), ..Options::default() }).await;
    let ask = |path: &'static str, host: &'static str| hub.request(Method::GET, path).header("host", host).answer();
    for host in ["evil.example", "hub.example.evil.example", "hub.example@evil.example"] {
        let detail = ask("/api/messages", host).await.problem(421);
        assert!(detail.contains("hub.example"), "{detail}");
    }
    for host in ["hub.example", "HUB.example:443", "127.0.0.1", "[::1]:3000", "localhost:1"] {
        ask("/api/messages", host).await.assert_status(200);
    }
    ask(paths::PING, "10.0.0.1").await.assert_status(200);
    ask(paths::PING, "evil.example").await.assert_status(200);
}
