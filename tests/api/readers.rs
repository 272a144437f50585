//! Readers that are slow, and readers that go away.

use tidings::server::settings::Options;
use tidings::wire::message::Message;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use crate::app::{App, Ask, client, in_time, millis};

const MESSAGES: usize = 300;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_reads_nothing_delays_nobody_and_loses_nothing() {
    let options = Options { max_message: Some(60_000), ..Options::default() };
    let app = App::start_with(options).await;
    let mut slow = stalled(&app).await;
    let mut fast = app.open("/api/messages").await;
    let mut posted = Vec::new();
    // More than the buffers of the sockets can hold.
    for n in 0..MESSAGES {
        let message = app.post_message(&format!("{n} {}", "x".repeat(50_000))).await;
        assert_eq!(fast.message().await, message);
        posted.push(message.id);
    }
    let mut seen = Vec::new();
    let last = posted.last().expect("messages");
    let mut bytes = vec![0; 1 << 20];
    let mut text = String::new();
    while !seen.contains(last) {
        let read = in_time("the slow reader's next bytes", slow.read(&mut bytes)).await.expect("a stream");
        assert_ne!(read, 0, "the slow reader was cut after {} messages", seen.len());
        text.push_str(&String::from_utf8_lossy(&bytes[..read]));
        let end = text.rfind('\n').map_or(0, |end| end + 1);
        seen.extend(text[..end].lines().filter_map(|line| line.strip_prefix("id: ")).map(str::to_owned));
        text.drain(..end);
    }
    assert_eq!(seen, posted);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_reads_nothing_for_too_long_is_disconnected() {
    let options = Options {
        max_message: Some(60_000),
        max_connections: Some(2),
        stall_timeout: Some(millis(200)),
        ..Options::default()
    };
    let app = App::start_with(options).await;
    let mut slow = stalled(&app).await;
    // They share one connection.
    let publisher = reqwest::Client::builder().no_proxy().http2_prior_knowledge().build().expect("a client");
    for n in 0..MESSAGES {
        let post = publisher.post(format!("http://{}/publish", app.address));
        post.body(format!("{n} {}", "x".repeat(50_000))).answer().await.assert_status(200);
    }
    // Its connection is free again: a new one is not turned away.
    in_time("the end of the slow reader", async {
        let request = || client().get(format!("http://{}/api/ping", app.address)).send();
        while !request().await.is_ok_and(|response| response.status() == 200) {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    })
    .await;
    let mut bytes = Vec::new();
    // The data in the socket buffers can still be read. Whether it ends cleanly or with a reset is up to the system.
    _ = in_time("the end of the connection", slow.read_to_end(&mut bytes)).await;
    assert!(bytes.len() < MESSAGES * 50_000, "{}", bytes.len());
}

#[tokio::test]
async fn a_client_that_leaves_in_mid_burst_disturbs_nobody() {
    let app = App::start().await;
    let message: Message = app.post_message("Hello").await;
    let mut stays = app.open(&message.stream).await;
    for _ in 0..5 {
        let mut goes = app.open(&message.stream).await;
        goes.event().await;
    }
    assert_eq!(stays.rest().await, crate::listener::burst(&message, 1, 3));
}

/// A client of the live feed that has small buffers and does not read.
async fn stalled(app: &App) -> TcpStream {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_recv_buffer_size(4096).expect("a small buffer");
    let mut stream = socket.connect(app.address).await.expect("a connection");
    let request = "GET /api/messages HTTP/1.1\r\nHost: x\r\nAccept: text/event-stream\r\n\r\n";
    stream.write_all(request.as_bytes()).await.expect("a request");
    // It is subscribed once its headers have arrived.
    in_time("the headers", stream.peek(&mut [0])).await.expect("an answer");
    stream
}
