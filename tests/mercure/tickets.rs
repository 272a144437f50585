//! Tickets: ours beside the protocol, for an `EventSource` of another site.

use reqwest::Method;
use serde_json::Value;
use tidings::server::settings::Options;
use tidings::wire::paths;

use crate::app::Ask;
use crate::hub::Hub;
use crate::token::{Claims, exact};

#[tokio::test]
async fn a_ticket_stands_for_its_token_once() {
    let hub = Hub::start_with(Options { anonymous: Some(false), ..Options::default() }).await;
    let token = Claims::new().subscribe(&[exact("a")]).subscriber();
    let answer = hub.request(Method::POST, paths::TICKETS).bearer_auth(&token).answer().await;
    assert_eq!(answer.assert_status(201).header("cache-control"), "private, no-store");
    let body: Value = answer.json();
    assert_eq!(body["expires_in"], 30);
    let ticket = body["ticket"].as_str().expect("a ticket");
    let mut listener = hub.subscribe(&[("match", "a"), ("ticket", ticket)]).await;
    let private = hub.private("a", "").await;
    assert_eq!(listener.event().await.id, private);
    let detail = hub.stream(&[("match", "a"), ("ticket", ticket)]).answer().await.problem(401);
    assert!(detail.contains("once") || detail.contains("before"), "{detail}");
}

#[tokio::test]
async fn a_ticket_is_given_for_a_token_in_the_header_alone() {
    let hub = Hub::start().await;
    let ask = || hub.request(Method::POST, paths::TICKETS);
    ask().answer().await.problem(401);
    ask().bearer_auth("nonsense").answer().await.problem(401);
    let cookie = format!("__Secure-mercure_access_token={}", Claims::new().subscriber());
    ask().header("cookie", cookie).answer().await.problem(401);
}
