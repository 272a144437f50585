//! Shutdown: every stream ends with the time to reconnect after, and the server waits for the connections.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::app::{App, in_time};

/// The longest that a shutdown may take.
const LONGEST: Duration = Duration::from_secs(5);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_open_streams_end_in_time_each_with_a_retry() {
    rlimit::increase_nofile_limit(4096).expect("enough files");
    let app = App::start().await;
    let paths = ["/stream", "/api/messages", "/clock", "/counter"];
    let mut streams = Vec::new();
    for n in 0..1000 {
        streams.push(raw(&app, paths[n % paths.len()]).await);
    }
    let address = app.address;
    let start = Instant::now();
    let (ended, bodies) = tokio::join!(app.stop(), join_all(streams.into_iter().map(rest)));
    assert!(start.elapsed() < LONGEST, "{:?}", start.elapsed());
    assert_eq!(ended.cut, 0);
    for body in &bodies {
        assert!(
            body.contains("\nretry: ") && body.ends_with("\n\r\n0\r\n\r\n") && !body.contains("\n\n\r\n0"),
            "{body}"
        );
    }
    let retries: std::collections::HashSet<_> = bodies.iter().map(|body| body.split("retry: ").nth(1)).collect();
    assert!(retries.len() > 100, "the clients come back at different times, not at {}", retries.len());
    TcpStream::connect(address).await.expect_err("listening has stopped");
}

#[tokio::test]
async fn a_burst_that_is_cut_short_can_be_resumed() {
    let options =
        tidings::server::settings::Options { burst_interval: Some(crate::app::millis(60_000)), ..Default::default() };
    let app = App::start_with(options).await;
    let message = app.post_message("Hello").await;
    let mut listener = app.open(&message.stream).await;
    assert_eq!(listener.event().await.id, format!("{}:1", message.id));
    let (ended, rest) = tokio::join!(app.stop(), listener.rest());
    assert_eq!((ended.cut, rest), (0, vec![]), "no close: the burst is not complete");
    assert!(listener.raw().contains("\nretry: "), "{}", listener.raw());
}

#[tokio::test]
async fn idle_connections_do_not_delay_the_shutdown() {
    let app = App::start().await;
    app.get("/api/ping").await.assert_status(200);
    let silent = TcpStream::connect(app.address).await.expect("a connection");
    let start = Instant::now();
    assert_eq!(app.stop().await.cut, 0);
    assert!(start.elapsed() < LONGEST, "{:?}", start.elapsed());
    drop(silent);
}

#[tokio::test]
async fn a_client_that_reads_nothing_is_disconnected() {
    let app = App::start().await;
    // Half a request.
    let mut slow = TcpStream::connect(app.address).await.expect("a connection");
    slow.write_all(b"POST /publish HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nhalf").await.expect("written");
    app.get("/api/ping").await.assert_status(200);
    let start = Instant::now();
    assert_eq!(app.stop().await.cut, 1);
    assert!(start.elapsed() < LONGEST, "{:?}", start.elapsed());
}

/// Opens a stream over a plain socket, and waits for its first comment.
async fn raw(app: &App, path: &str) -> TcpStream {
    let mut stream = TcpStream::connect(app.address).await.expect("a connection");
    let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nAccept: text/event-stream\r\n\r\n");
    stream.write_all(request.as_bytes()).await.expect("a request");
    let mut head = Vec::new();
    while !String::from_utf8_lossy(&head).contains("\r\n\r\n2\r\n:\n\r\n") {
        let read = in_time("the first comment", stream.read_buf(&mut head)).await.expect("an answer");
        assert_ne!(read, 0, "{}", String::from_utf8_lossy(&head));
    }
    stream
}

async fn rest(mut stream: TcpStream) -> String {
    let mut body = Vec::new();
    in_time("the end of a stream", stream.read_to_end(&mut body)).await.expect("a whole body");
    String::from_utf8(body).expect("text")
}
