//! What all streams have in common.

use tidings::server::settings::Options;

use crate::answer::header;
use crate::app::{App, Ask, millis};

/// Every address that answers with a stream.
const STREAMS: [&str; 7] = ["/", "/stream", "/api/messages", "/clock", "/remote", "/sse", "/counter"];

#[tokio::test]
async fn every_stream_has_the_headers_that_keep_proxies_from_holding_it_back() {
    let app = App::start().await;
    for path in all(&app).await {
        let stream = app.stream(&path).header("accept-encoding", "gzip, br, deflate, zstd").open().await;
        assert_stream_headers(&path, &stream.headers);
    }
}

#[tokio::test]
async fn every_stream_flushes_its_headers_and_a_comment_before_there_is_an_event() {
    let app = App::start().await;
    for path in STREAMS {
        // `open` waits for the comment, and nothing has been published.
        assert!(app.open(path).await.raw().starts_with(":\n"), "{path}");
    }
}

#[tokio::test]
async fn head_of_a_stream_has_the_same_headers_and_is_answered_at_once() {
    let app = App::start().await;
    for path in all(&app).await {
        let head = app.request(reqwest::Method::HEAD, &path).header("accept", "text/event-stream").answer().await;
        assert_stream_headers(&path, &head.assert_status(200).headers);
        assert_eq!(head.body, "");
        let mut names: Vec<_> = app.open(&path).await.headers.keys().map(|name| name.to_string()).collect();
        names.retain(|name| name != "transfer-encoding");
        assert!(names.iter().all(|name| head.headers.contains_key(name)), "{path}: {names:?} {head:?}");
    }
    assert_eq!(app.head("/stream?message=nobody").await.assert_status(404).body, "");
}

#[tokio::test]
async fn comments_that_are_not_events_break_the_silence() {
    let app = App::start_with(Options { heartbeat: Some(millis(100)), ..Options::default() }).await;
    for path in ["/stream", "/api/messages"] {
        let mut stream = app.open(path).await;
        stream.read_until(":\n:\n:\n").await;
        let message = app.post_message("after some silence").await;
        let event = stream.event().await;
        assert!(event.id.starts_with(&message.id), "{path}: {event:?}");
    }
}

#[tokio::test]
async fn documents_are_compressed_and_streams_never() {
    let app = App::start().await;
    for n in 0..20 {
        app.post_message(&format!("a message that can be compressed, number {n}")).await;
    }
    for (accept, path) in [("application/json", "/api/messages"), ("text/html", "/"), ("application/json", "/")] {
        let request = app.request(reqwest::Method::GET, path).header("accept", accept);
        let response = request.header("accept-encoding", "br").send().await.expect("an answer");
        assert_eq!(header(response.headers(), "content-encoding"), "br", "{accept} {path}");
    }
    for path in all(&app).await {
        let stream = app.stream(&path).header("accept-encoding", "br, gzip").open().await;
        assert_eq!(header(&stream.headers, "content-encoding"), "", "{path}");
    }
}

/// Every address that answers with a stream, a message's own burst among them.
async fn all(app: &App) -> Vec<String> {
    let message = app.post_message("a burst").await;
    STREAMS.into_iter().map(str::to_owned).chain([message.stream]).collect()
}

#[track_caller]
fn assert_stream_headers(path: &str, headers: &reqwest::header::HeaderMap) {
    for (name, value) in [
        ("content-type", "text/event-stream"),
        ("cache-control", "private, no-cache, no-store, no-transform"),
        ("x-accel-buffering", "no"),
        ("access-control-allow-origin", "*"),
        ("content-encoding", ""),
        ("content-length", ""),
    ] {
        assert_eq!(header(headers, name), value, "{path}: {name}");
    }
}
