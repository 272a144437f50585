//! The limits: rates, sizes and connections.

use std::time::Duration;

use tidings::server::settings::Options;
use tidings::wire::message::Message;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

use crate::app::{App, Ask, JSON, TEXT, client, in_time};

#[tokio::test]
async fn above_the_rate_limit_messages_are_refused_with_the_time_to_wait() {
    let app = App::start_with(Options { rate_limit: Some(1), ..Options::default() }).await;
    for n in 0..4 {
        app.post_message(&format!("message {n}")).await;
    }
    for answer in [app.submit("too many").await, app.post("/publish", TEXT, "too many").await] {
        answer.problem(429);
        let seconds: u64 = answer.header("retry-after").parse().expect("seconds");
        assert!((1..=4).contains(&seconds), "{answer:?}");
        assert!(answer.header("access-control-expose-headers").contains("retry-after"), "{answer:?}");
    }
    assert!(app.submit_form("kept").await.html(429).contains("kept"));
    app.get("/api/messages").await.assert_status(200);
    app.open("/stream").await;
}

#[tokio::test]
async fn an_address_may_publish_fifty_a_second_and_two_hundred_at_once_by_default() {
    let settings = Options::default().resolve().expect("settings");
    let app = App::start_with(Options { rate_limit: settings.limits.rate.map(Into::into), ..Options::default() }).await;
    for n in 0..200 {
        app.post_message(&format!("message {n}")).await;
    }
}

#[tokio::test]
async fn no_rate_limit_is_a_setting() {
    let app = App::start_with(Options { rate_limit: Some(0), ..Options::default() }).await;
    for n in 0..300 {
        app.post_message(&format!("message {n}")).await;
    }
}

#[tokio::test]
async fn the_longest_message_and_body_are_settings() {
    let options = Options { max_message: Some(10), max_body: Some(1024), ..Options::default() };
    let app = App::start_with(options).await;
    app.post_message("0123456789").await;
    let detail = app.submit("01234567890").await.problem(422);
    assert!(detail.contains("11 bytes") && detail.contains("10 it may have"), "{detail}");
    let detail = app.post("/publish", TEXT, " ".repeat(1025)).await.problem(413);
    assert!(detail.contains("1024"), "{detail}");
    app.post("/api/messages", JSON, " ".repeat(1025)).await.problem(413);
}

#[tokio::test]
async fn a_connection_above_the_limit_is_turned_away_with_a_problem() {
    let app = App::start_with(Options { max_connections: Some(2), ..Options::default() }).await;
    let (_one, _two) = (app.open("/stream").await, app.open("/clock").await);
    let answer = app.get("/api/ping").await;
    assert_eq!(answer.assert_status(503).header("content-type"), "application/problem+json");
    assert_eq!(answer.header("access-control-allow-origin"), "*");
    assert_eq!(answer.header("retry-after"), "5");
    assert!(answer.body.contains("\"status\":503") && answer.body.contains("Try again"), "{answer:?}");
}

#[tokio::test]
async fn a_connection_above_the_limit_is_refused_over_http_2_and_as_the_origins_say() {
    let origins = Some("https://app.example".parse().expect("origins"));
    let app = App::start_with(Options { max_connections: Some(1), cors_origins: origins, ..Options::default() }).await;
    let _one = app.open("/clock").await;
    let client = reqwest::Client::builder().no_proxy().http2_prior_knowledge().build().expect("a client");
    let ask =
        async |origin| client.get(format!("http://{}/clock", app.address)).header("origin", origin).answer().await;
    let answer = ask("https://app.example").await;
    assert_eq!(answer.assert_status(503).version, reqwest::Version::HTTP_2);
    assert_eq!(answer.header("access-control-allow-origin"), "https://app.example");
    assert_eq!(answer.header("content-type"), "application/problem+json");
    let other = ask("https://other.example").await;
    assert!(!other.assert_status(503).headers.contains_key("access-control-allow-origin"), "{other:?}");
}

#[tokio::test]
async fn streams_of_the_demo_count_towards_the_limit_of_their_client_and_give_their_place_back() {
    let app = App::start_with(Options { max_streams: Some(2), ..Options::default() }).await;
    let (one, _two) = (app.open("/clock").await, app.open("/stream").await);
    app.get("/counter").await.problem(429);
    app.request(reqwest::Method::HEAD, "/counter").answer().await.assert_status(200);
    drop(one);
    in_time("a place", async {
        while app.request(reqwest::Method::GET, "/counter").send().await.is_ok_and(|answer| answer.status() == 429) {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_head_of_60_kib_arrives_and_a_larger_one_is_refused_with_a_problem_over_http_1_and_2() {
    let app = App::start().await;
    let over_http_2 = reqwest::Client::builder().no_proxy().http2_prior_knowledge().build().expect("a client");
    for client in [client(), over_http_2] {
        let ask = async |bytes: usize| {
            let request = client.get(format!("http://{}/api/ping", app.address));
            request.header("x-long", "x".repeat(bytes)).answer().await
        };
        ask(60 * 1024).await.assert_status(200);
        let answer = ask(70 * 1024).await;
        assert_eq!(answer.header("access-control-allow-origin"), "*", "{answer:?}");
        assert!(answer.problem(431).contains("QUERY"), "{answer:?}");
    }
}

#[tokio::test]
async fn connections_of_clients_that_have_left_are_free_again() {
    let app = App::start_with(Options { max_connections: Some(2), ..Options::default() }).await;
    let message: Message = app.post_message("Hello").await;
    for path in ["/stream", "/clock", "/counter", "/api/messages", &message.stream].repeat(4) {
        in_time(path, async {
            // A new client each time: the client of the app reuses its connections.
            let request =
                || client().get(format!("http://{}{path}", app.address)).header("accept", "text/event-stream");
            while request().send().await.is_ok_and(|response| response.status() == 503) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
        .await;
    }
}

#[tokio::test]
async fn a_connection_that_sends_no_request_is_turned_away_too() {
    let app = App::start_with(Options { max_connections: Some(1), ..Options::default() }).await;
    let _one = app.open("/stream").await;
    let mut silent = TcpStream::connect(app.address).await.expect("a connection");
    let mut answer = Vec::new();
    in_time("the refusal", silent.read_to_end(&mut answer)).await.expect("an answer");
}

#[tokio::test]
async fn a_browsers_stream_that_is_refused_for_a_while_is_told_when_to_come_back() {
    let limited = |soft_refusals| Options { max_streams: Some(1), soft_refusals, ..Options::default() };
    let app = App::start_with(limited(None)).await;
    let _open = app.open("/.well-known/mercure?match=a").await;
    let refused = app.stream("/.well-known/mercure?match=a");
    // A script has to be told what is the matter.
    refused.try_clone().expect("a request").answer().await.problem(429);
    let browser = refused.header("sec-fetch-mode", "cors").answer().await;
    assert_eq!(browser.assert_status(200).header("content-type"), "text/event-stream");
    assert_eq!(browser.header("access-control-allow-origin"), "*");
    let retry: u64 =
        browser.body.strip_prefix("retry: ").and_then(|text| text.trim_end().parse().ok()).expect("a time");
    assert!((10_000..=15_000).contains(&retry), "{retry}");
    // What will not pass by itself stays an error.
    let bad = app.stream("/.well-known/mercure?match_urlpattern=(").header("sec-fetch-mode", "cors");
    bad.answer().await.problem(400);

    let app = App::start_with(limited(Some(false))).await;
    let _open = app.open("/.well-known/mercure?match=a").await;
    app.stream("/.well-known/mercure?match=a").header("sec-fetch-mode", "cors").answer().await.problem(429);
}

#[tokio::test]
async fn a_client_above_its_limit_of_connections_is_told_so_and_another_one_is_served() {
    let app = App::start_with(Options { max_connections_per_client: Some(2), ..Options::default() }).await;
    let open = async || TcpStream::connect(app.address).await.expect("it listens");
    let held = [open().await, open().await];
    let refused = client().get(format!("http://{}/api/ping", app.address)).answer().await;
    assert_eq!(refused.header("retry-after"), "5");
    assert!(refused.problem(429).contains("2 connections"));
    // From another address of this machine.
    let other =
        reqwest::Client::builder().no_proxy().local_address(Some([127, 0, 0, 2].into())).build().expect("a client");
    other.get(format!("http://{}/api/ping", app.address)).answer().await.assert_status(200);
    drop(held);
    in_time("room", async {
        while client().get(format!("http://{}/api/ping", app.address)).answer().await.status != 200 {}
    })
    .await;
}

#[tokio::test]
async fn a_client_that_makes_connections_too_fast_is_told_so_and_another_one_is_served() {
    let app = App::start_with(Options { connection_rate_limit: Some(1), ..Options::default() }).await;
    let ping = async || client().get(format!("http://{}/api/ping", app.address)).answer().await;
    let mut refused = ping().await;
    assert_eq!(refused.status, 200);
    while refused.status == 200 {
        // They count too, and are quicker to make.
        for _ in 0..5 {
            TcpStream::connect(app.address).await.expect("it listens");
        }
        refused = ping().await;
    }
    assert_eq!([refused.header("retry-after"), refused.header("connection")], ["1", "close"]);
    assert!(refused.problem(429).contains("connections faster"), "{refused:?}");
    let other =
        reqwest::Client::builder().no_proxy().local_address(Some([127, 0, 0, 2].into())).build().expect("a client");
    other.get(format!("http://{}/api/ping", app.address)).answer().await.assert_status(200);
}
