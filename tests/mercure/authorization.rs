//! 2.5 Authorization: who needs a token, and how it is presented.

use reqwest::Method;
use tidings::server::settings::Options;
use tidings::wire::paths;

use crate::app::Ask;
use crate::hub::{Hub, challenge};
use crate::token::{Claims, exact};

const COOKIE: &str = "__Secure-mercure_access_token";

async fn closed() -> Hub {
    Hub::start_with(Options { anonymous: Some(false), ..Options::default() }).await
}

#[tokio::test]
async fn publishing_needs_a_token_and_the_challenge_carries_no_error_code() {
    let hub = Hub::start().await;
    let answer = hub.post(&[("topic", "a")]).answer().await;
    answer.problem(401);
    let challenge = challenge(&answer);
    assert!(!challenge.contains("error"), "{challenge}");
    assert!(challenge.contains(paths::RESOURCE_METADATA) && challenge.contains("resource_metadata="), "{challenge}");
}

#[tokio::test]
async fn publishing_without_a_token_must_be_allowed_in_so_many_words() {
    let hub = Hub::start_with(Options { publish_without_token: Some(true), ..Options::default() }).await;
    hub.post(&[("topic", "a")]).answer().await.assert_status(200);
    // Even then no other site's page may use a visitor's browser for it.
    hub.post(&[("topic", "a")]).header("origin", "https://evil.example").answer().await.problem(403);
}

#[tokio::test]
async fn anonymous_subscribers_are_a_setting() {
    let hub = closed().await;
    let answer = hub.stream(&[("match", "a")]).answer().await;
    answer.problem(401);
    assert!(!challenge(&answer).contains("error"));
    hub.subscribe_as(&Claims::new().subscriber(), &[("match", "a")]).await;
    Hub::start().await.subscribe(&[("match", "a")]).await;
}

#[tokio::test]
async fn private_updates_reach_only_who_may_read_one_of_their_topics() {
    let hub = Hub::start().await;
    let granted = Claims::new().subscribe(&[exact("b")]).subscriber();
    let other = Claims::new().subscribe(&[exact("c")]).subscriber();
    let publisher = Claims::new().publish(&[exact("a")]).subscriber();
    let mut reader = hub.subscribe_as(&granted, &[("match", "a")]).await;
    let mut others = vec![hub.subscribe(&[("match", "*")]).await];
    for token in [&other, &publisher] {
        others.push(hub.subscribe_as(token, &[("match", "*")]).await);
    }
    let private = hub.publish(&[("topic", "a"), ("topic", "b"), ("private", "")]).await.body;
    let public = hub.update("a", "").await;
    assert_eq!([reader.event().await.id, reader.event().await.id], [private, public.clone()]);
    for listener in &mut others {
        assert_eq!(listener.event().await.id, public);
    }
}

#[tokio::test]
async fn routing_parameters_widen_no_rights() {
    let hub = Hub::start().await;
    let token = Claims::new().subscribe(&[exact("mine")]).subscriber();
    let mut listener = hub.subscribe_as(&token, &[("match", "*"), ("match", "theirs")]).await;
    hub.private("theirs", "").await;
    let mine = hub.private("mine", "").await;
    assert_eq!(listener.event().await.id, mine);
}

#[tokio::test]
async fn the_scheme_of_the_header_has_any_case() {
    let hub = closed().await;
    for scheme in ["Bearer", "bearer", "BEARER"] {
        let header = format!("{scheme} {}", Claims::new().subscriber());
        hub.stream(&[("match", "a")]).header("authorization", header).open().await;
    }
}

#[tokio::test]
async fn a_malformed_presentation_is_refused_with_400_and_invalid_request() {
    let hub = closed().await;
    let token = Claims::new().subscriber();
    for header in ["Bearer".into(), "Basic dTpw".into(), format!("Bearer {token} x"), token.clone()] {
        let answer = hub.stream(&[("match", "a")]).header("authorization", header).answer().await;
        answer.problem(400);
        assert!(challenge(&answer).contains("error=\"invalid_request\""));
    }
    let twice = hub.stream(&[("match", "a")]).bearer_auth(&token).bearer_auth(&token).answer().await;
    twice.problem(400);
}

#[tokio::test]
async fn a_token_in_the_query_is_not_taken() {
    let hub = closed().await;
    let detail =
        hub.stream(&[("match", "a"), ("access_token", &Claims::new().subscriber())]).answer().await.problem(401);
    assert!(detail.contains("ticket"), "{detail}");
}

#[tokio::test]
async fn the_cookie_is_used_where_there_is_no_header_and_otherwise_ignored() {
    let hub = closed().await;
    let cookie = |token: String| format!("theme=dark; {COOKIE}={token}");
    hub.stream(&[("match", "a")]).header("cookie", cookie(Claims::new().subscriber())).open().await;
    hub.stream(&[("match", "a")]).header("cookie", cookie("nonsense".into())).answer().await.problem(401);
    let both = hub.stream(&[("match", "a")]).header("cookie", cookie("nonsense".into()));
    both.bearer_auth(Claims::new().subscriber()).open().await;
}

#[tokio::test]
async fn the_cookie_is_found_beside_others_whatever_bytes_they_hold() {
    let hub = closed().await;
    let token = Claims::new().subscriber();
    for cookie in [
        format!("theme=größe; {COOKIE}={token}").into_bytes(),
        [format!("{COOKIE}={token}; theme=").as_bytes(), b"gr\xf6\xdfe"].concat(),
        [&b"\xff=\xfe; nothing; ="[..], format!(";;{COOKIE}=\"{token}\"").as_bytes()].concat(),
        [format!("{COOKIE}=").as_bytes(), b"\xff; ", format!("{COOKIE}={token}").as_bytes()].concat(),
    ] {
        let cookie = reqwest::header::HeaderValue::from_bytes(&cookie).expect("a header");
        hub.stream(&[("match", "a")]).header("cookie", cookie).open().await;
    }
}

#[tokio::test]
async fn a_cookie_publishes_only_from_pages_that_may() {
    let origins = Some("https://app.example".parse().expect("origins"));
    let hub = Hub::start_with(Options { publish_origins: origins, ..Options::default() }).await;
    let post = || hub.post(&[("topic", "a")]).header("cookie", format!("{COOKIE}={}", hub.publisher()));
    for origin in ["https://app.example", "https://hub.example"] {
        post().header("origin", origin).answer().await.assert_status(200);
    }
    post().header("referer", "https://app.example/page?x").answer().await.assert_status(200);
    post().header("referer", "https://app.example/größe").answer().await.assert_status(200);
    for origin in ["https://evil.example", "null", "https://app.example.evil.example"] {
        post().header("origin", origin).answer().await.problem(403);
    }
    post().header("referer", "https://evil.example/https://app.example").answer().await.problem(403);
    let answer = post().answer().await;
    answer.problem(403);
    challenge(&answer);
    // A header is never sent by a browser of itself: it needs no origin.
    hub.post(&[("topic", "a")])
        .bearer_auth(hub.publisher())
        .header("origin", "https://evil.example")
        .answer()
        .await
        .assert_status(200);
}

#[tokio::test]
async fn publishing_must_be_granted_on_every_topic_or_nothing_is_dispatched() {
    let hub = Hub::start().await;
    let mut listener = hub.subscribe(&[("match", "*")]).await;
    let token = Claims::new().publish(&[exact("a"), exact("b")]).publisher();
    let post = |fields: &[(&str, &str)]| hub.post(fields).bearer_auth(&token).answer();
    let answer = post(&[("topic", "a"), ("topic", "c")]).await;
    answer.problem(403);
    assert!(challenge(&answer).contains("error=\"insufficient_scope\""));
    let id = post(&[("topic", "a"), ("topic", "b")]).await.assert_status(200).body.clone();
    assert_eq!(listener.event().await.id, id);
}

#[tokio::test]
async fn the_right_to_subscribe_is_none_to_publish_and_keys_are_kept_apart() {
    let hub = Hub::start().await;
    let reader = Claims::new().subscribe(&[exact("*")]);
    hub.post(&[("topic", "a")]).bearer_auth(reader.publisher()).answer().await.problem(403);
    let wrong_key = Claims::new().publish(&[exact("*")]).subscriber();
    hub.post(&[("topic", "a")]).bearer_auth(wrong_key).answer().await.problem(401);
    hub.stream(&[("match", "a")]).bearer_auth(reader.publisher()).answer().await.problem(401);
}

#[tokio::test]
async fn a_stream_ends_when_its_token_expires() {
    let hub = Hub::start().await;
    let token = Claims::new().with("exp", crate::token::now(2)).subscriber();
    let mut listener = hub.subscribe_as(&token, &[("match", "a")]).await;
    assert_eq!(listener.rest().await, []);
    hub.stream(&[("match", "a")]).bearer_auth(token).answer().await.problem(401);
}

#[tokio::test]
async fn a_stream_ends_after_its_lifetime_whatever_its_token_says() {
    let lifetime = Some(crate::app::millis(200));
    let hub = Hub::start_with(Options { stream_lifetime: lifetime, ..Options::default() }).await;
    assert_eq!(hub.subscribe(&[("match", "a")]).await.rest().await, []);
}

#[tokio::test]
async fn head_is_answered_at_once() {
    let hub = Hub::start().await;
    let answer = hub.request(Method::HEAD, &format!("{}?match=a", paths::HUB)).answer().await;
    assert_eq!(answer.assert_status(200).header("content-type"), "text/event-stream");
}
