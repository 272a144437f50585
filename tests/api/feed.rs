//! `GET /api/messages` as an event stream: the live feed of all messages, from any position on.

use serde_json::{Value, json};
use tidings::wire::message::Message;

use crate::app::{App, Ask};
use crate::listener::Listener;

const MESSAGES: &str = "/api/messages";

#[tokio::test]
async fn the_feed_sends_every_new_message_as_it_is_published() {
    let app = App::start().await;
    app.post_message("before").await;
    let mut feed = app.open(MESSAGES).await;
    for text in ["one", "two\nlines", "three"] {
        let message = app.post_message(text).await;
        assert_eq!(feed.message().await, message);
    }
}

#[tokio::test]
async fn the_feed_continues_after_the_last_message_that_was_received() {
    let app = App::start().await;
    let messages = post(&app, 5).await;
    let id = &messages[1].id;
    let mut by_header = app.reopen(MESSAGES, id).await;
    assert_received(&mut by_header, &messages[2..]).await;
    let mut by_query = app.open(&format!("{MESSAGES}?last_event_id={id}")).await;
    assert_received(&mut by_query, &messages[2..]).await;
    let live = app.post_message("live").await;
    assert_received(&mut by_header, std::slice::from_ref(&live)).await;
    assert_received(&mut by_query, &[live]).await;
}

#[tokio::test]
async fn the_header_takes_precedence_over_the_query() {
    let app = App::start().await;
    let messages = post(&app, 3).await;
    let mut feed = app.reopen(&format!("{MESSAGES}?last_event_id={}", messages[0].id), &messages[1].id).await;
    assert_received(&mut feed, &messages[2..]).await;
}

#[tokio::test]
async fn earliest_stands_for_everything_that_is_kept() {
    let app = App::start().await;
    let mut early = app.open(&format!("{MESSAGES}?last_event_id=earliest")).await;
    let messages = post(&app, 3).await;
    assert_received(&mut early, &messages).await;
    let mut late = app.open(&format!("{MESSAGES}?last_event_id=earliest")).await;
    assert_received(&mut late, &messages).await;
}

#[tokio::test]
async fn an_unknown_last_event_id_yields_a_gap_before_what_is_kept() {
    let app = App::start().await;
    let messages = post(&app, 2).await;
    let mut feed = app.reopen(MESSAGES, "nobody").await;
    assert_eq!(gap(&mut feed).await, json!({ "asked": "nobody", "oldest": messages[0].id, "lost": true }));
    assert_received(&mut feed, &messages).await;
    let live = app.post_message("live").await;
    assert_received(&mut feed, &[live]).await;
}

#[tokio::test]
async fn an_unknown_last_event_id_where_nothing_is_kept_is_a_gap_without_an_oldest() {
    let app = App::start().await;
    let mut feed = app.open(&format!("{MESSAGES}?last_event_id=nobody")).await;
    assert_eq!(gap(&mut feed).await, json!({ "asked": "nobody", "oldest": null, "lost": true }));
    let live = app.post_message("live").await;
    assert_received(&mut feed, &[live]).await;
}

#[tokio::test]
async fn the_feed_is_what_an_event_source_gets_and_says_that_it_depends_on_accept() {
    let app = App::start().await;
    for accept in ["text/event-stream", "application/json;q=0.5, text/event-stream"] {
        let feed = app.request(reqwest::Method::GET, MESSAGES).header("accept", accept).open().await;
        assert!(crate::answer::header(&feed.headers, "vary").contains("accept"), "{:?}", feed.headers);
    }
    for accept in ["application/json", "*/*", "text/html", "text/event-stream;q=0.5, application/json"] {
        assert_eq!(app.get_as(accept, MESSAGES).await.header("content-type"), "application/json", "{accept}");
    }
}

async fn post(app: &App, count: usize) -> Vec<Message> {
    let mut messages = Vec::new();
    for n in 0..count {
        messages.push(app.post_message(&format!("message {n}")).await);
    }
    messages
}

async fn gap(feed: &mut Listener) -> Value {
    let event = feed.event().await;
    assert_eq!(event.event, "gap");
    serde_json::from_str(&event.data).expect("JSON")
}

async fn assert_received(feed: &mut Listener, messages: &[Message]) {
    for message in messages {
        assert_eq!(feed.message().await, *message);
    }
}
