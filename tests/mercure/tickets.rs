//! Tickets: ours beside the protocol, for an `EventSource` of another site.

use reqwest::{Method, RequestBuilder};
use serde_json::Value;
use tidings::server::settings::Options;
use tidings::wire::paths;

use crate::app::Ask;
use crate::hub::{Hub, encode};
use crate::token::{Claims, exact};

const COOKIE: &str = "__Secure-mercure_reconnect";

async fn closed() -> Hub {
    Hub::start_with(Options { anonymous: Some(false), ..Options::default() }).await
}

async fn issue(hub: &Hub, token: &str) -> String {
    let answer = hub.request(Method::POST, paths::TICKETS).bearer_auth(token).answer().await;
    assert_eq!(answer.assert_status(201).header("cache-control"), "no-store");
    let body: Value = answer.json();
    assert_eq!(body["expires_in"], 30);
    body["ticket"].as_str().expect("a ticket").to_owned()
}

fn stream(hub: &Hub, ticket: &str) -> RequestBuilder {
    hub.stream(&[("match", "a"), ("ticket", ticket)])
}

/// Opens a stream, and answers the cookie that the browser gets with it.
async fn open_with_cookie(request: RequestBuilder) -> (crate::listener::Listener, String) {
    let response = request.send().await.expect("a stream");
    let cookie = response.headers().get("set-cookie").expect("a cookie").to_str().expect("a text").to_owned();
    (crate::listener::Listener::open(response).await, cookie)
}

#[tokio::test]
async fn a_ticket_stands_for_its_token_once() {
    let hub = closed().await;
    let ticket = issue(&hub, &Claims::new().subscribe(&[exact("a")]).subscriber()).await;
    let mut listener = stream(&hub, &ticket).open().await;
    let private = hub.private("a", "").await;
    assert_eq!(listener.event().await.id, private);
    let detail = stream(&hub, &ticket).answer().await.problem(401);
    assert!(detail.contains("used before") && detail.contains("new ticket"), "{detail}");
}

#[tokio::test]
async fn the_browser_that_opened_a_stream_reconnects_with_the_same_ticket_also_after_a_restart() {
    let hub = closed().await;
    let ticket = issue(&hub, &Claims::new().subscribe(&[exact("a")]).subscriber()).await;
    let (mut listener, cookie) = open_with_cookie(stream(&hub, &ticket)).await;
    for attribute in ["Path=/.well-known/mercure", "HttpOnly", "Secure", "SameSite=None", "Partitioned"] {
        assert!(cookie.split("; ").any(|part| part == attribute), "{cookie}");
    }
    let cookie = cookie.split(';').next().expect("a value").to_owned();
    assert!(cookie.starts_with(COOKIE) && !cookie.contains(&ticket), "{cookie}");
    let seen = hub.private("a", "seen").await;
    assert_eq!(listener.event().await.id, seen);
    drop(listener);
    let missed = hub.private("a", "missed").await;
    let back = |hub: &Hub, id: &str| {
        let other = "theme=größe; ";
        stream(hub, &ticket).header("last-event-id", id).header("cookie", format!("{other}{cookie}"))
    };
    assert_eq!(back(&hub, &seen).open().await.event().await.id, missed);
    let hub = hub.restart().await;
    assert_eq!(back(&hub, &seen).open().await.event().await.id, missed);
    // Whoever finds the address in a log has no cookie.
    stream(&hub, &ticket).header("last-event-id", &seen).answer().await.problem(401);
}

#[tokio::test]
async fn what_opens_no_stream_uses_no_ticket_up() {
    let hub = Hub::start_with(Options { anonymous: Some(false), max_streams: Some(1), ..Options::default() }).await;
    let token = Claims::new().subscriber();
    let ticket = issue(&hub, &token).await;
    let head = format!("{}?{}", paths::HUB, encode(&[("match", "a"), ("ticket", &ticket)]));
    for _ in 0..2 {
        let answer = hub.request(Method::HEAD, &head).answer().await;
        assert!(answer.assert_status(200).headers.get("set-cookie").is_none());
    }
    hub.stream(&[("ticket", &ticket)]).answer().await.problem(400);
    let other = hub.subscribe_as(&token, &[("match", "a")]).await;
    stream(&hub, &ticket).answer().await.problem(429);
    drop(other);
    // The server notices that a client is gone a moment later.
    for _ in 0..1000 {
        if stream(&hub, &ticket).send().await.expect("an answer").status() == 200 {
            return;
        }
        tokio::task::yield_now().await;
    }
    panic!("the ticket was used up");
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
