//! Clients that cost little: a reader that only counts events, a publisher that sends the same bytes again.

use std::net::SocketAddr;

use tidings::wire::paths::HUB;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Follows all messages and counts them.
pub(crate) struct Reader {
    stream: TcpStream,
    buffer: Vec<u8>,
    events: usize,
    /// The newest bytes, the last one lowest.
    newest: u32,
    /// How many bytes have come.
    pub(crate) bytes: usize,
}

impl Reader {
    /// Opens the stream after this event, on a connection of its own, and reads `buffer` bytes at a time.
    pub(crate) async fn open(address: SocketAddr, last_event_id: Option<&str>, buffer: usize) -> Self {
        let stream = TcpStream::connect(address).await.expect("the server listens");
        Self::on(stream, last_event_id, buffer).await
    }

    /// The same, on this connection.
    pub(crate) async fn on(mut stream: TcpStream, last_event_id: Option<&str>, buffer: usize) -> Self {
        let last = last_event_id.map(|id| format!("Last-Event-ID: {id}\r\n")).unwrap_or_default();
        let request =
            format!("GET /api/messages HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n{last}\r\n");
        stream.write_all(request.as_bytes()).await.expect("a request");
        Self { stream, buffer: vec![0; buffer], events: 0, newest: 0, bytes: 0 }
    }

    /// Reads what comes next; answers how many events have come so far: the last one may not be whole yet.
    pub(crate) async fn read(&mut self) -> usize {
        let read = self.stream.read(&mut self.buffer).await.expect("a stream");
        assert_ne!(read, 0, "the server ended a stream");
        self.bytes += read;
        for &byte in &self.buffer[..read] {
            self.newest = self.newest << 8 | u32::from(byte);
            // Each event has one id.
            self.events += usize::from(&self.newest.to_be_bytes() == b"\nid:");
        }
        self.events
    }

    /// Reads until so many events have come.
    pub(crate) async fn read_events(&mut self, count: usize) {
        while self.read().await < count {}
    }

    /// Waits for the first byte of the answer: the stream is open then.
    pub(crate) async fn wait(&self) {
        self.stream.peek(&mut [0]).await.expect("an answer");
    }
}

/// Opens a stream of the hub on this connection, and waits for its first comment.
pub(crate) async fn open_hub_stream(mut stream: TcpStream, query: &str) -> TcpStream {
    let request = format!("GET {HUB}?{query} HTTP/1.1\r\nHost: localhost\r\n\r\n");
    stream.write_all(request.as_bytes()).await.expect("a request");
    let mut head = Vec::new();
    // No line of the head begins with a colon.
    while !head.windows(2).any(|two| two == b"\n:") {
        assert_ne!(stream.read_buf(&mut head).await.expect("an answer"), 0, "{}", String::from_utf8_lossy(&head));
    }
    stream
}

/// Publishes the same text again and again, over one connection.
pub(crate) struct Publisher {
    stream: TcpStream,
    request: Vec<u8>,
}

impl Publisher {
    pub(crate) async fn connect(address: SocketAddr, bytes: usize) -> Self {
        let stream = TcpStream::connect(address).await.expect("the server listens");
        stream.set_nodelay(true).expect("TCP_NODELAY");
        let head = "POST /publish HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/plain\r\n";
        let request = format!("{head}Content-Length: {bytes}\r\n\r\n{}", "x".repeat(bytes));
        Self { stream, request: request.into_bytes() }
    }

    /// Publishes once and waits until that is acknowledged.
    pub(crate) async fn publish(&mut self) {
        const ID_BYTES: usize = 36;
        self.stream.write_all(&self.request).await.expect("a request");
        let (mut answer, mut filled) = ([0; 2048], 0);
        loop {
            let read = self.stream.read(&mut answer[filled..]).await.expect("an answer");
            assert_ne!(read, 0, "the server closed the connection");
            filled += read;
            let answer = &answer[..filled];
            if answer.windows(4).position(|four| four == b"\r\n\r\n").is_some_and(|end| filled >= end + 4 + ID_BYTES) {
                assert!(answer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(answer));
                return;
            }
        }
    }
}
