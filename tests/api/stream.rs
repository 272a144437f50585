//! `GET /stream`: the burst of the next message, and of one message.

use futures_util::future::join_all;
use tidings::server::settings::Options;

use crate::app::{App, millis};
use crate::listener::burst;

#[tokio::test]
async fn a_waiting_stream_gets_the_next_message_three_times_then_close_and_ends() {
    let app = App::start().await;
    app.post_message("too early").await;
    let mut listener = app.open("/stream").await;
    let message = app.post_message("Hello").await;
    assert_eq!(listener.rest().await, burst(&message, 1, 3));
}

#[tokio::test]
async fn a_bursts_frames_stand_on_the_wire_as_documented() {
    let app = App::start().await;
    let message = app.post_message("say \"hi\"\n").await;
    let mut listener = app.open(&message.stream).await;
    listener.rest().await;
    let id = &message.id;
    let repeat = |n| format!("id: {id}:{n}\ndata: {{\"message\":\"say \\\"hi\\\"\\n\",\"repeat\":{n},\"of\":3}}\n\n");
    let close = format!("id: {id}:close\nevent: close\ndata: {{\"reason\":\"complete\"}}\n\n");
    assert_eq!(listener.raw(), [":\n".to_owned(), repeat(1), repeat(2), repeat(3), close].concat());
}

#[tokio::test]
async fn submit_and_open_come_in_either_order() {
    let app = App::start().await;
    let mut before = app.open("/stream").await;
    let message = app.post_message("Hello").await;
    let mut after = app.open(&message.stream).await;
    assert_eq!(before.rest().await, burst(&message, 1, 3));
    assert_eq!(after.rest().await, burst(&message, 1, 3));
    let mut much_later = app.open(&message.stream).await;
    assert_eq!(much_later.rest().await, burst(&message, 1, 3));
}

#[tokio::test]
async fn an_unknown_message_is_not_found() {
    let app = App::start().await;
    for query in ["message=nobody", "message=", "message=nobody&last_event_id=nobody:close"] {
        app.get(&format!("/stream?{query}")).await.problem(404);
    }
    app.get("/stream?message=%ff").await.problem(400);
}

#[tokio::test]
async fn two_messages_published_together_are_never_confused() {
    let app = App::start().await;
    for round in 0..5 {
        let mut waiting = app.open("/stream").await;
        let (one, two) = tokio::join!(app.submit("one"), app.submit("two"));
        let (one, two) = (one.created(), two.created());
        let (mut first, mut second) = tokio::join!(app.open(&one.stream), app.open(&two.stream));
        let (first, second, waiting) = tokio::join!(first.rest(), second.rest(), waiting.rest());
        assert_eq!((first, second), (burst(&one, 1, 3), burst(&two, 1, 3)), "round {round}");
        let either = [burst(&one, 1, 3), burst(&two, 1, 3)];
        assert!(either.contains(&waiting), "round {round}: {waiting:?}");
    }
}

#[tokio::test]
async fn ten_clients_receive_the_same_burst_to_the_byte() {
    let app = App::start().await;
    let mut listeners = join_all((0..10).map(|_| app.open("/stream"))).await;
    let message = app.post_message("to all").await;
    for heard in join_all(listeners.iter_mut().map(|listener| listener.rest())).await {
        assert_eq!(heard, burst(&message, 1, 3));
    }
    for listener in &listeners {
        assert_eq!(listener.raw(), listeners[0].raw());
    }
}

#[tokio::test]
async fn ten_messages_submitted_at_once_all_complete() {
    let app = App::start().await;
    join_all((0..10).map(async |n| {
        let message = app.post_message(&format!("message {n}")).await;
        assert_eq!(app.open(&message.stream).await.rest().await, burst(&message, 1, 3));
    }))
    .await;
}

#[tokio::test]
async fn a_waiting_stream_delays_nobody() {
    let app = App::start().await;
    let _waiting = app.open("/stream").await;
    app.get("/api/ping").await.assert_status(200);
    app.get_as("text/html", "/").await.assert_status(200);
    app.get("/api/messages").await.assert_status(200);
}

#[tokio::test]
async fn repeats_and_interval_are_settings() {
    let options = Options { burst_repeat: Some(5), burst_interval: Some(millis(0)), ..Options::default() };
    let app = App::start_with(options).await;
    let message = app.post_message("five times").await;
    assert_eq!(app.open(&message.stream).await.rest().await, burst(&message, 1, 5));
    let options = Options { burst_repeat: Some(1), burst_interval: Some(millis(60_000)), ..Options::default() };
    let app = App::start_with(options).await;
    let message = app.post_message("once").await;
    assert_eq!(app.open(&message.stream).await.rest().await, burst(&message, 1, 1));
}
